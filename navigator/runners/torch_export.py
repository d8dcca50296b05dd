"""Runs programs of torch.export (`.pt2`) on torch's CPU.

A program carries its own inputs, outputs and the ranges of its dynamic axes; declared ones only rename by position.
The ONNX export loads files through here too.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from navigator.errors import StepError
from navigator.frameworks.declaration import adopted, shapes
from navigator.frameworks.torch import values as torch_values
from navigator.records import Device, Host, Json, Properties, Signature, StepOptions, TensorSpec
from navigator.runners.protocol import TORCH, Axis

DISTRIBUTIONS = ("torch",)
# Loading a program imports the last two, which takes longer than most programs.
PRELOAD = ("torch", "torch.export", "torch._dynamo", "torch._functorch.aot_autograd")
DEVICES = (Device.CPU,)
ARTIFACT_NAME = "model.pt2"
AXES: frozenset[Axis] = frozenset()
AS_SOURCE = TORCH
CONTAINER_LIMITS: Mapping[Device, str] = {}
Options = StepOptions

# A torch object; the package's types differ between the versions we support.
_Torch = Any


@dataclass(frozen=True, kw_only=True, slots=True)
class TorchExportModel:
    """A loaded program (see `navigator.runners.protocol.LoadedModel`).

    `slots` are the program's flat inputs: (placeholder, None) for a tensor, ("", value) for a constant.
    """

    program: _Torch
    module: _Torch
    slots: tuple[tuple[str, Json], ...]
    signature: Signature
    properties: Properties = field(default_factory=Properties)

    def infer(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the program once, without gradients.

        Raises:
            StepError: the inputs are outside the ranges it was exported for, or it fails.
        """
        import torch
        from torch.utils import _pytree

        tensors = iter([torch_values.to_tensor(inputs[spec.name]) for spec in self.signature.inputs])
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
                "keep min_shapes, max_shapes and max_batch_size within it, or export it with wider dynamic_shapes"
                if outside
                else "",
            ) from error
        leaves = [leaf for leaf in _pytree.tree_leaves(returned) if leaf is not None]
        return {
            spec.name: torch_values.to_array(spec.name, leaf)
            for spec, leaf in zip(self.signature.outputs, leaves, strict=True)
        }

    def _outside(self, inputs: Mapping[str, np.ndarray]) -> str:
        """Return which axis of which input is outside the range that the program was exported for, or ""."""
        placeholders = [placeholder for placeholder, _ in self.slots if placeholder]
        values = _values(self.program)
        for spec, placeholder in zip(self.signature.inputs, placeholders, strict=True):
            given = inputs[spec.name].shape
            for axis, (size, own) in enumerate(zip(given, values[placeholder].shape, strict=False)):
                low, high = _range(self.program, own)
                # Programs exported for sizes from 2 up also run at 0 and 1: torch guards no lower end of 2.
                if size > high or size < (low if low > 2 or low == high else 0):
                    allowed = f"{low}" if low == high else f"{low} to {high} ({own})"
                    return f"input {spec.name}: axis {axis} is {size}, the program was exported for {allowed}"
        return ""


def unrunnable(device: Device, host: Host, options: StepOptions) -> str:
    """Return "": what can be loaded runs on every CPU."""
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

    Declared inputs and outputs whose names are not the program's rename its own by position.
    """
    del signature_name, device, options
    program = load_program(path)
    slots = tuple(_slots(program))
    inputs = adopted("inputs", declared.inputs, [_spec(program, name, name) for name, _ in slots if name])
    return TorchExportModel(
        program=program,
        module=program.module(),
        slots=slots,
        signature=Signature(inputs=inputs, outputs=adopted("outputs", declared.outputs, _outputs(program))),
    )


def load_program(path: Path) -> _Torch:
    """Return the program at `path`.

    Raises:
        StepError: not a file of torch.export.
    """
    import torch

    try:
        with quiet(), path.open("rb") as file:
            # By file object: by path torch insists on the suffix .pt2 (2.13).
            return torch.export.load(file)
    except Exception as error:
        raise StepError(
            f"{path} cannot be loaded as a torch.export program: {torch_values.reason(error)}",
            f"save it with torch.export.save, by a torch that this one ({torch.__version__}) can read",
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence torch's notices about its own internals: of its trees (2.13), of the buffers it reads (2.11)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")
        warnings.filterwarnings("ignore", message=r"The given buffer is not writable")
        yield


def _slots(program: _Torch) -> Iterator[tuple[str, Json]]:
    from torch.export.graph_signature import ConstantArgument, InputKind, TensorArgument

    for spec in program.graph_signature.input_specs:
        if spec.kind is not InputKind.USER_INPUT:
            continue
        if isinstance(spec.arg, TensorArgument):
            yield spec.arg.name, None
        elif isinstance(spec.arg, ConstantArgument):
            yield "", spec.arg.value
        else:
            raise StepError(
                f"input {spec.arg.name} of the program is a number, not a tensor",
                "export the model with a tensor in its place",
            )


def _outputs(program: _Torch) -> list[TensorSpec]:
    """Return the program's outputs: dictionary keys where it returns a dictionary, else `output__<index>`."""
    from torch.export.graph_signature import ConstantArgument, OutputKind, TensorArgument
    from torch.utils import _pytree

    arguments = [spec.arg for spec in program.graph_signature.output_specs if spec.kind is OutputKind.USER_OUTPUT]
    present = [each for each in arguments if not (isinstance(each, ConstantArgument) and each.value is None)]
    # What the program returns, with its own names of the nodes in place of tensors.
    placed = [each if any(each is other for other in present) else None for each in arguments]
    named = torch_values.flatten(_pytree.tree_unflatten(placed, program.call_spec.out_spec))
    if len(named) != len(present) or any(leaf is not each for (_, leaf), each in zip(named, present, strict=True)):
        # A container of the model's own, whose fields torch does not tell.
        named = [(f"output__{index}", each) for index, each in enumerate(present)]
    for name, argument in named:
        if not isinstance(argument, TensorArgument):
            raise StepError(f"output {name} of the program is a number, not a tensor", "return tensors only")
    if not named:
        raise StepError("the program returns no tensor")
    return [_spec(program, name, argument.name) for name, argument in named]


def _spec(program: _Torch, name: str, node: str) -> TensorSpec:
    """Return the spec of the tensor at `node` of the graph, called `name`."""
    value = _values(program)[node]
    dtype = str(value.dtype).removeprefix("torch.")
    if dtype == "bfloat16":
        raise StepError(f"{name} is bfloat16, which NumPy does not have", torch_values.BFLOAT16_HINT)
    return TensorSpec(name=name, shape=_sizes(value.shape), dtype=dtype)


def _values(program: _Torch) -> dict[str, _Torch]:
    """Return what the graph knows of each node's value: a tensor without data."""
    return {node.name: node.meta["val"] for node in program.graph.nodes if "val" in node.meta}


def _sizes(shape: Sequence[_Torch]) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else -1 for size in shape)


def _range(program: _Torch, size: _Torch) -> tuple[int, float]:
    """Return the sizes that an axis may have."""
    if isinstance(size, int):
        return size, size
    bounds = program.range_constraints.get(size.node.expr)
    if bounds is None:
        return 0, float("inf")
    high = float(bounds.upper)
    return int(bounds.lower), (int(high) if high < 2**31 else float("inf"))
