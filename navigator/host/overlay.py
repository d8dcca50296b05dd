"""Packages in other versions than the installed ones, in a directory that goes before them on PYTHONPATH.

pip decides what changes, or uv where there is no pip: the same as if the packages were installed here, but nothing here
changes. Only wheels are taken, so no code of a package runs.
"""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from navigator import disks
from navigator.errors import ConfigurationError, listed, one_line, quote
from navigator.records import Replacement

_NAME = r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?\s*(?:\[[\w\s,.-]*\])?"
_VERSION = r"[<>=!~]{1,3}\s*[\w.*+!-]+"
_REQUIREMENT = re.compile(rf"{_NAME}\s*(?:{_VERSION}(?:\s*,\s*{_VERSION})*)?\s*(?:;.*)?")
_REQUIREMENTS_BYTES = 2**20
_UNREACHABLE = re.compile(
    r"NewConnectionError|NameResolutionError|ConnectTimeoutError|ProxyError|ReadTimeoutError|SSLError"
    r"|Failed to fetch|error sending request|dns error|Network is unreachable",
)
_NO_VERSION = re.compile(r"satisfies the requirement (.+?) \(from versions: (.*?)\)")
_NOT_THE_REASON = ("ResolutionImpossible", "WARNING", "Using Python")
_SHOWN_VERSIONS = 3
_UNUSED_SECONDS = 30 * 24 * 3600
_UNUSABLE = "name packages and versions, such as `onnxruntime==1.31.*`, or a file with such lines"


class NotInstallableError(ConfigurationError):
    """What was asked for can't be installed here."""


def requirements(written: Sequence[str]) -> tuple[str, ...]:
    """Return requirements of packages, each of which is written as such or in a file that has one a line.

    Raises:
        ConfigurationError: one is something else, such as an address or an option of pip, or no file has its name.
    """
    found: list[str] = []
    for each in written:
        if Path(each).is_file():
            found += _of_file(Path(each))
        elif each.endswith(".txt"):
            raise ConfigurationError(f"--with: there is no file {quote(each)}", "check the path")
        else:
            found.append(_checked(each.strip(), "--with"))
    return tuple(dict.fromkeys(found))


def changes(wanted: Sequence[str]) -> tuple[Replacement, ...]:
    """Return which packages would be in other versions if the requirements were installed here; () if none.

    Raises:
        NotInstallableError: they can't be; says what, and which versions there are.
    """
    found = _by_pip(wanted) if _has_pip() else _by_uv(wanted)
    return tuple(
        Replacement(name=name, before=_installed(name), after=version)
        for name, version in sorted(found.items())
        if _installed(name) != version
    )


def overlay(wanted: Sequence[Replacement]) -> Path:
    """Return a directory in the user's cache with exactly these packages; it's made if it isn't there yet.

    Args:
        wanted: the packages, of which `after` is the version.

    Raises:
        NotInstallableError: they can't be had.
    """
    root = _cache()
    pins = [f"{each.name}=={each.after}" for each in wanted]
    kind = [sys.implementation.cache_tag, sysconfig.get_platform()]
    place = root / hashlib.sha256("\0".join([*pins, *kind]).encode()).hexdigest()[:32]
    try:
        root.mkdir(parents=True, exist_ok=True)
        _forget_unused(root)
        if not place.is_dir():
            _install(pins, place)
        os.utime(place)
    except OSError as error:
        raise NotInstallableError(
            f"{root}: {disks.reason(error, root)}", "set XDG_CACHE_HOME to a directory with room for the packages"
        ) from error
    return place


def python_path(place: Path, environment: Mapping[str, str]) -> str:
    """Return a PYTHONPATH on which an overlay goes before all else."""
    return os.pathsep.join(filter(None, (str(place), environment.get("PYTHONPATH", ""))))


