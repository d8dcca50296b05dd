"""Reads the structure of a SavedModel: saved_model.proto, meta_graph.proto and graph.proto of TensorFlow (2.21).

Fields have only a number in the file; comments beside the numbers give their names.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path

from navigator.errors import ConfigurationError, listed
from navigator.models.reading import open_regular
from navigator.models.wire import DamagedError, Fields
from navigator.records import Description, Format, TensorSpec

_TAG = "serve"
_DEFAULT_SIGNATURE = "serving_default"

# tensorflow/core/framework/types.proto, by the names of NumPy where it has one.
_DTYPES = (
    *("invalid", "float32", "float64", "int32", "uint8", "int16", "int8", "string", "complex64", "int64", "bool"),
    *("qint8", "quint8", "qint32", "bfloat16", "qint16", "quint16", "uint16", "complex128", "float16", "resource"),
    *("variant", "uint32", "uint64"),
)
_TRAINABLE = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
_QUANTIZED = ("Quantize", "FakeQuant", "UniformQuantize")


class SignatureError(ConfigurationError):
    """A SavedModel doesn't have the signature, or has none or several to choose from.

    Args:
        message: what happened.
        names: the signatures that it has.
    """

    def __init__(self, message: str, names: Sequence[str]) -> None:
        self.names = names
        super().__init__(message, self.advice("signature_name"))

    def advice(self, option: str) -> str:
        """Return what to do for users who write the option like this."""
        if not self.names:
            return "save it with signatures=..., or with model.export, which adds serving_default"
        return f"set {option} to one of: {listed(self.names)}"


@dataclass(kw_only=True, slots=True)
class _Nodes:
    """The nodes of a graph or function: how many of each operator, what they call, and whether any of them trains."""

    operators: Counter[str] = field(default_factory=Counter)
    calls: set[str] = field(default_factory=set)
    by_name: dict[str, set[str]] = field(default_factory=dict)
    training: bool = False


@dataclass(kw_only=True, slots=True)
class _Graph:
    """A MetaGraphDef: a signature has inputs, outputs and the names of the nodes that compute these."""

    tags: set[str] = field(default_factory=set)
    version: str = ""
    signatures: dict[str, tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...], set[str]]] = field(default_factory=dict)
    main: _Nodes = field(default_factory=_Nodes)
    functions: dict[str, _Nodes] = field(default_factory=dict)

    def used_by(self, nodes: set[str]) -> list[_Nodes]:
        """Return what a signature runs whose outputs are these nodes of the graph.

        TensorFlow 2 saves a signature as a function that one node calls, and beside it those that train the model;
        TensorFlow 1 saves a graph.
        """
        callees = set().union(*(self.main.by_name.get(name, set()) for name in nodes))
        used, found = ([], callees) if callees else ([self.main], self.main.calls)
        waiting, seen = list(found), set(found)
        while waiting:
            function = self.functions.get(waiting.pop())
            if function is not None:
                used.append(function)
                waiting += function.calls - seen
                seen |= function.calls
        return used


CUSTOM_UNKNOWN = "which operators are custom, which only TensorFlow tells"


def read(path: Path, signature_name: str | None, operators: bool) -> Description:
    """See `navigator.models.structure.read`."""
    file_path = path / "saved_model.pb"
    if not file_path.is_file():
        unknown = "its signature: saved_model.pbtxt is text, which only TensorFlow reads"
        return Description(model_format=Format.TF_SAVEDMODEL, unknown=(unknown,))
    graphs = []
    with BufferedReader(open_regular(file_path)) as file:
        fields = Fields(file, os.fstat(file.fileno()).st_size)
        graphs = [_meta_graph(fields, value, operators) for number, value in fields if number == 2]  # meta_graphs
    if not graphs:
        raise DamagedError("it holds no graph")
    serving = next((each for each in graphs if each.tags == {_TAG}), None)
    if serving is None:
        found = "; ".join(sorted(", ".join(sorted(each.tags)) or "(none)" for each in graphs))
        raise ConfigurationError(
            f"{path} has no graph with exactly the tag {_TAG!r}, only: {found}", f"save the model with tags=[{_TAG!r}]"
        )
    names = tuple(sorted(name for name in serving.signatures if not name.startswith("_")))
    chosen = _chosen(path, names, signature_name)
    inputs, outputs, nodes = serving.signatures[chosen]
    used = serving.used_by(nodes) if operators else []
    counts = sum((each.operators for each in used), Counter[str]())
    return Description(
        model_format=Format.TF_SAVEDMODEL,
        inputs=inputs,
        outputs=outputs,
        signature_name=chosen,
        signature_names=names,
        producer=f"TensorFlow {serving.version}" if serving.version else "",
        operators=dict(counts.most_common()),
        quantized=any(name.startswith(_QUANTIZED) for name in counts) if operators else None,
        training=any(each.training for each in used) if operators else None,
        unknown=(CUSTOM_UNKNOWN,) if operators else (),
    )


def _chosen(path: Path, names: tuple[str, ...], wanted: str | None) -> str:
    if not names:
        raise SignatureError(f"{path} has no signature", names)
    if wanted is not None:
        if wanted not in names:
            raise SignatureError(f"{path} has no signature {wanted!r}", names)
        return wanted
    if _DEFAULT_SIGNATURE in names:
        return _DEFAULT_SIGNATURE
    if len(names) > 1:
        text = f"{path} has {len(names)} signatures, but none is named {_DEFAULT_SIGNATURE}"
        raise SignatureError(text, names)
    return names[0]


def _meta_graph(fields: Fields, length: int, operators: bool) -> _Graph:
    graph = _Graph()
    for number, value in fields.inside(length):
        match number:
            case 1:  # meta_info_def
                for inner, size in fields.inside(value):
                    if inner == 4:  # tags
                        graph.tags.add(fields.text(size))
                    elif inner == 5:  # tensorflow_version
                        graph.version = fields.text(size)
            case 2 if operators:  # graph_def
                _graph_def(fields, value, graph)
            case 5:  # signature_def
                _signature(fields, value, graph)
    return graph


def _graph_def(fields: Fields, length: int, graph: _Graph) -> None:
    for number, value in fields.inside(length):
        if number == 1:  # node
            _node(fields, value, graph.main)
        elif number == 2:  # library
            for kind, size in fields.inside(value):
                if kind == 1:  # function
                    _function(fields, size, graph)


def _function(fields: Fields, length: int, graph: _Graph) -> None:
    """Read a FunctionDef."""
    name, nodes = "", _Nodes()
    for number, value in fields.inside(length):
        if number == 1:  # signature
            name = _name(fields, value)
        elif number == 3:  # node_def
            _node(fields, value, nodes)
    graph.functions[name] = nodes


def _node(fields: Fields, length: int, nodes: _Nodes) -> None:
    """Read a NodeDef."""
    name = kind = ""
    calls: set[str] = set()
    # Attributes with their default aren't saved, and this is the default.
    is_training = True
    for number, value in fields.inside(length):
        if number == 1:  # name
            name = fields.text(value)
        elif number == 2:  # op
            kind = fields.text(value)
        elif number == 5:  # attr
            key = ""
            for text, size in _entry(fields, value):
                if text is not None:
                    key = text
                    continue
                flag, called = _attribute(fields, size)
                calls |= called
                is_training = flag if key == "is_training" else is_training
    nodes.training |= is_training and kind in _TRAINABLE
    nodes.operators[kind] += 1
    nodes.calls |= calls
    nodes.by_name[name] = calls


def _attribute(fields: Fields, length: int) -> tuple[bool, set[str]]:
    """Return an AttrValue as far as it matters here: whether it's true, and the functions that it names."""
    is_set, called = False, set()
    for number, value in fields.inside(length):
        if number == 5:  # b
            is_set = bool(value)
        elif number == 10:  # func
            called.add(_name(fields, value))
        elif number == 1:  # list
            for kind, size in fields.inside(value):
                if kind == 9:  # func
                    called.add(_name(fields, size))
    return is_set, called


