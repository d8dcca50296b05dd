"""What this machine has: processor, memory, GPUs and installed tools, within the limits of its container.

Imports no framework and starts nothing but `nvidia-smi`. Decides nothing: what a machine lacks for a converter is
the converter's to say.
"""

import contextlib
import os
import platform
import signal
import subprocess
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from navigator.records import Gpu, Host

_DISTRIBUTIONS = (
    "model-navigator",
    *("numpy", "ml-dtypes", "protobuf"),
    *("tensorflow", "keras", "tf-keras", "tf2onnx", "torch"),
    *("onnx", "onnx-ir", "onnxruntime", "onnxscript", "onnxconverter-common", "onnx-graphsurgeon"),
    *("nvidia-modelopt", "polygraphy", "tensorrt", "tensorrt-rtx-cu13", "torch-tensorrt", "docker"),
)
# The same modules under another distribution's name: converters and runners ask for the first.
_VARIANTS = {
    "tensorflow": ("tensorflow-cpu", "tensorflow-gpu", "tensorflow-intel", "tensorflow-rocm"),
    "onnxruntime": ("onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-rocm"),
    "tensorrt": ("tensorrt-cu13", "tensorrt-cu12"),
    "tensorrt-rtx-cu13": ("tensorrt-rtx", "tensorrt-rtx-cu12"),
}

_GPU_FIELDS = ("index", "uuid", "name", "compute_cap", "memory.total", "driver_version")
_GPU_TIMEOUT_SECONDS = 5.0
_DOCKER_TIMEOUT_SECONDS = 5
# What it writes, in brackets, for a field that it cannot tell.
_UNKNOWN = ("N/A", "Not Supported", "Unknown Error", "Insufficient Permissions", "GPU requires reset")

_ROOT = Path("/")


def describe(*, docker: bool = False) -> Host:
    """Return what this machine has. Takes some 20 ms, and what nvidia-smi takes where there is one.

    Args:
        docker: whether to ask for the Docker daemon, which takes another 0.2 s.
    """
    gpus, notes = find_gpus()
    return Host(
        python=platform.python_version(),
        system=platform.platform(),
        cpu=cpu_name(),
        cpu_count=cpu_count(),
        memory_bytes=memory_bytes(),
        gpus=visible(gpus, os.environ.get("CUDA_VISIBLE_DEVICES")),
        versions=versions(),
        docker=docker_version() if docker else "",
        notes=notes,
    )


def visible(gpus: tuple[Gpu, ...], selection: str | None) -> tuple[Gpu, ...]:
    """Return those of `gpus` that CUDA_VISIBLE_DEVICES leaves, in its order; None is no selection.

    As CUDA reads it: indices or the beginnings of UUIDs, and what follows an unknown one does not count.
    """
    if selection is None:
        return gpus
    found: dict[str, Gpu] = {}
    for entry in filter(None, (each.strip() for each in selection.split(","))):
        matching = [gpu for gpu in gpus if entry == str(gpu.index) or (len(entry) > 4 and gpu.uuid.startswith(entry))]
        if not matching:
            break
        found[matching[0].uuid] = matching[0]
    return tuple(found.values())


def docker_version() -> str:
    """Return the version of the Docker daemon that answers, or "" where none does."""
    return _ask_docker(lambda client: str(client.version()["Version"]))


def docker_image_id(name: str) -> str:
    """Return the id of the image that the Docker daemon has under a name, or "" where it has none."""
    return _ask_docker(lambda client: str(client.images.get(name).id))


def _ask_docker(question: Callable[[Any], str]) -> str:
    """Return what the Docker daemon answers, or "" where there is none or it has no answer."""
    url = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if url.startswith("unix://") and not Path(url.removeprefix("unix://")).exists():
        return ""
    try:
        import docker
    except ImportError:
        return ""
    try:
        with contextlib.closing(docker.from_env(timeout=_DOCKER_TIMEOUT_SECONDS)) as client:
            return question(client)
    except (docker.errors.DockerException, OSError, KeyError):
        return ""


def available_memory_bytes(root: Path = _ROOT) -> int:
    """Return what can be allocated now: free memory and droppable caches, within every control group's limit.

    Args:
        root: where /proc and /sys lie.
    """
    found = psutil.virtual_memory().available
    for group in _groups(root, "memory"):
        limit, usage = _limit(group), _usage(group)
        if limit is not None and usage is not None:
            found = min(found, max(0, limit - usage))
    return found


def memory_bytes(root: Path = _ROOT) -> int:
    """Return the machine's memory, or the limit of the control group that we are in, whichever is less."""
    limits = (_limit(group) for group in _groups(root, "memory"))
    return min([psutil.virtual_memory().total, *(limit for limit in limits if limit is not None)])


