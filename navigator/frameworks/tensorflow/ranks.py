"""What TensorFlow ranks, moved by a few last digits: where scores saturate, only rounding says which is larger.

A sigmoid of 17 is 1 in TensorFlow, and may be the number before 1 in another runtime. So a few boxes or classes have
equal scores in one of them, and not in the other.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from navigator.frameworks.tensorflow.rewritten import insert_call, rewritten
from navigator.frameworks.tensorflow.signatures import OpenedSignature

# TensorFlow's objects; the package ships no types that hold for every version.
_Tf = Any

# Operations that rank, and which of their inputs.
_RANKING = {
    "CombinedNonMaxSuppression": 1,
    **dict.fromkeys((f"NonMaxSuppression{version}" for version in ("", "V2", "V3", "V4", "V5")), 1),
    "TopKV2": 0,
}

_SEED = "navigator_seed"

# How far a value moves, in steps of its type: a sigmoid or softmax is off by a few.
_STEPS = 8

# Orders of what is alike, each forth and back.
_ORDERS = 3

# The graph of constants, its copy, and what runs.
_MEMORY_FACTOR = 4


def reranking(opened: OpenedSignature) -> Callable[..., dict[str, _Tf]]:
    """Return what runs a signature with other last digits of what it ranks; see `orders`.

    Raises:
        Exception: see `navigator.frameworks.tensorflow.rewritten`.
    """
    import tensorflow as tf

    moving = {
        dtype: tf.function(partial(_moved, tf)).get_concrete_function(
            tf.TensorSpec(None, dtype), tf.TensorSpec([2], tf.int32)
        )
        for dtype in (tf.float32, tf.float64)
    }

    def change(graph: _Tf) -> None:
        graph.node.add(name=_SEED, op="Placeholder").attr["dtype"].type = tf.int32.as_datatype_enum
        for node in list(graph.node):
            # All of a CombinedNonMaxSuppression's are float32.
            dtype = tf.as_dtype(node.attr["T"].type) if "T" in node.attr else tf.float32
            if node.op in _RANKING and dtype in moving:
                place, name = _RANKING[node.op], f"{node.name}/moved"
                insert_call(graph, moving[dtype], name, [node.input[place], _SEED])
                node.input[place] = name

    return rewritten(opened, change, memory_factor=_MEMORY_FACTOR, more=[_SEED])


def orders(opened: OpenedSignature, run: Callable[..., dict[str, _Tf]]) -> Iterator[OpenedSignature]:
    """Yield a signature that ranks what is alike in some order, and then in the reverse one, a few times."""
    import tensorflow as tf

    for number in range(_ORDERS):
        for sign in (1, -1):
            yield replace(opened, function=partial(run, **{_SEED: tf.constant([number, sign])}))


def _moved(tf: _Tf, values: _Tf, seed: _Tf) -> _Tf:
    """Return values that are a few steps away. Counts, infinities and zeros stay, since no rounding makes them.

    Nor does it make ones, except of scores, which are at most 1 and not all of them whole: those are saturated.
    """
    step = _STEPS * float(np.finfo(values.dtype.as_numpy_dtype).eps)
    draws = tf.random.stateless_uniform(tf.shape(values), [seed[0], 0], -1, 1, values.dtype)
    away = values * (1 + step * tf.cast(seed[1], values.dtype) * draws)
    whole, ones = tf.round(values) == values, tf.abs(values) == 1
    are_scores = tf.reduce_all(tf.abs(values) <= 1) & (tf.reduce_all(ones) | ~tf.reduce_all(whole))
    return tf.where(whole & ~(ones & are_scores), values, away)
