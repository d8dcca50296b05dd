"""A SavedModel's function with other rounding: what the last bits of its variables change."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from navigator.frameworks.steps import steps
from navigator.frameworks.tensorflow.randomness import operations

_WHOLE = {"float16": "int16", "float32": "int32", "float64": "int64"}

_QUANTIZING = ("FakeQuant", "QuantizeAndDequantize")

# The bit of a float32 that is worth half a step of float16.
_HALF_STEP = 1 << 12


def casts_to_half(function: Any) -> bool:
    """Return whether a concrete function, or one that it calls, casts floats to float16, as Keras's mixed precision."""
    import tensorflow as tf

    half = tf.float16.as_datatype_enum
    return any(node.op == "Cast" and node.attr["DstT"].type == half for node in operations(function))


def quantizes(function: Any) -> bool:
    """Return whether a concrete function, or one that it calls, rounds to few levels, as trained to be quantized."""
    return any(node.op.startswith(_QUANTIZING) for node in operations(function))


@contextmanager
def perturbed(function: Any) -> Iterator[None]:
    """Run with every floating-point variable of a concrete function one step away; back afterwards.

    Those in float32 are half a step of float16 away if the function casts to that.
    """
    step = _HALF_STEP if casts_to_half(function) else 1
    whole = {**_WHOLE, "bfloat16": "int16"}
    flipped = [each for each in function.variables if each.dtype.name in whole and _is_finite(each)]
    try:
        for each in flipped:
            _flip(each, whole[each.dtype.name], step)
        yield
    finally:
        for each in flipped:
            _flip(each, whole[each.dtype.name], step)


@contextmanager
def nudged(function: Any, seed: int, sign: int) -> Iterator[None]:
    """Run with every floating-point variable of a concrete function some steps away; back afterwards."""
    kept = [(each, each.numpy()) for each in function.variables if each.dtype.name in _WHOLE]
    try:
        for number, (variable, before) in enumerate(kept):
            bits = before.view(_WHOLE[variable.dtype.name])
            variable.assign((bits + sign * steps(bits, seed + number)).view(before.dtype))
        yield
    finally:
        for variable, before in kept:
            variable.assign(before)


def _flip(variable: Any, whole: str, step: int) -> None:
    import tensorflow as tf

    bits = tf.bitcast(variable, whole)
    mask = tf.fill(tf.shape(bits), tf.constant(step if variable.dtype == tf.float32 else 1, bits.dtype))
    variable.assign(tf.bitcast(tf.bitwise.bitwise_xor(bits, mask), variable.dtype))


def _is_finite(variable: Any) -> bool:
    import tensorflow as tf

    return bool(tf.reduce_all(tf.math.is_finite(variable)))
