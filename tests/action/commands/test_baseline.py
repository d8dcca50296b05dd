"""Two commits of a repository, each converted by a job of its own: the second says what it changes.

What a run keeps is what a later one finds: its artifact goes from the results service, where the job put it, to the
API, where the other one looks, as on GitHub.
"""

import base64
import io
import json
import re
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.action.commands.conftest import Ended, Job

RESULTS = "model-navigator-results"
CONFIGURATION = """\
defaults: {fail_on: regression}
models:
- model_name: tiny
  model_path: tiny.onnx
  target_formats: [onnx]
  onnx_opsets: [13, 14]
- model_name: other
  model_path: other.onnx
  target_formats: [onnx]
  onnx_opsets: [15]
"""


class Repository:
    """The job's checkout with its commits, known to GitHub, and the runs of its workflow."""

    def __init__(self, job: "Job") -> None:
        self.job = job
        self.last_run = 100
        (job.workspace / "other.onnx").write_bytes((job.workspace / "tiny.onnx").read_bytes())
        job.write("navigator.yaml", CONFIGURATION)
        job.write(".gitignore", "navigator_workspace/\n")
        job.variables["GITHUB_WORKFLOW_REF"] = "octocat/models/.github/workflows/models.yml@refs/heads/main"
        self.git("init", "-q")
        self.git("remote", "add", "origin", "https://github.com/octocat/models")
        self.base = self.commit()
        job.say("branches", {"main": self.base})

    def git(self, *words: str) -> str:
        who = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false", "-c", "safe.directory=*"]
        run = subprocess.run(["git", *who, *words], cwd=self.job.workspace, check=True, capture_output=True, text=True)
        return run.stdout.strip()

    def commit(self) -> str:
        """Commit what is there, and push it."""
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "a change")
        commit, *parents = self.git("log", "-1", "--format=%H %P").split()
        self.job.say("commits", {commit: parents})
        return commit

    def pushed(self, **inputs: str) -> "Ended":
        """Run for a push of what is checked out to main, and keep what the run uploads."""
        commit = self.git("rev-parse", "HEAD")
        payload = {"repository": {"default_branch": "main"}, "before": "0" * 40}
        self.last_run += 1
        number = {"GITHUB_RUN_ID": str(self.last_run), "GITHUB_SHA": commit, "GITHUB_REF": "refs/heads/main"}
        self.job.event("push", payload, **number)
        ended = self.job.run(comment="never", **inputs)
        conclusion = "failure" if ended.code else "success"
        about = {"id": self.last_run, "name": "Models", "sha": commit, "owner": "octocat", "branch": "main"}
        self.job.say("runs", [about | {"conclusion": conclusion}])
        assert RESULTS in self.job.artifacts(), ended.log
        self.keep(self.last_run)
        return ended

    def keep(self, run: int, *, instead: tuple[str, str] = ("", "")) -> None:
        """Keep the results that the job uploaded as those of a run, with a text in them instead of another one."""
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for path, data in self.job.artifacts()[RESULTS].items():
                assert path != "convert_results.yaml" or instead[0].encode() in data
                archive.writestr(path, data.replace(instead[0].encode(), instead[1].encode()) if instead[0] else data)
        self.job.say(
            "artifacts", {"run": run, "name": RESULTS, "base64": base64.b64encode(content.getvalue()).decode()}
        )

    def proposed(self, command: str = "convert", owner: str = "octocat", **inputs: str) -> "Ended":
        """Run for a pull request with the last commit."""
        head = self.git("rev-parse", "HEAD")
        self.job.pull_request(sha=head, owner=owner)
        self.job.variables |= {"GITHUB_RUN_ID": "4711", "GITHUB_REF": "refs/pull/7/merge"}
        return self.job.run(command, **inputs)

    @property
    def name(self) -> str:
        return f"main {self.base[:7]} (merge base)"


@pytest.fixture
def repository(job: "Job") -> Repository:
    return Repository(job)


def compared(ended: "Ended") -> list[str]:
    """Return the lines of the log on what changed."""
    found = re.search(r"^Compared with .*(?:\n  .*)*|^Not compared: .*", ended.log, re.MULTILINE)
    return found[0].splitlines() if found else []


def changed_weight(place: Path) -> None:
    import onnx
    from onnx import numpy_helper

    model = onnx.load(place / "tiny.onnx")
    weight = numpy_helper.to_array(model.graph.initializer[0]) * 2
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "weight"))
    onnx.save(model, place / "tiny.onnx")


