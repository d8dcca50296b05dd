"""The nouns of the project: frozen values that every layer passes on, and their one round trip to plain data.

Nothing here computes: no file is read, no framework is imported. Field names are the keys of the YAML and
JSON files that users read and write.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

# JSON values: what options, properties and worker messages are made of.
Json = Any


class Format(StrEnum):
    """A model format: a node of the graph of formats."""

    TF_SAVEDMODEL = "tf-savedmodel"
    TORCHSCRIPT = "torchscript"
    TORCH_EXPORT = "torch-export"
    ONNX = "onnx"
    TF_TRT = "tf-trt"
    TORCH_TRT = "torch-trt"
    TRT = "trt"
    TRT_RTX = "trt-rtx"


class Precision(StrEnum):
    """The precision an engine is asked for."""

    INT8 = "int8"
    FP16 = "fp16"
    FP32 = "fp32"


class PrecisionMode(StrEnum):
    """How precisions are applied: with the lower precisions' fallbacks, each alone, or both."""

    HIERARCHY = "hierarchy"
    SINGLE = "single"
    MIXED = "mixed"


class LaunchMode(StrEnum):
    """Where the workers run."""

    LOCAL = "local"
    DOCKER = "docker"


class Device(StrEnum):
    """What an artifact is run on."""

    CPU = "cpu"
    CUDA = "cuda"


