"""Which elements rounding decides, and where it's no matter of ties."""

from collections.abc import Mapping

import numpy as np
import pytest

from navigator.records import Properties, Signature
from navigator.verify.ties import all_settled
from navigator.verify.undecided import differing, undecided, warnings
from navigator.workers.undecided import nudged, runs

ATOL, RTOL = {"": 1e-5}, {"": 1e-5}
THRESHOLD = np.float32(0.3)
PLACES = np.arange(200).reshape(2, 100)


def swapped(*pairs: int) -> np.ndarray:
    places = PLACES.copy()
    for first in pairs:
        places[0, [first, first + 1]] = places[0, [first + 1, first]]
    return places


def outputs(array: np.ndarray, name: str = "s") -> list[tuple[str, dict[str, np.ndarray]]]:
    return [(name, {"y": array})]


def test_what_a_run_changes_is_undecided_and_settled_as_in_the_source_model() -> None:
    reference, converted = outputs(PLACES), outputs(swapped(4, 8))
    assert differing(reference, converted, ATOL, RTOL) == ["s"]
    masks = undecided(reference, [*outputs(swapped(4)), *outputs(swapped(8))], ATOL, RTOL)
    ((_, found),) = all_settled(reference, converted, masks)
    assert np.array_equal(found["y"], PLACES)
    (warning,) = warnings(reference, masks)
    assert warning.startswith("y: 4 of 200 values are decided by rounding alone")


def test_what_no_run_changes_stays_as_it_is() -> None:
    reference, converted = outputs(PLACES), outputs(swapped(4, 8))
    masks = undecided(reference, outputs(swapped(4)), ATOL, RTOL)
    ((_, found),) = all_settled(reference, converted, masks)
    assert np.argwhere(found["y"] != PLACES).tolist() == [[0, 8], [0, 9]]


def test_if_much_differs_or_is_undecided_it_is_no_matter_of_ties() -> None:
    reference, other = outputs(PLACES), outputs(PLACES[:, ::-1])
    assert differing(reference, other, ATOL, RTOL) == []
    assert undecided(reference, other, ATOL, RTOL) == []


@pytest.mark.parametrize("changed", [np.float32(1e-4), np.float32(1e-7)])
def test_floats_differ_where_they_do_by_more_than_a_tolerance(changed: np.float32) -> None:
    values = np.linspace(0, 1, 100, dtype=np.float32)
    other = values.copy()
    other[7] += changed
    assert differing(outputs(values), outputs(other), ATOL, RTOL) == (["s"] if changed > 1e-5 else [])


def test_outputs_of_another_dtype_or_sample_are_no_matter_of_ties() -> None:
    assert differing(outputs(PLACES), outputs(PLACES.astype(np.int32)), ATOL, RTOL) == []
    assert differing(outputs(PLACES), outputs(PLACES, "other"), ATOL, RTOL) == []


def test_floats_move_forth_and_back_by_less_than_the_tolerance_and_whole_numbers_stay() -> None:
    array = np.array([0.1, 0.5, 0.0, 1.0, -3.0, 0.75], np.float32)
    forth, back = (nudged(array, sign, (0, 0)).astype(float) - array for sign in (1, -1))
    assert (forth[[2, 3, 4]] == 0).all()
    assert (np.abs(forth) <= 1e-5 * np.abs(array)).all()
    assert np.allclose(forth, -back, atol=2e-7)
    assert np.count_nonzero(forth) == 3
    assert nudged(np.array([1, 2]), 1, (0, 0)).tolist() == [1, 2]


class Gated:
    """Lets through what is above a threshold, and makes much of the last digits of what is below."""

    signature, properties = Signature(inputs=(), outputs=()), Properties()

    def infer(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        x = inputs["x"]
        above = x > THRESHOLD
        return {"y": np.where(above, x, np.float32(50) * (x - THRESHOLD)), "above": above}


def test_floats_are_undecided_where_they_jump() -> None:
    x = np.array([0.1, 0.2, np.nextafter(THRESHOLD, np.float32(1)), 0.29999, 0.4], np.float32)
    reference = Gated().infer({"x": x})
    found = [arrays for _, arrays in runs(Gated(), [("s", {"x": x})])]
    changed = np.any([arrays["y"] != reference["y"] for arrays in found], axis=0)
    assert changed.tolist() == [False, False, True, False, False]
    assert np.any([arrays["above"] != reference["above"] for arrays in found], axis=0).tolist() == changed.tolist()
