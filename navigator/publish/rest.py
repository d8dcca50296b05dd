"""GitHub's REST API over HTTPS: one call, all pages of a list, an upload, a download.

Owns what is sent again and when, and how long all of it may take. What is said to GitHub, and what becomes of an
error, is the callers': nothing here ends a job. Sources: docs.github.com, "Best practices for using the REST API"
(rate limits), "Using pagination in the REST API", and `navigator.publish.refusals` for what an error answer means.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests

from navigator.publish.refusals import PassingError, PublishError, check, unanswered

__all__ = ["Budget", "Json", "PublishError", "Rest"]

Json = Any
"""Parsed JSON, as GitHub's API description says."""

_T = TypeVar("_T")

_ATTEMPTS = 5
"""How often a call is made that meets resets or 5xx. Rate limits end with the budget instead."""
_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 30.0
"""GitHub itself ends a request after 10 seconds."""
_UPLOAD_SECONDS = 120.0
"""An asset is stored elsewhere before it is answered for."""
_RATE_LIMIT_SECONDS = 60.0
"""The first wait where a rate limit does not say how long it lasts; each further one is twice as long."""
_CHUNK_BYTES = 2**20
_SLICE = 0.1
"""How soon a shortened budget is noticed, in seconds."""


class Budget:
    """How long publishing may take, in all.

    Args:
        seconds: from now on, on the monotonic clock.
        within: ends with it where that is earlier, also when it is shortened later.
    """

    def __init__(self, seconds: float, within: "Budget | None" = None) -> None:
        self._own_end = time.monotonic() + seconds
        self._latest_end = math.inf
        self._within = within

    @property
    def left(self) -> float:
        """Seconds, never negative."""
        return max(0.0, self._end - time.monotonic())

    @property
    def _end(self) -> float:
        own = min(self._own_end, self._latest_end)
        return own if self._within is None else min(own, self._within._end)

    def restart(self, seconds: float) -> None:
        """Begin anew: other work is done, and took its time. What was shortened stays so."""
        self._own_end = time.monotonic() + seconds

    def sleep(self, seconds: float) -> bool:
        """Wait. False where that is more than is left: at once, or as soon as it is."""
        until = time.monotonic() + seconds
        while (missing := until - time.monotonic()) > 0:
            if until > self._end:
                return False
            time.sleep(min(missing, _SLICE))
        return True

    def run(self, work: Callable[[], _T], *, late: str, stop: Callable[[], bool] = lambda: False) -> _T:
        """Return what `work` does, on a thread that is left behind when nothing is left.

        Time-outs of a socket are between two bytes, and a signal handler that shortens the budget does not end the
        read that it interrupts.

        Args:
            work: what may take too long.
            late: the sentence of the error.
            stop: whether to give up although something is left.

        Raises:
            PublishError: `late`; the work may be done all the same.
        """
        done: Future[_T] = Future()

        def run() -> None:
            try:
                done.set_result(work())
            except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
                done.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        while self.left and not stop():
            if wait([done], timeout=min(self.left, _SLICE)).done:
                return done.result()
        raise PublishError(late, ambiguous=True)

    def shorten(self, seconds: float) -> None:
        """Leave at most so many seconds from now. May be called by a signal handler: it takes no lock."""
        self._latest_end = min(self._latest_end, time.monotonic() + seconds)


