"""Samples that look for trouble: values that converters get wrong and that uniform draws don't hit.

Each is small and looks for one kind of fault, so that one that the source model can't run takes nothing else with it:

- `ends`: the two ends of every range. An exporter that clips, saturates or compares with `<` for `<=`.
- `lows`: the lower end of inputs of one element, for which `ends` has room for the upper one only.
- `zeros`: a row of zeros beside ordinary ones. Silence, a blank picture, padding: divisions, norms, lost epsilons.
- `normal`: floats without a range from a standard normal. Half of them are negative, and some are larger than 1.
- `counts`: whole numbers that nobody gave a range, from 0 to 7, a single one from 2. Ordinary samples have 0 and 1.
- `negatives`: such numbers from -7 to -1, where the model minds their sign. Divisions that round to the other side.
- `unknown`: a row of texts that the model may not know, and some of them elsewhere. The default of a table.
- `masked`: a row whose mask is all false. A slot of the batch that nobody filled.
- `compared`, `compared_1`, …: numbers that the model compares inputs with, or NaN. A branch that nothing else takes.
  It may need more of its inputs than the others, so that these samples are large where the model refuses small ones.

Masks are all true beside ends, and prefixes (the first elements true, as with padding) elsewhere.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from navigator.records import SampleInfo
from navigator.samples import constants
from navigator.samples.axes import Tie, batch_axes, fitting, following, ties
from navigator.samples.own_data import Sample
from navigator.samples.symbols import Layout, Shape
from navigator.samples.values import UNKNOWN, Bounds, Origin, ends, generator, spelled, uniform, unknown

# One row to probe and one beside it: a fault may be that rows get in each other's way.
_ROWS = 2

# Of the texts in rows beside one that has no others.
_UNKNOWN_PART = 0.3

LARGEST_COUNT = 7
"""Whole numbers that nobody gave a range are drawn up to this one in one probe."""

Values = tuple[np.ndarray, str]
"""An array, and what it is for the report."""


def probes(
    bounds: Mapping[str, Bounds],
    layout: Layout,
    *,
    seed: int,
    memory_bytes: int,
    compared: constants.Compared | None = None,
    large: bool = False,
) -> tuple[list[Sample], tuple[SampleInfo, ...]]:
    """Return the probes that apply to the inputs, and their description for the report.

    Args:
        bounds: of each input.
        layout: the shapes within which probes stay.
        seed: the same one gives the same arrays.
        memory_bytes: as in `navigator.samples.generate.generate`.
        compared: what the model compares each input with.
        large: with the largest shapes, but for the batch.
    """
    tied = ties(layout)
    wanted = _shapes(layout, tied, large=large)
    shapes = fitting(wanted, layout, tied, {name: each.dtype for name, each in bounds.items()}, memory_bytes)
    batch = batch_axes(tied)
    samples, infos = [], []
    for kind, fill in _wanted(bounds, shapes, compared or {}):
        made = {
            name: fill(
                name,
                _Place(
                    rng=generator(seed, kind, name),
                    shape=shapes[name],
                    bounds=each,
                    axis=batch.get(name),
                    batched=bool(batch),
                ),
            )
            for name, each in bounds.items()
        }
        samples.append((kind, {name: spelled(array, bounds[name]) for name, (array, _) in made.items()}))
        infos.append(
            SampleInfo(
                name=kind,
                shapes=shapes,
                reduced_from=None if shapes == wanted else wanted,
                values={name: text for name, (_, text) in made.items()},
            )
        )
    return samples, tuple(infos)


def with_numbers(
    bounds: Mapping[str, Bounds], layout: Layout, special: constants.Special, *, seed: int
) -> Iterator[dict[str, np.ndarray]]:
    """Yield inputs like the probes with numbers that a model compares with, and inputs that are one of them all over.

    Rounding may decide whether one of these is met, so that they tell where to look, and no more.
    """
    found = constants.possible(bounds, special, beside=True)
    tied = ties(layout)
    shapes, batch = _shapes(layout, tied), batch_axes(tied)

    def place(kind: str, name: str) -> _Place:
        rng = generator(seed, kind, name)
        return _Place(rng=rng, shape=shapes[name], bounds=bounds[name], axis=batch.get(name), batched=bool(batch))

    for turn, kind in enumerate(constants.NAMES[: constants.count(found, shapes)]):
        yield {name: spelled(_compared(found, turn, name, place(kind, name))[0], bounds[name]) for name in bounds}
    for name, numbers in found.items():
        for number in numbers:
            others = {other: spelled(place("special", other).ordinary()[0], bounds[other]) for other in bounds}
            yield {**others, name: np.full(shapes[name], number).astype(bounds[name].dtype)}


def _wanted(
    bounds: Mapping[str, Bounds], shapes: Mapping[str, Shape], compared: constants.Compared
) -> Iterator[tuple[str, Callable[[str, "_Place"], Values]]]:
    """Yield the name of each probe, and what fills an input of it."""
    for kind, (applies, fill) in _KINDS.items():
        if any(_varies(each, shapes[name]) and applies(each, shapes[name]) for name, each in bounds.items()):
            yield kind, partial(_filled, fill)
    found = {name: constants.candidates(bounds[name], each) for name, each in compared.items() if name in bounds}
    found = {name: numbers for name, numbers in found.items() if numbers and np.prod(shapes[name])}
    for turn, kind in enumerate(constants.NAMES[: constants.count(found, shapes)]):
        yield kind, partial(_compared, found, turn)


def _filled(fill: Callable[["_Place"], Values], name: str, place: "_Place") -> Values:
    del name
    return fill(place)


def _compared(found: Mapping[str, tuple[float, ...]], turn: int, name: str, place: "_Place") -> Values:
    array, told = place.ordinary()
    return (array, constants.filled(place.rng, array, found[name], turn)) if found.get(name) else (array, told)


def reach(bounds: Bounds, samples: Collection[str]) -> tuple[float, float] | None:
    """Return from where an input may be that nobody gave a range, None if somebody did.

    Its samples may have less: a single number is one of these in each. `samples` are those that the model takes.
    """
    if is_free_float(bounds) and "normal" in samples:
        return -1.0, 1.0
    if is_free_count(bounds) and "counts" in samples:
        return -LARGEST_COUNT if bounds.signed and "negatives" in samples else 0, LARGEST_COUNT
    return None


def is_free_count(bounds: Bounds) -> bool:
    """Return whether nobody says from where the whole numbers of an input are."""
    return bounds.dtype.kind in "iu" and bounds.origin is Origin.DEFAULT and not bounds.mask


def is_free_float(bounds: Bounds) -> bool:
    """Return whether nobody says from where the floats of an input are."""
    return bounds.dtype.kind == "f" and bounds.origin is Origin.DEFAULT


def _shapes(layout: Layout, tied: list[Tie], *, large: bool = False) -> dict[str, Shape]:
    """Return small shapes that the user asked for but for the batch: the min shapes, or opt where those are 1.

    If they should be `large`, return the max shapes but for the batch.
    """
    profile = layout.profile
    sizes = {name: list(shape) for name, shape in profile.opt.items()}
    for tie in tied:
        for name, axis in tie.axes:
            if tie.is_batch:
                sizes[name][axis] = min(max(_ROWS, tie.low), tie.high)
            elif large:
                sizes[name][axis] = profile.max[name][axis]
            elif profile.min[name][axis] > 1:
                sizes[name][axis] = profile.min[name][axis]
    return following(layout, tied, {name: tuple(shape) for name, shape in sizes.items()})


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """What one array of a probe is filled from.

    `axis` is the batch of this input, None if it has none; `batched` is whether any input has one.
    """

    rng: np.random.Generator
    shape: Shape
    bounds: Bounds
    axis: int | None
    batched: bool

    def ordinary(self) -> Values:
        """Return what the input has in ordinary samples."""
        return uniform(self.rng, self.shape, self.bounds), str(self.bounds)

    def rows(self, array: np.ndarray) -> Iterator[np.ndarray]:
        """Yield views of `array`, one for each element of the batch."""
        if self.axis is None:
            yield array
        else:
            moved = np.moveaxis(array, self.axis, 0)
            yield from (moved[number : number + 1] for number in range(len(moved)))

    def true(self) -> Values:
        """Return a mask that hides nothing."""
        return np.ones(self.shape, self.bounds.dtype), "all true"

    def prefixes(self) -> Values:
        """Return a mask whose first elements are true, along the last axis; at least one, and not all if possible."""
        array, _ = self.true()
        for row in self.rows(array):
            if row.ndim and row.size:
                row[..., int(self.rng.integers(1, max(2, row.shape[-1]))) :] = 0
        return array, "first elements true"


def _ends(place: _Place) -> Values:
    if place.bounds.mask:
        return place.true()
    if place.bounds.texts:
        return place.ordinary()
    return ends(place.rng, place.shape, place.bounds), f"ends of {place.bounds}"


def _lows(place: _Place) -> Values:
    if not _has_one_end(place.bounds, place.shape):
        return _ends(place)
    return np.full(place.shape, place.bounds.low, place.bounds.dtype), f"low end of {place.bounds}"


def _zeros(place: _Place) -> Values:
    if place.bounds.mask:
        return place.prefixes()
    array, told = place.ordinary()
    if not _has_zero(place.bounds, place.shape) or (place.axis is None and place.batched):
        return array, told
    next(place.rows(array))[...] = 0
    return array, "0" if place.axis is None or array.shape[place.axis] == 1 else f"a row of 0, others {told}"


def _normal(place: _Place) -> Values:
    if place.bounds.mask:
        return place.prefixes()
    if not is_free_float(place.bounds):
        return place.ordinary()
    array = place.rng.standard_normal(place.shape).astype(place.bounds.dtype)
    first, *others = place.rows(array)
    if others:
        others[0][...] = -np.copysign(others[0], first)
    elif array.size > 1 and (np.signbit(array) == np.signbit(array.flat[0])).all():
        array.flat[int(place.rng.integers(array.size))] *= -1
    return array, "standard normal"


def _counts(place: _Place) -> Values:
    if place.bounds.mask:
        return place.prefixes()
    if not is_free_count(place.bounds):
        return place.ordinary()
    # A single number, such as a stride, is 0 or 1 in all other samples.
    low = 2 if np.prod(place.shape) == 1 else 0
    counts = place.rng.integers(low, LARGEST_COUNT, place.shape, endpoint=True)
    return counts.astype(place.bounds.dtype), f"{low} to {LARGEST_COUNT}"


def _negatives(place: _Place) -> Values:
    if place.bounds.mask:
        return place.prefixes()
    if not _is_signed_count(place.bounds, place.shape):
        return place.ordinary()
    return place.rng.integers(-LARGEST_COUNT, 0, place.shape).astype(place.bounds.dtype), f"-{LARGEST_COUNT} to -1"


def _unknown(place: _Place) -> Values:
    if place.bounds.mask:
        return place.prefixes()
    array, told = place.ordinary()
    if not place.bounds.texts or not array.size:
        return array, told
    # Each of them before one comes again, and first what nothing makes one that the model knows.
    start = int(place.rng.integers(len(UNKNOWN)))
    others = (-1 - (start + np.arange(array.size)) % -unknown(place.bounds)).reshape(array.shape)
    array = np.where(place.rng.random(array.shape) < _UNKNOWN_PART, others, array)
    first, *more = place.rows(array)
    first[...] = next(place.rows(others))
    if more:
        # What it knows in capitals, for which there may be no place in the first row.
        more[-1].flat[int(place.rng.integers(more[-1].size))] = unknown(place.bounds)
    return array, f"texts that the model may not know, others {told}"


def _masked(place: _Place) -> Values:
    if not place.bounds.mask:
        return place.ordinary()
    array, told = place.prefixes()
    *others, last = place.rows(array)
    last[...] = 0
    return array, f"{told}, last row all false" if others else "all false"


def _varies(bounds: Bounds, shape: Shape) -> bool:
    return bool(bounds.low < bounds.high and np.prod(shape))


def _has_one_end(bounds: Bounds, shape: Shape) -> bool:
    return not bounds.mask and bool(np.prod(shape) == 1) and bounds.low != 0


def _has_zero(bounds: Bounds, shape: Shape) -> bool:
    del shape
    return not (bounds.mask or bounds.texts or bounds.columns) and bounds.holds(0)


def _is_signed_count(bounds: Bounds, shape: Shape) -> bool:
    del shape
    return is_free_count(bounds) and bounds.signed


_KINDS: Mapping[str, tuple[Callable[[Bounds, Shape], bool], Callable[[_Place], Values]]] = {
    "ends": (lambda bounds, _: not bounds.texts, _ends),
    "lows": (_has_one_end, _lows),
    "zeros": (_has_zero, _zeros),
    "normal": (lambda bounds, _: is_free_float(bounds), _normal),
    "counts": (lambda bounds, _: is_free_count(bounds), _counts),
    "negatives": (_is_signed_count, _negatives),
    "unknown": (lambda bounds, _: bool(bounds.texts), _unknown),
    "masked": (lambda bounds, _: bounds.mask, _masked),
}
"""Each probe: the inputs for which there is one, and what it fills every input with."""

PROBES = (*_KINDS, *constants.NAMES)
"""The names of all probes."""

CHOSEN = frozenset(PROBES) - {"normal"}
"""Those whose values are ends, zeros and thresholds on purpose: what a model decides there is no accident."""

DECIDING = frozenset({"ends", "lows", *constants.NAMES})
"""Those of them at which a model may decide: a threshold, the end of a range, a test for NaN."""
