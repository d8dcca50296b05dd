"""The inputs of a model whose state is rolled forward: fresh ones for every step, beside the state.

Generated inputs are drawn anew for each step, counters count, and what grows with a key-value cache, such as its mask,
grows with it. The user's own samples follow each other instead, row by row.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from navigator.records import AxisSpec, TensorSpec
from navigator.samples.expressions import parsed
from navigator.samples.own_data import Sample
from navigator.samples.states import growing
from navigator.samples.values import Bounds, Origin, generator, spelled, uniform

Arrays = Mapping[str, np.ndarray]

# What the inputs of all steps may take; beyond that, they repeat.
_LIMIT_BYTES = 64 * 2**20

# Inputs that are a step's number or position in a sequence.
_COUNTER = re.compile("count(er)?|frame|index|iteration|offset|pos|positions?|steps?|t|tick|time(step)?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """How a state grows: along `axis` of the input `name`, from `size` by `by` with each step."""

    name: str
    axis: int
    size: int
    by: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """Where a model's state starts, and what is known about its inputs.

    Args:
        feeds: the input that each fed-back output feeds, only those whose shapes fit.
        growths: the states that grow.
        inputs: the first step's.
        specs: the source model's inputs.
        axes: what its file says of their axes.
    """

    feeds: Mapping[str, str]
    growths: tuple[Growth, ...]
    inputs: Arrays
    specs: Sequence[TensorSpec]
    axes: Mapping[str, Sequence[AxisSpec]]

    @property
    def others(self) -> dict[str, np.ndarray]:
        """The first step's inputs that aren't states."""
        return {name: array for name, array in self.inputs.items() if name not in self.feeds.values()}

    def limit(self, largest: Mapping[str, Sequence[int]], beyond: int) -> int | None:
        """Return how many steps its states may grow, up to the `largest` shapes or by `beyond` steps; None for any."""
        return min(
            (
                1 + max(0, largest[each.name][each.axis] - each.size) // each.by if each.name in largest else beyond
                for each in self.growths
            ),
            default=None,
        )

    def shapes(self, step: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the other inputs in a step, from 1."""
        found = {name: list(array.shape) for name, array in self.others.items()}
        for growth in self.growths[:1]:  # all states of a cache grow alike
            for name, axis in self._growing(growth):
                found[name][axis] += (step - 1) * growth.by
        return {name: tuple(shape) for name, shape in found.items()}

    def _growing(self, growth: Growth) -> list[tuple[str, int]]:
        """Return the axes of other inputs that grow with a state: the file says so, or it's a mask of that size."""
        states = self.axes.get(growth.name, ())
        own = parsed(states[growth.axis].size) if growth.axis < len(states) else None
        found = []
        for spec in self.specs:
            shape = self.inputs[spec.name].shape
            for axis, size in enumerate(shape) if spec.name in self.others else ():
                if spec.shape is not None and spec.shape[axis] != -1:
                    continue
                told = self.axes.get(spec.name, ())
                name = parsed(told[axis].size) if axis < len(told) else None
                tied = own is not None and name is not None and bool(own.names & name.names)
                masks = "mask" in spec.name.lower() and size in (growth.size, growth.size + growth.by)
                if tied or (masks and axis > 0):
                    found.append((spec.name, axis))
        return found


def start(
    feeds: Mapping[str, str],
    sample: Arrays,
    outputs: Arrays,
    specs: Sequence[TensorSpec],
    axes: Mapping[str, Sequence[AxisSpec]],
) -> Start:
    """Return where a state starts: only those of `feeds` whose arrays have the same dtype, and shapes that fit."""
    fitting: dict[str, str] = {}
    growths = []
    known = {spec.name: spec for spec in specs}
    for output, fed in feeds.items():
        before, after = sample[fed], outputs.get(output)
        if after is None or after.dtype != before.dtype or after.ndim != before.ndim:
            continue
        axis = growing(before.shape, after.shape, known[fed])
        if axis is not None:
            by = after.shape[axis] - before.shape[axis]
            growths.append(Growth(name=fed, axis=axis, size=before.shape[axis], by=by))
        if axis is not None or before.shape == after.shape:
            fitting[output] = fed
    return Start(feeds=fitting, growths=tuple(growths), inputs=sample, specs=specs, axes=axes)


