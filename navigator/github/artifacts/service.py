"""Calls to the results service of a GitHub run: Twirp with JSON, retried within the time budget.

Owns transport, identity and the masks of signed URLs. Knows no artifacts: `navigator.github.artifacts.client` does. The
protocol is the one of github.com/actions/toolkit, packages/artifact (6.2).
"""

import base64
import binascii
import json
import random
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import requests

from navigator.github.budget import Budget
from navigator.github.rest import PublishError
from navigator.github.retry import retry

ATTEMPTS = 5
RETRY_SECONDS = 3.0
"""The wait before the second attempt; each further one is 1.5 times as long."""

_SERVICE = "twirp/github.actions.results.api.v1.ArtifactService"
# Without an answer, or with one that is broken, too.
_AGAIN = frozenset({None, HTTPStatus.OK, 429, 500, 502, 503, 504})
_CONNECT_SECONDS = 10
_ANSWER_SECONDS = 30


class QuotaError(PublishError):
    """The storage of artifacts is used up: no second try helps."""


class ResultsService:
    """The service at an URL, with the runtime token of this job.

    Args:
        url: ACTIONS_RESULTS_URL; only its origin counts.
        token: ACTIONS_RUNTIME_TOKEN.
        budget: how long all of publishing may take.
        mask: hides a value in the job's log.

    Attributes:
        ids: what a request says of whom it is for: this run and this job.

    Raises:
        PublishError: the token does not say whom it is for.
    """

    def __init__(self, url: str, token: str, *, budget: Budget, mask: Callable[[str], None]) -> None:
        origin = urlsplit(url)
        self._url = f"{origin.scheme}://{origin.netloc}/{_SERVICE}"
        self._token = token
        self._budget = budget
        self._mask = mask
        self._session = requests.Session()
        # A callable, since requests would let a .netrc overrule a header.
        self._session.auth = self._signed
        run, job = backend_ids(token)
        self.ids = {"workflow_run_backend_id": run, "workflow_job_run_backend_id": job}

    def call(self, method: str, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a request, keys in snake case. Signatures in it are masked.

        Every call is made again after 429, 5xx, broken JSON and lost connections, five times in all. A call that may
        have been carried out unseen says so: `ambiguous` of the error is then true whatever the last answer was, and a
        409 may be the echo of one's own success.

        Raises:
            PublishError: the service refuses, or does not answer in time.
        """

        def pause(error: PublishError, attempts: int) -> float | None:
            again = error.status in _AGAIN and not isinstance(error, QuotaError)
            if not again or attempts == ATTEMPTS:
                return None
            return RETRY_SECONDS * 1.5 ** (attempts - 1) * random.uniform(1, 1.5)

        return retry(self._budget, lambda: self._once(method, request), pause)

    def _once(self, method: str, request: dict[str, Any]) -> dict[str, Any]:
        timeout = (_CONNECT_SECONDS, max(1.0, min(_ANSWER_SECONDS, self._budget.left)))
        try:
            response = self._session.post(f"{self._url}/{method}", json=request, timeout=timeout)
        except requests.RequestException as error:
            raise PublishError(
                f"the artifact service didn't answer {method}: {type(error).__name__}", ambiguous=True
            ) from error
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if response.ok and isinstance(answer, dict):
            known: dict[str, Any] = _snake(answer)
            for key in ("signed_upload_url", "signed_url"):
                self._mask_signature(known.get(key, ""))
            return known
        raise _refusal(method, response, answer)

    def _signed(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def _mask_signature(self, url: str) -> None:
        """Hide the signature of a signed URL: anyone who reads it in a log could write to the storage."""
        for signature in parse_qs(urlsplit(url).query).get("sig", ()):
            for form in dict.fromkeys((signature, quote(signature, safe=""), quote(signature))):
                self._mask(form)


def _refusal(method: str, response: requests.Response, answer: object) -> PublishError:
    status = response.status_code
    said = answer.get("msg", "") if isinstance(answer, dict) else ""
    if "insufficient usage" in said:
        return QuotaError(
            "the artifact storage quota is used up: GitHub refuses new artifacts",
            "delete artifacts or shorten `retention_days`; the usage is recalculated every 6 to 12 hours",
            status=status,
        )
    if response.ok:
        said = "the answer isn't JSON"
    hint = ""
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        hint = "the runtime token is only valid while its job runs: check the runner's clock"
    return PublishError(
        f"the artifact service refused {method}: {status} {said or response.reason}",
        hint,
        status=status,
        ambiguous=response.ok or status >= HTTPStatus.INTERNAL_SERVER_ERROR,
    )


def backend_ids(token: str) -> tuple[str, str]:
    """Return the ids of run and job from the claim `scp` of a JSON web token: `Actions.Results:<run>:<job>`.

    Raises:
        PublishError: it names none.
    """
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        scopes = claims["scp"].split(" ")
    except (IndexError, KeyError, TypeError, AttributeError, ValueError, binascii.Error) as error:
        raise PublishError("ACTIONS_RUNTIME_TOKEN isn't a job's token: it has no readable claim `scp`") from error
    for scope in scopes:
        parts = scope.split(":")
        if parts[0] == "Actions.Results" and len(parts) == 3:
            return parts[1], parts[2]
    raise PublishError("ACTIONS_RUNTIME_TOKEN doesn't allow artifacts: it has no scope `Actions.Results:<run>:<job>`")


def _snake(answer: Any) -> Any:
    """Return an answer with its keys in snake case: servers write them so, or in camel case."""
    if isinstance(answer, list):
        return [_snake(each) for each in answer]
    if isinstance(answer, dict):
        return {re.sub("(?=[A-Z])", "_", key).lower(): _snake(value) for key, value in answer.items()}
    return answer
