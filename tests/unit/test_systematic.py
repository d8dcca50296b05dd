"""Errors within a tolerance made of noise that aren't noise: as large as it everywhere, or alike in one channel."""

import numpy as np
import pytest

from navigator.records import Verdict
from navigator.verify.compare import verify
from navigator.verify.noise import Noise
from navigator.verify.systematic import MEAN_FACTOR, RMS_FACTOR, Size, size

RNG = np.random.default_rng(0)
SOURCE = (100 * RNG.standard_normal((20, 50))).astype("float64")
NOISE = 1e-4 * RNG.standard_normal(SOURCE.shape)
MEASURED = size([(SOURCE, SOURCE + NOISE)])
CHANNEL = np.eye(50)[7]


def judged(error: np.ndarray, noise: Size = MEASURED, atol: float = 5e-3, source: np.ndarray = SOURCE) -> Verdict:
    reference, value = ([("s", {"y": each})] for each in (source, source + error))
    return verify(reference, value, atol={"": atol}, rtol={"": 0.0}, noise={"y": Noise(largest=1, atol=1, size=noise)})


def test_the_size_of_errors_is_relative_to_the_values() -> None:
    assert MEASURED.rms == pytest.approx(1e-6, rel=0.1)
    assert MEASURED.mean < MEASURED.rms < MEASURED.channel < 2 * MEASURED.rms
    assert MEASURED.count == SOURCE.size
    offset = size([(SOURCE, SOURCE + 1e-3 * CHANNEL)] * 2)
    assert offset.mean == pytest.approx(offset.channel) == pytest.approx(1e-5, rel=0.1)
    assert offset.rms == pytest.approx(offset.channel / 50**0.5)


@pytest.mark.parametrize("shape", [(1000,), (4, 10, 5, 5), (2, 20, 25), (1000, 1)])
def test_errors_of_any_shape_have_a_size(shape: tuple[int, ...]) -> None:
    found = size([(SOURCE.reshape(shape), (SOURCE + NOISE).reshape(shape))])
    assert found.rms == pytest.approx(MEASURED.rms)
    assert found.count == SOURCE.size
    assert found.mean <= found.channel


def test_masks_and_what_is_not_finite_have_no_errors() -> None:
    source, value = SOURCE.copy(), SOURCE + NOISE
    source[0], value[0] = -1e9, -1e9 + 64
    source[1, :3], value[1, :3] = (np.nan, np.inf, -np.inf), (1, np.inf, np.inf)
    found = size([(source, value)])
    assert found.count == SOURCE.size - 53
    assert found.rms == pytest.approx(MEASURED.rms, rel=0.1)
    for nothing in (np.zeros((2, 3)), np.full((2, 3), np.nan), np.zeros((0, 3))):
        assert size([(nothing, nothing)]) == Size()


def test_errors_like_the_noise_pass_and_larger_ones_do_not() -> None:
    other = 1e-4 * np.random.default_rng(1).standard_normal(SOURCE.shape)
    assert judged(0.9 * RMS_FACTOR * other).passed
    (comparison,) = (wrong := judged(1.1 * RMS_FACTOR * other)).comparisons
    assert not comparison.passed
    assert comparison.mismatched == 0
    assert comparison.problem == (
        "its errors aren't rounding: their root mean square is 3.2 times that of rounding, as with a wrong weight, "
        "though every element is within the tolerance made for rounding (atol 0.005, rtol 0); set atol to accept them"
    )
    assert (wrong.suggested, wrong.warnings) == (None, ())


@pytest.mark.parametrize("sign", [1, -1])
def test_an_error_that_is_alike_in_all_rows_of_one_channel_does_not_pass(sign: int) -> None:
    offset = sign * CHANNEL * MEASURED.channel * float(np.sqrt(np.mean(SOURCE**2)))
    assert judged(NOISE + 0.8 * MEAN_FACTOR * offset).passed
    (comparison,) = judged(NOISE + 1.2 * MEAN_FACTOR * offset).comparisons
    assert comparison.problem.startswith("its errors aren't rounding: the mean error of a channel is 2.")


def test_only_errors_that_need_the_wider_tolerance_are_looked_at() -> None:
    tiny = Size(rms=1e-9, channel=1e-9, mean=1e-9, count=1000)
    assert judged(np.full(SOURCE.shape, 0.9e-5), tiny).passed
    assert not judged(np.full(SOURCE.shape, 1.1e-5), tiny).passed


def test_few_measured_values_decide_nothing() -> None:
    few = Size(rms=1e-9, channel=1e-9, mean=1e-9, count=63)
    assert judged(np.full(SOURCE.shape, 1e-3), few).passed
    assert judged(np.full(SOURCE.shape, 1e-3), Size()).passed


def test_a_mismatch_stays_one_with_its_suggestion() -> None:
    verdict = judged(np.full(SOURCE.shape, 1e-2))
    assert verdict.comparisons[0].problem == ""
    assert verdict.suggested is not None
