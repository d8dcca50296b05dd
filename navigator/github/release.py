"""The assets of a release of a tag: all of them there and verified, or the release is not published.

Steps: find the release, drafts too, or make a draft; upload what is not there yet; verify every digest; publish.
What an upload that was cut off has left is replaced. What the files are is `navigator.github.release_assets`'.

Source: docs.github.com, "REST API endpoints for releases" and "for release assets".
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from navigator.github.release_assets import Asset, Prepared, prepare
from navigator.github.rest import PublishError, Rest
from navigator.github.retry import found_or, retry
from navigator.records import Json

_MOST_ASSETS = 1000
_CONTENT_TYPE = "application/octet-stream"
_ATTEMPTS = 5
_WAIT_SECONDS = 2.0


def publish(
    rest: Rest,
    repository: str,
    tag: str,
    assets: Sequence[Asset],
    *,
    extras: Sequence[Path],
    draft: bool,
    overwrite: bool,
) -> str:
    """Attach files and their checksums to the release of `tag`, and publish it.

    Args:
        rest: with a token that may write contents.
        repository: owner/name.
        tag: an existing one where the release has to be made.
        assets: the models.
        extras: further files, attached under their own names.
        draft: leave a draft a draft. A published release stays published either way.
        overwrite: replace what a published release has under the same name with another content.

    Returns:
        The URL of the release's page.

    Raises:
        PublishError: something is not as it should be. A draft is a draft still; to a published release what was
            uploaded before is attached.
    """
    with tempfile.TemporaryDirectory() as directory:
        # Before GitHub is asked for anything: what cannot be attached must not leave half a release.
        prepared = prepare(assets, extras, Path(directory).resolve())
        release = _find(rest, repository, tag) or _create(rest, repository, tag)
        attachment = _Attachment(rest, repository, release)
        attachment.attach(prepared, overwrite=overwrite)
    if release["draft"] and not draft:
        release = rest.call("PATCH", f"/repos/{repository}/releases/{release['id']}", json={"draft": False})
    return str(release["html_url"])


def commit_of(rest: Rest, repository: str, tag: str) -> str | None:
    """Return the full SHA of the commit that `tag` is, also an annotated one; None if there is no such tag.

    Source: docs.github.com, "REST API endpoints for Git references" and "for Git tags".

    Raises:
        PublishError: GitHub doesn't say.
    """
    try:
        found = rest.call("GET", f"/repos/{repository}/git/ref/{quote(f'tags/{tag}', safe='')}")["object"]
    except PublishError as error:
        if error.status != 404:
            raise
        return None
    while found["type"] == "tag":
        found = rest.call("GET", f"/repos/{repository}/git/tags/{found['sha']}")["object"]
    return str(found["sha"])


def _find(rest: Rest, repository: str, tag: str) -> Json:
    """Return the release of the tag, a published one before a draft, or None. `releases/tags/` knows no drafts."""
    found = [each for each in rest.pages(f"/repos/{repository}/releases") if each["tag_name"] == tag]
    return min(found, key=lambda each: bool(each["draft"]), default=None)


def _create(rest: Rest, repository: str, tag: str) -> Json:
    """Make a draft. The tag must be there: GitHub would make a missing one, wherever, when the draft is published."""
    if commit_of(rest, repository, tag) is None:
        raise PublishError(
            f"{repository} has no tag {tag}, so there is no release to attach models to",
            "push the tag first, or fix the input `tag`",
        )
    draft = {"tag_name": tag, "name": tag, "draft": True}
    return found_or(
        lambda: rest.call("POST", f"/repos/{repository}/releases", json=draft), lambda: _find(rest, repository, tag)
    )


class _Attachment:
    """Files on their way to one release."""

    def __init__(self, rest: Rest, repository: str, release: Mapping[str, Json]) -> None:
        self._rest = rest
        self._release = release
        self._assets_path = f"/repos/{repository}/releases/{release['id']}/assets"
        self._asset_path = f"/repos/{repository}/releases/assets"
        # As an RFC 6570 template; GitHub Enterprise Server has another host than github.com, so it is never built here.
        self._upload_url = str(release["upload_url"]).partition("{")[0]

    def attach(self, files: Sequence[Prepared], *, overwrite: bool) -> None:
        """Upload what is missing, replace what differs, and verify all."""
        there = self._there()
        missing = [each for each in files if not _same(there.get(each.name), each)]
        self._check(files, missing, there, overwrite=overwrite)
        for each in missing:
            if each.name in there:
                self._delete(there[each.name])
            self._upload(each)
        there = self._there()
        for each in files:
            self._verify(each, there.get(each.name))

    def _check(
        self, files: Sequence[Prepared], missing: Sequence[Prepared], there: Mapping[str, Json], *, overwrite: bool
    ) -> None:
        """Raise what can be known before the first byte is uploaded."""
        where = f"the release {self._release['tag_name']}"
        number = len({*there, *(each.name for each in files)})
        if number > _MOST_ASSETS:
            raise PublishError(
                f"{where} would have {number:,} files; GitHub allows {_MOST_ASSETS:,}, so nothing was uploaded",
                "narrow `models` and `conversions`, with `allow_partial: true` here, or use several tags",
            )
        if missing and self._release.get("immutable"):
            raise PublishError(
                f"{where} is immutable and lacks {missing[0].name}; nothing was uploaded",
                "attach the models before you publish the release, or use a new tag",
            )
        other = [each.name for each in missing if _complete(there.get(each.name))]
        if other and not self._release["draft"] and not overwrite:
            raise PublishError(
                f"{where} is published with a different {', '.join(other)}; nothing was uploaded",
                "set `overwrite: true` to replace it, or use a new tag",
            )

    def _there(self) -> dict[str, Json]:
        return {each["name"]: each for each in self._rest.pages(self._assets_path)}

    def _delete(self, asset: Mapping[str, Json]) -> None:
        try:
            self._rest.call("DELETE", f"{self._asset_path}/{asset['id']}")
        except PublishError as error:
            # An answer that was lost on its way is asked for again.
            if error.status != 404:
                raise

    def _upload(self, file: Prepared) -> None:
        """Upload a file; if the answer is lost, see what has arrived, and try again unless it's whole."""

        def send() -> None:
            try:
                self._rest.upload(self._upload_url, file.path, name=file.name, content_type=_CONTENT_TYPE)
            except PublishError as error:
                if not _may_be_there(error):
                    raise
                arrived = self._there().get(file.name)
                if _arrived(arrived, file):
                    return
                if arrived is not None:
                    self._delete(arrived)
                raise

        def pause(error: PublishError, attempts: int) -> float | None:
            return _WAIT_SECONDS * 2 ** (attempts - 1) if attempts < _ATTEMPTS and _may_be_there(error) else None

        try:
            retry(self._rest.budget, send, pause)
        except PublishError as error:
            raise self._not_taken(file, error) from error

    def _not_taken(self, file: Prepared, error: PublishError) -> PublishError:
        state = "draft" if self._release["draft"] else "published"
        return PublishError(
            f"couldn't attach {file.name} to the {state} release {self._release['tag_name']}: {error.message}",
            error.hint or "run the job again; files that are already attached are kept",
            status=error.status,
        )

    def _verify(self, file: Prepared, asset: Json) -> None:
        """Raise if GitHub has something else than the file; what is wrong is taken away."""
        if _arrived(asset, file):
            return
        if asset is None:
            raise PublishError(
                f"{file.name} was uploaded, but the release {self._release['tag_name']} doesn't list it",
                "run the job again; you may have to delete an asset with another name",
            )
        self._delete(asset)
        raise PublishError(
            f"{file.name} was corrupted on its way to the release {self._release['tag_name']} and deleted there: "
            f"{asset['size']:,} bytes, {asset.get('digest')}, instead of {file.size_bytes:,} bytes, {file.digest}",
            "run the job again",
        )


def _complete(asset: Json) -> bool:
    """Tell whether an asset is there; an upload that was cut off leaves one in the state `starter`."""
    return asset is not None and asset["state"] == "uploaded"


def _same(asset: Json, file: Prepared) -> bool:
    """Tell whether an asset is known to be the file: with other weights a model has the same size."""
    return _complete(asset) and asset.get("digest") == file.digest


def _arrived(asset: Json, file: Prepared) -> bool:
    """Tell whether what was just uploaded is whole. GitHub Enterprise Servers older than digests know its size only."""
    return _complete(asset) and asset["size"] == file.size_bytes and asset.get("digest") in (None, file.digest)


def _may_be_there(error: PublishError) -> bool:
    """Tell whether an asset of that name may be there: this upload's, or one of an earlier try that wasn't listed."""
    return error.ambiguous or (error.status == 422 and "already_exists" in error.message)
