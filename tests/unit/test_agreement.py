"""How much of an output a reduced precision keeps: each number against its definition, by hand or by the binomial."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from navigator.records import Agreement
from navigator.verify.agreement import agreement
from navigator.verify.binomial import upper_bound
from navigator.verify.compare import verify

RNG = np.random.default_rng(0)


def measured(*pairs: tuple[np.ndarray, np.ndarray]) -> Agreement:
    found = agreement(pairs)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("hits", "trials", "expected"),
    [
        # Of SciPy: beta.ppf(0.95, hits + 1, trials - hits).
        pytest.param(3, 10, 0.6066242161, id="3-of-10"),
        pytest.param(0, 10, 1 - 0.05**0.1, id="0-of-10"),
        pytest.param(0, 1, 0.95, id="0-of-1"),
        pytest.param(5, 1_000_000, 1.05130059e-05, id="5-of-a-million"),
        pytest.param(10, 10, 1.0, id="all"),
        pytest.param(10**17 - 1, 10**17, 1.0, id="all-but-one-as-a-float"),
        pytest.param(0, 0, 1.0, id="no-trials"),
    ],
)
def test_an_upper_bound_is_that_of_clopper_and_pearson(hits: int, trials: int, expected: float) -> None:
    assert upper_bound(hits, trials) == pytest.approx(expected, rel=1e-8)


@given(st.integers(1, 60), st.integers(0, 59), st.floats(0.5, 0.999))
def test_at_the_upper_bound_so_few_hits_are_exactly_as_unlikely_as_wanted(
    trials: int, hits: int, confidence: float
) -> None:
    hits = min(hits, trials - 1)
    rate = upper_bound(hits, trials, confidence)
    chance = sum(math.comb(trials, n) * rate**n * (1 - rate) ** (trials - n) for n in range(hits + 1))
    assert chance == pytest.approx(1 - confidence, abs=1e-9)


def test_norm_cosine_and_noise_are_those_of_all_samples() -> None:
    found = measured((np.array([3.0]), np.array([3.0])), (np.array([4.0]), np.array([4.5])))

    assert found.relative_l2 == pytest.approx(0.5 / 5)
    assert found.cosine == pytest.approx((9 + 18) / (5 * math.hypot(3, 4.5)))
    assert found.sqnr_db == pytest.approx(10 * math.log10(25 / 0.25))
    assert found.explained == pytest.approx(1 - 0.25 / 0.5)


def test_equal_values_agree_without_noise() -> None:
    x = RNG.standard_normal((2, 3))
    found = measured((x, x))
    assert found.cosine == pytest.approx(1)
    assert replace(found, cosine=None) == Agreement(relative_l2=0.0, explained=1.0)


def test_a_constant_of_the_same_mean_explains_nothing() -> None:
    x = RNG.standard_normal(50)
    assert measured((x, np.full(50, x.mean()))).explained == pytest.approx(0)
    zero = np.zeros(5)
    assert measured((zero, zero + 1)) == Agreement()


@pytest.mark.parametrize("pairs", [(), ((np.zeros(0), np.zeros(0)),), ((np.ones(1, "complex64"),) * 2,)])
def test_nothing_is_measured_of_no_numbers(pairs: tuple[tuple[np.ndarray, np.ndarray], ...]) -> None:
    assert agreement(pairs) is None


def test_infinities_and_masks_are_left_out() -> None:
    x = RNG.uniform(1, 2, (2, 4, 5))
    masked = x.copy()
    masked[:, :, 3:] = -1e9
    masked[0, 0, 0] = -np.inf
    off = masked + np.where(masked < -1e8, 1e8, 0.1)
    worst = measured((masked, off)).worst_slice
    assert worst is not None
    assert worst.max_abs_error == pytest.approx(0.1)
    assert worst.spread <= 1
    assert measured((masked, off)).relative_l2 == pytest.approx(0.1 / math.sqrt(np.mean(x**2)), rel=0.1)
    assert agreement([(np.full((2, 2), np.inf),) * 2]) is None


def test_the_worst_slice_is_the_one_that_loses_most_of_its_own_range() -> None:
    x = RNG.uniform(0, 1, (4, 4, 50)) * np.array([100.0, 1.0, 1e-6, 0.0]).reshape(1, 4, 1)
    found = measured((x, x + np.array([5.0, 0.5, 1e-3, 0.1]).reshape(1, 4, 1))).worst_slice
    assert found is not None
    assert (found.axis, found.index) == (1, 1)
    assert found.spread == pytest.approx(1, abs=0.1)
    assert found.max_abs_error == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("value", "differing"), [([0, 1, 2, 4], 0.25), ([0, 1, 2, 3], 0.0), ([True, False, True, True], 0.25)]
)
def test_whole_numbers_agree_or_differ(value: list[int], differing: float) -> None:
    reference = np.array([True, True, True, True] if isinstance(value[0], bool) else [0, 1, 2, 3])
    assert measured((reference, np.array(value))) == Agreement(differing=differing)


def test_only_a_model_that_agrees_nearly_nowhere_computes_something_else() -> None:
    x = RNG.standard_normal((2, 100))
    constant = np.full((2, 100), 5.0)
    close = {
        "noisy": (x, x + 0.3 * RNG.standard_normal(x.shape)),
        "a factor": (x, 3 * x),
        "an offset": (x + 9, x + 12),
        "constant": (constant, constant + RNG.uniform(1, 2, x.shape)),
        "a part": (x, np.where(np.arange(100) < 80, RNG.standard_normal(x.shape), x)),
    }
    apart = {"other": (x, RNG.standard_normal(x.shape)), "sign": (x, -x), "zeros": (x, np.zeros_like(x))}
    for name, (reference, value) in (close | apart).items():
        (warning, *_) = verify([("s", {"y": reference})], [("s", {"y": value})], atol={}, rtol={}).warnings
        end = ", since the converted model computes something else" if name in apart else ""
        assert warning.endswith(f"no tolerance would be meaningful{end}"), name


def test_agreement_is_part_of_a_comparison_where_it_is_wanted() -> None:
    x = RNG.standard_normal((2, 3))
    source, made = [("s", {"y": x})], [("s", {"y": x + 1e-7})]
    assert verify(source, made, atol={}, rtol={}).comparisons[0].agreement is None
    assert verify(source, made, atol={}, rtol={}, measured=True).comparisons[0].agreement == agreement([(x, x + 1e-7)])
    nan = [("s", {"y": x * np.nan})]
    assert verify(source, nan, atol={}, rtol={}, measured=True).comparisons[0].agreement is None
