"""SavedModel to TF-TRT on a real GPU, with TensorFlow 2.17 and its TensorRT; each conversion in its own worker."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from navigator.converters.tf_savedmodel_to_tf_trt import Options
from navigator.records import Precision, Properties, Signature, from_data
from navigator.runners.tf_trt import too_new
from navigator.workers.local.pool import TaskStatus
from tests.gpu.engines import Engines, off, ranged, spec

# What a SavedModel is, and what TensorFlow computes on the CPU.
MAKE = """
import numpy, tensorflow as tf
tf.random.set_seed(0)
weights = [tf.Variable(tf.random.normal((3, 3, i, o), stddev=0.1)) for i, o in ((3, 32), (32, 32), (32, 64))]
head = tf.Variable(tf.random.normal((64, 10), stddev=0.3))
class Model(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec((None, 32, 32, 3), name="image")])
    def serve(self, image):
        for weight in self.weights:
            image = tf.nn.relu(tf.nn.conv2d(image, weight, 1, "SAME"))
        return {"logits": tf.reduce_mean(image, (1, 2)) @ self.head}
model = Model()
model.weights, model.head = weights, head
tf.saved_model.save(model, "m.savedmodel", signatures={"serving_default": model.serve})
for batch in (1, 3, 4):
    image = numpy.random.default_rng(batch).uniform(-1, 1, (batch, 32, 32, 3)).astype("float32")
    numpy.savez(f"{batch}.npz", image=image, logits=model.serve(image)["logits"].numpy())
"""
DECLARED = Signature(inputs=(spec("image", (-1, 32, 32, 3)),), outputs=(spec("logits", (-1, 10)),))
SHAPES = ranged(image=((1, 32, 32, 3), (3, 32, 32, 3), (4, 32, 32, 3)))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    version = metadata.version("tensorflow")
    if too_new(version):
        pytest.skip(too_new(version))
    directory = tmp_path_factory.mktemp("model")
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([sys.executable, "-c", MAKE], cwd=directory, env=environment, check=True)
    return directory / "m.savedmodel"


def _known(model: Path) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    found = []
    for batch in (1, 3, 4):
        with np.load(model.parent / f"{batch}.npz") as arrays:
            found.append((str(batch), {"image": arrays["image"]}, {"logits": arrays["logits"]}))
    return found


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("fp16", 2e-2), ("int8", 0.2)])
def test_a_saved_model_is_right_within_its_shapes(
    module_engines: Engines, model: Path, precision: str, tolerance: float
) -> None:
    known = _known(model)
    samples = [(name, inputs) for name, inputs, _ in known]
    options = Options(precision=Precision(precision), max_workspace_size=2**30)
    result, made = module_engines.build(
        model,
        SHAPES,
        options,
        converter="tf_savedmodel_to_tf_trt",
        name="model.savedmodel",
        signature=DECLARED,
        samples=samples,
    )
    assert result.status is TaskStatus.FINISHED, f"{result.message}\n{module_engines.log()[-4000:]}"
    properties = from_data(Properties, result.value)
    assert properties.trt_engines
    assert not properties.warnings

    ended, outputs = module_engines.infer(made, samples, declared=DECLARED, options=options, target="tf-trt")

    assert ended.status is TaskStatus.FINISHED, f"{ended.message}\n{module_engines.log()[-4000:]}"
    error = off(outputs, [expected for _, _, expected in known])
    print(f"{precision}: {properties.trt_engines} engines, {error:.2g}")
    assert error < tolerance
    assert precision == "fp32" or error > 1e-5, "nothing was computed in the reduced precision"
