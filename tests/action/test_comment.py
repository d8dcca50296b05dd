"""The one comment on a pull request: found again, edited only if it changed, never doubled, nobody else's."""

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import requests

from navigator.github.budget import Budget
from navigator.github.comment import mark, upsert
from navigator.github.rest import PublishError, Rest
from navigator.github.shared_comment import Part, compose, split
from navigator.github.voices import Record, Verdict, Voice
from navigator.render.comment import marker

REPOSITORY = "octocat/models"
VOICE = Voice(workflow="0" * 8, run=7, attempt=2, job="convert", part="1" * 8, leg="2" * 8)
GOOD, BAD = "0123456789abcdef", "fedcba9876543210"
BOT = "github-actions[bot]"
KEY = "CI / navigator.yaml"
NEW, NEWER = "e" * 40, "f" * 40
LATER = replace(VOICE, run=8)


class _PullRequest:
    """Number 1 of a repository, and what the action says there."""

    def __init__(self, github: str) -> None:
        self.github, self.api_url, self.token = github, github, "ghs_job"

    def control(self, what: str, body: Any) -> None:
        requests.post(f"{self.github}/control/{what}", json=body, timeout=30).raise_for_status()

    def has(self, *comments: tuple[str, str]) -> None:
        written = [{"login": login, "body": body} for login, body in comments]
        self.control("comments", {"issue": 1, "comments": written})

    def say(
        self, body: str, *, mode: str = "always", success: bool = True, voice: Voice = VOICE, commit: str = NEW
    ) -> str | None:
        rest = Rest(self.api_url, self.token, Budget(60))
        record = Record(voice, Verdict.success if success else Verdict.failure)
        return upsert(rest, REPOSITORY, 1, body, mode=mode, record=record, commit=commit).url

    def mark(self, *, voice: Voice, commit: str = NEWER) -> None:
        """Say that a run of another commit hasn't ended."""
        rest = Rest(self.api_url, self.token, Budget(60))
        record = Record(voice, Verdict.pending)
        mark(rest, REPOSITORY, 1, marker(KEY), record=record, commit=commit, line=lambda about: f"Not {about[:3]}")

    @property
    def state(self) -> Any:
        return requests.get(f"{self.github}/control/state", timeout=30).json()

    @property
    def comments(self) -> list[tuple[str, str]]:
        """Author and text of each, without the last line that nobody sees."""
        texts = [(each["user"]["login"], each["body"]) for each in self.state["comments"]]
        return [(login, re.sub(r"\n<!-- voices:.* -->$", "", text)) for login, text in texts]

    @property
    def writes(self) -> list[str]:
        return [method for method, path, _ in self.state["calls"] if method != "GET" and path != "/graphql"]


@pytest.fixture
def pull_request(github: str) -> _PullRequest:
    return _PullRequest(github)


def _body(text: str, outcome: str = GOOD, key: str = KEY) -> str:
    return f"{marker(key)}{outcome} -->\n{text}\n"


def _kept(text: str, outcome: str = GOOD, voice: Voice = VOICE) -> str:
    """Return the comment that a run left."""
    record = Record(voice, Verdict.success if outcome == GOOD else Verdict.failure)
    return compose([Part(record, *split(_body(text, outcome)), NEW)])


def test_the_first_run_comments_and_the_next_one_edits(pull_request: _PullRequest) -> None:
    url = pull_request.say(_body("first"))
    assert url == pull_request.state["comments"][0]["html_url"]
    assert pull_request.say(_body("second", BAD)) == url
    assert pull_request.comments == [(BOT, _body("second", BAD))]
    assert pull_request.writes == ["POST", "PATCH"]


def test_nothing_is_written_where_nothing_changed(pull_request: _PullRequest) -> None:
    # GitHub keeps a comment without the blanks at its end, and a browser sends CRLF.
    pull_request.has((BOT, _kept("the same").replace("\n", "\r\n")))
    assert pull_request.say(_body("the same")) is not None
    assert pull_request.writes == []


