"""A deep ONNX model's own rounding: rewrites that mean the same pass, a wrong weight doesn't."""

import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx  # noqa: TID253 - makes the models
import onnxruntime  # noqa: TID253 - is watched
import pytest

from navigator.frameworks.onnx import sessions
from navigator.records import Precision, Signature, Verdict
from navigator.runners import onnx as runner
from navigator.verify.compare import verify
from navigator.verify.noise import Noise, measured
from navigator.verify.outputs import Outputs
from navigator.verify.tolerances import tolerances
from navigator.workers.noise import probes, rounded
from tests.support.builders import a_model

WIDTH = 16
SCALES = {"w": 0.3, "v": 0.5}

# How a residual block may add the same numbers in other orders.
_SPLIT = "l{k}, r{k} = Split<axis = 1>(x{k}, halves) e{k} = MatMul(l{k}, top{k}) f{k} = MatMul(r{k}, bottom{k})"
_SECOND = "t{k} = Relu(c{k}) d{k} = MatMul(t{k}, v{k}) x{n} = Add(x{k}, d{k})"
_GEMM = "t{k} = Relu(c{k}) x{n} = Gemm<transB = 1>(t{k}, vt{k}, x{k})"
SOURCE = f"a{{k}} = MatMul(x{{k}}, w{{k}}) c{{k}} = Add(a{{k}}, b{{k}}) {_SECOND}"
REWRITES = {
    "split": f"{_SPLIT} a{{k}} = Add(e{{k}}, f{{k}}) c{{k}} = Add(a{{k}}, b{{k}}) {_SECOND}",
    "Gemm": f"c{{k}} = Gemm<transB = 1>(x{{k}}, wt{{k}}, b{{k}}) {_GEMM}",
    "bias first": f"{_SPLIT} g{{k}} = Add(f{{k}}, b{{k}}) c{{k}} = Add(e{{k}}, g{{k}}) {_SECOND}",
    "other order": f"{_SPLIT} a{{k}} = Add(f{{k}}, e{{k}}) c{{k}} = Add(b{{k}}, a{{k}}) {_GEMM}",
}


