"""fp16 in an ONNX graph: which nodes compute in it, and the graph that says so.

A tensor keeps its name where it is float32; its fp16 form has another. So inputs and outputs stay as they are, Casts
stand only between nodes of different precision, and what subgraphs read from around them is float32. Owns no opset
and no file; how large values become is for `navigator.frameworks.onnx.magnitudes` to say.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from navigator.frameworks.onnx import graph as onnx_graph
from navigator.frameworks.onnx import magnitudes as onnx_magnitudes
from navigator.frameworks.onnx.magnitudes import Magnitude

if TYPE_CHECKING:
    import onnx_ir as ir

LARGEST = 65504.0

SUFFIX = "_fp16"
"""What ends the name of a value's fp16 form."""

# Samples are few: other inputs may reach further than they do.
_HEADROOM = 2

# fp16 has 64 steps below this number: rounding to one changes a value by up to 0.8 %, and smaller ones by more.
_SMALLEST = 2.0**-18
_ROUNDING = 0.01

# Inputs whose smallest values count as much as their largest: dividing by what was rounded to zero is infinite.
_DIVISORS = {"Div": 1, "Reciprocal": 0, "Log": 0}

# They add up many numbers inside, where an fp16 sum may overflow or stop growing although every value fits, or (the
# last one) take the logarithm of what may round to zero. No runtime promises to do that in fp32.
_ACCUMULATING = frozenset(
    [
        *("ReduceSum", "ReduceMean", "ReduceProd", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceLogSum"),
        *("ReduceLogSumExp", "CumSum", "CumProd", "LpNormalization", "LpPool", "GlobalLpPool", "LRN"),
        *("MeanVarianceNormalization", "LogSoftmax"),
    ]
)

# So do these with the attribute `reduction`.
_SCATTERING = frozenset(["ScatterElements", "ScatterND"])

# Arithmetic on shapes, positions and masks: as long as it starts from whole numbers it stays in fp32, since fp16 has
# no odd numbers over 2048.
_ARITHMETIC = frozenset(
    [
        *("Add", "Sub", "Mul", "Div", "Mod", "Neg", "Abs", "Floor", "Ceil", "Round", "Sqrt", "Pow", "Min", "Max"),
        *("Clip", "Where", "Cast", "Identity", "Concat", "Slice", "Gather", "Squeeze", "Unsqueeze", "Reshape"),
        *("Transpose", "Expand", "Tile", "CumSum", "Range"),
    ]
)

# They read the bits of their input, which other precisions have not.
_BITWISE = frozenset(["BitCast"])

# They take their input as it comes: none computes with it.
FOLLOWING = frozenset(["Cast", "Shape", "Size"])


class Reason(StrEnum):
    """Why a node that handles float32 tensors stays in fp32, as the report says it."""

    NO_FP16 = "no fp16 form"
    SUBGRAPH = "contains a subgraph"
    ACCUMULATES = "sums many values"
    WHOLE = "computes with integers"
    TOO_LARGE = "values too large for fp16"
    TOO_SMALL = "values too small for fp16"


@dataclass(frozen=True, slots=True)
class Fp16Ports:
    """The inputs and outputs of a node, by position, that are fp16."""

    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()


_NONE = Fp16Ports()


@dataclass(frozen=True, slots=True)
class Plan:
    """Which nodes of a graph compute in fp16, why others do not, and which values reach too far, by how much."""

    ports: "Mapping[ir.Node, Fp16Ports]"
    kept: "Mapping[ir.Node, Reason]"
    too_large: "Mapping[ir.Value, float]"


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the decision about one node needs to know; `whole` and `made` grow from node to node."""

    model: "ir.Model"
    constants: "Mapping[ir.Value, Magnitude]"
    unfit: "Mapping[ir.Value, Reason]"
    whole: "set[ir.Value]" = field(default_factory=set)
    made: "set[ir.Value]" = field(default_factory=set)


def plan(model: "ir.Model", samples: Path) -> Plan:
    """Return what becomes fp16 in a prepared model (`graph.prepare`) at opset 11 or higher.

    Args:
        model: the model; its values of other types than float32 stay what they are, and all get their type.
        samples: a directory of `navigator.samples.storage` to measure what the values reach on.

    Raises:
        StepError: ONNX Runtime cannot load the model or run it on the samples.
    """
    import onnx_ir as ir

    graph = model.graph
    onnx_graph.infer_types(model)
    divisors = {node.inputs[_DIVISORS[node.op_type]] for node in graph if node.op_type in _DIVISORS}
    constants = {
        value: onnx_magnitudes.of_values(onnx_graph.stored(value), smallest=value in divisors)
        for value in graph.initializers.values()
        if onnx_graph.is_tensor(value, ir.DataType.FLOAT)
    }
    variables = [*graph.inputs, *(value for node in graph for value in node.outputs)]
    measured = onnx_magnitudes.measure(
        model,
        samples,
        values=[value for value in variables if onnx_graph.is_tensor(value, ir.DataType.FLOAT)],
        smallest_of=divisors,
    )
    unfit = {value: reason for value, each in constants.items() if (reason := _unfit_constant(each, value in divisors))}
    unfit |= {value: reason for value, each in measured.items() if (reason := _unfit(each, value in divisors))}
    facts = _Facts(model, constants, unfit)
    ports: dict[ir.Node, Fp16Ports] = {}
    kept: dict[ir.Node, Reason] = {}
    for node in graph:
        decided = _decide(node, facts)
        if isinstance(decided, Fp16Ports):
            ports[node] = decided
            facts.made.update(node.outputs[k] for k in decided.outputs)
        elif decided is not None:
            kept[node] = decided
    reached = measured | constants
    too_large = {value: reached[value].largest for value, reason in unfit.items() if reason is Reason.TOO_LARGE}
    return Plan(ports, kept, too_large)


def apply(model: "ir.Model", plan: Plan) -> None:
    """Rewrite the prepared `model` as `plan` says; weights that become fp16 are then inside the model.

    Args:
        model: the model that the plan was made of.
        plan: what becomes fp16.
    """
    import onnx_ir as ir

    graph = model.graph
    suffix = onnx_graph.free_suffix(graph, SUFFIX)
    nodes = list(graph)
    for value in [*graph.inputs, *graph.initializers.values(), *(value for node in nodes for value in node.outputs)]:
        maker = value.producer()
        halves = [use for use in value.uses() if use.idx in plan.ports.get(use.node, _NONE).inputs]
        if maker and value.index() in plan.ports.get(maker, _NONE).outputs:
            _narrow(value, value.name + suffix, halves)
        elif halves and value.is_initializer():
            half = onnx_graph.add_initializer(graph, value.name + suffix, onnx_graph.stored(value).astype(np.float16))
            _move(halves, half)
            if not value.uses() and not value.is_graph_output():
                del graph.initializers[value.name]
        elif halves:
            half = onnx_graph.twin(value, ir.DataType.FLOAT16, value.name + suffix)
            _move(halves, half)
            cast = onnx_graph.cast(value, half)
            maker.append(cast) if maker else nodes[0].prepend(cast)


def _narrow(value: "ir.Value", name: str, halves: "Sequence[ir.Usage]") -> None:
    """Make what a node writes fp16 under `name`; uses other than `halves` read a Cast of it, which takes its place."""
    import onnx_ir as ir

    whole = onnx_graph.twin(value, ir.DataType.FLOAT, value.name)
    value.replace_all_uses_with(whole, replace_graph_outputs=True)
    _move(halves, value)
    value.name, value.type = name, ir.TensorType(ir.DataType.FLOAT16)
    if whole.uses() or whole.is_graph_output():
        value.producer().append(onnx_graph.cast(value, whole))


def _move(uses: "Iterable[ir.Usage]", value: "ir.Value") -> None:
    for use in uses:
        use.node.replace_input_with(use.idx, value)


def _unfit_constant(magnitude: Magnitude, divisor: bool) -> Reason | None:
    if magnitude.largest > LARGEST:
        return Reason.TOO_LARGE
    smallest = magnitude.smallest if divisor else magnitude.largest
    return Reason.TOO_SMALL if abs(float(np.float16(smallest)) - smallest) > _ROUNDING * smallest else None


def _unfit(magnitude: Magnitude, divisor: bool) -> Reason | None:
    if magnitude.largest > LARGEST / _HEADROOM:
        return Reason.TOO_LARGE
    smallest = magnitude.smallest if divisor else magnitude.largest
    return Reason.TOO_SMALL if 0 < smallest < _SMALLEST else None


def _decide(node: "ir.Node", facts: _Facts) -> Fp16Ports | Reason | None:
    """Return what of `node` becomes fp16, or why nothing does; None if it handles no float32 tensor."""
    import onnx_ir as ir

    values = [value for value in (*node.inputs, *node.outputs) if value is not None and value.name]
    if onnx_graph.holds_graph(node):
        return Reason.SUBGRAPH
    if not any(value.dtype in (ir.DataType.FLOAT, None) for value in values):
        return None
    if node.op_type in FOLLOWING and node.domain == "":
        if node.op_type == "Cast" and _starts_from_whole_numbers(node, facts):
            facts.whole.update(node.outputs)
        reads_half = node.inputs[0] in facts.made and node.outputs[0].dtype != ir.DataType.FLOAT
        return Fp16Ports((0,), ()) if reads_half else None
    if not all(isinstance(value.type, ir.TensorType) for value in values):
        return Reason.NO_FP16
    if _starts_from_whole_numbers(node, facts):
        facts.whole.update(node.outputs)
        return Reason.WHOLE
    ports = _possible(node, facts)
    if ports is None or node.op_type in _BITWISE:
        return Reason.NO_FP16
    if node.op_type in _ACCUMULATING or (node.op_type in _SCATTERING and _reduces(node)):
        return Reason.ACCUMULATES
    bound = [*(node.inputs[k] for k in ports.inputs), *(node.outputs[k] for k in ports.outputs)]
    return next((facts.unfit[value] for value in bound if value in facts.unfit), ports)


def _possible(node: "ir.Node", facts: _Facts) -> Fp16Ports | None:
    """Return the inputs and outputs that the operator's definition lets be fp16 together, None if it lets none."""
    import onnx
    import onnx_ir as ir

    version = onnx_graph.opset(facts.model, node.domain)
    if not onnx.defs.has(node.op_type, version, node.domain):
        return None
    schema = onnx.defs.get_schema(node.op_type, version, node.domain)
    free = {each.type_param_str for each in schema.type_constraints if "tensor(float16)" in each.allowed_type_strs}

    def bound(values: "Sequence[ir.Value | None]", formal: Sequence[Any]) -> dict[int, str]:
        """Return the type variables of those float32 values that may be fp16, by position."""
        kinds = [formal[min(k, len(formal) - 1)].type_str for k in range(len(values))]
        whole = [onnx_graph.is_tensor(value, ir.DataType.FLOAT) for value in values]
        return {k: kind for k, kind in enumerate(kinds) if whole[k] and kind in free}

    inputs, outputs = bound(node.inputs, schema.inputs), bound(node.outputs, schema.outputs)
    shared = set(inputs.values())
    if node.op_type == "DequantizeLinear" and "output_dtype" not in node.attributes:
        # From opset 23 on the type of the output is its own; without the attribute it still is that of the scale.
        shared.add(schema.outputs[0].type_str)
    return Fp16Ports(tuple(inputs), tuple(outputs)) if inputs and shared.issuperset(outputs.values()) else None


def _starts_from_whole_numbers(node: "ir.Node", facts: _Facts) -> bool:
    import onnx_ir as ir

    if node.op_type not in _ARITHMETIC or node.domain != "":
        return False
    if node.op_type == "Range":
        return True
    if node.op_type == "Cast":
        dtype = node.inputs[0].dtype or ir.DataType.UNDEFINED
        return dtype.is_integer() or dtype == ir.DataType.BOOL or node.inputs[0] in facts.whole
    read = [value for value in node.inputs if onnx_graph.is_tensor(value, ir.DataType.FLOAT)]
    variable = [value for value in read if value not in facts.constants]
    return bool(variable) and facts.whole.issuperset(variable)


def _reduces(node: "ir.Node") -> bool:
    return bool(node.attributes.get_string("reduction", "none") != "none")
