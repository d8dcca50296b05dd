"""What an ONNX graph tells about the numbers that it's given (https://onnx.ai/onnx/operators)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from navigator.frameworks.lookups import HALVES, INFINITE, NAN, WHOLES, Lookups, sorting
from navigator.frameworks.onnx.texts import Vocabulary
from navigator.frameworks.onnx.weights import Proto, graphs
from navigator.samples.values import Told

# The first output has the numbers of the first input, or some of them.
_LIMITING = frozenset({"Clip", "Max", "Min"})
_SAME = _LIMITING | frozenset(
    {"Cast", "Expand", "Flatten", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"}
)

# A table keeps its shape.
_SAME_SHAPE = frozenset({"Cast", "DequantizeLinear", "Identity"})

# What depends on the sign of the first input; Div of whole numbers rounds towards 0.
_SIGNS = frozenset({"Abs", "Div", "Mod", "Relu", "Sign"})

# The results are among the numbers of the first input, or between them.
_PICKING = frozenset({"ArrayFeatureExtractor", "Concat", "Gather", "ReduceMax", "ReduceMean", "ReduceMin"})

_CURVED = {each.capitalize(): each for each in ("abs", "exp", "log", "sigmoid", "sqrt", "tanh")}

_ROUNDING = {"Round": HALVES, "Floor": WHOLES, "Ceil": WHOLES}

_TESTS = {"IsNaN": NAN, "IsInf": INFINITE}

_COMPARING = frozenset({"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"})

# Of longer constants, none is a choice of the model's.
_MOST_COMPARED = 16

# ai.onnx.ml's ensembles of decision trees.
_TREES = frozenset({"TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor"})

# Where the features that are missing go.
_MISSING = "nodes_missing_value_tracks_true"

# What ai.onnx.ml's encoders look numbers up among.
_CATEGORIES = ("cats_int64s", "keys_floats", "keys_int64s", "keys_tensor")

# Of longer constants, none is read.
_MOST_NUMBERS = 2**22

# The usual activations of recurrent layers, whose results are from -1 to 1.
_BOUNDED = frozenset({b"sigmoid", b"tanh"})

# What a Constant may have instead of a tensor.
_PLAIN = frozenset({"value_float", "value_floats", "value_int", "value_ints"})

_ARITHMETIC = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div"}

_SQUARE = 2

# TensorProto.BOOL, and what is narrower than what models count with.
_BOOL, _NARROW = 9, {1: "float32", 6: "int32"}

# Inputs that are sizes, by position.
_SIZES = {"Range": (1,), "ConstantOfShape": (0,), "Expand": (1,), "Resize": (3,), "Tile": (1,), "OneHot": (1,)}

# com.microsoft's EmbedLayerNormalization: positions of indices, and of their tables.
_EMBEDDINGS = ((0, 2), (1, 4), (8, 3))


@dataclass(slots=True)
class _Graph:
    """What is known of the values of a graph, by name: what is read from them, shapes, and constants."""

    lookups: Lookups
    shapes: dict[str, Sequence[int]] = field(default_factory=dict)
    constants: dict[str, Proto] = field(default_factory=dict)

    def keep(self, name: str, tensor: Proto) -> None:
        """Note a constant."""
        self.shapes[name], self.constants[name] = tuple(tensor.dims), tensor

    def numbers(self, name: str, most: int = 1) -> np.ndarray:
        """Return the numbers of a constant that is in the file, none of other values or of more than `most`."""
        return _numbers(self.constants.get(name), most)


def told(model: Proto) -> Mapping[str, Told]:
    """Return what the graph of `model` tells about its inputs, by name. Its weights need not be loaded."""
    return read(model).told()


def read(model: Proto) -> Lookups:
    """Return what the graph of `model` reads from its inputs. Its weights need not be loaded."""
    import onnx.inliner

    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    lookups = Lookups.of(value.name for value in model.graph.input)
    known = _Graph(lookups)
    vocabulary = Vocabulary.of(model.graph.input)
    for graph in _graphs(model.graph):
        for tensor in graph.initializer:
            known.keep(tensor.name, tensor)
        for node in graph.node:
            _read_constant(node, known)
            _read_indices(node, known)
            _read_signs(node, lookups)
            _read_comparisons(node, known)
            _read_line(node, known)
            vocabulary.read(node, known.constants)
    for name, told in vocabulary.told().items():
        lookups.found[name] = [told]
    return lookups


def sorting_operations(model: Proto) -> tuple[str, ...]:
    """Return the operators of `model` that choose among equal values as they like."""
    return sorting(node.op_type for graph in graphs(model) for node in graph.node)


def _graphs(graph: Proto) -> Iterator[Proto]:
    """Yield a graph and then its branches and loop bodies, which read its values by name."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graphs(inner)


