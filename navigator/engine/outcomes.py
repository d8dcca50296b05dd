"""The outcome of a unit of work: a failure, the reference, an artifact, or an artifact with its verdict. Frozen values.

They exist during a run; `navigator.engine.results` turns them into records for the report.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from navigator.cache.digests import Stamp
from navigator.records import (
    FoundShapes,
    Latency,
    OutputModel,
    Properties,
    SampleInfo,
    Seconds,
    ShapeProfile,
    Signature,
    State,
    Verdict,
)
from navigator.samples.constants import Special
from navigator.verify.noise import Noise
from navigator.verify.rolled import Rolled
from navigator.workers.answers import Roll


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why a unit has no result; `full_disk` if it isn't about the model at all.

    `blocking` is what blocks all conversions, if it isn't that the source model can't be run.
    """

    state: State
    message: str
    remedy: str = ""
    log_path: Path | None = None
    full_disk: bool = False
    blocking: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """The source model's signature and outputs; `samples` and `outputs` are `navigator.samples.storage` directories.

    `calibration` is another one: samples that int8 scales are measured on, described by `calibration_infos`. `held_out`
    are the names of the samples that aren't among them. `noise` is that of its outputs. `roll` is how its state is
    rolled forward, and `rolled` its rounding there.
    `metric` is what the user's metric returned for each sample, None without one.
    `written` is the state of these directories when they were written, since later workers could modify them.
    `state_advice` is what to do about a state that it keeps, if outputs are `unstable`.
    `found` is what running it told of its inputs. `warnings` concern each of its conversions.
    """

    signature: Signature
    samples: Path
    calibration: Path
    outputs: Path
    infos: tuple[SampleInfo, ...]
    written: Stamp
    shapes: ShapeProfile
    noise: Mapping[str, Noise] = field(default_factory=dict)
    unstable: tuple[str, ...] = ()
    state_advice: str = ""
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    calibration_infos: tuple[SampleInfo, ...] = ()
    held_out: tuple[str, ...] = ()
    metric: Mapping[str, tuple[float, ...]] | None = None
    roll: Roll | None = None
    rolled: Rolled | None = None
    found: FoundShapes | None = None
    search_seconds: float = 0.0
    special: Special = field(default_factory=Special)


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """The result of a conversion, its time and its memory."""

    path: Path
    properties: Properties
    seconds: float
    peak_memory_bytes: int
    cached: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Verified:
    """An artifact with its verdict on `device`, or with `failure` if it could not be run."""

    output_model: OutputModel
    expected_outputs: tuple[str, ...]
    infos: tuple[SampleInfo, ...]
    verdict: Verdict = field(default_factory=lambda: Verdict(comparisons=()))
    failure: Failure | None = None
    seconds: Seconds = field(default_factory=Seconds)
    search_seconds: float = 0.0
    special: Special = field(default_factory=Special)
    latencies: tuple[Latency, ...] = ()
    peak_memory_bytes: int = 0
    log_path: Path | None = None
    cached: bool = False

    @property
    def passed(self) -> bool:
        return self.failure is None and self.verdict.passed

    @property
    def matched(self) -> bool:
        """Whether all outputs match, if only on samples that don't prove it: enough to build on."""
        return self.verdict.passed and (self.failure is None or self.failure.state is State.UNVERIFIED)

    def after(self, earlier: "Verified") -> "Verified":
        """Return both combined: this one, and `earlier`, which passed on another device."""
        return replace(
            self,
            output_model=replace(
                self.output_model, properties=earlier.output_model.properties.updated(self.output_model.properties)
            ),
            verdict=replace(
                self.verdict,
                comparisons=(*earlier.verdict.comparisons, *self.verdict.comparisons),
                metrics=(*earlier.verdict.metrics, *self.verdict.metrics),
                searched=earlier.verdict.searched,
                weights=earlier.verdict.weights,
                warnings=tuple(dict.fromkeys((*earlier.verdict.warnings, *self.verdict.warnings))),
            ),
            latencies=(*earlier.latencies, *self.latencies),
            seconds=replace(self.seconds, verify=earlier.seconds.verify + self.seconds.verify),
            peak_memory_bytes=max(earlier.peak_memory_bytes, self.peak_memory_bytes),
        )
