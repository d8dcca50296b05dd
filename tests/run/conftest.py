"""A tiny ONNX model and a way to run the command line on it: whole runs with real workers."""

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from navigator.cli import main


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


@pytest.fixture
def project(tmp_path: Path, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory that is the working directory and holds `tiny.onnx`."""
    (tmp_path / "tiny.onnx").write_bytes(tiny_onnx.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


Convert = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def convert(project: Path) -> Convert:
    """Return a function that writes a navigator.yaml, converts, and returns the exit code and the results file."""

    def run(text: str, *arguments: str) -> tuple[int, dict[str, Any]]:
        (project / "navigator.yaml").write_text(textwrap.dedent(text))
        code = main(["convert", *arguments])
        results = project / "navigator_workspace" / "convert_results.yaml"
        return code, yaml.safe_load(results.read_text()) if results.exists() else {}

    return run
