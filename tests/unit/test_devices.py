"""Samples for which a source model disagrees with itself on another device."""

import numpy as np
import pytest

from navigator.verify.devices import disagreements, notes

ATOL, RTOL = {"": 1e-5}, {"": 1e-5}


def outputs(**samples: object) -> list[tuple[str, dict[str, np.ndarray]]]:
    return [(name, {"y": np.asarray(values, "float32")}) for name, values in samples.items()]


def test_a_sample_that_differs_by_far_is_named_with_its_output() -> None:
    found = disagreements(outputs(one=[1, 2], masked=[0.5, 3]), outputs(one=[1, 2], masked=[-0.4, 3]), ATOL, RTOL)

    (each,) = found
    assert (each.sample, each.output) == ("masked", "y")
    assert each.largest == pytest.approx(0.9)
    (note,) = notes(found)
    assert note.startswith(
        "not compared on the GPU, where the source model itself returns other values than on the CPU"
    )
    assert note.endswith(": samples masked (y by up to 0.9)")


def test_rounding_is_no_disagreement() -> None:
    """Up to ten tolerances: what a conversion is allowed is measured, not this."""
    assert disagreements(outputs(one=[1.0], two=[1.0]), outputs(one=[1.00015], two=[1.0]), ATOL, RTOL) == ()
    assert disagreements(outputs(one=[1.0], two=[1.0]), outputs(one=[1.0003], two=[1.0]), ATOL, RTOL)


def test_never_all_samples_are_left_out() -> None:
    """Else a model that is wrong on every GPU would have nothing to be compared on."""
    assert disagreements(outputs(one=[1.0], two=[2.0]), outputs(one=[5.0], two=[9.0]), ATOL, RTOL) == ()
    assert list(notes(())) == []


def test_what_cannot_be_compared_counts_as_agreeing() -> None:
    reference = [("one", {"y": np.array([1, 2])}), ("two", {"y": np.zeros(2, "float32")})]
    own = [("one", {"y": np.array([7, 8])}), ("two", {"z": np.ones(2, "float32")})]

    assert disagreements(reference, own, ATOL, RTOL) == ()
    assert disagreements(outputs(one=[np.nan, 1], two=[0]), outputs(one=[3, 1], two=[0]), ATOL, RTOL) == ()
