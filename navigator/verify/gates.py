"""The user's own limits for how much of an output a reduced precision keeps; strict, beside the tolerances.

There are none by default: docs/explanation/precision.md shows why.
"""

from collections.abc import Callable, Mapping

from navigator.records import Agreement, Gate, ModelConfig, Precision

Measure = Callable[[Agreement], float | None]

AT_LEAST: Mapping[str, Measure] = {
    "sqnr_db": lambda found: found.sqnr_db,
    "cosine": lambda found: found.cosine,
    "explained": lambda found: found.explained,
    "top_k_kept": lambda found: found.decisions.top_k_kept if found.decisions else None,
}
"""The measures of which more is better."""

AT_MOST: Mapping[str, Measure] = {
    "relative_l2": lambda found: found.relative_l2,
    "top1_flips": lambda found: found.decisions.flips / found.decisions.count if found.decisions else None,
    "divergence": lambda found: found.decisions.divergence if found.decisions else None,
}
"""The measures of which less is better."""


def gates_of(model: ModelConfig, precision: Precision) -> Mapping[str, float]:
    """Return the limits that the user set for a precision, by the name of the measure."""
    return {Precision.FP16: model.fp16_gates, Precision.INT8: model.int8_gates}.get(precision, {})


def applied(limits: Mapping[str, float], found: Agreement | None) -> tuple[Gate, ...]:
    """Return each limit with the value of an output, without those that have none: no error, or no scores."""
    if found is None:
        return ()
    measured = {name: ({**AT_LEAST, **AT_MOST})[name](found) for name in limits}
    return tuple(
        Gate(
            measure=name,
            limit=limit,
            value=value,
            kept=value >= limit if name in AT_LEAST else value <= limit,
        )
        for name, limit in limits.items()
        if (value := measured[name]) is not None
    )
