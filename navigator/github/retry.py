"""Trying again: within the time for publishing, and never twice where the first call was carried out unseen."""

from collections.abc import Callable
from itertools import count
from typing import TypeVar

from navigator.github.budget import Budget
from navigator.github.errors import PublishError

_T = TypeVar("_T")

Pause = Callable[[PublishError, int], float | None]
"""Given an error and the number of attempts so far: the seconds to wait before the next one, None for giving up."""


def retry(budget: Budget, work: Callable[[], _T], pause: Pause) -> _T:
    """Return what `work` returns, after as many attempts as `pause` allows and the budget has time for.

    Raises:
        PublishError: that of the last attempt, `ambiguous` if any attempt's was.
    """
    ambiguous = False
    for attempts in count(1):
        try:
            return work()
        except PublishError as error:
            seconds = pause(error, attempts)
            ambiguous = error.ambiguous = error.ambiguous or ambiguous
            if seconds is None:
                raise
            if not budget.sleep(seconds):
                error.hint = error.hint or (
                    f"The next attempt, in {seconds:.0f} s, would exceed the time for publishing."
                )
                raise
    raise AssertionError("unreachable")


def found_or(make: Callable[[], _T], find: Callable[[], _T | None]) -> _T:
    """Return what `make` makes or, if its answer was lost, what `find` finds: nothing is made a second time.

    Raises:
        PublishError: that of `make`, if nothing is found.
    """
    try:
        return make()
    except PublishError as error:
        found = find() if error.ambiguous else None
        if found is None:
            raise
        return found


def once_more(error: PublishError, attempts: int) -> float | None:
    """Try a second time at once where an answer was lost; a `Pause`."""
    return 0.0 if error.ambiguous and attempts == 1 else None
