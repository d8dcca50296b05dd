"""What is read of a SavedModel's protobuf is what TensorFlow reads from it."""
# ruff: noqa: TID253 - the framework is what is tested

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from navigator.errors import ConfigurationError
from navigator.frameworks.opsets import ADDS, DEFAULT, NEEDED
from navigator.frameworks.tensorflow.decomposed import ADDING
from navigator.frameworks.tensorflow.signatures import open_signature
from navigator.frameworks.tensorflow.tf2onnx_patches import custom_op_handlers
from navigator.models import structure
from navigator.records import Format
from navigator.runners.inspection import completed


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a module with a signature for serving, and one that trains."""
    module = tf.Module()
    module.weight = tf.Variable(tf.ones([4, 3]))
    inner = tf.function(lambda x: tf.tanh(x @ module.weight))

    def serve(x: Any, k: Any, any_rank: Any) -> dict[str, Any]:
        return {"scores": inner(x), "again": tf.cast(k, tf.uint8), "rank": tf.rank(any_rank)}

    def train(image: Any) -> dict[str, Any]:
        ones = tf.ones([3])
        normal, *_ = tf.compat.v1.nn.fused_batch_norm(image, ones, ones, is_training=True)
        return {"normal": normal}

    takes = [tf.TensorSpec([None, 4], tf.float32), tf.TensorSpec([], tf.int64), tf.TensorSpec(None, tf.float16)]
    module.serve = tf.function(serve, input_signature=takes)
    module.train = tf.function(train, input_signature=[tf.TensorSpec([2, 4, 4, 3], tf.float32)])
    path = tmp_path_factory.mktemp("saved") / "m"
    tf.saved_model.save(module, str(path), signatures={"serve": module.serve, "train": module.train})
    return path


@pytest.mark.parametrize("name", ["serve", "train"])
def test_signatures_are_those_that_tensorflow_loads(saved: Path, name: str) -> None:
    read = structure.read(saved, Format.TF_SAVEDMODEL, name)

    opened = open_signature(saved, name)
    assert (read.inputs, read.outputs) == (opened.signature.inputs, opened.signature.outputs)
    assert (read.signature_name, read.signature_names) == (name, ("serve", "train"))
    assert read.producer == f"TensorFlow {tf.__version__}"


def test_operators_and_training_are_those_of_the_signature(saved: Path) -> None:
    served, trained = (structure.read(saved, Format.TF_SAVEDMODEL, name) for name in ("serve", "train"))

    assert {"MatMul", "Tanh", "Cast"} <= served.operators.keys()
    assert "FusedBatchNormV3" not in served.operators
    assert (served.training, trained.training) == (False, True)


def test_the_table_is_what_the_exporter_lacks_at_the_default_opset() -> None:
    import tf2onnx.tfonnx  # noqa: F401 - knows the operations
    from tf2onnx.constants import OPSET_TO_IR_VERSION
    from tf2onnx.handler import tf_op

    def known(opset: int) -> set[str]:
        return {*tf_op.create_mapping(opset, None), *custom_op_handlers(opset)}

    lacking = {
        name: opset for opset in range(max(OPSET_TO_IR_VERSION), DEFAULT, -1) for name in known(opset) - known(DEFAULT)
    }

    assert lacking | dict.fromkeys(ADDING, ADDS) == NEEDED[Format.TF_SAVEDMODEL]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (None, "has 2 signatures, but none is named serving_default"),
        ("other", "has no signature 'other'"),
    ],
)
def test_a_signature_that_is_not_there_is_refused(saved: Path, wanted: str | None, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as raised:
        structure.read(saved, Format.TF_SAVEDMODEL, wanted)

    assert raised.value.hint == "set signature_name to one of: serve, train"


def test_a_truncated_file_is_refused(saved: Path, tmp_path: Path) -> None:
    data = (saved / "saved_model.pb").read_bytes()
    for part in (0, 1, len(data) // 2, len(data) - 1):
        (tmp_path / "saved_model.pb").write_bytes(data[:part])
        with pytest.raises(ConfigurationError, match="is damaged or truncated"):
            structure.read(tmp_path, Format.TF_SAVEDMODEL)


def test_operators_of_other_libraries_are_told_though_tensorflow_cannot_load_them(tmp_path: Path) -> None:
    """TensorFlow knows which ones it has, and the file which there are."""
    module = tf.Module()
    spec = tf.TensorSpec([None, 4, 4, 1], tf.float32, name="x")
    module.run = tf.function(lambda x: {"y": tf.image.resize(x, [8, 8], method="bicubic")}, input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path / "own"), signatures=module.run)
    described = completed(structure.read(tmp_path / "own", Format.TF_SAVEDMODEL), tmp_path / "own")
    assert "ResizeBicubic" in described.operators
    assert described.custom_operators == ()
    assert described.unknown == ()

    file = tmp_path / "own" / "saved_model.pb"
    file.write_bytes(file.read_bytes().replace(b"ResizeBicubic", b"ResizeStrange"))
    described = completed(structure.read(tmp_path / "own", Format.TF_SAVEDMODEL), tmp_path / "own")
    assert described.custom_operators == ("ResizeStrange",)
    assert described.unknown == ()
