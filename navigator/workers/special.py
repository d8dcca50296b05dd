"""What a search tries first: numbers and sizes that a model's graph compares with, where it may compute otherwise."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from navigator.records import ModelConfig, TensorSpec
from navigator.runners.abilities import ShowsReads, TellsValues
from navigator.runners.protocol import LoadedModel
from navigator.samples.constants import Special, possible
from navigator.samples.generate import drawn_from
from navigator.samples.probes import with_numbers
from navigator.samples.search import Drawn, Proposals

Arrays = Mapping[str, np.ndarray]


def special_of(model: LoadedModel) -> Special:
    """Return the numbers and sizes that a model compares with."""
    return model.reads.special() if isinstance(model, ShowsReads) else Special()


def directed(
    source: LoadedModel, inputs: Sequence[TensorSpec], config: ModelConfig, proposals: Proposals, special: Special
) -> Iterator[Arrays]:
    """Yield inputs in special sizes and with special numbers, none beside the user's own samples."""
    if not isinstance(proposals, Drawn):
        return
    yield from proposals.sized()
    says = source.told if isinstance(source, TellsValues) else {}
    bounds = drawn_from(inputs, config, says)
    yield from with_numbers(bounds, proposals.layout, special, seed=config.random_seed)
    found = possible(bounds, special, beside=False)
    yield from proposals.joined(found) if found else ()
