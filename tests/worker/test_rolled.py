"""A state rolled forward: errors that one step hides are found, and right rewrites stay right."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx  # noqa: TID253 - makes the models
import pytest
from onnx import numpy_helper, parser  # noqa: TID253

from navigator.errors import StepError
from navigator.records import Signature
from navigator.runners import onnx as runner
from navigator.workers.rolled import roll_converted
from tests.support.rolling import Judged, configured, judged, source_of

RNG = np.random.default_rng(0)


def normal(*shape: int, scale: float = 1.0) -> Any:
    return (RNG.normal(size=shape) * scale).astype(np.float32)


W, R, B = normal(1, 48, 8, scale=0.3), normal(1, 48, 16, scale=0.3), normal(1, 96, scale=0.1)
B[0, :16] += 2  # so that most of the state stays

CONSTANTS: dict[str, Any] = {
    "w": W,
    "r": R,
    "b": B,
    "v": normal(16, 4),
    "wx": normal(8, 16, scale=0.5),
    "wr": normal(16, 16, scale=0.5),
    **{f"w_{gate}": part.T for gate, part in zip("zrh", np.split(W[0], 3), strict=True)},
    **{f"r_{gate}": part.T for gate, part in zip("zrh", np.split(R[0], 3), strict=True)},
    **{f"b{number}": part for number, part in enumerate(np.split(B[0], 6))},
    "ax0": np.array([0]),
    "ax1": np.array([1]),
    "one": np.float32(1),
    "three": np.float32(3),
    "drift": np.float32(1.000005),
    "tiny": np.float32(5e-6),
    "high": np.float32(40),
    "low": np.float32(-40),
    "decay": np.float32(0.99),
    "gain": np.float32(0.01),
    "gain_off": np.float32(0.009999),
    "ione": np.array(1),
    "minus": np.array(-1),
    "late": np.array(255),
    "hundredth": np.float32(0.01),
    "table": normal(32, 8),
    "places": normal(512, 8),
    "wk": normal(8, 8, scale=0.5),
    "big": np.float32(1e9),
}
GRU = (
    "xs = Unsqueeze(x, ax0) "
    "ys, hn = GRU<hidden_size = 16, linear_before_reset = 1>(xs, w, r, b, , h) q = Squeeze(hn, ax0) y = MatMul(q, v)"
)
GATES = " ".join(
    f"{gate}1 = MatMul(x, w_{gate}) {gate}2 = Add({gate}1, b{number}) "
    f"{gate}3 = MatMul(h0, r_{gate}) {gate}4 = Add({gate}3, b{number + 3})"
    for number, gate in enumerate("zrh")
)
GRU_BY_HAND = (
    f"h0 = Squeeze(h, ax0) {GATES} z5 = Add(z2, z4) z = Sigmoid(z5) r5 = Add(r2, r4) reset = Sigmoid(r5) "
    "h5 = Mul(reset, h4) h6 = Add(h2, h5) g = Tanh(h6) o = Sub(one, z) o1 = Mul(o, g) o2 = Mul(z, h0) "
    "q = Add(o1, o2) hn = Unsqueeze(q, ax0) y = MatMul(q, v)"
)
MEAN = "p = Mul(ema, decay) q = Mul(x, gain) new_ema = Add(p, q)"
EMA = f"{MEAN} y = Sub(x, new_ema)"
SUM = "k = Identity(x) new_sum = Add(sum, k) y = Mul(new_sum, hundredth)"
COUNTER = "count_out = Add(count, ione) f = Cast<to = 1>(count) l = Mul(f, hundredth) y = Add(x, l)"
CHAOS = (
    "a = MatMul(state, wr) u = MatMul(x, wx) s = Add(a, u) t = Mul(s, three) new_state = Sin(t) "
    "y = MatMul(new_state, v)"
)
CACHE = (
    "e = Gather(table, ids) p = Gather(places, position_ids) h = Add(e, p) kept = Identity(past) k = MatMul(h, wk) "
    "present = Concat<axis = 1>(kept, k) t = Transpose<perm = [0, 2, 1]>(present) s = MatMul(h, t) "
    "m = Cast<to = 1>(mask) i = Sub(one, m) j = Mul(i, big) u = Unsqueeze(j, ax1) l = Sub(s, u) "
    "a = Softmax<axis = 2>(l) y = MatMul(a, present)"
)
TURNED = "g = Transpose<perm = [0, 2, 1]>(h) o = MatMul(present, g) s = Transpose<perm = [0, 2, 1]>(o)"
MODELS = {
    "gru": ("(float[n, 8] x, float[1, n, 16] h) => (float[n, 4] y, float[1, n, 16] hn)", GRU),
    "ema": ("(float[n, 8] x, float[n, 8] ema) => (float[n, 8] y, float[n, 8] new_ema)", EMA),
    "sum": ("(float[n, 8] x, float[n, 8] sum) => (float[n, 8] y, float[n, 8] new_sum)", SUM),
    "counter": ("(float[n, 8] x, int64[1] count) => (float[n, 8] y, int64[1] count_out)", COUNTER),
    "chaos": ("(float[n, 8] x, float[n, 16] state) => (float[n, 4] y, float[n, 16] new_state)", CHAOS),
    "cache": (
        (
            "(int64[n, 1] ids, int64[n, 1] position_ids, int64[n, past_and_one] mask, float[n, past, 8] past) => "
            "(float[n, 1, 8] y, float[n, longer, 8] present)"
        ),
        CACHE,
    ),
}
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "cache": {"max_shapes": {"past": (2, 40, 8)}, "min_shapes": {"past": (1, 3, 8)}}
}


def loaded(path: Path, name: str, body: str) -> runner.OnnxModel:
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> m {MODELS[name][0]} {{ {body} }}')
    for given in model.graph.input:
        for size in given.type.tensor_type.shape.dim:
            if size.dim_param == "past_and_one":
                size.dim_param = "past + 1"  # the parser knows no arithmetic
    read = {value for node in model.graph.node for value in node.input}
    for constant in sorted(read & CONSTANTS.keys()):
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(CONSTANTS[constant]), constant))
    onnx.save(model, path)
    return runner.load(path, declared=Signature(inputs=(), outputs=()))


def run(directory: Path, name: str, *changes: str, body: str = "", **options: Any) -> Judged:
    """Judge a conversion of a model that is it with pieces of its body replaced, or another body."""
    source = MODELS[name][1]
    other = body or source
    for old, new in zip(changes[::2], changes[1::2], strict=True):
        assert old in other
        other = other.replace(old, new)
    path = directory / "source.onnx"
    config = configured(path, **{**OPTIONS.get(name, {}), **options})
    return judged(loaded(path, name, source), loaded(directory / "converted.onnx", name, other), config)


@pytest.mark.parametrize(
    ("name", "changes", "body"),
    [
        pytest.param("gru", (), GRU_BY_HAND, id="GRU by hand"),
        pytest.param("ema", (MEAN, "d = Sub(x, ema) q = Mul(d, gain) new_ema = Add(ema, q)"), "", id="increment"),
        pytest.param(
            "sum", ("k = Identity(x) new_sum = Add(sum, k)", "k = Neg(x) new_sum = Sub(sum, k)"), "", id="sum"
        ),
        pytest.param("counter", ("Add(count, ione)", "Sub(count, minus)"), "", id="counter"),
        pytest.param(
            "cache",
            (
                "s = MatMul(h, t)",
                "g = Transpose<perm = [0, 2, 1]>(h) o = MatMul(present, g) s = Transpose<perm = [0, 2, 1]>(o)",
            ),
            "",
            id="cache",
        ),
    ],
)
def test_honest_rewrites_pass_after_many_steps(tmp_path: Path, name: str, changes: Any, body: str) -> None:
    found = run(tmp_path, name, *changes, body=body)
    assert found.rolled is not None
    assert found.passed, found.rolled
    steps = found.rolled.comparisons[0].steps
    assert steps[:4] == (2, 4, 8, 16)
    assert steps[-1] == (38 if name == "cache" else 300)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        pytest.param("gru", ("ys, hn = GRU", "ys, hq = GRU", " q = ", " hn = Mul(hq, drift) q = "), id="drift"),
        pytest.param("ema", ("q = Mul(x, gain)", "q = Mul(x, gain_off)"), id="another gain"),
        pytest.param("ema", ("new_ema = Add(p, q)", "n = Add(p, q) new_ema = Add(n, tiny)"), id="bias"),
        pytest.param("sum", ("new_sum = Add(sum, k)", "n = Add(sum, k) new_sum = Clip(n, low, high)"), id="saturates"),
        pytest.param(
            "counter", ("count_out = Add(count, ione)", "k = Add(count, ione) count_out = Min(k, late)"), id="late"
        ),
        pytest.param(
            "counter",
            ("count_out = Add(count, ione)", "k = Add(count, ione) u = Cast<to = 2>(k) count_out = Cast<to = 7>(u)"),
            id="8 bits",
        ),
        pytest.param("cache", ("kept = Identity(past)", "kept = Mul(past, drift)"), id="cache that drifts"),
    ],
)
def test_errors_that_one_step_hides_are_found(tmp_path: Path, name: str, changes: tuple[str, ...]) -> None:
    found = run(tmp_path, name, *changes)
    assert found.single.passed
    assert found.rolled is not None
    assert not found.passed
    assert "the error when the state is fed back is" in found.rolled.warnings[0]
    assert run(tmp_path, name, *changes, state_steps=0).passed, "no sample of a single step shows it"


def test_a_chaotic_model_is_compared_until_rounding_decides(tmp_path: Path) -> None:
    honest = ("s = Add(a, u) t = Mul(s, three)", "a3 = Mul(a, three) u3 = Mul(u, three) t = Add(a3, u3)")
    found = run(tmp_path, "chaos", *honest)
    assert found.passed
    assert found.rolled is not None
    last = found.rolled.comparisons[0].steps[-1]
    assert last < 16
    assert found.note.startswith(f"states: compared after up to {last} steps, since rounding alone changes ")


def test_a_tolerance_of_the_users_is_strict_while_rounding_leaves_room(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    source = loaded(path, "chaos", CHAOS)
    found = judged(source, source, configured(path, atol={"": 1e-6}, rtol={"": 0.0}))
    assert found.rolled is None or found.rolled.comparisons[0].steps[-1] <= 2


def test_the_report_says_what_feeds_what(tmp_path: Path) -> None:
    model = loaded(tmp_path / "m.onnx", "gru", GRU)
    _, rolled, _ = source_of(model, configured(tmp_path / "m.onnx"))
    assert rolled.notes == ("states: hn feeds h (found by names), rolled forward 300 steps",)
    first = rolled.infos[0]
    assert (first.name, dict(first.values)) == ("rolled_2", {"x": "0 to 1", "h": "hn of the step before"})
    _, rolled, _ = source_of(model, configured(tmp_path / "m.onnx", states={"hn": "h"}, state_steps=5))
    assert rolled.notes == ("states: hn feeds h (as declared), rolled forward 5 steps",)
    assert [name for name, _ in rolled.outputs] == ["rolled_2", "rolled_4", "rolled_5"]


def test_a_cache_without_room_is_not_rolled(tmp_path: Path) -> None:
    model = loaded(tmp_path / "m.onnx", "cache", CACHE)
    shapes = {"past": (1, 3, 8)}
    _, rolled, _ = source_of(model, configured(tmp_path / "m.onnx", min_shapes=shapes, max_shapes=shapes))
    assert rolled.roll is None
    assert rolled.notes == (
        "states: present feeds past (found by names) can't be rolled forward: they have no room to grow",
    )


def test_a_source_model_is_rolled_as_far_as_it_runs(tmp_path: Path) -> None:
    body = COUNTER.replace("l = Mul(f, hundredth)", "i = Gather(places, count) j = ReduceSum(i) l = Mul(f, j)")
    model = loaded(tmp_path / "m.onnx", "counter", body)
    _, rolled, _ = source_of(model, configured(tmp_path / "m.onnx", state_steps=600, value_ranges={"count": (0, 0)}))
    assert rolled.roll is not None
    assert 500 < rolled.roll.kept[-1] <= 512
    assert "can't be run: ONNX Runtime fails on" in rolled.notes[0]


def test_the_inputs_of_steps_are_kept_with_the_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = loaded(tmp_path / "m.onnx", "gru", GRU)
    _, rolled, _ = source_of(model, configured(tmp_path / "m.onnx", state_steps=64))
    assert [name for name, _ in rolled.given] == [name for name, _ in rolled.outputs]
    for (_, given), (_, outputs) in zip(rolled.given, rolled.outputs, strict=True):
        again = model.infer(given)
        assert all(np.array_equal(again[name], outputs[name]) for name in outputs)

    monkeypatch.setattr("navigator.workers.rolled._GIVEN_BYTES", 1)
    _, large, _ = source_of(model, configured(tmp_path / "m.onnx", state_steps=64))
    assert [name for name, _ in large.outputs] == [name for name, _ in rolled.outputs]
    assert [name for name, _ in large.given] == ["rolled_2", "rolled_64"]


def test_nan_ends_a_roll(tmp_path: Path) -> None:
    body = "k = Sub(ema, hundredth) new_ema = Identity(k) l = Sqrt(k) y = Add(x, l)"
    model = loaded(tmp_path / "m.onnx", "ema", body)
    _, rolled, _ = source_of(model, configured(tmp_path / "m.onnx", value_ranges={"ema": (0.5, 1.0)}))
    assert rolled.roll is not None
    assert 20 < rolled.roll.kept[-1] < 110
    assert "returns NaN in y" in rolled.notes[0]


def test_a_converted_model_that_gets_stuck_fails(tmp_path: Path) -> None:
    bounded = ("y = Add(x, l)", "i = Gather(table, count) j = ReduceSum(i) o = Sub(j, j) y1 = Add(x, l) y = Add(y1, o)")
    found = run(tmp_path, "counter", *bounded)
    assert found.single.passed
    assert found.rolled is not None
    assert found.rolled.comparisons[0].problem.startswith("the state can't be fed back: ONNX Runtime fails on")


def test_a_declared_state_of_another_shape_is_refused(tmp_path: Path) -> None:
    model = loaded(tmp_path / "m.onnx", "cache", CACHE)
    options = {**OPTIONS["cache"], "states": {"y": "past"}}
    with pytest.raises(StepError, match=r"states: output 'y' of shape \[1, 1, 8\] can't feed input 'past'"):
        source_of(model, configured(tmp_path / "m.onnx", **options))


def test_a_converted_model_without_the_state_says_so(tmp_path: Path) -> None:
    source = loaded(tmp_path / "m.onnx", "gru", GRU)
    _, rolled, _ = source_of(source, configured(tmp_path / "m.onnx"))
    assert rolled.roll is not None

    class Forgetful:
        signature, properties = source.signature, source.properties

        def infer(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {"y": source.infer(inputs)["y"]}

    assert roll_converted(Forgetful(), rolled.roll, rolled.steps) == ([], "it returns no hn")
