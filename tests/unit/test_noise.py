"""The source model's own rounding as a tolerance: wide enough for it, never tighter than 1e-5, and bounded."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from navigator.records import ModelConfig, Precision
from navigator.verify.compare import verify
from navigator.verify.noise import FACTOR, measured, notes, warnings
from navigator.verify.tolerances import tolerances
from tests.support.builders import a_model

RTOL = {"": 1e-5}


def outputs(*arrays: np.ndarray) -> list[tuple[str, dict[str, np.ndarray]]]:
    return [(str(number), {"y": array}) for number, array in enumerate(arrays)]


def values(scale: float = 1.0, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=(4, 100)) * scale).astype(np.float32)


def test_without_noise_the_tolerance_is_the_strict_one() -> None:
    (noise,) = measured(outputs(values()), outputs(values()), RTOL).values()
    assert (noise.largest, noise.atol, noise.rejected) == (0.0, 1e-5, False)
    assert measured(outputs(values()), [], RTOL) == {}


@pytest.mark.parametrize("scale", [1.0, 3000.0])
def test_a_difference_as_large_as_the_noise_times_the_factor_passes_and_a_larger_one_does_not(scale: float) -> None:
    source = values(scale)
    source[0, 0] = 0  # so that rtol allows nothing there
    noise = np.float32(1e-4 * scale)
    probe = source.copy()
    probe[0, 0] = noise
    found = measured(outputs(source), outputs(probe), RTOL)
    assert found["y"].largest == noise
    allowed = tolerances(a_model(), Precision.FP32, outputs(source), found)
    for factor, passes in ((0.99 * FACTOR, True), (1.1 * FACTOR, False)):
        converted = source.copy()
        converted[0, 0] = noise * np.float32(factor)
        assert verify(outputs(source), outputs(converted), atol=allowed.atol, rtol=allowed.rtol).passed is passes


def test_what_the_relative_tolerance_allows_anyway_widens_nothing() -> None:
    source = np.array([1e9, -1e9, 0.5, 0.25], np.float32)  # masked logits, whose steps are 64
    probe = np.nextafter(source, np.float32(np.inf))
    found = measured(outputs(source), outputs(probe), RTOL)
    assert found["y"].largest == 64
    assert (found["y"].atol, found["y"].rejected) == (1e-5, False)


def test_noise_too_large_to_be_rounding_makes_no_tolerance_and_a_note() -> None:
    source = values()
    found = measured(outputs(source), outputs(source + np.float32(0.5)), RTOL)
    assert (found["y"].atol, found["y"].rejected) == (1e-5, True)
    (note,) = notes(found)
    assert note.startswith("y: rounding alone changes it by up to 0.5 in the source model, which is too much of its ")
    assert tolerances(a_model(), Precision.FP32, outputs(source), found).atol == {"": 1e-5, "y": 1e-5}


def test_rows_depend_on_each_other_if_many_values_change_far_more_than_rounding_changes_them() -> None:
    source = values()
    rounded, dependent = source + np.float32(1e-6), source + np.float32(0.5)
    few = source + np.float32(1e-6)
    few[0, :20] += 0.5  # of 400: as where a decision flips
    apart = [
        measured(outputs(source), outputs(probe), RTOL, outputs(batches))["y"]
        for probe, batches in ((rounded, dependent), (rounded, few), (dependent, dependent), (rounded, rounded))
    ]
    assert [(each.apart, each.rejected) for each in apart] == [
        (pytest.approx(0.5, rel=1e-5), False),
        (None, True),
        (None, True),
        (None, False),
    ]
    told = [" ".join(warnings({"y": each})) for each in apart]
    assert "a row that is run alone changes by up to 0.5, and rounding by 1e-06; " in told[0]
    assert ["model.eval()" in each for each in told] == [True, False, False, False]
    assert apart[0].atol == measured(outputs(source), outputs(rounded), RTOL)["y"].atol, "apart isn't rounding"


def test_a_mask_does_not_raise_the_bound() -> None:
    source = values()
    source[:, ::2] = -1e9
    probe = source.copy()
    probe[:, 1::2] += np.float32(0.5)
    assert measured(outputs(source), outputs(probe), RTOL)["y"].rejected


def test_nan_infinities_and_other_shapes_or_dtypes_are_no_noise() -> None:
    source = values()
    source[0, :3] = np.nan, np.inf, -np.inf
    probe = source.copy()
    probe[0, :4] = 1.0, 2.0, np.nan, np.inf
    assert measured(outputs(source), outputs(probe), RTOL)["y"].largest == 0
    for other in (source[:1], source.astype(np.float64), np.zeros((4, 100), np.int64)):
        assert measured(outputs(source), outputs(other), RTOL) == {}
    whole = np.arange(400).reshape(4, 100)
    assert measured(outputs(whole), outputs(whole + 1), RTOL) == {}, "whole numbers are exact"


@given(st.sampled_from(["f2", "f4", "f8", "c8"]), st.floats(0, 10), st.floats(1e-3, 1e4), st.integers(0, 99))
def test_the_tolerance_is_bounded_by_the_range_whatever_the_noise(
    dtype: str, noise: float, scale: float, seed: int
) -> None:
    source = values(scale, seed).astype(dtype)
    with np.errstate(over="ignore"):
        probe = (source + noise * scale * np.random.default_rng(seed).normal(size=source.shape)).astype(dtype)
    found = measured(outputs(source), outputs(probe), RTOL)["y"]
    finite = source[np.isfinite(source)]
    share = 0.05 if dtype == "f2" else 0.01
    spread = (
        float(np.ptp(np.concatenate([finite.real.ravel(), finite.imag.ravel()]).astype("f8"))) if finite.size else 0.0
    )
    assert 1e-5 <= found.atol <= max(1e-5, 1.06 * share * spread)


def test_float16_is_measured_in_its_own_steps() -> None:
    source = values().astype(np.float16)
    probe = np.nextafter(source, np.float16(np.inf))
    found = measured(outputs(source), outputs(probe), RTOL)
    allowed = tolerances(a_model(), Precision.FP32, outputs(source), found)
    assert allowed.rtol["y"] == 2 * float(np.finfo(np.float16).eps)
    two_off = np.nextafter(probe, np.float16(np.inf))
    assert verify(outputs(source), outputs(two_off), atol=allowed.atol, rtol=allowed.rtol).passed
    wrong = source + np.float16(0.05)
    assert not verify(outputs(source), outputs(wrong), atol=allowed.atol, rtol=allowed.rtol).passed


@pytest.mark.parametrize(
    ("given", "atol", "rtol"),
    [
        ({"atol": {"": 1e-7}}, {"": 1e-7}, {"": 1e-5}),
        ({"atol": {"": 1e-7}, "rtol": {"": 0.0}}, {"": 1e-7}, {"": 0.0}),
        ({"rtol": {"": 0.0}}, {"": 1e-5, "y": 5e-3}, {"": 0.0}),
        ({}, {"": 1e-5, "y": 5e-3}, {"": 1e-5}),
    ],
)
def test_what_the_user_gives_is_strict(given: dict[str, Any], atol: object, rtol: object) -> None:
    model: ModelConfig = a_model(**given)
    source = values()
    source[0, 0] = 0
    probe = source.copy()
    probe[0, 0] = 1e-3
    noise = measured(outputs(source), outputs(probe), RTOL)
    found = tolerances(model, Precision.FP32, outputs(source), noise)
    assert (found.atol, found.rtol) == (atol, rtol)


def test_an_output_without_finite_values_or_without_a_probe_has_no_noise() -> None:
    endless = np.full((4, 3), np.inf, np.float32)
    (noise,) = measured(outputs(endless), outputs(endless), RTOL).values()
    assert (noise.largest, noise.atol, noise.rejected) == (0.0, 1e-5, False)
    source = [("0", {"y": values(), "z": values()})]
    assert measured(source, [("0", {"z": values()})], RTOL).keys() == {"z"}
    assert list(notes({"z": noise})) == []


def test_noise_of_an_output_that_is_all_infinite_elsewhere_is_too_large() -> None:
    endless = np.full((4, 3), np.inf, np.float32)
    reference = [("0", {"y": endless}), ("1", {"y": np.zeros((4, 3), np.float32)})]
    found = measured(reference, [("1", {"y": np.ones((4, 3), np.float32)})], RTOL)
    assert (found["y"].largest, found["y"].rejected) == (1.0, True)


def test_noise_of_large_values_counts_for_small_ones_unless_it_is_in_proportion_to_them() -> None:
    rng = np.random.default_rng(0)
    sums = (1000 * rng.normal(size=(4, 100))).astype(np.float32)
    noise = (1e-3 * rng.normal(size=sums.shape)).astype(np.float32)
    noise[np.abs(sums) < 100] = 0  # none was measured at small values
    found = measured(outputs(sums), outputs(sums + noise), RTOL)["y"]
    assert found.atol == pytest.approx(FACTOR * found.largest, rel=0.05)
    powers = np.exp(rng.uniform(-15, 7, (4, 100)))
    found = measured(outputs(powers), outputs(powers * (1 + 1e-6 * rng.normal(size=powers.shape))), RTOL)["y"]
    assert found.atol < FACTOR * found.largest / 10


def test_zeros_that_a_relu_cut_off_say_nothing_about_small_values() -> None:
    rng = np.random.default_rng(0)
    values = np.maximum(1000 * rng.normal(size=(4, 100)), 0)
    noise = np.where(values > 0, 1e-3 * rng.normal(size=values.shape), 0)
    found = measured(outputs(values), outputs(values + noise), RTOL)["y"]
    assert found.atol == pytest.approx(FACTOR * found.largest, rel=0.05)


def test_a_run_that_changed_nothing_is_no_part_of_the_size_of_the_noise() -> None:
    source = values(1000)
    probe = source + np.random.default_rng(1).normal(size=source.shape).astype(np.float32)
    once = measured(outputs(source), outputs(probe), RTOL)["y"].size
    twice = measured(outputs(source), [*outputs(source), *outputs(probe)], RTOL)["y"].size
    assert once is not None
    assert once == twice
    assert measured(outputs(source), outputs(source), RTOL)["y"].size is None
    half = source.astype(np.float16)
    assert measured(outputs(half), outputs(half + np.float16(8)), RTOL)["y"].size is None


def test_errors_as_a_whole_are_those_of_the_change_that_makes_the_most() -> None:
    """Two batches hardly show what other weights do: pooled with it, they'd hide half of it."""
    source = values(1000)
    rng = np.random.default_rng(3)
    loud, quiet = (source + (rng.normal(size=source.shape) * by).astype(np.float32) for by in (1e-2, 1e-4))
    found = measured(outputs(source), outputs(loud), RTOL, outputs(quiet))["y"]
    alone = measured(outputs(source), outputs(loud), RTOL)["y"]
    assert found.size is not None
    assert alone.size is not None
    assert found.size.rms == alone.size.rms
    assert found.size.count == 2 * alone.size.count
