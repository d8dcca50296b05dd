"""What only rounding decides: an order, a choice, what divides 0 by 0. Right conversions pass, others don't.

Whole runs: the converter writes rewrites of the source model.
"""

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper, parser, save  # noqa: TID253 - makes the models

from tests.run.conftest import Sabotage

SABOTAGE = """
import pathlib
import onnx.version_converter

def sabotaged(model, opset):
    return onnx.load(pathlib.Path(__file__).with_name(f"{model.graph.name}.onnx"))

onnx.version_converter.convert_version = sabotaged
"""

WIDE = 2000  # small enough to stay in the file
SUM = "p = MatMul(x, w)"
# The same sum in another order.
HALVES = """
    a, b = Split<axis = 1, num_outputs = 2>(x) v, u = Split<axis = 0, num_outputs = 2>(w)
    s = MatMul(a, v) t = MatMul(b, u) p = Add(s, t)"""
SORT = "top, y = TopK(p, k)"

DEFAULTS = "target_formats: onnx\nonnx_opsets: 19\nmax_batch_size: 8\nsearch_seconds: 0\ncompare_weights: false\n"

# How a converter computes and sorts the values, what it changes of the weights, and the state that's right.
VARIANTS = {
    "honest": (HALVES, SORT, None, "passed"),
    "off_by_one": (HALVES, "top, y0 = TopK(p, k) one = Constant<value_int = 1>() y = Add(y0, one)", None, "mismatched"),
    "smallest": (HALVES, "top, y = TopK<largest = 0>(p, k)", None, "mismatched"),
    "two_swapped": (HALVES, "top, y0 = TopK(p, k) y = Gather<axis = 1>(y0, places)", None, "mismatched"),
    "rounded": (HALVES, "h = Cast<to = 10>(p) f = Cast<to = 1>(h) top, y = TopK(f, k)", None, "mismatched"),
    "one_weight": (HALVES, SORT, (7, 11), "mismatched"),
}


def write(path: Path, opset: int, body: str, weights: dict[str, np.ndarray]) -> None:
    dtype = "float" if "Div" in body else "int64"
    graph = f"{path.stem} (float[n, 8] x) => ({dtype}[n, 1000] y) {{ k = Constant<value_ints = [1000]>() {body} }}"
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {graph}')
    for key, array in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(array, key))
    save(model, path)


@pytest.fixture
def instead(sabotage: Sabotage) -> Path:
    """A directory whose models the converter takes for its own, by the names of their graphs."""
    return sabotage(SABOTAGE)


def test_places_that_rounding_decides_are_not_compared_and_all_others_are(
    convert: Any, project: Path, instead: Path
) -> None:
    weight = np.random.default_rng(0).normal(size=(8, WIDE)).astype(np.float32)
    # Pairs of values that are all but equal.
    weight[:, :16] = np.nextafter(weight[:, 16:32], np.where(np.arange(8) % 2, 9, -9)[:, None].astype(np.float32))
    places = np.arange(1000)
    places[[2, 3]] = [3, 2]
    models = []
    for name, (values, order, changed, _) in VARIANTS.items():
        wrong = weight.copy()
        if changed:
            wrong[changed] += 0.5
        write(project / f"{name}.onnx", 18, f"{SUM} {SORT}", {"w": weight})
        write(instead / f"{name}.onnx", 19, f"{values} {order}", {"w": wrong, "places": places})
        models.append(f"  - {{model_name: {name}, model_path: {name}.onnx}}\n")

    _, report = convert(f"defaults:\n{textwrap.indent(DEFAULTS, '  ')}models:\n{''.join(models)}")

    found = {each["model_name"]: each for each in report["results"]}
    assert {name: each["status"]["state"] for name, each in found.items()} == {
        name: state for name, (*_, state) in VARIANTS.items()
    }
    (warning,) = [each for each in found["honest"]["warnings"] if "decided by rounding alone" in each]
    assert warning.startswith("y: ")


# For a row of zeros, it's 0 / (0 + epsilon) if 0.3 - 0.2 is rounded as in the source model.
QUOTIENT = "p = MatMul(x, w) q = Add(p, tenth) {difference} d = Sub(q, c) a = Abs(d) e = Add(a, {epsilon}) {last}"
SUBTRACTED, FOLDED, LAST = "c = Sub(three, two)", "c = Identity(folded)", "y = Div(d, e)"
TINY, LARGE = "tiny", "large"
WRONG_AT_ZEROS = "y0 = Div(d, e) f = Less(a, tiny) g = CastLike(f, y0) {more} y = Add(y0, h)"

# The epsilon, what a converter makes of the graph, and the state that's right.
QUOTIENTS = {
    "folded": (TINY, FOLDED, LAST, "passed"),
    "wrong_elsewhere": (TINY, FOLDED, "m = Max(d, zero) y = Div(m, e)", "mismatched"),
    "by_far": (TINY, SUBTRACTED, WRONG_AT_ZEROS.format(more="h = Mul(g, nine)"), "mismatched"),
    "stable": (LARGE, SUBTRACTED, WRONG_AT_ZEROS.format(more="h = Mul(g, three)"), "mismatched"),
}


def test_a_sample_of_which_rounding_decides_all_is_left_out(convert: Any, project: Path, instead: Path) -> None:
    """Only if the source model is as unstable there, and nothing else differs."""
    numbers = {"three": 0.3, "two": 0.2, "folded": 0.1, "tiny": 1e-9, "large": 1.0, "nine": 9.0, "zero": 0.0}
    # As long as a weight whose last bits are changed.
    weights = {name: np.full(1000, value, np.float32) for name, value in numbers.items()}
    weights |= {"tenth": weights["three"] - weights["two"]}
    weights |= {"w": np.random.default_rng(0).normal(size=(8, 1000)).astype(np.float32)}
    models = []
    for name, (epsilon, difference, last, _) in QUOTIENTS.items():
        write(project / f"{name}.onnx", 18, QUOTIENT.format(difference=SUBTRACTED, epsilon=epsilon, last=LAST), weights)
        body = QUOTIENT.format(difference=difference, epsilon=epsilon, last=last)
        write(instead / f"{name}.onnx", 19, body, weights)
        models.append(f"  - {{model_name: {name}, model_path: {name}.onnx}}\n")

    _, report = convert(f"defaults:\n{textwrap.indent(DEFAULTS, '  ')}models:\n{''.join(models)}")

    found = {each["model_name"]: each for each in report["results"]}
    assert {name: each["status"]["state"] for name, each in found.items()} == {
        name: state for name, (*_, state) in QUOTIENTS.items()
    }
    (warning,) = [each for each in found["folded"]["warnings"] if "isn't compared" in each]
    assert warning.startswith("sample zeros isn't compared: ")
