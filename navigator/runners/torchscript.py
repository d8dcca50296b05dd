"""Runs TorchScript files (`.pt`) on torch's CPU or on a GPU.

A TorchScript file stores the names of the arguments of its `forward`, but no shapes and dtypes: inputs have to be
declared, outputs may be. The ONNX export uses this module to load files.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from navigator.errors import ReturnedError, StepError, UndeclaredError
from navigator.frameworks.declaration import doubled, named_apart, returned, shapes, widened
from navigator.frameworks.lookups import Lookups
from navigator.frameworks.torch import (
    calls,
    constants,
    differing,
    lookups,
    packages,
    randomness,
    rounding,
    script_inputs,
    script_scalars,
    script_states,
    script_values,
    stored,
    ties,
    training,
)
from navigator.frameworks.torch import values as torch_values
from navigator.frameworks.torch.arguments import (
    Argument,
    Parameter,
    bind,
    call,
    describe,
    fixed,
    parameters,
    refuse_unfillable,
)
from navigator.models.declared import written
from navigator.models.stored import Computed, Stored
from navigator.records import AxisSpec, Device, Host, Properties, Signature, StepOptions, TensorSpec
from navigator.runners.protocol import TORCH, Axis, LoadedModel
from navigator.samples.values import Told

DISTRIBUTIONS = ("torch",)
PRELOAD = ("torch",)
DEVICES = (Device.CPU, Device.CUDA)
ARTIFACT_NAME = "model.pt"
AXES: frozenset[Axis] = frozenset()
AS_SOURCE = TORCH
CONTAINER_LIMITS: Mapping[Device, str] = {}
Options = StepOptions

# What torch (2.13) says of a weight that isn't in the file.
_LEFT_OUT = "required keyword attribute 'value' is undefined"

# A torch object; the types of the package differ between supported versions.
_Torch = Any


@dataclass(kw_only=True)
class TorchScriptModel:
    """A loaded TorchScript module (see `navigator.runners.protocol.SourceModel`).

    If no outputs are declared, those of `signature` are empty until the first `infer`, which sets them: an axis whose
    size differs between calls is -1. What the graph tells is read once: a walk through a large one takes a while.
    """

    module: _Torch
    arguments: tuple[Argument, ...]
    inputs: tuple[TensorSpec, ...]
    declared_outputs: tuple[TensorSpec, ...]
    file_name: str = "model.pt"
    given: Mapping[str, str] = field(default_factory=dict)
    device: Device = Device.CPU
    seen_outputs: tuple[TensorSpec, ...] = ()
    properties: Properties = field(default_factory=Properties)

    @property
    def signature(self) -> Signature:
        """Inputs in the order of `forward`'s arguments, outputs in the order in which it returns them."""
        return Signature(inputs=self.inputs, outputs=self.seen_outputs or self.declared_outputs)

    @cached_property
    def random_operations(self) -> tuple[str, ...]:
        return randomness.of_script(self.module)

    @cached_property
    def casts_to_half(self) -> bool:
        """See `navigator.runners.abilities.CastsToHalf`."""
        return rounding.casts_in_script(self.module)

    @cached_property
    def sorting_operations(self) -> tuple[str, ...]:
        return lookups.sorting_in_script(self.module)

    @cached_property
    def training_operations(self) -> tuple[str, ...]:
        return training.of_script(self.module)

    @cached_property
    def axes(self) -> dict[str, tuple[AxisSpec, ...]]:
        """See `navigator.runners.abilities.NamesAxes`."""
        return script_inputs.axes(self.module, parameters(self.module), self.arguments, self.inputs)

    @cached_property
    def reads(self) -> Lookups:
        return lookups.of_script(self.module, self.arguments)

    @property
    def export_notes(self) -> tuple[str, ...]:
        return differing.notes([*calls.of_script(self.module)], self.inputs, "torchscript")

    @property
    def told(self) -> Mapping[str, Told]:
        return self.reads.told()

    @property
    def state_advice(self) -> str:
        return script_states.advice(self.module, self.file_name)

    @contextmanager
    def perturbed(self) -> Iterator["TorchScriptModel"]:
        """See `navigator.runners.protocol.SourceModel.perturbed`."""
        with rounding.perturbed(self.module, to_half=self.casts_to_half):
            yield self

    @contextmanager
    def nudged(self, seed: int, sign: int) -> Iterator[LoadedModel]:
        """See `navigator.runners.abilities.Nudged`."""
        with rounding.nudged(self.module, seed, sign):
            yield self

    @contextmanager
    def in_double(self) -> Iterator["TorchScriptModel"]:
        """See `navigator.runners.abilities.Exact`."""
        with rounding.in_double(self.module):
            yield replace(self, declared_outputs=doubled(self.declared_outputs), seen_outputs=())

    def ordered(self, *, rotated: bool) -> AbstractContextManager[ties.Met]:
        """See `navigator.runners.abilities.OrdersTies`."""
        return ties.ordered(rotated=rotated)

    def infer(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run `forward` once, without gradients.

        Raises:
            StepError: the model fails, or returns other outputs than declared.
        """
        import torch

        try:
            tensors = {name: torch_values.to_tensor(array).to(str(self.device)) for name, array in inputs.items()}
            # Each shape runs only once or twice, so that specializing the graph takes longer than it saves.
            with torch.no_grad(), torch.jit.optimized_execution(False):
                value = call(self.module, self.arguments, tensors)
        except Exception as error:
            given = shapes({name: array.shape for name, array in inputs.items()})
            raise torch_values.refusal(f"the TorchScript model fails on {given}", error, self.device) from error
        leaves = torch_values.flatten(value)
        names = named_apart([name for name, _ in leaves], [spec.name for spec in self.inputs])
        arrays = {name: torch_values.to_array(name, leaf) for name, (_, leaf) in zip(names, leaves, strict=True)}
        if not arrays:
            raise ReturnedError("the TorchScript model returns no tensor", "return the tensors that it computes")
        seen = tuple(TensorSpec(name=name, shape=array.shape, dtype=array.dtype.name) for name, array in arrays.items())
        if not self.declared_outputs:
            self.seen_outputs = widened(self.seen_outputs, seen)
            return arrays
        declared = self.seen_outputs = returned(self.declared_outputs, seen)
        return {spec.name: array for spec, array in zip(declared, arrays.values(), strict=True)}


def unrunnable(device: Device, host: Host, options: StepOptions) -> str:
    """Return why `host` can't run TorchScript on `device`, or ""."""
    del options
    if device is Device.CPU:
        return ""
    if not host.gpus:
        return "no NVIDIA GPU is visible"
    return "torch is a CPU build" if host.versions.get("torch", "").endswith("+cpu") else ""


def load(
    path: Path,
    *,
    declared: Signature,
    signature_name: str | None = None,
    device: Device = Device.CPU,
    options: StepOptions | None = None,
    arguments: Mapping[str, str] | None = None,
) -> TorchScriptModel:
    """Load the TorchScript file at `path`; see `navigator.runners.protocol.Runner.load`.

    Passes declared inputs to the arguments of `forward` by name if the names agree, or else by position (see
    `navigator.frameworks.torch.arguments.bind`); `arguments` are the values of those that aren't tensors, as text.
    """
    del signature_name, options
    module = load_module(path, device)
    takes = parameters(module)
    # Before asking the user for something that would not help.
    refuse_unfillable(takes, fixed(takes, arguments or {}))
    unknown = ", ".join(spec.name for spec in declared.inputs if spec.shape is None)
    if not declared.inputs or unknown:
        example = [TensorSpec(name=each.name, shape=(-1, 3, 224, 224), dtype="float32") for each in takes]
        raise UndeclaredError(
            f"{path} needs declared inputs, since TorchScript files don't store shapes and dtypes"
            f"{f'; missing: {unknown}' if unknown else ''}; forward takes {describe(takes)}",
            f"set inputs in navigator.yaml or {path.name}.yaml, each as name:shape:dtype with -1 for a dynamic axis, "
            f"e.g. `inputs: {written(example)}` with your shapes",
        )
    return _bound(path, module, takes, declared, arguments or {}, device)


def undeclared(path: Path, declared: Signature, arguments: Mapping[str, str]) -> Iterator[TorchScriptModel]:
    """Yield the model with each signature that it may have, see `navigator.runners.abilities.Undeclared`."""
    module = load_module(path)
    takes = parameters(module)
    fixed(takes, arguments)  # refuses what they can't be
    values = list(script_values.guesses(module, takes, arguments))
    refuse_unfillable(takes, values[0])
    several = [declared.inputs] if declared.inputs else script_inputs.guesses(module, takes)
    for inputs in several:
        for given in values:
            signature = Signature(inputs=inputs, outputs=declared.outputs)
            yield _bound(path, module, takes, signature, given, Device.CPU)


def weights(path: Path) -> list[Stored]:
    """See `navigator.runners.abilities.StoresWeights`."""
    return stored.of_script(path)


def computed(path: Path) -> Computed:
    """See `navigator.runners.abilities.StoresWeights`."""
    return constants.of_script(load_module(path))


def _bound(
    path: Path,
    module: _Torch,
    takes: Sequence[Parameter],
    declared: Signature,
    given: Mapping[str, str],
    device: Device,
) -> TorchScriptModel:
    arguments = bind(takes, declared.inputs, given)
    by_name = {spec.name: spec for spec in declared.inputs}
    return TorchScriptModel(
        module=module,
        arguments=arguments,
        file_name=path.name,
        given=given,
        inputs=tuple(by_name[name] for argument in arguments for name in argument.inputs),
        declared_outputs=declared.outputs,
        device=device,
        properties=Properties(torch_device=torch_values.device_name(device) if device is Device.CUDA else ""),
    )


def load_module(path: Path, device: Device = Device.CPU) -> _Torch:
    """Return the module at `path` on `device`, in evaluation mode and without gradients; see `open_module`."""
    module = open_module(path, device)
    module.eval()
    # The exporter enables gradients in the module that it exported (torch 2.13).
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module


def open_module(path: Path, device: Device = Device.CPU) -> _Torch:
    """Return the module at `path` on `device`, as it was saved.

    Raises:
        StepError: it is not a TorchScript file, it needs a package that isn't installed, or torch has no such device.
    """
    torch_values.prepare(device)
    try:
        module = _loaded(path, device)
    except Exception as error:
        if str(error) == _LEFT_OUT:
            raise StepError(
                f"{path} can't be loaded: torch.jit.optimize_for_inference gave its weights a layout that "
                "torch.jit.save leaves out",
                "save the module as it was before torch.jit.optimize_for_inference",
            ) from error
        known = packages.advice(str(error))
        raise StepError(
            f"{path} can't be loaded as TorchScript: {known[0] if known else torch_values.reason(error)}",
            known[1] if known else "save it with torch.jit.save",
        ) from error
    if not hasattr(module, "forward"):
        raise StepError(f"{path} has no forward method", "script or trace a module with a forward method")
    return module


def _loaded(path: Path, device: Device) -> _Torch:
    import torch

    try:
        with quiet():
            module = torch.jit.load(str(path), map_location=str(device))
    except RuntimeError as error:
        if packages.imported(str(error)):
            return _loaded(path, device)
        raise
    script_scalars.restore_numbers(module)
    return module


@contextmanager
def quiet() -> Iterator[None]:
    """Hide torch's warnings about the future of TorchScript, since users have such files.

    A DeprecationWarning in torch 2.13, a FutureWarning from 2.14.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.\w+` is (deprecated|not supported)")
        yield
