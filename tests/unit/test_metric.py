"""The arithmetic of the user's metric: what is kept, lost, or not to be said, and in which words."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from navigator.errors import StepError
from navigator.records import Comparison, MetricOutcome, MetricResult, Precision, Tolerances, Verdict
from navigator.verify.metric import fraction_of, items_needed, judge, least_items, mcnemar, overrules, paired
from navigator.verify.metric_sentences import metric_sentence, percentage, remedy, unproven, verdict_sentence

Numbers = Sequence[float] | np.ndarray


def hits(
    items: int, *, lost: int = 0, won: int = 0, wrong: int = 0, target: float = 0.99, flipped: bool = False
) -> MetricResult:
    """Judge hits, of which the source model misses `won + wrong` items."""
    source = np.ones(items)
    source[: won + wrong] = 0
    converted = source.copy()
    converted[:won] = 1
    converted[items - lost :] = 0
    values = (1 - source, 1 - converted) if flipped else (source, converted)
    return judge(*values, name="accuracy", target=target, lower_is_better=flipped, seed=0)


def numbers(source: Numbers, converted: Numbers, *, lower: bool = False) -> MetricResult:
    return judge(np.array(source), np.array(converted), name="score", target=0.99, lower_is_better=lower, seed=0)


# Hits


@given(st.integers(0, 30), st.integers(0, 30))
def test_mcnemar_is_the_tail_of_the_binomial_distribution(lost: int, won: int) -> None:
    tail = sum(math.comb(lost + won, each) for each in range(lost, lost + won + 1)) / 2 ** (lost + won)
    assert mcnemar(lost, won) == pytest.approx(tail, rel=1e-9)


@pytest.mark.parametrize(("target", "least"), [(0.99, 299), (0.999, 2995), (0.95, 59)])
def test_without_a_loss_it_takes_as_many_items_as_could_miss_the_rest(target: float, least: int) -> None:
    assert least_items(target) == least
    assert hits(least - 1, target=target).outcome is MetricOutcome.UNPROVEN
    assert hits(least, target=target).outcome is MetricOutcome.KEPT


@pytest.mark.parametrize(
    ("items", "lost", "won", "outcome"),
    [
        pytest.param(10_000, 50, 0, MetricOutcome.KEPT, id="less-than-1-percent-of-many"),
        pytest.param(10_000, 150, 0, MetricOutcome.LOST, id="more-than-1-percent-of-many"),
        pytest.param(10_000, 150, 145, MetricOutcome.KEPT, id="as-many-won"),
        pytest.param(1_000, 30, 30, MetricOutcome.UNPROVEN, id="many-change"),
        pytest.param(20, 1, 0, MetricOutcome.UNPROVEN, id="one-of-few-may-be-chance"),
        pytest.param(20, 4, 0, MetricOutcome.UNPROVEN, id="four-of-few-may-be-chance"),
        pytest.param(20, 5, 0, MetricOutcome.LOST, id="five-of-few"),
        pytest.param(1_000, 0, 40, MetricOutcome.KEPT, id="better"),
    ],
)
def test_hits_are_lost_only_if_chance_does_not_explain_it(
    items: int, lost: int, won: int, outcome: MetricOutcome
) -> None:
    found = hits(items, lost=lost, won=won, wrong=items // 20)

    assert (found.outcome, found.lost, found.won, found.items) == (outcome, lost, won, items)
    assert found.at_least <= found.fraction <= found.at_most


def test_misses_are_hits_the_other_way_round() -> None:
    assert hits(1000, lost=4, won=2, wrong=50, flipped=True) == hits(1000, lost=4, won=2, wrong=50)


@pytest.mark.parametrize(("right", "lost", "won"), [(0.95, 0.01, 0.0), (0.8, 0.05, 0.03), (0.5, 0.1, 0.1)])
def test_a_bound_of_95_percent_is_wrong_in_5_percent(right: float, lost: float, won: float) -> None:
    rng = np.random.default_rng(0)
    kept = (right - lost + won) / right
    wrong = 0
    for _ in range(400):
        draw = rng.random(500)
        source, converted = draw < right, ((draw >= lost) & (draw < right)) | ((draw >= right) & (draw < right + won))
        wrong += judge(*map(np.float64, (source, converted)), **GIVEN).at_least > kept  # type: ignore[arg-type]
    assert wrong / 400 < 0.08


GIVEN = {"name": "a", "target": 0.99, "lower_is_better": False, "seed": 0}


# Numbers


def test_numbers_are_compared_by_their_means() -> None:
    rng = np.random.default_rng(0)
    source = rng.uniform(0.5, 1, 400)

    same, worse = numbers(source, source * 0.998), numbers(source, source * 0.9)

    assert (same.outcome, worse.outcome) == (MetricOutcome.KEPT, MetricOutcome.LOST)
    assert worse.fraction == pytest.approx(0.9)
    assert worse.at_most < 1
    assert (same.lost, same.won, same.p_value) == (None, None, None)


def test_lower_errors_are_better() -> None:
    rng = np.random.default_rng(0)
    source = rng.uniform(0.5, 1, 400)

    assert numbers(source, source * 1.1, lower=True).outcome is MetricOutcome.LOST
    assert numbers(source, source * 0.9, lower=True).outcome is MetricOutcome.KEPT
    assert numbers(source, source * 1.1, lower=True).fraction == pytest.approx(1 / 1.1)


def test_a_loss_that_the_items_do_not_agree_on_may_be_chance() -> None:
    rng = np.random.default_rng(0)
    source = rng.uniform(0.5, 1, 30)

    assert numbers(source, source + rng.normal(-0.02, 0.2, 30)).outcome is MetricOutcome.UNPROVEN


@pytest.mark.parametrize("items", [1, 4])
def test_no_order_of_four_items_is_rare(items: int) -> None:
    assert numbers([0.9] * items, [0.5] * items).outcome is MetricOutcome.UNPROVEN


def test_equal_numbers_of_few_items_prove_little() -> None:
    found = numbers([0.5] * 100, [0.5] * 100)

    assert found.outcome is MetricOutcome.UNPROVEN
    assert found.at_least == pytest.approx(0.05 ** (1 / 100))
    assert items_needed(found) == 300


def test_the_same_seed_gives_the_same_interval() -> None:
    rng = np.random.default_rng(0)
    source, converted = rng.uniform(0.5, 1, (2, 300))
    assert numbers(source, converted) == numbers(source, converted)


def test_many_items_take_little_memory_and_agree_with_few() -> None:
    rng = np.random.default_rng(0)
    source = rng.uniform(0.5, 1, 200_000)
    found = numbers(source, source * rng.normal(0.995, 0.01, source.size))
    assert found.outcome is MetricOutcome.KEPT
    assert 0.9945 < found.at_least < found.fraction < found.at_most < 0.9955


def test_no_error_at_all() -> None:
    assert numbers([0.0] * 400, [0.0] * 399 + [0.5], lower=True).fraction == 0
    assert numbers([0.0] * 399 + [0.5], [0.0] * 400, lower=True).outcome is MetricOutcome.KEPT


# What can't be judged


@pytest.mark.parametrize(
    ("source", "lower", "message"),
    [
        pytest.param([0, 0, 0], False, "counts no hit of the source model among 3 items", id="no-hits"),
        pytest.param([1, 1, 1], True, "counts no hit of the source model among 3 items", id="all-misses"),
        pytest.param([-0.5, -0.7, -0.1], False, "mean is -0.4333 for the source model", id="negative"),
        pytest.param([-0.5, 0.1, 0.3], True, "mean is -0.03333 for the source model", id="negative-errors"),
        pytest.param([-0.5, 0.5, 0.0], False, "mean is 0 for the source model", id="nothing"),
    ],
)
def test_a_fraction_of_nothing(source: list[float], lower: bool, message: str) -> None:
    with pytest.raises(StepError, match=message) as raised:
        numbers(source, source, lower=lower)
    assert raised.value.hint


def test_the_items_must_be_the_same() -> None:
    source = {"a": (1.0, 0.0), "b": (1.0,)}

    assert [each.tolist() for each in paired(source, {"b": (0.0,)})] == [[1.0], [0.0]]
    with pytest.raises(StepError, match="differs in sample 'a': 2 for the source model, 1 for the converted one"):
        paired(source, {"a": (1.0,), "b": (1.0,)})
    with pytest.raises(StepError, match=r"values beyond 1e\+150"):
        paired(source, {"b": (1e200,)})
    with pytest.raises(StepError, match="no values"):
        paired({"a": ()}, {"a": ()})


# What it decides


@pytest.mark.parametrize(
    ("precision", "result", "given", "names"),
    [
        (Precision.INT8, hits(1000), {}, {"y", "z"}),
        (Precision.FP32, hits(1000), {}, set()),
        (Precision.INT8, hits(1000), {"": 0.1}, set()),
        (Precision.INT8, hits(1000), {"z": 0.1}, {"y"}),
        (Precision.INT8, hits(1000, lost=500), {}, set()),
        (Precision.INT8, hits(20), {}, {"y", "z"}),
        (Precision.INT8, hits(20, lost=1), {}, set()),
    ],
    ids=["reduced", "fp32", "own", "own-of-one", "lost", "few", "few-and-low"],
)
def test_a_metric_overrules_default_tolerances_unless_its_value_is_low(
    precision: Precision, result: MetricResult, given: dict[str, float], names: set[str]
) -> None:
    looking = replace(result, outputs=("y", "z"))
    assert overrules(looking, precision, Tolerances(atol=given, rtol={})) == names
    assert overrules(result, precision, Tolerances(atol=given, rtol={})) == set()


def test_a_lost_metric_is_no_pass() -> None:
    matching = Comparison(output="y", passed=True, atol=0, rtol=0, samples=1)
    assert Verdict(comparisons=(matching,), metrics=(hits(1000),)).passed
    assert not Verdict(comparisons=(matching,), metrics=(hits(1000, lost=500),)).passed


# Words


def test_the_sentence_on_a_metric_has_its_evidence() -> None:
    kept, lost, few = hits(1000, lost=2, won=1, wrong=49), hits(1000, lost=300, wrong=50), hits(100, wrong=5)

    assert metric_sentence(kept) == (
        "accuracy 94.9 % (source 95 %), 99.89 % of it (95 % sure: at least 99.45 %); 2 hits lost and 1 won of 1,000 "
        "items, McNemar p 0.5"
    )
    assert metric_sentence(lost) == (
        "accuracy 65 % (source 95 %), 68.42 % of it, less than 99 %; 300 hits lost and 0 won of 1,000 items, "
        "McNemar p 5e-91"
    )
    assert unproven(few) == (
        "too few items to say 99 %: accuracy 95 % (source 95 %), 100 % of it (95 % sure: at least 96.89 %); 0 hits "
        "lost and 0 won of 100 items"
    )
    assert remedy(few) == "give about 320 items, or set quality: 95%, which these show"
    assert unproven(hits(20, lost=1)).endswith("1 hit lost and 0 won of 20 items, McNemar p 0.5, which may be chance")
    assert remedy(hits(20, lost=1)) == "give more than 20 items"


def test_both_comparisons_and_metric_are_told() -> None:
    matching = Comparison(output="y", passed=True, atol=1, rtol=0, samples=1, max_abs_error=0.5)
    wrong = Comparison(output="y", passed=False, atol=1, rtol=0, samples=1, max_abs_error=5, mismatched=1, total=2)
    kept, lost = hits(1000), hits(1000, lost=300)

    passed = verdict_sentence(Verdict(comparisons=(matching,), metrics=(kept,)))
    assert passed == f"{metric_sentence(kept)}; all outputs within tolerance; largest error 0.5 in 'y'"
    assert verdict_sentence(Verdict(comparisons=(matching,), metrics=(lost,))) == metric_sentence(lost)
    both = verdict_sentence(Verdict(comparisons=(wrong,), metrics=(lost,)))
    assert both.startswith("output 'y': 1 of 2 elements differ")
    assert both.endswith(metric_sentence(lost))


@pytest.mark.parametrize(("text", "part"), [("99%", 0.99), ("99.9%", 0.999), ("99.95 %", 0.9995), ("1%", 0.01)])
def test_a_percentage_is_read_and_written_alike(text: str, part: float) -> None:
    assert fraction_of(text) == part
    assert percentage(part) == text.replace(" ", "").replace("%", " %")


def test_a_percentage_is_not_rounded_up_to_its_target() -> None:
    assert percentage(0.98999) == "98.99 %"


def test_an_error_may_shrink_to_nothing() -> None:
    assert "score 0 (source 0.5), > 10,000 % of it" in metric_sentence(numbers([0.5] * 300, [0.0] * 300, lower=True))