def _of_file(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        text = file.read(_REQUIREMENTS_BYTES).decode("utf-8", "replace")
    for number, line in enumerate(re.sub(r"\\\r?\n", " ", text).splitlines(), 1):
        # The digests that `pip-compile` adds are of files, of which another one may be taken here.
        plain = re.sub(r"\s--hash[= ]\S+", "", re.sub(r"(^|\s)#.*", "", line)).strip()
        if plain:
            yield _checked(plain, f"{path}, line {number}")


def _checked(requirement: str, where: str) -> str:
    if _REQUIREMENT.fullmatch(requirement):
        return requirement
    raise ConfigurationError(f"{where}: {quote(requirement)} isn't a package with a version", _UNUSABLE)


def _has_pip() -> bool:
    return importlib.util.find_spec("pip") is not None


def _by_pip(wanted: Sequence[str]) -> dict[str, str]:
    told = json.loads(_run([*_pip(), "--dry-run", "--report", "-", *wanted], wanted).stdout)
    return {_normal(each["metadata"]["name"]): each["metadata"]["version"] for each in told["install"]}


def _by_uv(wanted: Sequence[str]) -> dict[str, str]:
    told = _run([*_uv(), "--dry-run", *wanted], wanted).stderr
    pins = re.findall(r"^ \+ ([\w.-]+)==(\S+)", told, re.MULTILINE)
    return {_normal(name): version for name, version in pins}


def _install(pins: Sequence[str], place: Path) -> None:
    """Install packages beside a place and then move them there, so that it's whole or absent."""
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".half-") as made:
        half = Path(made, "packages")
        tool = _pip() if _has_pip() else _uv()
        _run([*tool, "--no-deps", "--target", str(half), *pins], pins)
        found = {_normal(each.name): each.version for each in metadata.distributions(path=[str(half)])}
        lacking = [pin for pin in pins if found.get(pin.partition("==")[0]) != pin.partition("==")[2]]
        if lacking:
            raise NotInstallableError(f"{listed(lacking)}: installed, but not found in {half}")
        try:
            half.rename(place)
        except OSError:
            if not place.is_dir():  # or another run was faster
                raise


def _pip() -> list[str]:
    # -P: no file of the working directory is a module.
    options = ["--quiet", "--no-input", "--only-binary", ":all:", "--retries", "2", "--disable-pip-version-check"]
    return [sys.executable, "-P", "-m", "pip", "install", *options]


def _uv() -> list[str]:
    found = shutil.which("uv")
    if found is None:
        raise NotInstallableError(
            "other versions can't be installed: there is neither pip nor uv",
            f"install one of them: `{sys.executable} -m ensurepip`, or see https://docs.astral.sh/uv",
        )
    # A uv.toml of the working directory may name any index.
    options = ["--no-config", "--only-binary", ":all:", "--color", "never", "--python", sys.executable]
    return [found, "pip", "install", *options]


def _run(command: Sequence[str], wanted: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Run pip or uv."""
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise _failure(done.stdout + done.stderr, wanted)
    return done


def _failure(said: str, wanted: Sequence[str]) -> NotInstallableError:
    """Return why pip or uv failed, in a sentence."""
    what = " and ".join(wanted)
    if _UNREACHABLE.search(said):
        return NotInstallableError(
            f"{what} can't be installed: the package index can't be reached",
            "check the network and the index that pip or uv is set to, or set PIP_FIND_LINKS to a directory of wheels",
        )
    if found := _NO_VERSION.search(said):
        there = [version for version in found[2].split(", ") if re.fullmatch(r"[\d.]+(?:\.?post\d+)?", version)]
        if not there:
            return NotInstallableError(
                f"{found[1]} can't be installed: no package of that name has a wheel for this Python and platform",
                "check the name",
            )
        newest = ", ".join(reversed(there[-_SHOWN_VERSIONS:]))
        return NotInstallableError(
            f"{found[1]} can't be installed: there is no such version for this Python and platform",
            f"the newest versions are {newest}",
        )
    # Of what uv draws in a box only the words.
    lines = [one_line(re.sub(r"^(?:ERROR:|error:|\W)+", "", line)) for line in said.splitlines()]
    told = " ".join(line for line in lines if line and not line.startswith(_NOT_THE_REASON))
    return NotInstallableError(f"{what} can't be installed: {told[:1000]}", "choose other versions")


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _cache() -> Path:
    own = os.environ.get("XDG_CACHE_HOME", "")
    return Path(own or Path.home() / ".cache") / "model-navigator" / "environments"


def _forget_unused(root: Path) -> None:
    """Remove what nobody has used for a month."""
    for each in root.iterdir():
        if time.time() - each.stat().st_mtime > _UNUSED_SECONDS:
            shutil.rmtree(each, ignore_errors=True)
