"""convert_results.yaml: what ran, where, and the result of every planned conversion.

Field names are its keys.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import msgspec

from navigator.records.codec import Count, Duration, Json, from_data, to_data
from navigator.records.machine import Host
from navigator.records.model import (
    Auto,
    Device,
    FailOn,
    Format,
    FoundShapes,
    Precision,
    PrecisionMode,
    Signature,
)
from navigator.records.origin import Origin, Selection
from navigator.records.plan import State
from navigator.records.verdict import (
    Comparison,
    Latency,
    MetricOutcome,
    MetricResult,
    SampleInfo,
    Searched,
    Tolerances,
    Weights,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceModel:
    """The source model. Paths are absolute; `line` is where it starts in navigator.yaml, None without one."""

    model_name: str
    model_path: Path
    model_format: Format
    model_version: str
    size_bytes: Count
    config_path: Path | None = None
    line: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorRTConfig:
    """The configured engine options.

    `optimization_level` is None for TensorRT's default. `tf32` is whether float32 layers may use TF32, None if nothing
    is built; `container_image` is the image that the engine is built in, None for this environment.
    """

    precision: Precision
    precision_mode: PrecisionMode | None
    explicit_precision: bool
    sparse_weights: bool
    max_workspace_size: Count
    optimization_level: int | None = None
    tf32: bool | None = None
    container_image: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ConversionConfig:
    """The configuration: one point of the matrix of formats, opsets, modes and precisions."""

    target_format: Format
    onnx_opset: int | None = None
    tensorrt_config: TensorRTConfig | None = None


class Properties(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Facts about a converted model from its converter and its runner. What does not apply is left out as data.

    `onnx_opset` and `signature_name` are read back from the file. The counts of nodes are of ONNX files in a reduced
    precision, outside subgraphs; `kept_in_fp32` counts by reason those that did not become fp16. `trt_engines` is how
    many engines a TF-TRT or Torch-TensorRT model calls. `compute_capabilities` are those that an engine is for, and
    `gpu` is the one it was built on. `layer_information` is TensorRT's own, in verbose runs. `torch_device` is the GPU
    that PyTorch named.
    """

    exporter: str = ""
    onnx_opset: int | None = None
    signature_name: str = ""
    unused_inputs: tuple[str, ...] = ()
    dropped_updates: tuple[str, ...] = ()
    precision: Precision | None = None
    fp16_nodes: Count | None = None
    fp32_nodes: Count | None = None
    quantize_nodes: Count | None = None
    dequantize_nodes: Count | None = None
    kept_in_fp32: Mapping[str, Count] = {}
    calibrated: bool | None = None
    trt_engines: Count | None = None
    tensorrt_version: str = ""
    torch_tensorrt: str = ""
    tf32: bool | None = None
    gpu: str = ""
    compute_capabilities: tuple[str, ...] = ()
    network_layers: Count | None = None
    layers: Count | None = None
    layer_information: tuple[str, ...] = ()
    torch_device: str = ""
    warnings: tuple[str, ...] = ()

    def updated(self, newer: "Properties") -> "Properties":
        """Return these facts with what `newer` knows instead or beside."""
        return from_data(Properties, {**to_data(self), **to_data(newer)})


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputModel:
    """A converted model on disk. `sha256` is `navigator.cache.digests.artifact_digest`; `path` is absolute."""

    name: str
    path: Path
    format: Format
    size_bytes: Count
    sha256: str
    signature: Signature | None = None
    properties: Properties = field(default_factory=Properties)


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """A conversion's outcome in one word, one sentence, and where the log is."""

    state: State
    message: str = ""
    log_path: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Seconds:
    """Where a conversion's time went; `cached` ones cost neither."""

    convert: Duration = 0.0
    verify: Duration = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class CellResult:
    """One entry of convert_results.yaml.

    `source_model_config` and `conversion_config` are None only if their job reported no results.
    `configured_tolerances` are what the configuration says for the conversion's precision, `comparator_config` what was
    applied: also the defaults of fp16 and int8, which depend on the reference.

    A result can't be constructed as `passed` without an artifact and, for each device that it was compared on, a
    passing comparison of every output in `expected_outputs`, the outputs of the source model, in single steps. Where a
    metric overrules a comparison, it must have kept its target on that device. No weight may be wrong.

    Raises:
        ValueError: `passed` without that evidence.
    """

    model_name: str
    conversion: str
    status: Status
    source_model_config: SourceModel | None
    conversion_config: ConversionConfig | None
    comparator_config: Tolerances
    configured_tolerances: Tolerances = field(default_factory=lambda: Tolerances(atol={}, rtol={}))
    requested: bool = True
    intermediate: bool = False
    must_be_verified: bool = False
    steps: tuple[str, ...] = ()
    expected_outputs: tuple[str, ...] = ()
    samples: tuple[SampleInfo, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    metrics: tuple[MetricResult, ...] = ()
    suggested_tolerances: Tolerances | None = None
    warnings: tuple[str, ...] = ()
    output_model: OutputModel | None = None
    latencies: tuple[Latency, ...] = ()
    searched: Searched | None = None
    weights: Weights | None = None
    seconds: Seconds = field(default_factory=Seconds)
    peak_memory_bytes: Count | None = None
    cached: bool = False
    remedy: str = ""
    reproduce: str = ""

    def __post_init__(self) -> None:
        if self.status.state is not State.PASSED:
            return
        compared: dict[Device, set[str]] = {each.device: set() for each in self.comparisons}
        for each in self.comparisons:
            if each.passed and not each.steps:
                compared[each.device].add(each.output)
        if self.output_model is None:
            raise ValueError(f"{self.model_name} {self.conversion}: passed without an artifact")
        expected = set(self.expected_outputs)
        if not expected or not compared or any(outputs != expected for outputs in compared.values()):
            raise ValueError(f"{self.model_name} {self.conversion}: passed without a passing comparison per output")
        if not all(comparison.passed for comparison in self.comparisons):
            raise ValueError(f"{self.model_name} {self.conversion}: passed with a failing comparison")
        kept = {each.device for each in self.metrics if each.outcome is MetricOutcome.KEPT}
        lost = any(each.outcome is MetricOutcome.LOST for each in self.metrics)
        if lost or any(each.overruled and each.device not in kept for each in self.comparisons):
            raise ValueError(f"{self.model_name} {self.conversion}: passed with a metric that doesn't keep its target")
        if self.weights is not None and self.weights.wrong:
            raise ValueError(f"{self.model_name} {self.conversion}: passed with a wrong weight")


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """What was given of a model, so that runs can be compared.

    `sha256` is `navigator.cache.digests.model_digest`, "" if the model wasn't read. `options` are those that differ
    from their defaults, with paths relative to the configuration (`navigator.config.digest.options`). `files` are the
    digests of the files that they name, by option.
    """

    model_name: str
    sha256: str = ""
    options: Mapping[str, Json] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """The options of a run that decide what fails it."""

    fail_on: FailOn = FailOn.FAILURE
    fail_on_unverified: bool | Auto = "auto"
    accept: Mapping[str, str] = field(default_factory=dict)


class Work(StrEnum):
    """What a worker does."""

    REFERENCE = "reference"
    """It runs the source model."""
    CONVERT = "convert"
    VERIFY = "verify"


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """What a worker did: when it began after the start of the run, and how long it took.

    `worker` counts those at work at the same time, from 0. `conversion` is "source" for the source model.
    """

    worker: Count
    model_name: str
    conversion: str
    work: Work
    start: Duration
    seconds: Duration


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """convert_results.yaml: what ran, where, and every planned conversion exactly once.

    `shard` is "3/7" for the third of seven shards of a run, "" for a complete run. `origin` and `rules` are None if
    they're unknown, and a model may not be in `models`, as in files of versions that didn't write them. `timeline` is
    in the order in which work ended, and empty for merged shards, whose clocks differ.
    """

    version: int
    environment: Host
    summary: Mapping[str, Count]
    origin: Origin | None = None
    selection: Selection = field(default_factory=Selection)
    rules: Rules | None = None
    models: tuple[Given, ...] = ()
    results: tuple[CellResult, ...]
    notes: tuple[str, ...] = ()
    found: tuple[FoundShapes, ...] = ()
    seconds: Duration = 0.0
    complete: bool = False
    """False during the run, and indefinitely if it was killed."""
    shard: str = ""
    timeline: tuple[Span, ...] = ()
