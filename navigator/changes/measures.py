"""What differs by more than what varies by itself: errors, sizes, memory, latencies. Pure.

Each limit has two parts, since a ratio says nothing of small amounts and an amount nothing of large ones.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from navigator.records import (
    DEFAULT_TOLERANCE,
    CellResult,
    Comparison,
    Device,
    Difference,
    Format,
    Measure,
    Precision,
)

# Of two right conversions of a model, one may well have twice the error of the other.
_ERROR_FACTOR = 2.0

# By how many times the source model's own rounding right conversions are off, see `navigator.verify.noise.FACTOR`.
_ROUNDING = 3.5

# An error that is this much of its tolerance, or less, is none that anybody looks at.
_OF_TOLERANCE = 0.1

# Last digits may differ where no rounding was measured: four steps of float32, as a part of an output's largest value.
_LAST_DIGITS = 2.0**-21

# What rounding explains if nobody measured it, likewise: for float32 what `auto` allows, for a reduced precision half a
# step of its numbers.
_STEPS = {Precision.FP32: DEFAULT_TOLERANCE, Precision.FP16: 2.0**-11, Precision.INT8: 2.0**-8}

# Files are the same in every run, apart from names and versions in them; engines depend on which of many equally fast
# kernels was measured to be the fastest.
_SIZE_FACTOR, _ENGINE_FACTOR, _SIZE_BYTES = 1.02, 1.25, 2**16

_ENGINES = (Format.TRT, Format.TRT_RTX, Format.TF_TRT, Format.TORCH_TRT)

_MEMORY_FACTOR, _MEMORY_BYTES = 1.5, 2**28

# Medians of many runs on a GPU that runs nothing else.
_LATENCY_FACTOR, _LATENCY_SECONDS = 1.2, 1e-4


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparability:
    """What of two runs can be compared: `memory` on alike machines, `latency` on the same GPUs.

    `inputs` is whether both ran on the same ones: errors, memory and latency depend on their shapes. `source_growth` is
    by which factor the source model has grown: a conversion grows with it.
    """

    memory: bool = True
    latency: bool = True
    inputs: bool = True
    source_growth: float = 1.0


def differences(before: CellResult, after: CellResult, comparable: Comparability) -> tuple[Difference, ...]:
    """Return what differs between two conversions that passed."""
    found: list[Difference] = []
    if comparable.inputs:
        found += _errors(before, after)
    found += _sizes(before, after, comparable.source_growth)
    if comparable.inputs and comparable.memory:
        found += _memory(before, after)
    if comparable.inputs and comparable.latency:
        found += _latencies(before, after)
    return tuple(found)


def same_inputs(before: CellResult, after: CellResult) -> bool:
    """Return whether both were verified on inputs of the same shapes. How large they are may depend on the machine."""
    return _shapes(before) == _shapes(after)


def _shapes(result: CellResult) -> dict[str, Mapping[str, tuple[int, ...]]]:
    return {each.name: each.shapes for each in result.samples if not each.refused and not each.unusable}


def _errors(before: CellResult, after: CellResult) -> Iterator[Difference]:
    known = {_key(each): each for each in before.comparisons}
    step = _STEPS[precision_of(after)]
    for now in after.comparisons:
        then = known.get(_key(now))
        if then is None or then.max_abs_error is None or now.max_abs_error is None:
            continue
        allowed = max(_rounding(then, step), _rounding(now, step), _OF_TOLERANCE * min(then.atol, now.atol))
        if _far(then.max_abs_error, now.max_abs_error, _ERROR_FACTOR, allowed):
            yield Difference(
                measure=Measure.ERROR,
                of=now.output,
                device=now.device,
                before=then.max_abs_error,
                after=now.max_abs_error,
                limit_before=_tolerance(then),
                limit=_tolerance(now),
            )


def _sizes(before: CellResult, after: CellResult, source_growth: float) -> Iterator[Difference]:
    then, now = before.output_model, after.output_model
    if then is None or now is None:
        return
    factor = _ENGINE_FACTOR if now.format in _ENGINES else _SIZE_FACTOR
    expected = then.size_bytes * source_growth
    # What the source model's own growth explains is none of the conversion's.
    if _far(expected, now.size_bytes, factor, _SIZE_BYTES) and _far(then.size_bytes, now.size_bytes, factor, 0):
        yield Difference(measure=Measure.SIZE, before=then.size_bytes, after=now.size_bytes)


def _memory(before: CellResult, after: CellResult) -> Iterator[Difference]:
    then, now = before.peak_memory_bytes, after.peak_memory_bytes
    if then is not None and now is not None and _far(then, now, _MEMORY_FACTOR, _MEMORY_BYTES):
        yield Difference(measure=Measure.PEAK_MEMORY, before=then, after=now)


def _latencies(before: CellResult, after: CellResult) -> Iterator[Difference]:
    known: Mapping[tuple[Device, str], float] = {
        (each.device, each.sample): each.median_seconds for each in before.latencies
    }
    for each in after.latencies:
        then = known.get((each.device, each.sample))
        if then is not None and _far(then, each.median_seconds, _LATENCY_FACTOR, _LATENCY_SECONDS):
            yield Difference(
                measure=Measure.LATENCY, of=each.sample, device=each.device, before=then, after=each.median_seconds
            )


def _far(one: float, other: float, factor: float, amount: float) -> bool:
    """Return whether two values differ both by more than a factor and by more than an amount."""
    low, high = sorted((one, other))
    return high > factor * low and high - low > amount


def _key(comparison: Comparison) -> tuple[object, ...]:
    return comparison.output, comparison.device, comparison.slices, comparison.steps


def _rounding(comparison: Comparison, step: float) -> float:
    if comparison.noise is not None:
        return max(_ROUNDING * comparison.noise, _LAST_DIGITS * _largest(comparison))
    return step * _largest(comparison)


def _tolerance(comparison: Comparison) -> float:
    return comparison.atol + comparison.rtol * _largest(comparison)


def _largest(comparison: Comparison) -> float:
    return max(abs(comparison.reference_min or 0.0), abs(comparison.reference_max or 0.0))


def precision_of(result: CellResult) -> Precision:
    """Return the precision that a converted model computes in."""
    config, model = result.conversion_config, result.output_model
    if config is not None and config.tensorrt_config is not None:
        return config.tensorrt_config.precision
    return (model.properties.precision if model is not None else None) or Precision.FP32
