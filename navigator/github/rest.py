"""GitHub's REST API over HTTPS: one call, all pages of a list, an upload, a download.

Owns what is sent again and when, and how long all of it may take. What is said to GitHub, and what becomes of an
error, is the callers': nothing here ends a job. Sources: docs.github.com, "Best practices for using the REST API"
(rate limits), "Using pagination in the REST API", and `navigator.github.errors` for what an error answer means.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from navigator.github.budget import _T, Budget
from navigator.github.errors import PassingError, PublishError, check, unanswered
from navigator.github.retry import retry

__all__ = ["Budget", "Json", "PublishError", "Rest"]

Json = Any
"""Parsed JSON, as GitHub's API description says."""


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
        """How long all calls together may take, for code that waits between two of them."""
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
                        raise PublishError(f"{path} is larger than the limit of {limit_bytes:,} bytes")
                    file.write(chunk)

        self._exchange("GET", path, lambda url: self._send("GET", url, stream=True), write, True)

    def _url(self, path: str) -> str:
        if not path.startswith(("https://", "http://")):
            return f"{self._api_url}/{path.lstrip('/')}"
        if path.startswith("http://") and self._api_url.startswith("https://"):
            raise PublishError(
                f"GitHub's API named {urlsplit(path).netloc} without https; the token wasn't sent there."
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
        """Send until an answer isn't a passing error, and return what `read` makes of it."""
        name, url = f"{method} {urlsplit(path).path}", self._url(path)
        limits = 0

        def pause(error: PublishError, attempts: int) -> float | None:
            nonlocal limits
            if not isinstance(error, PassingError) or (error.ambiguous and not again):
                return None
            if error.limited:
                limits += 1
                return error.pause if error.pause is not None else _RATE_LIMIT_SECONDS * 2 ** (limits - 1)
            troubles = attempts - limits
            return 2.0 ** (troubles - 1) if troubles < _ATTEMPTS else None

        return retry(self._budget, lambda: self._once(name, lambda: send(url), read), pause)

    def _once(self, name: str, send: Callable[[], requests.Response], read: Callable[[requests.Response], _T]) -> _T:
        if not self._budget.left:
            raise PublishError(f"{name} wasn't sent to GitHub: the time for publishing ran out.")

        def work() -> _T:
            try:
                response = send()
                check(name, response)
                return read(response)
            except requests.RequestException as error:
                raise unanswered(name, error) from error

        late = f"GitHub didn't answer {name} before the time for publishing ran out."
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
