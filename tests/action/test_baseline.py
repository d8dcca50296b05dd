"""Which results a commit is compared with: of merged code only, by what GitHub says, and in a few requests."""

import base64
from typing import Any

import pytest
import requests

from navigator.github.baseline import Kept, kept_results
from navigator.github.budget import Budget
from navigator.github.event import Event
from navigator.github.rest import PublishError, Rest

ARTIFACT = "model-navigator-results"
# main: m0 <- m1 <- m2 <- m3; the head leaves it at m2, and `merge` merges the head into m3.
M0, M1, M2, M3 = ("0123"[number] * 40 for number in range(4))
M0 = "f" * 40
HEAD, MERGE, OTHER = "a" * 40, "b" * 40, "c" * 40
COMMITS = {M0: [], M1: [M0], M2: [M1, OTHER], M3: [M2], OTHER: [M0], HEAD: [M2], MERGE: [M3, HEAD]}


class Hub:
    """The fake GitHub, and what a job finds there."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.last = 100
        self.say("commits", COMMITS)
        self.say("branches", {"main": M3})

    def say(self, what: str, body: Any) -> None:
        requests.post(f"{self.url}/control/{what}", json=body, timeout=30).raise_for_status()

    def ran(self, sha: str, *, kept: bool = True, name: str = ARTIFACT, expired: bool = False, **values: Any) -> int:
        """Let the workflow have run for a commit; return the run's number."""
        self.last += 1
        given = {"id": self.last, "name": "Models", "sha": sha, "owner": "octocat", "branch": "main"}
        self.say("runs", [given | values])
        if kept:
            content = base64.b64encode(b"PK").decode()
            self.say("artifacts", {"run": self.last, "name": name, "base64": content, "expired": expired})
        return self.last

    def found(self, event: Event, converted: str = MERGE) -> list[Kept]:
        rest = Rest(self.url, "ghs_job", Budget(60))
        return [*kept_results(rest, event, converted=converted, artifact=ARTIFACT)]

    def first(self, event: Event, converted: str = MERGE) -> tuple[int, str, str] | None:
        """Return the run that is compared with, its commit, and what that is called."""
        rest = Rest(self.url, "ghs_job", Budget(60))
        best = next(kept_results(rest, event, converted=converted, artifact=ARTIFACT), None)
        return None if best is None else (best.run_id, best.commit, best.relation)

    @property
    def calls(self) -> list[str]:
        return [path for _, path, _ in requests.get(f"{self.url}/control/state", timeout=30).json()["calls"]]


@pytest.fixture
def hub(github: str) -> Hub:
    return Hub(github)


def an_event(name: str = "pull_request", **values: Any) -> Event:
    fields: dict[str, Any] = {
        "name": name,
        "repository": "octocat/models",
        "sha": HEAD,
        "pull_request": 7 if name == "pull_request" else None,
        "fork": False,
        "tag": "",
        "ref": "refs/pull/7/merge",
        "run_id": 9000,
        "run_attempt": 1,
        "workflow": "Models",
        "job": "convert",
        "server_url": "https://github.com",
        "api_url": "https://api.github.com",
        "head_owner": "octocat",
        "head_branch": "topic",
        "triggering_run": None,
        "triggering_workflow": "",
        "default_branch": "main",
        "merge_sha": MERGE,
        "workflow_id": "models.yml",
        "base_branch": "main" if name == "pull_request" else "",
    }
    return Event(**(fields | values))


def test_a_merge_commit_is_compared_with_what_it_merges_into(hub: Hub) -> None:
    hub.ran(M2)
    newest = hub.ran(M3)
    assert hub.first(an_event()) == (newest, M3, "merge base")
    assert len(hub.calls) == 3


def test_a_head_is_compared_with_where_it_left_the_branch(hub: Hub) -> None:
    old = hub.ran(M2)
    hub.ran(M3)
    assert hub.first(an_event(), HEAD) == (old, M2, "merge base")


