"""What of a torch model's outputs depends on the order of equal values, and that nothing else is left out."""
# ruff: noqa: TID253 - the framework is what is tested
# mypy: allow-subclassing-any

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from navigator.converters import torchscript_to_onnx
from navigator.frameworks.torch.ties import ordered
from navigator.records import Signature, TensorSpec
from navigator.runners import onnx as onnx_runner
from navigator.runners import torch_export, torchscript
from navigator.verify.compare import verify
from navigator.verify.ties import all_settled
from navigator.workers import ties
from tests.support.exports import Exports

DECLARED = Signature(inputs=(TensorSpec(name="x", shape=(-1, 8), dtype="float32"),), outputs=())
SAMPLES = [
    (f"s{rows}", {"x": np.random.default_rng(rows).normal(size=(rows, 8)).astype(np.float32)}) for rows in (2, 5)
]


class Ranking(torch.nn.Module):
    """Half of what it sorts is zero; x, which it sorts too, has no equal values."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(8, 48)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        hidden = torch.relu(self.layer(x))
        best = torch.topk(hidden, 40, dim=1)
        picked = torch.gather(x.repeat(1, 6), 1, best.indices)
        return best.indices, torch.argsort(hidden, dim=1, descending=True), picked, torch.argsort(x, dim=1)


def loaded(path: Path, kind: str) -> Any:
    torch.manual_seed(0)
    module, example = Ranking().eval(), torch.randn(3, 8)
    if kind == "torchscript":
        with torchscript.quiet():
            torch.jit.save(torch.jit.trace(module, example), str(path / "m.pt"))
        return torchscript.load(path / "m.pt", declared=DECLARED)
    shapes = ({0: torch.export.Dim("batch", min=1, max=64)},)
    torch.export.save(torch.export.export(module, (example,), dynamic_shapes=shapes), path / "m.pt2")
    return torch_export.load(path / "m.pt2", declared=Signature(inputs=(), outputs=()))


def tied(array: np.ndarray) -> np.ndarray:
    """Return which values of sorted rows have equals beside them."""
    same = array[:, 1:] == array[:, :-1]
    edge = np.zeros((len(array), 1), bool)
    return np.asarray(np.concatenate([same, edge], 1) | np.concatenate([edge, same], 1))


@pytest.mark.parametrize("kind", ["torchscript", "torch-export"])
def test_what_equal_values_decide_is_undefined_and_nothing_else(tmp_path: Path, kind: str) -> None:
    model = loaded(tmp_path, kind)
    outputs = [(name, model.infer(inputs)) for name, inputs in SAMPLES]
    found = dict(ties.undefined(model, SAMPLES, outputs))
    top, order, picked, ranks = outputs[0][1]
    torch.manual_seed(0)
    layer = Ranking().layer
    for (name, inputs), (_, known) in zip(SAMPLES, outputs, strict=True):
        with torch.no_grad():
            hidden = torch.relu(layer(torch.from_numpy(inputs["x"]))).numpy()
        expected = tied(-np.sort(-hidden, 1))
        assert expected.any()
        assert not expected.all()
        assert np.array_equal(found[name][order], expected)
        assert np.array_equal(found[name][top], expected[:, :40])
        assert not (found[name][picked] & ~expected[:, :40]).any()
        assert ranks not in found[name], "no equal values"
        assert np.array_equal(model.infer(inputs)[order], known[order]), "the model is as before"
    (note, *_) = ties.notes(model, outputs, ties.undefined(model, SAMPLES, outputs))
    count = sum(int(each[top].sum()) for each in found.values())
    assert note.startswith(f"{top}: {count} of {7 * 40} values depend on the order in which aten")


def test_a_conversion_that_orders_equal_values_otherwise_passes_and_wrong_indices_do_not(tmp_path: Path) -> None:
    model = loaded(tmp_path, "torchscript")
    options = lambda opset: torchscript_to_onnx.Options(opset=opset)  # noqa: E731
    exports = Exports(tmp_path, tmp_path / "m.pt", model, SAMPLES, converter="torchscript_to_onnx", options=options)
    converted = onnx_runner.load(exports.convert(17)[0], declared=exports.signature)
    actual = [(name, converted.infer(inputs)) for name, inputs in SAMPLES]
    undefined = ties.undefined(model, SAMPLES, exports.expected)
    top, order, _, ranks = exports.expected[0][1]

    def passes(outputs: Any) -> bool:
        found = all_settled(exports.expected, outputs, undefined)
        return verify(exports.expected, found, atol={"": 1e-5}, rtol={"": 1e-5}).passed

    assert not verify(exports.expected, actual, atol={"": 1e-5}, rtol={"": 1e-5}).passed, "the orders do differ"
    assert passes(actual)
    planted: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "off by one": (top, lambda a: a + 1),
        "reversed": (order, lambda a: a[:, ::-1]),
        "the next after the k-th": (top, lambda a: np.concatenate([a[:, 1:], a[:, :1]], 1)),
        "first and second swapped": (top, lambda a: a[:, [1, 0, *range(2, 40)]]),
        "another axis": (order, lambda a: np.argsort(a, 0)),
        "the last row": (top, lambda a: np.concatenate([a[:-1], a[:1]])),
        "another sort": (ranks, lambda a: a[:, ::-1]),
        "another type": (top, lambda a: a.astype(np.int32)),
        "one too few": (top, lambda a: a[:, :-1]),
    }
    for what, (name, change) in planted.items():
        wrong = [(sample, {**arrays, name: change(arrays[name])}) for sample, arrays in actual]
        assert not passes(wrong), what


@pytest.mark.parametrize("count", [None, 1, 3, 6])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_equal_values_are_nowhere_at_the_same_place(axis: int, descending: bool, count: int | None) -> None:
    values = torch.tensor(np.random.default_rng(0).integers(0, 3, (6, 7)).astype(np.float32))
    values[2, 3] = torch.nan

    def run(rotated: bool) -> tuple[torch.Tensor, torch.Tensor]:
        with ordered(rotated=rotated) as met:
            found = (
                torch.sort(values, axis, descending)
                if count is None
                else torch.topk(values, count, axis, largest=descending)
            )
        assert met.equal
        return found[0], found[1]

    (one, first), (other, next_) = run(False), run(True)
    expected = torch.sort(values, dim=axis, descending=descending, stable=True)
    size = values.shape[axis] if count is None else count
    assert torch.equal(first, expected.indices.narrow(axis, 0, size))
    for sorted_, indices in ((one, first), (other, next_)):
        assert sorted_.shape == indices.shape == first.shape
        assert torch.equal(sorted_.nan_to_num(9), values.gather(axis, indices).nan_to_num(9))
        assert all(len(set(line)) == size for line in indices.movedim(axis, -1).reshape(-1, size).tolist())
    alike = tied(expected.values.movedim(axis, -1).numpy())[:, :size]
    assert np.array_equal((first != next_).movedim(axis, -1).numpy(), alike)


def test_a_stable_sort_scalars_and_empty_tensors_stay_as_they_are() -> None:
    zeros = torch.zeros(4, 5)
    with ordered(rotated=True) as met:
        stable = torch.sort(zeros, dim=1, stable=True).indices
        scalar, empty = torch.sort(torch.tensor(3.0)), torch.sort(torch.zeros(2, 0))
        kept = torch.topk(torch.tensor(3.0), 1).values
    assert torch.equal(stable, torch.arange(5).expand(4, 5))
    assert (scalar.values.item(), scalar.indices.item(), empty.values.shape, kept.item()) == (3.0, 0, (2, 0), 3.0)
    assert not met.equal


def test_an_output_that_equal_values_decide_everywhere_is_compared(tmp_path: Path) -> None:
    model = loaded(tmp_path, "torchscript")
    with torch.no_grad():
        for parameter in model.module.parameters():
            parameter.zero_()
    outputs = [(name, model.infer(inputs)) for name, inputs in SAMPLES]
    top, order, picked, _ = outputs[0][1]
    for _, masks in ties.undefined(model, SAMPLES, outputs):
        assert masks.keys() <= {picked}, (top, order)


def test_a_model_that_sorts_nothing_is_not_run_again() -> None:
    class Counting:
        sorting_operations = ()
        told: dict[str, Any] = {}  # noqa: RUF012 - a stand-in

        def ordered(self, *, rotated: bool) -> Any:
            raise AssertionError(rotated)

    model: Any = Counting()
    assert ties.undefined(model, SAMPLES, [(name, {}) for name, _ in SAMPLES]) == []


def test_what_is_kept_of_sorted_values_can_be_viewed() -> None:
    values = torch.zeros(2, 3, 8)
    for rotated in (True, False):
        with ordered(rotated=rotated) as met:
            best = torch.topk(values, 4)
            assert best.values.view(2, -1).shape == best.indices.view(2, -1).shape == (2, 12)
        assert met.equal