def changed_operator(place: Path) -> None:
    """Let one of two models compute something that can't be compared."""
    import onnx

    model = onnx.load(place / "tiny.onnx")
    model.graph.node[1].op_type = "RandomUniformLike"
    onnx.save(model, place / "tiny.onnx")


def edited(before: str, after: str) -> Callable[[Path], None]:
    def edit(place: Path) -> None:
        path = place / "navigator.yaml"
        assert before in path.read_text()
        path.write_text(path.read_text().replace(before, after))

    return edit


LOOSENED = edited("  onnx_opsets: [15]\n", "  onnx_opsets: [15]\n  atol: 0.5\n")


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        pytest.param(lambda _: None, 0, [r"nothing changed"], id="nothing"),
        pytest.param(changed_weight, 0, [r"tiny: .*model"], id="one weight file"),
        pytest.param(changed_operator, 1, [r"2 conversions broke", r"  broken: tiny .*onnx_op14"], id="one operator"),
        pytest.param(
            edited("[13, 14]", "[13]"), 1, [r"1 conversion is gone", r"  removed: tiny onnx_op14"], id="opset removed"
        ),
        pytest.param(LOOSENED, 1, [r"1 option lets more pass", r"other: .*atol.*0\.5"], id="tolerance loosened"),
    ],
)
def test_a_pull_request_says_what_it_changes(
    repository: Repository, change: Callable[[Path], None], code: int, said: list[str]
) -> None:
    assert repository.pushed().code == 0
    change(repository.job.workspace)
    repository.commit()
    ended = repository.proposed(artifacts="none")
    lines = compared(ended)
    assert lines, ended.log
    assert lines[0].startswith(f"Compared with {repository.name}: "), lines
    for each in said:
        assert re.search(each, "\n".join(lines)), lines
    assert ended.code == code, ended.log
    [comment] = repository.job.comments
    assert f"https://github.com/octocat/models/actions/runs/{repository.last_run}" in comment
    assert repository.job.statuses[-1][0] == ("failure" if code else "success")
    assert ended.warnings == []


def test_what_was_broken_before_fails_nobody_later(repository: Repository) -> None:
    changed_operator(repository.job.workspace)
    repository.base = repository.commit()
    repository.job.say("branches", {"main": repository.base})
    # Without a base, every failure counts.
    assert repository.pushed().code == 1
    # The workflow may say what the configuration doesn't.
    edited("{fail_on: regression}", "{}")(repository.job.workspace)
    repository.commit()
    ended = repository.proposed(fail_on="regression")
    assert (ended.code, ended.outputs["failures"], ended.outputs["status"]) == (0, "2", "success"), ended.log
    assert compared(ended)[0] == f"Compared with {repository.name}: nothing changed, 2 conversions still fail"


def test_the_merge_commit_is_compared_with_what_it_merges_into(repository: Repository) -> None:
    first = repository.base
    assert repository.pushed().code == 0
    # main goes on and loses a conversion, which isn't the pull request's doing.
    edited("[13, 14]", "[13]")(repository.job.workspace)
    repository.base = repository.commit()
    assert repository.pushed().code == 1
    repository.job.say("branches", {"main": repository.base})
    repository.git("checkout", "-q", "-b", "topic", first)
    head = repository.commit()
    repository.git("checkout", "-q", "--detach", repository.base)
    repository.git("merge", "-q", "--no-ff", "-m", "merge", "topic")
    merge, *parents = repository.git("log", "-1", "--format=%H %P").split()
    repository.job.say("commits", {merge: parents})
    repository.job.pull_request(sha=head)
    repository.job.variables |= {"GITHUB_SHA": merge, "GITHUB_RUN_ID": "4711"}
    ended = repository.job.run()
    assert compared(ended)[0] == f"Compared with {repository.name}: nothing changed"
    assert ended.code == 0, ended.log


def test_shards_are_compared_by_the_report(repository: Repository) -> None:
    assert repository.pushed().code == 0
    changed_operator(repository.job.workspace)
    edited("  onnx_opsets: [15]\n", "  onnx_opsets: [15, 16]\n")(repository.job.workspace)
    repository.commit()
    matrix = repository.proposed("plan", max_shards="2").outputs["matrix"]
    for each in json.loads(matrix)["include"]:
        ended = repository.proposed(shard=each["shard"])
        # Whether it's worse than before is the report's to say.
        assert ended.code == 0, ended.log
        assert "Compared with" not in ended.log
    ended = repository.proposed("report", matrix=matrix)
    assert ended.code == 1, ended.log
    assert compared(ended)[0].startswith(f"Compared with {repository.name}: 2 conversions broke")
    assert repository.job.statuses[-1][0] == "failure"


