"""`plan`, shards, and `report` of the same run and of another one, whose artifacts a stranger may have made."""

import base64
import io
import json
import re
import zipfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from navigator.report.storage import write
from tests.support.situations import all_of, mismatched, run

if TYPE_CHECKING:
    from tests.action.commands.conftest import Job

HEAD = "a" * 40
RESULTS = "model-navigator-results"
TWO = """\
models:
- {model_name: tiny, model_path: tiny.onnx, target_formats: [onnx], onnx_opsets: [13, 14]}
- {model_name: other, model_path: tiny.onnx, target_formats: [onnx], onnx_opsets: [15]}
"""


def test_shards_make_one_comment_and_one_status(job: "Job") -> None:
    job.write("navigator.yaml", TWO)
    planned = job.run("plan", max_shards="2")
    assert (planned.code, planned.outputs["status"], planned.outputs["shards"]) == (0, "success", "2")
    matrix = planned.outputs["matrix"]
    shards = [each["shard"] for each in json.loads(matrix)["include"]]
    assert shards == ["1/2", "2/2"]
    assert job.run(shard="2/2", artifacts="all", artifact_archive="false").code == 0
    # A job without a result is named, and the run is not good.
    ended = job.run("report", matrix=matrix)
    assert (ended.code, ended.outputs["status"], ended.outputs["exit_code"]) == (130, "cancelled", "130"), ended.log
    assert "shard 1/2 reported no results" in job.comments[0]
    assert job.statuses[-1][0] == "error"
    assert job.statuses[-1][1].startswith("Incomplete: ")
    # It is run again, and so is the report, beside what the first report left.
    assert job.run(shard="1/2", artifacts="all", artifact_archive="false").code == 0
    assert [each[0] for each in job.statuses] == ["error"]
    ended = job.run("report", matrix=matrix)
    assert (ended.code, ended.outputs["total"], ended.outputs["passed"]) == (0, "3", "3"), ended.log
    [comment] = job.comments
    assert "## ✅ 3 of 3 conversions passed" in comment
    assert [each[0] for each in job.statuses] == ["error", "success"]
    assert "shard" not in comment
    uploaded = job.artifacts()
    # What has several files is a zip also where models are uploaded as they are.
    assert len(uploaded["model-navigator-2-of-2-logs"]) > 1
    assert {"model-navigator-1-of-2-logs", f"{RESULTS}-1-of-2", f"{RESULTS}-2-of-2", RESULTS} < uploaded.keys()
    assert sum(name.endswith(".onnx") for name in uploaded) == 3
    # Without the matrix, and with what the last report left among the artifacts.
    assert job.run("report").code == 0
    assert len(job.comments) == 1


@pytest.mark.parametrize(
    "matrix",
    [
        "{",
        "[" * 100_000,
        '{"include": 3}',
        '{"include": [{"shard": "1/999999999"}]}',
        '{"include": [{"shard": "1/1", "count": 1, "conversions": [{"a": "::error::x"}]}]}',
        '{"include": []}',
    ],
)
def test_a_matrix_that_is_none_is_said(job: "Job", matrix: str) -> None:
    ended = job.run("report", matrix=matrix, comment="never")
    assert (ended.code, ended.outputs["status"]) == (2, "error"), ended.log
    [annotation] = ended.annotations
    assert "matrix" in annotation or "shard" in annotation
    assert len(annotation) < 1000


def test_no_results_is_an_error_that_says_what_to_do(job: "Job") -> None:
    ended = job.run("report")
    assert ended.code == 2
    assert "there are no results to report: this run has no artifact model-navigator-results" in job.comments[0]
    assert "run \\`convert\\` first" in job.comments[0]


def packed(files: dict[str, bytes]) -> str:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return base64.b64encode(content.getvalue()).decode()


Upload = Callable[..., None]


@pytest.fixture
def fork(job: "Job") -> Upload:
    """Let the job run after the workflow of pull request 7, which is a fork's, and return what uploads for that run."""
    job.say("pulls", [{"number": 7, "owner": "stranger", "branch": "topic", "sha": HEAD}])
    job.say("pulls", [{"number": 5, "owner": "octocat", "branch": "topic", "sha": HEAD}])
    job.say("pulls", [{"number": 8, "owner": "stranger", "branch": "other", "sha": "c" * 40}])
    job.workflow_run()
    for name in ("navigator.yaml", "tiny.onnx"):
        (job.workspace / name).unlink()

    def upload(files: dict[str, bytes], name: str = RESULTS, **values: Any) -> None:
        job.say("artifacts", {"run": 900, "name": name, "base64": packed(files), **values})

    return upload


