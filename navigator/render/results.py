"""Facts about one result for all renderers: its worst output, its errors, its suggested tolerances. Pure."""

import math
from collections.abc import Iterable

import yaml

from navigator.records import (
    DEFAULT_TOLERANCE,
    Agreement,
    CellResult,
    Comparison,
    Latency,
    MetricResult,
    Precision,
    WorstElement,
    to_data,
)
from navigator.render.values import number, percent
from navigator.verify.metric_sentences import percentage, short


def worst(comparisons: Iterable[Comparison]) -> Comparison | None:
    """Return the comparison with the largest error relative to its tolerance."""
    return max(comparisons, key=lambda each: (not each.passed, share(each)), default=None)


def share(comparison: Comparison) -> float:
    """Return the error of the worst element relative to its tolerance; inf if it can't be compared."""
    if comparison.problem:
        return math.inf
    element = comparison.worst
    if element is None or isinstance(element.reference, str) or isinstance(element.value, str):
        error, allowed = comparison.max_abs_error or 0.0, comparison.atol
    else:
        error = abs(float(element.value) - float(element.reference))
        allowed = comparison.atol + comparison.rtol * abs(float(element.reference))
    if not error:
        return 0.0
    return error / allowed if allowed else math.inf


def allowed_atol(comparison: Comparison) -> str:
    """Return an output's absolute tolerance, and the rounding of the source model that it was made from."""
    made = comparison.noise is not None and comparison.atol > DEFAULT_TOLERANCE
    source = f", noise {number(comparison.noise)}" if made else ""
    return f"atol {number(comparison.atol)}{source}"


def errors(comparison: Comparison) -> str:
    """Return an output's largest absolute error with its tolerance, or why it couldn't be compared."""
    if comparison.problem:
        return comparison.problem
    # An error above atol passes because of rtol.
    relative = f", rtol {number(comparison.rtol)}" if (comparison.max_abs_error or 0.0) > comparison.atol else ""
    return f"max abs {number(comparison.max_abs_error)} ({allowed_atol(comparison)}{relative})"


def agreement(comparisons: Iterable[Comparison]) -> str:
    """Return how well the output that a reduced precision keeps worst agrees with the source model's, or ""."""
    measured = [each.agreement for each in comparisons if each.agreement is not None]
    if not measured:
        return ""
    found = min(measured, key=_quality)
    parts = [
        f"SQNR {number(found.sqnr_db)} dB" if found.sqnr_db is not None else "",
        f"cosine {found.cosine:.5f}" if found.cosine is not None else "",
        f"{percent(found.differing)} differ" if found.differing is not None else "",
    ]
    decided = [each.decisions for each in measured if each.decisions is not None]
    if decided:
        most = max(decided, key=lambda each: each.flips / each.count)
        limit = percent(most.flips_at_most)
        parts.append(f"{most.flips:,} of {most.count:,} top-1 flipped (95 % sure: at most {limit})")
    several = [each for each in decided if each.top_k_kept is not None]
    if several:
        least = min(several, key=lambda each: each.top_k_kept or 0.0)
        parts.append(f"{percent(least.top_k_kept or 0.0)} of top-{least.top_k} kept")
    return ", ".join(filter(None, parts))


def _quality(agreement: Agreement) -> tuple[float, float]:
    decibels = math.inf if agreement.sqnr_db is None else agreement.sqnr_db
    return decibels, -(agreement.differing or 0.0)


def metric(metrics: Iterable[MetricResult]) -> str:
    """Return the converted model's value of the user's metric that keeps least, with what it keeps, or ""."""
    least = min(metrics, key=lambda each: each.fraction, default=None)
    return f"{short(least)} ({percentage(least.fraction)} of source)" if least is not None else ""


def place(element: WorstElement) -> str:
    """Return the position of an element."""
    return f"[{', '.join(str(each) for each in element.index)}] of sample {element.sample}"


def value(element: float | str) -> str:
    """Return an element with enough digits to distinguish it from neighboring values."""
    return f"{element:.9g}" if isinstance(element, float) else str(element)


def portion(comparison: Comparison) -> str:
    """Return the number of elements out of tolerance."""
    if not comparison.total:
        return "none compared"
    return f"{comparison.mismatched:,} of {comparison.total:,} ({percent(comparison.mismatched / comparison.total)})"


def suggestion_yaml(results: Iterable[CellResult]) -> str:
    """Return the tolerances with which all conversions pass, as keys of navigator.yaml; "" if none are suggested.

    The file has separate ones for fp16 and int8. Of several for an output the largest lets all pass.
    """
    merged: dict[str, dict[str, float]] = {}
    for result in results:
        if result.suggested_tolerances is None:
            continue
        engine = result.conversion_config.tensorrt_config if result.conversion_config is not None else None
        prefix = f"{engine.precision}_" if engine is not None and engine.precision is not Precision.FP32 else ""
        for key, entries in to_data(result.suggested_tolerances).items():
            into = merged.setdefault(f"{prefix}{key}", {})
            into.update({name: max(value, into.get(name, value)) for name, value in entries.items()})
    if not merged:
        return ""
    return yaml.dump(merged, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100_000).rstrip()


def latency(result: CellResult) -> Latency | None:
    """Return the latency of the opt sample on a GPU, or else of the largest one."""
    found = {each.sample: each for each in result.latencies}
    return next((found[name] for name in ("opt", "max", *found) if name in found), None)


def opset(result: CellResult) -> str:
    """Return the opset of a converted model, read from its file, or ""."""
    found = result.output_model.properties.onnx_opset if result.output_model is not None else None
    return str(found) if found is not None else ""


def source_bytes(result: CellResult) -> int | None:
    """Return the size of the source model if the report has it."""
    source = result.source_model_config
    return source.size_bytes if source is not None and source.size_bytes > 0 else None


class _Dumper(yaml.CSafeDumper):
    """Keeps each output on one line. The C version, since the other writes the empty key as "? ''"."""


def _name(dumper: yaml.CSafeDumper, text: str) -> yaml.ScalarNode:
    style = None if text.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text.encode("utf-8", "replace").decode(), style=style)


_Dumper.add_representer(str, _name)
