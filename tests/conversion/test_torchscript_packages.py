"""TorchScript files that need what another package registers, or hold objects of classes of their own."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from navigator.errors import StepError
from navigator.records import ModelConfig, Signature
from navigator.runners import torchscript
from navigator.runners.torchscript import open_module
from navigator.workers.probing import signed

# A package whose import registers an operator, as that of torchvision does.
PACKAGE = """
import torch
library = torch.library.Library("torchvision", "DEF")
library.define("twice(Tensor x) -> Tensor")
library.impl("twice", lambda x: 2 * x, "CompositeExplicitAutograd")
"""

SAVE = """
import sys
import torch
{package}

@torch.jit.script
class Factor:
    def __init__(self, weight: torch.Tensor):
        self.weight = weight

class Module(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = Factor(torch.ones(3, 5))

    def forward(self, x):
        return {call}(x @ self.factor.weight.t())

torch.jit.save(torch.jit.script(Module().eval()), sys.argv[1])
"""


def saved(path: Path, package: str, call: str) -> Path:
    script = path.with_suffix(".py")
    script.write_text(SAVE.format(package=package, call=call))
    subprocess.run([sys.executable, "-W", "ignore", script, path], check=True)
    return path


def test_the_package_of_an_operator_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "m.pt", PACKAGE, "torch.ops.torchvision.twice")
    with pytest.raises(StepError, match="torchvision::twice") as caught:
        open_module(path)
    assert caught.value.hint == "install torchvision"
    (tmp_path / "torchvision.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.delitem(sys.modules, "torchvision")

    model = signed(torchscript, ModelConfig(model_name="m", model_path=path))

    outputs = model.infer({"x": np.ones((1, 5), np.float32)})
    assert outputs["output__0"].tolist() == [[10.0, 10.0, 10.0]]


def test_no_other_package_is_imported(tmp_path: Path) -> None:
    package = PACKAGE.replace("torchvision", "antigravity")
    with pytest.raises(StepError, match="antigravity::twice") as caught:
        torchscript.load(
            saved(tmp_path / "m.pt", package, "torch.ops.antigravity.twice"), declared=Signature(inputs=(), outputs=())
        )
    assert caught.value.hint is not None
    assert "leave it out of the model" in caught.value.hint
    assert "antigravity" not in sys.modules
