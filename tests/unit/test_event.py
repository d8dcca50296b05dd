"""What a job runs for, from payloads as GitHub sends them."""

import json
from pathlib import Path
from typing import Any

import pytest

from navigator.cache.layers import Layers
from navigator.errors import ConfigurationError
from navigator.github.event import Event, cache_layer, read_event

_MERGE = "a" * 40
_HEAD = "b" * 40
_RUNNER = {
    "GITHUB_REPOSITORY": "octo/models",
    "GITHUB_SHA": _MERGE,
    "GITHUB_RUN_ID": "4711",
    "GITHUB_RUN_ATTEMPT": "1",
    "GITHUB_WORKFLOW": "Models",
    "GITHUB_JOB": "convert",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_API_URL": "https://api.github.com",
}
_HOME = {"full_name": "octo/models", "owner": {"login": "octo"}}
_FORK = {"full_name": "stranger/models", "owner": {"login": "stranger"}}


def _read(tmp_path: Path, name: str, payload: Any, **more: str) -> Event:
    path = tmp_path / "event.json"
    path.write_text(payload if isinstance(payload, str) else json.dumps(payload))
    return read_event({**_RUNNER, "GITHUB_EVENT_NAME": name, "GITHUB_EVENT_PATH": str(path), **more})


def _pull_request(repository: Any) -> dict[str, Any]:
    head = {"sha": _HEAD, "ref": "faster", "repo": repository, "user": {"login": "stranger"}}
    return {"number": 7, "pull_request": {"number": 7, "head": head, "base": {"sha": "c" * 40, "repo": _HOME}}}


@pytest.mark.parametrize("name", ["pull_request", "pull_request_target"])
def test_a_pull_request_is_reported_on_its_head_and_not_on_the_merge_commit(tmp_path: Path, name: str) -> None:
    event = _read(tmp_path, name, _pull_request(_HOME), GITHUB_REF="refs/pull/7/merge")

    assert (event.sha, event.pull_request, event.fork, event.tag) == (_HEAD, 7, False, "")
    assert (event.head_owner, event.head_branch) == ("octo", "faster")
    assert event.run_url == event.log_url == "https://github.com/octo/models/actions/runs/4711"


def test_a_head_in_another_repository_is_a_fork(tmp_path: Path) -> None:
    event = _read(tmp_path, "pull_request", _pull_request(_FORK))

    assert (event.fork, event.head_owner, event.sha) == (True, "stranger", _HEAD)


def test_a_deleted_fork_is_one_too(tmp_path: Path) -> None:
    event = _read(tmp_path, "pull_request", _pull_request(None))

    assert (event.fork, event.head_owner) == (True, "stranger")


def test_the_repository_is_the_same_in_any_case(tmp_path: Path) -> None:
    assert not _read(tmp_path, "pull_request", _pull_request({**_HOME, "full_name": "Octo/Models"})).fork


@pytest.mark.parametrize(
    ("name", "ref", "payload", "tag"),
    [
        ("push", "refs/heads/main", {"ref": "refs/heads/main", "after": _MERGE}, ""),
        ("push", "refs/heads/tags/v1", {"ref": "refs/heads/tags/v1"}, ""),
        ("push", "refs/tags/v1.2.0", {"ref": "refs/tags/v1.2.0"}, "v1.2.0"),
        ("push", "refs/tags/models/v2", {}, "models/v2"),
        ("release", "refs/tags/v1.2.0", {"release": {"tag_name": "v1.2.0"}}, "v1.2.0"),
        ("release", "", {"action": "created", "release": {"tag_name": "v1.2.0", "draft": True}}, "v1.2.0"),
        ("workflow_dispatch", "refs/heads/main", {"inputs": {"tag": "v9"}}, ""),
        ("workflow_dispatch", "refs/tags/v1.2.0", {"inputs": None}, "v1.2.0"),
        ("schedule", "refs/heads/main", {"schedule": "0 3 * * *"}, ""),
    ],
)
def test_other_events_are_reported_on_the_commit_of_the_job(
    tmp_path: Path, name: str, ref: str, payload: dict[str, Any], tag: str
) -> None:
    event = _read(tmp_path, name, payload, GITHUB_REF=ref)

    assert (event.sha, event.pull_request, event.fork, event.tag, event.ref) == (_MERGE, None, False, tag, ref)


