"""How long publishing may take, in all."""

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from navigator.github.errors import PublishError

_T = TypeVar("_T")


_SLICE = 0.1
"""How soon a shortened budget is noticed, in seconds."""


class Budget:
    """How long publishing may take, in all.

    Args:
        seconds: from now on, on the monotonic clock.
        within: ends with it where that is earlier, also when it is shortened later.
    """

    def __init__(self, seconds: float, within: "Budget | None" = None) -> None:
        self._own_end = time.monotonic() + seconds
        self._latest_end = math.inf
        self._within = within

    @property
    def left(self) -> float:
        """Seconds, never negative."""
        return max(0.0, self._end - time.monotonic())

    @property
    def _end(self) -> float:
        own = min(self._own_end, self._latest_end)
        return own if self._within is None else min(own, self._within._end)

    def restart(self, seconds: float) -> None:
        """Begin anew: other work is done, and took its time. What was shortened stays so."""
        self._own_end = time.monotonic() + seconds

    def sleep(self, seconds: float) -> bool:
        """Wait. False where that is more than is left: at once, or as soon as it is."""
        until = time.monotonic() + seconds
        while (missing := until - time.monotonic()) > 0:
            if until > self._end:
                return False
            time.sleep(min(missing, _SLICE))
        return True

    def run(self, work: Callable[[], _T], *, late: str, stop: Callable[[], bool] = lambda: False) -> _T:
        """Return what `work` does, on a thread that is left behind when nothing is left.

        Time-outs of a socket are between two bytes, and a signal handler that shortens the budget does not end the
        read that it interrupts.

        Args:
            work: what may take too long.
            late: the sentence of the error.
            stop: whether to give up although something is left.

        Raises:
            PublishError: `late`; the work may be done all the same.
        """
        done: Future[_T] = Future()

        def run() -> None:
            try:
                done.set_result(work())
            except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
                done.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        while self.left and not stop():
            if wait([done], timeout=min(self.left, _SLICE)).done:
                return done.result()
        raise PublishError(late, ambiguous=True)

    def shorten(self, seconds: float) -> None:
        """Limit what is left to `seconds` from now. May be called by a signal handler: it takes no lock."""
        self._latest_end = min(self._latest_end, time.monotonic() + seconds)
