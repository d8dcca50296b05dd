"""Builds a target of the Dockerfile and prints the image's tag: `python image.py slim`, `python image.py full`.

Docker's own cache decides what is built anew. Where pip takes packages from directories of this machine too, the
base image gets those, so that the image holds the same builds as this environment: PyTorch from an index would bring
gigabytes of CUDA. Ends with code 77 and the reason where there is no Docker or no base image.
"""
# ruff: noqa: T201, TID253 - a command of its own, about Docker

import hashlib
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import docker
from docker import APIClient
from docker.errors import DockerException, ImageNotFound

BASE = "python:3.11-slim-bookworm"
BASE_WITH_WHEELS = "model-navigator-test-base"
IMAGE = "model-navigator-test-action"
CANNOT = 77

_ROOT = Path(__file__).parents[2]
_WHEELS = "/wheels"


def main() -> int:
    target = sys.argv[1]
    try:
        client = docker.from_env()
    except DockerException as error:
        return _cannot(f"no Docker daemon answers: {error}")
    try:
        base = client.api.inspect_image(BASE)["Id"]  # type: ignore[no-untyped-call]
    except ImageNotFound:
        return _cannot(f"Docker has no image {BASE}")
    tag = f"{IMAGE}:{target}"
    wheels = sorted(wheel for directory in _local_directories() for wheel in directory.glob("*.whl"))
    arguments = ["--build-arg", f"PYTHON_IMAGE={_with_wheels(client.api, base, wheels)}"] if wheels else []
    client.close()
    # The classic builder, as act and plain daemons use it.
    built = subprocess.run(
        ["docker", "build", "--target", target, "--tag", tag, *arguments, str(_ROOT)],
        env=os.environ | {"DOCKER_BUILDKIT": "0"},
        stdout=sys.stderr,
        check=False,
    )
    if built.returncode == 0:
        print(tag)
    return built.returncode


def _cannot(reason: str) -> int:
    print(reason, file=sys.stderr)
    return CANNOT


def _local_directories() -> list[Path]:
    """Return the directories that pip looks for packages in, beside its indexes."""
    configured = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.find-links"], capture_output=True, text=True, check=False
    )
    words = f"{os.environ.get('PIP_FIND_LINKS', '')} {configured.stdout}".split()
    return [Path(word) for word in dict.fromkeys(words) if Path(word).is_dir()]


def _with_wheels(api: APIClient, base: str, wheels: list[Path]) -> str:
    """Return the base image with wheels in it that its pip finds; made once."""
    content = [base, *(f"{wheel.name} {wheel.stat().st_size}" for wheel in wheels)]
    tag = hashlib.sha256(repr(content).encode()).hexdigest()[:16]
    if not api.images(f"{BASE_WITH_WHEELS}:{tag}", quiet=True):
        container = api.create_container(BASE, ["true"])["Id"]
        try:
            api.put_archive(container, "/", _archive(wheels))
            api.commit(container, BASE_WITH_WHEELS, tag, changes=[f"ENV PIP_FIND_LINKS={_WHEELS}"])
        finally:
            api.remove_container(container, force=True, v=True)
    return f"{BASE_WITH_WHEELS}:{tag}"


def _archive(wheels: list[Path]) -> Iterator[bytes]:
    for wheel in wheels:
        content = wheel.read_bytes()
        member = tarfile.TarInfo(f"{_WHEELS.lstrip('/')}/{wheel.name}")
        member.size, member.mode = len(content), 0o644
        yield member.tobuf(tarfile.PAX_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


if __name__ == "__main__":
    sys.exit(main())
