"""Fork servers whose tasks misbehave, and the connection to Docker."""
# ruff: noqa: TID253 - Docker is what is tested

import os
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import docker
import psutil
import pytest

from navigator.workers.local.pool import ForkServer, Task, TaskResult

# `misbehaviour` is imported by servers alone, which find it here.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}

_numbers = count()

Start = Callable[..., ForkServer]
MakeTask = Callable[..., Task]
Run = Callable[..., TaskResult]


@pytest.fixture(scope="module")
def client(framework: str) -> Iterator[docker.DockerClient]:
    """Return a connection to the daemon that has the image `framework`."""
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a server of the test's own."""
    servers = []

    def starter(*, environment: Mapping[str, str] = ENVIRONMENT, **options: Any) -> ForkServer:
        chosen = {"preload": (), "directory": tmp_path / "server", "tasks_module": "misbehaviour", **options}
        servers.append(ForkServer(environment=environment, **chosen))
        return servers[-1]

    yield starter
    for each in servers:
        each.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    """One server for all tests of a module: each of them also shows that it outlived those before."""
    directory = tmp_path_factory.mktemp("server")
    with ForkServer(preload=(), directory=directory, tasks_module="misbehaviour", environment=ENVIRONMENT) as started:
        yield started


@pytest.fixture
def task(tmp_path: Path) -> MakeTask:
    """Make a task in directories of its own."""

    def make(name: str, *, timeout: float = 20.0, memory: int = 4 * 2**30, **arguments: Any) -> Task:
        number = next(_numbers)
        return Task(
            name=name,
            arguments=arguments,
            directory=tmp_path / f"task{number}",
            log_path=tmp_path / f"task{number}.log",
            timeout_seconds=timeout,
            memory_limit_bytes=memory,
            writes=(tmp_path,),
        )

    return make


@pytest.fixture
def run(server: ForkServer, task: MakeTask) -> Run:
    """Run a task on the module's server, and then another one, which must end well whatever the first did."""

    def runner(name: str, **arguments: Any) -> TaskResult:
        result = server.run(task(name, **arguments))
        following = server.run(task("echo", after=name))
        assert following.value == {"after": name}, following
        return result

    return runner


@pytest.fixture
def gone() -> Callable[[list[int]], bool]:
    """Tell whether processes ended, within two seconds. A zombie has ended."""

    def is_gone(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    def all_gone(pids: list[int]) -> bool:
        for _ in range(100):
            if all(is_gone(pid) for pid in pids):
                return True
            time.sleep(0.02)
        return False

    return all_gone


@pytest.fixture
def pids_in() -> Callable[[Path], list[int]]:
    """Wait for a file of process ids and return them."""

    def read(path: Path) -> list[int]:
        for _ in range(500):
            if path.exists() and (text := path.read_text()):
                return [int(pid) for pid in text.split()]
            time.sleep(0.02)
        raise AssertionError(f"no {path}")

    return read


@pytest.fixture
def importable(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Write a module `preloaded` and return the environment in which servers find it."""

    def write(text: str) -> dict[str, str]:
        directory = tmp_path / "modules"
        directory.mkdir()
        (directory / "preloaded.py").write_text(textwrap.dedent(text))
        return {**os.environ, "PYTHONPATH": f"{directory}{os.pathsep}{Path(__file__).parent}"}

    return write