def test_what_a_commit_is_merged_into_and_what_was_before_it(tmp_path: Path) -> None:
    pull = _pull_request(_FORK)
    pull["pull_request"]["base"]["ref"] = "release/1.x"
    workflow = {"GITHUB_WORKFLOW_REF": "octo/models/.github/workflows/models.yml@refs/pull/7/merge"}
    event = _read(tmp_path, "pull_request", pull, **workflow)
    assert (event.base_branch, event.workflow_id, event.previous) == ("release/1.x", "models.yml", "")

    group = {"base_ref": "refs/heads/main", "base_sha": "c" * 40, "head_ref": "refs/heads/gh-readonly-queue/main/pr-7"}
    event = _read(tmp_path, "merge_group", {"merge_group": group})
    assert (event.base_branch, event.previous, event.workflow_id) == ("main", "c" * 40, "")

    event = _read(tmp_path, "push", {"before": "c" * 40})
    assert (event.base_branch, event.previous) == ("", "c" * 40)
    # The first push of a branch.
    assert _read(tmp_path, "push", {"before": "0" * 40}).previous == ""

    followed = _workflow_run(_HOME)
    followed["workflow_run"]["workflow_id"] = 12
    # Its own workflow is another one than the one that it speaks for.
    assert _read(tmp_path, "workflow_run", followed, **workflow).workflow_id == "12"


@pytest.mark.parametrize(
    ("name", "ref", "of_default_branch"),
    [
        ("push", "refs/heads/main", True),
        ("workflow_dispatch", "refs/heads/main", True),
        ("schedule", "", True),
        ("push", "refs/heads/topic", False),
        ("push", "refs/tags/main", False),
        ("pull_request", "refs/pull/7/merge", False),
        ("merge_group", "refs/heads/gh-readonly-queue/main/pr-7", False),
    ],
)
def test_which_runs_are_of_the_default_branch(tmp_path: Path, name: str, ref: str, of_default_branch: bool) -> None:
    payload = _pull_request(_HOME) if name == "pull_request" else {}
    event = _read(tmp_path, name, {**payload, "repository": {"default_branch": "main"}}, GITHUB_REF=ref)
    assert event.is_of_default_branch == of_default_branch


@pytest.mark.parametrize(
    ("repository", "branch", "of_default_branch"),
    [(_HOME, "main", True), (_HOME, "topic", False), (_FORK, "main", False)],
)
def test_a_run_that_followed_another_is_of_its_branch(
    tmp_path: Path, repository: Any, branch: str, of_default_branch: bool
) -> None:
    payload = _workflow_run(repository)
    payload["workflow_run"]["head_branch"] = branch
    event = _read(
        tmp_path, "workflow_run", {**payload, "repository": {"default_branch": "main"}}, GITHUB_REF="refs/heads/main"
    )
    assert event.is_of_default_branch == of_default_branch


def _workflow_run(repository: Any) -> dict[str, Any]:
    run = {
        "id": 99,
        "name": "Models of forks",
        "head_sha": _HEAD,
        "head_branch": "faster",
        "head_repository": repository,
        "pull_requests": [],
    }
    return {"action": "completed", "workflow_run": run, "workflow": {"name": "another"}}


@pytest.mark.parametrize(("repository", "fork", "owner"), [(_HOME, False, "octo"), (_FORK, True, "stranger")])
def test_a_run_that_followed_another_is_about_that_ones_head(
    tmp_path: Path, repository: Any, fork: bool, owner: str
) -> None:
    event = _read(tmp_path, "workflow_run", _workflow_run(repository), GITHUB_REF="refs/heads/main")

    assert event.log_url == "https://github.com/octo/models/actions/runs/99"
    assert (event.sha, event.fork, event.head_owner, event.head_branch) == (_HEAD, fork, owner, "faster")
    assert (event.triggering_run, event.triggering_workflow, event.pull_request) == (99, "Models of forks", None)


def test_a_later_attempt_has_a_url_of_its_own(tmp_path: Path) -> None:
    event = _read(tmp_path, "push", {}, GITHUB_RUN_ATTEMPT="3", GITHUB_SERVER_URL="https://git.example.com/")

    assert event.run_url == "https://git.example.com/octo/models/actions/runs/4711/attempts/3"


@pytest.mark.parametrize("path", ["", "nowhere.json"])
def test_a_push_needs_no_payload(tmp_path: Path, path: str) -> None:
    where = str(tmp_path / path) if path else ""
    event = read_event({**_RUNNER, "GITHUB_EVENT_NAME": "push", "GITHUB_EVENT_PATH": where})

    assert event.sha == _MERGE


@pytest.mark.parametrize("name", ["pull_request", "pull_request_target", "workflow_run"])
def test_an_event_about_another_commit_does(tmp_path: Path, name: str) -> None:
    environment = {**_RUNNER, "GITHUB_EVENT_NAME": name, "GITHUB_EVENT_PATH": str(tmp_path / "nowhere.json")}

    with pytest.raises(ConfigurationError, match=rf"nowhere\.json: the payload of the {name} event is missing"):
        read_event(environment)


@pytest.mark.parametrize("text", ['{"pull_request": ', "", "\x00"])
def test_a_payload_that_is_not_json_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"GITHUB_EVENT_PATH: .*event\.json isn't JSON"):
        _read(tmp_path, "push", text)


@pytest.mark.parametrize("payload", [[], 3, "text"])
def test_a_payload_that_is_no_object_is_an_error(tmp_path: Path, payload: Any) -> None:
    with pytest.raises(ConfigurationError, match="isn't a JSON object"):
        _read(tmp_path, "push", json.dumps(payload))


