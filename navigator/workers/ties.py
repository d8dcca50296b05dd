"""Where the source model's outputs depend on the order of equal values, which its framework or rounding doesn't define.

Only runs the model; `navigator.verify.ties` says what that means for a comparison.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

import numpy as np

from navigator.errors import listed
from navigator.records import DEFAULT_TOLERANCE
from navigator.runners.abilities import OrdersTies, Reranks, TellsValues
from navigator.runners.protocol import LoadedModel
from navigator.samples.generate import Sample

DIRECTORY = "ties"
"""The folder of what is undefined, beside the outputs."""

Arrays = Mapping[str, np.ndarray]


def undefined(model: LoadedModel, samples: Sequence[Sample], outputs: Sequence[Sample]) -> list[Sample]:
    """Return which elements of which outputs aren't defined, as booleans; samples and outputs without any are left out.

    A model that sorts is run once more, and a second time if it meets equal values. An output that would have no other
    element in any sample stays as it is.
    """
    if not sorts(model):
        return []
    found = [(name, at(model, inputs, known)) for (name, inputs), (_, known) in zip(samples, outputs, strict=True)]
    kept = {
        key
        for (_, known), (_, masks) in zip(outputs, found, strict=True)
        for key, array in known.items()
        if array.size and not (key in masks and masks[key].all())
    }
    some = [(name, {key: mask for key, mask in masks.items() if key in kept}) for name, masks in found]
    return [(name, masks) for name, masks in some if masks]


def sorts(model: LoadedModel) -> bool:
    """Return whether a model sorts values whose order isn't defined if they're equal, or equal but for rounding."""
    known = isinstance(model, (OrdersTies, Reranks))
    return known and isinstance(model, TellsValues) and bool(model.sorting_operations)


def at(model: LoadedModel, inputs: Arrays, outputs: Arrays) -> dict[str, np.ndarray]:
    """Return the elements of the outputs that aren't defined for some inputs, as booleans of the outputs' shapes."""
    masks = {key: np.zeros(array.shape, bool) for key, array in outputs.items()}
    with suppress(Exception):  # a framework may refuse with errors of its own
        for number, found in enumerate(_in_other_orders(model, inputs)):
            masks = {key: mask | _differs(outputs[key], found.get(key)) for key, mask in masks.items()}
            # What one order and its reverse don't change, no other does.
            if number and not any(mask.any() for mask in masks.values()):
                break
        return {key: mask for key, mask in masks.items() if mask.any()}
    return {}


def _in_other_orders(model: LoadedModel, inputs: Arrays) -> Iterator[Arrays]:
    """Yield the outputs for equal values in other orders; nothing if there aren't any."""
    if isinstance(model, OrdersTies):
        with model.ordered(rotated=True) as met:
            rotated = model.infer(inputs)
        if met.equal:
            yield rotated
            with model.ordered(rotated=False):
                yield model.infer(inputs)
    elif isinstance(model, Reranks):
        for other in model.reranked():
            yield other.infer(inputs)


def notes(model: LoadedModel, outputs: Sequence[Sample], found: Sequence[Sample]) -> Iterator[str]:
    """Say how much of each output isn't defined."""
    sorting = model.sorting_operations if isinstance(model, TellsValues) else ()
    which = "values that only rounding tells apart" if isinstance(model, Reranks) else "equal values"
    for name in dict.fromkeys(name for _, masks in found for name in masks):
        count = sum(int(np.count_nonzero(masks[name])) for _, masks in found if name in masks)
        total = sum(arrays[name].size for _, arrays in outputs if name in arrays)
        yield (
            f"{name}: {count} of {total} values depend on the order in which {listed(sorting)} returns {which}, "
            "which isn't defined, so they aren't compared"
        )


def _differs(one: np.ndarray, other: np.ndarray | None) -> np.ndarray:
    if other is None or one.shape != other.shape:
        return np.ones(one.shape, bool)
    if one.dtype.kind not in "fc":
        return np.asarray(one != other)
    # Sums in another order aren't what is looked for.
    with np.errstate(all="ignore"):
        close = np.isclose(one, other, rtol=DEFAULT_TOLERANCE, atol=DEFAULT_TOLERANCE, equal_nan=True)
    return np.asarray(~close)
