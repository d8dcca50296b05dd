"""Where generated samples give NaN or infinity that the source model doesn't mean: nothing can be compared there.

A logarithm of negative numbers is NaN in one output or element, and the others are as good as anywhere.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from navigator.errors import listed
from navigator.samples.generate import Sample
from navigator.samples.probes import PROBES

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True, slots=True)
class NotComparable:
    """What can't be compared: whole samples, and why; elements of the outputs of others, as booleans; what to note."""

    unusable: dict[str, str] = field(default_factory=dict)
    undefined: Sequence[Sample] = ()
    notes: tuple[str, ...] = ()


def non_finite(outputs: Sequence[Sample], *, spreads: bool) -> NotComparable:
    """Return where generated samples give NaN or infinity that their model doesn't mean.

    NaN can't be compared, nor can whole numbers beside it, which may be decided by it. Infinity can: where an ordinary
    sample gives some, the model may mean it; elsewhere, it has overflowed, and all that's beside it may be too large.
    An output that has NaN in every ordinary sample keeps it, so that a model that only gives NaN is told as one.

    Args:
        outputs: the source model's.
        spreads: whether what is computed from NaN is NaN. It isn't where a model sorts: NaN moves all other values, and
            in no defined way.
    """
    ordinary = [arrays for name, arrays in outputs if name not in PROBES]
    meant = {key for arrays in ordinary for key, array in arrays.items() if _count(np.isinf, array)}
    probed = [(name, arrays) for name, arrays in outputs if name in PROBES]
    unmeant = [(name, {key: each for key, each in arrays.items() if key not in meant}) for name, arrays in probed]
    unusable = {name: text for name, arrays in unmeant if (text := _first(arrays, np.isinf, "infinity"))}
    kept = {key for key in ordinary[0] if all(_count(np.isnan, arrays[key]) for arrays in ordinary)}
    undefined: list[Sample] = []
    for name, arrays in outputs:
        masks = {} if name in unusable else _masks(arrays, kept)
        if not masks:
            continue
        everything = all(key in masks and masks[key].all() for key, array in arrays.items() if array.size)
        if everything or not spreads:
            unusable[name] = _first(arrays, np.isnan, "NaN")
        else:
            undefined.append((name, masks))
    # Of the ordinary samples, at least one stays.
    if all(name in unusable for name, _ in outputs if name not in PROBES):
        unusable = {name: text for name, text in unusable.items() if name in PROBES}
    return NotComparable(unusable=unusable, undefined=undefined, notes=tuple(_notes(outputs, undefined)))


def numbers(outputs: Sequence[Sample], undefined: Sequence[Sample]) -> list[Sample]:
    """Return outputs with an ordinary value of the same output in place of each NaN that isn't compared."""
    masks = dict(undefined)
    found: list[Sample] = []
    for name, arrays in outputs:
        nan = {key: mask for key, mask in masks.get(name, {}).items() if arrays[key].dtype.kind in "fc"}
        filled = {key: np.where(mask, _ordinary(key, outputs), arrays[key]) for key, mask in nan.items()}
        found.append((name, {**arrays, **filled}))
    return found


def _ordinary(key: str, outputs: Sequence[Sample]) -> Any:
    values = (array[np.isfinite(array)] for _, arrays in outputs if (array := arrays[key]).dtype.kind in "fc")
    return next((each[0] for each in values if each.size), 0)


def _masks(arrays: Arrays, kept: Collection[str]) -> dict[str, np.ndarray]:
    """Return which elements of a sample's outputs can't be compared, if it has NaN where none is `kept`."""
    found = {key: np.isnan(array) for key, array in arrays.items() if key not in kept and _count(np.isnan, array)}
    if not found:
        return {}
    decided = {key: np.ones(array.shape, bool) for key, array in arrays.items() if array.dtype.kind in "biu"}
    return found | {key: mask for key, mask in decided.items() if mask.size}


def _notes(outputs: Sequence[Sample], undefined: Sequence[Sample]) -> Iterator[str]:
    """Say what isn't compared of each sample."""
    partly = {name for name, _ in undefined}
    for name, arrays in outputs:
        if name in partly:
            nan = [key for key, array in arrays.items() if _count(np.isnan, array)]
            more = f" and some of {listed(nan[1:])}" if nan[1:] else ""
            whole = [key for key, array in arrays.items() if array.dtype.kind in "biu"]
            decided = f", nor are {listed(whole)}, which NaN may have decided" if whole else ""
            yield (
                f"in sample {name}, the source model returns {_first(arrays, np.isnan, 'NaN')}{more}, which aren't "
                f"compared{decided}; set value_ranges if the model never gets such inputs"
            )


def _first(arrays: Arrays, test: Callable[[np.ndarray], np.ndarray], word: str) -> str:
    """Say how many values of the first output that has some pass a test."""
    counts = ((key, array.size, _count(test, array)) for key, array in arrays.items())
    return next((f"{word} for {count} of {size} values of {key}" for key, size, count in counts if count), "")


def _count(test: Callable[[np.ndarray], np.ndarray], array: np.ndarray) -> int:
    return int(np.count_nonzero(test(array))) if array.dtype.kind in "fc" else 0
