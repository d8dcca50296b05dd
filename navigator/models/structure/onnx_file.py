"""Reads the structure of an ONNX file: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto (1.23).

Fields have only a number in the file; comments beside the numbers give their names.
"""

import os
from collections import Counter
from dataclasses import dataclass, field, replace
from io import BufferedReader
from pathlib import Path

from navigator.models.reading import open_regular
from navigator.models.wire import Fields, UnreadableError
from navigator.records import AxisSpec, Description, Format, TensorSpec

# TensorProto.DataType by the names of NumPy, where it has one.
_DTYPES = (
    *("undefined", "float32", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool", "float16"),
    *("float64", "uint32", "uint64", "complex64", "complex128", "bfloat16", "float8_e4m3fn", "float8_e4m3fnuz"),
    *("float8_e5m2", "float8_e5m2fnuz", "uint4", "int4", "float4_e2m1", "float8_e8m0fnu", "uint2", "int2"),
)
# What TypeProto holds instead of a tensor's type, by field.
_OTHER_TYPES = {4: "sequence", 5: "map", 8: "sparse", 9: "optional"}

# Domains of onnx itself, and of ONNX Runtime's own operators.
_KNOWN_DOMAINS = frozenset({"ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training", "com.microsoft"})
_QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinear", "MatMulInteger", "ConvInteger")
_DEEPEST = 32


@dataclass(kw_only=True, slots=True)
class _Found:
    """What is known so far."""

    inputs: list[TensorSpec] = field(default_factory=list)
    outputs: list[TensorSpec] = field(default_factory=list)
    axes: dict[str, tuple[AxisSpec, ...]] = field(default_factory=dict)
    initializers: set[str] = field(default_factory=set)
    operators: Counter[tuple[str, str]] = field(default_factory=Counter)
    functions: set[tuple[str, str]] = field(default_factory=set)
    opsets: dict[str, int] = field(default_factory=dict)
    producer: list[str] = field(default_factory=list)
    training: bool = False


def read(path: Path, _signature_name: str | None, operators: bool) -> Description:
    """See `navigator.models.structure.read`."""
    found = _Found()
    with BufferedReader(open_regular(path)) as file:
        fields = Fields(file, os.fstat(file.fileno()).st_size)
        for number, value in fields:
            match number:
                case 2 | 3:  # producer_name, producer_version
                    found.producer.append(fields.text(value))
                case 7:  # graph
                    _graph(fields, value, found, operators=operators, depth=0)
                case 8:  # opset_import
                    read_opset(fields, value, found.opsets)
                case 20:  # training_info
                    found.training = True
                case 25 if operators:  # functions
                    _function(fields, value, found)
    described = Description(
        model_format=Format.ONNX,
        inputs=tuple(spec for spec in found.inputs if spec.name not in found.initializers),
        outputs=tuple(found.outputs),
        axes=found.axes,
        producer=" ".join(filter(None, found.producer)),
        opsets=found.opsets,
    )
    return _with_operators(described, found) if operators else described


def _with_operators(described: Description, found: _Found) -> Description:
    own = {key: count for key, count in found.operators.items() if key not in found.functions}
    used = {domain or "ai.onnx" for domain, _ in found.operators}
    names = {key: key[1] if key[0] in ("", "ai.onnx") else ".".join(key) for key in own}
    return replace(
        described,
        # Exporters declare domains that no operator is of.
        opsets={domain: version for domain, version in found.opsets.items() if domain in used},
        operators={names[key]: count for key, count in sorted(own.items(), key=lambda pair: (-pair[1], pair[0]))},
        custom_operators=tuple(sorted(names[key] for key in own if key[0] and key[0] not in _KNOWN_DOMAINS)),
        quantized=any(name.startswith(_QUANTIZED) for _, name in own),
        training=found.training,
    )


def _graph(fields: Fields, length: int, found: _Found, *, operators: bool, depth: int) -> None:
    """Read a GraphProto; of the branches and loop bodies below the outermost one, only the operators."""
    if depth > _DEEPEST:
        raise UnreadableError(f"branches and loops are nested more than {_DEEPEST} levels deep")
    for number, value in fields.inside(length):
        match number:
            case 1 if operators:  # node
                _node(fields, value, found, depth)
            case 5 if depth == 0:  # initializer
                found.initializers.add(_name(fields, value))
            case 15 if depth == 0:  # sparse_initializer
                names = [_name(fields, size) for inner, size in fields.inside(value) if inner == 1]  # values
                found.initializers.update(names)
            case 11 if depth == 0:  # input
                found.inputs.append(_value(fields, value, found))
            case 12 if depth == 0:  # output
                found.outputs.append(_value(fields, value, found))


def _node(fields: Fields, length: int, found: _Found, depth: int) -> None:
    """Count the operator of a NodeProto, and those of its branches and loop bodies."""
    kind = domain = ""
    for number, value in fields.inside(length):
        if number == 4:  # op_type
            kind = fields.text(value)
        elif number == 7:  # domain
            domain = fields.text(value)
        elif number == 5:  # attribute
            _attribute(fields, value, found, depth)
    found.operators[domain, kind] += 1


def _attribute(fields: Fields, length: int, found: _Found, depth: int) -> None:
    """Read the graphs of an AttributeProto, and whether it sets training mode."""
    name = ""
    for number, value in fields.inside(length):
        if number == 1:  # name
            name = fields.text(value)
        elif number == 3 and name == "training_mode" and value:  # i
            found.training = True
        elif number in (6, 11):  # g, graphs
            _graph(fields, value, found, operators=True, depth=depth + 1)


def _function(fields: Fields, length: int, found: _Found) -> None:
    """Count the operators of a FunctionProto, and note that it isn't an operator itself."""
    name = domain = ""
    for number, value in fields.inside(length):
        if number == 1:  # name
            name = fields.text(value)
        elif number == 10:  # domain
            domain = fields.text(value)
        elif number == 7:  # node
            _node(fields, value, found, 1)
    found.functions.add((domain, name))


def read_opset(fields: Fields, length: int, opsets: dict[str, int]) -> None:
    """Note the opset that the next `length` bytes, an OperatorSetIdProto, declare.

    Raises:
        DamagedError: these aren't fields.
    """
    domain, version = "", 0
    for number, value in fields.inside(length):
        if number == 1:  # domain
            domain = fields.text(value)
        elif number == 2:  # version
            version = value
    opsets[domain or "ai.onnx"] = version


def _value(fields: Fields, length: int, found: _Found) -> TensorSpec:
    """Read an input or output, a ValueInfoProto, and note the names of its axes' sizes."""
    name, dtype = "", ""
    shape: tuple[int, ...] | None = None
    names: list[str] = []
    for number, value in fields.inside(length):
        if number == 1:  # name
            name = fields.text(value)
        elif number == 2:  # type
            dtype, shape, names = _type(fields, value)
    if any(names):
        found.axes[name] = tuple(AxisSpec(size=each) for each in names)
    return TensorSpec(name=name, shape=shape, dtype=dtype)


def _type(fields: Fields, length: int) -> tuple[str, tuple[int, ...] | None, list[str]]:
    """Read a TypeProto: the dtype, the shape, None if that's unknown, and the names of the axes' sizes."""
    dtype = ""
    shape: tuple[int, ...] | None = None
    names: list[str] = []
    for kind, size in fields.inside(length):
        if kind != 1:  # tensor_type
            dtype = _OTHER_TYPES.get(kind, dtype)
            continue
        for number, value in fields.inside(size):
            if number == 1:  # elem_type
                dtype = _DTYPES[value] if value < len(_DTYPES) else f"type {value}"
            elif number == 2:  # shape
                shape, names = _shape(fields, value)
    return dtype, shape, names


def _shape(fields: Fields, length: int) -> tuple[tuple[int, ...], list[str]]:
    """Read a TensorShapeProto: the sizes, -1 where they're unknown, and their names, "" where they have none."""
    sizes, names = [], []
    for number, value in fields.inside(length):
        if number == 1:  # dim
            size, name = -1, ""
            for kind, inner in fields.inside(value):
                if kind == 1:  # dim_value
                    size = inner if inner < 2**63 else -1
                elif kind == 2:  # dim_param
                    name = fields.text(inner)
            sizes.append(size)
            names.append(name)
    return tuple(sizes), names


def _name(fields: Fields, length: int) -> str:
    """Return the name of a TensorProto."""
    name = ""
    for number, value in fields.inside(length):
        if number == 8:  # name
            name = fields.text(value)
    return name