def test_a_triggering_run_without_its_commit_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="has no head_sha"):
        _read(tmp_path, "workflow_run", {"workflow_run": {"id": 99}})


def test_a_payload_with_values_of_other_types_says_nothing(tmp_path: Path) -> None:
    event = _read(tmp_path, "pull_request", {"pull_request": {"number": True, "head": []}, "release": "v1"})

    assert (event.sha, event.pull_request, event.fork, event.tag) == (_MERGE, None, False, "")


@pytest.mark.parametrize("name", ["GITHUB_EVENT_NAME", "GITHUB_REPOSITORY", "GITHUB_SHA", "GITHUB_RUN_ID"])
def test_outside_of_a_job_there_is_no_event(name: str) -> None:
    environment = {**_RUNNER, "GITHUB_EVENT_NAME": "push"}
    del environment[name]

    with pytest.raises(ConfigurationError, match=f"{name} (is|isn't) .*not running in GitHub Actions"):
        read_event(environment)


# What may be trusted ------------------------------------------------------------------------------------------------

_MAIN = {"repository": {"default_branch": "main"}}


@pytest.mark.parametrize(
    ("name", "ref", "payload", "layer"),
    [
        ("push", "refs/heads/main", _MAIN, "trusted"),
        ("push", "refs/tags/v1", _MAIN, "trusted"),
        ("push", "refs/tags/v1", {}, "trusted"),
        ("release", "refs/tags/v1", _MAIN, "trusted"),
        ("schedule", "refs/heads/main", {"schedule": "0 3 * * *"}, "trusted"),
        ("repository_dispatch", "refs/heads/main", _MAIN, "trusted"),
        ("workflow_dispatch", "refs/heads/main", _MAIN, "trusted"),
        ("workflow_dispatch", "refs/tags/v1", _MAIN, "trusted"),
        ("workflow_dispatch", "refs/heads/faster", _MAIN, "untrusted/ref"),
        ("push", "refs/heads/faster", _MAIN, "untrusted/ref"),
        ("push", "refs/heads/tags/v1", _MAIN, "untrusted/ref"),
        ("push", "refs/heads/main", {}, "untrusted/ref"),
        ("push", "refs/heads/", {"repository": {"default_branch": ""}}, "untrusted/ref"),
        ("push", "", {"repository": {"default_branch": None}}, "untrusted/ref"),
        ("merge_group", "refs/heads/gh-readonly-queue/main/pr-7", _MAIN, "untrusted/ref"),
        ("issue_comment", "refs/heads/main", _MAIN, "untrusted/ref"),
        ("workflow_run", "refs/heads/main", {**_MAIN, "workflow_run": {"head_sha": _HEAD}}, "untrusted/ref"),
        ("pull_request", "refs/pull/7/merge", _MAIN | _pull_request(_HOME), "untrusted/pr-7"),
        ("pull_request", "refs/tags/v1", _MAIN | _pull_request(_HOME), "untrusted/pr-7"),
        ("pull_request_target", "refs/heads/main", _MAIN | _pull_request(_FORK), "untrusted/pr-7"),
        ("pull_request_review", "refs/pull/7/merge", _MAIN | _pull_request(_FORK), "untrusted/pr-7"),
        ("an event of tomorrow", "refs/heads/main", _MAIN, "untrusted/ref"),
    ],
)
def test_only_merged_and_tagged_code_is_trusted(
    tmp_path: Path, name: str, ref: str, payload: dict[str, Any], layer: str
) -> None:
    event = _read(tmp_path, name, payload, GITHUB_REF=ref)

    assert event.cache_layer.startswith(layer)
    assert event.is_trusted is (layer == "trusted")
    Layers(tmp_path / "cache", 1000, event.cache_layer)


def test_each_branch_has_a_layer_of_its_own(tmp_path: Path) -> None:
    refs = ("refs/heads/a", "refs/heads/b", "refs/heads/pr-7")
    assert len({_read(tmp_path, "push", _MAIN, GITHUB_REF=ref).cache_layer for ref in refs}) == 3


def test_the_command_line_trusts_what_the_event_says_in_a_job_and_the_user_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "event.json").write_text(json.dumps(_pull_request(_HOME)))
    job = {**_RUNNER, "GITHUB_EVENT_NAME": "pull_request", "GITHUB_EVENT_PATH": str(tmp_path / "event.json")}
    assert cache_layer(job) == "trusted"
    assert cache_layer({**job, "GITHUB_ACTIONS": "true"}) == "untrusted/pr-7"
    assert cache_layer({"GITHUB_ACTIONS": "true"}) == "untrusted/ref-0"
    assert cache_layer({**job, "GITHUB_ACTIONS": "true", "MODEL_NAVIGATOR_CACHE_LAYER": "trusted"}) == "trusted"
