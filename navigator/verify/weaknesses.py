"""Warnings about comparisons that prove little even if they pass."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from navigator.errors import listed
from navigator.ranges import slice_bounds
from navigator.verify.decisions import Scores
from navigator.verify.differences import variation
from navigator.verify.outputs import ComparedOutput, Outputs, range_of
from navigator.verify.slices import Unit, slice_axes

# Outputs that vary by less than this fraction of their magnitude count as constant.
_CONSTANT = 1e-6

_REMEDY = "set samples or value_ranges that make it vary"


def unknown_names(names: Sequence[str], atol: Mapping[str, float], rtol: Mapping[str, float]) -> Iterator[str]:
    """Yield a warning for tolerances of outputs that the model does not have."""
    for key, entries in (("atol", atol), ("rtol", rtol)):
        unknown = [repr(name) for name in entries if name and name not in names]
        if unknown and names:
            yield f"{key}: the model has no output {', '.join(unknown)}; the model's outputs are {listed(names)}"


def unusable_scores(reference: Outputs, scores: Scores) -> Iterator[str]:
    """Yield a warning for each output that the user declares to be scores, and that isn't there or has no classes."""
    names = list(dict.fromkeys(name for _, arrays in reference for name in arrays))
    for name, axis in scores.axes.items():
        arrays = [outputs[name] for _, outputs in reference if name in outputs]
        if not arrays:
            yield f"scores: the model has no output {name!r}; the model's outputs are {listed(names)}"
        elif scores.axis(name, [(array, array) for array in arrays]) is None:
            shape = list(arrays[0].shape)
            yield f"scores: {name!r} of shape {shape} and dtype {arrays[0].dtype} has no classes on axis {axis}"


def weak_proof(output: ComparedOutput) -> Iterator[str]:
    """Yield warnings if the output has exceptions, infinities or a wide tolerance, is constant or hardly varies."""
    totals = output.totals
    if output.only_rounding:
        yield (
            f"{output.title}: {totals.mismatched:,} of {totals.total:,} values exceed their tolerance, with errors of "
            f"up to {totals.max_abs_error:.2g}; they're accepted, since the rounding of fp16 alone changes as much "
            "there; set samples of your data, or a metric, if you haven't, to see whether it matters"
        )
    elif output.passed and totals.mismatched:
        yield (
            f"{output.title}: {totals.mismatched:,} of {totals.total:,} scores exceed their tolerance, with errors of "
            f"up to {totals.max_abs_error:.2g}; they're accepted, since they're few and the others are exact"
        )
    if totals.infinite:
        yield (
            f"{output.title}: {totals.infinite:,} of {totals.total:,} values are infinite, and the same in both "
            "models; if you don't expect infinities, set samples or value_ranges that the model is made for"
        )
    if totals.infinite == totals.total:
        return
    tolerance = output.atol + output.rtol * output.magnitude
    if output.totals.total > 1 and output.spread == 0:
        yield f"{output.title} is {output.totals.low:g} everywhere, so that a match proves little; {_REMEDY}"
        return
    wide = output.totals.total > 1 and tolerance >= output.spread
    if wide:
        yield (
            f"{output.title}: the tolerance (atol {output.atol:g}, rtol {output.rtol:g}) is wider than its "
            f"range {range_of(output)}, so that any model with outputs in that range passes"
        )
    if not wide:
        yield from _narrow(output)
    constant = _CONSTANT * output.magnitude
    enough = constant if wide else max(constant, tolerance)
    varies = variation([left for _, left, _ in output.pairs], enough)
    if varies == 0:
        yield f"{output.title} is the same for all inputs, so that a match proves little; {_REMEDY}"
    elif varies is not None and varies <= enough:
        against = f"with values up to {output.magnitude:.3g}" if varies <= constant else "less than its tolerance"
        yield f"{output.title} hardly depends on the inputs: it varies by {varies:.2g}, {against}; {_REMEDY}"


def _narrow(output: ComparedOutput) -> Iterator[str]:
    """Yield a warning for slices whose whole range is within their tolerance.

    Not for constant ones, such as features that are never active, and not for scores, since rare classes have the same
    unit as frequent ones. If all are narrow, the output hardly depends on the inputs.
    """
    arrays = [left for _, left, _ in output.pairs]
    if any(array.dtype.kind != "f" for array in arrays) or 0 <= output.totals.low <= output.totals.high <= 1:
        return
    for axis in [output.unit.axis] if output.unit else slice_axes(arrays):
        low, high = slice_bounds(arrays, axis)
        with np.errstate(over="ignore", invalid="ignore"):
            spreads = high - low
            tolerance = output.atol + output.rtol * np.maximum(np.abs(low), np.abs(high))
            narrow = np.flatnonzero((spreads > 0) & (spreads <= tolerance))
        if 0 < narrow.size < spreads.size:
            known = output.unit.indexes if output.unit else range(spreads.size)
            unit = Unit(axis=axis, indexes=tuple(known[index] for index in narrow), spread=float(spreads[narrow].max()))
            title, widest = replace(output, unit=unit).title, f"{tolerance[narrow].max():.2g}"
            if narrow.size == 1:
                yield (
                    f"{title} varies by {unit.spread:.2g}, less than its tolerance of {widest}, so that any value "
                    "in that range passes; give it an output of its own or a narrower tolerance"
                )
            else:
                yield (
                    f"{title} vary by at most {unit.spread:.2g} each, less than their tolerance of {widest}, so that "
                    "any value in that range passes; give them an output of their own or a narrower tolerance"
                )
            return
