"""The commit status and the check run: on the right commit, within GitHub's limits, never doubled."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import requests

from navigator.github.budget import Budget
from navigator.github.event import Event
from navigator.github.rest import PublishError, Rest
from navigator.github.status import complete_check_run, set_status
from navigator.github.voices import Record, Verdict, Voice
from navigator.render.annotations import Annotation, Level

HEAD = "a" * 40
RUN_URL = "https://github.com/octocat/models/actions/runs/7/attempts/2"
EVENT = Event(
    name="pull_request",
    repository="octocat/models",
    sha=HEAD,
    pull_request=1,
    fork=False,
    tag="",
    ref="refs/pull/1/merge",
    run_id=7,
    run_attempt=2,
    workflow="CI",
    job="convert",
    server_url="https://github.com",
    api_url="https://api.github.com",
    head_owner="octocat",
    head_branch="feature",
    triggering_run=None,
    triggering_workflow="",
)


@pytest.fixture
def rest(github: str) -> Rest:
    return Rest(github, "ghs_job", Budget(60))


VOICE = Voice(workflow="0" * 8, run=7, attempt=2, job="convert", part="1" * 8, leg="2" * 8)


def _fault(github: str, **fault: Any) -> None:
    requests.post(f"{github}/control/faults", json=[fault], timeout=30).raise_for_status()


def _state(github: str) -> Any:
    return requests.get(f"{github}/control/state", timeout=30).json()


def _status(
    rest: Rest, description: str = "12 of 12 conversions passed", state: str = "success", voice: Voice = VOICE
) -> tuple[Record, ...]:
    return set_status(rest, EVENT, state=state, description=description, context="model-navigator", voice=voice)


def _check_run(
    rest: Rest,
    annotations: Sequence[Annotation] = (),
    summary: str = "| model |",
    conclusion: str = "failure",
    voice: Voice = VOICE,
) -> tuple[Record, ...]:
    return complete_check_run(
        rest,
        EVENT,
        name="model-navigator",
        conclusion=conclusion,
        title="1 of 12 conversions failed",
        summary=summary,
        annotations=annotations,
        voice=voice,
    )


def _annotations(count: int, path: str = "navigator.yaml") -> list[Annotation]:
    return [Annotation(level=Level.WARNING, message=f"cell {number}", path=path, line=3) for number in range(count)]


def test_a_status_is_set_on_the_head_commit(github: str, rest: Rest) -> None:
    _status(rest)
    [status] = _state(github)["statuses"]
    assert status["url"].endswith(f"/statuses/{HEAD}")
    shown = {name: status[name] for name in ("state", "context", "description", "target_url")}
    assert shown == {
        "state": "success",
        "context": "model-navigator",
        "description": "12 of 12 conversions passed",
        "target_url": f"{RUN_URL}#{Record(VOICE, Verdict.success)}",
    }


@pytest.mark.parametrize("description", ["x" * 141, "two\nlines " * 30])
def test_a_long_description_is_cut_to_what_github_takes(github: str, rest: Rest, description: str) -> None:
    _status(rest, description)
    [status] = _state(github)["statuses"]
    assert 100 < len(status["description"]) <= 140
    assert "\n" not in status["description"]


@pytest.mark.parametrize("fault", [{"reset": True, "carry_out": True}, {"reset": True}])
def test_a_status_is_set_again_where_the_answer_is_lost(github: str, rest: Rest, fault: dict[str, Any]) -> None:
    _fault(github, path="statuses", **fault)
    _status(rest)
    assert {each["context"] for each in _state(github)["statuses"]} == {"model-navigator"}


def test_a_read_only_token_is_told_what_a_status_needs(github: str) -> None:
    with pytest.raises(PublishError, match="Give the job the permission `statuses: write`"):
        _status(Rest(github, "ghs_fork", Budget(60)))


def test_a_check_run_has_ended_and_says_where(github: str, rest: Rest) -> None:
    assert _check_run(rest) == ()
    [run] = _state(github)["check_runs"]
    assert (run["head_sha"], run["status"], run["conclusion"]) == (HEAD, "completed", "failure")
    assert (run["external_id"], run["details_url"]) == (str(Record(VOICE, Verdict.failure)), RUN_URL)
    assert (run["output"]["title"], run["output"]["summary"]) == ("1 of 12 conversions failed", "| model |")


@pytest.mark.parametrize(("count", "calls"), [(0, 1), (50, 1), (51, 2), (120, 3)])
def test_annotations_are_sent_by_fifty(github: str, rest: Rest, count: int, calls: int) -> None:
    _check_run(rest, _annotations(count))
    state = _state(github)
    [run] = state["check_runs"]
    assert [each["message"] for each in run["annotations"]] == [f"cell {number}" for number in range(count)]
    assert len([method for method, _, _ in state["calls"] if method != "GET"]) == calls
    assert run["conclusion"] == "failure"


def test_an_annotation_without_a_file_is_left_out(github: str, rest: Rest) -> None:
    _check_run(rest, [*_annotations(1, path=""), *_annotations(1)])
    [run] = _state(github)["check_runs"]
    [annotation] = run["annotations"]
    assert (annotation["path"], annotation["start_line"], annotation["annotation_level"]) == (
        "navigator.yaml",
        3,
        "warning",
    )


def test_a_summary_is_cut_to_what_github_takes(github: str, rest: Rest) -> None:
    _check_run(rest, summary="x" * 70_000)
    [run] = _state(github)["check_runs"]
    assert len(run["output"]["summary"]) == 65_535


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"reset": True, "carry_out": True}, id="reset after it was made"),
        pytest.param({"reset": True}, id="reset before it was made"),
        pytest.param({"status": 502, "carry_out": True}, id="502 after it was made"),
        pytest.param({"truncate": 20}, id="cut answer"),
    ],
)
def test_there_is_one_check_run_whatever_becomes_of_the_answer(github: str, rest: Rest, fault: dict[str, Any]) -> None:
    earlier = {"name": "model-navigator", "head_sha": HEAD, "external_id": "7/1", "status": "in_progress"}
    rest.call("POST", "/repos/octocat/models/check-runs", json=earlier)
    _fault(github, method="POST", path="check-runs", **fault)
    _check_run(rest, _annotations(60))
    first, second = _state(github)["check_runs"]
    assert (first["external_id"], first["annotations"]) == ("7/1", [])
    assert (second["external_id"], len(second["annotations"])) == (str(Record(VOICE, Verdict.failure)), 60)


def test_a_check_run_needs_the_token_of_an_app(github: str) -> None:
    with pytest.raises(PublishError, match="You must authenticate via a GitHub App"):
        _check_run(Rest(github, "ghp_octocat", Budget(60)))


OTHER = replace(VOICE, job="gpu", part="3" * 8, leg="4" * 8)


def _shown(github: str) -> tuple[str, str]:
    """State and description of what GitHub shows: the latest status."""
    last = _state(github)["statuses"][-1]
    return last["state"], last["description"]


@pytest.mark.parametrize("order", [("success", "failure"), ("failure", "success")])
def test_of_two_jobs_with_one_context_the_worse_verdict_stands(github: str, rest: Rest, order: Sequence[str]) -> None:
    voices = {"success": VOICE, "failure": OTHER}
    first, second = (_status(rest, f"{state}: 3 of 4", state, voices[state]) for state in order)
    assert (first, [each.voice for each in second]) == ((), [voices[order[0]]])
    last = "failure: 3 of 4"
    if order[-1] == "success":
        last = "The job gpu sets this status too and failed: give each its own status_context. failure: 3 of 4"
    assert _shown(github) == ("failure", last)
    # Never green once one failed.
    states = [each["state"] for each in _state(github)["statuses"]]
    assert "success" not in states[states.index("failure") :]


def test_a_success_waits_for_another_job_that_began(github: str, rest: Rest) -> None:
    _status(rest, "converting", "pending", OTHER)
    _status(rest)
    state, description = _shown(github)
    assert (state, description.startswith("The job gpu sets this status too and hasn't ended: ")) == ("pending", True)
    _status(rest, "fine", "success", OTHER)
    assert _shown(github) == ("success", "fine")


def test_a_job_that_runs_again_clears_its_failure(github: str, rest: Rest) -> None:
    _status(rest, "broken", "failure", OTHER)
    _status(rest)
    again = replace(OTHER, attempt=3, leg="5" * 8)
    _status(rest, "converting", "pending", again)
    assert _shown(github) == ("pending", "converting")
    _status(rest, "repaired", "success", again)
    assert _shown(github) == ("success", "repaired")


def test_a_success_that_runs_again_keeps_the_others_failure(github: str, rest: Rest) -> None:
    _status(rest, "broken", "failure", OTHER)
    _status(rest)
    _status(rest, voice=replace(VOICE, attempt=3))
    assert _shown(github)[0] == "failure"


def test_statuses_set_at_once_end_with_the_worst(github: str, rest: Rest) -> None:
    legs = [replace(VOICE, leg=f"{number}" * 8) for number in range(4)]
    states = ["success", "failure", "success", "success"]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda leg, state: _status(rest, state, state, leg), legs, states))
    assert _shown(github)[0] == "failure"


def test_a_status_of_somebody_else_is_no_voice(github: str, rest: Rest) -> None:
    body = {"state": "failure", "context": "model-navigator", "description": None, "target_url": None}
    rest.call("POST", f"/repos/octocat/models/statuses/{HEAD}", json=body)
    rest.call("POST", f"/repos/octocat/models/statuses/{HEAD}", json=body | {"target_url": f"{RUN_URL}#a/b"})
    assert _status(rest) == ()
    assert _shown(github)[0] == "success"


@pytest.mark.parametrize("order", [("success", "failure"), ("failure", "success")])
def test_of_two_check_runs_of_one_name_the_later_one_has_the_worse_verdict(
    github: str, rest: Rest, order: Sequence[str]
) -> None:
    for conclusion in order:
        rivals = _check_run(rest, conclusion=conclusion, voice=VOICE if conclusion == "success" else OTHER)
    first, second = _state(github)["check_runs"]
    assert (first["conclusion"], second["conclusion"]) == (order[0], "failure")
    assert len(rivals) == 1


def test_a_token_that_may_not_read_statuses_is_told_what_it_needs(github: str, rest: Rest) -> None:
    _fault(github, method="GET", path="statuses", status=403, message="Resource not accessible by integration")
    with pytest.raises(PublishError, match="Give the job the permission `statuses: write`"):
        _status(rest)
