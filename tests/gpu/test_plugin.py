"""A plugin library of one's own, compiled here: ONNX with an operator that only the plugin knows, to TensorRT."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from navigator.runners.trt import TrtOptions
from navigator.workers.local.pool import TaskStatus
from tests.gpu.engines import Engines, ranged, written

HERE = Path(__file__).parent
SHAPES = ranged(x=((1, 8), (4, 8), (16, 8)))


def headers() -> Path | None:
    """Return the directory of TensorRT's headers: a package has none, NVIDIA's repository and its archives do."""
    places = [os.environ.get("TENSORRT_INCLUDE", ""), "/usr/include/x86_64-linux-gnu", "/usr/local/tensorrt/include"]
    return next((Path(each) for each in places if each and (Path(each) / "NvInfer.h").exists()), None)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    include = headers()
    if shutil.which("nvcc") is None:
        pytest.skip("no nvcc here, which compiles the plugin")
    if include is None:
        pytest.skip("no NvInfer.h here: set TENSORRT_INCLUDE to the directory of TensorRT's headers")
    made = tmp_path_factory.mktemp("plugin") / "libaffine.so"
    command = ["nvcc", "-shared", "-Xcompiler", "-fPIC", "-std=c++17", f"-I{include}", str(HERE / "affine.cu")]
    ended = subprocess.run([*command, "-o", str(made)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return made


@pytest.fixture
def source(tmp_path: Path) -> Path:
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Affine", ["x"], ["y"], scale=2.0, shift=1.0)],
        "m",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8])],
    )
    return written(tmp_path / "m.onnx", graph, 17)


def test_a_plugin_of_ones_own_builds_and_runs(module_engines: Engines, library: Path, source: Path) -> None:
    options = TrtOptions(plugins=(library,))
    result, plan = module_engines.build(source, SHAPES, options)
    assert result.status is TaskStatus.FINISHED, result.message
    samples = [
        (str(batch), {"x": np.random.default_rng(batch).normal(size=(batch, 8)).astype("float32")})
        for batch in (1, 4, 16)
    ]

    result, outputs = module_engines.infer(plan, samples, options=options)

    assert result.status is TaskStatus.FINISHED, result.message
    for made, (_, sample) in zip(outputs, samples, strict=True):
        np.testing.assert_allclose(made["y"], sample["x"] * 2 + 1, rtol=1e-6)


def test_without_the_plugin_its_operator_and_the_option_are_named(module_engines: Engines, source: Path) -> None:
    result, _ = module_engines.build(source, SHAPES)

    assert result.status is TaskStatus.FAILED
    assert "Affine" in result.message
    assert "tensorrt_plugins" in result.remedy
