"""What TorchScript modules and torch.export programs tell about the whole numbers that they're given."""
# ruff: noqa: TID253 - the framework is what is tested
# mypy: allow-subclassing-any

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from navigator.records import Signature, TensorSpec
from navigator.runners import torch_export, torchscript
from navigator.samples.constants import Constant
from navigator.samples.values import Told

NAMES = ("ids", "kinds", "place", "digit", "valid", "scale")


class Looking(torch.nn.Module):
    """Looks up its inputs in an embedding, in one of another shape, in a buffer, and in what one_hot makes."""

    def __init__(self) -> None:
        super().__init__()
        self.words = torch.nn.Embedding(100, 8, padding_idx=0)
        self.kinds = torch.nn.Sequential(torch.nn.Embedding(3, 8))
        self.register_buffer("places", torch.randn(7, 8))

    def forward(
        self,
        ids: torch.Tensor,
        kinds: torch.Tensor,
        place: torch.Tensor,
        digit: torch.Tensor,
        valid: torch.Tensor,
        scale: torch.Tensor,
    ) -> torch.Tensor:
        found = self.words(ids.long()[:, :4]) + self.kinds(kinds.view(-1, 4))
        found = found.masked_fill(~valid.to(torch.bool).unsqueeze(-1), 0.0)
        return (found + self.places[place.unsqueeze(1)] + torch.nn.functional.one_hot(digit, 8)[:, None]) * scale


TENSORS = (
    torch.zeros(2, 5, dtype=torch.int32),
    torch.zeros(2, 4, dtype=torch.int64),
    torch.tensor([1, 2]),
    torch.tensor([1, 2]),
    torch.ones(2, 4, dtype=torch.int64),
    torch.tensor([2]),
)


def told(found: Mapping[str, Told]) -> dict[str, tuple[float, float]]:
    return {name: (each.low, each.high) for name, each in found.items()}


EXPECTED = {"ids": (0, 99), "kinds": (0, 2), "place": (0, 6), "digit": (0, 7), "valid": (0, 1)}


def script(model: torch.nn.Module, path: Path, names: tuple[str, ...]) -> Mapping[str, Told]:
    model.save(str(path))
    specs = [
        TensorSpec(name=name, shape=(-1, *tensor.shape[1:]), dtype=str(tensor.dtype).removeprefix("torch."))
        for name, tensor in zip(names, TENSORS, strict=True)
    ]
    return torchscript.load(path, declared=Signature(inputs=tuple(specs), outputs=())).told