def test_the_comment_is_found_among_hundreds(pull_request: _PullRequest) -> None:
    chatter = [("octocat", f"comment {number}") for number in range(225)]
    pull_request.has(*chatter, (BOT, _body("old")), *chatter[:20])
    pull_request.say(_body("new"))
    assert pull_request.writes == ["PATCH"]
    assert pull_request.comments[225] == (BOT, _body("new"))


def test_nobody_elses_comment_is_touched(pull_request: _PullRequest) -> None:
    pull_request.has(("eve", _body("mine")))
    pull_request.say(_body("ours"))
    assert pull_request.comments == [("eve", _body("mine")), (BOT, _body("ours"))]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(f"> {_body('quoted')}", id="quoted"),
        pytest.param(f"hello\n{_body('below')}", id="not its first line"),
        pytest.param(_body("of another configuration", key="CI / navigator.yaml2"), id="longer key"),
        pytest.param(_body("of another workflow", key="CI"), id="shorter key"),
    ],
)
def test_another_comment_of_the_same_author_is_not_touched(pull_request: _PullRequest, other: str) -> None:
    pull_request.has((BOT, other))
    pull_request.say(_body("ours"))
    assert pull_request.comments == [(BOT, other), (BOT, _body("ours"))]


def test_of_two_the_older_one_is_edited(pull_request: _PullRequest) -> None:
    pull_request.has((BOT, _body("older")), (BOT, _body("newer")))
    pull_request.say(_body("now"))
    assert pull_request.comments == [(BOT, _body("now")), (BOT, _body("newer"))]


@pytest.mark.parametrize(
    ("mode", "before", "after", "writes"),
    [
        ("always", None, GOOD, ["POST"]),
        ("always", GOOD, GOOD, ["PATCH"]),
        ("change", None, GOOD, []),
        ("change", None, BAD, ["POST"]),
        ("change", BAD, BAD, []),
        ("change", BAD, GOOD, ["PATCH"]),
        ("change", GOOD, BAD, ["PATCH"]),
        ("failure", None, GOOD, []),
        ("failure", None, BAD, ["POST"]),
        ("failure", BAD, BAD, ["PATCH"]),
        ("failure", BAD, GOOD, ["PATCH"]),
    ],
)
def test_when_a_comment_is_written(
    pull_request: _PullRequest, mode: str, before: str | None, after: str, writes: list[str]
) -> None:
    if before:
        pull_request.has((BOT, _kept("before", before)))
    url = pull_request.say(_body("after", after), mode=mode, success=after == GOOD)
    assert pull_request.writes == writes
    assert (url is not None) == bool(before or writes)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"reset": True, "carry_out": True}, id="reset after it was made"),
        pytest.param({"reset": True}, id="reset before it was made"),
        pytest.param({"status": 502, "carry_out": True}, id="502 after it was made"),
        pytest.param({"status": 502}, id="502 instead"),
        pytest.param({"truncate": 20}, id="cut answer"),
        pytest.param({"status": 403, "message": "secondary rate limit", "headers": {"retry-after": "0"}}, id="limited"),
    ],
)
def test_there_is_one_comment_whatever_becomes_of_the_answer(pull_request: _PullRequest, fault: dict[str, Any]) -> None:
    pull_request.control("faults", [{"method": "POST", "path": "comments", **fault}])
    url = pull_request.say(_body("hello"))
    assert pull_request.comments == [(BOT, _body("hello"))]
    assert url == pull_request.state["comments"][0]["html_url"]


def test_there_is_one_comment_where_the_connection_breaks_after_it_was_made(
    pull_request: _PullRequest, chaos: Callable[[str], tuple[str, str]]
) -> None:
    pull_request.api_url, control = chaos(pull_request.github)
    fault = {"match": "POST /repos", "direction": "down", "action": "reset"}
    requests.post(control, json=[fault], timeout=30).raise_for_status()
    assert pull_request.say(_body("hello")) is not None
    assert len(requests.get(control, timeout=30).json()["taken"]) == 1
    assert pull_request.comments == [(BOT, _body("hello"))]


