"""The weights of an ONNX model one step of their dtype away, to measure what rounding does to its outputs."""

import math
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from navigator.frameworks.onnx.weights import FEWEST_CONSTANTS, Proto, inner, values

# Fewer numbers aren't learned.
_FEWEST_WEIGHTS = 2

# Of float16 as a whole number, without its sign: the largest finite one.
_LARGEST_HALF = 0x7BFF

# Fits into a core's cache.
_PIECE = 2**16

_WHOLE: dict[int, Any] = {2: np.int16, 4: np.int32, 8: np.int64}


def stepped(model: Proto, path: Path, stay: Collection[str] = ()) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name and the values of each weight with its last bits flipped: one step of its dtype away.

    Those among the nodes change in `model`. Single numbers stay, such as exponents and epsilons, and so do zeros, since
    arithmetic with the smallest numbers is slow, and weights with infinities.

    Args:
        model: was read without its external data.
        path: from there.
        stay: the initializers that stay, too.
    """
    from onnx import numpy_helper

    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) >= _FEWEST_WEIGHTS and tensor.name not in stay:
            found = np.require(values(tensor, path), requirements="W")
            if _flip(found):
                yield tensor.name, found
    for tensor in inner(model):
        found = np.array(numpy_helper.to_array(tensor))
        if _flip(found):
            tensor.CopyFrom(numpy_helper.from_array(found, tensor.name))


def _flip(numbers: np.ndarray) -> bool:
    """Flip the last bits of numbers, in place; return whether they're finite floats. If not, some may be flipped.

    A piece at a time: gigabytes are brought from memory once.
    """
    if numbers.dtype.kind != "f":
        return False
    flat = numbers.reshape(-1)
    for start in range(0, flat.size, _PIECE):
        piece = flat[start : start + _PIECE]
        if not np.isfinite(piece).all():
            return False
        piece.view(_WHOLE[piece.dtype.itemsize])[...] ^= piece != 0
    return True


def shaken(model: Proto, path: Path, seed: int) -> list[tuple[str, np.ndarray]]:
    """Return the name and the values of each float16 weight, half of the numbers one step up or down.

    Those among the nodes change in `model`. Zeros and the largest numbers stay, and so do short weights.

    Args:
        model: was read without its external data.
        path: from there.
        seed: of the choice.
    """
    from onnx import TensorProto, numpy_helper

    rng = np.random.default_rng(seed)
    found = [
        (tensor.name, _shake(values(tensor, path), rng))
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT16 and math.prod(tensor.dims) >= FEWEST_CONSTANTS
    ]
    for tensor in inner(model):
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(numpy_helper.from_array(_shake(numpy_helper.to_array(tensor), rng), tensor.name))
    return found


def _shake(weight: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    values = np.array(weight)
    whole = values.view(_WHOLE[2])
    size = whole & 0x7FFF
    steps = rng.choice(np.array([-1, 0, 0, 1], np.int16), values.shape)
    whole += steps * ((size > 0) & (size < _LARGEST_HALF))
    return values
