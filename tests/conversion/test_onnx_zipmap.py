"""Classifiers of scikit-learn return names of classes, and a dictionary of probabilities for each row (ZipMap)."""

from pathlib import Path

import numpy as np
import onnx  # noqa: TID253 - makes the model
from onnx import TensorProto, helper  # noqa: TID253

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


def test_the_probabilities_of_named_classes_are_rows(tmp_path: Path) -> None:
    model = zipped(tmp_path / "m.onnx", {"classlabels_strings": ["dog", "bird", "cat"]}, TensorProto.STRING)

    x = np.array([[0, 1, 2], [3, 0, 0]], np.float32)
    found = model.infer({"x": x})["probabilities"]

    shares = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    # In alphabetical order: bird, cat, dog.
    np.testing.assert_allclose(found, shares[:, [1, 2, 0]], rtol=1e-6)


def labelled(path: Path, names: list[str]) -> runner.OnnxModel:
    """Save and load a model that returns the name of the largest input, as skl2onnx writes it."""
    nodes = [
        helper.make_node("ArgMax", ["x"], ["place"], axis=1, keepdims=0),
        helper.make_node("ArrayFeatureExtractor", ["names", "place"], ["row"], domain="ai.onnx.ml"),
        helper.make_node("Reshape", ["row", "all"], ["label"]),
    ]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 3])],
        [helper.make_tensor_value_info("label", TensorProto.STRING, ["rows"])],
        initializer=[
            helper.make_tensor("names", TensorProto.STRING, [3], [each.encode() for each in names]),
            helper.make_tensor("all", TensorProto.INT64, [1], [-1]),
        ],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return runner.load(path, declared=Signature(inputs=(), outputs=()))


def test_text_is_compared_by_bits_of_its_digest_and_noted(tmp_path: Path) -> None:
    model = labelled(tmp_path / "m.onnx", ["dog", "bird", "Vögel"])
    assert model.signature.outputs == (TensorSpec(name="label", shape=(-1, 64), dtype="bool"),)
    assert model.properties.warnings == ("output label is text, of which 64 bits of a digest are compared",)

    rows = {"x": np.eye(3, dtype=np.float32)[[0, 1, 2, 1]]}
    found = model.infer(rows)["label"]
    other = labelled(tmp_path / "other.onnx", ["dog", "birds", "Vögel"]).infer(rows)["label"]

    assert found.shape == (4, 64)
    assert found.dtype == bool
    assert len({row.tobytes() for row in found}) == 3
    assert np.array_equal(found[1], found[3])
    # A name that the converted model has lost a letter of is seen.
    assert [bool((one == another).all()) for one, another in zip(found, other, strict=True)] == [
        True,
        False,
        True,
        False,
    ]
