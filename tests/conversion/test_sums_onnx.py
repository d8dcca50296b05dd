"""Exact sums beside ONNX Runtime's own: what a file says shows, and a sum is off by what the runtime may round."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx  # noqa: TID253 - makes the models
import pytest

from navigator.errors import StepError
from navigator.records import Signature
from navigator.runners import onnx as runner
from navigator.verify.noise import FACTOR
from navigator.workers.noise import summed

SHAPE = (2, 4, 64, 64)
WEIGHTS = "float[4] s = {1, -2, 0.5, 3}, float[4] b = {0, 1, 2, 3}"


def loaded(directory: Path, body: str, opset: int, constants: str = WEIGHTS) -> runner.OnnxModel:
    text = f'<ir_version: 8, opset_import: ["": {opset}]> m (float[n, 4, 64, 64] x) => (y) <{constants}> {{ {body} }}'
    model = onnx.parser.parse_model(text)
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    onnx.save(model, directory / "m.onnx")
    return runner.load(directory / "m.onnx", declared=Signature(inputs=(), outputs=()))


def per_group(x: np.ndarray, groups: int) -> np.ndarray:
    rows = x.reshape(len(x), groups, -1)
    rows = rows - rows.mean(-1, keepdims=True)
    return np.asarray(rows / np.sqrt((rows**2).mean(-1, keepdims=True) + 1e-3)).reshape(x.shape)


S, B = (np.array(each).reshape(4, 1, 1) for each in ([1, -2, 0.5, 3], [0.0, 1, 2, 3]))
REDUCED: dict[str, Any] = {
    "Mean": lambda x, axes: x.mean(axes, keepdims=True),
    "Sum": lambda x, axes: x.sum(axes, keepdims=True),
    "L1": lambda x, axes: np.abs(x).sum(axes, keepdims=True),
    "L2": lambda x, axes: np.sqrt((x**2).sum(axes, keepdims=True)),
    "SumSquare": lambda x, axes: (x**2).sum(axes, keepdims=True),
    "LogSum": lambda x, axes: np.log(x.sum(axes, keepdims=True)),
}
CASES: dict[str, Any] = {
    **{
        f"{kind} {opset}": (
            f"y = Reduce{kind} <axes = [0, 2, 3]> (x)"
            if opset < (13 if kind == "Sum" else 18)
            else f"a = Constant <value_ints = [0, 2, 3]> () y = Reduce{kind} (x, a)",
            opset,
            lambda x, reduce=reduce: reduce(x, (0, 2, 3)),
        )
        for kind, reduce in REDUCED.items()
        for opset in (12, 17, 18)
    },
    "exponentials": (
        "y = ReduceLogSumExp <axes = [2, 3]> (x)",
        17,
        lambda x: np.log(np.exp(x).sum((2, 3), keepdims=True)),
    ),
    "running": ("a = Constant <value_int = -1> () y = CumSum (x, a)", 17, lambda x: x.cumsum(-1)),
    "backwards": (
        "a = Constant <value_ints = [2]> () y = CumSum <reverse = 1, exclusive = 1> (x, a)",
        17,
        lambda x: x[:, :, ::-1].cumsum(2)[:, :, ::-1] - x,
    ),
    "all": ("y = ReduceMean <keepdims = 0> (x)", 17, lambda x: x.mean()),
    "pooled": ("y = GlobalAveragePool (x)", 17, lambda x: x.mean((2, 3), keepdims=True)),
    "instance": (
        "y = InstanceNormalization <epsilon = 0.001> (x, s, b)",
        17,
        lambda x: per_group(x, 4) * S + B,
    ),
    "group": (
        "y = GroupNormalization <epsilon = 0.001, num_groups = 2> (x, s, b)",
        21,
        lambda x: per_group(x, 2) * S + B,
    ),
    "layer": (
        "t = Transpose <perm = [0, 2, 3, 1]> (x) y = LayerNormalization <epsilon = 0.001> (t, s, b)",
        17,
        lambda x: np.stack(
            [per_group(row.reshape(4, -1).T, 1).reshape(64, 64, 4) for row in x]
        ) * S.ravel() + B.ravel(),
    ),
    "layer of all": (
        "one = Constant <value_float = 2.0> () y = LayerNormalization <axis = 1, epsilon = 0.001> (x, one)",
        17,
        lambda x: per_group(x, 1) * 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_exact_sums_are_those_of_float64(case: str, tmp_path: Path) -> None:
    body, opset, exact = CASES[case]
    x = np.random.default_rng(0).random(SHAPE, np.float32)
    model = loaded(tmp_path, body, opset)
    found = summed(model)({"x": x})
    assert found is not None
    expected = exact(x.astype(np.float64))
    (value,) = found[0].values()
    assert value.dtype == np.float32
    assert value.shape == expected.shape == model.infer({"x": x})["y"].shape
    np.testing.assert_allclose(value, expected, rtol=2e-7, atol=2e-7)


@pytest.mark.parametrize("case", [each for each in CASES if each != "layer"])  # which adds four numbers
@pytest.mark.parametrize("number", [0.7, 0.1, 3.3])
def test_what_the_runtime_is_off_by_for_equal_numbers_is_allowed(case: str, number: float, tmp_path: Path) -> None:
    body, opset, _ = CASES[case]
    x = np.full(SHAPE, number, np.float32)
    model = loaded(tmp_path, body, opset)
    found = summed(model)({"x": x})
    assert found is not None
    exact, off = found[0]["y"], [each["y"] for each in found[1]]
    error = np.abs(model.infer({"x": x})["y"] - exact).max()
    allowed = FACTOR * max(np.abs(each - exact).max() for each in off)
    assert error <= allowed + np.finfo(np.float32).eps * np.abs(exact).max()
    assert not np.array_equal(off[0], off[1]), "to one side only, sums may cancel each other"


def test_sums_that_are_not_in_float32_stay(tmp_path: Path) -> None:
    model = loaded(tmp_path, "d = Cast <to = 11> (x) m = ReduceMean (d) y = Cast <to = 1> (m)", 17)
    with pytest.raises(StepError, match="adds nothing in float32"):
        model.summed()
    assert summed(model)({"x": np.ones(SHAPE, np.float32)}) is None
