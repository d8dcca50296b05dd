"""What the outcomes of a conversion in two runs mean. Pure.

A machine may lack what a conversion needs. That says nothing about the model, unless the machine had it in the base: so
it counts as a failure if both machines have the same GPUs, and is no outcome at all if they haven't.
"""

from navigator.records import CellResult, Change, State
from navigator.records.results import Status

_BAD = (State.FAILED, State.MISMATCHED, State.CRASHED, State.TIMED_OUT, State.BLOCKED)
_UNPROVEN = (State.UNAVAILABLE, State.UNVERIFIED)


def exists(result: CellResult | None) -> bool:
    """Return whether there is a conversion: nothing can come of one that isn't applicable to its model."""
    return result is not None and result.status.state is not State.NOT_APPLICABLE


def judged(before: Status, after: Status, *, same_gpus: bool) -> tuple[Change, str]:
    """Return what became of a conversion that both runs have, and why it isn't compared if it isn't.

    `UNCHANGED` if it passed in both.
    """
    for status, where in ((before, "the base"), (after, "this run")):
        if status.state is State.CANCELLED:
            return Change.NOT_COMPARED, f"{where} has no result: {status.message}"
    if before.state in _UNPROVEN and after.state in _UNPROVEN:
        return Change.UNCHANGED, ""
    for status, where in ((before, "the base"), (after, "this run")):
        if status.state in _UNPROVEN and not same_gpus:
            return Change.NOT_COMPARED, f"{where} had no machine for it: {status.message}"
    if before.state is State.UNAVAILABLE and after.state in _BAD:
        return Change.NOT_COMPARED, f"the base didn't try it: {before.message}"
    if before.state in _BAD:
        return (Change.FIXED if after.state is State.PASSED else Change.STILL_FAILING), ""
    if after.state is State.PASSED:
        return (Change.UNCHANGED if before.state is State.PASSED else Change.FIXED), ""
    return Change.BROKEN, ""
