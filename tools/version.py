"""Keeps the version in agreement wherever it stands, pyproject.toml and CHANGELOG.md, and the variants of action.yml.

python tools/version.py set 1.2.3      writes it
python tools/version.py check 1.2.3    says what does not agree
python tools/version.py notes 1.2.3    prints its part of the changelog
"""

import argparse
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import actions

PYPROJECT, CHANGELOG = Path("pyproject.toml"), Path("CHANGELOG.md")

_VERSION = re.compile(r'^version = "(.*)"$', re.MULTILINE)


def put(version: str) -> None:
    """Write `version`; a development version, 1.3.0.dev0, gets no part of the changelog yet."""
    _replace(PYPROJECT, _VERSION, f'version = "{version}"')
    if ".dev" not in version and notes(version) is None:
        today = datetime.now(UTC).date().isoformat()
        _replace(CHANGELOG, re.compile(r"^## Unreleased$", re.MULTILINE), f"## Unreleased\\n\\n## {version} - {today}")


def problems(version: str) -> Iterator[str]:
    """Yield a sentence for all that keeps `version` from being released."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        yield f"{version!r} is no version to release: write three numbers, for example 1.2.3, without a v"
        return
    written = _VERSION.search(PYPROJECT.read_text(encoding="utf-8"))
    if written is None or written[1] != version:
        yield f"{PYPROJECT}: the version is {written[1] if written else 'missing'}, not {version}"
    if not notes(version):
        yield f"{CHANGELOG}: there is nothing under `## {version}`"
    for path, text in actions.files("", actions.DEVELOPMENT_SLIM).items():
        if path.read_text(encoding="utf-8") != text:
            yield f"{path} does not follow from action.yml: run `python tools/actions.py`"


def notes(version: str) -> str | None:
    """Return what the changelog says of `version`, None where it does not know it."""
    text = CHANGELOG.read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(version)}\b.*\n((?:(?!## ).*\n?)*)", text, re.MULTILINE)
    return found[1].strip() if found else None


def _replace(path: Path, pattern: re.Pattern[str], by: str) -> None:
    text, count = pattern.subn(by, path.read_text(encoding="utf-8"))
    if not count:
        raise SystemExit(f"{path}: there is no place for the version")
    path.write_text(text, encoding="utf-8")


def main() -> int:
    """Run a command below the working directory."""
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
        sys.stderr.write("`python tools/version.py set` writes a version; commit, and release that commit\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
