"""Runs programs of torch.export (`.pt2`) on torch's CPU.

A program stores its inputs, outputs and the ranges of its dynamic axes; declared ones only rename them by position.
The ONNX export uses this module to load files.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from navigator.errors import ConfigurationError, StepError
from navigator.frameworks.declaration import adopted, named_apart, shapes
from navigator.frameworks.lookups import Lookups
from navigator.frameworks.torch import (
    calls,
    constants,
    containers,
    differing,
    lookups,
    programs,
    randomness,
    rounding,
    stored,
    ties,
    training,
)
from navigator.frameworks.torch import values as torch_values
from navigator.models import structure
from navigator.models.stored import Computed, Stored
from navigator.records import AxisSpec, Device, Format, Host, Json, Properties, Signature, StepOptions
from navigator.runners.protocol import TORCH, Axis, LoadedModel
from navigator.samples.values import Told

DISTRIBUTIONS = ("torch",)
# Loading a program imports the last two, which takes longer than to load most programs.
PRELOAD = ("torch", "torch.export", "torch._dynamo", "torch._functorch.aot_autograd")
DEVICES = (Device.CPU,)
ARTIFACT_NAME = "model.pt2"
AXES: frozenset[Axis] = frozenset()
AS_SOURCE = TORCH
CONTAINER_LIMITS: Mapping[Device, str] = {}
Options = StepOptions

# A torch object; the types of the package differ between supported versions.
_Torch = Any


@dataclass(frozen=True, kw_only=True)
class TorchExportModel:
    """A loaded program (see `navigator.runners.protocol.SourceModel`).

    `slots` are the flat inputs of the program: (placeholder, None) for a tensor, ("", value) for a constant. It runs on
    `device`, where its weights are.
    What the graph tells is read once: a walk through a large one takes a while.
    """

    program: _Torch
    module: _Torch
    slots: tuple[tuple[str, Json], ...]
    signature: Signature
    properties: Properties = field(default_factory=Properties)
    device: Device = Device.CPU

    @property
    def placeholders(self) -> list[str]:
        """The names of the tensors among the slots, in the order of the inputs."""
        return [placeholder for placeholder, _ in self.slots if placeholder]

    @cached_property
    def random_operations(self) -> tuple[str, ...]:
        return randomness.of_program(self.program)

    @cached_property
    def axes(self) -> dict[str, tuple[AxisSpec, ...]]:
        """What the program says of its inputs' axes (see `navigator.runners.abilities.NamesAxes`)."""
        values = programs.values(self.program)
        return {
            spec.name: tuple(programs.axis(self.program, size) for size in values[placeholder].shape)
            for spec, placeholder in zip(self.signature.inputs, self.placeholders, strict=True)
        }

    @cached_property
    def casts_to_half(self) -> bool:
        """See `navigator.runners.abilities.CastsToHalf`."""
        return rounding.casts_in_program(self.program)

    @cached_property
    def sorting_operations(self) -> tuple[str, ...]:
        return lookups.sorting_in_program(self.program)

    @cached_property
    def training_operations(self) -> tuple[str, ...]:
        return training.of_program(self.program)

    @property
    def export_notes(self) -> tuple[str, ...]:
        return differing.notes([*calls.of_program(self.program)], self.signature.inputs, "torch-export")

    @cached_property
    def reads(self) -> Lookups:
        names = [spec.name for spec in self.signature.inputs]
        return lookups.of_program(self.program, dict(zip(self.placeholders, names, strict=True)))

    @property
    def told(self) -> Mapping[str, Told]:
        return self.reads.told()

    @contextmanager
    def perturbed(self) -> Iterator["TorchExportModel"]:
        """See `navigator.runners.protocol.SourceModel.perturbed`."""
        with rounding.perturbed(self.module, to_half=self.casts_to_half):
            yield self

    @contextmanager
    def nudged(self, seed: int, sign: int) -> Iterator[LoadedModel]:
        """See `navigator.runners.abilities.Nudged`."""
        with rounding.nudged(self.module, seed, sign):
            yield self

    @contextmanager
    def in_double(self) -> Iterator["TorchExportModel"]:
        """See `navigator.runners.abilities.Exact`."""
        with rounding.in_double(self.module):
            yield self

    def ordered(self, *, rotated: bool) -> AbstractContextManager[ties.Met]:
        """See `navigator.runners.abilities.OrdersTies`."""
        return ties.ordered(rotated=rotated)

    def infer(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the program once, without gradients.

        Raises:
            StepError: the inputs are outside the ranges of the export, or the program fails.
        """
        import torch
        from torch.utils import _pytree

        tensors = iter(
            [torch_values.to_tensor(inputs[spec.name]).to(str(self.device)) for spec in self.signature.inputs]
        )
        flat = [next(tensors) if placeholder else value for placeholder, value in self.slots]
        args, kwargs = _pytree.tree_unflatten(flat, self.program.call_spec.in_spec)
        try:
            with torch.no_grad():
                returned = self.module(*args, **kwargs)
        except Exception as error:
            outside = self._outside(inputs)
            given = shapes({spec.name: inputs[spec.name].shape for spec in self.signature.inputs})
            raise StepError(
                outside or f"the exported program fails on {given}: {torch_values.reason(error)}",
                "reduce min_shapes, max_shapes and max_batch_size to this range, or export with wider dynamic_shapes"
                if outside
                else "",
            ) from error
        leaves = [leaf for leaf in _pytree.tree_leaves(returned) if leaf is not None]
        return {
            spec.name: torch_values.to_array(spec.name, leaf)
            for spec, leaf in zip(self.signature.outputs, leaves, strict=True)
        }

    def _outside(self, inputs: Mapping[str, np.ndarray]) -> str:
        """Return which axis of which input is outside the range of the export, or ""."""
        values = programs.values(self.program)
        for spec, placeholder in zip(self.signature.inputs, self.placeholders, strict=True):
            given = inputs[spec.name].shape
            for axis, (size, own) in enumerate(zip(given, values[placeholder].shape, strict=False)):
                low, high = programs.limits(self.program, own)
                # Programs exported for sizes from 2 also run with 0 and 1: torch doesn't check a minimum of 2.
                if size > high or size < (low if low > 2 or low == high else 0):
                    allowed = f"{low}" if low == high else f"{low} to {high} ({own})"
                    return f"input {spec.name}: axis {axis} is {size}, but the program was exported for {allowed}"
        return ""


def unrunnable(device: Device, host: Host, options: StepOptions) -> str:
    """Return "": every program that can be loaded runs on every CPU."""
    del device, host, options
    return ""


def load(
    path: Path,
    *,
    declared: Signature,
    signature_name: str | None = None,
    device: Device = Device.CPU,
    options: StepOptions | None = None,
) -> TorchExportModel:
    """Load the program at `path`; see `navigator.runners.protocol.Runner.load`.

    Declared inputs and outputs with other names rename those of the program by position.
    """
    del signature_name, options
    torch_values.prepare(device)
    program = load_program(path)
    if device is Device.CUDA:
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, str(device))
    slots = tuple(programs.slots(program))
    inputs = adopted("inputs", declared.inputs, [programs.spec_of(program, name, name) for name, _ in slots if name])
    outputs = programs.outputs(program)
    names = named_apart([spec.name for spec in outputs], [spec.name for spec in inputs])
    own = [replace(spec, name=name) for name, spec in zip(names, outputs, strict=True)]
    return TorchExportModel(
        program=program,
        module=program.module(),
        slots=slots,
        device=device,
        signature=Signature(inputs=inputs, outputs=adopted("outputs", declared.outputs, own)),
    )


def weights(path: Path) -> list[Stored]:
    """See `navigator.runners.abilities.StoresWeights`."""
    return stored.of_program(path)


def computed(path: Path) -> Computed:
    """See `navigator.runners.abilities.StoresWeights`."""
    return constants.of_program(load_program(path))


def load_program(path: Path) -> _Torch:
    """Return the program at `path`.

    Raises:
        StepError: it is not a file of torch.export.
    """
    import torch

    try:
        with quiet(), path.open("rb") as file:
            # As a file object: for a path, torch requires the suffix .pt2 (2.13).
            try:
                return torch.export.load(file)
            except Exception:
                if not containers.register(path):
                    raise
            file.seek(0)
            with containers.examples_left_out():
                return torch.export.load(file)
    except Exception as error:
        # The warnings are in the log.
        why = torch_values.reason(error).removesuffix(" Please check the warnings above for possible errors.")
        saved = ""
        with suppress(ConfigurationError, OSError):
            saved = structure.read(path, Format.TORCH_EXPORT, operators=False).producer
        raise StepError(
            f"{path} can't be loaded as a torch.export program{f', which {saved} saved' if saved else ''}: {why}",
            f"save it with torch.export.save of torch {torch.__version__}, or install the torch that saved it",
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Hide torch's warnings about its own internals: trees (2.13) and buffers (2.11)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")
        warnings.filterwarnings("ignore", message=r"The given buffer is not writable")
        yield
