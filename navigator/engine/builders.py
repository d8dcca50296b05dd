"""The worker that builds all engines for a GPU: TensorRT's kernels take seconds to load, once instead of each time.

It reads converted models, the source models of such steps and samples, and writes nothing but what it builds.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from navigator.converters import CONVERTERS
from navigator.engine.workspace import Workspace
from navigator.models.files import model_files
from navigator.records import Gpu, ModelPlan, Step
from navigator.workers.task import Lasting

# What TensorRT (10.6, on an H200) keeps as long as a builder exists: its kernels, unpacked, and a copy on the GPU.
# Meanwhile other workers use this memory, of which it may take such a part.
_BYTES, _PART = 5 * 10**9, 1 / 4
_GPU_BYTES, _GPU_PART = 1.8 * 10**9, 1 / 8


def is_built(step: Step) -> bool:
    """Return whether a step may share its worker; one that loads libraries of the user's has its own."""
    return CONVERTERS[step.converter].LASTING and step.image is None and not step.options.files


def has_room(gpu: Gpu, memory_bytes: int) -> bool:
    """Return whether the memory of `gpu`, and that of a worker, are large enough for kernels that stay loaded."""
    return memory_bytes * _PART >= _BYTES and gpu.memory_bytes * _GPU_PART >= _GPU_BYTES


def builder(gpu: Gpu, plans: Iterable[ModelPlan], workspace: Workspace, timing: Path) -> Lasting:
    """Return the worker that builds the engines of a run for `gpu`; `timing` has TensorRT's measurements."""
    workspace.converted.mkdir(exist_ok=True)
    return Lasting(
        name=gpu.uuid,
        directory=workspace.builder(gpu.uuid),
        reads=(workspace.converted, *_sources(plans)),
        writes=(workspace.told, timing),
    )


def _sources(plans: Iterable[ModelPlan]) -> Iterator[Path]:
    """Yield the files of source models that engines are built from. Those of one that can't be read aren't needed."""
    for plan in plans:
        if any(step.parent is None and is_built(step) for step in plan.steps):
            try:
                yield from model_files(plan.config.model_path)
            except OSError:
                continue