def test_a_server_that_loses_every_comment_is_given_up(pull_request: _PullRequest) -> None:
    pull_request.control("faults", [{"method": "POST", "path": "comments", "status": 502, "times": 10}])
    with pytest.raises(PublishError, match="GitHub failed at POST") as raised:
        pull_request.say(_body("hello"))
    assert raised.value.ambiguous
    assert pull_request.writes == ["POST", "POST"]


def test_a_read_only_token_is_told_what_it_lacks(pull_request: _PullRequest) -> None:
    pull_request.token = "ghs_fork"
    with pytest.raises(PublishError, match="Give the job the permission `pull-requests: write`"):
        pull_request.say(_body("hello"))
    assert pull_request.writes == ["POST"]


@pytest.mark.parametrize(("token", "login"), [("ghp_octocat", "octocat"), ("ghs_app", "models-app[bot]")])
def test_the_tokens_own_comment_is_edited(pull_request: _PullRequest, token: str, login: str) -> None:
    pull_request.token = token
    pull_request.has((BOT, _body("of GITHUB_TOKEN")), (login, _body("old")))
    pull_request.say(_body("new"))
    assert pull_request.comments == [(BOT, _body("of GITHUB_TOKEN")), (login, _body("new"))]


def test_a_server_without_graphql_is_taken_for_one_of_github_actions(pull_request: _PullRequest) -> None:
    pull_request.has((BOT, _body("old")))
    pull_request.control("faults", [{"path": "/graphql", "status": 404, "body": "{}"}])
    pull_request.say(_body("new"))
    assert pull_request.comments == [(BOT, _body("new"))]


OTHER = replace(VOICE, job="gpu", part="3" * 8, leg="4" * 8)


def _both(pull_request: _PullRequest, order: Sequence[str]) -> None:
    for name in order:
        good = name == "good"
        text, outcome = f"## report of {name}", GOOD if good else BAD
        pull_request.say(_body(text, outcome), success=good, voice=VOICE if good else OTHER)


@pytest.mark.parametrize("order", [("good", "bad"), ("bad", "good")])
def test_jobs_that_share_a_comment_both_have_their_part(pull_request: _PullRequest, order: Sequence[str]) -> None:
    _both(pull_request, order)
    [(_, text)] = pull_request.comments
    assert text.startswith(marker("CI / navigator.yaml"))
    assert text[text.index("\n") :] == (
        "\n**Several jobs share this comment.** Give each its own `status_context`.\n\n"
        "---\n\n**The job gpu**\n\n## report of bad\n"
        "---\n\n**The job convert**\n\n## report of good\n"
    )


def test_a_job_that_runs_again_replaces_its_own_part(pull_request: _PullRequest) -> None:
    _both(pull_request, ("bad", "good"))
    pull_request.say(_body("repaired"), voice=replace(OTHER, attempt=3))
    [(_, text)] = pull_request.comments
    assert "report of bad" not in text
    assert "repaired" in text
    assert "report of good" in text


def test_the_next_run_begins_a_new_comment_text(pull_request: _PullRequest) -> None:
    _both(pull_request, ("bad", "good"))
    pull_request.say(_body("next"), voice=replace(VOICE, run=8, attempt=1))
    assert pull_request.comments == [(BOT, _body("next"))]


def test_an_unchanged_outcome_still_counts_for_the_next_job(pull_request: _PullRequest) -> None:
    """The comment isn't edited for the reader, but a job with another verdict doesn't hide the failure."""
    pull_request.has((BOT, _kept("still broken", BAD, replace(VOICE, run=6))))
    pull_request.say(_body("broken again", BAD), mode="change", success=False)
    assert pull_request.comments == [(BOT, _body("still broken", BAD))]
    pull_request.say(_body("good"), mode="change", voice=OTHER)
    [(_, text)] = pull_request.comments
    assert "still broken" in text
    assert "good" in text


def test_a_part_that_somebody_edited_keeps_its_verdict(pull_request: _PullRequest) -> None:
    pull_request.has((BOT, _kept("broken", BAD, OTHER).replace("broken", "all is well")))
    pull_request.say(_body("good"))
    [(_, text)] = pull_request.comments
    assert "all is well" not in text
    assert "There's no room for this report here" in text
    assert text.index("The job gpu") < text.index("The job convert")


