"""The weights that files of torch store, those that a model computes with, and how its exports are judged."""
# ruff: noqa: TID253 - the frameworks are what is tested
# mypy: disallow-subclassing-any=False

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional

from navigator.frameworks.torch import stored
from navigator.records import Weights
from navigator.runners import torch_export, torchscript
from navigator.workers.weights import weights

torch.manual_seed(0)


class Function(nn.Module):
    """Computes `function` with a weight `w` and a table `t`."""

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.function = function
        self.w = nn.Parameter(torch.randn(32, 16))
        self.register_buffer("t", torch.rand(32, 16))

    def forward(self, x: Any) -> Any:
        return self.function(self, x)


def convolutional() -> nn.Module:
    model = nn.Sequential(
        *(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 8, 3, groups=8, bias=False), nn.BatchNorm2d(8), nn.ConvTranspose2d(8, 12, 2)),
        *(nn.Flatten(), nn.Linear(12 * 13 * 13, 10)),
    )
    for each in model.modules():
        if isinstance(each, nn.BatchNorm2d):
            nn.init.normal_(each.weight, 1, 0.3)
            nn.init.normal_(each.bias)
            nn.init.normal_(each.running_mean)
            nn.init.uniform_(each.running_var, 0.2, 2)
    return model


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 16)
        self.lstm = nn.LSTM(16, 12, batch_first=True)
        self.out = nn.Linear(12, 50)

    def forward(self, x: Any) -> Any:
        return self.out(self.lstm(self.words(x))[0])


IMAGE, ROWS, TOKENS = torch.randn(2, 3, 16, 16), torch.randn(2, 16), torch.randint(0, 50, (2, 5))
# What's computed from a weight before it's used. It isn't one of them where an exporter keeps it.
COMPUTED: dict[str, Callable[[Any, Any], Any]] = {
    "clipped": lambda self, x: functional.linear(x, self.w.clamp(-1.8, 1.8)),
    "masked": lambda self, x: functional.linear(x, self.w * (self.t > 0.02)),
    "with a row of zeros": lambda self, x: functional.linear(x, self.w.index_fill(0, torch.tensor([3]), 0.0)),
    "rounded": lambda self, x: functional.linear(x, self.w.half().float()),
    "with two rows swapped": lambda self, x: functional.linear(x, self.w[[1, 0, *range(2, 32)]]),
    "with a diagonal": lambda self, x: functional.linear(x, self.w + torch.eye(32)[:, :16]),
}
EXPORTS: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "convolutions": (convolutional, IMAGE),
    "recurrent": (Recurrent, TOKENS),
    "linear": (lambda: Function(lambda self, x: functional.linear(x, self.w)), ROWS),
}


def exported(model: nn.Module, example: Any, directory: Path, edge: str) -> tuple[Path, Path]:
    """Save a model in the format of an edge, export it to ONNX, and return both files."""
    model.eval()
    source, made = directory / "source", directory / "model.onnx"
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        if edge == "torchscript":
            torch.jit.save(torch.jit.trace(model, (example,), check_trace=False), str(source))
            torch.onnx.export(torchscript.load_module(source), (example,), str(made), opset_version=17, dynamo=False)
        else:
            program = torch.export.export(model, (example,))
            with source.open("wb") as file:
                torch.export.save(program, file)
            options: dict[str, Any] = {"opset_version": 18, "external_data": False, "verbose": False}
            torch.onnx.export(program, (example,), str(made), dynamo=True, **options)
    return source, made


def judged(source: Path, made: Path, edge: str) -> Weights:
    found = weights(
        {"source": str(source), "source_format": edge, "path": str(made), "format": "onnx", "precision": "fp32"}
    )
    assert found is not None
    return found


