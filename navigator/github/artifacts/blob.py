"""One blob in Azure's storage, by its signed URL: written from a stream, read into a file.

Owns transfer and measure: blocks, time-outs, SHA-256 and size of the very bytes that went over the wire. Never holds
more than some blocks in memory. Error texts have no URL in them: it is signed.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import requests
from azure.core.credentials import AzureSasCredential
from azure.core.exceptions import AzureError, HttpResponseError
from azure.storage.blob import BlobClient, ContentSettings, ExponentialRetry

from navigator import disks
from navigator.github.budget import Budget
from navigator.github.rest import PublishError

BLOCK_BYTES = 8 * 2**20

_CONNECT_SECONDS = 10
# Of silence. A whole block fits into it at 1.2 Mbit/s.
_READ_SECONDS = 60
_CHUNK_BYTES = 2**20


class StorageError(PublishError):
    """The storage did not take or give a blob: worth another try."""


@dataclass(frozen=True, slots=True)
class BlobDigest:
    """What was uploaded: its size, and its digest as `sha256:<hex>`."""

    size_bytes: int
    digest: str


def upload(url: str, chunks: Iterator[bytes], *, content_type: str, in_order: bool, budget: Budget) -> BlobDigest:
    """Write a stream to a block blob: blocks of 8 MiB, five at a time, each tried four times.

    Args:
        url: signed for writing.
        chunks: the content, in pieces of any size.
        content_type: MIME type that the storage will name.
        in_order: one block after the other and each only once, for a server that appends whatever comes.
        budget: nothing more is read once it is used up.

    Raises:
        StorageError: the storage did not take it; `status` 403 where the URL is no longer good.
        PublishError: whatever `chunks` raises.
    """
    stream = _Stream(chunks, budget)
    place, _, signature = url.partition("?")
    client = BlobClient.from_blob_url(
        place,
        # Sent as it is: of a query in the URL the library keeps what it knows, and other servers sign by other names.
        credential=AzureSasCredential(signature),
        max_block_size=BLOCK_BYTES,
        connection_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        retry_policy=_Retry(budget, 0 if in_order else 3),
    )
    try:
        with client:
            client.upload_blob(
                # azure-storage-blob 12.31 waits for ever for the blocks of a stream that has none.
                b"" if stream.empty else stream,  # type: ignore[arg-type]  # no more than read() is asked of it
                overwrite=True,
                max_concurrency=1 if in_order else 5,
                content_settings=ContentSettings(content_type=content_type),
            )
    except AzureError as error:
        status = error.status_code if isinstance(error, HttpResponseError) else None
        code = getattr(error, "error_code", None) or type(error).__name__
        raise StorageError(
            f"the upload to the artifact storage broke off after {stream.size_bytes:,} bytes: {code}",
            status=status,
            ambiguous=True,
        ) from error
    return BlobDigest(stream.size_bytes, stream.digest)


def download(url: str, to: Path, *, limit_bytes: int, budget: Budget) -> BlobDigest:
    """Write a blob into a file, which is replaced.

    Raises:
        StorageError: the storage did not give it whole.
        PublishError: it is larger than `limit_bytes`.
    """
    digest, size = hashlib.sha256(), 0
    try:
        with (
            requests.get(url, stream=True, timeout=(_CONNECT_SECONDS, _READ_SECONDS)) as response,
            to.open("wb") as file,
        ):
            if response.status_code != HTTPStatus.OK:
                raise StorageError(
                    f"the artifact storage refused a download: {response.status_code} {response.reason}",
                    status=response.status_code,
                )
            for chunk in response.iter_content(_CHUNK_BYTES):
                size += len(chunk)
                if size > limit_bytes:
                    raise PublishError(f"an artifact is larger than the limit of {limit_bytes:,} bytes")
                if not budget.left:
                    raise StorageError("the time for publishing ran out during a download")
                digest.update(chunk)
                file.write(chunk)
    except (requests.RequestException, OSError) as error:
        if disks.is_about_full_disk(error):
            raise PublishError(f"an artifact can't be saved: {disks.full_disk(to)}", disks.REMEDY) from error
        raise StorageError(f"a download from the artifact storage broke off: {type(error).__name__}") from error
    return BlobDigest(size, f"sha256:{digest.hexdigest()}")


class _Stream:
    """A file to read from, made of pieces, that measures what was read."""

    def __init__(self, chunks: Iterator[bytes], budget: Budget) -> None:
        self._chunks = chunks
        self._budget = budget
        self._ready = bytearray()
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    @property
    def digest(self) -> str:
        return f"sha256:{self._digest.hexdigest()}"

    @property
    def empty(self) -> bool:
        """Whether there is nothing to read."""
        self._fill(1)
        return not self._ready

    def read(self, size: int) -> bytes:
        """Return `size` bytes, or what is left."""
        if not self._budget.left:
            raise StorageError("the time for publishing ran out during an upload")
        self._fill(size)
        data = bytes(self._ready[:size])
        del self._ready[:size]
        self._digest.update(data)
        self.size_bytes += len(data)
        return data

    def _fill(self, size: int) -> None:
        while len(self._ready) < size and (chunk := next(self._chunks, None)) is not None:
            self._ready += chunk


class _Retry(ExponentialRetry):
    """Tries again after about 1, 3 and 5 seconds, within the budget."""

    def __init__(self, budget: Budget, total: int) -> None:
        super().__init__(initial_backoff=1, increment_base=2, retry_total=total, random_jitter_range=1)
        self._budget = budget

    def sleep(self, settings: dict[str, Any], transport: Any) -> None:  # noqa: ARG002  the library's signature
        if not self._budget.sleep(self.get_backoff_time(settings)):
            raise StorageError("the time for publishing ran out before another attempt to upload")
