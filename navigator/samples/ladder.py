"""The sizes that a probe tries: which axes vary together, and which sizes are tried, small ones first.

Pure: `navigator.workers.probing` runs the model.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from navigator.records import ModelConfig
from navigator.samples.shapes import DEFAULT_BATCH
from navigator.samples.symbols import Names, Place, Shape


class Kind(StrEnum):
    """What a size is, as far as a signature shows it."""

    BATCH = "batch"
    SIDE = "side"
    LENGTH = "length"


_RUNGS: Mapping[Kind, tuple[int, ...]] = {
    Kind.BATCH: (1, 2, 4, 8, 16, 32, 64, DEFAULT_BATCH),
    Kind.SIDE: (32, 64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640),
    Kind.LENGTH: (1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
}

# Sizes that many models take, and cheap ones first. Speech needs more samples than text has words.
_LIKELY: Mapping[Kind, tuple[int, ...]] = {
    Kind.BATCH: (1, 2),
    Kind.SIDE: (64, 32, 224, 28, 128, 256, 48, 96, 299, 320, 512, 640),
    Kind.LENGTH: (16, 8, 32, 64, 1, 4, 2, 128, 256, 512, 1024, 4096, 16000),
}
# The largest of the small sizes that are worth trying one by one.
_SMALL: Mapping[Kind, int] = {Kind.SIDE: 256, Kind.LENGTH: 640}

STRIDE = 8
"""The largest stride for which a rounder size goes before a smaller one."""

Levels = Mapping[Kind, int]
"""The size of each kind: sizes of one kind vary together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """Axes that have one size in the model's file, or one axis.

    Args:
        kind: what it's for.
        places: the axes; none for a name that only occurs in sizes that are computed from it.
        low: the smallest size that is possible: the user's, the file's, or 1.
        high: the largest one, None if nobody says it.
        symbol: its name in the file, "" if it has none.
        fixed: whether the user gives both.
        limited: whether the user gives the largest.
    """

    kind: Kind
    places: tuple[Place, ...]
    low: int
    high: int | None
    symbol: str = ""
    fixed: bool = False
    limited: bool = False

    def clipped(self, size: int) -> int:
        """Return the nearest size within the limits."""
        return max(self.low, size if self.high is None else min(size, self.high))


