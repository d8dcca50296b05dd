"""Weights some steps away, forth and back."""

import numpy as np
import pytest

from navigator.frameworks.steps import steps


@pytest.mark.parametrize(
    ("dtype", "whole", "most"), [("float16", "int16", 1), ("float32", "int32", 64), ("float64", "int64", 64)]
)
def test_floats_move_a_little_in_both_directions_and_come_back(dtype: str, whole: str, most: int) -> None:
    values = np.random.default_rng(0).normal(size=2000).astype(dtype)
    bits = values.view(whole).copy()
    by = steps(bits, 3)
    assert np.array_equal(by, steps(bits, 3))
    assert not np.array_equal(by, steps(bits, 4))
    assert set(by.tolist()) >= {-most, most}
    bits += by
    forth = bits.view(dtype) - values
    bits -= by
    assert np.array_equal(bits.view(dtype), values)
    bits -= by
    back = bits.view(dtype) - values
    assert np.abs(back + forth).max() <= 4 * most * np.finfo(dtype).eps
    assert 0 < np.abs(forth / values).max() <= most * np.finfo(dtype).eps


@pytest.mark.parametrize(("dtype", "whole"), [("float16", "int16"), ("float32", "int32")])
def test_zeros_masks_and_infinities_stay(dtype: str, whole: str) -> None:
    largest = np.finfo(dtype).max
    values = np.array([0.0, -0.0, largest, -largest, np.inf, -np.inf] * 50, dtype)
    assert not steps(values.view(whole), 0).any()
