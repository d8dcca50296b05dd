"""The results of verification: samples, comparisons, latencies, and the verdict on a converted model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from navigator.records.codec import Amount, Count, Duration
from navigator.records.model import Device

DEFAULT_TOLERANCE = 1e-5
"""Absolute and relative tolerance that `auto` is never below, and that outputs have whose entry is left out."""


DISTRIBUTION = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Limits of the errors that `Comparison.distribution` counts together, in tolerances."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleInfo:
    """One set of inputs for verification; `reduced_from` are the configured shapes, if they did not fit into memory.

    A sample in shapes or with values that nobody asked for may be skipped: `refused` is why the source model can't run
    it. `unusable` is what it returns that can't be compared, such as NaN, for which any generated sample may be
    skipped. `values` says for each input of a generated sample what it was filled with. `calibration` marks a sample
    that int8 scales were measured on.
    """

    name: str
    shapes: Mapping[str, tuple[Count, ...]]
    reduced_from: Mapping[str, tuple[Count, ...]] | None = None
    refused: str = ""
    calibration: bool = False
    unusable: str = ""
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class WorstElement:
    """The element furthest out of tolerance. Non-finite values are strings: "nan", "inf", "-inf"."""

    sample: str
    index: tuple[Count, ...]
    reference: float | int | bool | str
    value: float | int | bool | str


@dataclass(frozen=True, kw_only=True, slots=True)
class Slices:
    """The slices of an output's `axis` that a comparison is about, as ranges: the first and the last index of each."""

    axis: Count
    ranges: tuple[tuple[Count, Count], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class WorstSlice:
    """The slice of `axis` whose largest error is the largest part of the range of its own values, its `spread`."""

    axis: Count
    index: Count
    spread: Amount
    max_abs_error: Amount


@dataclass(frozen=True, kw_only=True, slots=True)
class Decisions:
    """What scores decide: `flips` are the decisions for another class, of `count`.

    Their rate is at most `flips_at_most`, with 95 % confidence (Clopper-Pearson). `top_k_kept` is the part of the
    source model's best `top_k` classes that are among the converted model's, None if there are no more classes.
    `divergence` is the mean Kullback-Leibler divergence from the source model, in nats, None unless the scores are
    probabilities.
    """

    count: Count
    flips: Count
    flips_at_most: Amount
    top_k: Count | None = None
    top_k_kept: Amount | None = None
    divergence: Amount | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """How much of an output a reduced precision keeps. Infinities and masks are left out; what doesn't apply is None.

    `relative_l2` is |value - reference| / |reference| in the Euclidean norm, `sqnr_db` the ratio of signal to
    quantization noise, `explained` the part of the variance of the reference that is explained (R^2), and `differing`
    the part of whole numbers that differ.
    """

    relative_l2: Amount | None = None
    cosine: float | None = None
    sqnr_db: float | None = None
    explained: float | None = None
    worst_slice: WorstSlice | None = None
    decisions: Decisions | None = None
    differing: Amount | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """A limit of the user's for how much of an output is kept: the `value` of a `measure`, and whether it's `kept`."""

    measure: str
    limit: float
    value: float
    kept: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One output on one device, over all samples, against the source model's; or its `slices` that have one unit.

    An element matches if `|value - reference| <= atol + rtol * |reference|` (numpy.isclose). Errors are None
    if nothing could be compared; `problem` is then the reason. `reference_min` and `reference_max` are those of the
    finite reference values. `noise` is how much the source model's own rounding changes the output, None unless `atol`
    was made from it. `overruled` is whether elements don't match, but the user's metric accepts the output. `steps` are
    the numbers of steps after which it was compared, with its state fed back; none for single steps. `gates` are the
    user's own limits for what a reduced precision keeps. `distribution` counts the elements by error: those without
    one, those up to each of `DISTRIBUTION` times their own tolerance, and those above.
    """

    output: str
    passed: bool
    atol: Amount
    rtol: Amount
    noise: Amount | None = None
    samples: Count
    total: Count = 0
    mismatched: Count = 0
    max_abs_error: Amount | None = None
    max_rel_error: Amount | None = None
    mean_abs_error: Amount | None = None
    worst: WorstElement | None = None
    reference_min: float | None = None
    reference_max: float | None = None
    problem: str = ""
    device: Device = Device.CPU
    slices: Slices | None = None
    agreement: Agreement | None = None
    overruled: bool = False
    steps: tuple[Count, ...] = ()
    gates: tuple[Gate, ...] = ()
    distribution: tuple[Count, ...] = ()


class MetricOutcome(StrEnum):
    """What the user's metric says of a converted model."""

    KEPT = "kept"
    """At least the target is kept, with 95 % confidence."""
    LOST = "lost"
    """Less than the target is kept, and what's lost isn't chance."""
    UNPROVEN = "unproven"
    """There are too few items to say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricResult:
    """The user's metric on one device: how much of the source model's quality a converted model keeps.

    `source` and `converted` are the means over all items. `fraction` of the source model's quality is kept; it's more
    than `at_least` and less than `at_most`, each with 95 % confidence. If the values are hits, `lost` and `won` are
    those of the converted model, and `p_value` is McNemar's. `outputs` are those that it looks at.
    """

    name: str
    outputs: tuple[str, ...] = ()
    outcome: MetricOutcome
    target: Amount
    items: Count
    source: float
    converted: float
    fraction: Amount
    at_least: Amount
    at_most: Amount
    lost: Count | None = None
    won: Count | None = None
    p_value: Amount | None = None
    device: Device = Device.CPU


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """The latency of one sample: the median of `runs` after a warm-up, with inputs and outputs in host memory."""

    device: Device
    sample: str
    median_seconds: Duration
    runs: Count


@dataclass(frozen=True, kw_only=True, slots=True)
class Searched:
    """A search for a disagreement beside the samples: how long it took, and how many `inputs` it ran.

    `largest_error` is in tolerances: more than 1 is a disagreement, of which the inputs are in the sample `sample`, ""
    if there's none.
    """

    seconds: Duration
    inputs: Count
    largest_error: Amount
    sample: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class WrongWeight:
    """A weight of a converted model that isn't the source model's: the worst one of a tensor.

    `tensor` and `index` are the source model's; `converted` is the name of the tensor in the converted model. There,
    it should be `expected`, but is `value`. `differing` of `total` weights of the tensor are wrong. `rounded` is the
    type to which all of them are rounded, "" if they aren't.
    """

    tensor: str
    index: tuple[Count, ...]
    converted: str
    expected: float | str
    value: float | str
    differing: Count
    total: Count
    rounded: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """The weights of a converted model next to the source model's.

    Of its `tensors` of floats, with `elements` numbers in all, those are `recognised` whose numbers are known from the
    source model. Nothing is known of the others, which an exporter may have computed.
    """

    tensors: Count
    recognised: Count
    elements: Count
    recognised_elements: Count
    wrong: tuple[WrongWeight, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Tolerances:
    """Absolute and relative tolerance for each output, ready to paste under `atol:` and `rtol:`."""

    atol: Mapping[str, Amount]
    rtol: Mapping[str, Amount]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The result of the verification of a converted model.

    `suggested` are the tightest tolerances that would pass, after a mismatch that tolerances can explain.
    `warnings` are about comparisons that prove little. `metrics` is the user's metric, if there is one. `searched` is
    None if nothing was searched, and `weights` if they weren't compared.
    """

    comparisons: tuple[Comparison, ...]
    suggested: Tolerances | None = None
    warnings: tuple[str, ...] = ()
    metrics: tuple[MetricResult, ...] = ()
    searched: Searched | None = None
    weights: Weights | None = None

    @property
    def passed(self) -> bool:
        """Whether all outputs match, no weight is wrong and no metric has lost too much."""
        lost = any(metric.outcome is MetricOutcome.LOST for metric in self.metrics)
        wrong = self.weights is not None and bool(self.weights.wrong)
        matched = bool(self.comparisons) and all(comparison.passed for comparison in self.comparisons)
        return matched and not lost and not wrong