def test_a_fork_is_compared_with_the_base_repository(repository: Repository) -> None:
    assert repository.pushed().code == 0
    changed_operator(repository.job.workspace)
    head = repository.commit()
    # Its token may read.
    token = repository.job.variables["INPUT_TOKEN"]
    repository.job.variables["INPUT_TOKEN"] = "ghs_fork"
    ended = repository.proposed(owner="stranger")
    assert ended.code == 1, ended.log
    assert compared(ended)[0].startswith(f"Compared with {repository.name}: 2 conversions broke")
    # The workflow that follows tells the pull request, without a checkout, and compares by itself.
    repository.job.variables["INPUT_TOKEN"] = token
    repository.job.say("pulls", [{"number": 7, "owner": "stranger", "branch": "topic", "sha": head}])
    repository.keep(900, instead=("merge_commit: ''", "merge_commit: x/../../evil"))
    repository.job.workflow_run(sha=head)
    ended = repository.job.run("report")
    assert not [path for _, path, _ in repository.job.github["calls"] if "evil" in path]
    assert ended.code == 1, ended.log
    assert compared(ended)[0].startswith(f"Compared with {repository.name}: 2 conversions broke")
    assert repository.job.statuses[-1][::2] == ("failure", head)


@pytest.mark.fault(
    "GitHub doesn't give the results of the base",
    "One line in the report says why; without a base, `fail_on: regression` fails like `failure`.",
)
@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({"path": "/actions/w", "status": 403}, "give the job the permission `actions: read`"),
        ({"path": "/compare/", "status": 500, "times": 9}, "GitHub failed at GET /repos/octocat/models/compare/"),
        ({"path": "/downloads/", "body": "not a zip", "status": 200}, "it's damaged or not a zip"),
        ({"path": "/zip", "status": 410, "body": '{"message": "Artifact has expired"}'}, "Artifact has expired"),
        (
            {"path": "/actions/w", "status": 429, "message": "Slow down", "headers": {"retry-after": "900"}},
            "GitHub refused GET /repos/octocat/models/actions/workflows/models.yml/runs: HTTP 429",
        ),
    ],
)
def test_no_base_is_one_line_and_no_error(repository: Repository, fault: dict[str, object], why: str) -> None:
    assert repository.pushed().code == 0
    repository.commit()
    message = {} if "body" in fault else {"message": "Resource not accessible by integration"}
    repository.job.say("faults", [message | fault])
    ended = repository.proposed(artifacts="none")
    assert (ended.code, ended.outputs["passed"], ended.warnings) == (0, "3", []), ended.log
    [line] = compared(ended)
    assert line.startswith("Not compared: "), line
    assert why in line
    assert line.endswith("; fail_on is regression, so every failure counts")


def test_results_under_the_name_that_are_of_another_commit_are_no_base(repository: Repository) -> None:
    assert repository.pushed().code == 0
    other = repository.commit()
    repository.job.say("branches", {"main": other})
    repository.job.say("runs", [{"id": 500, "name": "Models", "sha": other, "owner": "octocat", "branch": "main"}])
    repository.keep(500)
    repository.commit()
    ended = repository.proposed()
    assert compared(ended)[0].startswith(f"Compared with main {repository.base[:7]} (1 commit before the merge base)")


def test_nothing_is_compared_if_nobody_wants_it(repository: Repository) -> None:
    assert repository.pushed().code == 0
    repository.commit()
    calls = len(repository.job.github["calls"])
    ended = repository.proposed(baseline="none", comment="never", status="false")
    assert ended.code == 0
    assert len(repository.job.github["calls"]) == calls


def test_a_path_is_read_before_models_run(repository: Repository) -> None:
    assert repository.proposed(artifacts="none", comment="never").code == 0
    (repository.job.workspace / "navigator_workspace").rename(repository.job.workspace / "before")
    edited("[13, 14]", "[13]")(repository.job.workspace)
    repository.job.sabotage("""
        import pathlib
        for path in pathlib.Path.cwd().glob("before/convert_results.yaml"):
            path.write_text("gone")
        """)
    ended = repository.proposed(baseline="before", artifacts="none")
    assert (repository.job.workspace / "before/convert_results.yaml").read_text() == "gone"
    assert compared(ended)[0].startswith("Compared with ")
    assert "1 conversion is gone" in compared(ended)[0]
    assert ended.code == 1
    missing = repository.proposed(baseline="nowhere", artifacts="none")
    assert missing.code == 0, missing.log
    assert compared(missing)[0].startswith("Not compared: nowhere does not exist")
