"""A SavedModel's function with other rounding: what the last bits of its variables change."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def perturbed(function: Any) -> Iterator[None]:
    """Run with every floating-point variable of a concrete function one step away; back afterwards."""
    whole = {"float16": "int16", "bfloat16": "int16", "float32": "int32", "float64": "int64"}
    flipped = [each for each in function.variables if each.dtype.name in whole and _is_finite(each)]
    try:
        for each in flipped:
            _flip(each, whole[each.dtype.name])
        yield
    finally:
        for each in flipped:
            _flip(each, whole[each.dtype.name])


def _flip(variable: Any, whole: str) -> None:
    import tensorflow as tf

    bits = tf.bitcast(variable, whole)
    variable.assign(tf.bitcast(tf.bitwise.bitwise_xor(bits, tf.ones_like(bits)), variable.dtype))


def _is_finite(variable: Any) -> bool:
    import tensorflow as tf

    return bool(tf.reduce_all(tf.math.is_finite(variable)))
