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
from navigator.github.artifacts.pack import FORBIDDEN, plain, zipped
from navigator.github.artifacts.service import ResultsService
from navigator.github.budget import Budget
from navigator.github.rest import PublishError
from navigator.github.retry import retry

_ATTEMPTS = 3
_RETRY_SECONDS = 5.0
_MAX_RETENTION_DAYS = 90


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """An artifact of this run. `digest` is `sha256:<hex>` or "", `created_at` RFC 3339 or "" (just uploaded)."""

    name: str
    id: int
    size_bytes: int
    digest: str = ""
    created_at: str = ""


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
        _check(name, files, archive=archive)
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
                created_at=each.get("created_at") or "",
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
            # After a lost answer the one in the way is our own: it is not finished, and so not listed.
            own = error.ambiguous and not self.list(name)
            if not overwrite and not own:
                raise PublishError(
                    f"this run already has an artifact {name!r}",
                    "set `overwrite: true`, or give each job of a matrix its own `artifact_name`",
                    status=error.status,
                ) from error
            self._delete(name)
            answer = self._service.call("CreateArtifact", {**self._service.ids, **request})
        url = answer.get("signed_upload_url")
        if not answer.get("ok") or not isinstance(url, str):
            raise PublishError(f"the artifact service didn't create the artifact {name!r} and gave no reason")
        return url

    def _delete(self, name: str) -> None:
        """Delete an artifact, finished or not."""
        ids = next((self._ids(each) for each in self._listed(name)), self._service.ids)
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


def _check(name: str, files: Sequence[tuple[str, Path]], *, archive: bool) -> None:
    """PublishError where the service would refuse the name, or the files do not make an artifact."""
    forbidden = FORBIDDEN + "\\/"
    if not name or (wrong := [character for character in forbidden if character in name]):
        has = f"contains {' '.join(repr(each) for each in wrong)}" if name else "is empty"
        raise PublishError(
            f"{name!r} isn't a valid artifact name: it {has}",
            f"set `artifact_name` to a name without {' '.join(FORBIDDEN[:-2])} \\ / and line breaks",
        )
    if not files:
        raise PublishError(f"the artifact {name!r} would have no files")
    if not archive and len(files) != 1:
        raise PublishError(f"the artifact {name!r} has {len(files)} files: only an archive can have several")
    paths = [path for path, _ in files]
    for path in paths:
        if wrong := [character for character in FORBIDDEN if character in path]:
            raise PublishError(f"{path!r} can't be part of an artifact: its path contains {' '.join(map(repr, wrong))}")
    if len(set(paths)) != len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise PublishError(f"the artifact {name!r} would have two files {twice!r}")