def generated(begin: Start, steps: int, bounds: Mapping[str, Bounds], seed: int) -> list[dict[str, np.ndarray]]:
    """Return the inputs of each step, the first with the states; fewer if they'd take too much memory.

    Args:
        begin: the first step.
        steps: how many.
        bounds: the values of each input.
        seed: the same one gives the same arrays.
    """
    flags = {spec.name for spec in begin.specs if _is_flag(spec)}

    def of(step: int) -> dict[str, np.ndarray]:
        return {
            name: np.full(shape, (step - 1).bit_length() % 2 == 1)
            if name in flags
            else _counted(begin.inputs[name], shape, step, bounds[name])
            if _is_counter(name, bounds[name])
            else _drawn(seed, step, name, shape, bounds[name])
            for name, shape in begin.shapes(step).items()
        }

    return [dict(begin.inputs), *map(of, range(2, 1 + _affordable(begin, steps)))]


def following(begin: Start, steps: int, samples: Sequence[Sample]) -> list[dict[str, np.ndarray]]:
    """Return the inputs of each step from the user's samples, the first with the states.

    Those of the first sample's shapes follow each other; when all were used, each batch begins one row later.
    """
    shapes = {name: array.shape for name, array in begin.others.items()}
    alike = [arrays for _, arrays in samples if {name: arrays[name].shape for name in shapes} == shapes]
    dynamic = {spec.name for spec in begin.specs if spec.shape is None or (spec.shape and spec.shape[0] == -1)}
    made = [dict(begin.inputs)]
    for step in range(2, 1 + _affordable(begin, steps)):
        turns, chosen = divmod(step - 1, len(alike))
        rows = {
            name: np.roll(array, -turns, axis=0) if name in dynamic else array for name, array in alike[chosen].items()
        }
        made.append({name: _extended(rows[name], shape) for name, shape in begin.shapes(step).items()})
    return made


def _affordable(begin: Start, steps: int) -> int:
    size = sum(array.nbytes for array in begin.others.values())
    return min(steps, max(2, _LIMIT_BYTES // max(1, size)))


def _extended(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return an array with its last values repeated up to a shape."""
    if array.shape == shape:
        return array
    more = [(0, wanted - size) for wanted, size in zip(shape, array.shape, strict=True)]
    return np.pad(array, more, mode="edge") if array.size else np.zeros(shape, array.dtype)


def _drawn(seed: int, step: int, name: str, shape: tuple[int, ...], bounds: Bounds) -> np.ndarray:
    if bounds.mask:
        return np.ones(shape, bounds.dtype)
    return spelled(uniform(generator(seed, f"step {step}", name), shape, bounds), bounds)


def _is_flag(spec: TensorSpec) -> bool:
    """Return whether an input is one bool for each row, as what resets a state is, or what freezes it.

    It's true and false in turn, each time for twice as many steps: one of them lets the state go on.
    """
    rows, *others = spec.shape or (0,)
    per_row = rows == -1 and all(size == 1 for size in others)
    return spec.dtype == "bool" and per_row and "mask" not in spec.name.lower()


def _is_counter(name: str, bounds: Bounds) -> bool:
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    return (
        bounds.dtype.kind in "iu"
        and not (bounds.mask or bounds.texts)
        and any(_COUNTER.fullmatch(word) for word in words)
    )


def _counted(first: np.ndarray, shape: tuple[int, ...], step: int, bounds: Bounds) -> np.ndarray:
    """Return the count of a step, one more with each; or positions along the last axis, which go on in the next."""
    positions = np.arange(shape[-1]) if len(shape) > 1 else np.zeros((), np.int64)
    begin = int(first.flat[0]) if first.size else 0
    counts = np.broadcast_to(begin + (step - 1) * positions.size + positions, shape)
    if bounds.origin is Origin.DEFAULT:
        low, high = 0, int(np.iinfo(bounds.dtype).max)
    else:
        low, high = int(bounds.low), int(bounds.high)
    return (low + (counts - low) % min(high - low + 1, 2**62)).astype(bounds.dtype)
