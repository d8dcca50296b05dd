"""The shapes of samples: the min, opt and max shapes, random ones in between, and combinations of their ends.

Decides which axes have the same size, and makes samples smaller to fit into memory. Draws no values, reads no file.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from navigator.samples.symbols import Layout, Place, Shape

# How much memory a model needs in addition to its inputs is unknown before it has run. ResNet-50 has 11.1 million
# activations for an input of 0.15 million values, a factor of 74, and a runtime frees most of them on the way. Half of
# the memory is left for weights and frameworks. Language models need more per byte of input; there the worker's memory
# limit protects the machine.
_ACTIVATIONS = 64
_USABLE_MEMORY = 0.5

_TRIES = 8

# Two samples for each digit tell 2 ** 3 sizes apart besides the batch: more than models have, and at most 8 samples.
_DIGITS = 3

ASKED_FOR = ("min", "opt", "max")
RANDOM = ("random_0", "random_1")
COMBINED = ("batch_max", "batch_min", *(f"uneven_{number}" for number in range(2 * _DIGITS)))
EXTRA = frozenset({*RANDOM, *COMBINED})
"""The samples in shapes that nobody asked for: the source model may refuse them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tie:
    """Dynamic axes that have the same size in a sample, and the range of that size.

    Args:
        axes: the axes. None for a name that only occurs in sizes that are computed from it.
        low: the smallest size.
        high: the largest size.
        symbols: the names of the size in the model's file.
        stated: whether the file says that the size depends on no other.
    """

    axes: tuple[Place, ...]
    low: int
    high: int
    symbols: tuple[str, ...] = ()
    stated: bool = False

    @property
    def is_batch(self) -> bool:
        return any(axis == 0 for _, axis in self.axes)

    def meets(self, other: "Tie") -> bool:
        """Return whether both have an axis of one input."""
        names = {name for name, _ in self.axes}
        return any(name in names for name, _ in other.axes)


def ties(layout: Layout, *, apart: bool = False) -> list[Tie]:
    """Return the sizes that can vary, the batch first; axes with equal ranges have the same size in a sample.

    A model fails if its inputs differ in batch or sequence length. What belongs together is what has one name in the
    model's file; most have no names or several for one size, so that what has equal ranges belongs together too.
    Batches with different ranges vary within the range that they share. If axis 0 is static and another axis has the
    range of the batch, that axis is the batch: the state of a recurrent layer, [layers, batch, width].

    Args:
        layout: the smallest and largest shapes, and the names.
        apart: whether axes of one input have sizes of their own: the height and the width of an image have equal
            ranges. The first of each input then belong together, and so do the second ones. Axes that the file calls
            the same are never apart, and those that it calls differently always are, if it uses any name for several
            inputs: exporters that make up names make one for each axis.
    """
    sizes = list(_sizes(layout))
    stated = [size for size in sizes if size.stated]
    batches: list[Tie] = []
    others: list[Tie] = []
    for size in sizes:
        if not size.stated:
            # `ids` may be [seq, batch], and `mask` [batch, seq].
            is_batch = size.is_batch and not any(size.meets(batch) for batch in batches)
            (batches if is_batch else others).append(size)
    shared = _joined(batches) if batches else None
    if shared is not None and shared.low <= shared.high:
        static = {name for name, shape in layout.profile.min.items() if shape[:1] == layout.profile.max[name][:1]}
        inner = [
            size
            for size in others
            if (size.low, size.high) == (shared.low, shared.high)
            and size.axes
            and static.issuperset(name for name, _ in size.axes)
        ]
        batches = [_joined([shared, *inner])]
        others = [size for size in others if size not in inner]
    found = [*stated, *batches, *_grouped(others, apart=apart, named=apart and _shares_names(layout))]
    return sorted(found, key=lambda tie: not tie.is_batch)


def _grouped(sizes: Sequence[Tie], *, apart: bool, named: bool) -> list[Tie]:
    """Join sizes with equal ranges, except those that meet if `apart`, and those with different names if `named`.

    A name without axes of its own stays alone, since nothing shows what it belongs to.
    """
    groups: list[list[Tie]] = []
    for size in sizes:
        for group in groups:
            alike = (group[0].low, group[0].high) == (size.low, size.high) and size.axes and group[0].axes
            differ = any((apart and size.meets(other)) or (named and size.symbols and other.symbols) for other in group)
            if alike and not differ:
                group.append(size)
                break
        else:
            groups.append([size])
    return [_joined(group) for group in groups]


