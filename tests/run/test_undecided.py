"""An order or a choice between values that only rounding tells apart: right conversions pass, wrong orders don't.

Whole runs: the converter writes rewrites of the source model, which return places alone.
"""

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper, parser, save  # noqa: TID253 - makes the models

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
    graph = f"{path.stem} (float[n, 8] x) => (int64[n, 1000] y) {{ k = Constant<value_ints = [1000]>() {body} }}"
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {graph}')
    for key, array in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(array, key))
    save(model, path)


def test_places_that_rounding_decides_are_not_compared_and_all_others_are(
    convert: Any, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = project / "sabotage"
    directory.mkdir()
    (directory / "sitecustomize.py").write_text(SABOTAGE)
    monkeypatch.setenv("PYTHONPATH", str(directory))
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
        write(directory / f"{name}.onnx", 19, f"{values} {order}", {"w": wrong, "places": places})
        models.append(f"  - {{model_name: {name}, model_path: {name}.onnx}}\n")
    defaults = "target_formats: onnx\nonnx_opsets: 19\nmax_batch_size: 8\nsearch_seconds: 0\ncompare_weights: false\n"

    _, report = convert(f"defaults:\n{textwrap.indent(defaults, '  ')}models:\n{''.join(models)}")

    found = {each["model_name"]: each for each in report["results"]}
    assert {name: each["status"]["state"] for name, each in found.items()} == {
        name: state for name, (*_, state) in VARIANTS.items()
    }
    (warning,) = [each for each in found["honest"]["warnings"] if "decided by rounding alone" in each]
    assert warning.startswith("y: ")
