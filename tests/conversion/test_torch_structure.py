"""The JSON of torch.export's files says what torch reads from them."""
# ruff: noqa: TID253 - the framework is what is tested
# mypy: allow-subclassing-any

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.export import Dim

from navigator.models import structure
from navigator.records import Format, Signature
from navigator.runners import torch_export


class Model(torch.nn.Module):
    """Calls a function, so that each test says what it is about."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any) -> Any:
        return self.function(self, *args)


N, S = Dim("n", min=1, max=64), Dim("s", max=100)
X, IDS = torch.ones(2, 4), torch.ones(2, 5, dtype=torch.int64)

CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...], Any]] = {
    "one": (lambda _, x: x * 2, (X,), None),
    "several": (lambda _, x, ids: (x.sum(), ids > 1, ids.half()), (X, IDS), ({0: N}, {0: N, 1: S})),
    "dictionary": (lambda _, x: {"a": x, "b": x.double() + 1}, (X,), ({0: Dim("n")},)),
    "one tuple": (lambda _, x: (x + 1,), (X,), None),
    "derived": (lambda _, x, y: x + y[1:, :], (X, torch.ones(3, 4)), ({0: N}, {0: N + 1})),
    "nested": (lambda _, x: {"a": (x + 1, x + 2)}, (X,), None),
}


def saved(tmp_path: Path, function: Callable[..., Any], inputs: tuple[Any, ...], dynamic: Any, *, train: bool) -> Path:
    path = tmp_path / "m.pt2"
    shapes = None if dynamic is None else (tuple(dynamic),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(Model(function).train(train), inputs, dynamic_shapes=shapes), path)
    return path


@pytest.mark.parametrize("case", CASES)
def test_inputs_and_outputs_are_those_that_torch_loads(tmp_path: Path, case: str) -> None:
    path = saved(tmp_path, *CASES[case], train=False)

    read = structure.read(path, Format.TORCH_EXPORT)

    if case != "derived":  # which torch 2.13 can't load
        loaded = torch_export.load(path, declared=Signature(inputs=(), outputs=()))
        assert read.inputs == loaded.signature.inputs
        assert read.outputs == (None if case == "nested" else loaded.signature.outputs)
        dynamic = {name: axes for name, axes in loaded.axes.items() if any(axis.size for axis in axes)}
        assert {name: axes for name, axes in read.axes.items() if name in loaded.axes} == dynamic
    else:
        (first, _), (second, _) = read.axes.values() if len(read.axes) == 2 else list(read.axes.values())[:2]
        assert second.size == f"{first.size} + 1"
        assert first.ranges == second.ranges
    assert read.producer == f"torch {torch.__version__}"
    assert (read.training, read.quantized, read.custom_operators) == (False, False, ())


def test_training_mode_and_own_operators_are_seen(tmp_path: Path) -> None:
    def odd(x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    own = torch.library.custom_op("navigator_tests::odd", odd, mutates_args=())
    own.register_fake(torch.empty_like)
    dropped = torch.nn.functional.dropout
    path = saved(tmp_path, lambda self, x: own(dropped(x, training=self.training)), (X,), None, train=True)

    read = structure.read(path, Format.TORCH_EXPORT)

    assert (read.training, read.custom_operators) == (True, ("navigator_tests::odd",))
