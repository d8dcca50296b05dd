"""Numbers that ordinary samples don't have: missing ones, and those that clip a hidden value. Whole runs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper, parser, save  # noqa: TID253 - makes the models

from tests.run.conftest import Sabotage
from tests.run.test_undecided import SABOTAGE

CONSTANTS = {
    "w": np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32),
    "usual": np.array([0.1, 0.2, 0.3, 0.4], np.float32),
    "others": np.array([0.1, 0.2, 0.3, 0.5], np.float32),
    "least": np.float32(-1),
    "most": np.float32(60),
    "less": np.float32(50),
}
BODY = "missing = IsNaN(x) v = Where(missing, usual, x) h = MatMul(v, w) y = Clip(h, least, most)"

# What a converter writes for it; all but the first are wrong.
VARIANTS = {
    "honest": ("h = MatMul(v, w) y = Clip(h, least, most)", "h = MatMul(v, w) g = Max(h, least) y = Min(g, most)"),
    "missing_stays": ("v = Where(missing, usual, x)", "v = Identity(x)"),
    "one_other": ("Where(missing, usual, x)", "Where(missing, others, x)"),
    "clipped": ("Clip(h, least, most)", "Clip(h, least, less)"),
}


def write(path: Path, opset: int, body: str) -> None:
    text = f'<ir_version: 8, opset_import: ["" : {opset}]> {path.stem} (float[n, 4] x) => (float[n, 3] y) {{ {body} }}'
    model = parser.parse_model(text)
    model.graph.initializer.extend(numpy_helper.from_array(array, key) for key, array in CONSTANTS.items())
    save(model, path)


@pytest.mark.fault(
    "A conversion loses what the model does with missing numbers (NaN)",
    "The conversion is a mismatch, if the model tests its inputs for them and you give no range.",
)
def test_missing_numbers_and_large_ones_are_tried(convert: Any, project: Path, sabotage: Sabotage) -> None:
    directory = sabotage(SABOTAGE)
    models = ""
    for name, (old, new) in VARIANTS.items():
        assert old in BODY
        write(project / f"{name}.onnx", 18, BODY)
        write(directory / f"{name}.onnx", 19, BODY.replace(old, new))
        models += f"  - {{model_name: {name}, model_path: {name}.onnx}}\n"

    _, report = convert(f"defaults: {{target_formats: onnx, onnx_opsets: 19, search_seconds: 2}}\nmodels:\n{models}")

    found = {each["model_name"]: each for each in report["results"]}
    assert [name for name, each in found.items() if each["status"]["state"] == "passed"] == ["honest"]
    assert [name for name, each in found.items() if each["searched"] and each["searched"]["sample"]] == ["clipped"]
