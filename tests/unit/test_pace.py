"""A search's clock: the same work is tried on a busy machine."""

import pytest

from navigator.workers.pace import own_clock


@pytest.mark.parametrize(
    ("wall", "processor", "told"),
    [
        (1.0, 1.0, 1.0),  # alone
        (2.0, 1.0, 1.0),  # every other slice of time
        (1.0, 8.0, 1.0),  # eight threads
        (8.0, 1.0, 2.0),  # hardly ever, or waiting: not forever
        (8.0, 0.0, 2.0),
    ],
)
def test_a_clock_of_ones_own_waits_within_limits(wall: float, processor: float, told: float) -> None:
    walls, processors = iter([10.0, 10.0 + wall]), iter([3.0, 3.0 + processor])
    last: list[float] = []

    def now() -> float:
        last.append(next(walls, 0.0) or last[-1])
        return last[-1]

    assert own_clock(now, lambda: next(processors))() == told
