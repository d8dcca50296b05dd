"""Makes an image that stands in for a framework's: `python build.py` prints its name.

PyTorch for the CPU and what goes with it are copied from this interpreter's own packages, since an installation in
the image would bring several GB of CUDA. The tests' tasks are in it too. Made once: its name is a key of its content.
Ends with code 77 and the reason where there is no Docker or no base image.
"""
# ruff: noqa: T201, TID253 - a command of its own, about Docker

import hashlib
import sys
import tarfile
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

import docker
from docker import APIClient
from docker.errors import DockerException, ImageNotFound
from packaging.requirements import Requirement

BASE = "python:3.11-slim-bookworm"
PACKAGES = "model-navigator-test-packages"
IMAGE = "model-navigator-test-framework"
CANNOT = 77

_ROOTS = ("torch", "onnx", "onnxruntime", "onnxscript", "tf2onnx", "polygraphy", "msgspec", "numpy", "psutil")
_SITE_PACKAGES = "usr/local/lib/python3.11/site-packages"
_UNUSED = ("torch/include/", "torch/test/", "torch/bin/protoc", "torch/bin/test_", "/tests/")
_HERE = Path(__file__).parent

Files = Iterable[tuple[str, Path]]


def main() -> int:
    try:
        client = docker.from_env()
    except DockerException as error:
        return _cannot(f"no Docker daemon answers: {error}")
    try:
        base = client.api.inspect_image(BASE)["Id"]  # type: ignore[no-untyped-call]
    except ImageNotFound:
        return _cannot(f"Docker has no image {BASE}")
    if sys.version_info[:2] != (3, 11):
        return _cannot(f"the packages are those of Python {sys.version_info.minor}, and {BASE} has another")
    packages, tasks = _closure(_ROOTS), (_HERE.parent / "misbehaviour.py", _HERE / "unruly.py")
    versions = sorted(f"{each.name}=={each.version}" for each in packages)
    first = _named(PACKAGES, base, Path(__file__).read_text(), *versions)
    second = _named(IMAGE, first, *(path.read_text() for path in tasks))
    _make(client.api, BASE, first, _files_of(packages))
    # A volume, as some images have: each container then gets one, which must go with it.
    _make(client.api, first, second, [(path.name, path) for path in tasks], "VOLUME /data")
    client.close()
    print(second)
    return 0


def _cannot(reason: str) -> int:
    print(reason, file=sys.stderr)
    return CANNOT


def _named(repository: str, *content: str) -> str:
    return f"{repository}:{hashlib.sha256(repr(content).encode()).hexdigest()[:16]}"


def _closure(names: Iterable[str]) -> list[metadata.Distribution]:
    """Return distributions with all that they require."""
    found: dict[str, metadata.Distribution] = {}
    pending = list(names)
    for name in pending:
        if name.lower().replace("-", "_") not in found:
            each = metadata.distribution(name)
            found[name.lower().replace("-", "_")] = each
            wanted = (Requirement(text) for text in each.requires or ())
            pending += [one.name for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    return list(found.values())


def _files_of(distributions: Iterable[metadata.Distribution]) -> Iterator[tuple[str, Path]]:
    for distribution in distributions:
        for file in distribution.files or ():
            name = str(file)
            if not name.startswith("..") and not any(part in name for part in _UNUSED):
                path = Path(str(distribution.locate_file(file)))
                if path.exists():  # bytecode may be listed and not be there
                    yield name, path


def _make(api: APIClient, base: str, image: str, files: Files, *changes: str) -> None:
    """Make an image of another one and files for its Python, unless it is there; forget what took its place before."""
    if api.images(image, quiet=True):
        return
    repository = image.partition(":")[0]
    container = api.create_container(base, ["true"])["Id"]
    try:
        api.put_archive(container, "/", _archive(files))
        api.commit(container, repository, image.partition(":")[2], changes=list(changes))
    finally:
        api.remove_container(container, force=True, v=True)
    for tags in [each["RepoTags"] or [] for each in api.images(repository)]:
        for tag in tags:
            if tag != image:
                api.remove_image(tag, force=True)


def _archive(files: Files) -> Iterator[bytes]:
    for name, path in files:
        content, found = path.read_bytes(), path.stat()
        member = tarfile.TarInfo(f"{_SITE_PACKAGES}/{name}")
        member.size, member.mode, member.mtime = len(content), found.st_mode & 0o777, int(found.st_mtime)
        yield member.tobuf(tarfile.PAX_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


if __name__ == "__main__":
    sys.exit(main())
