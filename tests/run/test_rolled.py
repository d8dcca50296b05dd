"""Whole runs on models with a state: a drift that one step hides is found in every format that has a source model."""

import base64
import io
import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.run.conftest import Sabotage
from tests.run.test_sabotage import SOURCES

MODELS = Path(__file__).with_name("rolling_models.py")

# Copies of the model named `drifts` are of the other file.
SABOTAGE = """
import pathlib, shutil

def sabotaged(copy):
    def run(source, destination, *more, **options):
        if pathlib.Path.cwd().parts[-3] == "drifts" and pathlib.Path(source).name.startswith("model."):
            source = pathlib.Path(__file__).with_name("wrong" + pathlib.Path(source).suffix)
        return copy(source, destination, *more, **options)
    return run

shutil.copyfile, shutil.copytree = sabotaged(shutil.copyfile), sabotaged(shutil.copytree)
"""


@pytest.mark.fault(
    "A converted model's state drifts by less than the tolerance in one step", "The conversion is a mismatch."
)
@pytest.mark.parametrize(
    "source", [each if each == "onnx" else pytest.param(each, marks=pytest.mark.nightly) for each in SOURCES]
)
def test_a_drift_is_found_after_many_steps(convert: Any, project: Path, sabotage: Sabotage, source: str) -> None:
    name = SOURCES[source]
    directory = sabotage(SABOTAGE)
    wrong = directory / f"wrong{Path(name).suffix}"
    made = subprocess.run([sys.executable, str(MODELS), source, name, str(wrong)], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    targets = "onnx" if source == "onnx" else f"[{source}, onnx]"
    defaults = f"model_path: {name}\ntarget_formats: {targets}\nmax_batch_size: 8\n"
    if source.startswith("torch"):
        defaults += 'inputs: ["x:-1,4:float32", "state:-1,4:float32"]\n'
        defaults += 'outputs: ["y:-1,4:float32", "new_state:-1,4:float32"]\n'
    models = "\n".join(["  - model_name: right", "  - model_name: drifts", "  - {model_name: single, state_steps: 0}"])

    _, results = convert(f"defaults:\n{textwrap.indent(defaults, '  ')}models:\n{models}\n")

    told = "states: new_state feeds state (found by names), rolled forward 300 steps"
    assert {f"right: {told}", f"drifts: {told}"} == {note for note in results["notes"] if "states: " in note}
    found = {(each["model_name"], each["conversion"]): each for each in results["results"]}
    copy = "onnx" if source == "onnx" else source
    assert found.pop(("drifts", copy))["status"]["state"] == "mismatched"
    for (model, conversion), each in found.items():
        assert each["status"]["state"] == "passed", (model, conversion, each["status"])
        rolled = [comparison for comparison in each["comparisons"] if comparison["steps"]]
        assert {comparison["output"] for comparison in rolled} == (set() if model == "single" else {"y", "new_state"})
    check_dump(project / f"navigator_workspace/logs/drifts/{copy}")


def array(written: dict[str, str]) -> np.ndarray:
    return np.load(io.BytesIO(base64.b64decode(written["array"])))  # type: ignore[no-any-return] # depends on the file


def check_dump(prefix: Path) -> None:
    """Check that a mismatch leaves the steps that differ: the source model's inputs, and what both models returned."""
    inputs = json.loads(Path(f"{prefix}.comparator_inputs.json").read_text())
    runs = json.loads(Path(f"{prefix}.comparator_outputs.json").read_text())["lst"]
    given = [{name: array(each) for name, each in step.items()} for step in inputs]
    right, wrong = (
        [{name: array(each["values"]) for name, each in step["outputs"].items()} for step in steps] for _, steps in runs
    )
    assert len(given) == len(right) == len(wrong)
    # 2, 4, 8, 16, and from 32 on every 32 of 300, before the single steps.
    apart = [np.abs(one["new_state"] - other["new_state"]).max() for one, other in zip(right, wrong, strict=True)][:14]
    assert apart[0] < apart[3] < apart[13]
    assert apart[13] > 1e-5
    for step in range(14):
        assert {name: each.shape for name, each in given[step].items()} == {"x": (1, 4), "state": (1, 4)}
    # The state of a step is the source model's: the one after 2 steps isn't what the fourth is given.
    assert not np.array_equal(given[1]["state"], right[0]["new_state"])
    assert not np.array_equal(given[0]["state"], given[1]["state"])
