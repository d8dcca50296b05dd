"""The Docker daemon: whether one answers, and what it has."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

_DOCKER_TIMEOUT_SECONDS = 5


def docker_version() -> str:
    """Return the version of the Docker daemon that answers, or "" where none does."""
    return _ask_docker(lambda client: str(client.version()["Version"]))


def docker_image_id(name: str) -> str:
    """Return the id of the image that the Docker daemon has under a name, or "" where it has none."""
    return _ask_docker(lambda client: str(client.images.get(name).id))


def _ask_docker(question: Callable[[Any], str]) -> str:
    """Return what the Docker daemon answers, or "" if there is none or it has no answer."""
    url = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if url.startswith("unix://") and not Path(url.removeprefix("unix://")).exists():
        return ""
    try:
        import docker
    except ImportError:
        return ""
    try:
        with contextlib.closing(docker.from_env(timeout=_DOCKER_TIMEOUT_SECONDS)) as client:
            return question(client)
    except (docker.errors.DockerException, OSError, KeyError, ValueError):  # a damaged address is a ValueError
        return ""