def test_too_long_parts_are_left_out_from_the_end(pull_request: _PullRequest) -> None:
    pull_request.say(_body("good " * 10_000))
    pull_request.say(_body("bad " * 10_000, BAD), success=False, voice=OTHER)
    [(_, text)] = pull_request.comments
    assert "bad bad" in text
    assert "good good" not in text
    assert "There's no room for this report here" in text


def test_two_jobs_at_once_leave_one_comment(pull_request: _PullRequest) -> None:
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(lambda name: _both(pull_request, [name]), ("good", "bad")):
            pass
    [(_, text)] = pull_request.comments
    assert "report of good" in text
    assert "report of bad" in text


# Out of date ---------------------------------------------------------------------------------------------------------


def test_a_comment_on_an_earlier_commit_says_so_until_there_is_a_new_one(pull_request: _PullRequest) -> None:
    pull_request.say(_body("report"))
    pull_request.mark(voice=LATER)
    pull_request.mark(voice=LATER)
    assert pull_request.comments == [(BOT, _body("> Not eee\n\nreport"))]
    assert pull_request.writes == ["POST", "PATCH"]

    pull_request.say(_body("new report"), voice=LATER, commit=NEWER)
    assert pull_request.comments == [(BOT, _body("new report"))]


def test_a_comment_that_only_changes_with_the_outcome_does_not_stay_marked(pull_request: _PullRequest) -> None:
    pull_request.say(_body("report"))
    pull_request.mark(voice=LATER)
    pull_request.say(_body("new report"), mode="change", voice=LATER, commit=NEWER)
    assert pull_request.comments == [(BOT, _body("new report"))]


def test_only_the_part_of_the_same_job_is_marked(pull_request: _PullRequest) -> None:
    other = replace(VOICE, part="3" * 8)
    pull_request.say(_body("one"))
    pull_request.say(_body("other"), voice=other)
    pull_request.mark(voice=replace(other, run=8))
    [(_, text)] = pull_request.comments
    assert text.count("> Not eee") == 1
    assert "> Not eee\n\nother\n" in text


@pytest.mark.parametrize(
    ("voice", "commit"),
    [
        pytest.param(LATER, NEW, id="same commit"),
        pytest.param(replace(VOICE, run=6), NEWER, id="of an earlier run"),
        pytest.param(replace(LATER, part="3" * 8), NEWER, id="of another job"),
    ],
)
def test_a_comment_that_is_not_out_of_date_is_not_marked(pull_request: _PullRequest, voice: Voice, commit: str) -> None:
    pull_request.say(_body("report"))
    pull_request.mark(voice=voice, commit=commit)
    assert pull_request.comments == [(BOT, _body("report"))]
    assert pull_request.writes == ["POST"]


def test_where_there_is_no_comment_of_ours_nothing_is_marked(pull_request: _PullRequest) -> None:
    pull_request.mark(voice=LATER)
    pull_request.has((BOT, _kept("report").replace("report", "what somebody wrote")), ("eve", _kept("hers")))
    pull_request.mark(voice=LATER)
    assert pull_request.writes == []


def test_a_comment_that_is_too_long_for_a_mark_stays_whole(pull_request: _PullRequest) -> None:
    room = 65_535 - len(_kept("x" * 50_000)) + 50_000
    pull_request.has((BOT, _kept("x" * room)))
    pull_request.mark(voice=LATER)
    assert pull_request.comments == [(BOT, _body("x" * room))]


@pytest.mark.fault(
    "A run ends after a newer one of the pull request",
    "The comment stays about the newer commit.",
)
def test_an_earlier_run_that_ends_later_leaves_the_comment_on_a_newer_commit(pull_request: _PullRequest) -> None:
    url = pull_request.say(_body("newer"), voice=LATER, commit=NEWER)
    assert pull_request.say(_body("older")) == url
    assert pull_request.comments == [(BOT, _body("newer"))]

    pull_request.say(_body("again"), commit=NEWER)
    assert pull_request.comments == [(BOT, _body("again"))], "the same commit, run again"