def test_the_results_of_a_fork_are_told_to_its_pull_request(
    job: "Job", fork: Upload, reports: Callable[[str], bytes]
) -> None:
    fork({"convert_results.yaml": reports("bad"), "summary.md": b"# not this"})
    fork({"x": b""}, name="another")
    ended = job.run("report")
    assert (ended.code, ended.outputs["status"], ended.warnings) == (1, "failure", []), ended.log
    [comment] = job.github["comments"]
    assert comment["issue_url"].endswith("/issues/7")
    assert comment["body"].startswith("<!-- model-navigator:Models/navigator.yaml outcome:")
    assert "❌ 1 of 2 conversions failed" in comment["body"]
    assert "not this" not in comment["body"]
    assert [(each[0], each[2]) for each in job.statuses] == [("failure", HEAD)]


def test_where_the_pull_request_has_gone_on_nobody_is_told(
    job: "Job", fork: Upload, reports: Callable[[str], bytes]
) -> None:
    job.workflow_run(sha="d" * 40)
    fork({"convert_results.yaml": reports("good")})
    ended = job.run("report")
    assert (ended.code, job.comments, ended.warnings) == (0, [], [])
    assert [each[2] for each in job.statuses] == ["d" * 40]


HOSTILE = "</details>\n\n@everyone <!-- model-navigator:Models/other outcome:00 --> [x](https://evil.example) #8"


def test_a_hostile_report_is_harmless_text(job: "Job", fork: Upload, reports: Callable[[str], bytes]) -> None:
    import yaml

    data = yaml.safe_load(reports("bad"))
    bad = next(each for each in data["results"] if each["status"]["state"] == "failed")
    bad["status"]["message"] = bad["model_name"] = HOSTILE + "\n::set-output name=status::success"
    bad["source_model_config"] |= {"config_path": "/etc/passwd", "line": 1, "pull_request": 8}
    bad["status"]["log_path"] = "/etc/passwd"
    data["notes"] = [HOSTILE, "pull_request: 8"]
    fork({"convert_results.yaml": yaml.safe_dump(data).encode()})
    ended = job.run("report")
    assert ended.code == 1, ended.log
    [comment] = job.github["comments"]
    assert comment["issue_url"].endswith("/issues/7")
    assert job.comments[0].count("<!--") == 1
    assert "\n@everyone" not in comment["body"]
    assert "](https://evil.example)" not in comment["body"]
    assert comment["body"].count("</details>") == comment["body"].count("<details")
    assert not re.search(r"^::set-output", ended.log, re.MULTILINE)
    assert "root:" not in ended.log
    assert "passwd" not in "".join(ended.annotations)
    assert ended.outputs["status"] == "failure"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"../convert_results.yaml": b"x"}, "'../convert_results.yaml' is unexpected"),
        ({"/etc/cron.d/x": b"x"}, "'/etc/cron.d/x' is unexpected"),
        ({"convert_results.yaml": b"\0" * 2**27}, "it unpacks to more than 200 times its size"),
        ({"convert_results.yaml": b"version: 99\n"}, "version 99 of convert_results.yaml, not 1"),
        ({"convert_results.yaml": b"version: 1\nresults: 5\n"}, "not a results file: "),
        ({"convert_results.yaml": b"[" * 100_000}, "not a results file: "),
        (
            {"convert_results.yaml": b"a: &a [x]\nb: *a\n"},
            "not a results file: line 2: a YAML alias isn't allowed here",
        ),
        ({"convert_results.yaml": b"\xff\xfe\x00"}, "not a results file: "),
        ({"summary.md": b"x"}, "convert_results.yaml: not a results file: No such file"),
    ],
)
def test_what_is_no_report_is_an_error(job: "Job", fork: Upload, files: dict[str, bytes], said: str) -> None:
    fork(files)
    ended = job.run("report")
    assert (ended.code, ended.outputs["status"]) == (2, "error"), ended.log
    assert said in ended.annotations[0]
    [comment] = job.github["comments"]
    assert comment["issue_url"].endswith("/issues/7")
    assert "The run didn't start" in comment["body"]
    # What changes with every run would edit the comment with every run.
    assert "/tmp" not in comment["body"]
    assert [(each[0], each[2]) for each in job.statuses] == [("error", HEAD)]
    assert "Traceback" not in ended.log


