"""Inputs that may show a disagreement: proposals of a search, each made from the samples and what earlier ones showed.

Stays inside what the samples span: between the smallest and largest value of each input, and in shapes that they have
or that lie in between; only floats that nobody gave a range are larger at times. The user's own samples are only
recombined. Runs no model. The same seed gives the same proposals to the same answers.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from navigator.samples.axes import batch_axes, counted_shapes, random_shapes, special_shapes, ties
from navigator.samples.own_data import Sample
from navigator.samples.symbols import Layout, Shape
from navigator.samples.values import Bounds, Origin, generator, spelled, uniform, unknown
from navigator.samples.ways import WAYS, Way, patch, scaled

Arrays = Mapping[str, np.ndarray]
Shapes = Mapping[str, Shape]
Style = Callable[["Drawn", float], Arrays]

# Rows that a proposal has at most: each tries something else, and more of them cost more than they find.
_ROWS = 8

# Sizes that aren't drawn again.
_REMEMBERED = 200

# In tolerances. Rounding is rarely so far off.
_CLOSE = 0.2

# Of ten: how much larger floats without a range become, and how much smaller all are.
_LARGEST_POWER, _SMALLEST_POWER = 3.0, -5.0

# Of a row's places, those that are set to numbers that the model compares with.
_PLACES = 0.5

# How many combinations of numbers, one for each input, are tried.
_COMBINED = 64

# How far beside a threshold, as a part of it or of 1.
_BESIDE = 1 / 8

# How many arrays of texts have some that the model may not know.
_UNKNOWN = 0.25

# How many rows get none that isn't finite: what it spreads to can't be compared.
_FINITE = 0.75

# How many inputs are tried with numbers that only a converted model compares with, beside the source's.
_JOINED = 32

# The best proposals, from which new ones are made.
_KEPT = 8


class Proposals(Protocol):
    """What proposes inputs, and learns what became of them."""

    def propose(self, elements: float) -> Arrays:
        """Return the next inputs, with at most so many elements, or the smallest that there are."""

    def learn(self, inputs: Arrays, outputs: Arrays, score: float) -> None:
        """Take in the source model's outputs, and how far the converted model's are off, in tolerances."""


@dataclass(kw_only=True)
class Drawn:
    """Proposals beside generated samples, each made in one of `STYLES`.

    Args:
        samples: the samples that the source model took.
        layout: the shapes within which proposals stay.
        seed: the user's.
        styles: how to make them, in turn.
        free: inputs of floats of which nobody says from where they are.
        wide: ends beyond those of the samples, which small ones may not reach.
        numbers: what the model compares its inputs with.
        special: sizes to try before others, as far as there are any axes that may have them.
        texts: the bounds of inputs that are text.
    """

    samples: Sequence[Sample]
    layout: Layout
    seed: int
    styles: Sequence[Style] = ()
    free: Collection[str] = ()
    wide: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    numbers: Mapping[str, Sequence[float]] = field(default_factory=dict)
    special: Sequence[int] = ()
    texts: Mapping[str, Bounds] = field(default_factory=dict)
    _best: list[tuple[float, Arrays]] = field(default_factory=list)
    _extreme: dict[tuple[str, bool], tuple[float, Arrays]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._rng = generator(self.seed, "search", "")
        self._bounds = {**spanned(self.samples), **self.texts}
        for name, (low, high) in self.wide.items():
            known = self._bounds[name]
            self._bounds[name] = replace(known, low=min(known.low, low), high=max(known.high, high))
        self._ties = ties(self.layout, apart=True)
        self._batch = batch_axes(self._ties)
        self._known = sorted(_unique(_shapes(arrays) for _, arrays in self.samples), key=_elements)
        self._counters = dict.fromkeys(self._bounds, 0)
        self._tried: deque[Shapes] = deque(maxlen=_REMEMBERED)
        self._takes_unknown = any(name == "unknown" for name, _ in self.samples)
        self._turn = self._size = self._scale = 0
        self._levels = self._combined()
        self._special = deque(special_shapes(self.layout, self._ties, self.special))

    def propose(self, elements: float) -> Arrays:
        self._turn += 1
        elements = min(elements, _elements(self._known[-1]))
        styles = self.styles or (*STYLES, *((Drawn.decided,) if self.numbers else ()))
        return styles[self._turn % len(styles)](self, elements)

    def learn(self, inputs: Arrays, outputs: Arrays, score: float) -> None:
        self._best = _with(self._best, score, inputs)
        for name, array in outputs.items():
            if array.size and array.dtype.kind in "iuf":
                for sign in (1, -1):
                    value = sign * float(array.max() if sign > 0 else array.min())
                    if value > self._extreme.get((name, sign > 0), (-np.inf, inputs))[0]:
                        self._extreme[name, sign > 0] = (value, inputs)

    def fresh(self, elements: float) -> Arrays:
        """Draw every row anew, each in a way of its own."""
        shapes = self._sizes(elements)
        ways = [WAYS[self._rng.integers(len(WAYS))] for _ in range(_ROWS)]
        return {name: self._rows(name, shape, ways) for name, shape in shapes.items()}

    def corner(self, elements: float) -> Arrays:
        """Set one place of each row to an end: an element, a slice, or the first or last part."""
        return {name: self.patched(name, array) for name, array in self.plain(elements).items()}

    def scaled(self, elements: float) -> Arrays:
        """Draw rows of floats each in another size, the ends first; those that somebody gave a range only smaller.

        Where a hidden value is clipped or overflows isn't seen in inputs, and ordinary numbers may not get there. A
        floor under what is divided by, or whose logarithm is taken, shows in small ones only.
        """
        inputs = self.plain(elements)
        parts = [self._part() for _ in range(_ROWS)]
        for name, array in inputs.items():
            if self._bounds[name].dtype.kind == "f" and self._bounds[name].holds(0):
                largest = _LARGEST_POWER if name in self.free else 0.0
                powers = [largest + part * (_SMALLEST_POWER - largest) for part in parts]
                inputs[name] = scaled(array, self._batch.get(name), powers)
        return inputs

    def decided(self, elements: float) -> Arrays:
        """Set inputs to numbers that the model compares with or to what is beside them, or some places of each row.

        A sample has one of them, and a branch may take several at once: in two inputs, or in two places. It may also
        take the mean or the largest value of an input, to which all rows add.
        """
        inputs = self.plain(elements)
        if self._levels and (self._turn // 2) % 2:
            for name, number in self._levels.pop().items():
                inputs[name] = np.full_like(inputs[name], number)
            return inputs
        for name, numbers in self.numbers.items():
            known = np.array(numbers)
            finite = known[np.isfinite(known)]
            for row in self._first_rows(name, inputs[name]):
                among = finite if finite.size and self._rng.random() < _FINITE else known
                places = self._rng.random(row.shape) < self._rng.choice([0, _PLACES, 1])
                np.copyto(row, self._chosen(among, row.shape, self._bounds[name]), "unsafe", where=places)
        return inputs

    def _combined(self) -> list[dict[str, float]]:
        """Return one number for each input that the model compares, in combinations; no two are the same."""
        around = {name: _around(numbers, self._bounds[name]) for name, numbers in self.numbers.items()}
        found = {
            tuple(float(self._rng.choice(numbers)) for numbers in around.values())
            for _ in range(_COMBINED if around else 0)
        }
        return [dict(zip(around, numbers, strict=True)) for numbers in found]

    def joined(self, special: Mapping[str, Sequence[float]]) -> Iterator[Arrays]:
        """Yield inputs with numbers that only a converted model compares with, among those that the source does."""
        for _ in range(_JOINED):
            inputs = self.decided(_ROWS * _elements(self._known[0]))
            for name, numbers in special.items():
                for row in self._first_rows(name, inputs[name]):
                    places = self._rng.random(row.shape) < _PLACES
                    np.copyto(row, self._rng.choice(np.array(numbers), row.shape), "unsafe", where=places)
            yield inputs

    def _chosen(self, numbers: np.ndarray, shape: Shape, bounds: Bounds) -> np.ndarray:
        """Return some of these numbers, or what is beside them; the smallest and the largest as often as all others."""
        ends = np.array([numbers.min(), numbers.max()])
        outer = self._rng.random(shape) < 0.5
        chosen = np.where(outer, self._rng.choice(ends, shape), self._rng.choice(numbers, shape))
        beside = chosen + self._rng.choice([-1, 0, 0, 1], shape) * _beside(chosen, bounds)
        return np.where((beside >= bounds.low) & (beside <= bounds.high), beside, chosen)

    def _first_rows(self, name: str, array: np.ndarray) -> Sequence[np.ndarray]:
        """Return views of the first rows, or of all where there are none."""
        axis = self._batch.get(name)
        return [array] if axis is None else [row[None] for row in np.moveaxis(array, axis, 0)[:_ROWS]]

    def _part(self) -> float:
        """Return 0, 1, and then numbers in between that halve the gaps again and again."""
        part, step, rest = 0.0, 0.5, self._scale - 1
        while rest > 0:
            part, step, rest = part + step * (rest % 2), step / 2, rest // 2
        self._scale += 1
        return 1.0 if self._scale == 2 else part

    def plain(self, elements: float) -> dict[str, np.ndarray]:
        """Draw uniformly, as ordinary samples are drawn."""
        return {name: self._drawn(uniform, name, shape) for name, shape in self._sizes(elements).items()}

    def sized(self) -> Iterator[Arrays]:
        """Yield inputs in the special sizes that haven't been tried yet."""
        while self._special:
            yield self.plain(np.inf)

    def climb(self, elements: float) -> Arrays:
        """Change the inputs with the largest and the smallest outputs so far, or with an error near the tolerance."""
        close = [inputs for score, inputs in self._best if score > _CLOSE]
        return self._mutated([*(inputs for _, inputs in self._extreme.values()), *close], elements)

    def _mutated(self, parents: Sequence[Arrays], elements: float) -> Arrays:
        fitting = [each for each in parents if _elements(_shapes(each)) <= elements]
        if not fitting:
            return self.corner(elements)
        parent = fitting[int(self._rng.integers(len(fitting)))]
        changed = str(self._rng.choice(list(parent)))
        every = bool(self._rng.random() < 0.5)
        return {
            name: self.patched(name, array) if every or name == changed else array for name, array in parent.items()
        }

    def patched(self, name: str, array: np.ndarray) -> np.ndarray:
        if name not in self.texts:
            return self._patched(name, array)
        # Their numbers aren't known: those that are still out of the range were left as they are.
        outside = int(self._bounds[name].high) + 1
        numbers = self._patched(name, np.full(array.shape, outside))
        return np.where(numbers == outside, array, spelled(numbers, self._bounds[name]))

    def _patched(self, name: str, array: np.ndarray) -> np.ndarray:
        axis = self._batch.get(name)
        array = array.copy()
        if axis is None:
            patch(self._rng, array, self._bounds[name])
        else:
            rows = np.moveaxis(array, axis, 0)
            for place in range(min(len(rows), _ROWS)):
                patch(self._rng, rows[place : place + 1], self._bounds[name])
        return array

    def _rows(self, name: str, shape: Shape, ways: Sequence[Way]) -> np.ndarray:
        """Return rows of which each is drawn in its own way, again and again if there are more."""
        axis = self._batch.get(name)
        if axis is None:
            return self._drawn(ways[0], name, shape)
        one = (*shape[:axis], 1, *shape[axis + 1 :])
        made = [self._drawn(way, name, one) for way in ways[: shape[axis]]]
        return np.concatenate([made[row % len(made)] for row in range(shape[axis])], axis)

    def _drawn(self, way: Way, name: str, shape: Shape) -> np.ndarray:
        counts = self._bounds[name].dtype.kind in "iu" and self._rng.random() < 0.5
        drawn = self._counted(name, shape) if counts else way(self._rng, shape, self._bounds[name])
        if name in self.texts and self._takes_unknown and self._rng.random() < _UNKNOWN:
            others = self._rng.integers(unknown(self._bounds[name]), 0, shape)
            drawn = np.where(self._rng.random(shape) < _PLACES, others, drawn)
        return spelled(drawn, self._bounds[name])

    def _counted(self, name: str, shape: Shape) -> np.ndarray:
        """Return the next whole numbers of the range, from its lower end again after its upper end."""
        bounds = self._bounds[name]
        low, count, room = int(bounds.low), int(np.prod(shape)), int(bounds.high) - int(bounds.low) + 1
        start = self._counters[name]
        self._counters[name] = (start + count) % room
        numbers = np.arange(start, start + count, dtype=np.uint64) % np.uint64(min(room, 2**63))
        # Modulo 2**64, in which a negative lower end is right too.
        return (numbers + np.uint64(low % 2**64)).astype(bounds.dtype).reshape(shape)

    def _sizes(self, elements: float) -> Shapes:
        """Return shapes: the smallest that have rows to vary, any of the samples', or others."""
        if self._special and _elements(self._special[0]) <= elements:
            return self._special.popleft()
        fitting = [each for each in self._known if _elements(each) <= elements] or self._known[:1]
        kind = int(self._rng.integers(3))
        if kind == 0 and self._ties:
            self._size += 1
            counted = self._size % 2 == 1
            found = (
                counted_shapes(self.layout, self._ties, self._size // 2)
                if counted
                else random_shapes(self.layout, self._ties, self._rng, self._tried)
            )
            if found is not None and _elements(found) <= elements:
                if not counted:
                    self._tried.append(found)
                return found
        if kind == 1:
            with_rows = [each for each in fitting if all(each[name][axis] > 1 for name, axis in self._batch.items())]
            return (with_rows or fitting)[0]
        return fitting[int(self._rng.integers(len(fitting)))]


STYLES: tuple[Style, ...] = (Drawn.fresh, Drawn.corner, Drawn.climb, Drawn.scaled)
"""The combination that finds the most errors per second: see benchmarks/search_strategies.py."""


@dataclass(kw_only=True)
class Recombined:
    """Proposals in place of the user's own samples: their rows in other batches, and mixtures of two rows.

    Rows are taken whole, with what belongs to them in other inputs, since values of one row with those of another may
    be inputs that the model isn't made for. Only floats are mixed, so that they stay between values that occur.

    Args:
        samples: the user's.
        batched: whether axis 0 of every input is the batch.
        seed: the user's.
    """

    samples: Sequence[Sample]
    batched: bool
    seed: int
    _best: list[tuple[float, Arrays]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng = generator(self.seed, "search", "")

    def propose(self, elements: float) -> Arrays:
        known = [arrays for _, arrays in self.samples]
        fitting = [each for each in known if _elements(_shapes(each)) <= elements]
        fitting = fitting or [min(known, key=lambda each: _elements(_shapes(each)))]
        best = [inputs for _, inputs in self._best if _elements(_shapes(inputs)) <= elements]
        first = self._any(best if best and self._rng.random() < 0.5 else fitting)
        alike = [each for each in fitting if all(self._fits(first[name], array) for name, array in each.items())]
        second = self._any(alike or [first])
        size = next(iter(first.values())).shape[0] if self.batched else 1
        one, other = (self._chosen(each, size) for each in (first, second))
        share = float(self._rng.choice([0.0, self._rng.random()]))
        return {name: _mixed(array, other[name], share) for name, array in one.items()}

    def learn(self, inputs: Arrays, outputs: Arrays, score: float) -> None:
        del outputs
        self._best = _with(self._best, score, inputs)

    def _any(self, among: Sequence[Arrays]) -> Arrays:
        return among[int(self._rng.integers(len(among)))]

    def _fits(self, array: np.ndarray, other: np.ndarray) -> bool:
        return array.shape[self.batched :] == other.shape[self.batched :]

    def _chosen(self, arrays: Arrays, size: int) -> Arrays:
        """Return as many rows, each any of the sample's."""
        if not self.batched:
            return arrays
        rows = self._rng.integers(len(next(iter(arrays.values()))), size=size)
        return {name: array[rows] for name, array in arrays.items()}


def _around(numbers: Sequence[float], bounds: Bounds) -> list[float]:
    """Return finite numbers, and what is beside them within the bounds."""
    known = np.array(numbers)[np.isfinite(numbers)]
    step = _beside(known, bounds)
    found = dict.fromkeys(np.concatenate([known, known - step, known + step]).tolist())
    return [number for number in found if bounds.holds(number)] or [bounds.low]


def _beside(numbers: np.ndarray, bounds: Bounds) -> np.ndarray:
    """Return how far from each number what is beside it is."""
    if bounds.dtype.kind in "iu":
        return np.ones(numbers.shape)
    return np.asarray(_BESIDE * np.where(np.isfinite(numbers), np.maximum(1, np.abs(numbers)), 0))


def scales(samples: Sequence[tuple[str, Arrays]]) -> dict[str, float]:
    """Return the largest magnitude of each input of floats."""
    found: dict[str, float] = {}
    for _, arrays in samples:
        for name, array in ((name, each) for name, each in arrays.items() if each.dtype.kind == "f"):
            found[name] = max(found.get(name, 0.0), float(np.abs(array).max(initial=0, where=np.isfinite(array))))
    return found


def spanned(samples: Sequence[Sample]) -> dict[str, Bounds]:
    """Return the smallest and the largest value of each input that's a number."""
    found = {}
    for name in dict.fromkeys(name for _, arrays in samples for name in arrays if arrays[name].dtype.kind != "U"):
        numbers = (each[name][np.isfinite(each[name])] for _, each in samples)
        arrays = [each for each in numbers if each.size]
        low = min((array.min().item() for array in arrays), default=0)
        high = max((array.max().item() for array in arrays), default=0)
        found[name] = Bounds(dtype=samples[0][1][name].dtype, low=low, high=high, origin=Origin.GIVEN)
    return found


def _mixed(one: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    if one.dtype.kind not in "fc" or not share:
        return one
    with np.errstate(all="ignore"):
        return (one * (1 - share) + other * share).astype(one.dtype)


def _with(kept: list[tuple[float, Arrays]], score: float, inputs: Arrays) -> list[tuple[float, Arrays]]:
    """Return the best of `kept` and one more."""
    if len(kept) == _KEPT and score <= kept[-1][0]:
        return kept
    return sorted([*kept, (score, inputs)], key=lambda each: -each[0])[:_KEPT]


def _unique(shapes: Iterator[Shapes]) -> list[Shapes]:
    found: list[Shapes] = []
    for each in shapes:
        if each not in found:
            found.append(each)
    return found


def _shapes(arrays: Arrays) -> dict[str, Shape]:
    return {name: array.shape for name, array in arrays.items()}


def _elements(shapes: Shapes) -> int:
    return sum(int(np.prod(shape)) for shape in shapes.values())
