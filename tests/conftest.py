"""What tests of several folders share."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

_BUILD = Path(__file__).parent / "worker" / "framework_image" / "build.py"


@pytest.fixture(scope="session")
def framework() -> str:
    """Return the container image that stands in for a framework's: PyTorch, ONNX Runtime, and tasks of the tests."""
    ran = subprocess.run([sys.executable, _BUILD], capture_output=True, text=True, check=False)
    if ran.returncode == 77 and os.environ.get("NAVIGATOR_REQUIRE_DOCKER") != "1":
        pytest.skip(ran.stderr.strip())
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


@pytest.fixture(scope="session")
def tiny_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an ONNX file at opset 13: x [batch, 4] -> y [batch, 3], z [batch, 4], with a dynamic batch."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "weight"], ["product"]),
            helper.make_node("Tanh", ["product"], ["y"]),
            helper.make_node("Sigmoid", ["x"], ["z"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3]),
            helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", 4]),
        ],
        [numpy_helper.from_array(weight, "weight")],
    )
    path = tmp_path_factory.mktemp("models") / "tiny.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path
