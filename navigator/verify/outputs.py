"""One output of a model, compared over all samples, and the tolerances that apply to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from navigator.verify.differences import Tally

Outputs = Sequence[tuple[str, Mapping[str, np.ndarray]]]

_DEFAULT_TOLERANCE = 1e-5


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedOutput:
    """One output: its pairs of comparable arrays, their differences, and its tolerances."""

    name: str
    atol: float
    rtol: float
    pairs: tuple[tuple[str, np.ndarray, np.ndarray], ...]
    totals: Tally
    problem: str

    @property
    def magnitude(self) -> float:
        return max(abs(self.totals.low), abs(self.totals.high))

    @property
    def spread(self) -> float:
        return self.totals.high - self.totals.low


def tolerance_of(entries: Mapping[str, float], name: str) -> float:
    """Return the entry of an output, or else the one for all outputs (""), or else the default."""
    return entries.get(name, entries.get("", _DEFAULT_TOLERANCE))


def range_of(output: ComparedOutput) -> str:
    """Return the range of all values of an output for users."""
    return f"[{output.totals.low:.6g}, {output.totals.high:.6g}]"
