"""The sentence that comes before the kernel kills a worker, within control groups and within a worker's own limit."""

from pathlib import Path

import psutil
import pytest

from navigator.errors import StepError
from navigator.frameworks.memory import LIMIT_VARIABLE, require_memory

REMEDY = "use a machine with more memory, run fewer steps in parallel (jobs: 1), or increase memory_limit_bytes"


@pytest.fixture
def container(tmp_path: Path) -> Path:
    """Write the files of a container that may use 2.0 GB more than it does."""
    for name, text in {
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/memory.max": "3000000000\n",
        "sys/fs/cgroup/memory.current": "1500000000\n",
        "sys/fs/cgroup/memory.stat": "inactive_file 500000000\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_container_with_a_limit(container: Path) -> None:
    require_memory(2_000_000_000, "exporting big.pt", container)
    with pytest.raises(StepError) as raised:
        require_memory(2_500_000_000, "exporting big.pt", container)

    assert raised.value.message == "exporting big.pt needs about 2.5 GB of memory, but only 2.0 GB is available"
    assert raised.value.hint == REMEDY


def test_the_limit_of_a_worker_counts_what_it_holds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    held = psutil.Process().memory_full_info().uss
    monkeypatch.setenv(LIMIT_VARIABLE, str(held + 200_000_000))
    require_memory(100_000_000, "exporting big.pt", tmp_path)
    with pytest.raises(StepError, match=r"needs about 0\.3 GB of memory, but only 0\.2 GB is available"):
        require_memory(300_000_000, "exporting big.pt", tmp_path)

    monkeypatch.setenv(LIMIT_VARIABLE, "1")
    with pytest.raises(StepError, match=r"0\.0 GB is available"):
        require_memory(100_000_000, "exporting big.pt", tmp_path)


def test_the_machine_is_the_limit_where_there_is_no_other(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="is available"):
        require_memory(psutil.virtual_memory().total + 1, "exporting big.pt", tmp_path)
