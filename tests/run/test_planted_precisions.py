"""Errors planted in what the conversions to fp16 and int8 write: weights, scales and zero points. Whole runs."""

import json
import re
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper, parser, save  # noqa: TID253 - makes the model

from tests.run.conftest import Sabotage

SABOTAGE = '''
import json, pathlib
import numpy, onnx
from navigator.frameworks.onnx import graph

ERRORS = json.loads((pathlib.Path(__file__).parent / "errors.json").read_text())
right = graph.save

def sabotaged(model, destination):
    """A worker's directory is .scratch/<model>/<conversion>/convert."""
    right(model, destination)
    error = ERRORS.get("/".join(pathlib.Path.cwd().parts[-3:-1]))
    if error is None:
        return
    name, change = error
    made = onnx.load(destination)
    found, = (each for each in made.graph.initializer if each.name == name)
    values = {"a": onnx.numpy_helper.to_array(found).copy()}
    dtype = values["a"].dtype
    exec(change, {"np": numpy}, values)
    found.CopyFrom(onnx.numpy_helper.from_array(values["a"].astype(dtype), name))
    onnx.save(made, destination)

graph.save = sabotaged
'''

MODEL = """
<ir_version: 8, opset_import: ["" : 19]> m (float[n, 16] x) => (float[n, 8] y) {
    p = MatMul(x, w) b = Add(p, bias) r = Relu(b) q = MatMul(r, v) y = Add(q, c)
}
"""

# Its scores are undecided where the rounding of fp16 shows.
STEEP = MODEL.replace("y = Add(q, c)", "z = Add(q, c) k = Constant<value_float = 100.0>() s = Mul(z, k) y = Sigmoid(s)")

# Each initializer that is changed, and how.
ERRORS = {
    "fp16": {
        "one channel doubled": ("v_fp16", "a[:, 2] *= 2"),
        "one channel negated": ("v_fp16", "a[:, 2] *= -1"),
        "channels swapped": ("v_fp16", "a = a[:, [1, 0, 2, 3, 4, 5, 6, 7]]"),
        "one row lost": ("w_fp16", "a[5] = 0"),
        "bias lost": ("bias_fp16", "a[:] = 0"),
        "bias of one channel": ("c_fp16", "a[5] += 0.5"),
        "an overflow": ("w_fp16", "a[3, 4] = np.inf"),
        "one weight by 1 %": ("w_fp16", "a[3, 4] *= 1.01"),
    },
    "int8": {
        "one scale doubled": ("v_1_scale_int8", "a[2] *= 2"),
        "one scale halved": ("v_1_scale_int8", "a[3] /= 2"),
        "scales of other channels": ("w_1_scale_int8", "a = np.roll(a, 1) * 1.5"),
        "input saturated": ("x_scale_int8", "a = a * 0.3"),
        "hidden values saturated": ("r_scale_int8", "a = a * 0.3"),
        "zero point": ("x_zero_int8", "a[...] = 120"),
        "one channel negated": ("v_1_quantized_int8", "a[:, 1] *= -1"),
        "one row lost": ("w_1_quantized_int8", "a[5] = 0"),
        "one weight by a step": ("w_1_quantized_int8", "a[3, 4] -= np.sign(a[3, 4])"),
        "bias of one channel": ("c", "a[5] += 1.5"),
    },
}
LABELS = {"fp16": "onnx_fp16", "int8": "onnx_int8_single"}
QUICK = {"fp16": ["one channel doubled", "one weight by 1 %"], "int8": ["one scale doubled", "one weight by a step"]}


def check(
    convert: Any, project: Path, sabotage: Sabotage, wanted: dict[str, list[str]], text: str = MODEL
) -> dict[str, Any]:
    """Convert to the steps on the way to engines, one for each error and one right one; compare their states.

    Returns the results by the name of the error.
    """
    rng = np.random.default_rng(0)
    model = parser.parse_model(text)
    for name, shape in {"w": (16, 24), "bias": (24,), "v": (24, 8), "c": (8,)}.items():
        weight = (rng.standard_normal(shape) * 0.4).astype("float32")
        model.graph.initializer.append(numpy_helper.from_array(weight, name))
    save(model, project / "m.onnx")
    for number in range(4):
        np.save(project / f"{number}.npy", rng.standard_normal((4 if text == MODEL else 64, 16)).astype("float32"))
    directory = sabotage(SABOTAGE)
    errors, expected, lines = {}, {}, []
    for precision, names in wanted.items():
        for number, name in enumerate([*names, "right"]):
            key = f"{precision}_{number}"
            if name != "right":
                errors[key] = ERRORS[precision][name]
            expected[key] = ("passed" if name == "right" else "mismatched", name)
            lines.append(f"  - {{model_name: {key}, tensorrt_precisions: {precision}}}\n")
    (directory / "errors.json").write_text(
        json.dumps({f"{key}/{LABELS[key[:4]]}": each for key, each in errors.items()})
    )
    defaults = """\
        model_path: m.onnx
        target_formats: trt-rtx
        tensorrt_precisions_mode: single
        tensorrt_rtx_compute_capabilities: ["8.9"]
        max_batch_size: 8
        samples: [0.npy, 1.npy, 2.npy, 3.npy]
    """

    _, report = convert(f"defaults:\n{textwrap.indent(textwrap.dedent(defaults), '  ')}models:\n{''.join(lines)}")

    found = {each["model_name"]: each for each in report["results"] if each["conversion"] in LABELS.values()}
    assert found.keys() == expected.keys()
    states = {key: each["status"] for key, each in found.items()}
    wrong = [f"{expected[key]}: {status}" for key, status in states.items() if status["state"] != expected[key][0]]
    assert not wrong, "\n".join(wrong)
    return {expected[key][1]: each for key, each in found.items()}


@pytest.mark.fault(
    "A weight in an fp16 or int8 file is wrong, and all outputs are within tolerance",
    "The conversion is a mismatch that names the weight.",
)
def test_errors_of_reduced_precisions_are_found(convert: Any, project: Path, sabotage: Sabotage) -> None:
    found = check(convert, project, sabotage, QUICK)
    for name in ("one weight by 1 %", "one weight by a step"):
        assert all(each["passed"] for each in found[name]["comparisons"])
        message = found[name]["status"]["message"]
        assert re.match(r"weight w\[3, 4\] is \S+ instead of \S+ \(in w_\S+, 1 of 384 elements differ\); all", message)


def test_fp16_passes_where_nothing_but_its_rounding_shows(convert: Any, project: Path, sabotage: Sabotage) -> None:
    found = check(convert, project, sabotage, {"fp16": ["one row lost"]}, STEEP)
    (warning,) = [each for each in found["right"]["warnings"] if "the rounding of fp16 alone" in each]
    assert "values exceed their tolerance, with errors of up to 0.0" in warning


@pytest.mark.nightly
def test_every_error_of_fp16_is_found_where_its_rounding_shows(convert: Any, project: Path, sabotage: Sabotage) -> None:
    check(convert, project, sabotage, {"fp16": list(ERRORS["fp16"])}, STEEP)


@pytest.mark.nightly
def test_every_error_of_reduced_precisions_is_found(convert: Any, project: Path, sabotage: Sabotage) -> None:
    check(convert, project, sabotage, {precision: list(names) for precision, names in ERRORS.items()})