class Rest:
    """GitHub's REST API with a token.

    Args:
        api_url: `https://api.github.com`, or `https://<host>/api/v3` of an Enterprise Server.
        token: sent to that host and to the ones that its answers name for uploads.
        budget: of all calls together.

    Every method raises PublishError.
    """

    def __init__(self, api_url: str, token: str, budget: Budget) -> None:
        self._api_url = api_url.rstrip("/")
        self._budget = budget
        self._session = requests.Session()
        self._session.auth = _Bearer(token)
        self._session.headers.update(
            {
                "Accept": "application/vnd.github+json",
                "User-Agent": "model-navigator",
                "X-GitHub-Api-Version": "2022-11-28",
            }
        )

    @property
    def budget(self) -> Budget:
        """How long all calls together may take, for whoever waits between two of them."""
        return self._budget

    @property
    def graphql_url(self) -> str:
        """Where the same server answers GraphQL."""
        return f"{self._api_url.removesuffix('/v3')}/graphql"

    def call(
        self,
        method: str,
        path: str,
        *,
        json: Json = None,
        params: Mapping[str, str | int] | None = None,
        repeat: bool | None = None,
    ) -> Json:
        """Make one call; return the answer's JSON, None where it has no body.

        Args:
            method: of HTTP.
            path: relative to the API's URL, or an absolute URL out of one of its answers.
            json: the body.
            params: the query.
            repeat: whether it is made again where it may have been carried out: everything but POST, if left out.
        """
        again = method != "POST" if repeat is None else repeat
        return self._exchange(method, path, lambda url: self._send(method, url, json=json, params=params), _json, again)

    def pages(
        self, path: str, *, params: Mapping[str, str | int] | None = None, key: str | None = None
    ) -> Iterator[Json]:
        """Yield the items of a list, page by page. `key` is the list's in an answer that is an object."""
        query: Mapping[str, str | int] | None = {"per_page": 100, **(params or {})}
        following: str | None = path
        while following:
            page, following = self._page(following, query)
            yield from page[key] if key else page
            query = None  # the link to the next page carries it

    def _page(self, path: str, query: Mapping[str, str | int] | None) -> tuple[Json, str | None]:
        def read(response: requests.Response) -> tuple[Json, str | None]:
            return _json(response), response.links.get("next", {}).get("url")

        return self._exchange("GET", path, lambda url: self._send("GET", url, params=query), read, True)

    def upload(self, url: str, path: Path, *, name: str, content_type: str) -> Json:
        """Send a file as the body, streamed; made again only where it was certainly not carried out.

        Args:
            url: a release's `upload_url` as it was answered, with its `{?name,label}`.
            path: of the file.
            name: what it is to be called.
            content_type: of the file.
        """

        def send(target: str) -> requests.Response:
            with path.open("rb") as file:
                # requests would send an empty file in chunks, and so without a Content-Length.
                body = file if path.stat().st_size else b""
                headers = {"Content-Type": content_type}
                timeout = _UPLOAD_SECONDS
                return self._send("POST", target, data=body, params={"name": name}, headers=headers, answer=timeout)

        return self._exchange("POST", url.partition("{")[0], send, _json, False)

    def save(self, path: str, to: Path, *, limit_bytes: int) -> None:
        """Write a file into `to`, from the start again where that breaks off.

        Redirects are followed; to another host without the token. PublishError where it is larger than `limit_bytes`.
        """

        def write(response: requests.Response) -> None:
            written = 0
            with response, to.open("wb") as file:
                for chunk in response.iter_content(_CHUNK_BYTES):
                    written += len(chunk)
                    if written > limit_bytes:
                        raise PublishError(f"{path} has more than the {limit_bytes:,} bytes that are allowed")
                    file.write(chunk)

        self._exchange("GET", path, lambda url: self._send("GET", url, stream=True), write, True)

    def _url(self, path: str) -> str:
        if not path.startswith(("https://", "http://")):
            return f"{self._api_url}/{path.lstrip('/')}"
        if path.startswith("http://") and self._api_url.startswith("https://"):
            raise PublishError(
                f"GitHub's API named {urlsplit(path).netloc} without https; the token is not sent there."
            )
        return path

    def _send(self, method: str, url: str, *, answer: float = _ANSWER_SECONDS, **options: Any) -> requests.Response:
        left = self._budget.left
        return self._session.request(method, url, timeout=(min(_CONNECT_SECONDS, left), min(answer, left)), **options)

    def _exchange(
        self,
        method: str,
        path: str,
        send: Callable[[str], requests.Response],
        read: Callable[[requests.Response], _T],
        again: bool,
    ) -> _T:
        """Send until there is an answer that is none of the passing troubles, and return what `read` makes of it."""
        name, url = f"{method} {urlsplit(path).path}", self._url(path)
        troubles = limits = 0
        while True:
            try:
                return self._once(name, lambda: send(url), read)
            except PassingError as error:
                if error.limited:
                    pause = error.pause if error.pause is not None else _RATE_LIMIT_SECONDS * 2**limits
                    limits += 1
                else:
                    pause = 2.0**troubles
                    troubles += 1
                if troubles == _ATTEMPTS or (error.ambiguous and not again):
                    raise
                if not self._budget.sleep(pause):
                    raise error.given_up(
                        f"Trying again in {pause:.0f} s is too late: publishing has no time left."
                    ) from error

    def _once(self, name: str, send: Callable[[], requests.Response], read: Callable[[requests.Response], _T]) -> _T:
        if not self._budget.left:
            raise PublishError(f"{name} was not sent to GitHub: publishing has no time left.")

        def work() -> _T:
            try:
                response = send()
                check(name, response)
                return read(response)
            except requests.RequestException as error:
                raise unanswered(name, error) from error

        late = f"GitHub did not answer {name} within the time that publishing has."
        return self._budget.run(work, late=late)


class _Bearer(requests.auth.AuthBase):
    """The token. An `auth` and no header of the session, which requests would replace by one out of a `.netrc`."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _json(response: requests.Response) -> Json:
    return response.json() if response.content else None
