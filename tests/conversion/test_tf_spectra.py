"""Fourier transforms of signals in SavedModels, as audio models begin with."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from navigator.converters import tf_savedmodel_to_onnx
from navigator.converters.protocol import Conversion
from navigator.errors import StepError
from navigator.records import Signature
from navigator.runners import onnx as onnx_runner
from navigator.runners import tf_savedmodel


def converted(directory: Path, function: Callable[[Any], Mapping[str, Any]], opset: int) -> tuple[Any, Any]:
    """Save a function of signals of any number and length, and return it and its conversion."""
    import tensorflow as tf

    module = tf.Module()
    module.run = tf.function(function, input_signature=[tf.TensorSpec([None, None], tf.float32, name="x")])
    tf.saved_model.save(module, str(directory / "m"), signatures=module.run)
    options = tf_savedmodel_to_onnx.Options(opset=opset)
    path = directory / "m.onnx"
    tf_savedmodel_to_onnx.convert(
        Conversion(source=directory / "m", destination=path, options=options, raise_from=None)
    )
    model = tf_savedmodel.load(directory / "m", declared=Signature(inputs=(), outputs=()))
    return model, onnx_runner.load(path, declared=model.signature)


@pytest.mark.parametrize("opset", [12, 17])
def test_magnitudes_and_parts_are_tensorflows(tmp_path: Path, opset: int) -> None:
    import tensorflow as tf

    def spectra(x: Any) -> dict[str, Any]:
        frames, cut = tf.signal.stft(x, 25, 10, 32), tf.signal.rfft(x, [31])
        parts = {"real": tf.math.real(frames), "imag": tf.math.imag(frames)}
        return {**parts, "magnitude": tf.abs(frames), "cut": tf.math.imag(cut), "power": tf.abs(cut) ** 2}

    model, loaded = converted(tmp_path, spectra, opset)
    for shape in ((1, 32), (3, 107)):
        x = {"x": np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
        made = loaded.infer(x)
        for name, right in model.infer(x).items():
            np.testing.assert_allclose(made[name], right, rtol=1e-5, atol=1e-5, err_msg=name)


def test_what_computes_with_complex_numbers_is_refused(tmp_path: Path) -> None:
    """An axis that's cut, for one, would be another than in TensorFlow."""
    import tensorflow as tf

    with pytest.raises(StepError, match="RFFT is read by"):
        converted(tmp_path, lambda x: {"y": tf.abs(tf.signal.rfft(x, [16])[:, 1:])}, 17)
