"""Modules that take tensors in tuples of tuples and in lists of tuples: each tensor is an input."""
# ruff: noqa: TID253 - the framework is what is tested
# mypy: allow-subclassing-any

import warnings
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor

from navigator.errors import StepError
from navigator.frameworks.torch.arguments import bind, parameters
from navigator.frameworks.torch.script_inputs import guesses
from navigator.records import Signature, TensorSpec
from tests.support.exports import floats, of_torchscript

Pair = tuple[Tensor, Tensor]


class States(torch.nn.Module):
    def forward(self, x: Tensor, state: tuple[Tensor, tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        first, (second, third) = state
        return x + first * 2 + second * 3, third * x


class Layers(torch.nn.Module):
    def forward(self, x: Tensor, past: list[Pair]) -> Tensor:
        for key, value in past:
            x = x * key + value
        return x


class Sized(torch.nn.Module):
    def forward(self, x: Tensor, state: tuple[Pair, Pair]) -> tuple[Tensor, int]:
        return x + state[0][0] * 2 + state[0][1] * 3 + state[1][0] * 5 + state[1][1] * 7, x.shape[0]


CASES: dict[str, tuple[torch.nn.Module, int]] = {
    "states": (States(), 3),
    "layers": (Layers(), 4),
    "sized": (Sized(), 4),
}


def nested(name: str, tensors: list[Tensor]) -> Any:
    if name == "states":
        return tensors[0], (tensors[1], tensors[2])
    pairs = [*zip(tensors[::2], tensors[1::2], strict=True)]
    return pairs if name == "layers" else tuple(pairs)


def made(name: str, *, traced: bool) -> Any:
    module, count = CASES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not traced:
            return torch.jit.script(module)
        x, *others = (torch.ones(2, 4) for _ in range(count + 1))
        return torch.jit.trace(module, (x, nested(name, others)))


@pytest.mark.parametrize(("name", "traced"), [("states", False), ("states", True), ("layers", True), ("sized", False)])
def test_each_tensor_is_an_input(tmp_path: Path, name: str, traced: bool) -> None:
    module, count = made(name, traced=traced), CASES[name][1]
    source = tmp_path / "m.pt"
    module.save(str(source))
    names = ["x", *(f"p__{index}" for index in range(count))]
    declared = Signature(
        inputs=tuple(TensorSpec(name=each, shape=(-1, 4), dtype="float32") for each in names), outputs=()
    )
    samples = [
        (f"batch {batch}", {each: floats((batch, 4), seed) for seed, each in enumerate(names)}) for batch in (2, 3)
    ]
    run = of_torchscript(tmp_path, source, declared, samples)
    path, _ = run.convert(14)
    verdict = run.verdict(path)
    assert verdict.passed, verdict


@pytest.mark.parametrize("name", CASES)
def test_their_inputs_are_guessed(name: str) -> None:
    module, count = made(name, traced=name == "layers"), CASES[name][1]
    first = next(guesses(module, parameters(module)))
    assert len(first) == count + 1


@pytest.mark.parametrize("name", CASES)
def test_each_input_goes_where_it_belongs(name: str) -> None:
    module, count = made(name, traced=False), CASES[name][1]
    names = ["x", *(f"p__{index}" for index in range(count))]
    tensors = {each: torch.full((1,), float(index)) for index, each in enumerate(names)}
    specs = [TensorSpec(name=each, shape=(1,), dtype="float32") for each in names]
    _, given = bind(parameters(module), specs)
    assert given.fill(tensors) == nested(name, [*tensors.values()][1:])


def test_a_list_of_pairs_takes_no_odd_tensor() -> None:
    specs = [TensorSpec(name=each, shape=(1,), dtype="float32") for each in ("x", "p__0", "p__1", "p__2")]
    with pytest.raises(StepError, match=r"4 declared .* past: List\[Tuple\[Tensor, Tensor\]\]"):
        bind(parameters(made("layers", traced=False)), specs)


class Steps(torch.nn.Module):
    """Returns its state under the keys that it takes it by."""

    def forward(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"q": state["q"] + state["p"], "q_out": state["p"] * 2, "p": state["p"] - state["q"]}


def test_outputs_are_called_otherwise_than_inputs(tmp_path: Path) -> None:
    source = tmp_path / "m.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Steps()).save(str(source))
    declared = Signature(
        inputs=tuple(TensorSpec(name=each, shape=(-1, 4), dtype="float32") for each in ("q", "p")), outputs=()
    )
    samples = [(f"batch {batch}", {"q": floats((batch, 4), 0), "p": floats((batch, 4), 1)}) for batch in (2, 3)]
    run = of_torchscript(tmp_path, source, declared, samples)
    path, _ = run.convert(14)
    verdict = run.verdict(path)
    assert verdict.passed, verdict
    assert [value.name for value in onnx.load(path).graph.output] == ["q_out_out", "q_out", "p_out"]
