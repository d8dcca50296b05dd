"""Runs TorchScript files with TensorRT engines in them (`model.pt` of Torch-TensorRT) on the GPU.

Adds what such a file needs in addition to a TorchScript file: Torch-TensorRT is imported before it is loaded, arguments
are passed by position, and outputs get the names of the source model. `navigator.runners.torchscript` loads and runs
it. The conversion uses this module to import Torch-TensorRT and to find out what it supports.
"""

import importlib
import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from navigator.errors import StepError
from navigator.frameworks.availability import how_to_install
from navigator.frameworks.gpu import is_out_of_gpu_memory, no_gpu, out_of_gpu_memory
from navigator.frameworks.torch import values as torch_values
from navigator.frameworks.torch.arguments import Argument, describe, parameters
from navigator.records import Device, Host, Properties, Signature, StepOptions
from navigator.runners.protocol import ENGINE_AXES, Axis, Source
from navigator.runners.torchscript import TorchScriptModel, load_module, quiet

DISTRIBUTIONS = ("torch", "torch-tensorrt")
# Not torch_tensorrt: importing it queries CUDA for the current device, which a process that forks must not do.
PRELOAD = ("torch",)
DEVICES = (Device.CUDA,)
ARTIFACT_NAME = "model.pt"
AXES: frozenset[Axis] = ENGINE_AXES
AS_SOURCE: Source | None = None
CONTAINER_LIMITS: Mapping[Device, str] = {}
Options = StepOptions

# The device of the module, its inputs and the conversion. Tests on a machine without a GPU change it.
DEVICE = Device.CUDA

_KNOWN_WARNINGS = (
    r"The torchscript frontend for Torch-TensorRT has been deprecated",
    r"Int8 PTQ Calibrator has been deprecated",
)

# A module whose types differ between versions.
_Module = Any


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontEnd:
    """What the installed Torch-TensorRT supports.

    Args:
        version: its version.
        typed: whether its TensorRT only supports the precision of the network (TensorRT 11).
        calibrates: whether it calibrates int8.
    """

    version: str
    typed: bool
    calibrates: bool


@dataclass(kw_only=True, slots=True)
class TorchTrtModel:
    """A loaded model (see `navigator.runners.protocol.LoadedModel`).

    Compiling keeps the order of outputs but may lose their names: a dictionary becomes a tuple. `names` are those of
    the source model, applied by position if the module's own names differ.
    """

    module: TorchScriptModel
    names: tuple[str, ...]
    properties: Properties = field(default_factory=Properties)

    @property
    def signature(self) -> Signature:
        """The inputs of the source model; outputs after the first `infer`."""
        seen = self.module.signature
        named = _named(self.names, [spec.name for spec in seen.outputs])
        outputs = tuple(replace(spec, name=name) for spec, name in zip(seen.outputs, named, strict=True))
        return Signature(inputs=seen.inputs, outputs=outputs)

    def infer(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the module once on the GPU; inputs are moved there and outputs back.

        Raises:
            StepError: it fails, or the GPU is out of memory.
        """
        try:
            outputs = self.module.infer(inputs)
        except StepError as error:
            if is_out_of_gpu_memory(error.__cause__):
                raise out_of_gpu_memory("running the Torch-TensorRT module") from error
            raise
        return dict(zip(_named(self.names, list(outputs)), outputs.values(), strict=True))


def unrunnable(device: Device, host: Host, options: StepOptions) -> str:
    """Return why `host` can't run such a module, or ""."""
    del device, options
    found = no_gpu(host)
    return found.reason if found else cpu_build(host)


def load(
    path: Path,
    *,
    declared: Signature,
    signature_name: str | None = None,
    device: Device = Device.CUDA,
    options: StepOptions | None = None,
) -> TorchTrtModel:
    """Load the module at `path` onto the GPU; see `navigator.runners.protocol.Runner.load`.

    Passes inputs to the arguments of its `forward` by position, in the order of the declared inputs, which is that of
    the source model, since Torch-TensorRT renames arguments.
    """
    del signature_name, device, options
    version = imported().__version__
    with quiet():
        module = load_module(path, DEVICE)
    takes = parameters(module)
    if len(takes) != len(declared.inputs):
        names = ", ".join(spec.name for spec in declared.inputs)
        raise StepError(
            f"{path} has {len(takes)} inputs ({describe(takes)}), "
            f"but the source model has {len(declared.inputs)} ({names})",
            "convert the model again: Torch-TensorRT removed an argument, or the file belongs to another model",
        )
    return TorchTrtModel(
        module=TorchScriptModel(
            module=module,
            arguments=tuple(
                Argument(parameter=parameter, inputs=(spec.name,))
                for parameter, spec in zip(takes, declared.inputs, strict=True)
            ),
            inputs=declared.inputs,
            declared_outputs=(),  # verification, not the runner, reports another dtype
            device=DEVICE,
        ),
        names=tuple(spec.name for spec in declared.outputs),
        properties=Properties(torch_device=torch_values.device_name(DEVICE), torch_tensorrt=version),
    )


def imported() -> _Module:
    """Return the module `torch_tensorrt`, which registers the operators that a compiled file calls.

    Raises:
        StepError: torch can't use a GPU, or Torch-TensorRT can't be imported.
    """
    torch_values.prepare(DEVICE)  # before the import, which fails without a GPU but doesn't say so
    try:
        return importlib.import_module("torch_tensorrt")
    except Exception as error:
        raise StepError(
            f"Torch-TensorRT can't be imported: {torch_values.reason(error)}",
            "install it with the versions of torch and TensorRT that it was built for: "
            + how_to_install(("torch-tensorrt",), "torch-trt"),
        ) from error


def installed(library: _Module) -> FrontEnd:
    """Return what the Torch-TensorRT `library` supports.

    Raises:
        StepError: it has no front end for TorchScript.
    """
    version = str(library.__version__)
    if not hasattr(library, "ts"):
        raise StepError(
            f"Torch-TensorRT {version} was built without its TorchScript front end",
            "install torch-tensorrt from PyPI, or build TensorRT engines instead: target_formats: [trt]",
        )
    flags = importlib.import_module("tensorrt").BuilderFlag
    return FrontEnd(
        version=version,
        typed=not hasattr(flags, "FP16"),
        calibrates="calibrator" in inspect.signature(library.ts.compile).parameters,
    )


def cpu_build(host: Host) -> str:
    """Return that the torch of `host` was built without CUDA, or ""."""
    return "torch is a CPU build" if host.versions.get("torch", "").endswith("+cpu") else ""


def _named(names: Sequence[str], own: Sequence[str]) -> list[str]:
    """Return the source model's names for the outputs `own` of the module, or `own` if their number differs."""
    if set(own) == set(names) or len(own) != len(names):
        return list(own)
    return list(names)


@contextmanager
def quiet_front_end() -> Iterator[None]:
    """Hide the warnings of Torch-TensorRT (2.6 to 2.14) about every use of its TorchScript front end."""
    with quiet():
        for message in _KNOWN_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        yield
