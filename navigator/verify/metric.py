"""The verdict on the user's own metric: how much of the source model's quality a converted model keeps. Pure.

Both models are judged on the same items, so that the tests are paired: an item is compared with itself.
"""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal

import numpy as np

from navigator.errors import StepError
from navigator.records import MetricOutcome, MetricResult, Precision, Tolerances
from navigator.verify.binomial import at_least, upper_bound
from navigator.verify.differences import bounded

Values = Mapping[str, Sequence[float]]

_CONFIDENCE = 0.95
_Z = 1.6448536269514722  # of the normal distribution, one-sided
_STEPS = 60  # halvings, which leave less than the rounding of a float

# Percentiles of the bootstrap need a thousand resamples or more (B. Efron, R. J. Tibshirani, An introduction to the
# bootstrap, 1993, chapter 13). More items are added up in groups.
_RESAMPLES = 2000
_MOST_GROUPS = 10_000
_AT_ONCE = 50

# With fewer pairs no order of better and worse is rarer than 5 %: 1/16 of all are worse four times.
_LEAST_PAIRS = 5

_ROUNDING = 1e-9
_LARGEST = 1e150


def fraction_of(quality: str) -> float:
    """Return the fraction that a percentage such as "99.9%" means."""
    return float(Decimal(quality.removesuffix("%").strip()) / 100)


def least_items(target: float) -> int:
    """Return how many items it takes at least to say that `target` of a quality is kept.

    Fewer may have missed inputs that lose all quality and are 1 - `target` of all inputs: `target` to the power of the
    number of items is more than 5 %. It's Clopper and Pearson's bound without a single loss.
    """
    return math.ceil(math.log(1 - _CONFIDENCE) / math.log(target) - _ROUNDING)


def paired(source: Values, converted: Values) -> tuple[np.ndarray, np.ndarray]:
    """Return the items of both models, in float64, for the samples of `converted`.

    Raises:
        StepError: a sample has another number of items than before, there are none at all, or they're too large.
    """
    for name, values in converted.items():
        expected = source.get(name, ())
        if len(values) != len(expected):
            raise StepError(
                f"the metric's number of values differs in sample {name!r}: {len(expected):,} for the source model, "
                f"{len(values):,} for the converted one",
                "return one value for each item of the sample, such as each row of its labels, with any outputs",
            )
    one, other = ([value for name in converted for value in of[name]] for of in (source, converted))
    if not one:
        raise StepError("the metric returns no values", "return one value for each item of a sample")
    if max(map(abs, (*one, *other))) > _LARGEST:
        raise StepError(f"the metric returns values beyond {_LARGEST:g}", "return numbers that can be added up")
    return np.array(one, dtype=np.float64), np.array(other, dtype=np.float64)


def refuse_useless(source: np.ndarray, *, lower_is_better: bool) -> None:
    """Refuse values of the source model of which a fraction says nothing.

    Raises:
        StepError: it has no hits, or its mean isn't positive (with `lower_is_better`: is negative).
    """
    if _are_hits(source) and not lower_is_better:
        if not source.any():
            raise StepError(
                f"the metric counts no hit of the source model among {source.size:,} items",
                "check the labels and the metric: a model without hits has none to lose",
            )
        return
    mean = float(source.mean())
    if mean < 0 or (mean == 0 and not lower_is_better):
        raise StepError(
            f"the metric's mean is {mean:.4g} for the source model, and a fraction of that says nothing",
            "return numbers of at least 0, or positive errors with metric_lower_is_better: true",
        )


def judge(
    source: np.ndarray, converted: np.ndarray, *, name: str, target: float, lower_is_better: bool, seed: int
) -> MetricResult:
    """Return how much of the source model's quality a converted model keeps.

    If all values are 0 or 1, they're hits (with `lower_is_better`: misses), and the quality is their rate. The fraction
    that's kept is that of MLPerf Inference's quality targets: the converted model's value divided by the source
    model's, or the reverse if lower is better. https://github.com/mlcommons/inference_policies

    Args:
        source: one value an item, of the source model.
        converted: the same items of the converted model.
        name: what the metric is called.
        target: the fraction that must be kept, below 1.
        lower_is_better: whether the values are errors.
        seed: seed of the bootstrap.

    Raises:
        StepError: see `refuse_useless`.
    """
    if _are_hits(source) and _are_hits(converted):
        if lower_is_better:
            source, converted = 1 - source, 1 - converted
        refuse_useless(source, lower_is_better=False)
        return _judge_hits(source > 0, converted > 0, name=name, target=target)
    refuse_useless(source, lower_is_better=lower_is_better)
    ordered = (source, converted) if lower_is_better else (converted, source)
    fraction = float(_ratio(*(np.array([values.sum()]) for values in ordered))[0])
    low, high = _bootstrap(*ordered, seed)
    low = min(low, _unseen(source.size))
    significant = high < 1 and source.size >= _LEAST_PAIRS
    return MetricResult(
        name=name,
        outcome=_outcome(fraction, low, target, significant=significant),
        target=target,
        items=source.size,
        source=float(source.mean()),
        converted=float(converted.mean()),
        fraction=fraction,
        at_least=max(0.0, low),
        at_most=high,
    )


