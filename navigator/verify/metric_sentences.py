"""What the user's metric says of a converted model, in sentences. Pure."""

import math

from navigator.records import Device, MetricOutcome, MetricResult, Verdict
from navigator.verify.metric import fraction_of, items_needed
from navigator.verify.sentences import sentence, wrong_weights

# An error may shrink to nothing.
_MOST = 100

# What to suggest instead of a percentage that isn't shown.
_QUALITIES = ("99.9%", "99%", "98%", "95%", "90%")


def verdict_sentence(verdict: Verdict) -> str:
    """Return the result of a verification in one sentence: what the metric says, and what the comparisons say."""
    compared = sentence(verdict.comparisons)
    told = [metric_sentence(each) for each in verdict.metrics]
    if not all(each.passed for each in verdict.comparisons):
        told = [compared, *told]
    elif not any(each.outcome is MetricOutcome.LOST for each in verdict.metrics):
        told = [*told, compared]
    return "; ".join([*wrong_weights(verdict.weights), *told])


def metric_sentence(result: MetricResult) -> str:
    """Return both values of a metric, and the fraction that's kept with what is known of it."""
    gpu = " on the GPU" if result.device is Device.CUDA else ""
    lost = result.outcome is MetricOutcome.LOST
    known = (
        f", less than {percentage(result.target)}" if lost else f" (95 % sure: at least {percentage(result.at_least)})"
    )
    kept = f"{percentage(result.fraction)} of it{known}"
    return f"{short(result)}{gpu} (source {_value(result, result.source)}), {kept}; {_changed(result)}"


def short(result: MetricResult) -> str:
    """Return the name of a metric and the converted model's value."""
    return f"{result.name} {_value(result, result.converted)}"


def unproven(result: MetricResult) -> str:
    """Return why a metric's items are too few."""
    chance = ", which may be chance" if result.fraction < result.target else ""
    return f"too few items to say {percentage(result.target)}: {metric_sentence(result)}{chance}"


def remedy(result: MetricResult) -> str:
    """Return what to do if a metric's items are too few."""
    needed = items_needed(result)
    more = f"give about {needed:,} items" if needed is not None else f"give more than {result.items:,} items"
    lower = next((each for each in _QUALITIES if fraction_of(each) <= result.at_least), "")
    return f"{more}{f', or set quality: {lower}, which these show' if lower else ''}"


def percentage(part: float) -> str:
    """Return a fraction as a percentage with up to two decimals, never rounded up to one that isn't reached."""
    if part > _MOST:
        return f"> {100 * _MOST:,} %"
    return f"{math.floor(10_000 * part + 1e-6) / 100:.10g} %"


def _value(result: MetricResult, value: float) -> str:
    return f"{value:.4g}" if result.lost is None else percentage(value)


def _changed(result: MetricResult) -> str:
    if result.lost is None or result.won is None:
        return f"{result.items:,} items"
    chance = f", McNemar p {result.p_value:.1g}" if result.p_value is not None and result.lost else ""
    noun = "hit" if result.lost == 1 else "hits"
    return f"{result.lost:,} {noun} lost and {result.won:,} won of {result.items:,} items{chance}"
