"""Builds images that tests run and prints their tags: `python images.py slim full framework`.

The first two are targets of the Dockerfile; `framework` stands in for a framework's image and shares the layers of
`full`. Docker's own cache decides what is built anew. pip in the images looks where pip on this machine looks, so that
both get the same builds: PyTorch without CUDA, for example, if an index or a directory says so.

Ends with code 77 and the reason if there is no Docker or no base image.
"""
# ruff: noqa: T201, TID253 - a command of its own, about Docker

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import docker
from docker import APIClient
from docker.errors import APIError, DockerException, ImageNotFound

BASE = "python:3.11-slim-bookworm"
CONFIGURED_BASE = "model-navigator-test-base"
IMAGE = "model-navigator-test"
CANNOT = 77

_ROOT = Path(__file__).parents[2]
_WORKER = _ROOT / "tests" / "worker"
_WHEELS = "/wheels"
_ROOM_BYTES = 20 * 10**9


def main() -> int:
    try:
        client = docker.from_env(timeout=600)  # removing an image of 8 GB takes minutes on a busy disk
    except DockerException as error:
        return _cannot(f"no Docker daemon answers: {error}")
    try:
        base = client.api.inspect_image(BASE)["Id"]  # type: ignore[no-untyped-call]
    except ImageNotFound:
        return _cannot(f"Docker has no image {BASE}: docker pull {BASE}")
    with Path(tempfile.gettempdir(), f"{IMAGE}-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # processes that build the same would do it twice
        for name in sys.argv[1:]:
            if not _build(client, name, _configured(client.api, base)):
                return 1
            print(f"{IMAGE}:{name}", flush=True)
    client.close()
    return 0


def _cannot(reason: str) -> int:
    print(reason, file=sys.stderr)
    return CANNOT


def _build(client: docker.DockerClient, name: str, base: str) -> bool:
    """Build an image; what had its name before goes, unless something else needs it."""
    if name == "framework":
        if not _build(client, "frameworks", base):
            return False
        file, context = _WORKER / "framework_image" / "Dockerfile", _WORKER
        arguments = ["--build-arg", f"FRAMEWORKS={IMAGE}:frameworks"]
    else:
        file, context = _ROOT / "Dockerfile", _ROOT
        arguments = ["--target", name, "--build-arg", f"PYTHON_IMAGE={base}"]
    tag = f"{IMAGE}:{name}"
    before = client.api.images(tag, quiet=True)
    if not before and not _room(client):
        return False
    # The classic builder, as act and plain daemons use it.
    command: Sequence[str | Path] = ["docker", "build", "--tag", tag, "--file", file, *arguments, context]
    built = subprocess.run(command, env=os.environ | {"DOCKER_BUILDKIT": "0"}, stdout=sys.stderr, check=False)
    if built.returncode == 0 and before and client.api.images(tag, quiet=True) != before:
        try:
            client.api.remove_image(before[0])
        except APIError as error:
            print(f"{before[0]} stays: {error.explanation}", file=sys.stderr)
    return built.returncode == 0


def _room(client: docker.DockerClient) -> bool:
    place = Path(client.info()["DockerRootDir"])
    if not place.is_dir() or (free := shutil.disk_usage(place).free) >= _ROOM_BYTES:
        return True
    wanted = f"{_ROOM_BYTES / 1e9:.0f} GB of disk, and {place} has {free / 1e9:.1f} GB free"
    print(
        f"the images that tests run take up to {wanted}: free some, with `docker system prune` for one", file=sys.stderr
    )
    return False


def _local_directories() -> list[Path]:
    """Return the directories that pip looks for packages in, beside its indexes."""
    configured = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.find-links"], capture_output=True, text=True, check=False
    )
    words = f"{os.environ.get('PIP_FIND_LINKS', '')} {configured.stdout}".split()
    return [Path(word) for word in dict.fromkeys(words) if Path(word).is_dir()]


def _configured(api: APIClient, base: str) -> str:
    """Return the base image with this machine's settings of pip, and with the packages of its directories."""
    wheels = sorted(wheel for directory in _local_directories() for wheel in directory.glob("*.whl"))
    settings = {name: os.environ[name] for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL") if name in os.environ}
    if wheels:
        settings["PIP_FIND_LINKS"] = _WHEELS
    if not settings:
        return BASE
    content = [base, *settings.items(), *(f"{wheel.name} {wheel.stat().st_size}" for wheel in wheels)]
    tag = hashlib.sha256(repr(content).encode()).hexdigest()[:16]
    if not api.images(f"{CONFIGURED_BASE}:{tag}", quiet=True):
        container = api.create_container(BASE, ["true"])["Id"]
        try:
            api.put_archive(container, "/", _archive(wheels))
            changes = [f'ENV {name}="{value}"' for name, value in settings.items()]
            api.commit(container, CONFIGURED_BASE, tag, changes=changes)
        finally:
            api.remove_container(container, force=True, v=True)
    return f"{CONFIGURED_BASE}:{tag}"


def _archive(wheels: list[Path]) -> Iterator[bytes]:
    for wheel in wheels:
        content = wheel.read_bytes()
        member = tarfile.TarInfo(f"{_WHEELS.lstrip('/')}/{wheel.name}")
        member.size, member.mode = len(content), 0o644
        yield member.tobuf(tarfile.PAX_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


if __name__ == "__main__":
    sys.exit(main())
