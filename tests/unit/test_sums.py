"""What is said of samples that are compared with exact sums."""

import numpy as np

from navigator.verify.sums import warnings

Y = np.array([1, 2], np.float32)


def test_a_warning_names_the_samples_that_sums_change_and_by_how_much() -> None:
    outputs = [("ends", {"y": Y, "z": Y}), ("opt", {"y": Y, "z": Y}), ("zeros", {"y": Y, "z": Y + 3})]
    exact = [("ends", {"y": Y + np.float32(0.25), "z": Y}), ("opt", {"y": Y, "z": Y})]
    (warning,) = warnings(outputs, exact)
    assert warning.startswith("compared with exact sums in ends: ")
    assert "changes y by up to 0.25 there" in warning


def test_nothing_is_said_where_sums_change_nothing() -> None:
    outputs = [("opt", {"y": Y, "k": np.array([1]), "none": np.zeros(0, np.float32)})]
    assert not list(warnings(outputs, outputs))
