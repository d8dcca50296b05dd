"""The one comment of a workflow and a configuration on a pull request: found again, edited, never doubled.

A comment is ours if its first line begins with our marker and our token's user wrote it: comments of others
that copy the marker are left alone.
"""

import re
from http import HTTPStatus

from navigator.github.rest import Json, PublishError, Rest
from navigator.github.retry import found_or, once_more, retry

# Whom GITHUB_TOKEN writes as.
_ACTIONS_LOGIN = "github-actions[bot]"

_FIRST_LINE = re.compile(r"(<!-- model-navigator:.* outcome:)([0-9a-f]+) -->")


def upsert(rest: Rest, repository: str, number: int, body: str, *, mode: str, success: bool) -> str | None:
    """Write the comment if `mode` wants it, and return the URL of the comment that is there then, if any.

    Args:
        rest: with a token that may write issues or pull requests.
        repository: owner/name.
        number: of the pull request.
        body: markdown; its first line is the marker with the outcome, see `navigator.render.comment`.
        mode: `always`; `change`: if the outcome isn't the comment's, and without a comment only a failure; `failure`:
            a failure, or a success after a comment about a failure.
        success: whether the work succeeded.

    Raises:
        PublishError: GitHub refuses, or does not say.
    """
    found = _FIRST_LINE.match(body)
    assert found, "the body begins with its marker"
    marker, outcome = found.groups()
    author = _login(rest)
    own = _find(rest, repository, number, marker, author)
    if own is None:
        if success and mode != "always":
            return None
        return _post(rest, repository, number, body, marker, author)
    changed = _outcome(own) != outcome
    if _text(own) != body.rstrip() and (changed or mode != "change"):
        own = rest.call("PATCH", f"/repos/{repository}/issues/comments/{own['id']}", json={"body": body})
    return str(own["html_url"])


def _post(rest: Rest, repository: str, number: int, body: str, marker: str, author: str) -> str:
    """Make the comment. Where the answer was lost, it may be there all the same."""
    path = f"/repos/{repository}/issues/{number}/comments"

    def post() -> Json:
        return rest.call("POST", path, json={"body": body})

    def find() -> Json:
        return _find(rest, repository, number, marker, author)

    return str(retry(rest.budget, lambda: found_or(post, find), once_more)["html_url"])


def _find(rest: Rest, repository: str, number: int, marker: str, author: str) -> Json:
    """Return the oldest comment that is ours, or None."""
    comments = rest.pages(f"/repos/{repository}/issues/{number}/comments")
    # GraphQL names some apps without the suffix that REST gives them.
    logins = (author, f"{author}[bot]")
    own = (each for each in comments if _text(each).startswith(marker) and (each["user"] or {}).get("login") in logins)
    return min(own, key=lambda each: int(each["id"]), default=None)


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


def _outcome(comment: Json) -> str:
    found = _FIRST_LINE.match(_text(comment))
    return found[2] if found else ""
