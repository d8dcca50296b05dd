"""The operations of torch models that draw random numbers, as torch itself tags them."""

from collections.abc import Iterable
from typing import Any

from navigator.frameworks.torch import calls
from navigator.frameworks.torch.calls import Call

# A torch object; the types of the package differ between supported versions.
_Torch = Any

# Arguments that turn the drawing off: dropout in inference mode, attention and LSTM without dropout.
_SWITCHES = frozenset({"train", "training", "dropout", "dropout_p", "p"})


def of_script(module: _Torch) -> tuple[str, ...]:
    """Return the names of the operations of a TorchScript module in evaluation mode that draw random numbers."""
    return _drawing(calls.of_script(module))


def of_program(program: _Torch) -> tuple[str, ...]:
    """Return the names of the operations of a torch.export program that draw random numbers."""
    return _drawing(calls.of_program(program))


def _drawing(found: Iterable[Call]) -> tuple[str, ...]:
    return tuple(sorted({each.name for each in found if _draws(each)}))


def _draws(call: Call) -> bool:
    import torch

    if torch.Tag.nondeterministic_seeded not in getattr(call.operation, "tags", ()):
        return False
    # `train` of native_dropout may be None, which means True.
    return not any(
        name in _SWITCHES and isinstance(value, int | float) and not value for name, value in call.arguments.items()
    )
