"""When the units of work of a run began and ended."""

import time

from navigator.engine.schedule import Unit, UnitKey
from navigator.records import Span, Work


class Timeline:
    """What the workers of a run did. Used by one thread; `started` is when the run began, by time.monotonic()."""

    def __init__(self, started: float) -> None:
        self._started = started
        self._running: dict[tuple[str, UnitKey], tuple[int, float]] = {}
        self._ended: list[Span] = []

    @property
    def spans(self) -> tuple[Span, ...]:
        """What has ended, in that order."""
        return tuple(self._ended)

    def begin(self, unit: Unit) -> None:
        """Note that a unit begins, in the first worker that's free."""
        busy = {worker for worker, _ in self._running.values()}
        free = next(worker for worker in range(len(busy) + 1) if worker not in busy)
        self._running[unit.model, unit.key] = free, time.monotonic()

    def end(self, unit: Unit) -> None:
        """Note that a unit has ended."""
        worker, begun = self._running.pop((unit.model, unit.key))
        self._ended.append(
            Span(
                worker=worker,
                model_name=unit.model,
                conversion=unit.label,
                work=Work(unit.kind),
                start=begun - self._started,
                seconds=time.monotonic() - begun,
            )
        )
