"""What the source model decides otherwise where it rounds otherwise: orders, classes, thresholds that are all but ties.

Only runs the model; `navigator.verify.undecided` says what that means for a comparison.
"""

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

import numpy as np

from navigator.runners.abilities import Nudged, Quantizes, TellsValues
from navigator.runners.protocol import LoadedModel, SourceModel
from navigator.samples.generate import Sample
from navigator.workers.noise import within

Arrays = Mapping[str, np.ndarray]

# How far each number may move, in steps of its dtype: by 7.6e-6 in float32, not quite the 1e-5 that values may differ.
_STEPS = 64

# Directions in which a sample is moved, each forth and back: one of both brings two values closer to each other.
_DIRECTIONS = 4

# A hundred times what values may differ by: floats that go so far are on another side of a threshold, or of another
# class. Others show only how much a model makes of the last digits.
_JUMP = 1e-3

# In seconds. What isn't run until then says nothing.
_LONGEST = 30.0


def runs(model: LoadedModel, samples: Sequence[Sample]) -> Iterator[tuple[str, Arrays]]:
    """Yield what the model returns for inputs and weights that are all but the same, each sample several times.

    Floats stay as they were unless they jump, or the model sorts or quantizes: either moves them elsewhere.
    """
    end = time.monotonic() + _LONGEST
    moves = isinstance(model, TellsValues) and bool(model.sorting_operations)
    moves |= isinstance(model, Quantizes) and model.quantizes
    before: dict[str, Arrays] = {}
    if not moves:
        with suppress(Exception):
            before = {name: model.infer(inputs) for name, inputs in samples}
    ways = list(itertools.product(range(_DIRECTIONS), (1, -1)))
    for name, outputs in _all_runs(model, samples, ways, end):
        yield name, outputs if moves else _jumped(before.get(name, {}), outputs)


def _jumped(before: Arrays, after: Arrays) -> Arrays:
    """Return all but the floats, and those that went far; the other floats as they were."""
    found = {key: array for key, array in after.items() if array.dtype.kind not in "fc"}
    for key, array in after.items():
        own = before.get(key)
        if key not in found and own is not None and own.shape == array.shape:
            with np.errstate(all="ignore"):
                far = np.abs(array - own) > _JUMP * (1 + np.abs(own))
            found[key] = np.where(far, array, own)
    return found


def _all_runs(
    model: LoadedModel, samples: Sequence[Sample], ways: Sequence[tuple[int, int]], end: float
) -> Iterator[tuple[str, Arrays]]:
    # Inputs of whole numbers stay, so that only other weights show anything.
    if any(array.dtype.kind == "f" for _, inputs in samples for array in inputs.values()):
        yield from _runs(model, samples, ways, end)
    # A framework may refuse to write to weights, with errors of its own.
    if isinstance(model, Nudged):
        for seed, sign in ways:
            with suppress(Exception), model.nudged(seed, sign) as other:
                yield from _runs(other, samples, [(seed, sign)], end)
    elif isinstance(model, SourceModel):
        with suppress(Exception), model.perturbed() as other:
            yield from _runs(other, samples, ways, end)


def _runs(
    model: LoadedModel, samples: Sequence[Sample], ways: Sequence[tuple[int, int]], end: float
) -> Iterator[tuple[str, Arrays]]:
    for seed, sign in ways:
        for name, inputs in samples:
            if time.monotonic() > end:
                return
            away = {key: nudged(array, sign, (seed, number)) for number, (key, array) in enumerate(inputs.items())}
            with suppress(Exception):
                yield name, model.infer(away)


def nudged(array: np.ndarray, sign: int, seed: tuple[int, int]) -> np.ndarray:
    """Return floats that are up to some steps of their dtype away in a direction or back, within their own range.

    Whole numbers stay: zeros, ends and thresholds are what they are on purpose.
    """
    if array.dtype.kind != "f" or not array.size:
        return array
    step = _STEPS * float(np.finfo(array.dtype).eps)
    parts = np.random.default_rng(seed).uniform(-step, step, array.shape)
    with np.errstate(all="ignore"):
        return within(array, array * (1 + sign * parts))