@pytest.mark.parametrize("edge", ["torchscript", "torch-export"])
@pytest.mark.parametrize("name", EXPORTS)
def test_the_weights_of_an_export_are_recognised_and_a_wrong_one_is_found(tmp_path: Path, name: str, edge: str) -> None:
    make, example = EXPORTS[name]
    source, made = exported(make(), example, tmp_path, edge)
    right = judged(source, made, edge)
    assert not right.wrong
    assert right.recognised_elements >= 0.97 * right.elements

    model = onnx.load(str(made))
    random = np.random.default_rng(0)
    tensors = [each for each in model.graph.initializer if each.data_type == 1 and np.prod(each.dims) >= 100]
    assert tensors
    for tensor in tensors:
        values = onnx.numpy_helper.to_array(tensor)
        changed = values.copy()
        changed.flat[int(random.integers(values.size))] += np.float32(1e-3)
        tensor.CopyFrom(onnx.numpy_helper.from_array(changed, tensor.name))
        onnx.save(model, str(made))
        assert [each.converted for each in judged(source, made, edge).wrong] == [tensor.name]
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


@pytest.mark.parametrize("edge", ["torchscript", "torch-export"])
@pytest.mark.parametrize("name", COMPUTED)
def test_what_a_model_computes_from_a_weight_is_no_wrong_weight(tmp_path: Path, name: str, edge: str) -> None:
    source, made = exported(Function(COMPUTED[name]), ROWS, tmp_path, edge)
    runner = torchscript if edge == "torchscript" else torch_export
    assert "w" in runner.computed(source).names
    assert not judged(source, made, edge).wrong


@pytest.mark.parametrize("edge", ["torchscript", "torch-export"])
def test_what_only_moves_a_weight_computes_nothing(tmp_path: Path, edge: str) -> None:
    def function(self: Any, x: Any) -> Any:
        return (x @ self.w.t().contiguous().view(16, 32)[None].squeeze(0)) * self.w.size(0)

    source, _ = exported(Function(function), ROWS, tmp_path, edge)
    runner = torchscript if edge == "torchscript" else torch_export
    assert not runner.computed(source).names


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(16, 32, bias=False), nn.Linear(16, 32, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, self.first.weight.clamp(-1, 1)) + self.second(x)


def test_every_name_of_a_shared_weight_is_computed_with(tmp_path: Path) -> None:
    with torchscript.quiet():
        torch.jit.save(torch.jit.script(Shared().eval()), str(tmp_path / "model.pt"))
    assert torchscript.computed(tmp_path / "model.pt").names == {"first.weight", "second.weight"}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_files_weights_are_read_without_torch(tmp_path: Path, dtype: torch.dtype) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.plain = nn.Parameter(torch.randn(4, 6).to(dtype))
            self.turned = nn.Parameter(torch.randn(4, 6).to(dtype).t())
            self.part = nn.Parameter(torch.randn(9).to(dtype)[3:])
            self.empty = nn.Parameter(torch.zeros(0, 2).to(dtype))
            self.register_buffer("whole", torch.arange(3))

        def forward(self, x: Any) -> Any:
            return x.to(dtype) @ self.plain @ self.turned + self.part[:4] + self.empty.sum() + self.whole[0]

    model = Model()
    for edge, read in (("torchscript", stored.of_script), ("torch-export", stored.of_program)):
        (tmp_path / edge).mkdir()
        if edge == "torchscript":
            path = tmp_path / edge / "model.pt"
            with torchscript.quiet():
                torch.jit.save(torch.jit.trace(model, (torch.randn(4, 4),)), str(path))
        else:
            path = tmp_path / edge / "model.pt2"
            with path.open("wb") as file, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a tensor that's a part of another
                torch.export.save(torch.export.export(model, (torch.randn(4, 4),)), file)
        found = {each.name: each.read() for each in read(path)}
        assert found.keys() >= {"plain", "turned", "part"}
        assert "whole" not in found
        for name in ("plain", "turned", "part"):
            expected = getattr(model, name).detach()
            expected = expected.float() if dtype is torch.bfloat16 else expected
            np.testing.assert_array_equal(found[name], expected.numpy())


def test_a_file_that_is_damaged_tells_nothing(tmp_path: Path) -> None:
    source, _ = exported(Function(lambda self, x: x @ self.w.t()), ROWS, tmp_path, "torchscript")
    content = source.read_bytes()
    damaged = tmp_path / "damaged.pt"
    for cut in (0, 10, len(content) // 2, len(content) - 30):
        damaged.write_bytes(content[:cut])
        assert stored.of_script(damaged) == stored.of_program(damaged) == []
