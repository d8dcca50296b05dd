"""An ONNX file read without its weights: the same model, as long as it lies beside the file."""
# ruff: noqa: TID253 - the frameworks are what is tested

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper, parser
from onnx.external_data_helper import load_external_data_for_model

from navigator.models import onnx_structure
from navigator.models.onnx_structure import LARGE_BYTES, structure


def put_back(path: Path) -> onnx.ModelProto:
    """Return the model with its weights, read by onnx from where its structure says that they are."""
    content = structure(path)
    assert content is not None
    assert len(content) < path.stat().st_size
    model = onnx.ModelProto.FromString(content)
    load_external_data_for_model(model, str(path.parent))
    for tensor in every_tensor(model.graph):
        tensor.ClearField("data_location")
    return model


def every_tensor(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    attributes = [each for node in graph.node for each in node.attribute]
    inner = [tensor for each in attributes if each.HasField("g") for tensor in every_tensor(each.g)]
    return [*graph.initializer, *(each.t for each in attributes if each.HasField("t")), *inner]


def test_weights_wherever_they_are_come_back(tmp_path: Path) -> None:
    model = parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17]>
        m (float[n, 256] x, bool c) => (float[n, 256] y) {
            a = MatMul(x, w)
            y = If(c) <
                then_branch = one () => (float[n, 256] p) { p = Add(a, x) },
                else_branch = two () => (float[n, 256] q) { q = Identity(a) }
            >
        }""")
    model.graph.initializer.append(numpy_helper.from_array(np.eye(256, dtype=np.float32), "w"))
    model.graph.initializer.append(numpy_helper.from_array(np.arange(4), "small"))
    constant = helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(np.ones((200, 200))))
    model.graph.node[1].attribute[0].g.node.append(constant)
    model.doc_string = "é" * LARGE_BYTES
    onnx.save(model, tmp_path / "m.onnx")

    assert put_back(tmp_path / "m.onnx") == model


def test_weights_that_were_external_once_come_back(tmp_path: Path) -> None:
    """onnx writes that they no longer are, behind the values, when it saves a model that it loaded from two files."""
    weight = numpy_helper.from_array(np.arange(LARGE_BYTES, dtype=np.float32), "w")
    model = helper.make_model(helper.make_graph([], "g", [], [], [weight]))
    onnx.save(model, tmp_path / "two.onnx", save_as_external_data=True, location="two.data")
    once = onnx.load(tmp_path / "two.onnx")
    assert once.graph.initializer[0].HasField("data_location")
    onnx.save(once, tmp_path / "m.onnx")

    found = put_back(tmp_path / "m.onnx")

    assert found.graph.initializer[0].raw_data == numpy_helper.from_array(numpy_helper.to_array(weight)).raw_data


@given(count=st.integers(1, 4), sizes=st.data())
def test_any_mixture_of_sizes_comes_back(
    tmp_path_factory: pytest.TempPathFactory, count: int, sizes: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("mixture") / "m.onnx"
    lengths = [sizes.draw(st.sampled_from((0, 1, LARGE_BYTES - 1, LARGE_BYTES, LARGE_BYTES + 1))) for _ in range(count)]
    tensors = [numpy_helper.from_array(np.full(size, 7, np.uint8), f"t{n}") for n, size in enumerate(lengths)]
    model = helper.make_model(helper.make_graph([], "g", [], [], tensors))
    onnx.save(model, path)
    content = structure(path)
    assert content is not None
    assert len(content) < len(tensors) * (LARGE_BYTES + 100) + 200
    found = onnx.ModelProto.FromString(content)
    load_external_data_for_model(found, str(path.parent))
    for tensor in found.graph.initializer:
        tensor.ClearField("data_location")
    assert found == model


def test_without_large_weights_nothing_changes(tiny_onnx: Path) -> None:
    assert structure(tiny_onnx) == tiny_onnx.read_bytes()


@pytest.mark.parametrize("content", [b"\xff" * 100, b"no model", b"\x3a\x80\x80\x80\x01abc", os.urandom(300) + b"\x07"])
def test_what_is_no_model_has_no_structure(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    found = structure(path)
    # Bytes that happen to be fields come back as they are; onnx judges them.
    assert found in (None, content)


def test_messages_nested_deeper_than_protobuf_reads_are_not_followed(tmp_path: Path) -> None:
    inner = b"\x4a" + onnx_structure.varint(LARGE_BYTES + 1) + bytes(LARGE_BYTES + 1)
    for _ in range(150):
        for number in (6, 5, 1):  # a graph in an attribute of a node
            inner = onnx_structure.varint(number << 3 | 2) + onnx_structure.varint(len(inner)) + inner
    path = tmp_path / "deep.onnx"
    path.write_bytes(b"\x3a" + onnx_structure.varint(len(inner)) + inner)
    assert structure(path) is None
