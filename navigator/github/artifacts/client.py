"""Artifacts of a run: uploaded, listed, downloaded.

Owns the order of calls, names, conflicts and what is tried again. The protocol is that of version 4 and later of
actions/upload-artifact, read in github.com/actions/toolkit, packages/artifact (6.2); it's documented nowhere else.
Transport is in `results_service`, transfer in `blob`, archives in `zipped`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from navigator.github.artifacts import blob
from navigator.github.artifacts.check import check
from navigator.github.artifacts.pack import plain, zipped
from navigator.github.artifacts.service import ResultsService
from navigator.github.budget import Budget
from navigator.github.rest import PublishError
from navigator.github.retry import retry

_ATTEMPTS = 3
_RETRY_SECONDS = 5.0
_MAX_RETENTION_DAYS = 90
_OWN_NAME = "give each job its own `artifact_name`, such as one with a value of its matrix"


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """An artifact of this run; an `old` one was made by this job, or in an earlier attempt.

    `digest` is `sha256:<hex>` or "".
    """

    name: str
    id: int
    size_bytes: int
    digest: str = ""
    old: bool = False


class Artifacts:
    """The artifact service of the run that the token belongs to.

    Args:
        results_url: ACTIONS_RESULTS_URL.
        token: ACTIONS_RUNTIME_TOKEN.
        budget: how long all of publishing may take.
        mask: hides a value in the job's log.
        protocol: 7, or 4 for servers that know no MIME type and no order of blocks but that of arrival, such as act.
        longest_days: how long this repository keeps artifacts at most.

    Attributes:
        warnings: sentences for the user about what was done otherwise than asked for.
    """

    def __init__(
        self,
        results_url: str,
        token: str,
        *,
        budget: Budget,
        mask: Callable[[str], None],
        protocol: int = 7,
        longest_days: int = _MAX_RETENTION_DAYS,
    ) -> None:
        self._service = ResultsService(results_url, token, budget=budget, mask=mask)
        self._budget = budget
        self._protocol = protocol
        self._longest_days = longest_days
        self.warnings: list[str] = []

    @classmethod
    def of(
        cls,
        environment: Mapping[str, str],
        token: str,
        *,
        budget: Budget,
        mask: Callable[[str], None],
        protocol: int = 7,
    ) -> "Artifacts":
        """Return the service of a job by its environment.

        Raises:
            PublishError: the server or the kind of step has none.
        """
        host = urlsplit(environment.get("GITHUB_SERVER_URL", "https://github.com")).hostname or ""
        # Protocol 4 is chosen by users of servers that are not GitHub's: they know what theirs has.
        if protocol != 4 and host != "github.com" and not host.endswith((".ghe.com", ".localhost")):
            raise PublishError(
                f"{host} doesn't support artifacts of version 4 or later: only github.com and *.ghe.com do",
                "upload the results directory with actions/upload-artifact@v3 (GitHub Enterprise Server) in a "
                "later step; on other servers that support artifacts, set `artifact_protocol: 4`",
            )
        results_url = environment.get("ACTIONS_RESULTS_URL", "")
        if not results_url or not token:
            missing = "ACTIONS_RUNTIME_TOKEN" if results_url else "ACTIONS_RESULTS_URL"
            raise PublishError(
                f"can't upload artifacts: {missing} isn't set. Runners set it for Docker and JavaScript "
                "actions only, not to `run:` steps",
                "upload the results directory with actions/upload-artifact in a later step",
            )
        days = environment.get("GITHUB_RETENTION_DAYS", "")
        longest = int(days) if days.isdecimal() and int(days) > 0 else _MAX_RETENTION_DAYS
        return cls(results_url, token, budget=budget, mask=mask, protocol=protocol, longest_days=longest)

    def upload(
        self,
        name: str,
        files: Sequence[tuple[str, Path]],
        *,
        retention_days: int | None,
        compression_level: int,
        overwrite: bool,
        archive: bool = True,
    ) -> Artifact:
        """Upload files as one artifact and return it.

        Args:
            name: of the artifact, unique in the run. Without an archive it is also the file's name on download.
            files: path inside the zip, and file on disk with no link in its path.
            retention_days: None leaves it to the repository's settings.
            compression_level: of zlib, 0 to 9.
            overwrite: whether an artifact of that name makes way.
            archive: False uploads the one file as it is.

        Raises:
            PublishError: nothing was uploaded, for this reason.
        """
        check(name, files, archive=archive)
        request: dict[str, Any] = {"name": name, "version": self._protocol}
        content_type = "application/zip" if archive else "application/octet-stream"
        if self._protocol != 4:
            request["mime_type"] = content_type
        if retention_days is not None:
            request["expires_at"] = self._expiry(retention_days)

        def content() -> Iterator[bytes]:
            return zipped(files, compression_level=compression_level) if archive else plain(files[0][1])

        return self._finalize(name, self._transfer(request, content, content_type, overwrite=overwrite))

    def list(self, name: str | None = None) -> tuple[Artifact, ...]:
        """Return the artifacts of this run, or those of a name; the oldest first."""
        found = [
            Artifact(
                name=each["name"],
                id=int(each.get("database_id", 0)),
                size_bytes=int(each.get("size", 0)),
                digest=each.get("digest") or "",
                old=not self._is_another_jobs(each),
            )
            for each in self._listed(name)
        ]
        return tuple(sorted(found, key=lambda artifact: artifact.id))

    def download(self, artifact: Artifact, to: Path, *, limit_bytes: int) -> Path:
        """Write an artifact as it was uploaded, a zip or the raw file, into the directory `to` and return the file.

        The file is named by the artifact's id: names are others' choice.

        Raises:
            PublishError: it is gone, larger than `limit_bytes`, or not what was uploaded.
        """
        owner = next((each for each in self._listed(artifact.name) if int(each["database_id"]) == artifact.id), None)
        if owner is None:
            raise PublishError(f"the artifact {artifact.name!r} is no longer in this run")
        request = {**self._ids(owner), "name": artifact.name}
        return retry(self._budget, lambda: self._fetch(artifact, request, to / str(artifact.id), limit_bytes), _pause)

    def _fetch(self, artifact: Artifact, request: dict[str, Any], to: Path, limit_bytes: int) -> Path:
        url = self._service.call("GetSignedArtifactURL", request)["signed_url"]
        done = blob.download(url, to, limit_bytes=limit_bytes, budget=self._budget)
        if artifact.digest not in {"", done.digest}:
            raise blob.StorageError(
                f"the artifact {artifact.name!r} was corrupted during the download: {done.digest} isn't "
                f"{artifact.digest}"
            )
        return to

    def _transfer(
        self,
        request: dict[str, Any],
        content: Callable[[], Iterator[bytes]],
        content_type: str,
        *,
        overwrite: bool,
    ) -> blob.BlobDigest:
        """Create the artifact and upload its content; from the start again where that broke off."""
        in_order = self._protocol == 4
        url = self._create(request, overwrite=overwrite)

        def send() -> blob.BlobDigest:
            nonlocal url
            url = url or self._create(request, overwrite=True)
            try:
                return blob.upload(url, content(), content_type=content_type, in_order=in_order, budget=self._budget)
            except blob.StorageError as error:
                # The signature has run out, or half of the content is there to stay: a new one takes its place.
                if error.status == HTTPStatus.FORBIDDEN or in_order:
                    url = ""
                raise

        return retry(self._budget, send, _pause)

    def _create(self, request: dict[str, Any], *, overwrite: bool) -> str:
        """Return the signed URL of a new artifact."""
        name = request["name"]
        try:
            answer = self._service.call("CreateArtifact", {**self._service.ids, **request})
        except PublishError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            there = self._listed(name)
            if any(self._is_another_jobs(each) for each in there):
                message = f"another job of this run already made the artifact {name!r}, which isn't replaced"
                raise PublishError(message, _OWN_NAME, status=error.status) from error
            # After a lost answer the one in the way is our own: it is not finished, and so not listed.
            own = error.ambiguous and not there
            if not overwrite and not own:
                raise PublishError(
                    f"this run already has an artifact {name!r}",
                    "set `overwrite: true`, or give each job of a matrix its own `artifact_name`",
                    status=error.status,
                ) from error
            if any(self._ids(each) == self._service.ids for each in there):
                self.warnings.append(f"the artifact {name!r} that this job made earlier was replaced")
            self._delete(name, there)
            answer = self._created(request)
        url = answer.get("signed_upload_url")
        if not answer.get("ok") or not isinstance(url, str):
            raise PublishError(f"the artifact service didn't create the artifact {name!r} and gave no reason")
        return url

    def _created(self, request: dict[str, Any]) -> dict[str, Any]:
        """Create an artifact whose name was free a moment ago."""
        try:
            return self._service.call("CreateArtifact", {**self._service.ids, **request})
        except PublishError as error:
            if error.status != HTTPStatus.CONFLICT or error.ambiguous:
                raise
            # Ours was deleted: this one is another job's, which uploads it now.
            message = f"another job of this run makes the artifact {request['name']!r} at this time"
            raise PublishError(message, _OWN_NAME, status=error.status) from error

    def _is_another_jobs(self, listed: dict[str, Any]) -> bool:
        """Tell whether another job of this attempt made an artifact: each attempt has another id of the run."""
        ids, own = self._ids(listed), self._service.ids
        return ids != own and ids["workflow_run_backend_id"] == own["workflow_run_backend_id"]

    def _delete(self, name: str, there: Sequence[dict[str, Any]]) -> None:
        """Delete an artifact, finished and so listed, or not."""
        ids = next((self._ids(each) for each in there), self._service.ids)
        try:
            self._service.call("DeleteArtifact", {**ids, "name": name})
        except PublishError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise

    def _finalize(self, name: str, done: blob.BlobDigest) -> Artifact:
        request = {**self._service.ids, "name": name, "size": str(done.size_bytes), "hash": done.digest}
        try:
            number = int(self._service.call("FinalizeArtifact", request).get("artifact_id") or 0)
        except PublishError as error:
            # Of a call whose answer was lost, a second one is refused.
            finished = [each.id for each in self.list(name) if each.digest == done.digest] if error.ambiguous else []
            if not finished:
                raise
            number = finished[-1]
        if not number:
            raise PublishError(f"the artifact service didn't finalize the artifact {name!r} and gave no reason")
        return Artifact(name=name, id=number, size_bytes=done.size_bytes, digest=done.digest)

    def _listed(self, name: str | None) -> Sequence[dict[str, Any]]:
        request = {**self._service.ids, **({"name_filter": name} if name else {})}
        return self._service.call("ListArtifacts", request).get("artifacts") or ()

    def _ids(self, listed: dict[str, Any]) -> dict[str, str]:
        """Return whose an artifact is: it may be another job's of this run."""
        return {key: listed.get(key, own) for key, own in self._service.ids.items()}

    def _expiry(self, days: int) -> str:
        if days > self._longest_days:
            self.warnings.append(
                f"artifacts are kept for {self._longest_days} days instead of {days}: the repository allows no more"
            )
            days = self._longest_days
        return (datetime.now(UTC) + timedelta(days=days)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _pause(error: PublishError, attempts: int) -> float | None:
    return _RETRY_SECONDS if isinstance(error, blob.StorageError) and attempts < _ATTEMPTS else None
