"""What the graph of a SavedModel's signature tells about the numbers that it's given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from navigator.frameworks.lookups import HALVES, INFINITE, NAN, NOT_FINITE, WHOLES, Lookups, sorting

# TensorFlow's objects; the package ships no types that hold for every version.
_Tf = Any

# The result has the numbers of the first input, or some of them.
_LIMITING = frozenset({"ClipByValue", "Maximum", "Minimum"})
_SAME = _LIMITING | frozenset(
    {
        "BroadcastTo",
        "Cast",
        "ExpandDims",
        "Identity",
        "Reshape",
        "Slice",
        "Squeeze",
        "StridedSlice",
        "Tile",
        "Transpose",
    }
)

# What depends on the sign of the first input.
_SIGNS = frozenset({"Abs", "FloorDiv", "FloorMod", "Mod", "Relu", "Sign", "TruncateDiv", "TruncateMod"})
_DIVIDING = frozenset({"FloorDiv", "FloorMod", "Mod", "TruncateDiv", "TruncateMod"})

# The results are among the numbers of the first input, or between them.
_PICKING = frozenset({"Max", "Mean", "Min"})

_ARITHMETIC = {"Add": "add", "AddV2": "add", "Sub": "sub", "Mul": "mul", "RealDiv": "div"}
_CUTTING = _LIMITING | {"FloorMod", "Mod"}
_CURVED = {each.capitalize(): each for each in ("abs", "exp", "log", "sigmoid", "sqrt", "square", "tanh")}
_ROUNDING = {"Round": HALVES, "Rint": HALVES, "Floor": WHOLES, "Ceil": WHOLES}

_EQUAL = frozenset({"Equal", "NotEqual"})
_TESTS = {"IsNan": NAN, "IsInf": INFINITE, "IsFinite": NOT_FINITE}

# Inputs that are sizes, by position.
_SIZES = {
    "BroadcastTo": 1,
    "Fill": 0,
    "Range": 1,
    "ResizeArea": 1,
    "ResizeBicubic": 1,
    "ResizeBilinear": 1,
    "ResizeNearestNeighbor": 1,
    "ScaleAndTranslate": 1,
    "Tile": 1,
}

_COMPARING = _EQUAL | {"Greater", "GreaterEqual", "Less", "LessEqual"}

# DT_BOOL, and what is narrower than what models count with.
_BOOL, _NARROW = 10, {1: "float32", 3: "int32"}

# Of boundaries and keys, so many are tried.
_MOST_COMPARED = 64

# A table keeps its shape.
_SAME_TABLE = frozenset({"Cast", "Identity", "ReadVariableOp"})


@dataclass(slots=True)
class _Tables:
    """What is known apart from the inputs: the shapes of tables, and constants, by the names of their tensors.

    `handles` are those of variables and of tables with keys, which TensorFlow holds.
    """

    functions: Mapping[str, _Tf]
    lookups: Lookups
    shapes: dict[str, Sequence[int]] = field(default_factory=dict)
    constants: dict[str, _Tf] = field(default_factory=dict)
    handles: dict[str, _Tf] = field(default_factory=dict)


def read(function: _Tf, inputs: Sequence[str]) -> Lookups:
    """Return what a concrete function, and all that it calls, reads from its inputs.

    Args:
        function: the function of a signature.
        inputs: the names of its inputs.
    """
    graph = function.graph.as_graph_def()
    tables = _Tables({each.signature.name: each for each in graph.library.function}, Lookups(origins={}))
    for tensor in function.inputs:
        name = tensor.name.partition(":")[0]
        own = next((each for each in inputs if name in (each, f"{function.graph.name}_{each}")), None)
        if own is not None:
            tables.lookups.origins[name] = own
    for outside, inside in function.graph.captures:
        tables.handles[inside.name.partition(":")[0]] = outside
        handle = getattr(outside, "_handle_data", None)
        shape = handle.shape_and_type[0].shape if handle is not None and handle.shape_and_type else None
        if shape is not None and not shape.unknown_rank:
            tables.shapes[inside.name.partition(":")[0]] = [axis.size for axis in shape.dim]
    _read_all(graph.node, "", tables)
    return tables.lookups


def sorting_operations(function: _Tf) -> tuple[str, ...]:
    """Return the operations of a concrete function, and of all that it calls, that choose among equal values."""
    graph = function.graph.as_graph_def()
    return sorting(
        node.op for nodes in (graph.node, *(each.node_def for each in graph.library.function)) for node in nodes
    )


def _read_all(nodes: Sequence[_Tf], scope: str, tables: _Tables) -> None:
    """Go through the nodes of a graph or, in a scope of its own, of a function that it calls."""
    for node in nodes:
        inputs = [f"{scope}{each.partition(':')[0]}" for each in node.input if not each.startswith("^")]
        _read(node, inputs, f"{scope}{node.name}", tables)


def _read(node: _Tf, inputs: Sequence[str], name: str, tables: _Tables) -> None:
    lookups, shapes = tables.lookups, tables.shapes
    called = tables.functions.get(node.attr["f"].func.name) if "PartitionedCall" in node.op else None
    if called is not None:
        scope = f"{name}/"
        for argument, value in zip(called.signature.input_arg, inputs, strict=False):
            lookups.same(value, f"{scope}{argument.name}")
            if value in shapes:
                shapes[f"{scope}{argument.name}"] = shapes[value]
            if value in tables.handles:
                tables.handles[f"{scope}{argument.name}"] = tables.handles[value]
        _read_all(called.node_def, scope, tables)
    if node.op == "Const":
        tables.constants[name] = node.attr["value"].tensor
        shapes[name] = [axis.size for axis in node.attr["value"].tensor.tensor_shape.dim]
    if node.op in _SAME and inputs:
        lookups.same(inputs[0], name, limited=node.op in _LIMITING)
    if node.op in _SIGNS:
        lookups.sign(inputs[0])
    if node.op in _DIVIDING:
        lookups.divisor(inputs[1])
    if node.op == "Cast" and node.attr["DstT"].type == _BOOL:
        lookups.truth(inputs[0])
    _read_line(node, inputs, name, tables)
    if node.op in ("Select", "SelectV2"):
        lookups.chosen(inputs[1:], name)
    if node.op in _SAME_TABLE and inputs and inputs[0] in shapes:
        shapes[name] = shapes[inputs[0]]
    if node.op in ("Gather", "GatherV2", "ResourceGather") and inputs[0] in shapes:
        axis = _number(tables, inputs[2]) if node.op == "GatherV2" else 0
        shape = shapes[inputs[0]]
        if axis is not None and -len(shape) <= axis < len(shape):
            lookups.row(inputs[1], shape[axis], "rows of a table")
    if node.op in _COMPARING and len(inputs) > 1:
        for value, against in (inputs[:2], inputs[1::-1]):
            number = _constant(tables, against)
            if number is not None:
                lookups.against(value, number, ordered=node.op not in _EQUAL)
    if node.op in _TESTS:
        lookups.tested(inputs[0], _TESTS[node.op])
    if node.op == "Bucketize":
        for number in node.attr["boundaries"].list.f[:_MOST_COMPARED]:
            lookups.against(inputs[0], number, ordered=True)
    if node.op == "LookupTableFindV2" and inputs[0] in tables.handles:
        for number in _keys(node, tables.handles[inputs[0]]):
            lookups.against(inputs[1], number, ordered=False)
    if node.op == "OneHot":
        depth = _number(tables, inputs[1]) or 0
        lookups.row(inputs[0], depth, "depth of OneHot")
        # Indices outside of the depth are allowed: they're of no class.
        for number in (0, depth - 1) if depth > 0 else ():
            lookups.against(inputs[0], number, ordered=True)
    if node.op in _SIZES and len(inputs) > _SIZES[node.op]:
        lookups.size(inputs[_SIZES[node.op]], node.op)
    if node.op in ("ConcatV2", "Pack"):
        lookups.join(inputs, name)


def _read_line(node: _Tf, inputs: Sequence[str], name: str, tables: _Tables) -> None:
    """Note what is computed from numbers and sizes with one other number, and where that is cut off or rounded."""
    lookups = tables.lookups
    if node.op in ("Shape", "Size"):
        lookups.extents(name)
    elif node.op in _PICKING:
        lookups.computed(inputs[0], name)
    elif node.op in _CURVED:
        lookups.curved(inputs[0], _CURVED[node.op], name)
    elif node.op == "Neg":
        lookups.computed(inputs[0], name, factor=-1)
    elif node.op in _ROUNDING:
        lookups.rounded(inputs[0], _ROUNDING[node.op])
    elif node.op == "Cast":
        lookups.narrow(inputs[0], _NARROW.get(node.attr["DstT"].type, ""))
    elif node.op == "Relu6":
        lookups.against(inputs[0], 6, ordered=True)
    elif node.op in _CUTTING or node.op in _ARITHMETIC:
        for value, other in ((inputs[0], each) for each in inputs[1:]):
            _with_number(node.op, value, _constant(tables, other), name, lookups)
        if node.op == "Mul":
            lookups.multiplied(inputs[0], inputs[1], name)
        if len(inputs) == 2:
            _with_number(node.op, inputs[1], _constant(tables, inputs[0]), name, lookups, reversed_=True)


def _with_number(
    operation: str, value: str, number: float | None, name: str, lookups: Lookups, *, reversed_: bool = False
) -> None:
    if number is not None and operation in _CUTTING:
        lookups.against(value, number, ordered=True)
    elif number is not None:
        lookups.arithmetic(_ARITHMETIC[operation], value, number, name, reversed_=reversed_)


def _keys(node: _Tf, handle: _Tf) -> Sequence[float]:
    """Return the first keys of a table, as TensorFlow has them, none if they aren't numbers."""
    import tensorflow as tf

    kinds = {"Tkeys": tf.as_dtype(node.attr["Tin"].type), "Tvalues": tf.as_dtype(node.attr["Tout"].type)}
    if kinds["Tkeys"] is tf.string:
        return ()
    keys, _ = tf.raw_ops.LookupTableExportV2(table_handle=handle, **kinds)
    return [number.item() for number in keys.numpy()[:_MOST_COMPARED]]


def _number(tables: _Tables, name: str) -> int | None:
    """Return a constant of one element as a whole number, None for any other."""
    number = _constant(tables, name)
    return None if number is None else int(number)


def _constant(tables: _Tables, name: str) -> float | None:
    """Return a constant of one element, None for any other."""
    import tensorflow as tf

    tensor = tables.constants.get(name)
    if tensor is None:
        return None
    array = tf.make_ndarray(tensor)
    return array.item() if array.size == 1 and array.dtype.kind in "iuf" else None
