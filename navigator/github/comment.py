"""The one comment of a workflow and a configuration on a pull request: found again, edited, never doubled.

A comment is ours if its first line begins with our marker and our token's user wrote it: comments of others
that copy the marker are left alone.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from http import HTTPStatus

from navigator.github import shared_comment
from navigator.github.rest import Json, PublishError, Rest
from navigator.github.retry import found_or, once_more, retry
from navigator.github.shared_comment import Part
from navigator.github.voices import Record, others

# Whom GITHUB_TOKEN writes as.
_ACTIONS_LOGIN = "github-actions[bot]"

# Each round but the last one may find that another job wrote the comment meanwhile.
_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Written:
    """The URL of the comment that is there, None if there's none, and the other voices in it."""

    url: str | None
    rivals: tuple[Record, ...] = ()


@dataclass(frozen=True, slots=True)
class _Thread:
    """Where the comment is: a pull request, the comment's marker, and whom the token writes as."""

    rest: Rest
    repository: str
    number: int
    marker: str
    author: str

    @property
    def path(self) -> str:
        return f"/repos/{self.repository}/issues/{self.number}/comments"

    def find(self) -> Json:
        """Return the oldest comment that is ours, or None."""
        # GraphQL names some apps without the suffix that REST gives them.
        logins = (self.author, f"{self.author}[bot]")
        marked = [each for each in self.rest.pages(self.path) if _text(each).startswith(self.marker)]
        own = [each for each in marked if (each["user"] or {}).get("login") in logins]
        return min(own, key=lambda each: int(each["id"]), default=None)

    def post(self, body: str) -> Json:
        """Make the comment. Where the answer was lost, it may be there all the same."""

        def post() -> Json:
            return self.rest.call("POST", self.path, json={"body": body})

        return retry(self.rest.budget, lambda: found_or(post, self.find), once_more)

    def edit(self, comment: Json, body: str) -> Json:
        return self.rest.call("PATCH", self._url(comment), json={"body": body})

    def delete(self, comment: Json) -> None:
        self.rest.call("DELETE", self._url(comment))

    def _url(self, comment: Json) -> str:
        return f"/repos/{self.repository}/issues/comments/{comment['id']}"


def upsert(
    rest: Rest, repository: str, number: int, body: str, *, mode: str, record: Record, commit: str = ""
) -> Written:
    """Write the comment if `mode` wants it.

    Of several voices each has its part of the comment, the worst verdict first. Each looks again after it wrote, since
    two may write at once; of two comments that were made at once the older one stays.

    Args:
        rest: with a token that may write issues or pull requests.
        repository: owner/name.
        number: of the pull request.
        body: markdown; its first line is the marker with the outcome, see `navigator.render.comment`.
        mode: `always`; `change`: if the outcome isn't the comment's, and without a comment only a failure; `failure`:
            a failure, or a success after a comment about a failure.
        record: who writes it, and the verdict.
        commit: the full SHA that it's about. A newer run's comment on another commit stays.

    Raises:
        PublishError: GitHub refuses, or does not say.
    """
    own = Part(record, *shared_comment.split(body), commit)
    thread = _Thread(rest, repository, number, own.marker, _login(rest))
    comment = thread.find()
    rivals: tuple[Record, ...] = ()
    if comment is None and record.succeeded and mode != "always":
        return Written(None)
    for _ in range(_ROUNDS):
        if comment is not None and _is_newer(_own(comment, record), own):
            break
        wanted, rivals = _wanted(own, _text(comment) if comment else "", mode)
        if comment is None:
            comment = thread.post(wanted)
        elif _text(comment) == wanted:
            break
        else:
            comment = thread.edit(comment, wanted)
        there = thread.find()
        if there is not None and there["id"] != comment["id"]:
            # Another voice made one at the same time.
            thread.delete(comment)
        comment = there or comment
    return Written(str(comment["html_url"]), rivals)


def mark(
    rest: Rest, repository: str, number: int, marker: str, *, record: Record, commit: str, line: Callable[[str], str]
) -> None:
    """Let the comment say on top that it's out of date, if it is about another commit and nobody changed it.

    Args:
        rest: with a token that may write issues or pull requests.
        repository: owner/name.
        number: of the pull request.
        marker: the start of the comment.
        record: whose part of it.
        commit: what it isn't about.
        line: returns the markdown to show on top, for the commit that it is about, "" if that's unknown.

    Raises:
        PublishError: GitHub refuses, or does not say.
    """
    thread = _Thread(rest, repository, number, marker, _login(rest))
    comment = thread.find()
    own = _own(comment, record) if comment is not None else None
    if own is None or not own.is_whole or own.commit == commit or own.record.voice.run > record.voice.run:
        return
    parts = [own.marked(line(own.commit)) if each == own else each for each in shared_comment.read(_text(comment))]
    wanted = shared_comment.compose(parts)
    # What is too long for another line stays as it is.
    if wanted != _text(comment) and all(each.is_whole for each in shared_comment.read(wanted)):
        thread.edit(comment, wanted)


def _own(comment: Json, record: Record) -> Part | None:
    """Return what the same voice said in a comment before."""
    return next((each for each in shared_comment.read(_text(comment)) if each.record.voice.same(record.voice)), None)


def _is_newer(there: Part | None, own: Part) -> bool:
    """Tell whether a later run said something about another commit."""
    return there is not None and there.commit != own.commit and there.record.voice.run > own.record.voice.run


def _wanted(own: Part, text: str, mode: str) -> tuple[str, tuple[Record, ...]]:
    """Return what a comment with this text is to be, and the other voices in it."""
    parts = shared_comment.read(text)
    counting = others(own.record.voice, (each.record for each in parts))
    rivals = [each for each in parts if each.record in counting]
    wanted = shared_comment.compose([own, *rivals])
    if mode == "change" and shared_comment.outcome(text) == shared_comment.outcome(wanted):
        # Nobody sees a change, and the next job of this run still finds that this one spoke.
        before = next((each for each in parts if each.record.voice.same(own.record.voice)), None)
        if before is not None and before.is_marked:
            return wanted, tuple(each.record for each in rivals)
        kept = replace(own, content=before.content, commit=before.commit) if before else None
        wanted = shared_comment.compose([kept, *rivals]) if kept else text
    return wanted, tuple(each.record for each in rivals)


def _login(rest: Rest) -> str:
    """Return whom the token writes as. REST tells people alone; GraphQL tells apps too, GITHUB_TOKEN's among them."""
    try:
        return str(rest.call("GET", "/user")["login"])
    except PublishError as error:
        if error.status != HTTPStatus.FORBIDDEN:
            raise
    try:
        answer = rest.call("POST", rest.graphql_url, json={"query": "query { viewer { login } }"}, repeat=True)
        return str(answer["data"]["viewer"]["login"])
    except (PublishError, KeyError, TypeError):
        return _ACTIONS_LOGIN


def _text(comment: Json) -> str:
    """Return a comment's text as it was written, but for blanks at its end."""
    return str(comment["body"] or "").replace("\r\n", "\n").rstrip()