class Residual:
    """Residual blocks with random weights, whose outputs grow to thousands, run on some samples."""

    def __init__(self, directory: Path, seed: int, blocks: int = 12) -> None:
        rng = np.random.default_rng(seed)
        self.directory, self.blocks = directory, blocks

        def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
            return (rng.normal(size=shape) * scale).astype(np.float32)

        self.weights = {
            f"{name}{k}": normal(WIDTH, WIDTH, scale=s) for k in range(blocks) for name, s in SCALES.items()
        }
        self.weights |= {f"b{k}": normal(WIDTH) for k in range(blocks)}
        # The last one has larger values than the others, and so more noise.
        self.samples = [
            (name, {"x": normal(rows, WIDTH, scale=scale)})
            for name, rows, scale in (("min", 1, 1.0), ("opt", 4, 1.0), ("max", 9, 1.0), ("loud", 2, 3.0))
        ]
        source = self.load(SOURCE)
        self.expected = self.run(source)
        found = probes(source, self.samples, self.expected)
        self.noise: Mapping[str, Noise] = measured(self.expected, found.rounded, {}, found.batches)

    def load(self, block: str, changes: Mapping[str, Any] | None = None) -> runner.OnnxModel:
        weights = self.weights | dict(changes or {})
        constants: dict[str, Any] = {"halves": np.array([WIDTH // 2] * 2), **weights}
        for k in range(self.blocks):
            w, v = weights[f"w{k}"], weights[f"v{k}"]
            constants |= {f"wt{k}": w.T.copy(), f"vt{k}": v.T.copy()}
            constants |= {f"top{k}": w[: WIDTH // 2], f"bottom{k}": w[WIDTH // 2 :]}
        body = " ".join(block.format(k=k, n=k + 1) for k in range(self.blocks))
        head = '<ir_version: 8, opset_import: ["" : 13]>'
        signature = f"(float[n, {WIDTH}] x) => (float[n, {WIDTH}] y)"
        text = f"{head} m {signature} {{ x0 = Identity(x) {body} y = Identity(x{self.blocks}) }}"
        model = onnx.parser.parse_model(text)
        for name in sorted({each for node in model.graph.node for each in node.input} & constants.keys()):
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(constants[name]), name))
        onnx.save(model, self.directory / "m.onnx")
        return runner.load(self.directory / "m.onnx", declared=Signature(inputs=(), outputs=()))

    def run(self, model: runner.OnnxModel) -> list[tuple[str, dict[str, np.ndarray]]]:
        return [(name, model.infer(inputs)) for name, inputs in self.samples]

    def verdict(self, model: runner.OnnxModel) -> Verdict:
        allowed = tolerances(a_model(), Precision.FP32, self.expected, self.noise)
        return verify(self.expected, self.run(model), atol=allowed.atol, rtol=allowed.rtol, noise=self.noise)


def alarms(directory: Path, seeds: range, blocks: int) -> list[tuple[int, str, str]]:
    """Return the rewrites that don't pass."""
    found = []
    for seed in seeds:
        model = Residual(directory, seed, blocks)
        for name, block in REWRITES.items():
            verdict = model.verdict(model.load(block))
            found += [(seed, name, str(verdict.comparisons))] if not verdict.passed else []
    return found


@pytest.fixture(params=["weights", "factors"])
def moving(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a large model, what matrices are multiplied by moves instead of them."""
    monkeypatch.setattr(sessions, "_LARGE_BYTES", 0 if request.param == "factors" else 2**60)


@pytest.mark.usefixtures("moving")
def test_rewrites_of_a_deep_network_pass(tmp_path: Path) -> None:
    assert not alarms(tmp_path, range(28, 32), 12)


@pytest.mark.nightly
@pytest.mark.usefixtures("moving")
@pytest.mark.parametrize("blocks", [4, 12, 20])
def test_rewrites_of_many_deep_networks_pass(tmp_path: Path, blocks: int) -> None:
    assert not alarms(tmp_path, range(60), blocks)


@pytest.mark.usefixtures("moving")
@pytest.mark.parametrize("seed", [1, 2])
def test_one_wrong_weight_of_a_deep_network_does_not_pass(tmp_path: Path, seed: int) -> None:
    model = Residual(tmp_path, seed)
    planted = [(f"{name}{k}", by) for k in range(model.blocks) for name, by in (("w", 1e-2), ("v", 1e-2), ("b", 0.3))]
    changes = [{name: changed(model.weights[name], by)} for name, by in planted]
    missed = [each for each in changes if model.verdict(model.load(REWRITES["other order"], each)).passed]
    # What ReLU cuts off in every sample can't be seen.
    seen = [each for each in missed if not same(model.expected, model.run(model.load(SOURCE, each)))]
    assert not [list(each) for each in seen]
    assert len(missed) < model.blocks


def changed(weight: np.ndarray, by: float) -> np.ndarray:
    weight = weight.copy()
    weight.flat[3] += by
    return weight


def same(one: Outputs, other: Outputs) -> bool:
    return all(np.array_equal(left["y"], right["y"]) for (_, left), (_, right) in zip(one, other, strict=True))


def test_weights_one_step_away_are_part_of_the_noise(tmp_path: Path) -> None:
    model = Residual(tmp_path, 0)
    source = model.load(SOURCE)
    before = source.infer(model.samples[1][1])["y"]
    with source.perturbed() as other:
        after = other.infer(model.samples[1][1])["y"]
    assert 1e-5 < np.abs(after - before).max() < 1
    assert np.array_equal(source.infer(model.samples[1][1])["y"], before)


def test_factors_show_as_much_rounding_as_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Residual(tmp_path, 0)
    source, expected = model.load(SOURCE), dict(model.expected)
    found = []
    for limit in (0, 2**60):
        monkeypatch.setattr(sessions, "_LARGE_BYTES", limit)
        moved = [after["y"] / expected[name]["y"] - 1 for name, after in rounded(source, model.samples)]
        found.append(float(np.median(np.abs(np.concatenate(moved)))))
    assert 0.5 < found[0] / found[1] < 2


def test_only_weights_are_stepped(tmp_path: Path) -> None:
    from navigator.frameworks.onnx.steps import stepped

    values: dict[str, np.ndarray] = {
        "weight": np.array([[0.0, -1.5, 2.0]], np.float32),
        "half": np.array([1.0, 2.0], np.float16),
        "exponent": np.array(2.0, np.float32),
        "mask": np.array([0, -np.inf], np.float32),
        "index": np.array([1, 2]),
    }
    graph = onnx.helper.make_graph(
        [], "g", [], [], [onnx.numpy_helper.from_array(value, name) for name, value in values.items()]
    )
    onnx.save(onnx.helper.make_model(graph), tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0)
    model = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    found = dict(stepped(model, tmp_path / "m.onnx"))
    assert found.keys() == {"weight", "half"}
    for name, value in found.items():
        steps = np.abs(value - values[name]) / np.spacing(np.abs(values[name]))
        assert value.dtype == values[name].dtype
        assert set(steps[values[name] != 0].tolist()) <= {0.5, 1.0}
        assert np.array_equal(value == 0, values[name] == 0)


@pytest.mark.parametrize("external", [True, False])
def test_a_large_weight_with_an_infinity_at_its_end_stays(tmp_path: Path, external: bool) -> None:
    from navigator.frameworks.onnx.steps import _PIECE, stepped

    values = np.append(np.ones(_PIECE, np.float32), np.float32(np.inf))
    graph = onnx.helper.make_graph([], "g", [], [], [onnx.numpy_helper.from_array(values, "w")])
    path = tmp_path / "m.onnx"
    onnx.save(onnx.helper.make_model(graph), path, save_as_external_data=external, size_threshold=0)
    model = onnx.load(path, load_external_data=False)
    assert not list(stepped(model, path))
    after = onnx.numpy_helper.to_array(model.graph.initializer[0], str(tmp_path))
    assert np.array_equal(after, values)


def test_no_session_takes_cores_from_other_workers_while_it_waits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given: list[Any] = []
    opens = onnxruntime.InferenceSession

    def session(source: Any, settings: Any, **options: Any) -> Any:
        given.append(settings)
        return opens(source, settings, **options)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    with Residual(tmp_path, 0).load(SOURCE).perturbed():
        assert len(given) >= 2
    for each in given:
        assert each.get_session_config_entry("session.intra_op.allow_spinning") == "0"


# A main graph, a branch and a function, each with a constant; short ones and whole numbers stay.
INNER = """
<ir_version: 8, opset_import: ["" : 17, "own" : 1]> m (float[n, 9] x, bool c) => (float[n, 9] y)
<float[9] bias = {1, 2, 3, 4, 5, 6, 7, 8, 9}> {
    w = Constant<value = float[9] {1, 2, 3, 4, 5, 6, 7, 8, 9}>()
    k = Constant<value = int64[9] {1, 2, 3, 4, 5, 6, 7, 8, 9}>()
    s = Constant<value = float[2] {0.5, 1.5}>()
    a = Mul(x, w)
    b = If(c) <
        then_branch = one () => (float[9] p) { p = Constant<value = float[9] {1, 2, 3, 4, 5, 6, 7, 8, 9}>() },
        else_branch = two () => (float[9] q) <float[9] e = {1, 2, 3, 4, 5, 6, 7, 8, 9}> { q = Identity(e) }
    >
    d = Add(a, b) f = own.scaled(d) y = Add(f, bias)
}
<domain: "own", opset_import: ["" : 17]> scaled (z) => (r) {
    g = Constant<value = float[9] {1, 2, 3, 4, 5, 6, 7, 8, 9}>() r = Mul(z, g)
}
"""


def test_constants_branches_and_functions_have_weights_too(tmp_path: Path) -> None:
    from navigator.frameworks.onnx.steps import stepped
    from navigator.frameworks.onnx.weights import tensors

    model = onnx.parser.parse_model(INNER)
    before = [onnx.numpy_helper.to_array(each) for each in tensors(model)]
    assert [name for name, _ in stepped(model, tmp_path / "m.onnx")] == ["bias"]
    after = [onnx.numpy_helper.to_array(each) for each in tensors(model)]
    moved = [not np.array_equal(*pair) for pair in zip(before, after, strict=True)]
    # Only the main graph's initializer stays in the file: a session gets another one for it.
    assert [each.dtype.kind == "f" and each.size == 9 for each in before][1:] == moved[1:]
    assert not moved[0]
    assert sum(moved) == 4


@pytest.mark.parametrize("flag", [True, False])
def test_constants_one_step_away_are_part_of_the_noise(tmp_path: Path, flag: bool) -> None:
    onnx.save(onnx.parser.parse_model(INNER), tmp_path / "m.onnx")
    model = runner.load(tmp_path / "m.onnx", declared=Signature(inputs=(), outputs=()))
    inputs = {"x": np.full((2, 9), 3, np.float32), "c": np.array(flag)}
    before = model.infer(inputs)["y"]
    with model.perturbed() as other:
        after = other.infer(inputs)["y"]
    # The rounding of one product in one weight is half of a step of it: more moved.
    steps = np.abs(after - before) / np.spacing(before)
    assert 1 < steps.max() < 20


@pytest.mark.parametrize("limit", [0, 2**40])
def test_much_external_data_is_held_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """A session makes room for the one with other weights, and opens again for the next run."""
    monkeypatch.setattr(runner, "_MAPPED_BYTES", limit)
    text = '<ir_version: 8, opset_import: ["" : 17]> m (float[n, 256] x) => (float[n, 256] y) { y = MatMul(x, w) }'
    model = onnx.parser.parse_model(text)
    weights = np.random.default_rng(0).standard_normal((256, 256), np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data")
    opened: list[weakref.ref[Any]] = []
    opens = onnxruntime.InferenceSession

    def session(*arguments: Any, **options: Any) -> Any:
        made = opens(*arguments, **options)
        opened.append(weakref.ref(made))
        return made

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    source = runner.load(tmp_path / "m.onnx", declared=Signature(inputs=(), outputs=()))
    inputs = {"x": np.ones((2, 256), np.float32)}
    before = source.infer(inputs)["y"]
    with source.perturbed() as other:
        away = other.infer(inputs)["y"]
        held = [each() is not None for each in opened]
    assert held == ([False, True] if limit == 0 else [True, True])
    assert np.array_equal(source.infer(inputs)["y"], before)
    assert len(opened) == (3 if limit == 0 else 2)
    np.testing.assert_allclose(before, inputs["x"] @ weights, rtol=1e-4, atol=1e-4)
    assert 0 < np.abs(away - before).max() < 1e-3
