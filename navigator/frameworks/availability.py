"""Reasons why a machine can't run something, and the remedies."""

import os
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from navigator.records import Host

# Set to True once the release workflow has published to PyPI. Until then, anyone could register the name there, so no
# message may recommend to install it.
ON_PYPI = False

PROJECT = "model-navigator"
REPOSITORY = "org/model-navigator"

# Set for workers in containers, where nobody can install anything.
CONTAINER_VARIABLE = "MODEL_NAVIGATOR_CONTAINER"
# Only the images of the action have this file.
_IMAGE_ENTRYPOINT = Path("/opt/model-navigator/entrypoint.py")
_OTHER_IMAGE = (
    f"use an image that includes it: the action {REPOSITORY} instead of {REPOSITORY}/slim, "
    f"or ghcr.io/{REPOSITORY}:v1 in docker run"
)
# TF-TRT needs a TensorFlow that the action's images don't have.
_IN_NO_IMAGE = ("tf-trt",)


@dataclass(frozen=True, kw_only=True, slots=True)
class Unavailable:
    """Why a converter can't run on a machine, and what to do about it."""

    reason: str
    remedy: str


def missing(distributions: tuple[str, ...], extra: str, host: Host) -> Unavailable | None:
    """Return why a converter that needs `distributions` can't run on `host`, or None.

    Args:
        distributions: PyPI names.
        extra: the extra of this project that installs them.
        host: the machine.
    """
    absent = [name for name in distributions if name not in host.versions]
    if not absent:
        return None
    return Unavailable(reason=f"not installed: {', '.join(absent)}", remedy=how_to_install(absent, extra))


def how_to_install(distributions: Iterable[str], extra: str) -> str:
    """Return how to install `distributions`: a `pip` command, or an image that has them if this process is in one.

    Args:
        distributions: PyPI names.
        extra: the extra of this project that lists them, with the versions that work.
    """
    specifiers = _specifiers(extra)
    requirements = [name + specifiers.get(name, "") for name in distributions]
    if _IMAGE_ENTRYPOINT.is_file() and extra not in _IN_NO_IMAGE:
        return _OTHER_IMAGE
    if ON_PYPI and not _is_in_image():
        requirements = [f"{PROJECT}[{extra}]"]
    return how_to_get(*requirements)


def how_to_get(*requirements: str) -> str:
    """Return how to get packages where this process is: a `pip` command, or an image for containers.

    Args:
        requirements: PyPI names with specifiers of versions, such as `torch-tensorrt<2.9`.
    """
    if _is_in_image():
        return f"use launch_mode: docker and a framework_docker_image with {' and '.join(requirements)}"
    return f"pip install {shlex.join(requirements)}"


def _is_in_image() -> bool:
    return _IMAGE_ENTRYPOINT.is_file() or CONTAINER_VARIABLE in os.environ


def _specifiers(extra: str) -> dict[str, str]:
    """Return the version specifiers of the requirements of `extra`; none if this project isn't installed."""
    try:
        requirements = metadata.requires(PROJECT) or ()
    except metadata.PackageNotFoundError:
        return {}
    found = (re.fullmatch(r"([\w.-]+)(.*); extra == '([\w-]+)'", each) for each in requirements)
    return {each[1]: each[2] for each in found if each and each[3] == extra}
