"""Torch's own samples of its operators (OpInfo), as modules, with values to run them on."""
# ruff: noqa: TID253 - the framework is what is tested
# mypy: allow-subclassing-any

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils import _pytree

Tensors = Sequence[torch.Tensor]

_LARGEST_INPUT = 20_000

# Operators that draw numbers, or leave them as they are in memory.
_DRAWN = frozenset(
    {
        "bernoulli",
        "cauchy",
        "empty",
        "empty_like",
        "empty_permuted",
        "empty_strided",
        "exponential",
        "geometric",
        "log_normal",
        "multinomial",
        "new_empty",
        "new_empty_strided",
        "normal",
        "normal.in_place",
        "normal.number_mean",
        "rand_like",
        "randint",
        "randint_like",
        "randn",
        "randn_like",
        "resize_",
        "resize_as_",
        "uniform",
    }
)

# torch (2.13) itself writes beyond its memory if pivots are others than those of the factors. No exporter writes it.
_CRASHES = frozenset({"linalg.ldl_solve"})


class Operator(torch.nn.Module):
    """An operator with all its arguments but the tensors."""

    def __init__(self, function: Callable[..., Any], arguments: Any) -> None:
        super().__init__()
        self._function = function
        leaves, self._structure = _pytree.tree_flatten(arguments)
        self._leaves = [None if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
        self._places = [index for index, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
        self.example = tuple(leaves[index].detach().clone() for index in self._places)
        self.constants = [leaf for leaf in self._leaves if leaf is not None]
        self.outputs = 0

    def forward(self, *tensors: torch.Tensor) -> Any:
        leaves = list(self._leaves)
        for place, tensor in zip(self._places, tensors, strict=True):
            leaves[place] = tensor
        args, kwargs = _pytree.tree_unflatten(leaves, self._structure)
        returned = [x for x in _pytree.tree_leaves(self._function(*args, **kwargs)) if isinstance(x, torch.Tensor)]
        self.outputs = len(returned)
        # ONNX Runtime returns no complex numbers.
        return tuple(torch.view_as_real(x.resolve_conj()) if x.is_complex() else x for x in returned)


class Together(torch.nn.Module):
    """Operators beside each other: one export takes hardly longer than one of each."""

    def __init__(self, operators: Sequence[Operator]) -> None:
        super().__init__()
        self._operators = list(operators)
        self.example = tuple(x for each in operators for x in each.example)

    def forward(self, *tensors: torch.Tensor) -> Any:
        left = iter(tensors)
        return tuple(x for each in self._operators for x in each(*itertools.islice(left, len(each.example))))


@functools.cache
def operators() -> dict[str, Any]:
    """Return torch's descriptions of its operators by name, with a variant's after a dot."""
    from torch.testing._internal.common_methods_invocations import op_db  # takes seconds

    named = {".".join(filter(None, (each.name, each.variant_test_name))): each for each in op_db}
    return {name: each for name, each in named.items() if name not in _DRAWN | _CRASHES}


def modules(operator: Any, dtype: torch.dtype, count: int) -> Iterator[Operator]:
    """Yield at most `count` samples of an operator, different in more than their sizes."""
    seen = set()
    with contextlib.suppress(Exception):  # samples of an operator may need what this machine lacks
        for sample in operator.sample_inputs("cpu", dtype):
            module = Operator(operator.op, ((sample.input, *sample.args), sample.kwargs))
            kind = (str(module.constants), *(x.ndim for x in module.example))
            usable = module.example and all(0 < x.numel() <= _LARGEST_INPUT for x in module.example)
            if usable and kind not in seen:
                seen.add(kind)
                yield module
            if len(seen) == count:
                return


def _changed(example: Tensors, floats: Callable[[Any], Any], whole: Callable[[Any], Any]) -> list[torch.Tensor]:
    return [floats(x) if x.is_floating_point() else x if x.dtype is torch.bool else whole(x) for x in example]


def _negative(x: torch.Tensor) -> torch.Tensor:
    return 0 - x  # not a negative zero


# The values that a module is run on.
VALUES: dict[str, Callable[[Tensors], list[torch.Tensor]]] = {
    "own": lambda example: list(example),
    "zeros": lambda example: [torch.zeros_like(x) for x in example],
    "first zeros": lambda example: [torch.zeros_like(example[0]), *example[1:]],
    "negative": lambda example: _changed(example, _negative, _negative),
    "first negative": lambda example: [*_changed(example[:1], _negative, _negative), *example[1:]],
    "small": lambda example: _changed(example, lambda x: x * 1e-5, lambda x: x // 4),
    "large": lambda example: _changed(example, lambda x: x * 100, lambda x: x * 37),
}
