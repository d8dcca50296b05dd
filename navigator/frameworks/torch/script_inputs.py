"""Guesses the inputs of a TorchScript module, whose file stores neither shapes nor dtypes, from what its graph reads.

Each guess still has to run. `navigator.workers.probing` tries them.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from navigator.frameworks.torch.arguments import Argument, Parameter
from navigator.frameworks.torch.script_clues import Known, combined
from navigator.frameworks.torch.script_reading import read
from navigator.records import AxisSpec, TensorSpec

# A torch object; the types of the package differ between supported versions.
_Torch = Any


def guesses(module: _Torch, takes: Sequence[Parameter]) -> Iterator[tuple[TensorSpec, ...]]:
    """Yield the inputs that a module may take, the likeliest first; arguments that may be left out are.

    Args:
        module: the TorchScript module.
        takes: the parameters of its `forward`.
    """
    reading = read(module, takes)
    for count in reading.counts(takes):
        names = [name for each in takes for name in reading.names(each, count)]
        if not names:
            continue
        options = [reading.known.get(name, Known()).guesses(name) for name in names]
        yield from combined(options, [*reading.alike.values()])


def axes(
    module: _Torch, takes: Sequence[Parameter], arguments: Sequence[Argument], inputs: Sequence[TensorSpec]
) -> dict[str, tuple[AxisSpec, ...]]:
    """Return which axes of the inputs are one batch: those of recurrent layers and of the states that they begin with.

    Torch doesn't check that in a traced module, and writes beyond a state that has too few rows (2.13).
    """
    given = {
        own: name for each in arguments for own, name in zip(each.parameter.inputs, each.inputs, strict=False)
    }  # fmt: skip
    ranks = {spec.name: len(spec.shape or ()) for spec in inputs}
    places = set()
    for own, clue in read(module, takes).batches:
        sizes = clue.sizes_at(ranks[given[own]]) if own in given else None
        places |= {(given[own], axis) for axis in sizes or ()}
    if len(places) < 2:
        return {}
    return {
        name: tuple(AxisSpec(size="batch" if (name, axis) in places else "") for axis in range(rank))
        for name, rank in ranks.items()
    }
