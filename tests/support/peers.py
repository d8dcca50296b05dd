"""Installs the npm packages that tests of the action talk to: `python tests/support/peers.py`."""

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

PEERS = Path(__file__).parents[1] / "action" / "peers"
MISSING = "npm is not installed: apt-get install npm"


def install() -> Path | None:
    """Return the directory of the packages, installed once in the versions of package.json; None without npm."""
    if shutil.which("npm") is None:
        return None
    modules = PEERS / "node_modules"
    with (PEERS / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of the processes that test side by side, one installs
        wanted = json.load(lock)["dependencies"]
        if _installed(modules, wanted) != wanted:
            command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--silent"]
            subprocess.run(command, cwd=PEERS, check=True, timeout=600)
    return modules


def lack(what: str) -> NoReturn:
    """Skip the test that lacks a counterpart, or fail it where none may be skipped for that."""
    if os.environ.get("NAVIGATOR_REQUIRE_PEERS") == "1":
        pytest.fail(what)
    pytest.skip(what)


def _installed(modules: Path, names: dict[str, str]) -> dict[str, str]:
    files = {name: modules / name / "package.json" for name in names}
    return {name: json.loads(file.read_text())["version"] for name, file in files.items() if file.exists()}


if __name__ == "__main__":
    install()