def _judge_hits(source: np.ndarray, converted: np.ndarray, *, name: str, target: float) -> MetricResult:
    items, hits = source.size, int(source.sum())
    lost, won = int((source & ~converted).sum()), int((converted & ~source).sum())
    fraction = (hits - lost + won) / hits
    # Tango's bound is too narrow where few are lost and none is won: never less than the exact one on the net losses.
    loss = max(_net_loss(lost, won, items), upper_bound(max(0, lost - won), items, _CONFIDENCE))
    low, high = 1 - loss * items / hits, 1 + _net_loss(won, lost, items) * items / hits
    p_value = mcnemar(lost, won)
    return MetricResult(
        name=name,
        outcome=_outcome(fraction, low, target, significant=p_value < 1 - _CONFIDENCE),
        target=target,
        items=items,
        source=hits / items,
        converted=(hits - lost + won) / items,
        fraction=fraction,
        at_least=max(0.0, low),
        at_most=high,
        lost=lost,
        won=won,
        p_value=p_value,
    )


def mcnemar(lost: int, won: int) -> float:
    """Return how probable it is to lose `lost` or more of all changed hits if each is as likely to be lost as won.

    The exact, one-sided form of Q. McNemar, Note on the sampling error of the difference between correlated proportions
    or percentages, Psychometrika 12 (1947), 153-157.
    """
    return min(1.0, at_least(lost, lost + won, 0.5))


def _unseen(items: int) -> float:
    """Return the fraction that's kept if inputs of which none is among the items lose all quality."""
    return 1 - upper_bound(0, items, _CONFIDENCE)


def _outcome(fraction: float, low: float, target: float, *, significant: bool) -> MetricOutcome:
    if low >= target - _ROUNDING:
        return MetricOutcome.KEPT
    return MetricOutcome.LOST if fraction < target and significant else MetricOutcome.UNPROVEN


def _net_loss(lost: int, won: int, items: int) -> float:
    """Return the upper bound, with 95 % confidence, of the rate of lost hits minus that of won ones.

    T. Tango, Equivalence test and confidence interval for the difference in proportions for the paired-sample design,
    Statistics in Medicine 17 (1998), 891-908.
    """
    low, high = max(-1.0, (lost - won) / items), 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if _tango(lost, won, items, middle) > -_Z else (low, middle)
    return high


def _tango(lost: int, won: int, items: int, difference: float) -> float:
    """Return the score of a difference of rates; `rate` is the likeliest one of won hits if it's that."""
    a = 2 * items
    b = -lost - won + (2 * items - lost + won) * difference
    c = -won * difference * (1 - difference)
    rate = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
    variance = items * (2 * rate + difference * (1 - difference))
    return (lost - won - items * difference) / math.sqrt(variance) if variance > 0 else 0.0


def _ratio(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    """Return over / under, where nothing of nothing is all of it."""
    with np.errstate(all="ignore"):
        found = np.where(under > 0, over / under, np.where(over > 0, np.inf, np.where(over < 0, 0.0, 1.0)))
    return np.clip(found, 0.0, bounded(math.inf))


def _bootstrap(over: np.ndarray, under: np.ndarray, seed: int) -> tuple[float, float]:
    """Return the 5th and the 95th percentile of sum(over) / sum(under) if pairs are drawn again, with replacement.

    B. Efron, Nonparametric standard errors and confidence intervals, Canadian Journal of Statistics 9 (1981), 139-158.
    """
    groups = min(over.size, _MOST_GROUPS)
    starts = np.arange(groups) * over.size // groups
    pairs = np.stack([np.add.reduceat(over, starts), np.add.reduceat(under, starts)])
    rng = np.random.default_rng(seed)
    drawn = []
    for start in range(0, _RESAMPLES, _AT_ONCE):
        chosen = rng.integers(0, groups, (min(_AT_ONCE, _RESAMPLES - start), groups))
        drawn.append(_ratio(*(each[chosen].sum(axis=1) for each in pairs)))
    low, high = np.quantile(np.concatenate(drawn), (1 - _CONFIDENCE, _CONFIDENCE))
    return float(low), float(high)


def _are_hits(values: np.ndarray) -> bool:
    return bool(np.isin(values, (0, 1)).all())


def items_needed(result: MetricResult) -> int | None:
    """Return about how many items it takes to show what is missing, if all are like these; None if none would.

    The distance from the fraction to its bound shrinks with the square root of their number. Two digits, rounded up.
    """
    missing = result.fraction - result.target
    if missing <= _ROUNDING:
        return None
    factor = (result.fraction - result.at_least) / missing
    # A bound on what wasn't seen at all shrinks with their number itself.
    unseen = result.at_least >= _unseen(result.items) - _ROUNDING if result.lost is None else not result.lost
    factor = factor if unseen else factor**2
    needed = max(factor * result.items, float(least_items(result.target)), result.items + 1.0)
    unit = 10 ** max(0, math.floor(math.log10(needed)) - 1)
    return int(math.ceil(needed / unit - _ROUNDING) * unit)


def overrules(result: MetricResult, precision: Precision, given: Tolerances) -> frozenset[str]:
    """Return the outputs whose default tolerances a metric overrules: in a reduced precision, unless its value is low.

    They're those that it looks at: it knows nothing of the others.

    Args:
        result: the metric's.
        precision: of the converted model. In fp32, tolerances hold beside the metric.
        given: the user's own tolerances of that precision, which always hold.
    """
    low = result.outcome is not MetricOutcome.KEPT and result.fraction < result.target
    if precision is Precision.FP32 or low:
        return frozenset()
    own = {*given.atol, *given.rtol}
    return frozenset() if "" in own else frozenset(result.outputs) - own
