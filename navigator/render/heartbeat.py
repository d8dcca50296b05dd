"""A line a minute in a log that says what a run is doing, so that nobody takes a slow step for a hanging one."""

import threading
import time
from collections.abc import Callable

from navigator.render.text import clean
from navigator.render.values import count, seconds

EVERY_SECONDS = 60.0
_MOST_NAMED = 4

Unit = tuple[str, str, str]
Doing = Callable[[Unit], str]


def _untold(_unit: Unit) -> str:
    return ""


class Heartbeat:
    """Says now and then what runs, from `start` to `stop`. Its methods may be called from any thread.

    Args:
        say: takes a line.
        total: the number of conversions.
        doing: returns how far a unit (model, label, kind) is, or "".
        every_seconds: how long after the last line the next one follows; None: a minute.
    """

    def __init__(
        self, say: Callable[[str], None], total: int, doing: Doing = _untold, *, every_seconds: float | None = None
    ) -> None:
        self._say = say
        self._total = total
        self._doing = doing
        self._every_seconds = EVERY_SECONDS if every_seconds is None else every_seconds
        self._lock = threading.Lock()
        self._running: dict[Unit, float] = {}
        self._decided = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End. No line follows."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def started(self, unit: Unit) -> None:
        """Note that a unit (model, label, kind) runs."""
        with self._lock:
            self._running[unit] = time.monotonic()

    def finished(self, unit: Unit) -> None:
        """Note that it doesn't run any more."""
        with self._lock:
            self._running.pop(unit, None)

    def decided(self) -> None:
        """Note that a conversion has a result."""
        with self._lock:
            self._decided += 1

    def _beat(self) -> None:
        while not self._ended.wait(self._every_seconds):
            if line := self._line():
                self._say(line)

    def _line(self) -> str:
        with self._lock:
            running, decided = dict(self._running), self._decided
        if not running:
            return ""
        now = time.monotonic()
        units = [
            f"{clean(model)} {clean(label)} {clean(kind)} for {seconds(now - since)}"
            + (f" ({clean(doing)})" if (doing := self._doing((model, label, kind))) else "")
            for (model, label, kind), since in sorted(running.items(), key=lambda pair: pair[1])
        ]
        more = [f"and {len(units) - _MOST_NAMED} more"] if len(units) > _MOST_NAMED else []
        return f"still running ({decided} of {count(self._total, 'conversion')} decided): " + ", ".join(
            [*units[:_MOST_NAMED], *more]
        )
