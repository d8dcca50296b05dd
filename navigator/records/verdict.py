"""What verification found: samples, comparisons, latencies, and the verdict on one converted model."""

from collections.abc import Mapping
from dataclasses import dataclass

from navigator.records.model import Device


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleInfo:
    """One set of inputs a model was verified with; `reduced_from`: the shapes asked for, if they did not fit.

    `refused` is why the source model could not be run on it, where it was left out for that: only random shapes are.
    """

    name: str
    shapes: Mapping[str, tuple[int, ...]]
    reduced_from: Mapping[str, tuple[int, ...]] | None = None
    refused: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorstElement:
    """The element furthest out of tolerance. Non-finite values are strings: "nan", "inf", "-inf"."""

    sample: str
    index: tuple[int, ...]
    reference: float | int | bool | str
    value: float | int | bool | str


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One output on one device, over all samples, against the source model's.

    An element matches if `|value - reference| <= atol + rtol * |reference|` (numpy.isclose). Errors are None
    where nothing could be compared; `problem` then says why (missing, misshapen, wrongly typed, empty, non-finite).
    `reference_min` and `reference_max` are over the finite reference values.
    """

    output: str
    passed: bool
    atol: float
    rtol: float
    samples: int
    total: int = 0
    mismatched: int = 0
    max_abs_error: float | None = None
    max_rel_error: float | None = None
    mean_abs_error: float | None = None
    worst: WorstElement | None = None
    reference_min: float | None = None
    reference_max: float | None = None
    problem: str = ""
    device: Device = Device.CPU


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """How long one sample takes: the median of `runs` after a warm-up, inputs and outputs in host memory."""

    device: Device
    sample: str
    median_seconds: float
    runs: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Tolerances:
    """Absolute and relative tolerance for each output, ready to paste under `atol:` and `rtol:`."""

    atol: Mapping[str, float]
    rtol: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What verification found for one artifact.

    `suggested` are the tightest tolerances that would pass, after a mismatch that tolerances can explain.
    `warnings` say where the verification proves little.
    """

    comparisons: tuple[Comparison, ...]
    suggested: Tolerances | None = None
    warnings: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return bool(self.comparisons) and all(comparison.passed for comparison in self.comparisons)
