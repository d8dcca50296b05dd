"""What is read of a model's file without a framework, against what onnx reads; files that are damaged or hostile."""

import contextlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from navigator.errors import ConfigurationError
from navigator.models import structure
from navigator.models.structure.exported_program import _expression
from navigator.records import AxisSpec, Format, TensorSpec
from tests.support.builders import SAVED_MODEL


def model(tmp_path: Path, nodes: list[Any], inputs: list[Any], **changes: Any) -> Path:
    """Save an ONNX file with an output y and whatever else a test is about."""
    import onnx
    from onnx import TensorProto, helper

    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", inputs, [y], changes.pop("initializer", []))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("mine", 3)])
    for key, value in changes.items():
        getattr(made, key).extend(value) if isinstance(value, list) else setattr(made, key, value)
    onnx.save(made, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


@given(
    sizes=st.lists(st.one_of(st.integers(0, 2**40), st.sampled_from(["batch", "past + 1", "é", ""])), max_size=5),
    kind=st.sampled_from(range(1, 17)),
)
def test_inputs_are_those_that_onnx_reads(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[Any], kind: int
) -> None:
    from onnx import helper

    value = helper.make_tensor_value_info("x", kind, sizes)
    path = model(tmp_path_factory.mktemp("given"), [helper.make_node("Shape", ["x"], ["y"])], [value])

    read = structure.read(path, Format.ONNX)

    dtype = "string" if kind == 8 else "bfloat16" if kind == 16 else helper.tensor_dtype_to_np_dtype(kind).name
    shape = tuple(size if isinstance(size, int) else -1 for size in sizes)
    assert read.inputs == (TensorSpec(name="x", shape=shape, dtype=dtype),)
    names = tuple(AxisSpec(size=size if isinstance(size, str) else "") for size in sizes)
    assert read.axes.get("x", tuple(AxisSpec() for _ in sizes)) == names


def test_an_onnx_file_tells_all_but_its_weights(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, numpy_helper

    branch = helper.make_graph(
        [helper.make_node("QuantizeLinear", ["x", "w"], ["b"])],
        "b",
        [],
        [helper.make_tensor_value_info("b", 2, None)],
    )
    function = helper.make_function("mine", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [])
    nodes = [
        helper.make_node("Twice", ["x"], ["t"], domain="mine"),
        helper.make_node("Odd", ["t"], ["o"], domain="mine"),
        helper.make_node("If", ["c"], ["i"], then_branch=branch, else_branch=branch),
        helper.make_node("BatchNormalization", ["o", "w", "w", "w", "w"], ["y", "m", "v"], training_mode=1),
    ]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3]),
        helper.make_tensor_value_info("w", TensorProto.FLOAT, [3]),
        helper.make_tensor_value_info("c", TensorProto.BOOL, []),
    ]
    weight = numpy_helper.from_array(np.zeros(3, np.float32), "w")
    unused = helper.make_opsetid("ai.onnx.ml", 3)

    path = model(
        tmp_path, nodes, inputs, initializer=[weight], functions=[function], opset_import=[unused], producer_name="me"
    )
    read = structure.read(path, Format.ONNX)

    assert [spec.name for spec in read.inputs or ()] == ["x", "c"], "a weight is no input, also where it's listed"
    assert (read.opsets, read.producer) == ({"ai.onnx": 17, "mine": 3}, "me")
    assert read.operators == {"QuantizeLinear": 2, "Add": 1, "BatchNormalization": 1, "If": 1, "mine.Odd": 1}
    assert read.custom_operators == ("mine.Odd",)
    assert (read.quantized, read.training) == (True, True)
    assert structure.read(path, Format.ONNX, operators=False).operators == {}


def test_a_type_that_is_no_tensor_is_named(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    path = model(
        tmp_path,
        [helper.make_node("SequenceAt", ["s", "i"], ["y"])],
        [helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)],
    )

    assert (structure.read(path, Format.ONNX).inputs or ())[0] == TensorSpec(name="s", shape=None, dtype="sequence")


@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    directory = tmp_path_factory.mktemp("any")
    (directory / "saved_model.pb").write_bytes(SAVED_MODEL[: len(data)] + data)
    for path, kind in ((directory / "saved_model.pb", Format.ONNX), (directory, Format.TF_SAVEDMODEL)):
        with contextlib.suppress(ConfigurationError):
            assert structure.read(path, kind).model_format is kind


def test_branches_in_branches_in_branches_are_given_up(tmp_path: Path) -> None:
    def field(number: int, content: bytes) -> bytes:
        length, text = len(content), b""
        while length > 127:
            text, length = text + bytes([length & 127 | 128]), length >> 7
        return bytes([number << 3 | 2]) + text + bytes([length]) + content

    graph = b""
    for _ in range(100):
        graph = field(1, field(5, field(6, graph)))
    (tmp_path / "deep.onnx").write_bytes(b"\x08\x08" + field(7, graph))

    read = structure.read(tmp_path / "deep.onnx", Format.ONNX)

    assert read.inputs is None
    assert read.unknown == ("its inputs and outputs: branches and loops are nested more than 32 levels deep",)


