"""How long a search may take by default, and how long the loading before it."""

from typing import Any

import pytest

from navigator.engine import search


class Known:
    """What the time of a search depends on."""

    def __init__(self, wanted: float | str = "auto", convert: float = 0.0, load: float = 0.0) -> None:
        self.search_seconds, self.seconds, self.load_seconds = wanted, convert, load


def seconds(convert: float, verify: float, source: float, converted: float, wanted: float | str = "auto") -> float:
    verified: Any = Known(load=converted)
    verified.seconds = type("Seconds", (), {"verify": verify})
    subject: Any = Known()
    subject.model, subject.artifact, subject.reference = Known(wanted), Known(convert=convert), Known(load=source)
    return search._seconds(verified, subject)


@pytest.mark.parametrize(
    ("convert", "verify", "source", "converted", "expected"),
    [
        (0.1, 0.2, 0.02, 0.02, 0.1),
        (6.0, 4.0, 1.0, 0.9, 0.5),
        (6.0, 4.0, 1.0, 1.1, 0.0),
        (0.1, 0.1, 0.03, 0.03, 0.0),
        (100.0, 0.0, 0.0, 20.0, 5.0),
    ],
)
def test_the_budget_is_for_searching_and_loading_has_one_of_its_own(
    convert: float, verify: float, source: float, converted: float, expected: float
) -> None:
    assert seconds(convert, verify, source, converted) == pytest.approx(expected)


def test_a_time_that_the_user_sets_is_the_time_of_the_search() -> None:
    assert seconds(0.0, 0.0, 60.0, 60.0, 2.0) == 2.0