def test_an_artifact_that_has_expired_is_said(job: "Job", fork: Upload) -> None:
    fork({"convert_results.yaml": b""}, expired=True)
    ended = job.run("report")
    assert ended.code == 2
    assert "the artifact model-navigator-results of run 900 has expired" in ended.annotations[0]
    assert "run that workflow again" in ended.annotations[0]


def test_a_report_of_shards_is_taken_before_the_shards(
    job: "Job", fork: Upload, reports: Callable[[str], bytes]
) -> None:
    fork({"convert_results.yaml": reports("bad")}, name=f"{RESULTS}-1-of-2")
    fork({"convert_results.yaml": reports("bad")})
    fork({"convert_results.yaml": reports("good")})
    assert job.run("report").code == 0


def test_another_run_is_spoken_for_and_not_this_one(job: "Job", fork: Upload, reports: Callable[[str], bytes]) -> None:
    fork({"convert_results.yaml": reports("bad")})
    job.say("runs", [{"id": 900, "name": "Models", "sha": HEAD, "owner": "stranger", "branch": "topic"}])
    job.event("workflow_dispatch", {}, GITHUB_REF="refs/heads/main", GITHUB_WORKFLOW="Publish")
    ended = job.run("report", run_id="900")
    assert (ended.code, ended.warnings) == (1, []), ended.log
    [comment] = job.github["comments"]
    assert comment["issue_url"].endswith("/issues/7")
    assert comment["body"].startswith("<!-- model-navigator:Models/navigator.yaml ")
    assert [(each[0], each[2]) for each in job.statuses] == [("failure", HEAD)]


def test_results_are_not_written_through_a_link(job: "Job", fork: Upload, reports: Callable[[str], bytes]) -> None:
    fork({"convert_results.yaml": reports("good")})
    (job.root / "elsewhere").mkdir()
    (job.workspace / "navigator_workspace").symlink_to(job.root / "elsewhere")
    ended = job.run("report")
    assert ended.code == 2
    assert "navigator_workspace is a symbolic link or behind one" in ended.annotations[0]
    assert [*(job.root / "elsewhere").iterdir()] == []


@pytest.mark.fault(
    "A merged report can't be written",
    "The job fails and says why. Comment, status and outputs have the results all the same.",
)
def test_a_report_that_cannot_be_written_is_told_all_the_same(job: "Job", reports: Callable[[str], bytes]) -> None:
    (job.workspace / "results/summary.md").mkdir(parents=True)
    (job.workspace / "results/convert_results.yaml").write_bytes(reports("good"))
    ended = job.run("report", workspace_path="results", artifacts="none")
    assert (ended.code, ended.outputs["status"], ended.outputs["failures"]) == (1, "failure", "0"), ended.log
    assert "internal error" not in ended.log
    for told in (job.comments[0], job.statuses[-1][1], "".join(ended.annotations)):
        assert "results/summary.md couldn't be written: Is a directory" in told.replace("\\", "")
    assert "## ✅ 2 of 2 conversions passed" in job.comments[0]
    assert (job.workspace / "results/convert_results.yaml").is_file()


@pytest.mark.fault(
    "A report is larger than what GitHub shows of a job summary, or takes for a comment",
    "Both keep the verdict and what failed, and say what is left out.",
)
def test_a_report_that_is_too_large_keeps_what_matters(job: "Job") -> None:
    # Three bytes a character: in characters it would fit into the summary.
    name = "模型" * 20
    models = [f"{name}{number}" for number in range(800)]
    results = all_of(models, **dict.fromkeys(models[:700], mismatched))
    (job.workspace / "results").mkdir()
    write(run(results, origin=None), job.workspace / "results/convert_results.yaml")

    ended = job.run("report", workspace_path="results")

    assert ended.code == 1, ended.log
    for text, limit in ((ended.summary, 1024 * 1024), (job.comments[0], 65_535 * 3)):
        assert limit * 0.2 < len(text.encode()) <= limit
        assert f"2,800 of 3,200 conversions failed: `{name}0`" in text
        assert f"Details: <code>{name}0</code>, 4 of 4 mismatched" in text
        assert "**Truncated:** the full report doesn't fit here. Left out: " in text
        assert text.count("<details>") == text.count("</details>")