def script(tmp_path: Path, *codes: str) -> Path:
    with zipfile.ZipFile(tmp_path / "m.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        for number, code in enumerate(codes):
            archive.writestr(f"m/code/__torch__/{number}.py", code)
            archive.writestr(f"m/code/__torch__/{number}.py.debug_pkl", "torch.debug(")
    return tmp_path / "m.pt"


@pytest.mark.parametrize(
    ("code", "operators"),
    [
        ("torch.add(torch.add_(x, 1), torch.mul(x, 2))", {"aten::add": 1, "aten::add_": 1, "aten::mul": 1}),
        ("ops.quantized.conv2d(x); ops.aten.add(torch.add(x))", {"quantized::conv2d": 1, "aten::add": 2}),
        ("ops.prim.NumToTensor(torch.size(x, 1))", {"aten::size": 1}),
        ("__torch__.torch.nn.modules.linear.Linear(mytorch.add(x), shops.mine.odd(x), torch.float)", {}),
        ('torch.format("torch.col2im(", x)', {"aten::format": 1}),
        (r'torch.format("\"torch.col2im(\\", torch.add(x), "\\\"torch.mul(")', {"aten::format": 1, "aten::add": 1}),
        ('torch.format("torch.col2im(\n torch.mul(", torch.add(x))', {"aten::format": 1, "aten::add": 1}),
        ('torch.format("\\\n torch.mul(", torch.add(x), "é")', {"aten::format": 1, "aten::add": 1}),
        ("", {}),
    ],
)
def test_operators_of_a_script_are_those_that_its_code_calls(
    tmp_path: Path, code: str, operators: dict[str, int]
) -> None:
    assert structure.read(script(tmp_path, code), Format.TORCHSCRIPT).operators == operators


def test_operators_of_a_script_are_counted_in_all_of_its_code(tmp_path: Path) -> None:
    read = structure.read(script(tmp_path, "torch.mul(x)", "torch.add(x)", "torch.add(x)"), Format.TORCHSCRIPT)

    assert list(read.operators.items()) == [("aten::add", 2), ("aten::mul", 1)]


def test_a_script_with_more_code_than_any_has_is_given_up(tmp_path: Path) -> None:
    read = structure.read(script(tmp_path, *["#" * 2**25] * 3), Format.TORCHSCRIPT)

    assert read.unknown == ("its inputs and outputs: its code has more than 64 MiB",)


def program(tmp_path: Path, text: bytes) -> Path:
    with zipfile.ZipFile(tmp_path / "m.pt2", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/models/model.json", text)
    return tmp_path / "m.pt2"


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"graph_module": 1}', b"[" * 5000, b"\xff", b"null"])
def test_a_program_that_is_none_is_not_known(tmp_path: Path, text: bytes) -> None:
    read = structure.read(program(tmp_path, text), Format.TORCH_EXPORT)

    assert read.inputs is None
    assert read.unknown[0].startswith("its inputs and outputs: ")


def test_a_program_that_unpacks_to_more_than_any_has_is_given_up(tmp_path: Path) -> None:
    path = program(tmp_path, b" " * (2**26 + 1))
    assert path.stat().st_size < 2**20

    read = structure.read(path, Format.TORCH_EXPORT)

    assert read.unknown == ("its inputs and outputs: its program has more than 64 MiB",)


def test_a_program_with_a_broken_entry_is_damaged(tmp_path: Path) -> None:
    path = program(tmp_path, json.dumps({"graph_module": list(range(5000))}).encode())
    data = bytearray(path.read_bytes())
    data[200:400] = bytes(200)
    path.write_bytes(data)

    with pytest.raises(ConfigurationError, match="is damaged or truncated"):
        structure.read(path, Format.TORCH_EXPORT)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Add(Symbol('past', integer=True, positive=True), Integer(1))", "past + 1"),
        ("Add(Integer(-1), Symbol('n'))", "n + -1"),
        ("Mul(Integer(2), Symbol('s0'))", "2*s0"),
        ("Mul(Integer(2), Add(Symbol('a'), Symbol('b')))", "2*(a + b)"),
        ("FloorDiv(Symbol('h'), Integer(2))", "FloorDiv(h, 2)"),
        ("s0 + 1", "s0 + 1"),
        ("Add(", ""),
        ("(" * 500, ""),
        ("x" * 5000, ""),
    ],
)
def test_sizes_are_read_as_people_write_them(written: str, read: str) -> None:
    assert _expression(written) == read