class State(StrEnum):
    """What became of a cell. Only `passed` is good."""

    PASSED = "passed"
    """Converted, and every output of every sample within tolerance of the source model."""
    MISMATCHED = "mismatched"
    """Converted and run, but an output is missing, misshapen, non-finite or out of tolerance."""
    FAILED = "failed"
    """The converter or the runner said that it cannot."""
    CRASHED = "crashed"
    """The worker died, or ended without a result."""
    TIMED_OUT = "timed_out"
    """The worker was stopped at its deadline."""
    BLOCKED = "blocked"
    """A step that this one needs did not succeed."""
    CANCELLED = "cancelled"
    """The run was interrupted before this cell was decided."""
    UNAVAILABLE = "unavailable"
    """This machine lacks a package, GPU or driver that the cell needs."""
    UNVERIFIED = "unverified"
    """Built, but nothing here can run it."""
    NOT_APPLICABLE = "not_applicable"
    """No converter leads from the source format to the target format."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorSpec:
    """One input or output of a model.

    `shape` has -1 for a dynamic axis and is None where even the rank is unknown; `dtype` is a NumPy dtype name.
    """

    name: str
    shape: tuple[int, ...] | None
    dtype: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """A model's inputs and outputs, in the model's own order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ShapeProfile:
    """The smallest, the usual and the largest shape of every input, complete and without -1."""

    min: Mapping[str, tuple[int, ...]]
    opt: Mapping[str, tuple[int, ...]]
    max: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """One model of a navigator.yaml with every default applied. Fields are the keys of the schema.

    Paths are absolute. `atol`, `rtol`, `value_ranges` and `dtypes` map a tensor's name, or "" for the default
    entry, to its value. `given` holds the keys that the user wrote, as opposed to defaults; `line` is where the
    model stands in `config_path`.
    """

    model_name: str
    model_path: Path
    model_format: Format | None = None
    model_version: str = "1"
    signature_name: str | None = None
    config_path: Path | None = None
    line: int | None = None
    output_path: Path | None = None
    output_package: Path | None = None
    container_version: str = "25.02"
    framework_docker_image: str | None = None
    triton_docker_image: str | None = None
    override_conversion_container: bool = False
    launch_mode: LaunchMode = LaunchMode.DOCKER
    gpus: tuple[str, ...] = ("all",)
    random_seed: int = 0
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    target_formats: tuple[Format, ...] = (
        Format.TF_TRT,
        Format.TF_SAVEDMODEL,
        Format.ONNX,
        Format.TRT,
        Format.TORCHSCRIPT,
        Format.TORCH_TRT,
    )
    onnx_opsets: tuple[int, ...] = (14,)
    tensorrt_precisions: tuple[Precision, ...] = (Precision.FP16, Precision.FP32)
    tensorrt_precisions_mode: PrecisionMode = PrecisionMode.HIERARCHY
    tensorrt_explicit_precision: bool = False
    tensorrt_sparse_weights: bool = False
    tensorrt_max_workspace_size: int = 4294967296
    tensorrt_plugins: tuple[Path, ...] = ()
    tensorrt_rtx_compute_capabilities: tuple[str, ...] = ()
    atol: Mapping[str, float] = field(default_factory=lambda: {"": 1e-5})
    rtol: Mapping[str, float] = field(default_factory=lambda: {"": 1e-5})
    fp16_atol: Mapping[str, float] = field(default_factory=dict)
    fp16_rtol: Mapping[str, float] = field(default_factory=dict)
    int8_atol: Mapping[str, float] = field(default_factory=dict)
    int8_rtol: Mapping[str, float] = field(default_factory=dict)
    max_batch_size: int = 128
    min_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    opt_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    max_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    value_ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    dtypes: Mapping[str, str] = field(default_factory=dict)
    samples: tuple[Path, ...] = ()
    engine_count_per_device: Mapping[str, int] = field(default_factory=dict)
    given: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """A whole run: the options that concern all models, and the models.

    `cache_path` is None when the cache is off. `memory_limit_bytes` None means what the machine has.
    """

    models: tuple[ModelConfig, ...]
    config_path: Path | None = None
    workspace_path: Path = Path("navigator_workspace")
    override_workspace: bool = False
    verbose: bool = False
    cache_path: Path | None = None
    cache_size_bytes: int = 20 * 2**30
    jobs: int = 0
    """Steps that run at the same time; 0 chooses by the machine's cores."""
    timeout_seconds: float = 3600.0
    memory_limit_bytes: int | None = None
    fail_on_unverified: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """One GPU, as its driver names it."""

    index: int
    uuid: str
    name: str
    compute_capability: str
    memory_bytes: int
    driver_version: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """What this machine has; `versions` maps an installed distribution to its version.

    `docker` is the version of the Docker daemon that answers, "" where none does or nobody asked. `notes` are
    sentences about what could not be found out, such as a GPU whose driver does not answer.
    """

    python: str
    system: str
    cpu: str
    cpu_count: int
    memory_bytes: int
    gpus: tuple[Gpu, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    docker: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One converter with one frozen set of options; it makes one artifact.

    `label` is unique within the model and also the artifact's directory. `parent` is the label of the step whose
    artifact is the input, or None for the source model. `raise_from` names the same export's steps at lower opsets:
    where one of them passed, its file's opset is raised, which is cheaper than exporting again. `precision` is what
    the artifact computes in. `devices` are what it is verified on, one after the other; `unrunnable` says why on no
    other, or on none. `image` is the framework's container image that it runs in, None for this interpreter.
    """

    label: str
    converter: str
    source_format: Format
    target_format: Format
    parent: str | None = None
    options: Mapping[str, Json] = field(default_factory=dict)
    raise_from: tuple[str, ...] = ()
    precision: Precision = Precision.FP32
    devices: tuple[Device, ...] = (Device.CPU,)
    unrunnable: str = ""
    image: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Configuration:
    """One point of the matrix formats x opsets x modes x precisions, before applicability."""

    target_format: Format
    onnx_opset: int | None = None
    precision: Precision | None = None
    precision_mode: PrecisionMode | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """An artifact that the user asked for.

    `steps` are the labels from the source to the cell's own step, which is the last; empty where no converter
    applies. `state` is None for a cell that can run here, else `not_applicable` or `unavailable`, with `reason`
    and `remedy`. `requested` is false where only the default target formats ask for it: then a machine that
    cannot make it does not fail the run. `intermediate` cells were not asked for: other cells are made from them.
    `merged` counts further configurations that are this same cell.
    """

    label: str
    configuration: Configuration
    steps: tuple[str, ...] = ()
    state: State | None = None
    reason: str = ""
    remedy: str = ""
    requested: bool = True
    intermediate: bool = False
    merged: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelPlan:
    """The tree of steps of one model, parents first, and its cells in matrix order.

    `gpus` are those that its steps may use; `image` is where the source model itself runs, see `Step`.
    """

    config: ModelConfig
    source_format: Format
    steps: tuple[Step, ...]
    cells: tuple[Cell, ...]
    gpus: tuple[Gpu, ...] = ()
    image: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a run will do."""

    models: tuple[ModelPlan, ...]


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
    """An artifact on disk. `sha256` is over its files, see `navigator.digests.artifact_digest`; `path` is absolute."""

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
    cell: str
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
            raise ValueError(f"{self.model_name} {self.cell}: passed without an artifact")
        expected = set(self.expected_outputs)
        if not expected or not compared or any(outputs != expected for outputs in compared.values()):
            raise ValueError(f"{self.model_name} {self.cell}: passed without a passing comparison per output")
        if not all(comparison.passed for comparison in self.comparisons):
            raise ValueError(f"{self.model_name} {self.cell}: passed with a failing comparison")


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


def to_data(record: object) -> Json:
    """Return `record` as dictionaries, lists, strings and numbers."""
    return msgspec.to_builtins(record, enc_hook=_encode)


def from_data(cls: type[T], data: Json) -> T:
    """Return the record of type `cls` that `to_data` turned into `data`.

    Raises:
        msgspec.ValidationError: `data` does not fit; the text says where.
    """
    return msgspec.convert(data, type=cls, dec_hook=_decode)


def _encode(value: object) -> Json:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"no plain form for {type(value).__name__}")


def _decode(cls: type, value: Json) -> Json:
    if cls is Path:
        return Path(value)
    raise NotImplementedError(f"no record form for {cls.__name__}")
