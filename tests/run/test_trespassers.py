"""Models that write where they have no business: over their reference, a neighbour's, and the user's files."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from navigator.workers import landlock

TORCHSCRIPT = """
import sys, torch
class Model(torch.nn.Module):
    path: str
    def __init__(self, path):
        super().__init__()
        self.path, self.linear = path, torch.nn.Linear(4, 3)
    def forward(self, x):
        if self.path != "":
            torch.save(torch.zeros(3), self.path)
        return self.linear(x)
torch.jit.script(Model(sys.argv[2])).save(sys.argv[1])
"""
SAVEDMODEL = """
import sys, tensorflow as tf
class Model(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def __call__(self, x):
        written = [tf.io.write_file(sys.argv[2], "forged")] if sys.argv[2] else []
        with tf.control_dependencies(written):
            return {"y": 2 * x}
model = Model()
tf.saved_model.save(model, sys.argv[1], signatures=model.__call__)
"""
OPTIONS = {
    TORCHSCRIPT: "target_formats: [torchscript], inputs: {x: {name: x, shape: [-1, 4], dtype: float32}},"
    " outputs: {y: {name: y, shape: [-1, 3], dtype: float32}}",
    SAVEDMODEL: "target_formats: [tf-savedmodel]",
}
OUTPUTS = "navigator_workspace/.scratch/{}/source/outputs/0_0.npy"


@pytest.mark.nightly
@pytest.mark.fault(
    "A TorchScript or a SavedModel writes over its reference, another model's, or a file of yours",
    "Nothing of others changes. What it did to itself fails its conversions.",
)
@pytest.mark.skipif(landlock.version() < 3, reason="this kernel has no Landlock, or an old one")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("program", [TORCHSCRIPT, SAVEDMODEL], ids=["torchscript", "tf-savedmodel"])
def test_a_model_writes_into_nothing_but_its_own(convert: Any, project: Path, program: str) -> None:
    victims = {"good": "", "own": OUTPUTS.format("own"), "neighbour": OUTPUTS.format("good"), "files": "kept"}
    (project / "save.py").write_text(program)
    for name, victim in victims.items():
        words = [str(project / name), str(project / victim) if victim else ""]
        subprocess.run([sys.executable, "save.py", *words], check=True, capture_output=True)
    (project / "kept").write_text("the user's")
    models = "".join(f"  - {{model_name: {name}, model_path: {name}}}\n" for name in victims)
    kind = "torchscript" if program is TORCHSCRIPT else "tf-savedmodel"

    code, results = convert(
        f"defaults: {{model_format: {kind}, max_batch_size: 4, {OPTIONS[program]}}}\nmodels:\n{models}"
    )

    found = {each["model_name"]: each["status"] | {"remedy": each["remedy"]} for each in results["results"]}
    assert found["good"]["state"] == "passed"
    assert found["own"]["state"] == "blocked", "it can't be compared with what isn't a reference any more"
    assert code == 1
    assert (project / "kept").read_text() == "the user's"
    if program is SAVEDMODEL:  # TorchScript's `torch.save` doesn't say that it wrote nothing
        assert "Permission denied" in found["neighbour"]["message"]
        assert "opens its own files and no others" in found["neighbour"]["remedy"]
