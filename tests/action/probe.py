"""Reads and tries whatever its user may, and prints it as JSON: run inside the action's container by the tests.

`seen` is everything that could be read; `writable` are files that steer the runner or git; `docker` tells whether
the daemon answers.
"""
# ruff: noqa: T201 - a command of its own

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

_LIMIT_BYTES = 64 * 2**20
_STEERING = ("github/file_commands", "github/workflow", "github/workspace/.git")


def main() -> None:
    seen = "".join(_readable())
    print(json.dumps({"uid": os.getuid(), "seen": seen, "writable": list(_writable()), "docker": _docker()}))


def _readable() -> Iterator[str]:
    for process in Path("/proc").glob("[0-9]*"):
        if process.name != str(os.getpid()):
            for name in ("environ", "cmdline"):
                yield _content(process / name)
            yield from _memory(process)
    for directory, _, files in os.walk("/github"):
        for name in files:
            yield _content(Path(directory, name))


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LIMIT_BYTES).decode("latin-1")
    except OSError:
        return ""


def _memory(process: Path) -> Iterator[str]:
    """Yield heap and stack; what frameworks map is of no interest."""
    try:
        with (process / "maps").open() as maps, (process / "mem").open("rb") as memory:
            for line in maps:
                if line.rstrip().endswith(("[heap]", "[stack]")):
                    first, last = (int(each, 16) for each in line.split()[0].split("-"))
                    memory.seek(first)
                    yield memory.read(min(last - first, _LIMIT_BYTES)).decode("latin-1")
    except OSError:
        return


def _writable() -> Iterator[str]:
    for place in _STEERING:
        for directory, _, files in os.walk(f"/{place}"):
            yield from (
                path for path in (directory, *(f"{directory}/{name}" for name in files)) if os.access(path, os.W_OK)
            )


def _docker() -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect("/var/run/docker.sock")
        except OSError:
            return False
    return True


if __name__ == "__main__":
    main()