def cpu_count(root: Path = _ROOT) -> int:
    """Return the number of cores that we may use at the same time: affinity and quota, rounded up, at least 1."""
    count = float(len(os.sched_getaffinity(0)))
    for directory in _groups(root, "cpu"):
        quota, period = _cpu_quota(directory)
        if quota is not None and quota > 0 and period:
            count = min(count, quota / period)
    return max(1, int(-(-count // 1)))


def cpu_name(root: Path = _ROOT) -> str:
    """Return the processor's name; on machines whose kernel tells none (ARM), its architecture."""
    text = _read(root / "proc" / "cpuinfo") or ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return value.strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Return the installed distributions that results depend on, with their versions.

    A variant, such as `onnxruntime-gpu`, counts also under the name that it stands for.
    """
    found = {}
    for name in _DISTRIBUTIONS:
        for each in (name, *_VARIANTS.get(name, ())):
            version = _version(each)
            if version is not None:
                found[each] = version
                found.setdefault(name, version)
    return found


def find_gpus() -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """Return the NVIDIA GPUs, and sentences about what could not be found out; none where there is no nvidia-smi."""
    try:
        code, output = _query(_GPU_FIELDS)
        old_driver = code != 0 and "compute_cap" in output
        if old_driver:  # before 510 it does not know this field
            code, output = _query(tuple(field for field in _GPU_FIELDS if field != "compute_cap"))
    except FileNotFoundError:
        return (), ()
    except subprocess.TimeoutExpired:
        return (), (f"nvidia-smi did not answer within {_GPU_TIMEOUT_SECONDS:g} s: no GPU is used",)
    except OSError as error:
        return (), (f"nvidia-smi cannot be run ({error.strerror}): no GPU is used",)
    if code != 0:
        said = next(iter(output.strip().splitlines()), f"exit code {code}")
        return (), (f"nvidia-smi failed ({said.strip()}): no GPU is used",)
    gpus, notes = [], []
    for line in output.strip().splitlines():
        try:
            gpus.append(_gpu(line, compute_capability=not old_driver))
        except ValueError:
            notes.append(f"nvidia-smi said {line.strip()!r}, which names no GPU")
    if old_driver and gpus:
        notes.append(f"driver {gpus[0].driver_version} does not tell the GPU's compute capability: update it")
    return tuple(gpus), tuple(notes)


def _query(fields: tuple[str, ...]) -> tuple[int, str]:
    """Return exit code and output. Unlike subprocess.run, waits for no process that hangs in the driver."""
    process = subprocess.Popen(
        ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"],  # noqa: S607 - where it is varies
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    assert process.stdout is not None
    with process.stdout:
        try:
            output, _ = process.communicate(timeout=_GPU_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1)
            raise
    return process.returncode, output


def _gpu(line: str, *, compute_capability: bool) -> Gpu:
    """Return the GPU of one line.

    Raises:
        ValueError: it is not a line of the fields that were asked for.
    """
    fields = ["" if field.strip().strip("[]") in _UNKNOWN else field.strip() for field in line.split(",")]
    if not compute_capability:
        fields.insert(3, "")
    index, uuid, name, capability, mebibytes, driver = fields
    return Gpu(
        index=int(index),
        uuid=uuid,
        name=name,
        compute_capability=capability,
        # Integrated GPUs share the machine's memory and have none of their own to tell.
        memory_bytes=int(mebibytes) * 2**20 if mebibytes else 0,
        driver_version=driver,
    )


def _limit(group: Path) -> int | None:
    """Return a memory control group's limit in bytes (version 2 or 1 of control groups), or None."""
    return _number(group / "memory.max") or _number(group / "memory.limit_in_bytes")


def _usage(group: Path) -> int | None:
    """Return the bytes that a group uses without the caches of files, which the kernel drops when it needs the room."""
    usage, caches = _number(group / "memory.current"), ("inactive_file", "active_file")
    if usage is None:
        usage, caches = _number(group / "memory.usage_in_bytes"), ("total_inactive_file", "total_active_file")
    if usage is None:
        return None
    for line in (_read(group / "memory.stat") or "").splitlines():
        key, _, value = line.partition(" ")
        if key in caches:
            usage -= int(value)
    return max(0, usage)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the directories of the control groups that we are in, innermost first: every level may have a limit.

    In a container the path that the kernel tells may be the host's, which is not mounted; the mount's own root is
    then the container's group.
    """
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            mount = root / "sys/fs/cgroup"
        elif controller in controllers.split(","):
            mount = root / "sys/fs/cgroup" / controller
        else:
            continue
        inner = mount / path.lstrip("/")
        yield from (directory for directory in (inner, *inner.parents) if directory.is_relative_to(mount))


def _cpu_quota(directory: Path) -> tuple[float | None, float]:
    """Return quota and period in microseconds; None is no quota."""
    if text := _read(directory / "cpu.max"):
        quota, period = text.split()
        return (None if quota == "max" else float(quota)), float(period)
    found = _number(directory / "cpu.cfs_quota_us")
    return found, float(_number(directory / "cpu.cfs_period_us") or 100000)


def _number(path: Path) -> int | None:
    """Return the number in a file, or None where there is no file or it says that there is no limit."""
    text = (_read(path) or "").strip()
    return int(text) if text.isdigit() else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
