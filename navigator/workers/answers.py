"""What the tasks return, as both sides know it. A model runs where it's made: the parent reads it as a stranger's."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from navigator.records import AxisSpec, FoundShapes, Latency, Properties, SampleInfo, Signature, Weights
from navigator.records.codec import Amount, Count, Duration
from navigator.samples.constants import Special


@dataclass(frozen=True, kw_only=True, slots=True)
class Roll:
    """How the state of a model is rolled forward.

    Args:
        feeds: the input that each fed-back output feeds in the next step.
        kept: after how many steps outputs are compared, in order; the last is the number of all steps.
    """

    feeds: Mapping[str, str]
    kept: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReferenceAnswer:
    """What running the source model told.

    Args:
        signature: its inputs and outputs.
        properties: facts about it.
        samples: the samples that it was run on, or refused.
        axes: what its file says of the axes of its inputs.
        notes: for the report.
        warnings: for each of its conversions.
        unstable: the outputs that depend on earlier calls, since the model keeps a state.
        state_advice: what to do about that, as far as the model's graph shows it.
        calibration: the samples for int8 scales.
        held_out: the names of the other samples.
        roll: how its state is rolled forward, None if it has none.
        found: the signature and shapes that running it showed; None if the file or the user says it all.
        search_seconds: how long it was run on other inputs, which its conversions are to be tried on.
        special: the numbers and sizes that it compares with.
    """

    signature: Signature
    properties: Properties
    samples: tuple[SampleInfo, ...]
    axes: Mapping[str, tuple[AxisSpec, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    unstable: tuple[str, ...] = ()
    state_advice: str = ""
    calibration: tuple[SampleInfo, ...] = ()
    held_out: tuple[str, ...] = ()
    roll: Roll | None = None
    found: FoundShapes | None = None
    search_seconds: Duration = 0.0
    special: Special = field(default_factory=Special)


@dataclass(frozen=True, kw_only=True, slots=True)
class InferAnswer:
    """What running a converted model told.

    Args:
        signature: its inputs and outputs.
        properties: facts about it.
        latencies: of each sample, on a GPU. A CPU is shared with other steps, so that they'd say nothing there.
        stopped: why it can't be rolled forward as far as the source model.
        search_seconds: how long it was run on what the source model was run on beside the samples.
        special: the numbers and sizes that it compares with, none unless it was searched.
        weights: its weights next to the source model's, None if they weren't compared.
    """

    signature: Signature
    properties: Properties
    latencies: tuple[Latency, ...] = ()
    stopped: str = ""
    search_seconds: Duration = 0.0
    special: Special = field(default_factory=Special)
    weights: Weights | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundingAnswer:
    """What running a model with other rounding told: how often it was run."""

    runs: Count


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricAnswer:
    """What the user's metric returned: a value for each item of each sample, and which outputs it read for them."""

    values: Mapping[str, tuple[float, ...]]
    outputs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchAnswer:
    """What a search told.

    Args:
        seconds: how long it searched.
        inputs: how many sets of inputs both models ran.
        largest: the largest error, in tolerances.
        found: whether it wrote a disagreement.
    """

    seconds: Duration
    inputs: Count
    largest: Amount
    found: bool = False
