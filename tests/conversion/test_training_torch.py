"""Which torch models were saved in training mode, as their graphs show."""
# ruff: noqa: TID253 - the framework is what is tested

import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from navigator.records import Signature, TensorSpec
from navigator.runners import torch_export, torchscript

IMAGE = torch.randn(2, 3, 8, 8)
DECLARED = Signature(inputs=(TensorSpec(name="x", shape=(-1, 3, 8, 8), dtype="float32"),), outputs=())


def script(module: nn.Module, path: Path, *, traced: bool) -> tuple[str, ...]:
    with torchscript.quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing in training mode
        made = torch.jit.trace(module, IMAGE, check_trace=False) if traced else torch.jit.script(module)
        torch.jit.save(made, str(path))
    return torchscript.load(path, declared=DECLARED).training_operations


def program(module: nn.Module, path: Path, *, decomposed: bool = False) -> tuple[str, ...]:
    with torch_export.quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch 2.13's own, from decompositions
        exported = torch.export.export(module, (IMAGE,))
        torch.export.save(exported.run_decompositions() if decomposed else exported, path)
    return torch_export.load(path, declared=Signature(inputs=(), outputs=())).training_operations


def test_batch_normalization_in_training_mode(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    assert script(module, tmp_path / "m.pt", traced=True) == ("aten::batch_norm",)
    assert script(module, tmp_path / "s.pt", traced=False) == (), "it's loaded in evaluation mode"
    assert program(module, tmp_path / "m.pt2") == ("aten.batch_norm.default",)
    (name,) = program(module, tmp_path / "d.pt2", decomposed=True)
    assert "batch_norm" in name


@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm2d(4),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.InstanceNorm2d(4, affine=True),
        nn.InstanceNorm2d(4, track_running_stats=True),
        nn.GroupNorm(2, 4),
    ],
    ids=str,
)
def test_honest_models_are_not_in_training_mode(tmp_path: Path, norm: nn.Module) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), norm, nn.Dropout(0.5)).eval()
    assert script(module, tmp_path / "m.pt", traced=True) == ()
    assert script(module, tmp_path / "s.pt", traced=False) == ()
    for decomposed in (False, True):
        assert program(module, tmp_path / f"{decomposed}.pt2", decomposed=decomposed) == ()
