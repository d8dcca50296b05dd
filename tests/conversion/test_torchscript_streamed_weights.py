"""The TorchScript exporter's files with weights that come from the module's memory, against those that it writes."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx  # noqa: TID253 - reads what was written
import onnxruntime  # noqa: TID253 - runs what was written
import pytest
import torch  # noqa: TID253 - the framework is what is tested

from navigator.frameworks.onnx import file as onnx_file
from navigator.frameworks.onnx import streamed, weights
from navigator.frameworks.torch.streamed_weights import streamed_weights
from navigator.models import onnx_structure
from navigator.models.files import external_data

# Of torch, about the future of TorchScript and the batch of the example.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


class Layers(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Weights that are large, small, shared, whole numbers, half precision, strided, and read in a branch only."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = torch.nn.Embedding(300, 256)
        self.first, self.second = torch.nn.Linear(256, 256), torch.nn.Linear(256, 256)
        self.second.weight = self.first.weight
        self.register_buffer("table", torch.arange(20_000))
        self.register_buffer("halves", torch.rand(256, 256).half())
        self.register_buffer("strided", torch.rand(512, 256).t()[:, ::2])
        self.register_buffer("branch", torch.rand(256, 256))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(self.first(self.embedding(ids)))
        x = torch.tanh(self.second(x)) + torch.tanh(x @ self.halves.float()) + torch.tanh(x @ self.strided)
        x = x + self.table[ids].unsqueeze(-1)
        if int(ids.shape[0]) > 2:
            x = x @ self.branch
        return x


def export(path: Path, opset: int) -> onnx.ModelProto:
    ids = torch.arange(6).reshape(3, 2)
    names = {"input_names": ["ids"], "output_names": ["y"], "dynamic_axes": {"ids": {0: "batch"}}}
    module = torch.jit.script(Layers().eval())
    with torch.no_grad():
        torch.onnx.export(module, (ids,), str(path), dynamo=False, opset_version=opset, **names)
    return onnx.load(path)


def run(path: Path, rows: int) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, {"ids": np.arange(2 * rows).reshape(rows, 2)})[0]
    return found


@pytest.mark.parametrize("limit", [None, 1000])
@pytest.mark.parametrize("opset", [8, 13, 17])
def test_the_same_weights_under_the_same_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opset: int, limit: int | None
) -> None:
    if limit is not None:
        monkeypatch.setattr(onnx_file, "INLINE_LIMIT_BYTES", limit)
    (tmp_path / "streamed").mkdir()
    plain, path = tmp_path / "plain.onnx", tmp_path / "streamed" / "model.onnx"
    expected = export(plain, opset)
    with streamed_weights():
        model = export(path, opset)
    onnx.checker.check_model(str(path), full_check=True)
    weights, others = ({each.name: each for each in found.graph.initializer} for found in (expected, model))
    assert weights.keys() == others.keys()
    assert any(onnx.numpy_helper.to_array(each).nbytes > onnx_structure.LARGE_BYTES for each in others.values())
    for name, each in weights.items():
        one, other = onnx.numpy_helper.to_array(each), onnx.numpy_helper.to_array(others[name], str(path.parent))
        assert one.dtype == other.dtype, name
        np.testing.assert_array_equal(one, other, name)
    assert [value.name for value in model.graph.input] == [value.name for value in expected.graph.input]
    assert [value.name for value in model.graph.output] == [value.name for value in expected.graph.output]
    for rows in (1, 3):
        np.testing.assert_array_equal(run(path, rows), run(plain, rows))
    assert external_data(path) == ([] if limit is None else ["model.onnx.data"])
    assert sorted(each.name for each in path.parent.iterdir()) == ["model.onnx", *external_data(path)]


def test_shapes_are_inferred_without_copies_of_large_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    largest: list[int] = []
    infer = torch._C._jit_pass_onnx_graph_shape_type_inference

    def noted(graph: Any, weights: dict[str, torch.Tensor], opset: int) -> Any:
        largest.append(max((each.nbytes for each in weights.values()), default=0))
        return infer(graph, weights, opset)

    monkeypatch.setattr(torch._C, "_jit_pass_onnx_graph_shape_type_inference", noted)
    export(tmp_path / "plain.onnx", 17)
    copied = max(largest)
    largest.clear()
    with streamed_weights():
        model = export(tmp_path / "streamed.onnx", 17)
    assert copied >= 300 * 256 * 4
    assert 256 * 4 <= max(largest) < 65536
    assert onnx.load(tmp_path / "plain.onnx").graph.output == model.graph.output, "the shapes are known all the same"


def test_a_model_without_large_weights_is_written_as_before(tmp_path: Path) -> None:
    module = torch.jit.script(torch.nn.Linear(3, 3).eval())
    for name in ("plain", "streamed"):
        with streamed_weights() if name == "streamed" else torch.no_grad():
            torch.onnx.export(module, (torch.zeros(1, 3),), str(tmp_path / name), dynamo=False, opset_version=17)
    assert (tmp_path / "plain").read_bytes() == (tmp_path / "streamed").read_bytes()


@pytest.mark.parametrize("limit", [None, 1000])
def test_a_file_is_changed_without_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int | None
) -> None:
    """Those in it, in a branch too, and those beside it, which stay where they are."""
    if limit is not None:
        monkeypatch.setattr(onnx_file, "INLINE_LIMIT_BYTES", limit)
    path = tmp_path / "model.onnx"
    with streamed_weights():
        before = export(path, 17)
    files = sorted(tmp_path.iterdir())
    model = onnx_file.structure(path)
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "rows"

    streamed.save_over(path, model)

    after = onnx.load(path)
    assert after.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "rows"
    assert sorted(tmp_path.iterdir()) == files
    one, other = ({each.name: each for each in weights.tensors(found)} for found in (before, after))
    assert one.keys() == other.keys()
    for name, each in one.items():
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(other[name]), onnx.numpy_helper.to_array(each), name)
    assert run(path, 3).shape == (3, 2, 256)
