"""Scripted layers of torch.nn, which ask for the ranks, types and devices of their tensors, and what they compute."""
# ruff: noqa: TID253 - the framework is what is tested
# mypy: allow-subclassing-any, disable-error-code="no-untyped-call"

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from navigator.records import Signature, TensorSpec
from navigator.runners import onnx as onnx_runner
from navigator.runners import torchscript
from tests.support.exports import Exports, of_torchscript

WIDTH = 8


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, WIDTH)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True), 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(self.embedding(x), src_key_padding_mask=x == 0)


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(WIDTH, 2, 16), 1, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 3:
            raise ValueError(f"{x.dim()} axes instead of 3")
        return self.encoder(x)


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.transformer = nn.Transformer(WIDTH, 2, 1, 1, 16, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.size(1))
        return self.transformer(x * 2, x, tgt_mask=mask)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 2, add_bias_kv=True)

    def forward(self, x: Tensor) -> Tensor:
        mixed, shares = self.attention(x, x + 1, x + 1)
        assert shares is not None
        return mixed + shares.sum()


class Cells(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRUCell(WIDTH, WIDTH)
        self.tanh = nn.RNNCell(WIDTH, WIDTH, bias=False)
        self.relu = nn.RNNCell(WIDTH, WIDTH, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros(x.size(0), x.size(2))
        for step in range(3):
            state = self.relu(state, self.tanh(x[:, 0], self.gru(x[:, step], state)))
        return state


def exported(module: nn.Module, samples: list[tuple[str, dict[str, np.ndarray]]], directory: Path) -> Exports:
    """Return the scripted module after a run on the samples."""
    (array,) = samples[0][1].values()
    shape = (-1, -1, *array.shape[2:])
    with torchscript.quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what torch thinks of its own layers
        torch.jit.save(torch.jit.script(module.eval()), str(directory / "model.pt"))
    declared = Signature(inputs=(TensorSpec(name="x", shape=shape, dtype=str(array.dtype)),), outputs=())
    return of_torchscript(directory, directory / "model.pt", declared, samples)


def computed(made: Exports, opset: int) -> list[np.ndarray]:
    model = onnx_runner.load(made.convert(opset)[0], declared=made.signature)
    return [model.infer(arrays)["output__0"] for _, arrays in made.samples]


@pytest.mark.parametrize("opset", [14, pytest.param(18, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("module", [Plain, Transformer, Attention, Cells])
def test_scripted_layers_compute_the_same_for_any_sizes(module: type[nn.Module], opset: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    shapes = [(2, 5, WIDTH), (3, 7, WIDTH), (1, 4, WIDTH)]
    made = exported(module(), [(str(s), {"x": rng.standard_normal(s).astype(np.float32)}) for s in shapes], tmp_path)
    for found, (_, expected) in zip(computed(made, opset), made.expected, strict=True):
        np.testing.assert_allclose(found, expected["output__0"], atol=1e-5)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_a_scripted_encoder_returns_zeros_for_padding_only_where_torch_does(tmp_path: Path) -> None:
    """Torch nests the rows if all of the padding is at the end, and keeps it otherwise."""
    torch.manual_seed(0)
    at_the_end = np.array([[3, 4, 5, 0, 0], [1, 2, 3, 4, 5]])
    within = np.array([[3, 0, 5, 0, 0, 7], [1, 2, 3, 4, 5, 0]])
    all_of_a_row = np.array([[3], [0]])
    samples = [("end", {"x": at_the_end}), ("within", {"x": within}), ("all", {"x": all_of_a_row})]
    made = exported(Encoder(), samples, tmp_path)
    found = computed(made, 14)
    for each, (_, expected) in zip(found, made.expected, strict=True):
        np.testing.assert_allclose(each, expected["output__0"], atol=1e-5)
    assert not found[0][0, 3:].any()
    assert found[1][0, 3:5].all()
