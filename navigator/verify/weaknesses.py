"""Warnings about comparisons that prove little even if they pass."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from navigator.errors import listed
from navigator.verify.differences import variation
from navigator.verify.outputs import ComparedOutput, range_of
from navigator.verify.slices import units

# Outputs that vary by less than this fraction of their magnitude count as constant.
_CONSTANT = 1e-6

# A tolerance of less than this fraction of an output's range is narrower than any of its slices that matter.
_WIDE = 1e-3

_REMEDY = "set samples or value_ranges that make it vary"


def unknown_names(names: Sequence[str], atol: Mapping[str, float], rtol: Mapping[str, float]) -> Iterator[str]:
    """Yield a warning for tolerances of outputs that the model does not have."""
    for key, entries in (("atol", atol), ("rtol", rtol)):
        unknown = [repr(name) for name in entries if name and name not in names]
        if unknown and names:
            yield f"{key}: the model has no output {', '.join(unknown)}; the model's outputs are {listed(names)}"


def weak_proof(output: ComparedOutput) -> Iterator[str]:
    """Yield warnings if the output has exceptions, infinities or a wide tolerance, is constant or hardly varies."""
    totals = output.totals
    if output.passed and totals.mismatched:
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
    if not wide and output.unit is None and tolerance >= _WIDE * output.spread:
        yield from _narrow(output)
    constant = _CONSTANT * output.magnitude
    enough = constant if wide else max(constant, tolerance)
    varies = variation([left for _, left, _ in output.pairs], enough)
    if varies is not None and varies <= enough:
        against = f"with values up to {output.magnitude:.3g}" if varies <= constant else "less than its tolerance"
        yield f"{output.title} hardly depends on the inputs: it varies by {varies:.2g}, {against}; {_REMEDY}"


def _narrow(output: ComparedOutput) -> Iterator[str]:
    """Yield a warning for slices of a unit of their own whose whole range is within the tolerance."""
    if any(left.dtype.kind != "f" for _, left, _ in output.pairs):
        return
    for unit in units([left for _, left, _ in output.pairs]):
        if unit.spread <= output.atol:
            slices = replace(output, unit=unit)
            yield (
                f"{slices.title} varies by {unit.spread:.2g}, less than its tolerance of {output.atol:g}, so that "
                "nothing in it can fail; give it an output of its own, or leave out the tolerance of its precision"
            )
