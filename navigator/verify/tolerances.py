"""How far an artifact of each precision may be off: the user's tolerances, or for fp16 and int8 what is usual.

A reduced precision is off by a part of what a network puts out, so that its default is measured by that: a fixed
number would be nothing for one model and everything for another. Judges nothing.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from navigator.records import ModelConfig, Precision, Tolerances

Outputs = Sequence[tuple[str, Mapping[str, np.ndarray]]]

# Absolute tolerance as a part of the range of an output's values, and relative tolerance. The example networks are up
# to 0.9 % off in fp16; in int8 up to 6 %, but for a MobileNetV2, whose depthwise convolutions quantize badly.
_DEFAULTS = {Precision.FP16: (0.01, 0.01), Precision.INT8: (0.1, 0.1)}

# An error of more than this part of the range of all values is not explained by rounding to that precision.
_EXPLICABLE = {Precision.FP32: 0.05, Precision.FP16: 0.05, Precision.INT8: 0.25}


def tolerances(model: ModelConfig, precision: Precision, reference: Outputs) -> Tolerances:
    """Return the tolerances of an artifact of `precision`.

    For fp32 those of the configuration. For fp16 and int8 the ones given for that precision; an output that has none
    gets the wider of `atol`, `rtol` and the precision's default. Whole numbers keep `atol` and `rtol`.

    Args:
        model: its configuration.
        precision: what the artifact computes in.
        reference: the source model's outputs, from which the defaults are measured.
    """
    if precision is Precision.FP32:
        return Tolerances(atol=model.atol, rtol=model.rtol)
    given = {
        Precision.FP16: (model.fp16_atol, model.fp16_rtol),
        Precision.INT8: (model.int8_atol, model.int8_rtol),
    }[precision]
    part, relative = _DEFAULTS[precision]
    atol, rtol = dict(given[0]), dict(given[1])
    for name, spread in _spreads(reference).items():
        if "" not in atol:
            atol.setdefault(name, max(_entry(model.atol, name), _rounded(part * spread)))
        if "" not in rtol:
            rtol.setdefault(name, max(_entry(model.rtol, name), relative if spread else 0.0))
    return Tolerances(atol=atol, rtol=rtol)


def rounding_limit(precision: Precision) -> float:
    """Return the part of the range of all values up to which an error may be rounding to `precision`."""
    return _EXPLICABLE[precision]


def _entry(entries: Mapping[str, float], name: str) -> float:
    return entries.get(name, entries.get("", 1e-5))


def _rounded(value: float) -> float:
    """Return two significant digits: what a reader compares an error with."""
    return float(f"{value:.1e}")


def _spreads(reference: Outputs) -> dict[str, float]:
    """Return how far the finite values of each output are apart; 0 for whole numbers and for what has none."""
    low: dict[str, float] = {}
    high: dict[str, float] = {}
    for _, arrays in reference:
        for name, array in arrays.items():
            low.setdefault(name, np.inf)
            high.setdefault(name, -np.inf)
            if array.dtype.kind != "f" or not array.size:
                continue
            finite = array[np.isfinite(array)] if not np.isfinite(array).all() else array
            if finite.size:
                low[name] = min(low[name], float(finite.min()))
                high[name] = max(high[name], float(finite.max()))
    return {name: max(0.0, high[name] - low[name]) for name in low}
