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
