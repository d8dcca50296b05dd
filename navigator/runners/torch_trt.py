"""Runs TorchScript files with TensorRT engines in them (`model.pt` of Torch-TensorRT) on the GPU.

Owns what such a file needs beyond a TorchScript file: Torch-TensorRT imported before it is loaded, its arguments by
position, and the source model's names for its outputs. `navigator.runners.torchscript` loads and runs it. The
conversion imports Torch-TensorRT through here, and learns here what the installed one does.
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
# Not torch_tensorrt: to import it is to ask CUDA for the current device, which a process that forks must not.
PRELOAD = ("torch",)
DEVICES = (Device.CUDA,)
ARTIFACT_NAME = "model.pt"
AXES: frozenset[Axis] = ENGINE_AXES
AS_SOURCE: Source | None = None
CONTAINER_LIMITS: Mapping[Device, str] = {}
Options = StepOptions

# The device of the module, of its inputs and of what the conversion compiles. Tests on a machine without a GPU move it.
DEVICE = Device.CUDA

_KNOWN_WARNINGS = (
    r"The torchscript frontend for Torch-TensorRT has been deprecated",
    r"Int8 PTQ Calibrator has been deprecated",
)

# A module whose package ships no types that hold for every version.
_Module = Any


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontEnd:
    """What the installed Torch-TensorRT does.

    Args:
        version: its own.
        typed: whether its TensorRT knows no precision but the network's (TensorRT 11).
        calibrates: whether it calibrates int8.
    """

    version: str
    typed: bool
    calibrates: bool


@dataclass(kw_only=True, slots=True)
class TorchTrtModel:
    """A loaded artifact (see `navigator.runners.protocol.LoadedModel`).

    Compiling keeps the order of outputs and may lose their names: a dictionary comes back as a tuple. `names` are the
    source model's; they hold by position where the module's own are others.
    """

    module: TorchScriptModel
    names: tuple[str, ...]
    properties: Properties = field(default_factory=Properties)

    @property
    def signature(self) -> Signature:
        """Inputs as the source model has them; outputs after the first `infer`."""
        seen = self.module.signature
        named = _named(self.names, [spec.name for spec in seen.outputs])
        outputs = tuple(replace(spec, name=name) for spec, name in zip(seen.outputs, named, strict=True))
        return Signature(inputs=seen.inputs, outputs=outputs)

    def infer(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the module once on the GPU; inputs are moved there and outputs back.

        Raises:
            StepError: it fails, or the GPU's memory is not enough.
        """
        try:
            outputs = self.module.infer(inputs)
        except StepError as error:
            if is_out_of_gpu_memory(error.__cause__):
                raise out_of_gpu_memory("running the Torch-TensorRT module") from error
            raise
        return dict(zip(_named(self.names, list(outputs)), outputs.values(), strict=True))


def unrunnable(device: Device, host: Host, options: StepOptions) -> str:
    """Return why `host` cannot run such a module, or ""."""
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

    The arguments of its `forward` are filled by position, in the order of the declared inputs, which is the source
    model's: Torch-TensorRT gives them names of its own.
    """
    del signature_name, device, options
    version = imported().__version__
    with quiet():
        module = load_module(path, DEVICE)
    takes = parameters(module)
    if len(takes) != len(declared.inputs):
        names = ", ".join(spec.name for spec in declared.inputs)
        raise StepError(
            f"{path} takes {len(takes)} inputs ({describe(takes)}), the source model {len(declared.inputs)} ({names})",
            "Torch-TensorRT left an argument out, or the file is of another model: convert it again",
        )
    return TorchTrtModel(
        module=TorchScriptModel(
            module=module,
            arguments=tuple(
                Argument(parameter=parameter, inputs=(spec.name,))
                for parameter, spec in zip(takes, declared.inputs, strict=True)
            ),
            inputs=declared.inputs,
            declared_outputs=(),  # the verdict, not the runner, says that one is of another type
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
    torch_values.prepare(DEVICE)  # before the import, which fails without a GPU and does not say so
    try:
        return importlib.import_module("torch_tensorrt")
    except Exception as error:
        raise StepError(
            f"Torch-TensorRT can't be imported: {torch_values.reason(error)}",
            "install it with the torch and the TensorRT that it was built for: "
            + how_to_install(("torch-tensorrt",), "torch-trt"),
        ) from error


def installed(library: _Module) -> FrontEnd:
    """Return what the Torch-TensorRT `library` does.

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
    return "torch here is a CPU build" if host.versions.get("torch", "").endswith("+cpu") else ""


def _named(names: Sequence[str], own: Sequence[str]) -> list[str]:
    """Return the source model's names for outputs that the module calls `own`; `own` where they do not fit."""
    if set(own) == set(names) or len(own) != len(names):
        return list(own)
    return list(names)


@contextmanager
def quiet_front_end() -> Iterator[None]:
    """Silence what Torch-TensorRT (2.6 to 2.14) says at every use of its TorchScript front end."""
    with quiet():
        for message in _KNOWN_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        yield
