"""The nouns of the project: frozen values that every layer passes on, and their one round trip to plain data.

Nothing here computes: no file is read, no framework is imported. Field names are the keys of the YAML and
JSON files that users read and write.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from navigator.records.codec import Json
from navigator.records.machine import Host
from navigator.records.model import Device, Format, Signature
from navigator.records.plan import State


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


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputModel:
    """An artifact on disk. `sha256` is `navigator.cache.digests.artifact_digest`; `path` is absolute."""

    name: str
    path: Path
    format: Format
    size_bytes: int
    sha256: str
    signature: Signature | None = None
    properties: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """A cell's outcome in one word, one sentence, and where the log is."""

    state: State
    message: str = ""
    log_path: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Seconds:
    """Where a cell's time went; `cached` cells cost neither."""

    convert: float = 0.0
    verify: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class CellResult:
    """One entry of convert_results.yaml.

    A result cannot be constructed as `passed` without an artifact and, on each device that it was compared on, a
    passing comparison for every output in `expected_outputs`, the source model's outputs.

    Raises:
        ValueError: `passed` without that evidence.
    """

    model_name: str
    conversion: str
    status: Status
    source_model_config: Mapping[str, Json]
    conversion_config: Mapping[str, Json]
    comparator_config: Tolerances
    requested: bool = True
    intermediate: bool = False
    must_be_verified: bool = False
    steps: tuple[str, ...] = ()
    expected_outputs: tuple[str, ...] = ()
    samples: tuple[SampleInfo, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    suggested_tolerances: Tolerances | None = None
    warnings: tuple[str, ...] = ()
    output_model: OutputModel | None = None
    latencies: tuple[Latency, ...] = ()
    seconds: Seconds = field(default_factory=Seconds)
    peak_memory_bytes: int | None = None
    cached: bool = False
    remedy: str = ""
    reproduce: str = ""

    def __post_init__(self) -> None:
        if self.status.state is not State.PASSED:
            return
        compared: dict[Device, set[str]] = {each.device: set() for each in self.comparisons}
        for each in self.comparisons:
            if each.passed:
                compared[each.device].add(each.output)
        if self.output_model is None:
            raise ValueError(f"{self.model_name} {self.conversion}: passed without an artifact")
        expected = set(self.expected_outputs)
        if not expected or not compared or any(outputs != expected for outputs in compared.values()):
            raise ValueError(f"{self.model_name} {self.conversion}: passed without a passing comparison per output")
        if not all(comparison.passed for comparison in self.comparisons):
            raise ValueError(f"{self.model_name} {self.conversion}: passed with a failing comparison")


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """convert_results.yaml: what ran, where, and every planned cell exactly once.

    `shard` is "3/7" where this is the third of the seven parts of a run, "" where it is all of it.
    """

    version: int
    environment: Host
    summary: Mapping[str, int]
    results: tuple[CellResult, ...]
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    complete: bool = False
    """False while the run goes on, and for ever if it was killed."""
    shard: str = ""
