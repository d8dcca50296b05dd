"""The size for which a network has as many features as the linear layer that it ends in wants.

PyTorch says both numbers when it refuses another size, and more pixels or samples make more features: halving finds it.
"""

import math
import re

from navigator.samples.ladder import STRIDE, Kind, Ladder, Levels
from navigator.workers.questions import Questions

_REFUSAL = re.compile(r"shapes cannot be multiplied \(\d+x(\d+) and (\d+)x\d+\)")

# The largest sizes that are tried.
_LARGEST = {Kind.SIDE: 1024, Kind.LENGTH: 2**18}


def fitting(wanted: Ladder, questions: Questions) -> Levels | None:
    """Return sizes that the model takes, None if what it refuses others for isn't the number of features."""
    start = next((each for each in wanted.likely() if _told(questions.known(wanted.shapes(each)))), None)
    if start is None:
        return None
    for kind in wanted.kinds:
        found = _halved(wanted, start, kind, questions) if kind in _LARGEST else None
        if found is not None:
            return {**start, kind: _roundest(wanted, start, kind, found, questions)}
    return None


def _told(refusal: str) -> tuple[int, int] | None:
    """Return how many features there are and how many the layer wants, if the model refuses a size for that."""
    found = _REFUSAL.search(refusal)
    return (int(found[1]), int(found[2])) if found else None


def _halved(wanted: Ladder, start: Levels, kind: Kind, questions: Questions) -> int | None:
    size, low, high, before = start[kind], 0, 0, -1
    while low < size and not questions.over:
        refusal = questions.refusal(wanted.shapes({**start, kind: size}))
        if not refusal:
            return size
        # A picture that is smaller than a kernel is refused for that.
        has, wants = _told(refusal) or (0, 1)
        if has == before and not high:
            return None  # it doesn't depend on the size
        low, high, before = (size, high, has) if has < wants else (low, size, has)
        size = (low + high) // 2 if high else min(2 * size, _LARGEST[kind])
    return None


def _roundest(wanted: Ladder, start: Levels, kind: Kind, found: int, questions: Questions) -> int:
    """Return the roundest size near one that the model takes: with strides, 8 makes as many features as 7."""
    near = range(max(1, found - STRIDE), found + STRIDE + 1)
    ordered = sorted(near, key=lambda size: (-math.gcd(size, STRIDE), abs(size - found)))
    return next(size for size in ordered if questions.takes(wanted.shapes({**start, kind: size})))
