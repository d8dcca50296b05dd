"""Calls to GitHub's API, on GitHub's own description of it, and what goes wrong on the way."""

import base64
import hashlib
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from navigator.github.budget import Budget
from navigator.github.rest import PublishError, Rest

REPOSITORY = "/repos/octocat/models"
COMMENTS = f"{REPOSITORY}/issues/1/comments"


class _Waits(Budget):
    """A budget that notes what it is asked to wait for, and does not."""

    def __init__(self, seconds: float = 600) -> None:
        super().__init__(seconds)
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> bool:
        self.waits.append(seconds)
        return seconds <= self.left


@pytest.fixture
def budget() -> _Waits:
    return _Waits()


@pytest.fixture
def rest(github: str, budget: _Waits) -> Rest:
    return Rest(github, "ghs_job", budget)


def _control(github: str, what: str, body: Any) -> Any:
    answer = requests.post(f"{github}/control/{what}", json=body, timeout=30)
    answer.raise_for_status()
    return answer.json()


def _fault(github: str, **fault: Any) -> None:
    _control(github, "faults", [fault])


def _state(github: str) -> Any:
    return requests.get(f"{github}/control/state", timeout=30).json()


def _comments(github: str, count: int) -> None:
    written = [{"login": "octocat", "body": f"comment {number}"} for number in range(count)]
    _control(github, "comments", {"issue": 1, "comments": written})


def test_all_pages_of_a_list_are_read(github: str, rest: Rest) -> None:
    _comments(github, 250)
    assert [each["body"] for each in rest.pages(COMMENTS)] == [f"comment {number}" for number in range(250)]
    assert len(_state(github)["calls"]) == 3


def test_a_list_in_an_object_is_read_by_its_key(github: str, rest: Rest) -> None:
    for number in range(3):
        _control(github, "artifacts", {"run": 7, "name": f"artifact-{number}", "base64": ""})
    found = rest.pages(f"{REPOSITORY}/actions/runs/7/artifacts", params={"per_page": 2}, key="artifacts")
    assert [each["name"] for each in found] == ["artifact-0", "artifact-1", "artifact-2"]


def test_a_read_only_token_is_refused_once_and_the_permission_named(github: str, budget: _Waits) -> None:
    with pytest.raises(PublishError) as raised:
        Rest(github, "ghs_fork", budget).call("POST", COMMENTS, json={"body": "hello"})
    error = raised.value
    assert error.message == (
        "GitHub refused POST /repos/octocat/models/issues/1/comments: HTTP 403, Resource not accessible by integration."
    )
    assert error.hint == (
        "Give the job the permission `pull-requests: write`. Tokens for pull requests from forks are always read-only: "
        "publish from a workflow_run workflow with `command: report`."
    )
    assert (error.status, error.ambiguous) == (403, False)
    assert budget.waits == []
    assert [status for *_, status in _state(github)["calls"]] == [403]


def test_a_missing_permission_is_no_rate_limit_even_with_the_last_request(
    github: str, rest: Rest, budget: _Waits
) -> None:
    message = "Resource not accessible by integration"
    _fault(github, status=403, message=message, headers={"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"})
    with pytest.raises(PublishError, match=message):
        rest.call("GET", COMMENTS)
    assert budget.waits == []


def test_what_the_server_says_of_the_fields_is_passed_on(github: str, rest: Rest) -> None:
    status = {"state": "success", "description": "x" * 141}
    with pytest.raises(PublishError, match=r"HTTP 422, Validation Failed: description is too long \(maximum is 140"):
        rest.call("POST", f"{REPOSITORY}/statuses/{'a' * 40}", json=status)


def test_a_wrong_token_and_a_missing_page_say_what_to_do(github: str, rest: Rest, budget: _Waits) -> None:
    with pytest.raises(PublishError, match="The token isn't valid"):
        Rest(github, "ghs_expired", budget).call("GET", COMMENTS)
    with pytest.raises(PublishError, match="Give the job the permission `contents: read`") as raised:
        rest.call("GET", f"{REPOSITORY}/releases/tags/v9")
    assert raised.value.status == 404
    assert budget.waits == []


def test_the_token_is_not_replaced_by_one_of_a_netrc(
    github: str, rest: Rest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert rest.call("GET", COMMENTS) == []


@pytest.mark.parametrize(
    ("answers", "waits"),
    [
        pytest.param([{"status": 429, "headers": {"retry-after": "7"}}], [7], id="retry-after"),
        pytest.param([{"status": 403, "headers": {"retry-after": "7"}}], [7], id="retry-after with 403"),
        pytest.param(
            [{"status": 403, "message": "You have exceeded a secondary rate limit."}] * 2, [60, 120], id="secondary"
        ),
        pytest.param([{"status": 429}], [60], id="says nothing"),
    ],
)
def test_a_rate_limit_is_waited_for_even_by_what_is_sent_once(
    github: str, rest: Rest, budget: _Waits, answers: list[dict[str, Any]], waits: list[float]
) -> None:
    _control(github, "faults", [{"path": "comments", **each} for each in answers])
    rest.call("POST", COMMENTS, json={"body": "hello"})
    assert budget.waits == waits
    assert len(_state(github)["comments"]) == 1


def test_a_primary_rate_limit_is_waited_for_until_its_reset(github: str, rest: Rest, budget: _Waits) -> None:
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(time.time()) + 100)}
    _fault(github, status=403, message="API rate limit exceeded for installation.", headers=headers)
    rest.call("GET", COMMENTS)
    [wait] = budget.waits
    assert 60 < wait <= 101


