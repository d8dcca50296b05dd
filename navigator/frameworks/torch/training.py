"""The operations of torch models that were saved in training mode, as the file shows them."""

from collections.abc import Iterable
from typing import Any

from navigator.frameworks.torch import calls
from navigator.frameworks.torch.calls import Call

# A torch object; the types of the package differ between supported versions.
_Torch = Any


def of_script(module: _Torch) -> tuple[str, ...]:
    """Return the names of the operations of a TorchScript module that normalize by the batch for good."""
    return _training(calls.of_script(module))


def of_program(program: _Torch) -> tuple[str, ...]:
    """Return the names of the operations of a torch.export program that normalize by the batch."""
    return _training(calls.of_program(program))


def _training(found: Iterable[Call]) -> tuple[str, ...]:
    return tuple(sorted({each.name for each in found if _normalizes_by_the_batch(each)}))


def _normalizes_by_the_batch(call: Call) -> bool:
    """Return whether it's a batch normalization that has running statistics, but doesn't use them.

    One that has none, as within an instance normalization, does the same in evaluation mode.
    """
    given = call.arguments
    return "batch_norm" in call.name and given.get("training") is True and given.get("running_mean") is not None
