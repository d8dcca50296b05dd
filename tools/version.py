"""Sets and checks the version of a release.

    python tools/version.py set 1.2.3      write it, and move the fragments of changelog.d to CHANGELOG.md
    python tools/version.py check 1.2.3    list what keeps it from being released
    python tools/version.py notes 1.2.3    print its section of the changelog

`set` needs the tools of requirements-dev.txt; the others need Python alone.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import actions

PACKAGE, CHANGELOG, FRAGMENTS = Path("navigator/__init__.py"), Path("CHANGELOG.md"), Path("changelog.d")

_VERSION = re.compile(r'^__version__ = "(.*)"$', re.MULTILINE)


def put(version: str) -> None:
    """Write `version`; a development version such as 1.3.0.dev0 leaves the changelog alone.

    Raises:
        SystemExit: the package has no version to replace.
    """
    text, count = _VERSION.subn(f'__version__ = "{version}"', PACKAGE.read_text(encoding="utf-8"))
    if not count:
        raise SystemExit(f"{PACKAGE} has no line `__version__ = ...`")
    PACKAGE.write_text(text, encoding="utf-8")
    if ".dev" not in version and fragments():
        subprocess.run([sys.executable, "-m", "towncrier", "build", "--yes", "--version", version], check=True)


def problems(version: str) -> Iterator[str]:
    """Yield a sentence for everything that keeps `version` from being released."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        yield f"{version!r} can't be released: use three numbers without a v, for example 1.2.3"
        return
    written = _VERSION.search(PACKAGE.read_text(encoding="utf-8"))
    if written is None or written[1] != version:
        yield f"{PACKAGE}: the version is {written[1] if written else 'missing'}, not {version}"
    if not notes(version):
        yield f"{CHANGELOG}: the section `## {version}` is missing or empty"
    left = ", ".join(fragments())
    if left:
        yield f"{FRAGMENTS}: not in {CHANGELOG} yet: {left}"
    for path, text in actions.files("", actions.DEVELOPMENT_SLIM).items():
        if path.read_text(encoding="utf-8") != text:
            yield f"{path} is out of date with action.yml: run `python tools/actions.py`"


def notes(version: str) -> str | None:
    """Return the section of the changelog about `version`, or None if there is none."""
    text = CHANGELOG.read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(version)}\b.*\n((?:(?!## ).*\n?)*)", text, re.MULTILINE)
    return found[1].strip() if found else None


def fragments() -> list[str]:
    """Return the names of the changelog fragments."""
    return sorted(path.name for path in FRAGMENTS.glob("*.md") if path.name != "README.md")


def main() -> int:
    """Run a command in the working directory, the repository's root."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("set", "check", "notes"))
    parser.add_argument("version")
    arguments = parser.parse_args()
    if arguments.command == "set":
        put(arguments.version)
        return 0
    if arguments.command == "notes":
        sys.stdout.write(f"{notes(arguments.version) or ''}\n")
        return 0
    found = [*problems(arguments.version)]
    for problem in found:
        sys.stderr.write(f"{problem}\n")
    if found:
        sys.stderr.write(f"run `python tools/version.py set {arguments.version}`, commit, and release that commit\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