def test_a_rate_limit_that_outlasts_the_budget_is_not_waited_for(github: str) -> None:
    _fault(github, status=429, message="API rate limit exceeded.", headers={"retry-after": "3600"})
    budget = Budget(60)
    with pytest.raises(PublishError, match="The next attempt, in 3600 s, would exceed") as raised:
        Rest(github, "ghs_job", budget).call("GET", COMMENTS)
    assert raised.value.status == 429
    assert budget.left > 0


def test_failures_of_the_server_are_tried_again_with_growing_waits(github: str, rest: Rest, budget: _Waits) -> None:
    _fault(github, path="comments", status=502)
    _fault(github, path="comments", status=503, body="<html>Unicorn</html>")
    assert rest.call("GET", COMMENTS) == []
    assert budget.waits == [1, 2]


def test_a_server_that_goes_on_failing_is_given_up(github: str, rest: Rest, budget: _Waits) -> None:
    _fault(github, status=500, times=10)
    with pytest.raises(PublishError, match=r"GitHub failed at GET .*: HTTP 500, Something went wrong") as raised:
        rest.call("GET", COMMENTS)
    assert raised.value.status == 500
    assert budget.waits == [1, 2, 4, 8]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        pytest.param({"status": 502, "carry_out": True}, "GitHub failed at POST", id="502"),
        pytest.param({"reset": True, "carry_out": True}, "The connection to GitHub broke at POST", id="reset"),
        pytest.param({"truncate": 20}, "GitHub's answer to POST .* was truncated", id="truncated"),
        pytest.param({"status": 201, "body": '{"id": 1', "carry_out": True}, "was truncated", id="not JSON"),
    ],
)
def test_a_post_that_may_have_been_carried_out_is_not_sent_again(
    github: str, rest: Rest, budget: _Waits, fault: dict[str, Any], message: str
) -> None:
    _fault(github, path="comments", **fault)
    with pytest.raises(PublishError, match=message) as raised:
        rest.call("POST", COMMENTS, json={"body": "hello"})
    assert raised.value.ambiguous
    assert budget.waits == []
    assert len(_state(github)["comments"]) == 1


@pytest.mark.parametrize("fault", [{"reset": True}, {"truncate": 20}, {"status": 200, "body": "[{"}])
def test_everything_else_is_sent_again(github: str, rest: Rest, budget: _Waits, fault: dict[str, Any]) -> None:
    _comments(github, 1)
    _fault(github, path="comments", **fault)
    assert len(rest.call("GET", COMMENTS)) == 1
    assert budget.waits == [1]


def test_a_post_may_be_sent_again_where_its_caller_says_so(github: str, rest: Rest) -> None:
    _fault(github, path="statuses", reset=True, carry_out=True)
    rest.call("POST", f"{REPOSITORY}/statuses/{'a' * 40}", json={"state": "success"}, repeat=True)
    assert len(_state(github)["statuses"]) == 2


def test_a_server_that_is_not_there_was_certainly_told_nothing(budget: _Waits) -> None:
    with pytest.raises(PublishError, match=r"Couldn't connect to GitHub for POST .*") as raised:
        Rest("http://127.0.0.1:9", "ghs_job", budget).call("POST", COMMENTS, json={})
    assert not raised.value.ambiguous
    assert budget.waits == [1, 2, 4, 8]


def test_nothing_is_sent_without_time(github: str) -> None:
    with pytest.raises(PublishError, match="wasn't sent to GitHub: the time for publishing ran out"):
        Rest(github, "ghs_job", Budget(0)).call("GET", COMMENTS)
    assert _state(github)["calls"] == []


def test_an_answer_that_trickles_ends_with_the_budget(github: str, chaos: Callable[[str], tuple[str, str]]) -> None:
    url, control = chaos(github)
    fault = {"match": "GET", "direction": "down", "action": "trickle", "seconds": 0.2}
    requests.post(control, json=[fault], timeout=30).raise_for_status()
    with pytest.raises(PublishError, match=r"GitHub didn't answer GET .* before the time for publishing ran out"):
        Rest(url, "ghs_job", Budget(1)).call("GET", COMMENTS)


