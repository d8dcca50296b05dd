"""How long a search goes on: clocks, and inputs proposed until its time is up."""

import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from navigator.samples.search import Proposals

Arrays = Mapping[str, np.ndarray]

# A run in larger shapes may take so much of the time that's left.
_SHARE = 0.25

# How many times slower than the wall's the clock of a process may run that others keep from running.
_PATIENCE = 4


def own_clock(
    wall: Callable[[], float] = time.monotonic, processor: Callable[[], float] = time.process_time
) -> Callable[[], float]:
    """Return a clock that waits for this process if others keep it from running, up to four times as long.

    So what is tried doesn't depend on what else the machine does. Threads side by side don't make it run faster.
    """
    begun, used = wall(), processor()
    return lambda: max((wall() - begun) / _PATIENCE, min(wall() - begun, processor() - used))


def timed(proposals: Proposals, seconds: float, clock: Callable[[], float] = time.monotonic) -> Iterator[Arrays]:
    """Yield proposals for so many seconds, larger ones as soon as there's time for them."""
    end, longest, pace = clock() + seconds, 0, 0.0
    while (now := clock()) < end:
        inputs = proposals.propose((end - now) * _SHARE / pace if pace else 0.0)
        yield inputs
        elements = sum(array.size for array in inputs.values())
        if elements >= longest:
            longest, pace = elements, (clock() - now) / max(1, elements)
