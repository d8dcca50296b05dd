"""Runs TorchScript files and torch.export programs with TensorRT engines in them (Torch-TensorRT) on the GPU.

Adds what a TorchScript file needs in addition: Torch-TensorRT is imported before it is loaded, arguments are passed by
position, and outputs get the names of the source model. `navigator.runners.torchscript` loads and runs it;
`navigator.runners.torch_trt_program` does so for programs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from navigator.errors import StepError
from navigator.frameworks.gpu import is_out_of_gpu_memory, no_gpu, out_of_gpu_memory
from navigator.frameworks.torch import torch_tensorrt
from navigator.frameworks.torch import values as torch_values
from navigator.frameworks.torch.arguments import Argument, describe, parameters
from navigator.records import Device, Host, Properties, Signature, StepOptions
from navigator.runners import torch_trt_program
from navigator.runners.protocol import ENGINE_AXES, Axis, LoadedModel, Source
from navigator.runners.torchscript import TorchScriptModel, load_module, quiet

DISTRIBUTIONS = ("torch", "torch-tensorrt")
# Not torch_tensorrt: importing it queries CUDA for the current device, which a process that forks must not do.
PRELOAD = ("torch",)
DEVICES = (Device.CUDA,)
ARTIFACT_NAME = "model.pt"
PROGRAM_NAME = "model.pt2"
"""The file name of a program of torch.export: torch loads it by this suffix only."""
AXES: frozenset[Axis] = ENGINE_AXES
AS_SOURCE: Source | None = None
CONTAINER_LIMITS: Mapping[Device, str] = {}
Options = StepOptions


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
    return found.reason if found else torch_tensorrt.cpu_build(host)


def load(
    path: Path,
    *,
    declared: Signature,
    signature_name: str | None = None,
    device: Device = Device.CUDA,
    options: StepOptions | None = None,
) -> LoadedModel:
    """Load the module or program at `path` onto the GPU; see `navigator.runners.protocol.Runner.load`.

    Passes inputs to the arguments of its `forward` by position, in the order of the declared inputs, which is that of
    the source model, since Torch-TensorRT renames arguments.
    """
    del signature_name, device, options
    version = torch_tensorrt.imported().__version__
    if path.suffix == Path(PROGRAM_NAME).suffix:
        return torch_trt_program.load(path, declared=declared, version=version)
    with quiet():
        module = load_module(path, torch_tensorrt.DEVICE)
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
            device=torch_tensorrt.DEVICE,
        ),
        names=tuple(spec.name for spec in declared.outputs),
        properties=Properties(torch_device=torch_values.device_name(torch_tensorrt.DEVICE), torch_tensorrt=version),
    )


def _named(names: Sequence[str], own: Sequence[str]) -> list[str]:
    """Return the source model's names for the outputs `own` of the module, or `own` if their number differs."""
    if set(own) == set(names) or len(own) != len(names):
        return list(own)
    return list(names)