@dataclass(frozen=True, kw_only=True, slots=True)
class Ladder:
    """The sizes to find of a model, and the shapes that follow from them.

    Args:
        frames: the shape of each input, with -1 for dynamic axes.
        names: what the file says of their sizes.
        sizes: the sizes to find.
        factors: by which each size is larger than the others of its kind, and what is added to it.
    """

    frames: Mapping[str, Shape]
    names: Names
    sizes: tuple[Size, ...]
    factors: tuple[tuple[int, int], ...] = ()

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds that there are, the batch last: what else is large limits it."""
        return tuple(kind for kind in (Kind.SIDE, Kind.LENGTH, Kind.BATCH) if any(self.of(kind)))

    def of(self, kind: Kind) -> tuple[Size, ...]:
        """Return the sizes of a kind."""
        return tuple(size for size in self.sizes if size.kind is kind)

    def shapes(self, levels: Levels) -> dict[str, Shape]:
        """Return the shapes of all inputs with these sizes."""
        sizes: dict[Place, int] = {}
        symbols = dict(self.names.given.get("max_shapes", {}))
        for size, (factor, more) in zip(self.sizes, self.factors or ((1, 0),) * len(self.sizes), strict=True):
            value = size.clipped(factor * levels[size.kind] + more)
            sizes |= dict.fromkeys(size.places, value)
            symbols |= {size.symbol: value} if size.symbol else {}
        for place, expression in self.names.computed.items():
            sizes[place] = expression.value(symbols) or 1
        return {
            name: tuple(own if own >= 0 else sizes[name, axis] for axis, own in enumerate(frame))
            for name, frame in self.frames.items()
        }

    def rungs(self, kind: Kind, base: int) -> list[int]:
        """Return the sizes to try for the smallest and the largest, in order: the ladder within the limits."""
        sizes = self.of(kind)
        low = min(size.low for size in sizes)
        ends = [size.high for size in sizes if size.high is not None]
        high = max(ends) if len(ends) == len(sizes) else max(_RUNGS[kind][-1], *ends, 2 * base if base > 512 else 0)
        # What the ladder leaves out between its end and a limit far beyond it: an hour of audio.
        beyond = itertools.takewhile(lambda rung: rung < high, (_RUNGS[kind][-1] * 2**power for power in range(1, 24)))
        starts = [low] if low > 1 or kind is not Kind.SIDE else []
        return sorted({*starts, high, *(rung for rung in (*_RUNGS[kind], *beyond, base) if low <= rung <= high)})

    def likely(self) -> Iterator[Levels]:
        """Yield sizes that many models take, the likeliest first."""
        kinds = self.kinds
        batch = kinds.index(Kind.BATCH) if Kind.BATCH in kinds else len(kinds)
        choices = [self._choices(kind) for kind in kinds]
        # One row that runs is worth more than two: a network that folds rows into one takes two halves.
        several = itertools.product(*(range(len(each)) for each in choices))
        for places in sorted(several, key=lambda places: (places[batch:], sum(places))):
            yield {kind: each[place] for kind, each, place in zip(kinds, choices, places, strict=True)}

    def small(self) -> Iterator[Levels]:
        """Yield all small sizes: one that ends in a linear layer takes only one size.

        With strides it takes some more, of which the roundest is the likeliest: 8 where 7 makes as many features.
        """
        first = {kind: self._choices(kind)[0] for kind in self.kinds}
        for kind in self.kinds:
            if kind is not Kind.BATCH:
                low = min(size.low for size in self.of(kind))
                sizes = sorted(
                    range(low, low + _SMALL[kind]), key=lambda size: ((size - 1) // STRIDE, -_roundness(size))
                )
                yield from ({**first, kind: size} for size in sizes)

    def related(self) -> Iterator["Ladder"]:
        """Yield ladders in which one size is larger than the others of its kind: a mask, one longer than the past."""
        for position, size in enumerate(self.sizes):
            if size.kind is not Kind.BATCH and len(self.of(size.kind)) > 1:
                for factor in ((2, 0), (1, 1)):
                    factors = [(1, 0)] * len(self.sizes)
                    factors[position] = factor
                    yield Ladder(frames=self.frames, names=self.names, sizes=self.sizes, factors=tuple(factors))

    def _choices(self, kind: Kind) -> list[int]:
        sizes = self.of(kind)
        low, high = min(size.low for size in sizes), max(size.high or _LIKELY[kind][-1] for size in sizes)
        return [size for size in _LIKELY[kind] if low <= size <= high] or [low]


def _roundness(size: int) -> int:
    """Return the largest power of 2 that divides a size, up to the largest stride."""
    return math.gcd(size, STRIDE)


def ladder(frames: Mapping[str, Shape], names: Names, config: ModelConfig, *, states: bool = True) -> Ladder:
    """Return the sizes to find of a model's dynamic axes.

    Args:
        frames: the shape of each input, with -1 for dynamic axes.
        names: what the file says of their sizes, as far as the user's shapes don't contradict it.
        config: the user's shapes, which limit what is tried.
        states: whether the only dynamic axis of an input whose axis 0 is static is the batch of the others: the state
            of a recurrent layer is [layers, batch, width].
    """
    plain = names.plain
    named = {place for places in plain.values() for place in places} | names.computed.keys()
    free = [
        (name, axis)
        for name, frame in frames.items()
        for axis, own in enumerate(frame)
        if own < 0 and (name, axis) not in named
    ]
    groups = [(symbol, tuple(place for place in plain.get(symbol, ()) if _dynamic(place, frames)))
              for symbol in names.symbols]  # fmt: skip
    batches = [place for place in free if place[1] == 0]
    if batches and states:
        batches += [
            (name, axis) for name, axis in free if axis and frames[name].count(-1) == 1 and frames[name][0] >= 0
        ]
    groups += [("", tuple(batches))] if batches else []
    groups += [("", (place,)) for place in free if place not in batches]
    known = {symbol for symbol in names.symbols if plain.get(symbol) and not _dynamic(plain[symbol][0], frames)}
    sizes = [_size(symbol, places, frames, names, config) for symbol, places in groups if symbol not in known]
    return Ladder(frames=frames, names=names, sizes=tuple(sizes))


def _dynamic(place: Place, frames: Mapping[str, Shape]) -> bool:
    name, axis = place
    return frames[name][axis] < 0


def _size(
    symbol: str, places: tuple[Place, ...], frames: Mapping[str, Shape], names: Names, config: ModelConfig
) -> Size:
    kind = _kind(places, frames)
    least, most = names.ranges.get(symbol, (1, None))
    smallest = _given(symbol, places, names, config.min_shapes, "min_shapes")
    largest = _given(symbol, places, names, config.max_shapes, "max_shapes")
    if largest is None and kind is Kind.BATCH and config.max_batch_size != "auto":
        largest = config.max_batch_size if most is None else min(config.max_batch_size, most)
    low = smallest or max(1, least)
    high = largest if largest is not None else most
    return Size(
        kind=kind,
        places=places,
        low=low if high is None else min(low, high),
        high=high,
        symbol=symbol,
        fixed=smallest is not None and largest is not None,
        limited=largest is not None,
    )


def _given(symbol: str, places: Sequence[Place], names: Names, shapes: Mapping[str, Shape], key: str) -> int | None:
    """Return the user's size, the smallest if there are several."""
    if symbol in names.given.get(key, {}):
        return names.given[key][symbol]
    return min((shapes[name][axis] for name, axis in places if name in shapes), default=None)


def _kind(places: Sequence[Place], frames: Mapping[str, Shape]) -> Kind:
    """Tell height and width, two dynamic axes of an image, from the length of a sequence."""
    if any(axis == 0 for _, axis in places):
        return Kind.BATCH
    for name, _ in places:
        beside = sum(own < 0 for own in frames[name][1:])
        if beside > 1 and (len(frames[name]) > 3 or frames[name][0] >= 0):
            return Kind.SIDE
    return Kind.LENGTH
