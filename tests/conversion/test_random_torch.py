"""Which operations of TorchScript modules and torch.export programs draw random numbers."""
# ruff: noqa: TID253 - the framework is what is tested
# mypy: allow-subclassing-any

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from navigator.errors import StepError
from navigator.records import Signature, TensorSpec
from navigator.runners import torch_export, torchscript
from navigator.workers.repeatability import require_repeatable

DECLARED = Signature(inputs=(TensorSpec(name="x", shape=(-1, 6), dtype="float32"),), outputs=())
SAMPLES = [("min", {"x": np.linspace(0.1, 1, 24, dtype=np.float32).reshape(4, 6)})]


class Masked(torch.nn.Module):
    """Draws its mask in `forward`, as ViTMAE does."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        order = torch.rand(x.shape[0], 6).argsort(1)
        return torch.gather(x, 1, order)


class Dropping(torch.nn.Module):
    """Calls the function, whose `training` is True unless it's told otherwise."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.dropout(x, 0.5)


class Attending(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q = x.unsqueeze(0)
        return functional.scaled_dot_product_attention(q, q, q, dropout_p=0.5)


class Quiet(torch.nn.Module):
    """Has everything that could draw, in inference mode."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.relu = torch.nn.Dropout(0.5), torch.nn.RReLU()
        self.lstm = torch.nn.LSTM(6, 6, 2, dropout=0.5, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q = self.lstm(self.relu(self.drop(x)).unsqueeze(0))[0]
        return functional.scaled_dot_product_attention(q, q, q)


class Branching(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if bool(x.sum() > 0):
            x = x + torch.randn_like(x)
        return x


def script(module: torch.nn.Module, path: Path, *, trace: bool = False) -> torchscript.TorchScriptModel:
    with torchscript.quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        made = torch.jit.trace(module, torch.ones(4, 6), check_trace=False) if trace else torch.jit.script(module)
        torch.jit.save(made, str(path))
    return torchscript.load(path, declared=DECLARED)


@pytest.fixture(autouse=True)
def _about_lstm() -> Iterator[None]:
    """Torch warns about its own LSTM while it exports one (2.13)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The tensor attributes self.lstm._flat_weights")
        yield


def program(module: torch.nn.Module, path: Path) -> torch_export.TorchExportModel:
    with torch_export.quiet():
        torch.export.save(torch.export.export(module, (torch.ones(4, 6),)), str(path))
    return torch_export.load(path, declared=Signature(inputs=(), outputs=()))


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (Masked(), ("aten::rand",)),
        (Dropping(), ("aten::dropout",)),
        (Attending(), ("aten::scaled_dot_product_attention",)),
        (Branching(), ("aten::randn_like",)),
        (Quiet().eval(), ()),
        (Quiet(), ()),  # the runner sets evaluation mode
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, torch.nn.Module) else None,
)
def test_a_module_names_the_operators_that_draw(
    module: torch.nn.Module, names: tuple[str, ...], tmp_path: Path
) -> None:
    assert script(module, tmp_path / "m.pt").random_operations == names


def test_a_module_traced_in_training_mode_names_its_layers_that_draw(tmp_path: Path) -> None:
    found = script(Quiet(), tmp_path / "m.pt", trace=True).random_operations
    assert set(found) >= {"aten::dropout", "aten::rrelu", "aten::lstm"}


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (Masked(), ("aten.rand.default",)),
        (Dropping(), ("aten.dropout.default",)),
        (Attending(), ("aten.scaled_dot_product_attention.default",)),
        (Quiet().eval(), ()),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, torch.nn.Module) else None,
)
def test_a_program_names_the_operators_that_draw(
    module: torch.nn.Module, names: tuple[str, ...], tmp_path: Path
) -> None:
    assert program(module, tmp_path / "m.pt2").random_operations == names


@pytest.mark.parametrize(
    "module", [Masked(), Dropping(), Attending(), Branching()], ids=lambda each: type(each).__name__
)
def test_such_a_source_model_is_refused(module: torch.nn.Module, tmp_path: Path) -> None:
    model = script(module, tmp_path / "m.pt")
    outputs = [(name, model.infer(inputs)) for name, inputs in SAMPLES]
    with pytest.raises(StepError, match="it draws random numbers with aten::"):
        require_repeatable(model, SAMPLES, outputs, lambda: model)