def test_a_merge_commit_that_is_gone_gives_way_to_the_head(hub: Hub) -> None:
    old = hub.ran(M2)
    hub.ran(M3)
    assert hub.first(an_event(), "9" * 40) == (old, M2, "merge base")


def test_the_nearest_ancestor_with_results_counts_and_says_how_far_it_is(hub: Hub) -> None:
    oldest = hub.ran(M0)
    nearest = hub.ran(M1)
    hub.ran(M2, kept=False)
    hub.ran(M3, conclusion="cancelled")
    found = hub.found(an_event())
    assert [(each.run_id, each.relation) for each in found] == [
        (nearest, "2 commits before the merge base"),
        (oldest, "3 commits before the merge base"),
    ]
    assert len(hub.calls) <= 10


def test_of_several_runs_and_attempts_the_newest_counts(hub: Hub) -> None:
    hub.ran(M3)
    newest = hub.ran(M3, conclusion="failure")
    hub.say(
        "artifacts", {"run": newest, "name": ARTIFACT, "base64": base64.b64encode(b"PK of a later attempt").decode()}
    )
    hub.ran(M3, conclusion=None)
    best = hub.found(an_event())[0]
    assert (best.run_id, best.size_bytes) == (newest, 21)
    assert best.run_url == f"https://github.com/octocat/models/actions/runs/{newest}"


def test_an_expired_artifact_and_another_jobs_are_passed_over(hub: Hub) -> None:
    older = hub.ran(M1)
    hub.ran(M2, name="model-navigator-gpu.yaml-results")
    hub.ran(M3, expired=True)
    assert hub.first(an_event()) == (older, M1, "2 commits before the merge base")


def test_without_an_ancestor_the_branch_s_newest_counts(hub: Hub) -> None:
    hub.say("commits", {"d" * 40: [M3], "e" * 40: ["d" * 40]})
    hub.ran("d" * 40)
    newest = hub.ran("e" * 40)
    assert hub.first(an_event()) == (newest, "e" * 40, "newest of main")


@pytest.mark.fault(
    "A stranger's run offers results to compare with",
    "Only runs of pushes, schedules and dispatches on the base branch count, and those of its merge queue.",
)
@pytest.mark.parametrize(
    "run",
    [
        pytest.param({"owner": "stranger"}, id="push in a fork"),
        pytest.param({"owner": "stranger", "event": "pull_request"}, id="pull request from a fork's main"),
        pytest.param({"event": "pull_request"}, id="pull request from main"),
        pytest.param({"event": "pull_request_target"}, id="pull_request_target"),
        pytest.param({"event": "workflow_run"}, id="workflow_run"),
        pytest.param({"branch": "topic"}, id="push on another branch"),
        pytest.param({"branch": "topic", "event": "workflow_dispatch"}, id="dispatch on another branch"),
        pytest.param({"branch": "gh-readonly-queue/other/pr-1", "event": "merge_group"}, id="queue of another branch"),
        pytest.param({"branch": "main", "event": "merge_group"}, id="no queue"),
        pytest.param({"file": "another.yml"}, id="another workflow"),
        pytest.param({"conclusion": "timed_out"}, id="timed out"),
    ],
)
def test_nobody_else_s_results_become_the_base(hub: Hub, run: dict[str, Any]) -> None:
    hub.ran(OTHER, kept=False)
    for commit in (M1, M2, M3, HEAD, MERGE):
        if run.get("file"):
            hub.say(
                "runs", [{"id": 1, "name": "x", "sha": M0, "owner": "octocat", "branch": "main", "conclusion": None}]
            )
        hub.ran(commit, **run)
    assert hub.found(an_event()) == []
    assert hub.found(an_event(), HEAD) == []


@pytest.mark.parametrize(
    "run",
    [
        {"event": "schedule"},
        {"event": "workflow_dispatch"},
        {"event": "merge_group", "branch": "gh-readonly-queue/main/pr-6-abc"},
    ],
)
@pytest.mark.parametrize("commit", [M3, M1])
def test_other_runs_of_merged_code_count(hub: Hub, run: dict[str, Any], commit: str) -> None:
    there = hub.ran(commit, **run)
    best = hub.found(an_event())[0]
    assert (best.run_id, best.branch) == (there, "main")