def _name(fields: Fields, length: int) -> str:
    """Return the name of an OpDef or a NameAttrList, which is their first field."""
    return next((fields.text(size) for number, size in fields.inside(length) if number == 1), "")


def _signature(fields: Fields, length: int, graph: _Graph) -> None:
    """Read an entry of signature_def."""
    name = ""
    found: dict[int, list[tuple[TensorSpec, str]]] = {1: [], 2: []}  # inputs, outputs
    for key, value in _entry(fields, length):
        if key is not None:
            name = key
        else:
            for number, size in fields.inside(value):
                if number in found:
                    found[number].append(_tensor(fields, size))
    inputs, outputs = (tuple(sorted((spec for spec, _ in each), key=lambda spec: spec.name)) for each in found.values())
    graph.signatures[name] = inputs, outputs, {node for _, node in found[2]}


def _tensor(fields: Fields, length: int) -> tuple[TensorSpec, str]:
    """Return an input or output, and the node that it's of."""
    name = dtype = node = ""
    shape: tuple[int, ...] | None = None
    for key, value in _entry(fields, length):
        if key is not None:
            name = key
            continue
        for number, inner in fields.inside(value):
            match number:
                case 1:  # name
                    node = fields.text(inner).partition(":")[0]
                case 2:  # dtype
                    dtype = _DTYPES[inner] if inner < len(_DTYPES) else f"type {inner}"
                case 3:  # tensor_shape
                    shape = _shape(fields, inner)
                case 4 | 5:  # coo_sparse, composite_tensor
                    dtype = "sparse" if number == 4 else "composite"
    return TensorSpec(name=name, shape=shape, dtype=dtype), node


def _shape(fields: Fields, length: int) -> tuple[int, ...] | None:
    """Read a TensorShapeProto: the sizes, -1 where they're unknown; None if even their number is."""
    sizes: list[int] = []
    is_known = True
    for number, value in fields.inside(length):
        if number == 2:  # dim
            size = next((each for kind, each in fields.inside(value) if kind == 1), 0)  # size
            sizes.append(size if size < 2**63 else -1)
        elif number == 3 and value:  # unknown_rank
            is_known = False
    return tuple(sizes) if is_known else None


def _entry(fields: Fields, length: int) -> Iterator[tuple[str | None, int]]:
    """Yield the key of an entry of a map, and then (None, the length of its value)."""
    for number, value in fields.inside(length):
        if number == 1:  # key
            yield fields.text(value), 0
        elif number == 2:  # value
            yield None, value
