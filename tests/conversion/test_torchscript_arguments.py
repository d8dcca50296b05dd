"""Scripted modules that take numbers and text beside tensors, or keep a state: whole runs, and what they advise."""
# ruff: noqa: TID253 - the framework is what is tested
# mypy: allow-subclassing-any, disable-error-code="no-untyped-call"

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from torch import Tensor

from navigator.cli import main
from navigator.errors import StepError
from navigator.frameworks.torch.arguments import bind, parameters
from navigator.runners import torchscript


class Layer(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(8, 4)


class Rates(Layer):
    def forward(self, x: Tensor, sr: int) -> Tensor:
        if sr not in [8000, 16000]:
            raise ValueError("rate")
        return self.layer(x) * (sr // 8000)


class Scaled(Layer):
    def forward(self, x: Tensor, scale: float, shift: float = 0.25) -> Tensor:
        return self.layer(x) * scale + shift


class Normalized(Layer):
    def forward(self, x: Tensor, normalize: bool) -> Tensor:
        values = self.layer(x)
        return values.softmax(-1) if normalize else values


class Reduced(Layer):
    def forward(self, x: Tensor, mode: str, twice: bool = False) -> Tensor:
        values = self.layer(x)
        if mode == "sum":
            values = values.sum(-1)
        else:
            assert mode == "mean"
            values = values.mean(-1)
        return values * 2 if twice else values


class Optional(Layer):
    def forward(self, x: Tensor, count: int | None = None) -> dict[str, Tensor]:
        values = self.layer(x)
        if count is not None:
            values = values * count
        return {"values": values}


class Remembers(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(8, 8)
        self.held = torch.zeros(0)

    def forward(self, x: Tensor) -> Tensor:
        if not len(self.held) or self.held.shape[0] != x.shape[0]:
            self.held = torch.zeros_like(x)
        self.held = self.held + self.inner(x)
        return self.held


MODULES = {each.__name__.lower(): each for each in (Rates, Scaled, Normalized, Reduced, Optional, Remembers)}


class Reads(torch.nn.Module):
    """Turns letters into numbers, and embeds them."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(256, 4)

    def forward(self, text: str) -> Tensor:
        return self.embedding(torch.tensor([ord(letter) for letter in text]))


def save(directory: Path, *names: str) -> None:
    torch.manual_seed(0)
    for name in names:
        with torchscript.quiet():
            torch.jit.script(MODULES[name]().eval()).save(str(directory / f"{name}.pt"))


def convert(directory: Path, models: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Convert models to ONNX, and return the result of each by its name, with what was found of it."""
    named = [{"model_name": each["model_path"].removesuffix(".pt"), **each} for each in models]
    text = {"defaults": {"target_formats": ["onnx"], "search_seconds": 0}, "models": named}
    (directory / "navigator.yaml").write_text(yaml.safe_dump(text))
    main(["convert", "--override-workspace"])
    report = yaml.safe_load((directory / "navigator_workspace" / "convert_results.yaml").read_text())
    found = {each["model_name"]: each for each in report["found"]}
    return {each["model_name"]: {**each, "found": found.get(each["model_name"])} for each in report["results"]}


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_values_that_nobody_gives_are_found_and_what_is_printed_keeps_them(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["rates", "scaled", "normalized", "reduced", "optional"]
    save(directory, *names)
    results = convert(directory, [{"model_path": f"{name}.pt"} for name in names])

    assert [each["status"]["state"] for each in results.values()] == ["passed"] * 5
    assert {name: each["found"]["arguments"] for name, each in results.items()} == {
        "rates": {"sr": "8000"},
        "scaled": {"scale": "1.0"},
        "normalized": {"normalize": "false"},
        "reduced": {"mode": "sum"},
        "optional": {},
    }
    printed = capsys.readouterr().out
    blocks = {
        name: yaml.safe_load("".join(re.findall(r"^    (.*\n)", block, re.MULTILINE)))
        for name, block in re.findall(r"^(\w+): found by running.*\n.*\n((?:    .*\n)+)", printed, re.MULTILINE)
    }
    assert list(blocks) == names
    again = convert(directory, [{"model_path": f"{name}.pt", **block} for name, block in blocks.items()])
    assert [each["status"]["state"] for each in again.values()] == ["passed"] * 5
    assert not any(each["found"] for each in again.values())


@pytest.mark.parametrize("probe", [True, False])
def test_values_of_the_user_are_fixed_in_the_converted_model(directory: Path, probe: bool) -> None:
    save(directory, "rates", "reduced", "scaled", "optional")
    shared = {"inputs": ["x:-1,8:float32"], "probe": probe}
    given: dict[str, dict[str, Any]] = {
        "rates": {"sr": 16000},
        "reduced": {"mode": "mean", "twice": True},
        "scaled": {"scale": 3, "shift": -1e-3},
        "optional": {"count": 3},
    }
    results = convert(
        directory, [{"model_path": f"{name}.pt", "arguments": each, **shared} for name, each in given.items()]
    )

    x = np.random.default_rng(0).standard_normal((5, 8), np.float32)
    for name, arguments in given.items():
        assert results[name]["status"]["state"] == "passed", results[name]["status"]
        source = torchscript.load_module(directory / f"{name}.pt")
        expected = source(torch.from_numpy(x), **arguments)
        session = onnxruntime.InferenceSession(results[name]["output_model"]["path"])
        assert [each.name for each in session.get_inputs()] == ["x"]
        expected = expected["values"] if isinstance(expected, dict) else expected
        np.testing.assert_allclose(session.run(None, {"x": x})[0], expected.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_values_on_the_command_line(directory: Path) -> None:
    save(directory, "rates")
    assert main(["convert", "rates.pt", "--target-formats", "onnx", "--arguments", "sr=16000"]) == 0
    report = yaml.safe_load((directory / "navigator_workspace" / "convert_results.yaml").read_text())
    assert report["found"][0]["arguments"] == {}
    save(directory, "scaled")
    assert main(["plan", "scaled.pt", "--arguments", "scale=[1]"]) == 0


@pytest.mark.parametrize(
    ("module", "given", "message", "hint"),
    [
        (Rates, {}, "forward takes sr: int, whose values aren't known", "`arguments: {sr: 1}`"),
        (Rates, {"sr": "fast"}, "sr is int, not 'fast'", "`arguments: {sr: 1}`"),
        (Normalized, {"normalize": "2"}, "normalize is bool, not '2'", "`arguments: {normalize: true}`"),
        (Rates, {"sr": "8000", "rate": "1"}, "forward has no argument 'rate'", "it has sr: int"),
        (Rates, {"sr": "8000", "x": "1"}, "forward has no argument 'x' for a number", "remove it from arguments"),
    ],
)
def test_values_that_do_not_fit_are_refused_with_what_does(
    module: type[torch.nn.Module], given: dict[str, str], message: str, hint: str
) -> None:
    with torchscript.quiet():
        takes = parameters(torch.jit.script(module()))
    with pytest.raises(StepError) as refusal:
        bind(takes, (), given)
    assert message in refusal.value.message
    assert hint in refusal.value.hint


def test_a_module_of_text_alone_is_refused_with_the_part_to_convert(directory: Path) -> None:
    with torchscript.quiet():
        torch.jit.script(Reads()).save(str(directory / "reads.pt"))
        torch.jit.script(Reads().embedding).save(str(directory / "part.pt"))

    found = convert(directory, [{"model_path": f"{name}.pt"} for name in ("reads", "part")])

    assert "forward takes text: str, but no tensor" in found["reads"]["status"]["message"]
    assert found["reads"]["remedy"] == "script the part of the model behind it, which takes tensors"
    assert found["part"]["status"]["state"] == "passed"


def test_a_state_is_told_with_the_part_to_convert_which_passes(directory: Path) -> None:
    save(directory, "remembers")
    result = convert(directory, [{"model_path": "remembers.pt"}])["remembers"]

    assert result["status"]["state"] == "mismatched"
    assert "keeps a state, which the converted model has lost" in result["status"]["message"]
    assert "no converted model keeps held from call to call" in result["remedy"]
    (command,) = re.findall(r"`(.+)`", result["remedy"])
    with torchscript.quiet():
        exec(command, {"torch": torch})
    assert convert(directory, [{"model_path": "inner.pt"}])["inner"]["status"]["state"] == "passed"


def test_inputs_come_from_samples(directory: Path) -> None:
    save(directory, "scaled", "rates")
    draw = np.random.default_rng(0)
    for rows in (1, 3):
        np.savez(directory / f"{rows}.npz", x=draw.standard_normal((rows, 8), np.float32))
    np.save(directory / "alone.npy", draw.standard_normal((2, 8), np.float32))
    np.save(directory / "flat.npy", draw.standard_normal(8, np.float32))
    models = [
        {"model_name": "two", "model_path": "scaled.pt", "samples": ["1.npz", "3.npz"]},
        {"model_name": "one", "model_path": "rates.pt", "samples": ["alone.npy"]},
        {"model_name": "flat", "model_path": "scaled.pt", "samples": ["flat.npy"]},
    ]
    results = convert(directory, models)

    assert {name: each["status"]["state"] for name, each in results.items()} == dict.fromkeys(results, "passed")
    shapes = {name: each["found"]["inputs"][0]["shape"] for name, each in results.items()}
    assert shapes == {"two": [-1, 8], "one": [-1, 8], "flat": [8]}
    assert results["one"]["found"]["arguments"] == {"sr": "8000"}


def test_samples_that_are_no_inputs_say_so(directory: Path) -> None:
    save(directory, "scaled")
    np.savez(directory / "wide.npz", x=np.ones((2, 9), np.float32))
    np.savez(directory / "two.npz", x=np.ones((2, 8), np.float32), y=np.ones(2, np.float32))
    np.savez(directory / "other.npz", x=np.ones((2, 8), np.float64))
    np.savez(directory / "right.npz", x=np.ones((2, 8), np.float32))
    given = {"wide": ["wide.npz"], "two": ["two.npz"], "mixed": ["right.npz", "other.npz"]}
    results = convert(
        directory,
        [{"model_name": name, "model_path": "scaled.pt", "samples": files} for name, files in given.items()],
    )
    messages = {name: each["status"]["message"] for name, each in results.items()}
    assert "fails on x [2, 9]" in messages["wide"]
    assert "2 declared (x, y), but forward takes x: Tensor, scale: float" in messages["two"]
    assert "'x' is float64 [2, 8], but float32 [2, 8] in another sample" in messages["mixed"]
