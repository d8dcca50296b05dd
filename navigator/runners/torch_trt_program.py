"""Runs programs of torch.export with TensorRT engines in them (`model.pt2` of Torch-TensorRT) on the GPU.

Inputs and outputs get the names of the source model by position. `navigator.runners.torch_export` runs the program.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from navigator.errors import StepError
from navigator.frameworks.gpu import is_out_of_gpu_memory, out_of_gpu_memory
from navigator.frameworks.torch import torch_tensorrt
from navigator.frameworks.torch import values as torch_values
from navigator.records import Properties, Signature, TensorSpec
from navigator.runners import torch_export


@dataclass(frozen=True, kw_only=True, slots=True)
class TorchTrtProgram:
    """A loaded program (see `navigator.runners.protocol.LoadedModel`)."""

    program: torch_export.TorchExportModel
    properties: Properties = field(default_factory=Properties)

    @property
    def signature(self) -> Signature:
        return self.program.signature

    def infer(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the program once on the GPU; inputs are moved there and outputs back.

        Raises:
            StepError: the inputs are outside the shapes of its engines, it fails, or the GPU is out of memory.
        """
        try:
            return self.program.infer(inputs)
        except StepError as error:
            if is_out_of_gpu_memory(error.__cause__):
                raise out_of_gpu_memory("running the Torch-TensorRT program") from error
            raise


def load(path: Path, *, declared: Signature, version: str) -> TorchTrtProgram:
    """Load the program at `path` onto the GPU; Torch-TensorRT is imported.

    Args:
        path: the file.
        declared: the source model's inputs and outputs.
        version: of Torch-TensorRT.

    Raises:
        StepError: it can't be loaded, or has another number of inputs.
    """
    loaded = torch_export.load(path, declared=Signature(inputs=(), outputs=()))
    own = loaded.signature
    if len(own.inputs) != len(declared.inputs):
        raise StepError(
            f"{path} has {len(own.inputs)} inputs, but the source model has {len(declared.inputs)} "
            f"({', '.join(spec.name for spec in declared.inputs)})",
            "convert the model again: the file belongs to another model",
        )
    named = Signature(
        inputs=_renamed(own.inputs, declared.inputs),
        # Another number of them is for the verdict to tell.
        outputs=_renamed(own.outputs, declared.outputs),
    )
    return TorchTrtProgram(
        program=replace(loaded, signature=named, device=torch_tensorrt.DEVICE),
        properties=Properties(torch_device=torch_values.device_name(torch_tensorrt.DEVICE), torch_tensorrt=version),
    )


def _renamed(own: tuple[TensorSpec, ...], declared: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    """Return the program's tensors with the source model's names, by position unless the names agree."""
    names = {spec.name for spec in own}
    if len(own) != len(declared) or names == {spec.name for spec in declared}:
        return own
    return tuple(replace(spec, name=each.name) for spec, each in zip(own, declared, strict=True))
