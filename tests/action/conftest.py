"""The counterparts of the action, started by the tests on loopback: see `peers/package.json` and `fakes/`."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

_PEERS = Path(__file__).parent / "peers"


@pytest.fixture(scope="session")
def peers() -> Path:
    """Return the directory of the npm packages that tests talk to; installed once."""
    if shutil.which("npm") is None:
        reason = "npm is not installed: apt-get install npm"
        if os.environ.get("NAVIGATOR_REQUIRE_PEERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    modules = _PEERS / "node_modules"
    wanted = json.loads((_PEERS / "package.json").read_text())["dependencies"]
    if _installed(modules, wanted) != wanted:
        command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
        subprocess.run(command, cwd=_PEERS, check=True, timeout=600)
    return modules


def _installed(modules: Path, names: dict[str, str]) -> dict[str, str]:
    files = {name: modules / name / "package.json" for name in names}
    return {name: json.loads(file.read_text())["version"] for name, file in files.items() if file.exists()}
