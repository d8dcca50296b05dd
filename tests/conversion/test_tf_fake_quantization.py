"""SavedModels that were trained to be quantized: levels are TensorFlow's, and the last digit decides between two."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from navigator.converters import tf_savedmodel_to_onnx
from navigator.converters.protocol import Conversion
from navigator.records import Signature
from navigator.runners import onnx as onnx_runner
from navigator.runners import tf_savedmodel
from navigator.workers.undecided import runs

# The zero point of the first is 127.49999 in float32, and those of the last two are beyond all levels.
ENDS = [(-2.0, 2.0), (-6.0, 6.0), (0.0, 6.0), (-0.3, 1.7), (0.5, 3.0), (-3.0, -1.0)]


def saved(path: Path, function: Any) -> tf_savedmodel._LoadedSavedModel:
    import tensorflow as tf

    module = tf.Module()
    module.run = tf.function(function, input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    tf.saved_model.save(module, str(path), signatures=module.run)
    return tf_savedmodel.load(path, declared=Signature(inputs=(), outputs=()))


def convert(source: Path, destination: Path) -> None:
    options = tf_savedmodel_to_onnx.Options(opset=13)
    tf_savedmodel_to_onnx.convert(Conversion(source=source, destination=destination, options=options, raise_from=None))


def test_levels_are_tensorflows(tmp_path: Path) -> None:
    import onnx
    import tensorflow as tf

    def levels(x: Any) -> dict[str, Any]:
        of_args, of_vars = tf.quantization.fake_quant_with_min_max_args, tf.quantization.fake_quant_with_min_max_vars
        kinds = (("args", of_args), ("vars", of_vars))
        return {f"{kind}_{place}": call(x, *ends) for kind, call in kinds for place, ends in enumerate(ENDS)}

    model = saved(tmp_path / "m", levels)
    convert(tmp_path / "m", tmp_path / "m.onnx")
    loaded = onnx_runner.load(tmp_path / "m.onnx", declared=model.signature)
    # No place where two levels meet, of which TensorFlow takes the upper one and ONNX the even one.
    x = {"x": np.linspace(-7, 7, 10_007, dtype=np.float32)}
    made = loaded.infer(x)
    for name, right in model.infer(x).items():
        wrong = np.abs(made[name] - right) > 1e-5
        assert wrong.mean() < 1e-3, name
    kinds = {node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds <= {"QuantizeLinear", "DequantizeLinear", "Identity"}


def test_other_levels_are_tensorflows_too(tmp_path: Path) -> None:
    """Weights have a level less and ends for each channel, after quantization-aware training."""
    import tensorflow as tf

    of_args, of_vars = tf.quantization.fake_quant_with_min_max_args, tf.quantization.fake_quant_with_min_max_vars
    of_channels = tf.quantization.fake_quant_with_min_max_vars_per_channel
    low, high = (list(each) for each in zip(*ENDS, strict=True))

    def levels(x: Any) -> dict[str, Any]:
        channels = x[:, None] + tf.zeros([len(ENDS)])
        return {
            "fewer": of_args(x, -2.0, 3.0, num_bits=4),
            "narrow": of_vars(x, -2.0, 2.0, narrow_range=True),
            "channels": of_channels(channels, low, high),
            "weights": of_channels(channels, low, high, narrow_range=True),
        }

    model = saved(tmp_path / "m", levels)
    convert(tmp_path / "m", tmp_path / "m.onnx")
    loaded = onnx_runner.load(tmp_path / "m.onnx", declared=model.signature)
    x = {"x": np.linspace(-7, 7, 10_007, dtype=np.float32)}
    made = loaded.infer(x)
    for name, right in model.infer(x).items():
        assert (np.abs(made[name] - right) > 1e-5).mean() < 1e-3, name


@pytest.mark.parametrize("quantizes", [True, False])
def test_floats_are_undecided_where_levels_meet(tmp_path: Path, quantizes: bool) -> None:
    import tensorflow as tf

    function = tf.quantization.fake_quant_with_min_max_args if quantizes else tf.identity
    model = saved(tmp_path / "m", lambda x: {"y": function(x)})
    assert model.quantizes is quantizes
    # The second is where two levels meet.
    given = {"x": np.array([-0.3, 116.5 * 12 / 255, 5.9], np.float32)}
    found = [arrays["y"] for _, arrays in runs(model, [("s", given)])]
    assert len({array[0] for array in found}) == 1
    assert len({array[1] for array in found}) == (2 if quantizes else 1)
