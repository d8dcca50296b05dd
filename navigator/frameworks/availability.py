"""Reasons why a machine can't run something, and the remedies."""

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

# Only the images of the action have this file.
_IMAGE_ENTRYPOINT = Path("/opt/model-navigator/entrypoint.py")
_OTHER_IMAGE = (
    f"use an image that includes it: the action {REPOSITORY} instead of {REPOSITORY}/slim, "
    f"or ghcr.io/{REPOSITORY}:v1 in docker run"
)


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
    """Return how to install `distributions`: a `pip` command, or another image if this is an image of the action.

    Args:
        distributions: PyPI names.
        extra: the extra of this project that lists them, with the versions that work.
    """
    if _IMAGE_ENTRYPOINT.is_file():
        return _OTHER_IMAGE
    if ON_PYPI:
        return f"pip install {shlex.quote(f'{PROJECT}[{extra}]')}"
    specifiers = _specifiers(extra)
    return f"pip install {shlex.join(name + specifiers.get(name, '') for name in distributions)}"


def _specifiers(extra: str) -> dict[str, str]:
    """Return the version specifiers of the requirements of `extra`; none if this project isn't installed."""
    try:
        requirements = metadata.requires(PROJECT) or ()
    except metadata.PackageNotFoundError:
        return {}
    found = (re.fullmatch(r"([\w.-]+)(.*); extra == '([\w-]+)'", each) for each in requirements)
    return {each[1]: each[2] for each in found if each and each[3] == extra}
