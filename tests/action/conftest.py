"""The counterparts of the action, started by the tests on loopback: see `peers/package.json` and `fakes/`."""

import base64
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from tests.support.peers import MISSING, install, lack

_FAKES = Path(__file__).parent / "fakes"


@pytest.fixture(scope="session")
def peers() -> Path:
    """Return the directory of the npm packages that tests talk to."""
    modules = install()
    if modules is None:
        lack(MISSING)
    return modules


@pytest.fixture(scope="session")
def azurite(peers: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of an Azurite, Microsoft's own emulator of the storage that artifacts lie in."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    place = tmp_path_factory.mktemp("azurite")
    command = ["node", str(peers / "azurite/dist/src/blob/main.js"), "--silent", "--location", str(place)]
    command += ["--blobHost", "127.0.0.1", "--blobPort", str(port)]
    command += ["--skipApiVersionCheck", "--loose", "--disableTelemetry"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        _wait_for(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def _results_service(azurite: str) -> Iterator[str]:
    command = [sys.executable, str(_FAKES / "results.py"), azurite]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.fixture
def results_service(_results_service: str) -> str:
    """Return the URL of a results service without artifacts, ACTIONS_RESULTS_URL; see `fakes/results.py`."""
    requests.post(f"{_results_service}/control/reset", json={}, timeout=10).raise_for_status()
    return _results_service


@pytest.fixture(scope="session")
def runtime_token() -> str:
    """Return an ACTIONS_RUNTIME_TOKEN: a token whose claims name run and job, as GitHub's do."""
    claims = json.dumps({"scp": "Actions.ExampleScope Actions.Results:run-of-the-test:job-of-the-test"})
    return f"e30.{base64.urlsafe_b64encode(claims.encode()).decode().rstrip('=')}.signature"


@pytest.fixture(scope="session")
def _github(peers: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start the fake and Prism, which holds what passes to GitHub's own description of its API."""
    description = tmp_path_factory.mktemp("github") / "description.json"
    whole = peers / "@octokit/openapi/generated/api.github.com.json"
    subprocess.run([sys.executable, str(_FAKES / "description.py"), str(whole), str(description)], check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    fake = [sys.executable, str(_FAKES / "github.py"), str(description), str(port)]
    prism = ["node", str(peers / "@stoplight/prism-cli/dist/index.js"), "proxy", "--errors", "--port", str(port)]
    with subprocess.Popen(fake, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        door, back = process.stdout.readline().strip(), process.stdout.readline().strip()
        proxy = subprocess.Popen([*prism, str(description), back], stdout=subprocess.DEVNULL)
        try:
            _wait_for(port, proxy)
            yield door
        finally:
            for each in (proxy, process):
                each.kill()
                each.wait()


@pytest.fixture
def github(_github: str) -> Iterator[str]:
    """Return the URL of a GitHub API without any content, GITHUB_API_URL; see `fakes/github.py`.

    A test fails if a call of its, or an answer, is not as GitHub describes its API.
    """
    requests.post(f"{_github}/control/reset", json=None, timeout=10).raise_for_status()
    yield _github
    assert requests.get(f"{_github}/control/state", timeout=10).json()["violations"] == []


@pytest.fixture
def chaos() -> Iterator[Callable[[str], tuple[str, str]]]:
    """Return a function from a server's URL to a proxy that breaks connections: its URL, and its control's.

    See `fakes/chaos.py`.
    """
    with ExitStack() as running:

        def start(url: str) -> tuple[str, str]:
            command = [sys.executable, str(_FAKES / "chaos.py"), url]
            process = running.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            running.callback(process.kill)
            assert process.stdout is not None
            return process.stdout.readline().strip(), process.stdout.readline().strip()

        yield start


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None, "the server ended"
            time.sleep(0.1)
        else:
            return
    pytest.fail("the server does not listen after a minute")
