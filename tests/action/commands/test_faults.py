"""Trouble with GitHub, the artifact service or the way there: nothing doubled, nothing lost, and an end."""

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import requests

if TYPE_CHECKING:
    from tests.action.commands.conftest import Job

Chaos = Callable[[str], tuple[str, str]]
COMMENTS = "/issues/7/comments"


@pytest.mark.fault(
    "GitHub's API answers a comment with an error, half an answer or none",
    "The action tries again, and the pull request has one comment.",
)
@pytest.mark.parametrize(
    "fault",
    [
        {"method": "POST", "path": COMMENTS, "reset": True, "carry_out": True},
        {"method": "POST", "path": COMMENTS, "truncate": 20},
        {"method": "POST", "path": COMMENTS, "status": 502, "carry_out": True, "body": "<html>"},
        {"method": "POST", "path": COMMENTS, "status": 500},
        {"method": "GET", "path": COMMENTS, "status": 503},
        {"method": "POST", "path": COMMENTS, "status": 429, "headers": {"Retry-After": "1"}},
        {"path": "/user", "reset": True},
    ],
    ids=["reset", "cut", "502", "500", "503", "429", "user"],
)
def test_a_comment_is_made_once(job: "Job", reports: Callable[[str], bytes], fault: dict[str, Any]) -> None:
    (job.workspace / "results").mkdir()
    (job.workspace / "results/convert_results.yaml").write_bytes(reports("good"))
    job.say("faults", [fault])
    ended = job.run("report", workspace_path="results", artifacts="none")
    assert (ended.code, ended.warnings) == (0, []), ended.log
    assert len(job.comments) == 1
    assert ended.outputs["comment_url"] == job.github["comments"][0]["html_url"]
    assert [each[0] for each in job.statuses] == ["success"]


@pytest.mark.fault(
    "Statuses and artifacts fail once",
    "The action tries again. The status and both artifacts are there.",
)
def test_a_status_and_an_artifact_in_spite_of_errors(job: "Job") -> None:
    job.say("faults", [{"path": "/statuses/", "status": 500}, {"path": "/statuses/", "reset": True}])
    job.say_results("faults", [{"method": "CreateArtifact", "times": 1, "reset": True, "carry_out": True}])
    job.say_results("faults", [{"method": "FinalizeArtifact", "times": 1, "status": 503}])
    ended = job.run()
    assert (ended.code, ended.warnings) == (0, []), ended.log
    assert job.statuses[-1][0] == "success"
    assert job.artifacts().keys() == {"model-navigator-results", "model-navigator-models"}


@pytest.mark.fault(
    "Comments and artifacts fail for good",
    "One warning for each says what GitHub answered. Verdict and status stay.",
)
def test_what_stays_broken_costs_its_channel_alone(job: "Job") -> None:
    job.say("faults", [{"method": "POST", "path": COMMENTS, "status": 422, "message": "Validation Failed", "times": 9}])
    job.say_results("faults", [{"method": "CreateArtifact", "times": 9, "status": 400, "body": '{"msg": "not today"}'}])
    ended = job.run()
    assert ended.code == 0
    artifact, comment = ended.warnings
    assert artifact.startswith("no artifact was uploaded; the files are in navigator_workspace: ")
    assert "not today" in artifact
    assert comment.startswith(
        "couldn't comment on the pull request: GitHub refused POST /repos/octocat/models/issues/7"
    )
    assert "Validation Failed" in comment
    assert job.statuses[-1][0] == "success"


@pytest.mark.fault(
    "GitHub's rate limit is reached",
    "The run ends on time, with a warning that says when GitHub would answer again.",
)
def test_a_limit_of_rates_does_not_hold_up_the_work(job: "Job") -> None:
    limit = {"Retry-After": "3000"}
    job.say("faults", [{"status": 429, "headers": limit, "times": 99, "message": "API rate limit exceeded"}])
    ended = job.run()
    assert ended.code == 0
    assert ended.seconds < 60
    # Of the status before and after the run, the same is said once.
    assert [each.partition(":")[0] for each in ended.warnings] == [
        "couldn't set the commit status",
        "couldn't comment on the pull request",
    ]
    for each in ended.warnings:
        assert "The next attempt, in 3000 s, would exceed" in each
    assert job.artifacts().keys() == {"model-navigator-results", "model-navigator-models"}


@pytest.mark.fault(
    "Connections break in the middle of an answer or an upload",
    "The action tries again. Nothing is there twice.",
)
def test_the_way_to_everything_is_shaken(job: "Job", chaos: Chaos) -> None:
    api, api_control = chaos(job.github_url)
    results, results_control = chaos(job.results_url)
    job.variables |= {"GITHUB_API_URL": api, "ACTIONS_RESULTS_URL": results}
    for match in ("POST /repos/octocat/models/statuses", "POST /repos/octocat/models/issues", "GET /user"):
        faults = [{"match": match, "direction": "down", "after": 0, "action": "reset"}]
        requests.post(api_control, json=faults, timeout=10).raise_for_status()
    for match in ("CreateArtifact", "FinalizeArtifact"):
        faults = [{"match": match, "direction": "down", "after": 10, "action": "close"}]
        requests.post(results_control, json=faults, timeout=10).raise_for_status()
    ended = job.run()
    assert (ended.code, ended.warnings) == (0, []), ended.log
    assert len(job.comments) == 1
    assert job.statuses[-1][0] == "success"
    assert job.artifacts().keys() == {"model-navigator-results", "model-navigator-models"}
    taken = [requests.get(each, timeout=10).json()["taken"] for each in (api_control, results_control)]
    assert [len(each) for each in taken] == [3, 2]


@pytest.mark.fault(
    "GitHub and its artifact service can't be reached",
    "The models are converted, and the job summary and outputs hold the verdict. Warnings name what is missing.",
)
def test_everything_is_down(job: "Job") -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    job.variables |= {"GITHUB_API_URL": nobody, "ACTIONS_RESULTS_URL": nobody}
    ended = job.run()
    assert ended.code == 0, ended.log
    assert ended.outputs["status"] == "success"
    assert ended.summary.startswith("### ✅ 2 of 2 conversions passed")
    assert [each.partition(":")[0] for each in ended.warnings] == [
        "couldn't set the commit status",
        "no artifact was uploaded; the files are in navigator_workspace",
        "couldn't set the commit status",
        "couldn't comment on the pull request",
    ]
    assert "Couldn't connect to GitHub for GET /repos/octocat/models/commits/" in ended.warnings[2]
    assert ended.seconds < 120
