"""One output of a model, compared over all samples, and the tolerances that apply to it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from navigator.errors import ConfigurationError
from navigator.records import DEFAULT_TOLERANCE, Format, ModelConfig, Slices, TensorSpec
from navigator.verify.differences import Tally
from navigator.verify.sentences import part
from navigator.verify.slices import Unit

Outputs = Sequence[tuple[str, Mapping[str, np.ndarray]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedOutput:
    """One output: its pairs of comparable arrays, their differences, and its tolerances.

    With a `unit`, the pairs are those slices only. If it's `empty`, it never has an element. `few_scores`,
    `only_rounding` and `overruled`, which the user's metric decides, accept the values that don't match.
    """

    name: str
    atol: float
    rtol: float
    pairs: tuple[tuple[str, np.ndarray, np.ndarray], ...]
    totals: Tally
    problem: str
    unit: Unit | None = None
    few_scores: bool = False
    only_rounding: bool = False
    overruled: bool = False
    empty: bool = False

    @property
    def passed(self) -> bool:
        """Whether its values match, except accepted ones."""
        accepted = self.few_scores or self.only_rounding or self.overruled
        judged = self.empty or self.totals.compared > 0
        return not self.problem and judged and (accepted or not self.totals.mismatched)

    @property
    def title(self) -> str:
        """The name for users, with the slices."""
        return f"{self.name!r}{part(self.slices)}"

    @property
    def arrays(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The pairs without the names of their samples."""
        return [(left, right) for _, left, right in self.pairs]

    @property
    def slices(self) -> Slices | None:
        """The slices as ranges, None for all."""
        if self.unit is None:
            return None
        ranges: list[tuple[int, int]] = []
        for index in self.unit.indexes:
            if ranges and ranges[-1][1] == index - 1:
                ranges[-1] = (ranges[-1][0], index)
            else:
                ranges.append((index, index))
        return Slices(axis=self.unit.axis, ranges=tuple(ranges))

    def part(self, array: np.ndarray) -> np.ndarray:
        """Return its slices of an array of the whole output."""
        return array if self.unit is None else np.take(array, self.unit.indexes, self.unit.axis)

    def position(self, index: tuple[int, ...]) -> tuple[int, ...]:
        """Return the position in the output of an element of the pairs."""
        if self.unit is None:
            return index
        axis = self.unit.axis
        return (*index[:axis], self.unit.indexes[index[axis]], *index[axis + 1 :])

    @property
    def magnitude(self) -> float:
        return max(abs(self.totals.low), abs(self.totals.high))

    @property
    def spread(self) -> float:
        return self.totals.high - self.totals.low


def always_empty(model: ModelConfig, outputs: Sequence[TensorSpec]) -> frozenset[str]:
    """Return the outputs that the file or the user gives an axis of size 0; none if no other is left to compare.

    Args:
        model: the configuration: a TorchScript file doesn't say it.
        outputs: those of the source model after it has run.
    """
    stated = model.outputs if model.model_format is Format.TORCHSCRIPT else outputs
    found = frozenset(spec.name for spec in stated if 0 in (spec.shape or ()))
    return found if any(spec.name not in found for spec in outputs) else frozenset()


def check_tolerances(atol: Mapping[str, float], rtol: Mapping[str, float]) -> None:
    """Raise `ConfigurationError` if a tolerance is negative or not finite."""
    for key, entries in (("atol", atol), ("rtol", rtol)):
        for name, value in entries.items():
            if not (math.isfinite(value) and value >= 0):
                where = repr(name) if name else "all outputs"
                raise ConfigurationError(f"{key} of {where}: expected a finite number of at least 0, got {value}")


def tolerance_of(entries: Mapping[str, float], name: str) -> float:
    """Return the entry of an output, or else the one for all outputs (""), or else the default."""
    return entries.get(name, entries.get("", DEFAULT_TOLERANCE))


def range_of(output: ComparedOutput) -> str:
    """Return the range of all values of an output for users."""
    return f"[{output.totals.low:.6g}, {output.totals.high:.6g}]"
