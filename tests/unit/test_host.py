import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import psutil
import pytest

from navigator.host import describe, docker, gpus, limits
from navigator.records import Gpu, Host, from_data, to_data

NvidiaSmi = Callable[[str], None]
GIBIBYTE = 2**30


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NvidiaSmi:
    """Put a program of that name first on the PATH."""

    def write(script: str) -> None:
        program = tmp_path / "bin" / "nvidia-smi"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{textwrap.dedent(script)}")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")

    return write


@pytest.fixture
def machine(tmp_path: Path) -> Callable[[dict[str, str]], Path]:
    """Write the files of a machine's /proc and /sys."""

    def write(files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / "machine" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / "machine"

    return write


def test_this_machine_is_described_as_the_system_tells_it() -> None:
    found = describe.describe()
    assert found.cpu_count == len(os.sched_getaffinity(0)) or found.cpu_count < os.cpu_count()  # type: ignore[operator]
    assert GIBIBYTE // 4 < found.memory_bytes <= psutil.virtual_memory().total
    assert found.cpu
    assert found.system.startswith("Linux")
    assert found.python == ".".join(map(str, sys.version_info[:3]))
    assert found.versions["numpy"] == metadata.version("numpy")
    assert found.versions["model-navigator"] == metadata.version("model-navigator")
    assert from_data(Host, to_data(found)) == found


def test_it_imports_no_framework(tmp_path: Path) -> None:
    code = """
        import sys
        from navigator.host.describe import describe
        describe()
        print([name for name in ("torch", "tensorflow", "onnx", "onnxruntime", "numpy") if name in sys.modules])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PATH": str(tmp_path)},
    )
    assert done.stdout.strip() == "[]"


def test_available_memory_is_less_than_all() -> None:
    assert 0 < limits.available_memory_bytes() <= limits.memory_bytes()


@pytest.mark.parametrize(
    ("installed", "expected"),
    [
        (["onnxruntime_gpu"], {"onnxruntime-gpu": "1.2", "onnxruntime": "1.2"}),
        (["tensorflow_cpu"], {"tensorflow-cpu": "1.2", "tensorflow": "1.2"}),
        (["tf_keras", "TensorRT_RTX_cu13"], {"tf-keras": "1.2", "tensorrt-rtx-cu13": "1.2"}),
        (["requests"], {}),
    ],
)
def test_versions_of_alternative_distributions_count_for_the_main_name_too(
    installed: list[str], expected: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in installed:
        information = tmp_path / f"{name}-1.2.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert describe.versions() == expected


def test_version_of_the_main_name_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, version in (("onnxruntime", "1.32"), ("onnxruntime_gpu", "1.24")):
        information = tmp_path / f"{name}-{version}.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert describe.versions() == {"onnxruntime": "1.32", "onnxruntime-gpu": "1.24"}


def test_gpus_are_those_of_nvidia_smi(nvidia_smi: NvidiaSmi) -> None:
    nvidia_smi("""
        test "$1" = --query-gpu=index,uuid,name,compute_cap,memory.total,driver_version || exit 9
        test "$2" = --format=csv,noheader,nounits || exit 9
        echo '0, GPU-1a, NVIDIA H100 80GB HBM3, 9.0, 81559, 580.95.05'
        echo '1, GPU-2b, NVIDIA A10, 8.6, 23028, 580.95.05'
    """)
    found, notes = gpus.find_gpus()
    assert notes == ()
    assert found[0] == Gpu(
        index=0,
        uuid="GPU-1a",
        name="NVIDIA H100 80GB HBM3",
        compute_capability="9.0",
        memory_bytes=81559 * 2**20,
        driver_version="580.95.05",
    )
    assert [gpu.name for gpu in describe.describe().gpus] == ["NVIDIA H100 80GB HBM3", "NVIDIA A10"]


def test_fields_that_a_gpu_does_not_tell(nvidia_smi: NvidiaSmi) -> None:
    nvidia_smi("echo '0, GPU-1a, NVIDIA GB10, 12.1, [N/A], 580.95.05'")
    (gpu,), notes = gpus.find_gpus()
    assert (gpu.memory_bytes, gpu.compute_capability, notes) == (0, "12.1", ())


def test_an_old_driver_costs_the_compute_capability_only(nvidia_smi: NvidiaSmi) -> None:
    nvidia_smi("""
        case "$1" in *compute_cap*) echo 'Field "compute_cap" is not a valid field to query.'; exit 2;; esac
        echo '0, GPU-1a, Tesla T4, 15109, 450.51'
    """)
    (gpu,), notes = gpus.find_gpus()
    assert (gpu.name, gpu.compute_capability, gpu.memory_bytes) == ("Tesla T4", "", 15109 * 2**20)
    assert notes == ("driver 450.51 doesn't report the GPU's compute capability: update the driver",)


def test_no_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus.find_gpus() == ((), ())


@pytest.mark.parametrize(
    ("script", "note"),
    [
        (
            "echo 'NVIDIA-SMI has failed: cannot communicate with the driver.'\necho more\nexit 9",
            "nvidia-smi failed (NVIDIA-SMI has failed: cannot communicate with the driver.): running without GPUs",
        ),
        ("exit 15", "nvidia-smi failed (exit code 15): running without GPUs"),
        ("echo 'No devices were found'", "ignored a line of nvidia-smi that describes no GPU: 'No devices were found'"),
        ("printf '\\377\\376'; exit 1", "nvidia-smi failed (\ufffd\ufffd): running without GPUs"),
    ],
)
def test_nvidia_smi_that_fails(nvidia_smi: NvidiaSmi, script: str, note: str) -> None:
    nvidia_smi(script)
    found = describe.describe()
    assert found.gpus == ()
    assert found.notes == (note,)


def test_nvidia_smi_that_hangs(nvidia_smi: NvidiaSmi, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi("sleep 30")
    monkeypatch.setattr(gpus, "_GPU_TIMEOUT_SECONDS", 0.3)
    assert gpus.find_gpus() == ((), ("nvidia-smi didn't answer within 0.3 s: running without GPUs",))


def test_nvidia_smi_that_is_no_program(nvidia_smi: NvidiaSmi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi("")
    # A shell goes on to the next directory of PATH, where this machine's own may be.
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin" / "nvidia-smi").write_bytes(b"\x7fELF of another machine")
    assert gpus.find_gpus() == ((), ("can't run nvidia-smi (Exec format error): running without GPUs",))


@pytest.mark.parametrize(
    "files",
    [
        # Version 2, the limit on the group itself.
        {
            "proc/self/cgroup": "0::/job\n",
            "sys/fs/cgroup/job/memory.max": "268435456\n",
            "sys/fs/cgroup/job/memory.current": "201326592\n",
            "sys/fs/cgroup/job/memory.stat": "anon 100\ninactive_file 67108864\nactive_file 33554432\n",
        },
        # Version 2, the limit on the group above it.
        {
            "proc/self/cgroup": "0::/pod/job\n",
            "sys/fs/cgroup/pod/job/memory.max": "max\n",
            "sys/fs/cgroup/pod/job/memory.current": "5\n",
            "sys/fs/cgroup/pod/memory.max": "268435456\n",
            "sys/fs/cgroup/pod/memory.current": "100663296\n",
        },
        # Version 1, in a container that sees the path of the host, which is not mounted there.
        {
            "proc/self/cgroup": "5:cpu,cpuacct:/docker/1a\n4:memory:/docker/1a\n0::/docker/1a\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "268435456\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "201326592\n",
            "sys/fs/cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 100663296\n",
        },
    ],
)
def test_memory_limit_of_control_groups(machine: Callable[[dict[str, str]], Path], files: dict[str, str]) -> None:
    root = machine(files)
    assert limits.memory_bytes(root) == 256 * 2**20
    assert limits.available_memory_bytes(root) == 160 * 2**20


def test_memory_without_limit(machine: Callable[[dict[str, str]], Path]) -> None:
    root = machine(
        {
            "proc/self/cgroup": "4:memory:/job\n",
            "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/job/memory.usage_in_bytes": "5\n",
        }
    )
    assert limits.memory_bytes(root) == psutil.virtual_memory().total
    assert limits.memory_bytes(root / "empty") == psutil.virtual_memory().total
    assert limits.available_memory_bytes(root / "empty") > 0


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        ({"sys/fs/cgroup/job/cpu.max": "100000 100000\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 1),
        ({"sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"sys/fs/cgroup/cpu.max": "9000000 100000\n"}, None),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "90000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_the_cpu_count_is_that_of_the_control_group(
    machine: Callable[[dict[str, str]], Path], files: dict[str, str], expected: int | None
) -> None:
    root = machine({"proc/self/cgroup": "2:cpu,cpuacct:/job\n0::/job\n", **files})
    assert limits.cpu_count(root) == (expected or len(os.sched_getaffinity(0)))


def test_cpu_count_follows_affinity() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert limits.cpu_count() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_the_name_of_the_cpu_is_the_models(machine: Callable[[dict[str, str]], Path]) -> None:
    root = machine({"proc/cpuinfo": "processor\t: 0\nmodel\t\t: 2\nmodel name\t: AMD EPYC 9B14\n"})
    assert describe.cpu_name(root) == "AMD EPYC 9B14"
    assert describe.cpu_name(root / "empty")


TWO = tuple(
    Gpu(
        index=number,
        uuid=f"GPU-{number}{number}{number}-abc",
        name="L4",
        compute_capability="8.9",
        memory_bytes=1,
        driver_version="580",
    )
    for number in (0, 1)
)


@pytest.mark.parametrize(
    ("selection", "seen"),
    [
        (None, [0, 1]),
        ("1,0", [1, 0]),
        ("GPU-111", [1]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("1,7,0", [1]),  # CUDA stops at the first that is not there
        ("1,1", [1]),
    ],
)
def test_cuda_visible_devices_hides_gpus(selection: str | None, seen: list[int]) -> None:
    assert [gpu.index for gpu in gpus.visible(TWO, selection)] == seen


@pytest.mark.parametrize("address", ["unix:///nowhere/docker.sock", "garbage", "tcp://[::1", "tcp://localhost:port"])
def test_without_a_docker_daemon_there_is_no_version(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", address)

    assert docker.docker_version() == ""
    assert describe.describe(docker=True).docker == ""