@pytest.mark.parametrize(
    "make",
    [
        lambda model: torch.jit.trace(model, TENSORS),
        torch.jit.script,
        lambda model: torch.jit.freeze(torch.jit.script(model)),
    ],
    ids=["traced", "scripted", "frozen"],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_module_tells_what_it_looks_up(tmp_path: Path, make: Callable[[Any], Any]) -> None:
    with torchscript.quiet():
        found = script(make(Looking().eval()), tmp_path / "m.pt", NAMES)
    assert told(found) == EXPECTED
    assert found["valid"].mask
    assert found["ids"].why in ("rows of words.weight", "rows of a constant")
    # Declared names that aren't those of `forward` are by position.
    with torchscript.quiet():
        renamed = script(make(Looking().eval()), tmp_path / "m.pt", tuple(f"x__{index}" for index in range(6)))
    assert told(renamed) == {f"x__{index}": EXPECTED[name] for index, name in enumerate(NAMES) if name in EXPECTED}


class Dividing(torch.nn.Module):
    """Rounds, takes remainders and magnitudes of whole numbers, and does with the last what keeps the sign."""

    def forward(self, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
        return torch.div(a, 3, rounding_mode="floor") + b % 3 + c.abs() + torch.div(d, 3) + d * 2


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_operations_that_mind_the_sign_of_whole_numbers_are_told(tmp_path: Path) -> None:
    names = ("a", "b", "c", "d")
    tensors = tuple(torch.zeros(2, 3, dtype=torch.int64) for _ in names)
    torch.export.save(torch.export.export(Dividing(), tensors), tmp_path / "m.pt2")
    specs = tuple(TensorSpec(name=name, shape=(2, 3), dtype="int64") for name in names)
    with torchscript.quiet():
        torch.jit.trace(Dividing(), tensors).save(str(tmp_path / "m.pt"))
    script = torchscript.load(tmp_path / "m.pt", declared=Signature(inputs=specs, outputs=())).told
    program = torch_export.load(tmp_path / "m.pt2", declared=Signature(inputs=(), outputs=())).told
    signed = dict.fromkeys(("a", "b", "c"), True)
    assert {name: each.signed for name, each in script.items()} == signed
    assert {name: each.signed for name, each in program.items()} == signed


class Divided(torch.nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
        return a // b + a % c.clamp(min=1) + a / d


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_what_whole_numbers_are_divided_by_is_told(tmp_path: Path) -> None:
    tensors = tuple(torch.ones(2, 3, dtype=torch.int64) for _ in "abcd")
    torch.export.save(torch.export.export(Divided(), tensors), tmp_path / "m.pt2")
    specs = tuple(TensorSpec(name=name, shape=(2, 3), dtype="int64") for name in "abcd")
    with torchscript.quiet():
        torch.jit.trace(Divided(), tensors).save(str(tmp_path / "m.pt"))
    script = torchscript.load(tmp_path / "m.pt", declared=Signature(inputs=specs, outputs=()))
    program = torch_export.load(tmp_path / "m.pt2", declared=Signature(inputs=(), outputs=()))
    for model in (script, program):
        # A float divided by 0 is infinite, and a number that's cut off at 1 is never 0.
        assert {name: (each.low, each.high) for name, each in model.told.items() if not each.signed} == {"b": (1, 8)}


class Sorting(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return torch.topk(x, 2)[1], x.argsort(-1), x.argmax(-1)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_operations_that_choose_among_equal_values_are_named(tmp_path: Path) -> None:
    x = torch.randn(2, 6)
    with torchscript.quiet():
        torch.jit.trace(Sorting(), x).save(str(tmp_path / "m.pt"))
    declared = Signature(inputs=(TensorSpec(name="x", shape=(-1, 6), dtype="float32"),), outputs=())
    assert torchscript.load(tmp_path / "m.pt", declared=declared).sorting_operations == ("aten::argsort", "aten::topk")
    torch.export.save(torch.export.export(Sorting(), (x,)), tmp_path / "m.pt2")
    found = torch_export.load(tmp_path / "m.pt2", declared=Signature(inputs=(), outputs=())).sorting_operations
    assert [each.split(".")[1] for each in found] == ["argsort", "topk"]


def test_a_program_tells_what_it_looks_up(tmp_path: Path) -> None:
    batch = torch.export.Dim("batch")
    shapes = (*[{0: batch}] * 5, None)
    program = torch.export.export(Looking().eval(), TENSORS, dynamic_shapes=shapes)
    torch.export.save(program, tmp_path / "m.pt2")
    found = torch_export.load(tmp_path / "m.pt2", declared=Signature(inputs=(), outputs=())).told
    assert told(found) == EXPECTED
    assert found["valid"].mask
    assert found["kinds"].why == "rows of kinds.0.weight"


class Comparing(torch.nn.Module):
    """Takes one of two branches, and one of several numbers."""

    def forward(self, x: torch.Tensor, rate: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        y = torch.where(ids[:, :2].long() == 5000, x, -x)
        if rate > 8000:
            y = y * 2
        return y if rate.item() != 16000 else y + 1


class Selecting(torch.nn.Module):
    def forward(self, x: torch.Tensor, rate: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        y = torch.where(ids[:, :2].long() == 5000, x, -x)
        return torch.cond(rate.sum() > 8000, lambda y: y * 2, lambda y: y - 1, (y,)) + (rate != 16000)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_numbers_that_inputs_are_compared_with_are_read(tmp_path: Path) -> None:
    tensors = (torch.rand(3, 2), torch.tensor([1]), torch.zeros(3, 4, dtype=torch.int32))
    specs = tuple(
        TensorSpec(name=name, shape=tuple(each.shape), dtype=str(each.dtype).removeprefix("torch."))
        for name, each in zip(("x", "rate", "ids"), tensors, strict=True)
    )
    with torchscript.quiet():
        torch.jit.script(Comparing()).save(str(tmp_path / "m.pt"))
    script = torchscript.load(tmp_path / "m.pt", declared=Signature(inputs=specs, outputs=())).reads.compared()
    assert {name: list(each) for name, each in script.items()} == {
        "ids": [Constant(5000)],
        "rate": [Constant(8000, ordered=True), Constant(16000)],
    }
    torch.export.save(torch.export.export(Selecting(), tensors), tmp_path / "m.pt2")
    program = torch_export.load(tmp_path / "m.pt2", declared=Signature(inputs=(), outputs=())).reads.compared()
    assert {name: list(each) for name, each in program.items()} == {
        "ids": [Constant(5000)],
        "rate": [Constant(16000)],  # not the threshold of a sum
    }


def compared_by(module: torch.nn.Module, directory: Path) -> Iterator[dict[str, list[float]]]:
    """Yield what a module compares its inputs x, y and z with, read from TorchScript and from a program."""
    tensors = (torch.rand(3), torch.rand(3), torch.rand(3))
    specs = tuple(TensorSpec(name=name, shape=(3,), dtype="float32") for name in "xyz")
    with torchscript.quiet():
        torch.jit.trace(module, tensors).save(str(directory / "m.pt"))
    torch.export.save(torch.export.export(module, tensors), directory / "m.pt2")
    for model in (
        torchscript.load(directory / "m.pt", declared=Signature(inputs=specs, outputs=())),
        torch_export.load(directory / "m.pt2", declared=Signature(inputs=(), outputs=())),
    ):
        yield {name: [each.number for each in constants] for name, constants in model.reads.compared().items()}


class Buckets(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("edges", torch.tensor([-1.0, 4.0]))
        self.register_buffer("many", torch.arange(9.0))
        self.register_buffer("scale", torch.tensor(2.0))

    def forward(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> tuple[torch.Tensor, ...]:
        counts = (x.unsqueeze(-1) > self.edges).sum(-1) + (x.unsqueeze(-1) > self.many).sum(-1)
        return counts, torch.bucketize(y, self.edges), torch.searchsorted(self.edges, y), torch.round(z * self.scale)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_weights_of_few_numbers_are_thresholds_and_factors(tmp_path: Path) -> None:
    for found in compared_by(Buckets(), tmp_path):
        assert found == {"x": [-1, 4], "y": [-1, 4], "z": [0.25, 0.75, 1.25, -0.25, -0.75]}


class Doubled(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.round(x * 2)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_number_that_a_trace_writes_as_a_tensor_is_one(tmp_path: Path) -> None:
    with torchscript.quiet():
        torch.jit.trace(Doubled(), torch.rand(3)).save(str(tmp_path / "m.pt"))
    specs = (TensorSpec(name="x", shape=(3,), dtype="float32"),)
    model = torchscript.load(tmp_path / "m.pt", declared=Signature(inputs=specs, outputs=()))
    assert Constant(0.25) in model.reads.compared()["x"]


class Loud(torch.nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        loud = (x.abs().mean() > 0.25) & ((y * y).mean().sqrt() > 0.5) & (y.pow(2).amax() > 16.0)
        return loud & (torch.sigmoid(z - 2) > 0.5)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_thresholds_of_magnitudes_squares_and_probabilities_are_those_of_the_inputs(tmp_path: Path) -> None:
    for found in compared_by(Loud(), tmp_path):
        assert found == {"x": [0.25], "y": [0.5, 4], "z": [2]}


class Filling(torch.nn.Module):
    """Replaces what's missing."""

    def forward(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        known = torch.where(torch.isnan(x), torch.zeros_like(x), x)
        return known + torch.where(torch.isfinite(y), y, torch.ones_like(y)) + torch.where(z != z, x, z)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_tests_for_what_is_no_number_are_read(tmp_path: Path) -> None:
    tensors = (torch.rand(3, 2), torch.rand(3, 2), torch.rand(3, 2))
    specs = tuple(TensorSpec(name=name, shape=(3, 2), dtype="float32") for name in "xyz")
    with torchscript.quiet():
        torch.jit.script(Filling()).save(str(tmp_path / "m.pt"))
    torch.export.save(torch.export.export(Filling(), tensors), tmp_path / "m.pt2")
    script = torchscript.load(tmp_path / "m.pt", declared=Signature(inputs=specs, outputs=()))
    program = torch_export.load(tmp_path / "m.pt2", declared=Signature(inputs=(), outputs=()))
    for model in (script, program):
        found = {name: [each.number for each in constants] for name, constants in model.reads.compared().items()}
        assert np.array_equal(found["x"], [np.nan], equal_nan=True)
        assert np.array_equal(found["y"], [np.nan, np.inf, -np.inf], equal_nan=True)
        assert np.array_equal(found["z"], [np.nan], equal_nan=True)
