"""How large the values between the nodes of an ONNX model become on samples.

ONNX Runtime's CPU provider has few fp16 kernels: it computes most fp16 nodes in fp32 and drops the roundings between
them (1.32, whatever the options), so that an overflow in an fp16 model need not show there. What the fp32 model
reaches is measured instead. Owns no judgement on what is too large.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from navigator.errors import StepError
from navigator.frameworks.onnx import file as onnx_file
from navigator.frameworks.onnx import graph as onnx_graph
from navigator.frameworks.onnx.weights import Proto
from navigator.samples import storage as arrays

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
    model: Proto, directory: Path, samples: Path, *, tensors: Collection[str], smallest_of: Collection[str]
) -> dict[str, Magnitude]:
    """Run the model on all samples and return what its tensors reach, by name.

    The values are reduced inside the graph, so that no tensor is kept longer than the model itself needs it.

    Args:
        model: a prepared model (`onnx_graph.prepare`) at opset 11 or higher.
        directory: where its external data lies.
        samples: a directory of `navigator.samples.storage`.
        tensors: float32 tensors of the main graph that are no initializers.
        smallest_of: those of them whose smallest value is wanted too.

    Raises:
        StepError: ONNX Runtime cannot run the model on a sample.
    """
    wanted = list(dict.fromkeys(tensors))
    if not wanted:
        return {}
    suffix = onnx_graph.free_suffix(model.graph, "_magnitude")
    largest, smallest = f"_largest{suffix}", f"_smallest{suffix}"
    session = onnx_graph.session(_probed(model, wanted, set(smallest_of), largest, smallest), directory)
    high, low = dict.fromkeys(wanted, 0.0), dict.fromkeys(wanted, np.inf)
    names = [name for value in session.get_outputs() if (name := value.name).endswith((largest, smallest))]
    for label, sample in arrays.load(samples, mapped=True):
        for name, value in zip(names, _run(session, names, sample, label), strict=True):
            if name.endswith(largest):
                name = name.removesuffix(largest)
                high[name] = max(high[name], float(value.max(initial=0.0)))
            else:
                name = name.removesuffix(smallest)
                low[name] = min(low[name], float(value.min(initial=np.inf)))
    return {name: Magnitude(high[name], low[name] if np.isfinite(low[name]) else 0.0) for name in wanted}


def of_values(array: np.ndarray, *, smallest: bool) -> Magnitude:
    """Return the magnitude of constant values; `smallest` says whether it is wanted, which costs."""
    absolute = np.abs(array)
    if not np.isfinite(absolute.max(initial=0.0)):
        absolute = np.where(np.isfinite(absolute), absolute, np.float32(0))
    low = float(absolute.min(initial=np.inf, where=absolute > 0)) if smallest else 0.0
    return Magnitude(float(absolute.max(initial=0.0)), low if np.isfinite(low) else 0.0)


def _probed(model: Proto, tensors: list[str], smallest_of: set[str], largest: str, smallest: str) -> Proto:
    """Return a copy of `model` with more outputs: what `tensors` reach, scalars named after them."""
    import onnx

    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    graph = probed.graph
    # What others inferred about types may be wrong or missing; ONNX Runtime infers them itself.
    del graph.value_info[:]
    # One suffix ends no other name, so names made with it are free.
    zero, infinity = f"_zero{largest}", f"_infinity{largest}"
    for name, value in ((zero, 0.0), (infinity, np.inf)):
        graph.initializer.append(onnx.numpy_helper.from_array(np.array(value, np.float32), name))

    def add(operator: str, inputs: list[str], output: str) -> str:
        graph.node.append(onnx.helper.make_node(operator, inputs, [output]))
        return output

    def reduce(operator: str, tensor: str, where: str, value: str, output: str) -> None:
        add(operator, [add("Where", [where, value, tensor], f"_rest_{output}")], output)
        graph.output.append(onnx.ValueInfoProto(name=output))

    for name in tensors:
        absolute = add("Abs", [name], f"{name}_absolute{largest}")
        infinite = add("IsInf", [absolute], f"{name}_infinite{largest}")
        reduce("ReduceMax", absolute, infinite, zero, name + largest)
        if name in smallest_of:
            none = add("Equal", [absolute, zero], f"{name}_none{smallest}")
            reduce("ReduceMin", absolute, none, infinity, name + smallest)
    return probed


def _run(session: Any, names: list[str], sample: Mapping[str, np.ndarray], label: str) -> list[np.ndarray]:
    needed = [value.name for value in session.get_inputs()]
    absent = [name for name in needed if name not in sample]
    if absent:
        raise StepError(f"the model needs {', '.join(absent)}, the samples have {', '.join(sample)}")
    feed = {name: np.ascontiguousarray(sample[name]).reshape(sample[name].shape) for name in needed}
    try:
        values: list[np.ndarray] = session.run(names, feed)
    except Exception as error:
        raise StepError(f"the model fails on the sample {label!r}: {onnx_file.sentence(error)}") from error
    return values
