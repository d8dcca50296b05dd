"""What this machine has: processor, memory, GPUs and installed tools, within the limits of its container.

Imports no framework and starts nothing but `nvidia-smi`. Decides nothing: what a machine lacks for a converter is
the converter's to say.
"""

import os
import platform
from importlib import metadata
from pathlib import Path

from navigator.host.docker import docker_version
from navigator.host.gpus import find_gpus, visible
from navigator.host.limits import ROOT, cpu_count, memory_bytes, read_text
from navigator.records import Host

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


def describe(*, docker: bool = False) -> Host:
    """Return what this machine has. Takes some 20 ms, plus what nvidia-smi takes.

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


def cpu_name(root: Path = ROOT) -> str:
    """Return the processor's name; on machines whose kernel tells none (ARM), its architecture."""
    text = read_text(root / "proc" / "cpuinfo") or ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return value.strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Return the installed distributions that results depend on, with their versions.

    A variant, such as `onnxruntime-gpu`, also counts under the standard name.
    """
    found = {}
    for name in _DISTRIBUTIONS:
        for each in (name, *_VARIANTS.get(name, ())):
            version = _version(each)
            if version is not None:
                found[each] = version
                found.setdefault(name, version)
    return found


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
