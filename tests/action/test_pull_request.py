"""Which pull request an event belongs to, by what GitHub says and by nothing else."""

from typing import Any

import pytest
import requests

from navigator.github.budget import Budget
from navigator.github.event import Event
from navigator.github.pull_request import pull_request_of
from navigator.github.rest import PublishError, Rest

HEAD, OLDER = "a" * 40, "b" * 40


@pytest.fixture
def rest(github: str) -> Rest:
    return Rest(github, "ghs_job", Budget(60))


def _event(name: str, **values: Any) -> Event:
    fields: dict[str, Any] = {
        "name": name,
        "repository": "octocat/models",
        "sha": HEAD,
        "pull_request": None,
        "fork": False,
        "tag": "",
        "ref": "refs/heads/feature",
        "run_id": 7,
        "run_attempt": 1,
        "workflow": "CI",
        "job": "convert",
        "server_url": "https://github.com",
        "api_url": "https://api.github.com",
        "head_owner": "",
        "head_branch": "",
        "triggering_run": None,
        "triggering_workflow": "",
    }
    return Event(**(fields | values))


def _pulls(github: str, *pulls: tuple[int, str, str, str, str]) -> None:
    names = ("number", "owner", "branch", "sha", "state")
    made = [dict(zip(names, each, strict=True)) for each in pulls]
    requests.post(f"{github}/control/pulls", json=made, timeout=30).raise_for_status()


def _calls(github: str) -> list[str]:
    return [path for _, path, _ in requests.get(f"{github}/control/state", timeout=30).json()["calls"]]


def test_a_pull_requests_own_event_names_it(github: str, rest: Rest) -> None:
    assert pull_request_of(rest, _event("pull_request", pull_request=5)) == 5
    assert _calls(github) == []


@pytest.mark.parametrize("name", ["push", "workflow_dispatch"])
def test_a_push_belongs_to_the_open_pull_request_with_its_commit(github: str, rest: Rest, name: str) -> None:
    _pulls(
        github,
        (1, "octocat", "merged", HEAD, "closed"),
        (2, "octocat", "feature", HEAD, "open"),
        (3, "octocat", "behind", OLDER, "open"),
    )
    assert pull_request_of(rest, _event(name)) == 2


def test_a_push_without_a_pull_request_has_none(github: str, rest: Rest) -> None:
    _pulls(github, (1, "octocat", "feature", HEAD, "closed"), (2, "octocat", "feature", OLDER, "open"))
    assert pull_request_of(rest, _event("push")) is None


def test_a_tag_has_none(github: str, rest: Rest) -> None:
    _pulls(github, (1, "octocat", "feature", HEAD, "open"))
    assert pull_request_of(rest, _event("push", tag="v1")) is None
    assert _calls(github) == []


def test_a_run_of_a_fork_is_found_by_its_owner_and_branch(github: str, rest: Rest) -> None:
    _pulls(
        github,
        (1, "octocat", "feature", HEAD, "open"),
        (2, "eve", "feature", HEAD, "open"),
        (3, "eve", "other", HEAD, "open"),
    )
    event = _event("workflow_run", fork=True, head_owner="eve", head_branch="feature", triggering_run=6)
    assert pull_request_of(rest, event) == 2
    assert not any("/commits/" in path for path in _calls(github))


@pytest.mark.parametrize(
    "pull",
    [
        pytest.param((2, "eve", "feature", OLDER, "open"), id="moved on"),
        pytest.param((2, "eve", "feature", HEAD, "closed"), id="closed"),
        pytest.param((2, "mallory", "feature", HEAD, "open"), id="another fork"),
    ],
)
def test_a_run_whose_pull_request_is_another_has_none(
    github: str, rest: Rest, pull: tuple[int, str, str, str, str]
) -> None:
    _pulls(github, pull)
    event = _event("workflow_run", fork=True, head_owner="eve", head_branch="feature", triggering_run=6)
    assert pull_request_of(rest, event) is None


def test_a_branch_may_have_characters_of_a_query(github: str, rest: Rest) -> None:
    _pulls(github, (2, "eve", "a&b=c/d#e+f", HEAD, "open"), (3, "eve", "a", HEAD, "open"))
    event = _event("workflow_run", head_owner="eve", head_branch="a&b=c/d#e+f")
    assert pull_request_of(rest, event) == 2


def test_a_token_that_may_not_read_is_told_what_it_lacks(github: str, rest: Rest) -> None:
    fault = {"path": "pulls", "status": 403, "message": "Resource not accessible by integration"}
    requests.post(f"{github}/control/faults", json=[fault], timeout=30).raise_for_status()
    with pytest.raises(PublishError, match="Give the job the permission `pull-requests: read`"):
        pull_request_of(rest, _event("push"))
