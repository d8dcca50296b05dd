"""The weights in an ONNX file that `navigator.converters.onnx_to_typed_onnx` wrote, and what they're made from.

Reads one at a time. A weight keeps its name where it's as it was, and else has it in its new name.
"""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from navigator.frameworks.onnx import file as onnx_file
from navigator.frameworks.onnx import fp16 as onnx_fp16
from navigator.frameworks.onnx import int8 as onnx_int8
from navigator.frameworks.onnx.stored import named
from navigator.frameworks.onnx.weights import Proto, values
from navigator.models.stored import Reduced

_DEQUANTIZES = "DequantizeLinear"

# What makes a name that nothing has yet may add more underscores.
_HALF = re.compile(rf"{onnx_fp16.SUFFIX}_*$")
_STEPS = re.compile(rf"{onnx_int8.STORED}{onnx_int8.SUFFIX}_*$")


def weights(path: Path) -> list[Reduced]:
    """Return the floats that the file at `path` stores, and those stored as int8. The scales of these aren't told.

    Raises:
        StepError: it isn't an ONNX file.
    """
    from onnx import TensorProto

    model = onnx_file.structure(path)
    tensors = dict(named(model))
    quantized = {each.name: each for each in _quantized(model, tensors, path)}
    scales = {node.input[1] for node in model.graph.node if node.op_type == _DEQUANTIZES and node.input[0] in quantized}
    found = list(quantized.values())
    for name, tensor in tensors.items():
        half = tensor.data_type == TensorProto.FLOAT16
        if (half or tensor.data_type in (TensorProto.FLOAT, TensorProto.DOUBLE)) and name not in scales:
            origins = (name, _HALF.sub("", name)) if half else (name,)
            read = partial(_floats, tensor, path)
            found.append(Reduced(name, origins, tuple(tensor.dims), read))
    return found


def _quantized(model: Proto, tensors: Mapping[str, Proto], path: Path) -> Iterator[Reduced]:
    """Yield the weights that are stored as int8."""
    for node in model.graph.node:
        if node.op_type != _DEQUANTIZES or not all(each in tensors for each in node.input):
            continue
        name, scale = node.input[:2]
        if len(tensors[scale].dims) > 1:
            continue  # of blocks, as no conversion here makes them
        axis = next((each.i for each in node.attribute if each.name == "axis"), None)
        origin = _STEPS.sub("", name)
        origin = origin if axis is None else origin.removesuffix(f"_{axis}")
        read = partial(_dequantized, [tensors[each] for each in node.input], axis, path)
        yield Reduced(name, (origin,), tuple(tensors[name].dims), read)


def _floats(tensor: Proto, path: Path) -> tuple[np.ndarray, np.ndarray]:
    found = values(tensor, path)
    if found.dtype != np.float16:
        return found, np.zeros((), found.dtype)
    with np.errstate(invalid="ignore"):  # no step leads from infinity
        return found.astype(np.float32), np.spacing(np.abs(found)).astype(np.float32)


def _dequantized(tensors: list[Proto], axis: int | None, path: Path) -> tuple[np.ndarray, np.ndarray]:
    steps, scale, *zero = (values(each, path) for each in tensors)
    along = [-1 if each == axis else 1 for each in range(steps.ndim)] if scale.ndim else []
    scale, *zero = (each.astype(np.float32).reshape(along) for each in (scale, *zero))
    return (steps - sum(zero)) * scale, scale
