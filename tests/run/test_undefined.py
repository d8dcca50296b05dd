"""Source models whose outputs depend on the order of equal values, or that were saved in training mode: whole runs."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx  # noqa: TID253 - makes the model
import pytest

RANKING = """
import torch
from navigator.runners.torchscript import quiet
torch.manual_seed(0)
class Ranking(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(8, 48)
    def forward(self, x):
        return tuple(torch.topk(torch.relu(self.layer(x)), 40, dim=1))
with quiet():
    torch.jit.save(torch.jit.trace(Ranking().eval(), torch.randn(3, 8)), "ranking.pt")
"""
TRAINING = """<ir_version: 8, opset_import: ["" : 15]> m (float[b, 3, 6] x) => (float[b, 3, 6] y)
<float[3] scale = {1, 1, 1}, float[3] bias = {0, 0, 0}, float[3] mean = {0, 0, 0}, float[3] var = {1, 1, 1}> {
    y, new_mean, new_var = BatchNormalization <training_mode = 1> (x, scale, bias, mean, var)
}"""
INFERENCE = TRAINING.replace(", new_mean, new_var", "").replace("<training_mode = 1>", "")
DEPENDENT = """<ir_version: 8, opset_import: ["" : 13]> m (float[b, 64] x) => (float[b, 64] y) {
    mean = ReduceMean <axes = [0]> (x)
    y = Sub(x, mean)
}"""


@pytest.mark.nightly
def test_zeros_behind_a_relu_in_another_order_are_no_mismatch_and_are_told(convert: Any, project: Path) -> None:
    subprocess.run([sys.executable, "-c", RANKING], cwd=project, check=True)

    code, results = convert(
        "model_name: ranking\nmodel_path: ranking.pt\ninputs: 'x:-1,8:float32'\n"
        "target_formats: onnx\nonnx_opsets: 17\nsearch_seconds: 1\n"
    )

    (result,) = results["results"]
    assert (code, result["status"]["state"]) == (0, "passed"), result
    (note,) = [each for each in results["notes"] if "equal values" in each]
    assert note.startswith("ranking: output__1: ")
    assert "depend on the order in which aten::topk returns equal values" in note


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TRAINING, "the source model was saved in training mode: BatchNormalization normalizes by the statistics of "),
        (DEPENDENT, "y: the rows along the first axis depend on each other, as steps of a sequence or "),
        (INFERENCE, ""),
    ],
    ids=["training", "dependent", "inference"],
)
def test_a_model_in_training_mode_passes_with_a_warning(convert: Any, project: Path, text: str, expected: str) -> None:
    onnx.save(onnx.parser.parse_model(text), project / "m.onnx")

    code, results = convert("model_name: m\nmodel_path: m.onnx\ntarget_formats: onnx\nonnx_opsets: 17\n")

    (result,) = results["results"]
    assert (code, result["status"]["state"]) == (0, "passed"), result
    told = [each for each in result["warnings"] if "training mode" in each]
    assert [each[: len(expected)] for each in told] == ([expected] if expected else [])
