"""Whole runs on models with a state: a drift that one step hides is found in every format that has a source model."""

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

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
def test_a_drift_is_found_after_many_steps(
    convert: Any, project: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    name = SOURCES[source]
    directory = project / "sabotage"
    directory.mkdir()
    wrong = directory / f"wrong{Path(name).suffix}"
    made = subprocess.run([sys.executable, str(MODELS), source, name, str(wrong)], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    (directory / "sitecustomize.py").write_text(SABOTAGE)
    monkeypatch.setenv("PYTHONPATH", str(directory))
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
