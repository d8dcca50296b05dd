"""The source model under changes that mean nothing: each of its outputs again, and nearly the same."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx  # noqa: TID253 - makes the models
import pytest

from navigator.records import Signature
from navigator.runners import onnx as runner
from navigator.workers.noise import Probes, probes

MATMUL = """<ir_version: 8, opset_import: ["" : 13]> m (float[b, 64] x) => (float[b, 64] y, float[] all) {
    a = MatMul(x, weight)
    c = Tanh(a)
    y = MatMul(c, weight)
    all = ReduceSum <keepdims = 0> (y)
}"""
FIXED = """<ir_version: 8, opset_import: ["" : 13]> m (float[2, 64] x) => (float[2, 64] y) { y = Tanh(x) }"""
MIXING = """<ir_version: 8, opset_import: ["" : 13]> m (float[b, 64] x) => (float[b, 64] y) {
    mean = ReduceMean <axes = [0]> (x)
    y = Sub(x, mean)
}"""


def loaded(path: Path, text: str) -> runner.OnnxModel:
    model = onnx.parser.parse_model(text)
    weight = np.random.default_rng(1).normal(size=(64, 64)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "weight"))
    onnx.save(model, path)
    return runner.load(path, declared=Signature(inputs=(), outputs=()))


def samples(*batches: int) -> list[tuple[str, dict[str, np.ndarray]]]:
    rng = np.random.default_rng(0)
    names = ("min", "opt", "max")
    return [(name, {"x": rng.random((batch, 64), np.float32)}) for name, batch in zip(names, batches, strict=False)]


def run(model: Any, drawn: Any) -> Probes:
    return probes(model, drawn, [(name, model.infer(inputs)) for name, inputs in drawn])


def names(runs: list[tuple[str, Any]]) -> list[tuple[str, list[str]]]:
    return [(name, sorted(arrays)) for name, arrays in runs]


def test_the_smallest_and_the_opt_sample_in_other_batches_and_with_other_rounding(tmp_path: Path) -> None:
    model, drawn = loaded(tmp_path / "m.onnx", MATMUL), samples(1, 4, 9)
    found = run(model, drawn)
    assert names(found.batches) == [("min", ["y"]), ("opt", ["y"])], "`all` has no batch"
    assert names(found.rounded) == [("min", ["all", "y"]), ("opt", ["all", "y"])]
    for name, arrays in (*found.batches, *found.rounded):
        y = model.infer(dict(drawn)[name])["y"]
        np.testing.assert_allclose(arrays["y"], y, rtol=1e-4, atol=1e-4)
    assert not np.array_equal(found.rounded[1][1]["y"], model.infer(drawn[1][1])["y"]), (
        "inputs one step away change something"
    )


def test_a_framework_that_refuses_to_change_weights_costs_the_noise_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_model: runner.OnnxModel) -> None:
        raise RuntimeError("a read-only weight")

    model, drawn = loaded(tmp_path / "m.onnx", MATMUL), samples(1, 4, 9)
    monkeypatch.setattr(runner.OnnxModel, "perturbed", refused)
    found = run(model, drawn)
    assert (names(found.batches), found.rounded) == ([("min", ["y"]), ("opt", ["y"])], [])


def test_no_batch_no_other_batches(tmp_path: Path) -> None:
    found = run(loaded(tmp_path / "m.onnx", FIXED), samples(2))
    assert (found.batches, names(found.rounded)) == ([], [("min", ["y"])])


def test_rows_that_depend_on_each_other_are_no_rounding_and_are_told(tmp_path: Path) -> None:
    from navigator.verify.noise import measured, notes, warnings

    model, drawn = loaded(tmp_path / "m.onnx", MIXING), samples(1, 4, 9)
    reference = [(name, model.infer(inputs)) for name, inputs in drawn]
    found = run(model, drawn)
    noise = measured(reference, found.rounded, {"": 1e-5}, found.batches)
    y = noise["y"]
    apart = max(np.abs(arrays["y"] - dict(reference)[name]["y"]).max() for name, arrays in found.batches)
    assert (y.rejected, y.atol) == (False, 1e-5)
    assert y.apart == pytest.approx(apart)
    assert y.largest < 1e-6
    assert [note.partition(", as steps")[0] for note in warnings(noise)] == [
        "y: the rows along the first axis depend on each other"
    ]

    independent = loaded(tmp_path / "n.onnx", MATMUL)
    found = run(independent, drawn)
    reference = [(name, independent.infer(inputs)) for name, inputs in drawn]
    noise = measured(reference, found.rounded, {"": 1e-5}, found.batches)
    assert [*notes(noise), *warnings(noise)] == []


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_are_one_step_away_within_their_own_range_and_whole_numbers_stay(dtype: str) -> None:
    from navigator.workers.noise import stepped

    array = np.concatenate([[0, 1, -1, 1, 0], np.linspace(-0.99, 0.99, 91)]).astype(dtype)
    moved = stepped(array, 0)
    assert moved.dtype == array.dtype
    assert np.array_equal(moved[:5], array[:5])
    distance = np.abs(moved - array) / np.spacing(np.abs(array))
    assert set(np.unique(distance[5:])) <= {0, 0.5, 1.0}
    assert (distance[5:] > 0).mean() > 0.9
    assert (moved.min(), moved.max()) == (array.min(), array.max())
    for other in (np.arange(5), np.array([True, False]), np.zeros((0, 3), dtype)):
        assert stepped(other, 0) is other


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_what_is_not_finite_stays_and_the_others_move(dtype: str) -> None:
    from navigator.workers.noise import _away, stepped
    from navigator.workers.undecided import nudged

    array = np.array([np.nan, 0.25, 0.3, 0.4, 0.5, 0.7, 0.75, np.inf, -np.inf], dtype)
    for moved in (stepped(array, 0), _away(array, 0), nudged(array, 1, (0, 0))):
        assert np.array_equal(moved[[0, 7, 8]], array[[0, 7, 8]], equal_nan=True)
        assert (moved[1:7] != array[1:7]).any()
        np.testing.assert_allclose(moved[1:7], array[1:7], rtol=0.1)


def test_of_the_small_samples_the_one_with_the_largest_outputs(tmp_path: Path) -> None:
    model = loaded(tmp_path / "m.onnx", MATMUL)
    (least, usual, most), rng = samples(1, 8, 9), np.random.default_rng(1)
    loud = ("loud", {"x": 100 * rng.random((2, 64), np.float32)})
    same = ("same", {"x": np.full((2, 64), 1000, np.float32)})
    large = ("large", {"x": 1000 * rng.random((5, 64), np.float32)})
    zeros = ("zeros", {"x": 200 * rng.random((2, 64), np.float32)})
    drawn = [least, usual, most, loud, same, large, zeros]
    for sets, chosen in ((drawn, {"loud", "opt"}), ([usual], {"opt"}), ([same, usual], {"opt"})):
        assert {name for name, _ in run(model, sets).rounded} == chosen


@pytest.mark.parametrize("mode", [0, 1])
def test_an_onnx_file_tells_its_training_mode(tmp_path: Path, mode: int) -> None:
    attribute, more = ("<training_mode = 1>", ", mean, var") if mode else ("", "")
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 15]> m (float[b, 2] x, float[2] s) => (float[b, 2] y)'
        f" {{ y{more} = BatchNormalization {attribute} (x, s, s, s, s) }}"
    )
    onnx.save(model, tmp_path / "m.onnx")
    found = runner.load(tmp_path / "m.onnx", declared=Signature(inputs=(), outputs=())).training_operations
    assert found == (("BatchNormalization",) if mode else ())
