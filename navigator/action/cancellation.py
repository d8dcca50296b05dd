"""The job's cancellation: a runner sends SIGINT, 7.5 s later SIGTERM, 2.5 s later SIGKILL.

Process 1 of a container has no default handlers: without `Cancellation` the first two would do nothing.
"""

import signal
import socket
from collections.abc import Callable
from types import FrameType


class Cancellation:
    """Whether the job was cancelled: false, and true from the first SIGINT, SIGTERM or SIGHUP on.

    Later ones change nothing.

    Has a file descriptor that is readable from then on, so that a `select` wakes up. To be made in the main thread
    and early: a signal that comes before is lost.

    Args:
        on_cancel: called once, in the signal handler.
    """

    def __init__(self, on_cancel: Callable[[], object] = lambda: None) -> None:
        self._on_cancel = on_cancel
        self._cancelled = False
        self._ours, self._theirs = socket.socketpair()
        self._theirs.setblocking(False)
        # The kernel may deliver a signal to another thread, such as one of NumPy's, which doesn't wake this one.
        signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note)

    def __bool__(self) -> bool:
        return self._cancelled

    def fileno(self) -> int:
        return self._ours.fileno()

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if not self._cancelled:
            self._cancelled = True
            self._on_cancel()
