"""What GitHub's error answers mean: an error with a sentence, whether it may pass, and which permission is missing.

Reads answers; sends nothing. Sources: docs.github.com, "Troubleshooting the REST API", "Rate limits for
the REST API".
"""

import re
import time
from http import HTTPStatus

import requests
import urllib3

from navigator.errors import ExitCode, NavigatorError

_PERMISSIONS = (
    (r"/issues/", "pull-requests: write"),
    (r"/statuses\b", "statuses: write"),
    (r"/check-runs", "checks: write"),
    (r"/pulls", "pull-requests: read"),
    (r"/actions/", "actions: read"),
    (r"/releases", "contents: write"),
)
"""What a job's `permissions` must name, by what is in a call's path."""


class PublishError(NavigatorError):
    """GitHub was not told. No result is lost by it: it is shown as a warning.

    Args:
        message: what was not done and what GitHub says.
        hint: what to do next, one sentence, or "".
        status: of HTTP, None where there was no answer.
        ambiguous: the call may have been carried out all the same (reset, time-out, 5xx, cut answer).
    """

    # Where publishing is the whole work, as for a release, the job ends with it.
    exit_code = ExitCode.CONFIGURATION

    def __init__(self, message: str, hint: str = "", *, status: int | None = None, ambiguous: bool = False) -> None:
        super().__init__(message, hint)
        self.status = status
        self.ambiguous = ambiguous


class PassingError(PublishError):
    """Trouble that may pass. `limited` by a rate; `pause` is for how many seconds, None where it does not say."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        ambiguous: bool = False,
        limited: bool = False,
        pause: float | None = None,
    ) -> None:
        super().__init__(message, status=status, ambiguous=ambiguous)
        self.limited = limited
        self.pause = pause


def check(name: str, response: requests.Response) -> None:
    """Raise PublishError for an answer that is not the one asked for; PassingError where it may pass.

    Args:
        name: the call, as errors say it: method and path.
        response: to it.
    """
    status = response.status_code
    if status < HTTPStatus.BAD_REQUEST:
        return
    said = _said(response)
    message = f"GitHub refused {name}: HTTP {status}, {said}"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise PassingError(f"GitHub failed at {name}: HTTP {status}, {said}", status=status, ambiguous=True)
    if _limited(response, said):
        raise PassingError(message, status=status, limited=True, pause=_pause(response))
    raise PublishError(message, _hint(status, name), status=status)


def unanswered(name: str, error: requests.RequestException) -> PublishError:
    """Return the error of a call without a whole answer. It quotes none of requests': signed URLs are in it."""
    if isinstance(error, requests.JSONDecodeError | requests.exceptions.ChunkedEncodingError):
        return PassingError(f"GitHub's answer to {name} was truncated.", ambiguous=True)
    if isinstance(error, requests.ConnectTimeout) or isinstance(_reason(error), urllib3.exceptions.NewConnectionError):
        return PassingError(f"Couldn't connect to GitHub for {name}.")
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        hint = "Set REQUESTS_CA_BUNDLE to a file with the certificates to trust."
        return PublishError(f"Couldn't connect to GitHub for {name}: its certificate isn't trusted.", hint)
    if isinstance(error, requests.Timeout):
        return PassingError(f"GitHub didn't answer {name} in time.", ambiguous=True)
    if isinstance(error, requests.ConnectionError):
        return PassingError(f"The connection to GitHub broke at {name}.", ambiguous=True)
    return PublishError(f"Couldn't send {name} to GitHub: {type(error).__name__}.")


def _reason(error: requests.RequestException) -> object:
    return getattr(error.args[0], "reason", None) if error.args else None


def _said(response: requests.Response) -> str:
    """Return the server's own message, with what it says of the fields, on one line and not endless."""
    try:
        body = response.json()
    except (requests.RequestException, ValueError):
        body = None
    if not isinstance(body, dict) or not isinstance(body.get("message"), str):
        return (response.reason or "without a message") + "."
    fields = [_field(item) for item in body.get("errors") or [] if item] if isinstance(body.get("errors"), list) else []
    said = " ".join(f"{body['message'].rstrip('.')}{': ' if fields else ''}{', '.join(fields)}.".split())
    return said if len(said) <= 500 else said[:499] + "…"


def _field(item: object) -> str:
    """Return one of a 422's `errors`: a sentence, or an object of resource, field, code and message."""
    if not isinstance(item, dict):
        return str(item)
    return str(
        item.get("message") or " ".join(str(item[key]) for key in ("resource", "field", "code") if item.get(key))
    )


def _limited(response: requests.Response, said: str) -> bool:
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        return True
    if response.status_code != HTTPStatus.FORBIDDEN or "not accessible by" in said:
        return False
    headers = response.headers
    return "retry-after" in headers or headers.get("x-ratelimit-remaining") == "0" or "rate limit" in said.lower()


def _pause(response: requests.Response) -> float | None:
    after, reset = response.headers.get("retry-after", ""), response.headers.get("x-ratelimit-reset", "")
    if after.isdecimal():
        return float(after)
    if response.headers.get("x-ratelimit-remaining") == "0" and reset.isdecimal():
        return max(1.0, int(reset) - time.time() + 1)
    return None


def _hint(status: int, name: str) -> str:
    if status == HTTPStatus.UNAUTHORIZED:
        return "The token isn't valid: omit the input `token`, or pass one that hasn't expired."
    if status not in {HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}:
        return ""
    needed = next((permission for pattern, permission in _PERMISSIONS if re.search(pattern, name)), "contents: read")
    # Statuses and check runs are only read to be written.
    if name.startswith("GET ") and not re.search(r"/statuses|/check-runs", name):
        needed = needed.replace("write", "read")
    return (
        f"Give the job the permission `{needed}`. Tokens for pull requests from forks are always read-only: "
        "publish from a workflow_run workflow with `command: report`."
    )
