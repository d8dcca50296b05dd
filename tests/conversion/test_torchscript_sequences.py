"""Recurrent layers from TorchScript and torch.export: packed sequences, and LSTMs with projections."""
# ruff: noqa: TID253 - the framework is what is tested
# mypy: allow-subclassing-any

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from navigator.converters import torch_export_to_onnx
from navigator.errors import StepError
from navigator.records import Signature, TensorSpec
from navigator.runners import torch_export
from tests.support.exports import Exports, floats, of_torchscript

INPUTS = (
    TensorSpec(name="x", shape=(-1, -1, 8), dtype="float32"),
    TensorSpec(name="lengths", shape=(-1,), dtype="int64"),
    TensorSpec(name="start", shape=(-1, 4), dtype="float32"),
)
# Of 7 steps, at most 6 are no padding.
SAMPLES = [
    ("whole", {"x": floats((3, 5, 8)), "lengths": np.array([3, 5, 2])}),
    ("padded", {"x": floats((2, 7, 8), seed=1), "lengths": np.array([4, 6])}),
]
SORTED = [(name, {**sample, "lengths": np.sort(sample["lengths"])[::-1].copy()}) for name, sample in SAMPLES]


class All(torch.nn.Module):
    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        states, _ = self.layer(packed)
        padded: tuple[torch.Tensor, torch.Tensor] = pad_packed_sequence(states, batch_first=True)
        return padded


class Sorted(All):
    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        states, _ = self.layer(pack_padded_sequence(x.transpose(0, 1), lengths))
        padded: tuple[torch.Tensor, torch.Tensor] = pad_packed_sequence(states)
        return padded


class Kept(All):
    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        states, _ = self.layer(pack_padded_sequence(x, lengths, batch_first=True))
        padded: tuple[torch.Tensor, torch.Tensor] = pad_packed_sequence(
            states, batch_first=True, total_length=x.shape[1]
        )
        return padded


class Last(All):
    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        _, state = self.layer(packed)
        last: torch.Tensor = state[0][-1]
        return last


def saved(
    tmp_path: Path, module: torch.nn.Module, samples: list[tuple[str, dict[str, np.ndarray]]], scripted: bool
) -> Exports:
    source = tmp_path / "m.pt"
    names = [*samples[0][1]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = tuple(torch.from_numpy(each) for each in samples[0][1].values())
        torch.jit.save(torch.jit.script(module) if scripted else torch.jit.trace(module, example), str(source))
    declared = Signature(inputs=tuple(each for each in INPUTS if each.name in names), outputs=())
    return of_torchscript(tmp_path, source, declared, samples)


def lstm(**options: int) -> torch.nn.Module:
    return torch.nn.LSTM(8, 6, batch_first=True, **options)


@pytest.mark.parametrize("scripted", [False, True])
@pytest.mark.parametrize(
    ("module", "samples"),
    [
        (All(lstm()), SAMPLES),
        (All(lstm(bidirectional=True, num_layers=2)), SAMPLES),
        (All(torch.nn.GRU(8, 6, batch_first=True)), SAMPLES),
        (All(torch.nn.RNN(8, 6, batch_first=True)), SAMPLES),
        (Sorted(torch.nn.LSTM(8, 6)), SORTED),
        (Kept(lstm()), SORTED),
        (Last(lstm()), SAMPLES),
        (Last(lstm(bidirectional=True)), SAMPLES),
    ],
    ids=["lstm", "both ways", "gru", "rnn", "sorted", "kept", "last", "last both ways"],
)
def test_packed_sequences_are_computed_as_torch_does(
    tmp_path: Path, module: torch.nn.Module, samples: list[tuple[str, dict[str, np.ndarray]]], scripted: bool
) -> None:
    run = saved(tmp_path, module.eval(), samples, scripted)
    path, _ = run.convert(14)
    verdict = run.verdict(path)
    assert verdict.passed, verdict


class Projected(torch.nn.Module):
    """An LSTM of two layers in both directions, with projections and states."""

    def __init__(self, *, batch_first: bool, bias: bool) -> None:
        super().__init__()
        self.layer = torch.nn.LSTM(
            8, 6, num_layers=2, proj_size=4, bidirectional=True, batch_first=batch_first, bias=bias
        )

    def forward(self, x: torch.Tensor, start: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        states = torch.stack([start, -start, start * 2, start - 1])
        cells = torch.cat([states, states], 2)[:, :, :6]
        y, (last, cell) = self.layer(x, (states, cells))
        return y, last, cell


def projected(batch_first: bool) -> tuple[Projected, list[tuple[str, dict[str, np.ndarray]]]]:
    samples = [
        (name, {"x": sample["x"], "start": floats((sample["x"].shape[0 if batch_first else 1], 4))})
        for name, sample in SAMPLES
    ]
    return Projected(batch_first=batch_first, bias=batch_first).eval(), samples


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("batch_first", [True, False])
def test_projections_are_computed_as_torch_does(tmp_path: Path, batch_first: bool) -> None:
    module, samples = projected(batch_first)
    run = saved(tmp_path, module, samples, scripted=True)
    path, _ = run.convert(14)
    assert run.verdict(path).passed


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_projections_of_a_program_are_computed_as_torch_does(tmp_path: Path) -> None:
    source = tmp_path / "m.pt2"
    module, samples = projected(batch_first=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = tuple(torch.from_numpy(each) for each in samples[0][1].values())
        torch.export.save(torch.export.export(module, example), source)
    run = Exports(
        tmp_path,
        source,
        torch_export.load(source, declared=Signature(inputs=(), outputs=())),
        samples[:1],
        converter="torch_export_to_onnx",
        options=lambda opset: torch_export_to_onnx.Options(opset=opset),
    )
    path, _ = run.convert(18)
    assert run.verdict(path).passed


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_projections_of_packed_sequences_are_refused(tmp_path: Path) -> None:
    run = saved(tmp_path, All(lstm(proj_size=4)).eval(), SAMPLES, scripted=True)
    with pytest.raises(StepError, match=r"^an LSTM with projections .* can't be exported with packed") as refused:
        run.convert(14)
    assert refused.value.hint == "write it as a loop over its steps in the model, and script that"
