"""What scores decide: the best class and the best few, in the source model and in a converted one.

Scores are probabilities, which are recognized by their values, outputs called logits, and what the user declares.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from navigator.records import Decisions
from navigator.verify.binomial import upper_bound

Pairs = Sequence[tuple[np.ndarray, np.ndarray]]

# Probabilities of one decision add up to 1, but for the rounding of float16.
_SUM_ERROR = 0.01

# Images of scores have their classes on axis 1.
_IMAGE_RANK = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """Which outputs are scores, and of how many of the best classes the user wants to know.

    Args:
        axes: the axis of the classes by the name of the output.
        top_k: the number of classes.
    """

    axes: Mapping[str, int] = field(default_factory=dict)
    top_k: int = 5

    def axis(self, name: str, pairs: Pairs) -> int | None:
        """Return the axis of the classes of an output, from 0, or None if it decides nothing that is known."""
        lefts = [left for left, _ in pairs]
        if not lefts or lefts[0].dtype.kind != "f":
            return None
        rank = lefts[0].ndim
        if name in self.axes:
            axis = self.axes[name] + (rank if self.axes[name] < 0 else 0)
            return axis if 0 <= axis < rank and all(left.shape[axis] > 1 for left in lefts) else None
        if any(left.ndim != rank for left in lefts) or rank < 2:
            return None
        if re.search(r"(?<![a-z])logits(?![a-z])", name.lower()):
            axis = 1 if rank >= _IMAGE_RANK else rank - 1
            return axis if all(left.shape[axis] > 1 for left in lefts) else None
        return next((axis for axis in {rank - 1: None, 1: None} if all(_add_up(left, axis) for left in lefts)), None)


def decisions(pairs: Pairs, axis: int, top_k: int) -> Decisions | None:
    """Return how often the best class changes, how many of the best few are kept, and by how much probabilities differ.

    Equal scores are equally good: a class that ties with the source model's best is no flip.

    Args:
        pairs: (reference, value) of each sample.
        axis: that of the classes.
        top_k: how many classes are compared, if there are more.
    """
    count = flips = 0
    kept = divergence = 0.0
    probable = all(_add_up(left, axis) for left, _ in pairs)
    several = all(left.shape[axis] > top_k for left, _ in pairs) and top_k > 1
    for left, right in _tables(pairs, axis):
        count += len(left)
        best = np.take_along_axis(left, right.argmax(axis=1)[:, None], axis=1)[:, 0]
        flips += int(np.count_nonzero(best < left.max(axis=1)))
        if several:
            least = np.partition(left, -top_k, axis=1)[:, -top_k]
            chosen = np.argpartition(right, -top_k, axis=1)[:, -top_k:]
            kept += float((np.take_along_axis(left, chosen, axis=1) >= least[:, None]).mean(axis=1).sum())
        divergence += _divergence(left, right) if probable else 0.0
    if not count:
        return None
    return Decisions(
        count=count,
        flips=flips,
        flips_at_most=upper_bound(flips, count),
        top_k=top_k if several else None,
        top_k_kept=kept / count if several else None,
        divergence=max(0.0, divergence / count) if probable else None,
    )


def _tables(pairs: Pairs, axis: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield tables of one decision a row, without those that have NaN. Infinities are classes that aren't allowed."""
    for left, right in pairs:
        tables = (np.moveaxis(each, axis, -1).reshape(-1, each.shape[axis]) for each in (left, right))
        first, second = (table.astype(np.float64) for table in tables)
        decided = ~(np.isnan(first).any(axis=1) | np.isnan(second).any(axis=1))
        yield first[decided], second[decided]


def _divergence(left: np.ndarray, right: np.ndarray) -> float:
    """Return the sum of the Kullback-Leibler divergences of all rows, in nats."""
    least = np.finfo(np.float32).tiny
    return float((left * (np.log(np.maximum(left, least)) - np.log(np.maximum(right, least)))).sum())


def _add_up(array: np.ndarray, axis: int) -> bool:
    """Return whether slices of two classes or more are in [0, 1] and add up to 1."""
    if not 1 <= axis < array.ndim or array.shape[axis] < 2 or not array.size:
        return False
    in_range = bool((array >= 0).all() and (array <= 1).all())
    return in_range and bool((np.abs(array.sum(axis=axis, dtype=np.float64) - 1) <= _SUM_ERROR).all())
