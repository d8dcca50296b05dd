import pytest

from navigator.render.page.ticks import DURATIONS, LATENCIES, SIZES, ticks
from navigator.render.values import milliseconds, seconds, size


def labels(highest: float, steps: tuple[float, ...], told: object) -> list[str]:
    return [each["label"] for each in ticks(highest, steps, told)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("highest", "shown"),
    [
        (0.0, ["0 s", "1 s"]),
        (12.5, ["0 s", "5 s", "10 s", "15 s"]),
        (65.0, ["0 s", "15 s", "30 s", "45 s", "1 min", "1 min 15 s"]),
        (3780.0, ["0 s", "15 min", "30 min", "45 min", "1 h", "1 h 15 min"]),
    ],
)
def test_time_is_counted_in_halves_and_quarters(highest: float, shown: list[str]) -> None:
    assert labels(highest, DURATIONS, seconds) == shown


@pytest.mark.parametrize(
    ("highest", "shown"),
    [
        (7746, ["0 B", "2 KiB", "4 KiB", "6 KiB", "8 KiB"]),
        (98.0 * 2**20, ["0 B", "20 MiB", "40 MiB", "60 MiB", "80 MiB", "100 MiB"]),
        (1.7 * 2**30, ["0 B", "512 MiB", "1 GiB", "1.5 GiB", "2 GiB"]),
    ],
)
def test_sizes_are_counted_in_binary_units(highest: float, shown: list[str]) -> None:
    assert labels(highest, SIZES, lambda amount: size(int(amount))) == shown


def test_latencies_are_counted_by_one_two_or_five() -> None:
    assert labels(0.0031, LATENCIES, milliseconds) == ["0 ms", "1 ms", "2 ms", "3 ms", "4 ms"]


def test_what_is_beyond_all_steps_is_parted_evenly() -> None:
    found = ticks(6e9, DURATIONS, seconds)
    assert [each["value"] for each in found] == [1e9 * part for part in range(7)]
