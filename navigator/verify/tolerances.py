"""The tolerances of each precision: the user's, or defaults for fp16 and int8.

Errors of reduced precisions are proportional to the values of an output, so their defaults are too: a fixed number
would be too strict for one model and too loose for another.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import assert_never

import numpy as np

from navigator.ranges import spread
from navigator.records import DEFAULT_TOLERANCE, Auto, ModelConfig, Precision, Tolerances
from navigator.verify.noise import Noise
from navigator.verify.outputs import Outputs, tolerance_of
from navigator.verify.slices import Unit, units

# Absolute tolerance as a fraction of an output's range, and relative tolerance. The errors of the example networks are
# up to 0.9 % in fp16, and up to 6 % in int8, except for MobileNetV2, whose depthwise convolutions quantize badly.
_DEFAULTS = {Precision.FP16: (0.01, 0.01), Precision.INT8: (0.1, 0.1)}

# In decibels. Right conversions of trained models keep 34 in fp16 and 28 in int8; int8 with wrong scales keeps 19.
_SQNR_DB = {Precision.FP16: 30.0, Precision.INT8: 25.0}

# Rounding to that precision can't explain an error of more than this fraction of an output's range.
_EXPLICABLE = {Precision.FP32: 0.05, Precision.FP16: 0.05, Precision.INT8: 0.25}


def configured(model: ModelConfig, precision: Precision) -> Tolerances:
    """Return what the configuration says for `precision`: for `auto`, fp16 and int8, outputs may have no entry."""
    match precision:
        case Precision.FP32:
            return Tolerances(atol=given(model.atol), rtol=given(model.rtol))
        case Precision.FP16:
            return Tolerances(atol=model.fp16_atol, rtol=model.fp16_rtol)
        case Precision.INT8:
            return Tolerances(atol=model.int8_atol, rtol=model.int8_rtol)
        case other:
            assert_never(other)


def tolerances(
    model: ModelConfig, precision: Precision, reference: Outputs, noise: Mapping[str, Noise] | None = None
) -> Tolerances:
    """Return the tolerances of a converted model of `precision`.

    For fp32, those of the configuration, where `auto` is the source model's own rounding. For fp16 and int8, those of
    that precision; an output that has none gets the wider of `atol` and `rtol` and the default of the precision. Whole
    numbers keep `atol` and `rtol`, and must be equal where these are `auto`.

    Args:
        model: its configuration.
        precision: the precision of the converted model.
        reference: the source model's outputs, which determine the defaults.
        noise: what `navigator.verify.noise.measured` found; None if nothing was measured.
    """
    wanted = configured(model, precision)
    atol, rtol = dict(wanted.atol), dict(wanted.rtol)
    least_rtol = automatic_rtol(reference) if model.rtol == "auto" else model.rtol
    if precision is Precision.FP32:
        if model.atol == "auto":
            atol = {"": DEFAULT_TOLERANCE} | {name: each.atol for name, each in (noise or {}).items()}
        if model.rtol == "auto":
            rtol = {"": DEFAULT_TOLERANCE, **least_rtol}
        return Tolerances(atol=atol, rtol=rtol)
    part, relative = _DEFAULTS[precision]
    for name, width in _spreads(reference).items():
        if "" not in atol:
            atol.setdefault(name, max(tolerance_of(given(model.atol), name), _rounded(part * width)))
        if "" not in rtol:
            rtol.setdefault(name, max(tolerance_of(least_rtol, name), relative if width else 0.0))
    return Tolerances(atol=atol, rtol=rtol)


def units_of(model: ModelConfig, precision: Precision, reference: Outputs) -> Mapping[str, tuple[Unit, ...]]:
    """Return the slices of each output that are judged apart, each with the default tolerance of its own range.

    An output that has its own tolerance, and any output in fp32, is judged as one.
    """
    wanted = configured(model, precision)
    if precision is Precision.FP32 or "" in wanted.atol:
        return {}
    part, _ = _DEFAULTS[precision]
    found = {name: units(arrays) for name, arrays in _floats(reference).items() if name not in wanted.atol}
    least = given(model.atol)
    return {
        name: tuple(
            replace(unit, atol=max(tolerance_of(least, name), _rounded(part * unit.spread))) for unit in of_output
        )
        for name, of_output in found.items()
        if of_output
    }


def least_sqnr_db(model: ModelConfig, precision: Precision, reference: Outputs) -> Mapping[str, float]:
    """Return the ratio of signal to noise from which outputs without their own tolerance may have exceptions."""
    given = configured(model, precision)
    if precision is Precision.FP32 or "" in given.atol or "" in given.rtol:
        return {}
    names = _floats(reference)
    return {name: _SQNR_DB[precision] for name in names if name not in given.atol and name not in given.rtol}


def _floats(reference: Outputs) -> dict[str, list[np.ndarray]]:
    """Return the arrays of each output that has real numbers in every sample."""
    names = dict.fromkeys(name for _, arrays in reference for name in arrays)
    found = {name: [arrays[name] for _, arrays in reference if name in arrays] for name in names}
    return {name: arrays for name, arrays in found.items() if all(each.dtype.kind == "f" for each in arrays)}


def rounding_limit(precision: Precision) -> float:
    """Return the fraction of an output's range up to which rounding to `precision` can explain an error."""
    return _EXPLICABLE[precision]


def given(entries: Mapping[str, float] | Auto) -> Mapping[str, float]:
    """Return the tolerances that the user wrote, none for `auto`."""
    return {} if entries == "auto" else entries


def automatic_rtol(reference: Outputs) -> dict[str, float]:
    """Return the relative tolerance of outputs for which it isn't 1e-5.

    It's two steps of a dtype whose steps are larger, and 0 for whole numbers: from 100,000 on, 1e-5 of a token id or of
    an index would let others match.
    """
    dtypes = {name: array.dtype for _, arrays in reference for name, array in arrays.items()}
    steps = {name: 2 * float(np.finfo(dtype).eps) for name, dtype in dtypes.items() if dtype.kind in "fc"}
    coarse = {name: step for name, step in steps.items() if step > DEFAULT_TOLERANCE}
    return coarse | {name: 0.0 for name, dtype in dtypes.items() if dtype.kind in "iu"}


def _rounded(value: float) -> float:
    """Round to two significant digits, so that users can compare it with an error."""
    return float(f"{value:.1e}")


def _spreads(reference: Outputs) -> dict[str, float]:
    """Return the range of the finite values of each output, without masks; 0 for whole numbers and without values."""
    real = _floats(reference)
    names = dict.fromkeys(name for _, arrays in reference for name in arrays)
    return {name: spread(real[name]) if name in real else 0.0 for name in names}
