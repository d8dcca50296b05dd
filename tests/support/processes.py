"""Which tests share a process: `pytest -n 2` or more hands files out so that PyTorch and TensorFlow never meet in one.

Each has its own LLVM, and a process that uses both dies of it: the product keeps them in workers of their own, and so
do its tests. One process takes the files of TensorFlow, the others those of PyTorch, each of them the rest too. A
process collects nothing of the other framework, since a module of tests imports its framework at its top.
"""

import fnmatch
import os
import sys
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path

import pytest
from xdist.workermanage import WorkerController, parse_tx_spec_config  # type: ignore[import-untyped]

# The files whose tests import a framework into their own process.
FRAMEWORKS = {
    "tensorflow": ("tests/conversion/test_tf_*.py",),
    "torch": (
        "tests/conversion/test_*torch*.py",
        "tests/gpu/test_*.py",
        "tests/run/test_containers.py",
        "tests/unit/test_config_formats.py",
        "tests/unit/test_dumps.py",  # Polygraphy imports it
        "tests/worker/test_container.py",
    ),
}

# What takes long comes first, so that nobody waits for it at the end.
ORDER = ("tests/conversion/test_t", "tests/action/", "tests/run/", "tests/worker/", "tests/conversion/", "tests/unit/")

# Files of tests that take half a minute each and share nothing: one after the other they would be the last.
APART = ("tests/run/test_sabotage.py", "tests/action/commands/test_faults.py", "tests/action/commands/test_voices.py")

_LOADED = pytest.StashKey[frozenset[str]]()
_TENSORFLOW = pytest.StashKey[list[WorkerController]]()
_SESSION = pytest.StashKey[pytest.Session]()


def framework_of(file: Path, config: pytest.Config) -> str | None:
    """Return the framework that a file's tests import."""
    name = os.path.relpath(file, config.rootpath)
    for framework, patterns in FRAMEWORKS.items():
        if any(fnmatch.fnmatch(name, pattern) for pattern in patterns):
            return framework
    return None


def _loaded() -> frozenset[str]:
    return frozenset(FRAMEWORKS.keys() & sys.modules.keys())


# In a process that runs tests.


class _Nothing(pytest.Module):
    """A file of the other framework."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        return ()


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    wanted = framework_of(module_path, parent.config)
    own = getattr(parent.config, "workerinput", {}).get("framework", wanted)
    return _Nothing.from_parent(parent, path=module_path) if wanted not in (None, own) else None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[_LOADED] = _loaded()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail the test that brings a framework into a process that is not for it."""
    result = yield
    before = item.stash[_LOADED]
    if stray := _loaded() - before - {framework_of(item.path, item.config)}:
        pytest.fail(f"the test imports {', '.join(stray)}: name its file in tests/support/processes.py")
    if len(_loaded()) > 1:
        pytest.fail("PyTorch and TensorFlow are in one process, which they may crash: run `pytest -n 2`, or one file")
    return result


# In the process that hands them out.


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.stash[_SESSION] = session


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """For `-n auto`: two more than cores, since tests wait much of their time, for servers, Docker and deadlines."""
    return len(os.sched_getaffinity(0)) + 2


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    """Tell a process its framework; one that takes the place of another that crashed gets what is missing."""
    if not node.config.stash.setdefault(_TENSORFLOW, []):
        node.config.stash[_TENSORFLOW].append(node)
    node.workerinput["framework"] = "tensorflow" if node in node.config.stash[_TENSORFLOW] else "torch"


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: WorkerController) -> None:
    if node in node.config.stash[_TENSORFLOW]:
        node.config.stash[_TENSORFLOW].remove(node)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config) -> "Scheduler":
    return Scheduler(config)


class Scheduler:
    """Hands out files, or single tests, to processes that collected them; xdist wants all to collect the same."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._expected = len(parse_tx_spec_config(config))
        if self._expected < 2:
            raise pytest.UsageError("tests take two processes at least, one for each framework: -n 2")
        self._collected: dict[WorkerController, list[str]] = {}
        self._pending: dict[WorkerController, list[str]] = {}
        self._files: deque[list[str]] | None = None

    @property
    def nodes(self) -> list[WorkerController]:
        return list(self._pending)

    @property
    def collection_is_completed(self) -> bool:
        return len(self._collected) >= self._expected

    @property
    def tests_finished(self) -> bool:
        return self._files is not None and not self._files and all(len(each) < 2 for each in self._pending.values())

    @property
    def has_pending(self) -> bool:
        return bool(self._files) or any(self._pending.values())

    def add_node(self, node: WorkerController) -> None:
        self._pending[node] = []

    def add_node_collection(self, node: WorkerController, collection: Sequence[str]) -> None:
        self._collected[node] = list(collection)

    def schedule(self) -> None:
        if self._files is None:
            files: dict[str, list[str]] = {}
            for test in dict.fromkeys(test for tests in self._collected.values() for test in tests):
                name = test.partition("::")[0]
                files.setdefault(test if name in APART else name, []).append(test)
            self._files = deque(files[name] for name in sorted(files, key=_rank))
            # xdist takes what one process collected for all, and shows shares of that.
            self._config.stash[_SESSION].testscollected = sum(map(len, files.values()))
        for node in self.nodes:
            self._feed(node)

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        self._pending[node].remove(self._collected[node][item_index])
        self._feed(node)

    def mark_test_pending(self, item: str) -> None:
        raise NotImplementedError

    def remove_pending_tests_from_node(self, node: WorkerController, indices: Sequence[int]) -> None:
        raise NotImplementedError

    def remove_node(self, node: WorkerController) -> str | None:
        """Return the test that a process died of; what it had still to do is for others."""
        pending = self._pending.pop(node)
        if len(pending) > 1 and self._files is not None:
            self._files.appendleft(pending[1:])
        return pending[0] if pending else None

    def _feed(self, node: WorkerController) -> None:
        """Keep two tests with a process, which begins none before it knows the next one."""
        known = set(self._collected.get(node, ()))
        while len(self._pending[node]) < 2 and not node.shutting_down:
            found = next((file for file in self._files or () if file[0] in known), None)
            if found is None:
                node.shutdown()
                return
            assert self._files is not None
            self._files.remove(found)
            self._pending[node] += found
            indexes = [self._collected[node].index(test) for test in found]
            node.send_runtest_some(indexes)


def _rank(file: str) -> int:
    return next((index for index, start in enumerate(ORDER) if file.startswith(start)), len(ORDER))
