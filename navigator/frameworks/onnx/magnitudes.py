"""Measures how large the values between the nodes of an ONNX model become on samples.

ONNX Runtime's CPU provider has few fp16 kernels: it computes most fp16 nodes in fp32 and drops the roundings between
them (1.32, whatever the options), so that an overflow in an fp16 model need not show there. What the fp32 model
reaches is measured instead. Doesn't decide what is too large.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from navigator.errors import StepError, listed
from navigator.frameworks.onnx import file as onnx_file
from navigator.frameworks.onnx import graph as onnx_graph
from navigator.samples import storage as arrays

if TYPE_CHECKING:
    import onnx_ir as ir

# The operators that measure exist for float32 from this opset on.
LOWEST_OPSET = 11


@dataclass(frozen=True, slots=True)
class Magnitude:
    """The largest and the smallest absolute value, zeros and infinities left out; 0.0 where there is none.

    Of tensors that were measured, `smallest` is known only where it was asked for.
    """

    largest: float = 0.0
    smallest: float = 0.0


def measure(
    model: "ir.Model", samples: Path, *, values: "Collection[ir.Value]", smallest_of: "Collection[ir.Value]"
) -> "dict[ir.Value, Magnitude]":
    """Run the model on all samples and return what its values reach.

    They are reduced inside the graph, so that no tensor is kept longer than the model itself needs it.

    Args:
        model: a prepared model (`graph.prepare`) at opset 11 or higher.
        samples: a directory of `navigator.samples.storage`.
        values: float32 tensors of the main graph that are no initializers.
        smallest_of: those of them whose smallest value is wanted too.

    Raises:
        StepError: ONNX Runtime cannot run the model on a sample.
    """
    wanted = list(dict.fromkeys(values))
    if not wanted:
        return {}
    session = onnx_graph.session(_probed(model, wanted, smallest_of))
    # The probes are the last outputs: the largest of each, then the smallest of those that it is wanted of.
    lowest = [value for value in wanted if value in smallest_of]
    names = [value.name for value in session.get_outputs()][-len(wanted) - len(lowest) :]
    high, low = dict.fromkeys(wanted, 0.0), dict.fromkeys(wanted, np.inf)
    for label, sample in arrays.load(samples, mapped=True):
        reached = _run(session, names, sample, label)
        for value, array in zip(wanted, reached, strict=False):
            high[value] = max(high[value], float(array.max(initial=0.0)))
        for value, array in zip(lowest, reached[len(wanted) :], strict=True):
            low[value] = min(low[value], float(array.min(initial=np.inf)))
    return {value: Magnitude(high[value], low[value] if np.isfinite(low[value]) else 0.0) for value in wanted}


def of_values(array: np.ndarray, *, smallest: bool) -> Magnitude:
    """Return the magnitude of constant values; `smallest` says whether it is wanted, which costs."""
    absolute = np.abs(array)
    if not np.isfinite(absolute.max(initial=0.0)):
        absolute = np.where(np.isfinite(absolute), absolute, np.float32(0))
    low = float(absolute.min(initial=np.inf, where=absolute > 0)) if smallest else 0.0
    return Magnitude(float(absolute.max(initial=0.0)), low if np.isfinite(low) else 0.0)


def _probed(model: "ir.Model", wanted: "Sequence[ir.Value]", smallest_of: "Collection[ir.Value]") -> "ir.Model":
    """Return a copy of `model` with more outputs, scalars: the largest of each `wanted`, and the smallest of some."""
    import onnx_ir as ir

    probed = model.clone()
    graph = probed.graph
    onnx_graph.forget_types(graph)
    suffix = onnx_graph.free_suffix(graph, "_magnitude")
    zero, infinity = (
        onnx_graph.add_initializer(graph, f"{name}{suffix}", np.array(value, np.float32))
        for name, value in (("zero", 0.0), ("infinity", np.inf))
    )
    copies = ir.convenience.create_value_mapping(graph, include_subgraphs=False)
    smallest = []

    def add(operator: str, *inputs: "ir.Value") -> "ir.Value":
        output = ir.Value(name=f"{len(graph)}{suffix}")
        graph.append(ir.node(operator, inputs, outputs=[output]))
        return output

    for value in wanted:
        absolute = add("Abs", copies[value.name])
        graph.outputs.append(add("ReduceMax", add("Where", add("IsInf", absolute), zero, absolute)))
        if value in smallest_of:
            smallest.append(add("ReduceMin", add("Where", add("Equal", absolute, zero), infinity, absolute)))
    graph.outputs.extend(smallest)
    return probed


def _run(session: Any, names: list[str], sample: Mapping[str, np.ndarray], label: str) -> list[np.ndarray]:
    needed = [value.name for value in session.get_inputs()]
    absent = [name for name in needed if name not in sample]
    if absent:
        raise StepError(f"the model has the inputs {listed(absent)}, but the samples only have {listed(sample)}")
    feed = {name: np.ascontiguousarray(sample[name]).reshape(sample[name].shape) for name in needed}
    try:
        values: list[np.ndarray] = session.run(names, feed)
    except Exception as error:
        raise StepError(f"the model fails on sample {label!r}: {onnx_file.sentence(error)}") from error
    return values