def _read_constant(node: Proto, graph: _Graph) -> None:
    """Note a constant, and what keeps the shape of one."""
    if node.op_type == "Constant":
        for attribute in node.attribute:
            if attribute.HasField("t"):
                graph.keep(node.output[0], attribute.t)
            elif attribute.name in _PLAIN:
                graph.keep(node.output[0], _plain(attribute))
    elif node.op_type in _SAME_SHAPE and node.input and node.input[0] in graph.shapes:
        graph.shapes[node.output[0]] = graph.shapes[node.input[0]]


def _read_indices(node: Proto, graph: _Graph) -> None:
    """Note which values are indices, and of what; which are sizes, and which are states."""
    kind, inputs, lookups, shapes = node.op_type, node.input, graph.lookups, graph.shapes
    if kind in ("Gather", "GatherElements") and inputs[0] in shapes:
        lookups.row(inputs[1], shapes[inputs[0]][_axis(node)], f"rows of {inputs[0]}")
    if kind == "ArrayFeatureExtractor" or (kind == "Gather" and _axis(node) in (1, -1)):
        for number in graph.numbers(inputs[1]).tolist():
            lookups.column(inputs[0], number, node.output[0])
    if kind == "OneHot":
        for depth in graph.numbers(inputs[1]):
            lookups.row(inputs[0], int(depth), "depth of OneHot")
    if kind == "Equal":
        for value, compared in (inputs, reversed(inputs)):
            lookups.encoded(value, _counted(graph.numbers(compared, _MOST_NUMBERS)), "numbers in Equal")
    if kind == "EmbedLayerNormalization":
        for index, table in _EMBEDDINGS:
            if index < len(inputs) and inputs[table] in shapes:
                lookups.row(inputs[index], shapes[inputs[table]][0], f"rows of {inputs[table]}")
    for position in _SIZES.get(kind, ()):
        if position < len(inputs):
            lookups.size(inputs[position], kind)
    if kind in ("LSTM", "GRU", "RNN") and _BOUNDED.issuperset(
        each.lower() for attribute in node.attribute if attribute.name == "activations" for each in attribute.strings
    ):
        lookups.states(inputs[5:7])


def _read_signs(node: Proto, lookups: Lookups) -> None:
    """Note of which values the sign matters, which divide, and which are true or false."""
    kind, inputs = node.op_type, node.input
    if kind in _SIGNS:
        lookups.sign(inputs[0])
    if kind in ("Div", "Mod"):
        lookups.divisor(inputs[1])
    if kind == "Cast" and _to(node) == _BOOL:
        lookups.truth(inputs[0])


def _read_comparisons(node: Proto, graph: _Graph) -> None:
    """Note the numbers that values are compared with, cut off at, looked up among or tested for."""
    kind, inputs, lookups = node.op_type, node.input, graph.lookups
    if kind in _COMPARING:
        for value, compared in (inputs, reversed(inputs)):
            for number in graph.numbers(compared, _MOST_COMPARED):
                lookups.against(value, number, ordered=kind != "Equal")
    elif kind in _LIMITING or kind == "Mod":
        for limit in inputs[1:]:
            for number in graph.numbers(limit):
                lookups.against(inputs[0], number, ordered=True)
    elif kind in ("LabelEncoder", "OneHotEncoder"):
        known = _categories(node).tolist()
        for number in known[:_MOST_COMPARED]:
            lookups.against(inputs[0], number, ordered=False)
        if known:
            lookups.categories(inputs[0], known)
    elif kind in _TREES:
        lookups.split(inputs[0], _thresholds(node))
        if any(any(each.ints) for each in node.attribute if each.name == _MISSING):
            lookups.tested(inputs[0], NAN)
    elif kind in _TESTS:
        lookups.tested(inputs[0], _TESTS[kind])
    elif kind == "Imputer":
        for number in _replaced(node):
            if math.isfinite(number):
                lookups.against(inputs[0], number, ordered=False)
            else:
                lookups.tested(inputs[0], (number,))


