"""The source model's own rounding: its outputs after changes that mean nothing mathematically.

Only runs the model; `navigator.verify.noise` judges what comes out.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from navigator.errors import StepError
from navigator.ranges import bounds
from navigator.records import TensorSpec
from navigator.runners.abilities import AddsExactly, CastsToHalf, Exact, Shaken
from navigator.runners.protocol import LoadedModel, SourceModel
from navigator.samples.constants import NAMES
from navigator.samples.generate import Sample
from navigator.workers.repeatability import uninformative

Arrays = Mapping[str, np.ndarray]

BATCHES = "batches"
"""The folder of the outputs in two batches, beside those with other rounding."""

OFF = "off"
"""The folder of the outputs with sums that are off, beside those with exact ones."""

# Twice, since each element may happen to round alike once.
_SHAKES = 2

# How often sums are off, each time to other sides.
_SUMS = 4

# Numbers that the model compares with may be beyond all that it's made for, and a row of zeros may be silence, of which
# a normalization makes whatever rounding left.
_UNUSUAL = frozenset({*NAMES, "zeros"})

# Half of a step of float16, relative to the number.
_HALF_STEP = 2.0**-11


@dataclass(frozen=True, slots=True)
class Probes:
    """(sample's name, outputs of the same shapes as before) of each run: in two batches, and with other rounding."""

    batches: list[tuple[str, Arrays]]
    rounded: list[tuple[str, Arrays]]


def probes(model: LoadedModel, samples: Sequence[Sample], outputs: Sequence[Sample]) -> Probes:
    """Run the source model with other rounding, on the opt sample or one of median size, and on a small one.

    Rounding grows with the values that are rounded, so of the samples of at most half its size, it's the one with the
    largest outputs, but for unusual values. Each is run twice: in two batches instead of one; and with every input and
    weight one step of its dtype away, on other threads and kernels where the framework has them. What the model refuses
    to run, or answers with other shapes, is left out.

    Args:
        model: the source model.
        samples: its inputs.
        outputs: what it returned for them, in the same order.
    """
    known = dict(outputs)
    ordered = sorted(samples, key=uninformative)
    usual = next((each for each in samples if each[0] == "opt"), ordered[len(ordered) // 2])
    plain = [each for each in ordered if not uninformative(each)[0] and each[0] not in _UNUSUAL]
    varied = [each for each in plain if 2 * _size(each) <= _size(usual)]
    small = _loudest(varied or ordered[:1], known)
    return probes_of(model, [small, *([usual] if usual is not small else [])], outputs)


def probes_of(model: LoadedModel, samples: Sequence[Sample], outputs: Sequence[Sample]) -> Probes:
    """Run the source model with other rounding on all of these samples."""
    known = dict(outputs)
    batches = [(name, after) for name, inputs in samples for after in in_two_batches(model, inputs)]
    return Probes(batches=_alike(batches, known), rounded=_alike(rounded(model, samples), known))


def _alike(runs: Iterable[tuple[str, Arrays]], known: Mapping[str, Arrays]) -> list[tuple[str, Arrays]]:
    """Return the outputs that have the shapes that are known."""
    found = [
        (name, {key: array for key, array in after.items() if array.shape == known[name][key].shape})
        for name, after in runs
    ]
    return [(name, arrays) for name, arrays in found if arrays]


def _size(sample: Sample) -> int:
    return sum(array.nbytes for array in sample[1].values())


def _loudest(samples: Sequence[Sample], outputs: Mapping[str, Arrays]) -> Sample:
    """Return the first sample of those with the largest outputs, each measured by its largest in any of them."""
    magnitudes = [
        [max(map(abs, bounds([array]))) if array.dtype.kind in "fc" else 0.0 for array in outputs[name].values()]
        for name, _ in samples
    ]
    largest = [max(*column, np.finfo(np.float64).tiny) for column in zip(*magnitudes, strict=False)]
    loudness = [sum(part / whole for part, whole in zip(each, largest, strict=False)) for each in magnitudes]
    return samples[loudness.index(max(loudness))]


def changed(model: LoadedModel, inputs: Arrays) -> Iterator[Arrays]:
    """Yield what the model returns after each change that it takes."""
    yield from in_two_batches(model, inputs)
    yield from (outputs for _, outputs in rounded(model, [("", inputs)]))


def in_two_batches(model: LoadedModel, inputs: Arrays) -> Iterator[Arrays]:
    """Yield what the model returns for the first row and the others apart, if it has rows and takes that."""
    size = batch_size(model.signature.inputs, inputs)
    if size is not None:
        with suppress(StepError):
            yield _in_two_batches(model, inputs, size)


def rounded(model: LoadedModel, samples: Iterable[tuple[str, Arrays]]) -> Iterator[tuple[str, Arrays]]:
    """Yield what the model returns with every input and weight one step away, for the samples that it takes so.

    A step is that of their dtype, or half a step of float16 if the model rounds to that anyway. Weights are changed
    once for all of them: that takes as long as a few runs of a large model.
    """
    if not isinstance(model, SourceModel):
        return
    step = _away if isinstance(model, CastsToHalf) and model.casts_to_half else stepped
    # A framework may refuse to write to weights, with errors of its own. No model fails for want of its noise.
    with suppress(Exception), model.perturbed() as other:
        for sample, inputs in samples:
            away = {name: step(array, number) for number, (name, array) in enumerate(inputs.items())}
            with suppress(Exception):
                yield sample, other.infer(away)


def exact(model: LoadedModel, samples: Iterable[tuple[str, Arrays]]) -> Iterator[tuple[str, Arrays]]:
    """Yield what the model returns if it computes in float64, in its own dtypes, for the samples that it takes so.

    What it's off by in float32 may have a direction that no change of the last bits shows, as in sums of squares.
    """
    if not isinstance(model, Exact):
        return
    # A traced constant in float32 may not go with the others: then nothing is known.
    with suppress(Exception), model.in_double() as other:
        for sample, inputs in samples:
            with suppress(Exception):
                outputs = other.infer({name: _cast(array, np.float32, np.float64) for name, array in inputs.items()})
                yield sample, {name: _cast(array, np.float64, np.float32) for name, array in outputs.items()}


def _cast(array: np.ndarray, one: type, other: type) -> np.ndarray:
    return array.astype(other) if array.dtype == one else array


def summed(model: LoadedModel) -> Callable[[Arrays], tuple[Arrays, list[Arrays]] | None]:
    """Return what runs a converted model with exact sums, and some times with sums that are off; None if it can't.

    That tells what its runtime rounds from what its file says.
    """
    # The operators of a file may be unknown to what rewrites it: then nothing is known.
    models: tuple[LoadedModel, LoadedModel] | None = None
    with suppress(Exception):
        models = model.summed() if isinstance(model, AddsExactly) else None

    def run(inputs: Arrays) -> tuple[Arrays, list[Arrays]] | None:
        with suppress(StepError):
            return (models[0].infer(inputs), [models[1].infer(inputs) for _ in range(_SUMS)]) if models else None
        return None

    return run


def shaken(model: LoadedModel, samples: Sequence[Sample]) -> Iterator[Sample]:
    """Yield what a converted model in fp16 returns for each sample if it rounds otherwise, each twice.

    Its float16 weights are up to a step away, and all floats that it's given up to half a step: not more than what
    rounding them to float16 changes, so that all later values are rounded otherwise too.

    Raises:
        StepError: it isn't in fp16, or can't be run so.
    """
    if not isinstance(model, Shaken):
        raise StepError("its rounding can't be measured")
    for seed in range(_SHAKES):
        with model.shaken(seed) as other:
            for name, inputs in samples:
                away = {key: _away(array, seed, number) for number, (key, array) in enumerate(inputs.items())}
                yield name, other.infer(away)


def _away(array: np.ndarray, *seed: int) -> np.ndarray:
    """Return floats up to half a step of float16 away, within their own range; whole numbers stay what they are."""
    if array.dtype.kind != "f" or not array.size:
        return array
    parts = np.random.default_rng(seed).uniform(-_HALF_STEP, _HALF_STEP, array.shape)
    with np.errstate(all="ignore"):
        return within(array, array * (1 + parts))


def batch_size(specs: Sequence[TensorSpec], inputs: Arrays) -> int | None:
    """Return the size of axis 0 if it's dynamic and of one size in all inputs, as a batch is."""
    dynamic = all(spec.shape and spec.shape[0] == -1 for spec in specs)
    sizes = {inputs[spec.name].shape[0] for spec in specs if spec.name in inputs and inputs[spec.name].ndim}
    return sizes.pop() if dynamic and len(sizes) == 1 and 0 not in sizes else None


def _in_two_batches(model: LoadedModel, inputs: Arrays, size: int) -> Arrays:
    """Run the first row alone and the others after it; a single row is run in a batch of two like it."""
    if size == 1:
        twice = model.infer({name: np.repeat(array, 2, axis=0) for name, array in inputs.items()})
        return {name: array[:1] for name, array in twice.items() if array.ndim and array.shape[0] == 2}
    first = model.infer({name: array[:1] for name, array in inputs.items()})
    rest = model.infer({name: array[1:] for name, array in inputs.items()})
    return {
        name: np.concatenate([array, rest[name]])
        for name, array in first.items()
        if array.ndim and array.shape[0] == 1 and rest[name].shape == (size - 1, *array.shape[1:])
    }


def stepped(array: np.ndarray, seed: int) -> np.ndarray:
    """Return floats one step of their dtype up or down, within their own range.

    Whole numbers stay what they are: they may be masks, ids or the ends of a range.
    """
    if array.dtype.kind != "f" or not array.size:
        return array
    up = np.random.default_rng(seed).integers(0, 2, array.shape).astype(bool)
    with np.errstate(all="ignore"):
        return within(array, np.nextafter(array, np.where(up, np.inf, -np.inf).astype(array.dtype)))


def within(array: np.ndarray, away: np.ndarray) -> np.ndarray:
    """Return floats that were moved, inside the range of what they were; whole numbers and what's not finite stay.

    A single NaN has no range, and must not become that of all others.
    """
    moved = np.clip(away, np.fmin.reduce(array, axis=None), np.fmax.reduce(array, axis=None))
    return np.where(np.isfinite(array) & (np.rint(array) != array), moved, array).astype(array.dtype)