def test_a_signal_handler_ends_a_call_by_shortening_the_budget(
    github: str, chaos: Callable[[str], tuple[str, str]]
) -> None:
    url, control = chaos(github)
    fault = {"direction": "up", "action": "delay", "seconds": 60}
    requests.post(control, json=[fault], timeout=30).raise_for_status()
    budget = Budget(600)
    before = signal.signal(signal.SIGALRM, lambda *_: budget.shorten(0.2))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(PublishError, match="before the time for publishing ran out"):
            Rest(url, "ghs_job", budget).call("GET", COMMENTS)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not budget.sleep(0.1)


def test_the_budget_only_gets_shorter() -> None:
    budget = Budget(10)
    budget.shorten(100)
    assert budget.left <= 10
    assert not budget.sleep(11)
    assert budget.sleep(0)


@pytest.mark.parametrize("content", [b"weights" * 100_000, b""])
def test_a_file_is_uploaded_under_its_name(github: str, rest: Rest, tmp_path: Path, content: bytes) -> None:
    [release] = _control(github, "releases", [{"tag_name": "v1", "draft": True}])
    file = tmp_path / "model.onnx"
    file.write_bytes(content)
    made = rest.upload(release["upload_url"], file, name="my model.onnx", content_type="application/octet-stream")
    assert made["name"] == "my.model.onnx"
    assert made["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_an_upload_is_sent_again_after_a_rate_limit_only(
    github: str, rest: Rest, budget: _Waits, tmp_path: Path
) -> None:
    [release] = _control(github, "releases", [{"tag_name": "v1", "draft": True}])
    file = tmp_path / "model.onnx"
    file.write_bytes(b"weights")
    _fault(github, path="uploads", status=429, body="{}", headers={"Retry-After": "3"})
    made = rest.upload(release["upload_url"], file, name="a.onnx", content_type="application/octet-stream")
    assert made["size"] == 7
    assert budget.waits == [3]
    _fault(github, path="uploads", status=502, body="", starter=True)
    with pytest.raises(PublishError) as raised:
        rest.upload(release["upload_url"], file, name="b.onnx", content_type="application/octet-stream")
    assert raised.value.ambiguous
    assert [each["state"] for each in _state(github)["assets"]] == ["uploaded", "starter"]


def test_a_download_follows_its_redirect_without_the_token(github: str, rest: Rest, tmp_path: Path) -> None:
    content = bytes(range(256)) * 1000
    made = _control(github, "artifacts", {"run": 7, "name": "models", "base64": base64.b64encode(content).decode()})
    path = f"{REPOSITORY}/actions/artifacts/{made['id']}/zip"

    rest.save(path, tmp_path / "file", limit_bytes=len(content))

    assert (tmp_path / "file").read_bytes() == content
    with pytest.raises(PublishError, match=r"is larger than the limit of 255,999 bytes"):
        rest.save(path, tmp_path / "file", limit_bytes=len(content) - 1)


def test_a_download_that_is_cut_off_begins_again(github: str, rest: Rest, tmp_path: Path) -> None:
    content = bytes(range(256)) * 1000
    made = _control(github, "artifacts", {"run": 7, "name": "models", "base64": base64.b64encode(content).decode()})
    _fault(github, path="/downloads/", truncate=1000)

    rest.save(f"{REPOSITORY}/actions/artifacts/{made['id']}/zip", tmp_path / "file", limit_bytes=2**20)

    assert (tmp_path / "file").read_bytes() == content


def test_an_error_does_not_quote_a_signed_url(github: str, rest: Rest, tmp_path: Path) -> None:
    made = _control(github, "artifacts", {"run": 7, "name": "models", "base64": ""})
    _fault(github, path="/downloads/", reset=True, times=10)
    with pytest.raises(PublishError, match="The connection to GitHub broke at GET") as raised:
        rest.save(f"{REPOSITORY}/actions/artifacts/{made['id']}/zip", tmp_path / "file", limit_bytes=9)
    assert "sig" not in str(raised.value)


def test_a_budget_begins_anew_unless_it_was_shortened() -> None:
    budget = Budget(0)
    inner = Budget(100, within=budget)
    assert inner.left == 0
    budget.restart(50)
    assert 0 < inner.left <= 50
    budget.shorten(1)
    budget.restart(50)
    assert inner.left <= 1


def test_work_is_given_up_where_that_is_asked_for() -> None:
    with pytest.raises(PublishError, match="too late"):
        Budget(60).run(lambda: time.sleep(60), late="too late", stop=lambda: True)


def test_the_token_does_not_leave_https(budget: _Waits) -> None:
    rest = Rest("https://api.github.com", "ghs_job", budget)
    with pytest.raises(PublishError, match=r"named uploads\.example without https; the token wasn't sent"):
        rest.call("GET", "http://uploads.example/path")


@pytest.mark.parametrize(
    ("api_url", "graphql_url"),
    [
        ("https://api.github.com", "https://api.github.com/graphql"),
        ("https://github.example/api/v3", "https://github.example/api/graphql"),
    ],
)
def test_graphql_lies_beside_the_api(api_url: str, graphql_url: str) -> None:
    assert Rest(api_url, "ghs_job", Budget(1)).graphql_url == graphql_url
