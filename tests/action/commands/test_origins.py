"""`report` and `release` take results of their own commit and configuration, and whole ones, unless told otherwise."""

import re
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from navigator.report import storage

if TYPE_CHECKING:
    from tests.action.commands.conftest import Ended, Job

HEAD, TAGGED = "a" * 40, "c" * 40
RESULTS = "navigator_workspace/convert_results.yaml"


def refused(ended: "Ended", why: str) -> None:
    assert (ended.code, ended.outputs["status"]) == (2, "error"), ended.log
    assert why in ended.annotations[0]


def nothing_released(job: "Job") -> None:
    assert (job.github["releases"], job.github["assets"]) == ([], [])


def check_out(job: "Job") -> str:
    """Make the workspace a checkout of the job's repository, as `actions/checkout` leaves it; return its commit."""

    def git(*words: str) -> str:
        who = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false", "-c", "safe.directory=*"]
        done = subprocess.run(["git", *who, *words], cwd=job.workspace, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-q")
    git("remote", "add", "origin", "https://github.com/octocat/models")
    git("add", "-A")
    git("commit", "-q", "-m", "one")
    git("checkout", "-q", "--detach")
    return git("rev-parse", "HEAD")


def tagged(job: "Job", commit: str) -> None:
    job.say("tags", {"v1": commit})
    job.event("push", {}, GITHUB_REF="refs/tags/v1", GITHUB_SHA=commit)


@pytest.mark.fault(
    "Results that a branch left are released under a tag", "Nothing is released; the error names both commits."
)
def test_what_a_feature_branch_left_is_not_released_under_a_tag(job: "Job") -> None:
    assert job.run(artifacts="none").code == 0
    origin = storage.read(job.workspace / RESULTS).origin
    assert origin is not None
    # The pull request's head, not the merge commit in GITHUB_SHA.
    assert (origin.commit, origin.event, origin.run_id, origin.run_attempt) == (HEAD, "pull_request", 4711, 1)
    assert origin.config_path == "navigator.yaml"

    tagged(job, TAGGED)
    refused(
        job.run("release"),
        f"nothing was released as v1: the results are of commit {'a' * 12}, not of v1, which is commit {'c' * 12}",
    )
    # Nor where an event of the branch names the tag.
    job.event("workflow_dispatch", {}, GITHUB_REF="refs/heads/topic", GITHUB_SHA=HEAD)
    refused(job.run("release", tag="v1"), "not of v1, which is commit cccccccccccc")
    nothing_released(job)
    job.say("annotated", {"v2": HEAD})
    ended = job.run("release", tag="v2")
    assert ended.code == 0, ended.log


@pytest.mark.nightly
def test_results_of_another_configuration_are_not_released(job: "Job") -> None:
    tagged(job, HEAD)
    written = (job.workspace / "navigator.yaml").read_text()
    job.write("loose.yaml", f"{written}  atol: 100.0\n")
    assert job.run(artifacts="none", config="loose.yaml").code == 0
    refused(job.run("release"), "the results are of the configuration 'loose.yaml', not of 'navigator.yaml'")
    job.write("loose.yaml", written)
    refused(job.run("release", config="loose.yaml"), "of 'loose.yaml' with other content than here")
    nothing_released(job)
    # Written in another way it's the same.
    job.write("loose.yaml", f"# loose\n{written}  atol: {{'': 1.0e+2}}\n")
    assert job.run("release", config="./loose.yaml").code == 0


@pytest.mark.fault("Results of a filtered run are released", "Nothing is released, unless `allow_partial` is set.")
def test_a_part_is_released_if_it_is_allowed(job: "Job") -> None:
    tagged(job, HEAD)
    assert job.run(artifacts="none", conversions="*op13").code == 0
    refused(
        job.run("release"),
        "nothing was released as v1: the results cover only 1 of 2 conversions, without tiny/onnx_op14%0A  convert the "
        "others too, or set `allow_partial: true`",
    )
    nothing_released(job)
    assert job.run("release", allow_partial="true").code == 0
    names = {each["name"] for each in job.github["assets"]}
    assert names == {"convert_results.yaml", "summary.md", "report.html", "SHA256SUMS", "tiny-onnx_op13.onnx"}


def test_results_without_an_origin_are_reported_and_not_released(job: "Job", reports: Callable[[str], bytes]) -> None:
    tagged(job, HEAD)
    old = re.sub(r"(?m)^(origin|selection):\n(  .*\n)+", "", reports("good").decode())
    assert "\norigin" not in old
    job.write(RESULTS, old)
    refused(job.run("release"), "nothing was released as v1: the results name no commit")
    assert job.run("report", workspace_path="navigator_workspace").code == 0


@pytest.mark.nightly
def test_a_report_is_of_its_own_commit_and_configuration_and_whole(job: "Job") -> None:
    assert job.run(artifacts="none", conversions="*op13").code == 0
    report = {"command": "report", "workspace_path": "navigator_workspace"}
    refused(job.run(**report), "nothing was reported: the results cover only 1 of 2 conversions")
    assert job.statuses[-1][0] == "error"
    ended = job.run(**report, allow_partial="true")
    assert (ended.code, ended.outputs["total"]) == (0, "1"), ended.log
    refused(job.run(**report, config="other.yaml"), "the results are of the configuration 'navigator.yaml', not of")
    job.pull_request(sha="d" * 40)
    refused(job.run(**report), f"nothing was reported: the results are of commit {'a' * 12}, not of {'d' * 12}")


@pytest.mark.fault(
    "A model changes the commit or the filters in the results", "What the job knows counts, and a note says so."
)
def test_what_the_job_knows_counts_and_not_what_a_model_wrote(job: "Job") -> None:
    job.sabotage(
        f"""
        import atexit, pathlib, sys
        def forge():
            path = pathlib.Path("{RESULTS}")
            if path.exists():
                path.write_text(path.read_text().replace("{HEAD}", "{TAGGED}").replace("- '*op13'", "- '*'"))
        if "convert" in sys.argv:
            atexit.register(forge)
        """
    )
    ended = job.run(artifacts="none", conversions="*op13")
    assert ended.code == 0, ended.log
    found = storage.read(job.workspace / RESULTS)
    assert found.origin is not None
    assert found.origin.commit == HEAD
    assert found.selection.conversions == ("*op13",)
    assert "another program changed what the results say of commit" in found.notes[-1]


@pytest.mark.fault(
    "`pull_request_target`, `workflow_run` or a `ref` checks out another commit than the event's",
    "Nothing is converted, and the event's commit gets the status `error`, with what to write in the workflow.",
)
def test_a_status_is_only_set_on_the_commit_that_is_checked_out(job: "Job") -> None:
    commit = check_out(job)
    said = f"commit {commit[:12]} is checked out, but results and status are for {HEAD[:12]}, "
    job.pull_request()
    job.variables["GITHUB_EVENT_NAME"] = "pull_request_target"
    ended = job.run()
    refused(ended, f"{said}the head of the pull request%0A  run the workflow on `pull_request`, or set `ref: $")
    assert [(each[0], each[2]) for each in job.statuses] == [("error", HEAD)]
    assert "is checked out, but results and status are for" in job.comments[0]
    assert not (job.workspace / "navigator_workspace").exists()
    job.workflow_run()
    refused(job.run(shard="1/2"), f"{said}the commit of the triggering run%0A  for actions/checkout, set `ref: $")
    assert len(job.statuses) == 1
    # No runner with a GPU is needed to find out.
    refused(job.run("plan"), said)
    assert job.statuses[-1][::2] == ("error", HEAD)


@pytest.mark.parametrize("warned", [False, True])
def test_the_merge_commit_that_is_checked_out_is_converted(job: "Job", warned: bool) -> None:
    job.variables["GITHUB_SHA"] = check_out(job)
    if warned:
        (job.workspace / ".git/HEAD").write_text("ref: refs/heads/.invalid\n")
    ended = job.run(artifacts="none", conversions="*op13")
    assert ended.code == 0, ended.log
    unknown = f".git: its refs are in a reftable, so it's unknown whether commit {HEAD[:12]} is checked out"
    assert ended.warnings == ([unknown] if warned else [])
    origin = storage.read(job.workspace / RESULTS).origin
    assert origin is not None
    assert origin.merge_commit == ("" if warned else job.variables["GITHUB_SHA"])
    assert {each[2] for each in job.statuses} == {HEAD}


def test_reports_need_no_checkout_of_their_commit(job: "Job", reports: Callable[[str], bytes]) -> None:
    check_out(job)
    job.workflow_run()
    job.write(RESULTS, reports("good").decode().replace("commit: ''", f"commit: {HEAD}"))
    ended = job.run("report", workspace_path="navigator_workspace", artifacts="none")
    assert ended.code == 0, ended.log
    assert [(each[0], each[2]) for each in job.statuses] == [("success", HEAD)]
