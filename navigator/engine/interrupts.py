"""What asks a command to end: SIGINT, SIGTERM and SIGHUP (a closed terminal) are one `KeyboardInterrupt`.

A closed terminal sends several signals, and a runner one after the other. The first one raises; later ones change
nothing, so that they cost neither the clean-up nor the results. SIGQUIT ends a command at once, without its results.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _State:
    """Of this process, as handlers of signals are."""

    seen = False
    held = False


@contextmanager
def caught() -> Iterator[None]:
    """Catch signals meanwhile, and after one until the process ends. What is ignored (`nohup`) stays so.

    For the main thread.
    """
    _State.seen = _State.held = False
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _note)
    try:
        yield
    finally:
        for number, handler in before.items():
            # The interpreter's own end would give them back their default, which kills.
            signal.signal(number, signal.SIG_IGN if _State.seen else handler)


@contextmanager
def held() -> Iterator[None]:
    """Raise only afterwards, since what happens meanwhile can't be broken off halfway."""
    before, _State.held = _State.held, True
    seen_before = _State.seen
    try:
        yield
    finally:
        _State.held = before
    if _State.seen and not (seen_before or before):
        raise KeyboardInterrupt


def hold() -> None:
    """Raise no more: what is left is short, and writes results."""
    _State.held = True


def seen() -> bool:
    """Return whether a signal came."""
    return _State.seen


def _note(_number: int, _frame: FrameType | None) -> None:
    first, _State.seen = not _State.seen, True
    if first and not _State.held:
        raise KeyboardInterrupt
