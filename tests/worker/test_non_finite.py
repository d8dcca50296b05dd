"""What can't be compared of generated samples: NaN, and what may hang on it."""

import numpy as np
import pytest

from navigator.workers.non_finite import non_finite, numbers

ORDINARY = {"y": np.array([1.0, 2.0]), "k": np.array([1, 0]), "z": np.array([3.0])}
PARTLY = {"y": np.array([np.nan, 2.0]), "k": np.array([1, 0]), "z": np.array([3.0])}


def test_what_is_a_number_is_compared_beside_nan() -> None:
    found = non_finite([("min", ORDINARY), ("normal", PARTLY)], spreads=True)
    assert found.unusable == {}
    ((name, masks),) = found.undefined
    assert name == "normal"
    assert {key: mask.tolist() for key, mask in masks.items()} == {"y": [True, False], "k": [True, True]}
    (note,) = found.notes
    assert "in sample normal, the source model returns NaN for 1 of 2 values of y, which aren't compared" in note
    assert "nor are k, which NaN may have decided; set value_ranges" in note
    (_, same), (_, filled) = numbers([("min", ORDINARY), ("normal", PARTLY)], found.undefined)
    assert same == ORDINARY
    assert filled["y"].tolist() == [1, 2]
    assert filled["k"] is PARTLY["k"]


def test_nothing_is_compared_beside_nan_that_may_not_show() -> None:
    found = non_finite([("min", ORDINARY), ("normal", PARTLY)], spreads=False)
    assert found.unusable == {"normal": "NaN for 1 of 2 values of y"}
    assert found.undefined == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_sample_without_numbers_is_left_out(value: float) -> None:
    outputs = [("min", {"y": np.ones(2)}), ("random_0", {"y": np.full(2, np.nan)}), ("zeros", {"y": np.full(2, value)})]
    found = non_finite(outputs, spreads=True)
    assert found.unusable.keys() == {"random_0", "zeros"}
    assert found.undefined == []


def test_infinity_is_compared_only_where_it_may_be_meant() -> None:
    infinite = {"y": np.array([np.inf, np.nan])}
    found = non_finite([("min", {"y": np.ones(2)}), ("normal", infinite)], spreads=True)
    assert found.unusable == {"normal": "infinity for 1 of 2 values of y"}
    found = non_finite([("min", {"y": np.array([np.inf, 1])}), ("normal", infinite)], spreads=True)
    assert found.unusable == {}
    ((_, masks),) = found.undefined
    assert masks["y"].tolist() == [False, True]
    assert numbers([("min", {"y": np.full(2, np.inf)}), ("normal", infinite)], found.undefined)[1][1]["y"][1] == 0


@pytest.mark.parametrize("spreads", [True, False])
def test_an_output_that_always_has_nan_keeps_it(spreads: bool) -> None:
    found = non_finite([("min", PARTLY), ("opt", PARTLY)], spreads=spreads)
    assert found.unusable == {}
    assert found.undefined == []


def test_at_least_one_ordinary_sample_stays() -> None:
    outputs = [
        ("min", {"y": np.array([np.nan]), "z": np.array([1.0])}),
        ("opt", {"y": np.array([1.0]), "z": np.array([np.nan])}),
        ("normal", PARTLY),
    ]
    assert non_finite(outputs, spreads=False).unusable.keys() == {"normal"}
