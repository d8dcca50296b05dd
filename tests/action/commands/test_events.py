"""Whom a job speaks to: the events, the ways to comment, and what fails the job. From results that are there."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.action.commands.conftest import Ended, Job

HEAD, MERGE = "a" * 40, "b" * 40
MATCHES = {"number": 7, "owner": "octocat", "branch": "topic", "sha": HEAD}

Publish = Callable[..., "Ended"]


@pytest.fixture
def publish(job: "Job", reports: Callable[[str], bytes]) -> Publish:
    """Return a function that runs `report` on the results of a run that was "good" or "bad"."""

    def run(outcome: str, **inputs: str) -> "Ended":
        job.write("results/convert_results.yaml", "")
        (job.workspace / "results/convert_results.yaml").write_bytes(reports(outcome))
        return job.run("report", **{"workspace_path": "results", "artifacts": "none", **inputs})

    return run


def test_comment_never(job: "Job", publish: Publish) -> None:
    ended = publish("bad", comment="never")
    assert (ended.code, job.comments, "comment_url" in ended.outputs) == (1, [], False)
    assert [each[0] for each in job.statuses] == ["failure"]


def test_comment_on_failure_and_on_its_end(job: "Job", publish: Publish) -> None:
    publish("good", comment="failure")
    assert job.comments == []
    publish("bad", comment="failure")
    assert "❌ 1 of 2 conversions failed" in job.comments[0]
    publish("good", comment="failure")
    [comment] = job.comments
    assert "✅ 2 of 2 conversions passed" in comment


def test_comment_on_change(job: "Job", publish: Publish) -> None:
    publish("good", comment="change")
    assert job.comments == []
    publish("bad", comment="change")
    [first] = job.github["comments"]
    shown = job.comments
    job.variables["GITHUB_RUN_ID"] = "4712"
    publish("bad", comment="change")
    assert job.comments == shown
    publish("good", comment="change")
    [last] = job.github["comments"]
    assert last["id"] == first["id"]
    assert "✅" in last["body"]


def test_comment_always_leaves_alone_what_says_the_same(job: "Job", publish: Publish) -> None:
    publish("good")
    publish("good")
    assert len(job.comments) == 1
    assert [call[0] for call in job.github["calls"] if "comments" in call[1]].count("PATCH") == 0
    # A comment that only looks like ours is somebody else's.
    job.say("reset", None)
    job.say("comments", {"issue": 7, "comments": [{"login": "stranger", "body": "<!-- model-navigator:x -->"}]})
    publish("good")
    assert len(job.comments) == 2


@pytest.mark.parametrize(
    ("fail_on", "good", "bad", "wrong"),
    [("failure", 0, 1, 2), ("regression", 0, 1, 2), ("error", 0, 0, 2), ("never", 0, 0, 0)],
)
def test_what_fails_the_job(job: "Job", publish: Publish, fail_on: str, good: int, bad: int, wrong: int) -> None:
    assert publish("good", fail_on=fail_on).code == good
    ended = publish("bad", fail_on=fail_on)
    assert (ended.code, ended.outputs["exit_code"], ended.outputs["status"]) == (bad, "1", "failure")
    assert job.statuses[-1][0] == "failure"
    job.write("navigator.yaml", "models: 3\n")
    ended = job.run(fail_on=fail_on)
    assert (ended.code, ended.outputs["exit_code"], ended.outputs["status"]) == (wrong, "2", "error")


def test_a_push_to_a_branch_with_a_pull_request(job: "Job", publish: Publish) -> None:
    job.say("pulls", [MATCHES | {"number": 6, "sha": "c" * 40}, MATCHES])
    job.event("push", {}, GITHUB_SHA=HEAD, GITHUB_REF="refs/heads/topic")
    ended = publish("good")
    assert (ended.code, ended.warnings) == (0, [])
    assert [each["issue_url"].split("/")[-1] for each in job.github["comments"]] == ["7"]
    assert [each[2] for each in job.statuses] == [HEAD]


@pytest.mark.parametrize(
    ("name", "ref"),
    [("push", "refs/heads/main"), ("push", "refs/tags/v1"), ("workflow_dispatch", "refs/heads/main")],
)
def test_where_there_is_no_pull_request_there_is_no_comment(job: "Job", publish: Publish, name: str, ref: str) -> None:
    job.say("pulls", [MATCHES])
    job.event(name, {}, GITHUB_REF=ref)
    ended = publish("good")
    assert (ended.code, ended.warnings, job.comments) == (0, [], [])
    assert "comment_url" not in ended.outputs
    assert [(each[0], each[2]) for each in job.statuses] == [("success", MERGE)]


def test_a_fork_may_write_nothing_and_the_job_says_how_to(job: "Job", publish: Publish) -> None:
    job.pull_request(owner="stranger")
    job.variables["INPUT_TOKEN"] = job.secrets["INPUT_TOKEN"] = "ghs_fork"
    ended = publish("good", artifacts="converted", check_run="true")
    assert ended.code == 0
    [warning] = ended.warnings
    assert warning.startswith("no comment, status or check run: tokens for pull requests from forks are read-only.")
    assert warning.endswith("A workflow_run workflow with `command: report` can publish them.")
    assert job.artifacts().keys() == {"model-navigator-results"}
    assert ended.summary.startswith("### ✅")
    assert publish("bad").code == 1


def test_outside_of_a_job_it_says_so(job: "Job") -> None:
    del job.variables["GITHUB_REPOSITORY"]
    ended = job.run()
    assert ended.code == 2
    assert ended.log.startswith("::error::GITHUB_REPOSITORY isn't set: not running in GitHub Actions")
