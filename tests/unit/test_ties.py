"""Values that the source model's framework doesn't define are the source model's, and all others stay."""

import numpy as np

from navigator.verify.ties import all_settled, settled

REFERENCE = {"i": np.array([[3, 1, 2]]), "n": np.array([4, 5])}
MASK = np.array([[False, True, True]])


def test_only_undefined_values_are_taken_from_the_source_model() -> None:
    outputs = {"i": np.array([[9, 2, 1]]), "n": np.array([4, 6])}
    found = settled(REFERENCE, outputs, {"i": MASK})
    assert {name: array.tolist() for name, array in found.items()} == {"i": [[9, 1, 2]], "n": [4, 6]}
    assert outputs["i"].tolist() == [[9, 2, 1]]


def test_other_shapes_and_types_stay_unless_the_shape_is_undefined_too() -> None:
    for other in (np.array([[3, 1]]), np.array([[3, 1, 2]], np.int32)):
        assert settled(REFERENCE, {"i": other}, {"i": MASK})["i"] is other
    shorter, all_ = np.array([[3, 1]]), np.ones_like(MASK)
    assert settled(REFERENCE, {"i": shorter}, {"i": all_})["i"] is REFERENCE["i"]
    assert settled(REFERENCE, {}, {"i": all_, "unknown": all_}) == {}, "a missing output stays missing"


def test_each_sample_has_its_own() -> None:
    outputs = {"i": np.array([[3, 2, 1]])}
    found = all_settled([("a", REFERENCE), ("b", REFERENCE)], [("a", outputs), ("b", outputs)], [("b", {"i": MASK})])
    assert [(name, arrays["i"].tolist()) for name, arrays in found] == [("a", [[3, 2, 1]]), ("b", [[3, 1, 2]])]