def _shares_names(layout: Layout) -> bool:
    """Return whether the file calls axes of several inputs the same, so that its names mean something."""
    return any(len({name for name, _ in places}) > 1 for places in layout.names.plain.values())


def _sizes(layout: Layout) -> Iterator[Tie]:
    """Yield the axes with one name together, the others alone, and names that sizes are computed from."""
    names, low, high = layout.names, layout.profile.min, layout.profile.max
    plain = names.plain
    whole: set[str] = set()
    for symbol in names.symbols:
        axes = tuple(plain.get(symbol, ()))
        smallest = max((low[name][axis] for name, axis in axes), default=layout.symbols.get(symbol, (1, 1))[0])
        largest = min((high[name][axis] for name, axis in axes), default=layout.symbols.get(symbol, (1, 1))[1])
        if smallest <= largest:
            whole.add(symbol)
        if smallest < largest:
            yield Tie(axes=axes, low=smallest, high=largest, symbols=(symbol,), stated=symbol in names.ranges)
    named = names.computed.keys() | {place for symbol in whole for place in plain.get(symbol, ())}
    for name, shape in low.items():
        for axis, smallest in enumerate(shape):
            if (name, axis) not in named and smallest < high[name][axis]:
                yield Tie(axes=((name, axis),), low=smallest, high=high[name][axis])


def _joined(sizes: Sequence[Tie]) -> Tie:
    return Tie(
        axes=tuple(place for size in sizes for place in size.axes),
        low=max(size.low for size in sizes),
        high=min(size.high for size in sizes),
        symbols=tuple(symbol for size in sizes for symbol in size.symbols),
    )


def batch_axes(tied: Sequence[Tie]) -> dict[str, int]:
    """Return the axis of each input that is the batch."""
    return {name: axis for tie in tied if tie.is_batch for name, axis in tie.axes}


def random_shapes(
    layout: Layout, tied: Sequence[Tie], rng: np.random.Generator, seen: Sequence[Mapping[str, Shape]]
) -> dict[str, Shape] | None:
    """Return random shapes between min and max that are not in `seen`, or None after a few attempts.

    The ends themselves are left to the other samples, except where nothing is between them.
    """
    for _ in range(_TRIES if tied else 0):
        shapes = _sized(layout, tied, [_between(tie, rng) for tie in tied])
        if shapes is not None and shapes not in seen:
            return shapes
    return None


def counted_shapes(layout: Layout, tied: Sequence[Tie], number: int) -> dict[str, Shape] | None:
    """Return shapes between min and max, in which every size comes up one after the other, the smallest first.

    A model that does something else from some size on mostly does so at a small one. None if there are none.
    """
    inside = [(tie.low, max(1, tie.high - tie.low + 1)) for tie in tied]
    return _sized(layout, tied, [low + number % room for low, room in inside]) if tied else None


def special_shapes(layout: Layout, tied: Sequence[Tie], sizes: Sequence[int]) -> Iterator[dict[str, Shape]]:
    """Yield shapes of which one size is a special one between min and max, and the others are at min."""
    for size in sizes:
        for chosen in tied:
            if chosen.low < size < chosen.high:
                shapes = _sized(layout, tied, [size if tie is chosen else tie.low for tie in tied])
                if shapes is not None:
                    yield shapes


def _between(tie: Tie, rng: np.random.Generator) -> int:
    inside = tie.high - tie.low > 1
    return int(rng.integers(tie.low + inside, tie.high - inside, endpoint=True))


def combinations(layout: Layout) -> Iterator[tuple[str, dict[str, Shape] | None]]:
    """Yield names and shapes of samples that mix the smallest and the largest sizes; None for those that don't exist.

    `batch_max` has the largest batch and the rest at min, `batch_min` the reverse. The others, `uneven_0` and so on,
    are a covering array of strength two: with min and max, every two sizes are sampled at all four combinations of
    their ends. The digits of a size's number are what it is in them, so that there are two for each binary digit:
    two for an image, and never more than six.
    """
    tied = ties(layout, apart=True)
    batches = [tie for tie in tied if tie.is_batch]
    if len(batches) == 1 and len(tied) > 1:
        for name, batch in (("batch_max", True), ("batch_min", False)):
            yield name, _sized(layout, tied, [tie.high if tie.is_batch is batch else tie.low for tie in tied])
    rest = tied if len(batches) > 1 else [tie for tie in tied if not tie.is_batch]
    number = 0
    for digit in range(min(_DIGITS, (len(rest) - 1).bit_length()) if rest else 0):
        for one in (1, 0):
            large = [tie for index, tie in enumerate(rest) if index >> digit & 1 == one]
            yield f"uneven_{number}", _sized(layout, tied, [tie.high if tie in large else tie.low for tie in tied])
            number += 1


