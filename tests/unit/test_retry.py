"""Trying again: how often, how long, and never a second time what was carried out unseen."""

from collections.abc import Callable

import pytest

from navigator.github.budget import Budget
from navigator.github.errors import PublishError
from navigator.github.retry import found_or, once_more, retry


def failing(*errors: PublishError) -> Callable[[], str]:
    """Return work that fails with each error, and then succeeds."""
    left = [*errors]

    def work() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return work


def test_as_often_as_there_is_a_pause() -> None:
    def twice(_error: PublishError, attempts: int) -> float | None:
        return 0.0 if attempts < 3 else None

    assert retry(Budget(60), failing(PublishError("1"), PublishError("2")), twice) == "done"
    with pytest.raises(PublishError, match="3"):
        retry(Budget(60), failing(*(PublishError(str(number)) for number in (1, 2, 3))), twice)


def test_an_error_says_if_any_attempt_may_have_been_carried_out() -> None:
    lost = PublishError("no answer", ambiguous=True)
    with pytest.raises(PublishError, match="refused") as raised:
        retry(
            Budget(60),
            failing(lost, PublishError("refused", status=409)),
            lambda error, _: 0.0 if error is lost else None,
        )

    assert raised.value.ambiguous


def test_a_pause_that_outlasts_the_budget_is_not_taken() -> None:
    with pytest.raises(PublishError) as raised:
        retry(Budget(60), failing(PublishError("limited")), lambda *_: 3600.0)
    assert raised.value.hint == "The next attempt, in 3600 s, would exceed the time for publishing."

    with pytest.raises(PublishError) as raised:
        retry(Budget(60), failing(PublishError("limited", "ask for more")), lambda *_: 3600.0)
    assert raised.value.hint == "ask for more"


@pytest.mark.parametrize(
    ("error", "found", "expected"),
    [
        (PublishError("lost", ambiguous=True), "there", "there"),
        (PublishError("lost", ambiguous=True), None, "done"),
        (None, "not looked for", "done"),
    ],
)
def test_what_may_be_there_is_looked_for_before_it_is_made_again(
    error: PublishError | None, found: str | None, expected: str
) -> None:
    make = failing(*([error] if error else []))

    assert retry(Budget(60), lambda: found_or(make, lambda: found), once_more) == expected


def test_what_was_refused_is_not_looked_for() -> None:
    with pytest.raises(PublishError, match="refused"):
        found_or(failing(PublishError("refused")), lambda: pytest.fail("asked"))
