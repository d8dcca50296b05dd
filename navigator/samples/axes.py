"""The shapes of samples: the min, opt and max shapes, random ones in between, and combinations of their ends.

Decides which axes have the same size, and makes samples smaller to fit into memory. Draws no values, reads no file.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from navigator.records import ShapeProfile

Shape = tuple[int, ...]
Place = tuple[str, int]
"""An axis: the input's name, and the axis."""

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
    """Dynamic axes that have the same size in a sample, and the range of that size."""

    axes: tuple[Place, ...]
    low: int
    high: int

    @property
    def is_batch(self) -> bool:
        return self.axes[0][1] == 0


def ties(profile: ShapeProfile, *, apart: bool = False) -> list[Tie]:
    """Return the axes that can vary, the batch first; axes with equal ranges have the same size in a sample.

    A model fails if its inputs differ in batch or sequence length, and only the ranges show which axes belong together.
    Batches with different ranges vary within the range that they share. If axis 0 is static and another axis has the
    range of the batch, that axis is the batch: the state of a recurrent layer, [layers, batch, width].

    Args:
        profile: the smallest and largest shapes.
        apart: whether axes of one input have sizes of their own: the height and the width of an image have equal
            ranges. The first of each input then belong together, and so do the second ones.
    """
    batches: list[Tie] = []
    others: dict[tuple[int, int], list[Place]] = {}
    for name, shape in profile.min.items():
        for axis, (low, high) in enumerate(zip(shape, profile.max[name], strict=True)):
            if low < high and axis == 0:
                batches.append(Tie(axes=((name, axis),), low=low, high=high))
            elif low < high:
                others.setdefault((low, high), []).append((name, axis))
    if batches:
        shared = Tie(
            axes=tuple(axis for batch in batches for axis in batch.axes),
            low=max(batch.low for batch in batches),
            high=min(batch.high for batch in batches),
        )
        if shared.low <= shared.high:
            alike = others.pop((shared.low, shared.high), [])
            inner = [(name, axis) for name, axis in alike if profile.min[name][0] == profile.max[name][0]]
            if len(inner) < len(alike):
                others[shared.low, shared.high] = [axis for axis in alike if axis not in inner]
            batches = [Tie(axes=(*shared.axes, *inner), low=shared.low, high=shared.high)]
    return batches + [
        Tie(axes=tuple(axes), low=low, high=high)
        for (low, high), alike in others.items()
        for axes in (_by_position(alike) if apart else [alike])
    ]


def _by_position(places: Sequence[Place]) -> list[list[Place]]:
    """Return the first axis of each input, the second one of each, and so on."""
    positions: list[list[Place]] = []
    for place in places:
        position = sum(place[0] == other[0] for places in positions for other in places)
        if position == len(positions):
            positions.append([])
        positions[position].append(place)
    return positions


def random_shapes(
    profile: ShapeProfile, tied: Sequence[Tie], rng: np.random.Generator, seen: Sequence[Mapping[str, Shape]]
) -> dict[str, Shape] | None:
    """Return random shapes between min and max that are not in `seen`, or None after a few attempts.

    The ends themselves are left to the other samples, except where nothing is between them.
    """
    for _ in range(_TRIES if tied else 0):
        shapes = _sized(profile, tied, [_between(tie, rng) for tie in tied])
        if shapes not in seen:
            return shapes
    return None


def _between(tie: Tie, rng: np.random.Generator) -> int:
    inside = tie.high - tie.low > 1
    return int(rng.integers(tie.low + inside, tie.high - inside, endpoint=True))


def combinations(profile: ShapeProfile) -> Iterator[tuple[str, dict[str, Shape]]]:
    """Yield names and shapes of samples that mix the smallest and the largest sizes.

    `batch_max` has the largest batch and the rest at min, `batch_min` the reverse. The others, `uneven_0` and so on,
    are a covering array of strength two: with min and max, every two sizes are sampled at all four combinations of
    their ends. The digits of a size's number are what it is in them, so that there are two for each binary digit:
    two for an image, and never more than six.
    """
    tied = ties(profile, apart=True)
    batches = [tie for tie in tied if tie.is_batch]
    if len(batches) == 1 and len(tied) > 1:
        for name, batch in (("batch_max", True), ("batch_min", False)):
            yield name, _sized(profile, tied, [tie.high if tie.is_batch is batch else tie.low for tie in tied])
    rest = tied if len(batches) > 1 else [tie for tie in tied if not tie.is_batch]
    number = 0
    for digit in range(min(_DIGITS, (len(rest) - 1).bit_length()) if rest else 0):
        for one in (1, 0):
            large = [tie for index, tie in enumerate(rest) if index >> digit & 1 == one]
            yield f"uneven_{number}", _sized(profile, tied, [tie.high if tie in large else tie.low for tie in tied])
            number += 1


def _sized(profile: ShapeProfile, tied: Sequence[Tie], sizes: Sequence[int]) -> dict[str, Shape]:
    drawn = {place: size for tie, size in zip(tied, sizes, strict=True) for place in tie.axes}
    return {
        name: tuple(drawn.get((name, axis), size) for axis, size in enumerate(shape))
        for name, shape in profile.max.items()
    }


def fitting(
    wanted: Mapping[str, Shape], tied: Sequence[Tie], dtypes: Mapping[str, np.dtype[Any]], memory_bytes: int
) -> dict[str, Shape]:
    """Return `wanted`, with the batch and then the largest other axes halved until the sample fits into memory.

    No axis gets smaller than its minimum, even if the sample still seems too large.
    """
    sizes = {name: list(shape) for name, shape in wanted.items()}

    def largest(tie: Tie) -> int:
        return max(sizes[name][axis] for name, axis in tie.axes)

    def needed() -> int:
        return _ACTIVATIONS * sum(math.prod(shape) * dtypes[name].itemsize for name, shape in sizes.items())

    while needed() > memory_bytes * _USABLE_MEMORY:
        reducible = [tie for tie in tied if largest(tie) > tie.low]
        if not reducible:
            break
        tie = max(reducible, key=lambda tie: (tie.is_batch, largest(tie)))
        for name, axis in tie.axes:
            sizes[name][axis] = min(sizes[name][axis], max(tie.low, sizes[name][axis] // 2))
    return {name: tuple(shape) for name, shape in sizes.items()}
