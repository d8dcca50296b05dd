"""fp16 in an ONNX graph: which nodes compute in it, and the graph that says so.

A tensor keeps its name where it is float32; its fp16 form has another. So inputs and outputs stay as they are, Casts
stand only between nodes of different precision, and what subgraphs read from around them is float32. Owns no opset
and no file; how large values become is for `navigator.frameworks.onnx.magnitudes` to say.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np

from navigator.frameworks.onnx import graph as onnx_graph
from navigator.frameworks.onnx import magnitudes as onnx_magnitudes
from navigator.frameworks.onnx.graph import FLOAT
from navigator.frameworks.onnx.magnitudes import Magnitude
from navigator.frameworks.onnx.weights import Proto

LARGEST = 65504.0

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
    SUBGRAPH = "holds a subgraph"
    ACCUMULATES = "adds up many numbers"
    WHOLE = "computes with whole numbers"
    TOO_LARGE = "values too large for fp16"
    TOO_SMALL = "values too small for fp16"


@dataclass(frozen=True, slots=True)
class Half:
    """The inputs and outputs of a node, by position, that are fp16."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Which nodes of a graph compute in fp16, why others do not, and which tensors reach too far, by how much."""

    half: Mapping[int, Half]
    kept: Mapping[int, Reason]
    too_large: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the decision about one node needs to know; `whole` and `made` grow from node to node."""

    model: Proto
    types: Mapping[str, str]
    constants: Mapping[str, Magnitude]
    unfit: Mapping[str, Reason]
    whole: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)


def plan(model: Proto, directory: Path, samples: Path) -> Plan:
    """Return what becomes fp16 in a prepared model (`onnx_graph.prepare`) at opset 11 or higher.

    Args:
        model: the model; its tensors of other types than float32 stay what they are.
        directory: where its external data lies.
        samples: a directory of `navigator.samples.storage` to measure what the tensors reach on.

    Raises:
        StepError: ONNX Runtime cannot load the model or run it on the samples.
    """
    graph = model.graph
    types = onnx_graph.types(model, directory)
    divisors = {node.input[_DIVISORS[node.op_type]] for node in graph.node if node.op_type in _DIVISORS}
    constants = {
        name: onnx_magnitudes.of_values(onnx_graph.values(tensor, directory), smallest=name in divisors)
        for tensor in graph.initializer
        if types[name := tensor.name] == FLOAT
    }
    measured = onnx_magnitudes.measure(
        model,
        directory,
        samples,
        tensors=[name for name, kind in types.items() if kind == FLOAT and name not in constants],
        smallest_of=divisors,
    )
    unfit = {name: reason for name, each in constants.items() if (reason := _unfit_constant(each, name in divisors))}
    unfit |= {name: reason for name, each in measured.items() if (reason := _unfit(each, name in divisors))}
    facts = _Facts(model, types, constants, unfit)
    half, kept = {}, {}
    for position, node in enumerate(graph.node):
        decided = _decide(node, facts)
        if isinstance(decided, Half):
            half[position] = decided
            facts.made.update(node.output[k] for k in decided.outputs)
        elif decided is not None:
            kept[position] = decided
    reached = measured | constants
    too_large = {name: reached[name].largest for name, reason in unfit.items() if reason is Reason.TOO_LARGE}
    return Plan(half, kept, too_large)


def apply(model: Proto, directory: Path, plan: Plan) -> None:
    """Rewrite the prepared `model` as `plan` says; weights that become fp16 are then inside the model.

    Args:
        model: the model that the plan was made of.
        directory: where its external data lies.
        plan: what becomes fp16.
    """
    import onnx

    graph = model.graph
    suffix = onnx_graph.free_suffix(graph, "_fp16")
    made = {node.output[k] for at, half in plan.half.items() for node in [graph.node[at]] for k in half.outputs}
    wanted, kept = _readers(graph, plan)
    for tensor in list(graph.initializer):
        if tensor.name in wanted:
            values = onnx_graph.values(tensor, directory).astype(np.float16)
            target = graph.initializer.add() if tensor.name in kept else tensor
            target.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name + suffix))

    def down(name: str) -> Proto:
        return onnx.helper.make_node("Cast", [name], [name + suffix], f"{name}_to_fp16", to=onnx.TensorProto.FLOAT16)

    def up(name: str) -> Proto:
        return onnx.helper.make_node("Cast", [name + suffix], [name], f"{name}_to_fp32", to=onnx.TensorProto.FLOAT)

    nodes = [down(value.name) for value in graph.input if value.name in wanted]
    for position, node in enumerate(graph.node):
        half = plan.half.get(position, Half((), ()))
        for names, positions in ((node.input, half.inputs), (node.output, half.outputs)):
            for k in positions:
                names[k] += suffix
        nodes.append(node)
        written = [name.removesuffix(suffix) for name in node.output]
        nodes += [up(name) for name in written if name in made & kept]
        nodes += [down(name) for name in written if name in wanted - made]
    onnx_graph.replace(graph.node, nodes)
    for value in graph.value_info:
        if value.name in made:
            value.name += suffix
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16


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


def _decide(node: Proto, facts: _Facts) -> Half | Reason | None:
    """Return what of `node` becomes fp16, or why nothing does; None where it handles no float32 tensor."""
    types = [facts.types.get(name, "unknown") for name in (*node.input, *node.output) if name]
    if next(onnx_graph.subgraphs(node), None) is not None:
        return Reason.SUBGRAPH
    if not any("float)" in kind or kind == "unknown" for kind in types):
        return None
    if node.op_type in FOLLOWING and node.domain in onnx_graph.DEFAULT_DOMAINS:
        if node.op_type == "Cast" and _starts_from_whole_numbers(node, facts):
            facts.whole.update(node.output)
        reads_half = node.input[0] in facts.made and facts.types[node.output[0]] != FLOAT
        return Half((0,), ()) if reads_half else None
    if any(not kind.startswith("tensor(") for kind in types):
        return Reason.NO_FP16
    if _starts_from_whole_numbers(node, facts):
        facts.whole.update(node.output)
        return Reason.WHOLE
    half = _possible(node, facts)
    if half is None or node.op_type in _BITWISE:
        return Reason.NO_FP16
    if node.op_type in _ACCUMULATING or (node.op_type in _SCATTERING and _reduces(node)):
        return Reason.ACCUMULATES
    names = [*(node.input[k] for k in half.inputs), *(node.output[k] for k in half.outputs)]
    return next((facts.unfit[name] for name in names if name in facts.unfit), half)


def _possible(node: Proto, facts: _Facts) -> Half | None:
    """Return the inputs and outputs that the operator's definition lets be fp16 together, None where none does."""
    import onnx

    domain = "" if node.domain in onnx_graph.DEFAULT_DOMAINS else node.domain
    version = onnx_graph.opset(facts.model, domain)
    if not onnx.defs.has(node.op_type, version, domain):
        return None
    schema = onnx.defs.get_schema(node.op_type, version, domain)
    free = {each.type_param_str for each in schema.type_constraints if "tensor(float16)" in each.allowed_type_strs}
    kinds = [schema.inputs[min(k, len(schema.inputs) - 1)].type_str for k in range(len(node.input))]
    inputs = [k for k, name in enumerate(node.input) if facts.types.get(name) == FLOAT and kinds[k] in free]
    bound = {kinds[k] for k in inputs}
    if node.op_type == "DequantizeLinear" and not any(each.name == "output_dtype" for each in node.attribute):
        # From opset 23 on the type of the output is its own; without the attribute it still is that of the scale.
        bound |= {schema.outputs[0].type_str}
    outputs = []
    for k, name in enumerate(node.output):
        kind = schema.outputs[min(k, len(schema.outputs) - 1)].type_str
        if facts.types.get(name) == FLOAT and kind in free:
            if kind not in bound:
                return None
            outputs.append(k)
    return Half(tuple(inputs), tuple(outputs)) if inputs else None


def _starts_from_whole_numbers(node: Proto, facts: _Facts) -> bool:
    if node.op_type not in _ARITHMETIC or node.domain not in onnx_graph.DEFAULT_DOMAINS:
        return False
    if node.op_type == "Range":
        return True
    if node.op_type == "Cast":
        kind = facts.types.get(node.input[0], "")
        return "int" in kind or "bool" in kind or node.input[0] in facts.whole
    read = [name for name in node.input if facts.types.get(name) == FLOAT and name not in facts.constants]
    return bool(read) and all(name in facts.whole for name in read)


def _reduces(node: Proto) -> bool:
    return any(each.name == "reduction" and each.s != b"none" for each in node.attribute)


def _readers(graph: Proto, plan: Plan) -> tuple[set[str], set[str]]:
    """Return the names that are read as fp16 and those that are read as they are."""
    wanted: set[str] = set()
    kept = {value.name for value in graph.output}
    for position, node in enumerate(graph.node):
        half = plan.half.get(position, Half((), ()))
        kept |= onnx_graph.captured(node)
        for k, name in enumerate(node.input):
            (wanted if k in half.inputs else kept).add(name)
    return wanted, kept
