"""Classifiers of scikit-learn end in a ZipMap: a dictionary of probabilities for each row."""

from pathlib import Path

import numpy as np
import onnx  # noqa: TID253 - makes the model
import pytest
from onnx import TensorProto, helper  # noqa: TID253

from navigator.errors import StepError
from navigator.records import Signature, TensorSpec
from navigator.runners import onnx as runner


def zipped(path: Path, keys: dict[str, list[int] | list[str]], kind: int) -> runner.OnnxModel:
    """Save and load a model that zips softmax(x) with classes."""
    nodes = [
        helper.make_node("Softmax", ["x"], ["shares"]),
        helper.make_node("ZipMap", ["shares"], ["probabilities"], domain="ai.onnx.ml", **keys),
    ]
    value = helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    sequence = helper.make_sequence_type_proto(helper.make_map_type_proto(kind, value))
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 3])],
        [helper.make_value_info("probabilities", sequence)],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return runner.load(path, declared=Signature(inputs=(), outputs=()))


def test_the_probabilities_of_numbered_classes_are_rows(tmp_path: Path) -> None:
    model = zipped(tmp_path / "m.onnx", {"classlabels_int64s": [7, 2, 5]}, TensorProto.INT64)
    assert model.signature.outputs == (TensorSpec(name="probabilities", shape=(-1, -1), dtype="float32"),)

    x = np.array([[0, 1, 2], [3, 0, 0]], np.float32)
    found = model.infer({"x": x})["probabilities"]

    shares = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    # In the order of the classes' numbers: 2, 5, 7.
    np.testing.assert_allclose(found, shares[:, [1, 2, 0]], rtol=1e-6)


def test_classes_with_names_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"probabilities is seq.*string") as refusal:
        zipped(tmp_path / "m.onnx", {"classlabels_strings": ["a", "b", "c"]}, TensorProto.STRING)
    assert "options={'zipmap': False}" in refusal.value.hint