def _replaced(node: Proto) -> list[float]:
    """Return what stands for missing numbers in ai.onnx.ml's Imputer."""
    held = {each.name: each for each in node.attribute}
    if "replaced_value_float" in held:
        return [held["replaced_value_float"].f]
    return [held["replaced_value_int64"].i] if "replaced_value_int64" in held else []


def _read_line(node: Proto, graph: _Graph) -> None:
    """Note what has the numbers of other values, or is computed from them and one number, and where it's rounded."""
    kind, inputs, lookups = node.op_type, node.input, graph.lookups
    if kind in _SAME and inputs:
        for output in node.output:
            lookups.same(inputs[0], output, limited=kind in _LIMITING)
    if kind == "Where":
        lookups.chosen(inputs[1:], node.output[0])
    if kind in ("Shape", "Size"):
        lookups.extents(node.output[0])
    if kind in _PICKING:
        lookups.computed(inputs[0], node.output[0])
    if kind == "Concat":
        lookups.join(inputs, node.output[0])
    if kind in _ROUNDING:
        lookups.rounded(inputs[0], _ROUNDING[kind])
    if kind == "Cast":
        lookups.narrow(inputs[0], _NARROW.get(_to(node), ""))
    if kind == "Neg":
        lookups.computed(inputs[0], node.output[0], factor=-1)
    if kind in _CURVED:
        lookups.curved(inputs[0], _CURVED[kind], node.output[0])
    if kind == "Mul":
        lookups.multiplied(inputs[0], inputs[1], node.output[0])
    if kind == "Pow" and graph.numbers(inputs[1]).tolist() == [_SQUARE]:
        lookups.curved(inputs[0], "square", node.output[0])
    if kind in _ARITHMETIC:
        for value, other in (inputs, reversed(inputs)):
            for number in map(float, graph.numbers(other)):
                lookups.arithmetic(_ARITHMETIC[kind], value, number, node.output[0], reversed_=other == inputs[0])


def _to(node: Proto) -> int:
    """Return the type, of TensorProto, that a Cast casts to."""
    return next((int(attribute.i) for attribute in node.attribute if attribute.name == "to"), 0)


def _axis(node: Proto) -> int:
    return next((int(attribute.i) for attribute in node.attribute if attribute.name == "axis"), 0)


def _categories(node: Proto) -> np.ndarray:
    """Return the numbers that an encoder knows, none if it knows texts."""
    import onnx

    held = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute if each.name in _CATEGORIES}
    for each in held.values():
        return _numbers(each, _MOST_NUMBERS) if isinstance(each, onnx.TensorProto) else np.array(each)
    return np.empty(0)


def _thresholds(node: Proto) -> np.ndarray:
    """Return the numbers that an ensemble of trees compares its features with; leaves compare with none."""
    import onnx

    held = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    if "nodes_splits" in held:
        return _numbers(held["nodes_splits"], _MOST_NUMBERS)
    as_tensor = held.get("nodes_values_as_tensor")
    values = np.array(held.get("nodes_values", ())) if as_tensor is None else _numbers(as_tensor, _MOST_NUMBERS)
    leaves = np.array([mode == b"LEAF" for mode in held.get("nodes_modes", ())], bool)
    return values[~leaves] if values.shape == leaves.shape else np.empty(0)


def _plain(attribute: Proto) -> Proto:
    """Return the constant that an attribute with plain numbers has."""
    import onnx

    values = np.array(onnx.helper.get_attribute_value(attribute))
    return onnx.numpy_helper.from_array(values.astype(np.int64 if values.dtype.kind == "i" else np.float32))


def _counted(numbers: np.ndarray) -> int:
    """Return how many numbers a constant counts from 0 on, as JAX encodes them; 0 if it's any other, or one number."""
    return len(numbers) if len(numbers) > 1 and np.array_equal(numbers, np.arange(len(numbers))) else 0


def _numbers(tensor: Proto, most: int) -> np.ndarray:
    """Return the numbers of a constant that is in the file, none of any other or of one with more than `most`."""
    import onnx

    if tensor is None or tensor.external_data or tensor.data_type == onnx.TensorProto.STRING:
        return np.empty(0)
    if not 0 < math.prod(tensor.dims) <= most:
        return np.empty(0)
    numbers: np.ndarray = onnx.numpy_helper.to_array(tensor)
    return numbers.ravel()
