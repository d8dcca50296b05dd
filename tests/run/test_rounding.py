"""Source models whose rounding no change of their inputs and weights shows: whole runs."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LARGER = """
import torch
from navigator.runners.torchscript import quiet
class Larger(torch.nn.Module):
    def forward(self, x):
        return torch.nn.functional.interpolate(x, scale_factor=3.0, mode="bicubic")
with quiet():
    torch.jit.save(torch.jit.trace(Larger().eval(), torch.rand(1, 1, 300, 20)), "larger.pt")
"""


@pytest.mark.parametrize(("searched", "atol"), [(2, "auto"), (0, "1e-05")])
def test_places_of_pixels_that_are_rounded_are_noise(convert: Any, project: Path, searched: float, atol: str) -> None:
    """Torch and ONNX Runtime are as far from float64, since a place of some hundred has few digits behind the point."""
    subprocess.run([sys.executable, "-c", LARGER], cwd=project, check=True)

    code, results = convert(
        f"model_name: larger\nmodel_path: larger.pt\ninputs: 'x:1,1,300,-1:float32'\nmin_shapes: 'x=1,1,300,16'\n"
        f"max_shapes: 'x=1,1,300,330'\ntarget_formats: onnx\nonnx_opsets: 17\nsearch_seconds: {searched}\n"
        f"atol: {atol}\n"
    )

    (result,) = results["results"]
    (comparison,) = [each for each in result["comparisons"] if each.get("device") == "cpu"]
    assert (code, result["status"]["state"]) == ((0, "passed") if atol == "auto" else (1, "mismatched")), result
    assert 5e-5 < comparison["max_abs_error"] < 5e-4
    if atol == "auto":
        assert 5e-5 < comparison["noise"] < 5e-4


NORMALIZED = """
import torch
from navigator.runners.torchscript import quiet
class Normalized(torch.nn.Module):
    def __init__(self, epsilon=1e-5, spread=1, axes=(1, 2), floor=1e-6):
        super().__init__()
        self.epsilon, self.spread, self.axes, self.floor = epsilon, spread, axes, floor
    def forward(self, x):
        x = torch.log(x + self.floor)
        away = x - x.mean(self.axes, keepdim=True) if self.axes else x
        return away / (x.std((1, 2), correction=self.spread, keepdim=True) + self.epsilon)
variants = {
    "source": {}, "right": {}, "epsilon": {"epsilon": 1e-3}, "spread": {"spread": 0}, "axis": {"axes": (2,)},
    "mean": {"axes": None}, "floor": {"floor": 1e-5}, "divisor": {"epsilon": 0.0},
}
for name, options in variants.items():
    with quiet():
        torch.jit.save(torch.jit.trace(Normalized(**options), torch.rand(2, 80, 300)), f"instead/{name}.pt")
"""

# A worker's directory is .scratch/<model>/<conversion>/convert.
INSTEAD = """
import pathlib, torch
load, directory = torch.jit.load, pathlib.Path(__file__).parent
def other(path, *more, **options):
    model, _, what = pathlib.Path.cwd().parts[-3:]
    return load(str(directory / f"{model}.pt") if what == "convert" else path, *more, **options)
torch.jit.load = other
"""


def test_silence_that_is_normalized_passes_and_hides_no_other_arithmetic(
    convert: Any, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mean of 24,000 equal numbers isn't one of them, by other digits in each runtime."""
    (project / "instead").mkdir()
    subprocess.run([sys.executable, "-W", "ignore", "-c", NORMALIZED], cwd=project, check=True)
    (project / "instead" / "source.pt").rename(project / "source.pt")
    (project / "instead" / "sitecustomize.py").write_text(INSTEAD)
    monkeypatch.setenv("PYTHONPATH", str(project / "instead"))
    variants = ("right", "epsilon", "spread", "axis", "mean", "floor", "divisor")

    _, results = convert(
        "defaults: {model_path: source.pt, inputs: ['x:-1,80,300:float32'], max_batch_size: 2, target_formats: onnx}\n"
        f"models: [{', '.join(f'{{model_name: {each}}}' for each in variants)}]\n"
    )

    found = {each["model_name"]: each for each in results["results"]}
    states = {name: each["status"]["state"] for name, each in found.items()}
    assert states == {name: "passed" if name == "right" else "mismatched" for name in variants}
    assert any("compared with exact sums in " in each for each in found["right"]["warnings"])
