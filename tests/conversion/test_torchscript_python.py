"""What modules do with Python's numbers, lists and dictionaries: what they compute, and after a conversion too."""
# ruff: noqa: TID253 - the framework is what is tested
# mypy: allow-subclassing-any, disable-error-code="no-untyped-call"

import math
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from navigator.records import Signature, TensorSpec
from navigator.runners import onnx as onnx_runner
from navigator.runners import torchscript
from tests.support.exports import of_torchscript

OPSETS = (14, pytest.param(9, marks=pytest.mark.nightly), pytest.param(18, marks=pytest.mark.nightly))
ROWS = (2, 3, 5, 7)


class Emptiness(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if not len(x) or not x.numel():
            return x
        if x.shape[0] % 2:
            return x * 2
        return x / 2


class Truncated(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        down, up = int(x.shape[0] * 0.7), math.ceil(x.shape[0] * 0.7)
        negative = math.floor(-x.shape[0] * 0.3)
        return x * down + up + negative + int(-2.5 * x.shape[0]) + abs(negative)


class Roots(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * math.sqrt(x.shape[0]) + math.log(x.shape[0]) + float(x.shape[0]) / 4


class OfTensors(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        turns = int(x.abs().sum() * 10) % 5 + 1
        largest = float(x.max())
        if largest > 0.5 and bool(x.min() < 0):
            return x * turns + largest
        return x * largest + float(turns) / 2


class Lists(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        held = [x, x + 1]
        held += [x * 2]
        held.extend([x, x])
        held[1] = held[0] * 3
        held.insert(1, x * 7)
        held.reverse()
        last = held.pop(0)
        del held[0]
        if len(held) > 3 and x.shape[0] > 2:
            last = last + held[1]
        held.append(last)
        return torch.cat(held, 1)


class Grows(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        held: list[Tensor] = []
        for index in range(x.shape[0]):
            held.append(x[index] * index)  # noqa: PERF401 - a loop is what is tested
        return torch.stack(held)


class GrowsPairs(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        held: list[tuple[Tensor, Tensor]] = [(x[0], x[0] + 1)]
        for index in range(x.shape[0]):
            held.append((x[index] * index, x[index].sort()[0]))  # noqa: PERF401 - a loop is what is tested
        total = x[0] * len(held)
        for one, other in held:
            total = total * 0.5 + one - other
        return total - held[1][1]


class Turned(torch.nn.Module):
    """The path that a decoder follows back from its end."""

    def forward(self, x: Tensor) -> Tensor:
        held = [x[0] + 1]
        for index in range(x.shape[0]):
            held.append(x[index] * index)  # noqa: PERF401 - a loop is what is tested
        whole = torch.stack(held)
        held.reverse()
        for index in range(x.shape[0]):
            held.append(held[index] - 1)
        return torch.cat([whole, torch.stack(held)])


class Heads(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        rows, _ = x.shape
        one, other = [part.view(rows, 2, 1).transpose(1, 2) for part in x.chunk(2, -1)]
        return one * 2 - other


class Nested(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        inner = [x]
        outer = [inner]
        outer[0].append(x * 2)
        return torch.cat(inner, 1)


class Dictionary(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        held = {"a": x}
        held["b"] = x * 3
        if "a" in held:
            held["c"] = x + 1
        held.update({"d": x * 2})
        twice: dict[str, Tensor] = {}
        for key, value in held.items():
            twice[key] = value * 2
        total = x
        for key in twice.keys():  # noqa: SIM118 - what TorchScript takes
            total = total + twice[key]
        for value in held.values():
            total = total - value * 0.3
        gone = held.pop("a")
        del held["b"]
        if "b" in held:
            total = total * 100
        return total * gone + len(held) + held.get("e", x)


class BegunEmpty(torch.nn.Module):
    """As torchvision's networks that return layers."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        held: dict[str, Tensor] = OrderedDict()
        held["a"] = x * 2
        found: dict[str, Tensor] = OrderedDict()
        found["b"] = held["a"] + 1
        return found


class ReadInBranches(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        held = {"a": x}
        total = x
        if x.shape[0] > 2:
            total = held["a"] * 2
        held["a"] = x - 1
        if x.shape[0] > 4:
            total = total + held["a"]
        return total * held["a"]


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize(
    "module",
    [
        *(Emptiness, Truncated, Roots, OfTensors, Lists, Grows, GrowsPairs, Turned, Heads, Nested, Dictionary),
        *(BegunEmpty, ReadInBranches),
    ],
)
def test_numbers_and_containers_of_scripts_are_exported(
    module: type[torch.nn.Module], opset: int, tmp_path: Path
) -> None:
    if module in (Grows, GrowsPairs, Turned) and opset < 11:
        pytest.skip("ONNX has sequences from opset 11 on")
    source = tmp_path / "model.pt"
    with torchscript.quiet():
        torch.jit.script(module()).save(str(source))
    declared = Signature(inputs=(TensorSpec(name="x", shape=(-1, 4), dtype="float32"),), outputs=())
    draw = np.random.default_rng(0)
    samples = [(f"sample{rows}", {"x": draw.standard_normal((rows, 4), np.float32)}) for rows in ROWS]
    run = of_torchscript(tmp_path, source, declared, samples)
    path, _ = run.convert(opset)
    converted = onnx_runner.load(path, declared=run.signature)
    for (_, inputs), (_, expected) in zip(samples, run.expected, strict=True):
        (output,) = converted.infer(inputs).values()
        (wanted,) = expected.values()
        np.testing.assert_allclose(output, wanted, rtol=1e-5, atol=1e-5)


class Steps(torch.nn.Module):
    """Numbers with a point beside whole numbers, on the way to weights in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.last = torch.nn.Linear(8, 4)

    def forward(self, steps: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        angles = steps[:, None] * torch.exp(torch.arange(4) * -0.7)
        scaled = pixels / 255.0 - 0.5
        return self.last(torch.cat([angles.sin(), scaled], 1)), scaled + 1.5, steps + 2


def test_numbers_of_a_trace_are_no_tensors_of_float64(tmp_path: Path) -> None:
    source, module = tmp_path / "model.pt", Steps().eval()
    drawn = np.random.default_rng(0)
    samples = [
        (
            f"sample{rows}",
            {"steps": drawn.integers(0, 900, rows), "pixels": drawn.integers(0, 256, (rows, 4), np.uint8)},
        )
        for rows in ROWS
    ]
    with torchscript.quiet():
        torch.jit.trace(module, tuple(map(torch.from_numpy, samples[0][1].values()))).save(str(source))
    declared = Signature(
        inputs=(
            TensorSpec(name="steps", shape=(-1,), dtype="int64"),
            TensorSpec(name="pixels", shape=(-1, 4), dtype="uint8"),
        ),
        outputs=(),
    )
    run = of_torchscript(tmp_path, source, declared, samples)
    for (_, inputs), (_, outputs) in zip(samples, run.expected, strict=True):
        with torch.no_grad():
            wanted = module(*map(torch.from_numpy, inputs.values()))
        for output, each in zip(outputs.values(), wanted, strict=True):
            assert output.dtype == each.numpy().dtype
            np.testing.assert_allclose(output, each.numpy(), rtol=1e-5, atol=1e-5)
    path, _ = run.convert(14)
    assert run.verdict(path).passed
