"""The opset that TorchScript is exported at if nobody names one: what its operators need is known without torch."""
# ruff: noqa: TID253 - the framework is what is tested
# mypy: allow-subclassing-any

import importlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from navigator.errors import StepError
from navigator.frameworks.opsets import ADDS, DEFAULT, NEEDED
from navigator.frameworks.torch.symbolics import indexing, right_operators
from navigator.models import structure
from navigator.records import Format, Signature, TensorSpec
from tests.support.exports import Exports, of_torchscript

F = torch.nn.functional


class Function(torch.nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.function(*inputs)


class Scripted(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)

    def forward(self, x: torch.Tensor, flag: bool = True) -> torch.Tensor:
        y = F.interpolate(self.linear(x)[:, None], scale_factor=2.0)
        y.add_(1)
        return y.masked_fill(y > 2, 0.0) if flag else F.pad(y & y, [1, 2])


def saved(tmp_path: Path, function: Callable[..., Any], *inputs: np.ndarray) -> Path:
    path = tmp_path / "m.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(Function(function), tuple(map(torch.from_numpy, inputs)), check_trace=False)
        torch.jit.save(traced, str(path))
    return path


def exports(tmp_path: Path, function: Callable[..., Any], *inputs: np.ndarray, may_raise: bool = True) -> Exports:
    source = saved(tmp_path, function, *inputs)
    named = {f"x{index}": each for index, each in enumerate(inputs)}
    specs = [TensorSpec(name=name, shape=(-1,) * each.ndim, dtype=str(each.dtype)) for name, each in named.items()]
    declared = Signature(inputs=tuple(specs), outputs=())
    return of_torchscript(tmp_path, source, declared, [("own", named)], may_raise=may_raise)


def test_the_table_is_what_the_exporter_lacks_at_the_default_opset() -> None:
    from torch.onnx._internal.torchscript_exporter.registration import registry

    for opset in range(7, 21):
        importlib.import_module(f"torch.onnx.symbolic_opset{opset}")
    with right_operators(DEFAULT):
        groups = {name: registry.get_function_group(name) for name in registry.all_functions()}
        lacking = {name: each.get_min_supported() for name, each in groups.items() if each.get(DEFAULT) is None}
    adding = {f"aten::{name}": ADDS for name in indexing.ADDING if name not in ("index_put", "index_put_")}
    adding = {name: opset for name, opset in adding.items() if not name.endswith("_")}

    assert {**lacking, **adding} == NEEDED[Format.TORCHSCRIPT]


def test_operators_are_read_without_torch(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.script(Scripted())
        torch.jit.save(module, str(tmp_path / "m.pt"))

    def kinds(block: Any) -> set[str]:
        return {node.kind() for node in block.nodes()}.union(
            *(kinds(inner) for node in block.nodes() for inner in node.blocks())
        )

    wanted = {kind for kind in kinds(module.inlined_graph) if not kind.startswith("prim::")}
    read = structure.read(tmp_path / "m.pt", Format.TORCHSCRIPT)
    # Written as Python's own: indices and conversions of numbers.
    own = {"aten::__getitem__", "aten::Bool", "aten::Int", "aten::Float"}

    assert wanted - own <= {*read.operators}
    assert structure.read(tmp_path / "m.pt", Format.TORCHSCRIPT, operators=False).operators == {}


INTEGERS = np.array([[-9, 0, 6, 7]])
VALUES = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.mark.parametrize(
    ("function", "inputs", "opset"),
    [
        (lambda x: (x & 3) | (x ^ 5) | ~x, (INTEGERS,), 18),
        (lambda x: torch.bitwise_and(x.to(torch.int32), x), (INTEGERS,), 18),
        (lambda x: torch.bitwise_and(x > 3, x < 7) | ~(x > 6) ^ (x == 7), (INTEGERS,), 14),
        (lambda x: x.index_put([torch.tensor([0, 0])], torch.ones(2, 4), accumulate=True), (VALUES,), 16),
        (lambda x: x.scatter_reduce(0, (x.long() % 2), x, "amax"), (VALUES,), 18),
        (
            lambda x, grid: F.grid_sample(x, grid, align_corners=False),
            (np.ones((1, 2, 3, 4, 5), np.float32), np.zeros((1, 2, 2, 2, 3), np.float32)),
            20,
        ),
    ],
)
def test_what_only_the_export_shows_raises_the_default_opset(
    tmp_path: Path, function: Callable[..., Any], inputs: tuple[np.ndarray, ...], opset: int
) -> None:
    run = exports(tmp_path, function, *inputs)

    path, properties = run.convert(DEFAULT)

    assert run.verdict(path).passed
    assert properties.onnx_opset == opset
    raised = [int(each.split()[1]) for each in properties.warnings if "instead of" in each]
    assert raised[-1:] == ([opset] if opset != DEFAULT else [])


def test_an_opset_that_the_user_names_is_not_raised(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="aten::__and__ at opset 14: it needs 18 or higher") as refusal:
        exports(tmp_path, lambda x: x & 3, INTEGERS, may_raise=False).convert(DEFAULT)

    assert refusal.value.hint == "set onnx_opsets: [18]"
