"""Round numbers for the axes of charts, as readers count bytes and time. Pure."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

_MOST = 6

SIZES = tuple(float(digits * 1024**unit) for unit in range(5) for digits in (1, 2, 5, 10, 20, 50, 100, 512))
DURATIONS = tuple(float(amount * unit) for unit in (1, 60) for amount in (1, 2, 5, 10, 15, 30)) + tuple(
    3600.0 * amount for amount in (1, 2, 3, 6, 12, 24)
)
LATENCIES = tuple(digit * 10.0**power for power in range(-9, 4) for digit in (1, 2, 5))


def ticks(highest: float, steps: Sequence[float], told: Callable[[float], str]) -> list[dict[str, Any]]:
    """Return the values and labels of an axis from 0 to the first tick that isn't below `highest`.

    Args:
        highest: the largest value shown.
        steps: distances between ticks to choose from, ascending.
        told: formats a value; `.0` and parts that are 0 are left out.
    """
    step = next((each for each in steps if highest <= _MOST * each), highest / _MOST)
    values = (step * index for index in range(max(1, math.ceil(highest / step)) + 1))
    return [{"value": value, "label": re.sub(r"\.0\b| 0 (?:s|min)$", "", told(value))} for value in values]