def _sized(layout: Layout, tied: Sequence[Tie], sizes: Sequence[int]) -> dict[str, Shape] | None:
    """Return the shapes with these sizes, or None if a computed one is not between its smallest and largest."""
    drawn = {place: size for tie, size in zip(tied, sizes, strict=True) for place in tie.axes}
    for place, size in _computed(layout, tied, sizes).items():
        if size is None:
            return None
        drawn[place] = size
    return {
        name: tuple(drawn.get((name, axis), size) for axis, size in enumerate(shape))
        for name, shape in layout.profile.max.items()
    }


def _computed(layout: Layout, tied: Sequence[Tie], sizes: Sequence[int]) -> dict[Place, int | None]:
    """Return the sizes of computed axes, None for those that are not between their smallest and largest."""
    low, high = layout.profile.min, layout.profile.max
    symbols = _symbols(layout, tied, sizes)
    found = {place: expression.value(symbols) for place, expression in layout.names.computed.items()}
    return {
        (name, axis): size if size is not None and low[name][axis] <= size <= high[name][axis] else None
        for (name, axis), size in found.items()
    }


def _symbols(layout: Layout, tied: Sequence[Tie], sizes: Sequence[int]) -> dict[str, int]:
    """Return the sizes of all names; those that can't vary have their largest."""
    drawn = {symbol: size for tie, size in zip(tied, sizes, strict=True) for symbol in tie.symbols}
    return {symbol: high for symbol, (_, high) in layout.symbols.items()} | drawn


def following(layout: Layout, tied: Sequence[Tie], shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return `shapes` with the computed axes as the others say."""
    sizes = {name: list(shape) for name, shape in shapes.items()}
    for (name, axis), size in _follow(layout, tied, shapes).items():
        sizes[name][axis] = size or sizes[name][axis]
    return {name: tuple(shape) for name, shape in sizes.items()}


def _follow(layout: Layout, tied: Sequence[Tie], shapes: Mapping[str, Sequence[int]]) -> dict[Place, int | None]:
    """Return the sizes of computed axes that follow from the other sizes in `shapes`."""
    return _computed(layout, tied, [_largest(tie, shapes) for tie in tied])


def _largest(tie: Tie, shapes: Mapping[str, Sequence[int]]) -> int:
    return max((shapes[name][axis] for name, axis in tie.axes), default=tie.low)


def fitting(
    wanted: Mapping[str, Shape],
    layout: Layout,
    tied: Sequence[Tie],
    dtypes: Mapping[str, np.dtype[Any]],
    memory_bytes: int,
) -> dict[str, Shape]:
    """Return `wanted`, with the batch and then the largest other axes halved until the sample fits into memory.

    No axis gets smaller than its minimum, even if the sample still seems too large.
    """
    sizes = {name: list(shape) for name, shape in wanted.items()}

    def needed() -> int:
        return _ACTIVATIONS * sum(math.prod(shape) * dtypes[name].itemsize for name, shape in sizes.items())

    computed = [
        (name, axis) for (name, axis), size in _follow(layout, tied, sizes).items() if size == sizes[name][axis]
    ]
    while needed() > memory_bytes * _USABLE_MEMORY:
        reducible = [tie for tie in tied if _largest(tie, sizes) > tie.low]
        if not reducible:
            break
        tie = max(reducible, key=lambda tie: (tie.is_batch, _largest(tie, sizes)))
        for name, axis in tie.axes:
            sizes[name][axis] = min(sizes[name][axis], max(tie.low, sizes[name][axis] // 2))
        now = _follow(layout, tied, sizes)
        for name, axis in computed:
            sizes[name][axis] = now[name, axis] or sizes[name][axis]
    return {name: tuple(shape) for name, shape in sizes.items()}
