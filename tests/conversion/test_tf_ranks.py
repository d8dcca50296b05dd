"""What TensorFlow ranks, where only rounding says which of some scores is larger: sigmoids that are all but 1."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from navigator.converters import tf_savedmodel_to_onnx
from navigator.converters.protocol import Conversion
from navigator.records import Signature
from navigator.runners import onnx as onnx_runner
from navigator.runners import tf_savedmodel
from navigator.verify.compare import verify
from navigator.verify.ties import all_settled
from navigator.workers import ties

NOTHING = Signature(inputs=(), outputs=())
RNG = np.random.default_rng(0)

# Some of these are above 17, from where a sigmoid is 1 in float32, and most of some samples are.
SAMPLES = [(str(scale), {"x": (RNG.standard_normal((4, 60)) * scale).astype(np.float32)}) for scale in (1, 6, 15, 40)]


def saved(path: Path, function: Callable[[Any], Mapping[str, Any]]) -> tf_savedmodel._LoadedSavedModel:
    """Save a function of x [rows, 60] and load it."""
    import tensorflow as tf

    module = tf.Module()
    module.run = tf.function(function, input_signature=[tf.TensorSpec([None, 60], tf.float32, name="x")])
    tf.saved_model.save(module, str(path), signatures=module.run)
    return tf_savedmodel.load(path, declared=NOTHING)


def test_saturated_scores_may_be_ranked_otherwise_and_nothing_else(tmp_path: Path) -> None:
    import tensorflow as tf

    model = saved(tmp_path / "m", lambda x: dict(zip("vi", tf.math.top_k(tf.sigmoid(x), 20), strict=True)))
    options = tf_savedmodel_to_onnx.Options(opset=17)
    tf_savedmodel_to_onnx.convert(
        Conversion(source=tmp_path / "m", destination=tmp_path / "m.onnx", options=options, raise_from=None)
    )
    converted = onnx_runner.load(tmp_path / "m.onnx", declared=model.signature)
    reference = [(name, model.infer(inputs)) for name, inputs in SAMPLES]
    outputs = [(name, converted.infer(inputs)) for name, inputs in SAMPLES]

    undefined = ties.undefined(model, SAMPLES, reference)

    def passes(actual: Any, masks: Any = undefined) -> bool:
        settled = all_settled(reference, actual, masks)
        return verify(reference, settled, atol={"": 1e-5}, rtol={"": 1e-5}).passed

    assert not passes(outputs, [])
    assert passes(outputs)
    assert "1" not in dict(undefined), "scores that differ have an order"
    assert all(masks.keys() == {"i"} for _, masks in undefined)
    planted: list[Callable[[np.ndarray], np.ndarray]] = [
        lambda a: a + 1,
        lambda a: a[:, ::-1],
        lambda a: a[:, [1, 0, *range(2, 20)]],
        lambda a: np.concatenate([a[1:], a[:1]]),
    ]
    for change in planted:
        assert not passes([(name, {**arrays, "i": change(arrays["i"])}) for name, arrays in outputs])
    (note,) = ties.notes(model, reference, undefined)
    assert "order in which TopKV2 returns values that only rounding tells apart" in note


def test_zeros_and_counts_keep_the_order_that_tensorflow_defines(tmp_path: Path) -> None:
    import tensorflow as tf

    def ranked(x: Any) -> dict[str, Any]:
        return {
            "a": tf.argsort(tf.nn.relu(x - 1)),
            "b": tf.argsort(tf.round(x)),
            "mask": tf.argsort(tf.cast(x > 0, tf.float32)),
            "c": tf.math.top_k(tf.cast(x, tf.int32), 9)[1],
        }

    model = saved(tmp_path / "m", ranked)
    assert ties.undefined(model, SAMPLES[:2], [(name, model.infer(inputs)) for name, inputs in SAMPLES[:2]]) == []


def _boxes(x: Any) -> tuple[Any, Any]:
    import tensorflow as tf

    corners = tf.abs(tf.reshape(x[:, :48], [-1, 4]))
    return corners + tf.constant([0.0, 0.0, 9.0, 9.0]), tf.sigmoid(tf.reshape(x[:, 48:], [-1]))


def _combined(x: Any) -> dict[str, Any]:
    import tensorflow as tf

    boxes, scores = _boxes(x)
    found = tf.image.combined_non_max_suppression(
        boxes[None, :, None], scores[None, :, None], 20, 20, 0.99, 0.1, clip_boxes=False
    )
    return {"boxes": found[0]}


def _single(x: Any) -> dict[str, Any]:
    import tensorflow as tf

    return {"chosen": tf.image.non_max_suppression(*_boxes(x), 20, 0.99)}


def _scored(x: Any) -> dict[str, Any]:
    import tensorflow as tf

    return {"chosen": tf.image.non_max_suppression_with_scores(*_boxes(x), 20, 0.99)[0]}


@pytest.mark.parametrize("function", [_combined, _single, _scored])
def test_boxes_are_chosen_in_other_orders_where_scores_saturate(tmp_path: Path, function: Any) -> None:
    model = saved(tmp_path / "m", function)
    known, saturated = ({"x": inputs["x"]} for _, inputs in (SAMPLES[0], SAMPLES[3]))
    assert ties.at(model, known, model.infer(known)) == {}
    (mask,) = ties.at(model, saturated, model.infer(saturated)).values()
    assert mask.any()