def test_a_push_to_the_default_branch_is_compared_with_the_commit_before(hub: Hub) -> None:
    hub.ran(M1)
    before = hub.ran(M2)
    event = an_event("push", sha=M3, ref="refs/heads/main", previous=M2)
    assert hub.first(event, M3) == (before, M2, "previous commit")


def test_a_scheduled_run_is_compared_with_the_one_before(hub: Hub) -> None:
    before = hub.ran(M3, event="schedule")
    hub.ran(M3, event="schedule", id=9000)
    event = an_event("schedule", sha=M3, ref="refs/heads/main")
    assert hub.first(event, M3) == (before, M3, "same commit, earlier run")


def test_a_push_to_another_branch_is_compared_with_the_merge_base(hub: Hub) -> None:
    there = hub.ran(M2)
    event = an_event("push", ref="refs/heads/topic", previous=OTHER)
    assert hub.first(event, HEAD) == (there, M2, "merge base")


def test_a_merge_queue_is_compared_with_what_it_merges_into(hub: Hub) -> None:
    there = hub.ran(M3)
    event = an_event("merge_group", sha=MERGE, ref="refs/heads/gh-readonly-queue/main/pr-7", base_branch="main")
    assert hub.first(event, MERGE) == (there, M3, "merge base")
    assert hub.first(an_event("merge_group", sha=MERGE, base_branch="main", previous=M3), MERGE) == (
        there,
        M3,
        "merge base",
    )


def test_a_run_of_a_fork_is_compared_with_the_base_of_its_pull_request(hub: Hub) -> None:
    hub.say("branches", {"release/1.x": M1})
    hub.say("pulls", [{"number": 7, "owner": "stranger", "branch": "topic", "sha": HEAD, "base": "release/1.x"}])
    hub.ran(M2)
    there = hub.ran(M1, branch="release/1.x")
    event = an_event("workflow_run", fork=True, head_owner="stranger", triggering_run=77, workflow_id="1")
    assert hub.first(event, HEAD) == (there, M1, "merge base")


def test_a_run_that_followed_a_push_is_compared_with_the_commit_before(hub: Hub) -> None:
    before = hub.ran(M2)
    hub.ran(M3, id=77)
    event = an_event("workflow_run", sha=M3, head_branch="main", triggering_run=77)
    assert hub.first(event, M3) == (before, M2, "previous commit")


def test_there_are_few_requests_whatever_there_is(hub: Hub) -> None:
    for _ in range(30):
        hub.ran(M1, kept=False)
    with pytest.raises(PublishError, match="10 requests to GitHub found no earlier run with results"):
        hub.found(an_event())
    assert len(hub.calls) == 10


def test_no_ancestor_is_further_than_fifty_commits(hub: Hub) -> None:
    far = {f"{number:040x}": [f"{number - 1:040x}"] for number in range(1, 70)} | {f"{0:040x}": []}
    hub.say("commits", far)
    hub.say("commits", {HEAD: [f"{69:040x}"]})
    hub.say("branches", {"main": f"{69:040x}"})
    hub.ran(f"{10:040x}")
    assert [each.relation for each in hub.found(an_event(), HEAD)] == ["newest of main"]
    there = hub.ran(f"{19:040x}")
    assert hub.first(an_event(), HEAD) == (there, f"{19:040x}", "50 commits before the merge base")


def test_what_the_token_may_not_read_is_an_error_that_names_the_permission(hub: Hub) -> None:
    hub.ran(M3)
    hub.say("faults", [{"path": "/actions/", "status": 403, "message": "Resource not accessible by integration"}])
    with pytest.raises(PublishError, match="`actions: read`"):
        hub.found(an_event())


def test_without_a_workflow_nobody_is_asked(hub: Hub) -> None:
    with pytest.raises(PublishError, match="GITHUB_WORKFLOW_REF isn't set"):
        hub.found(an_event(workflow_id=""))
    assert hub.calls == []
