"""The configuration: navigator.yaml with every default applied."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

from navigator.records.codec import Count

TEXT = "string"
"""The dtype of inputs that are text. Their arrays have NumPy's fixed-width text, so that no pickle is read."""

# The value of an option that leaves the choice to the program.
Auto = Literal["auto"]


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
    """The precision of an engine."""

    INT8 = "int8"
    FP16 = "fp16"
    FP32 = "fp32"


class PrecisionMode(StrEnum):
    """How precisions are applied: with fallbacks to other precisions, without, or both."""

    HIERARCHY = "hierarchy"
    SINGLE = "single"
    MIXED = "mixed"


class LaunchMode(StrEnum):
    """Where workers run; `auto`: in a container only if this environment can't have the packages."""

    AUTO = "auto"
    LOCAL = "local"
    DOCKER = "docker"


class Device(StrEnum):
    """The device that a converted model runs on."""

    CPU = "cpu"
    CUDA = "cuda"


class FailOn(StrEnum):
    """What fails a run."""

    FAILURE = "failure"
    """Every conversion that fails."""
    REGRESSION = "regression"
    """What is worse than in the baseline, if there is one; see `navigator.records.changes`."""


class Regression(StrEnum):
    """A change for the worse that fails a run, and that a configuration may accept."""

    BROKEN = "broken"
    """A conversion fails that passed in the baseline, or that the baseline has no verdict on."""
    WORSE = "worse"
    """A conversion passes with a larger error, or is larger or slower or needs more memory."""
    REMOVED = "removed"
    """A conversion is gone."""
    LOOSENED = "loosened"
    """An option lets more pass."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorSpec:
    """One input or output of a model.

    `shape` has -1 for dynamic axes and is None if the rank is unknown; `dtype` is the name of a NumPy dtype, or `TEXT`.
    """

    name: str
    shape: tuple[int, ...] | None
    dtype: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AxisSpec:
    """What a model's file says of the size of one axis of an input.

    Args:
        size: a name, an expression of names (`past + 1`), or "" if the file says nothing.
        ranges: the smallest and the largest size of each name in it, as far as the file limits them; None has no limit.
            They're only there where different names are known to be independent of each other.
    """

    size: str = ""
    ranges: Mapping[str, tuple[Count, Count | None]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """A model's inputs and outputs, in the model's own order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ShapeProfile:
    """Minimum, optimum and maximum shape of every input, complete and without -1."""

    min: Mapping[str, tuple[int, ...]]
    opt: Mapping[str, tuple[int, ...]]
    max: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricFunction:
    """The user's own metric: a function in a Python file, whose path is absolute."""

    path: Path
    function: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundShapes:
    """What running a source model told of its inputs, and why, where neither its file nor the user says it.

    Args:
        model_name: the model.
        inputs: all inputs if its file doesn't store them, else none.
        arguments: values, as text, of the arguments that aren't tensors and that nobody gave.
        min_shapes: of the inputs with dynamic axes. Like the others with the user's own sizes, so that it is complete.
        opt_shapes: empty if these are the largest.
        max_shapes: see `min_shapes`.
        why: a sentence for each size.
    """

    model_name: str
    inputs: tuple[TensorSpec, ...] = ()
    arguments: Mapping[str, str] = field(default_factory=dict)
    min_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    opt_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    max_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    why: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """One model of a navigator.yaml with every default applied. Fields are the keys of the schema.

    Paths are absolute. `atol`, `rtol`, `value_ranges` and `dtypes` map a tensor's name, or "" for the default
    entry, to its value. `line` is where the model is in `config_path`. The plan resolves "auto",
    and verification that of `atol` and `rtol`.
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
    launch_mode: LaunchMode = LaunchMode.AUTO
    gpus: tuple[str, ...] = ("all",)
    random_seed: int = 0
    search_seconds: float | Auto = "auto"
    compare_weights: bool = True
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    arguments: Mapping[str, str] = field(default_factory=dict)
    target_formats: tuple[Format, ...] | Auto = "auto"
    onnx_opsets: tuple[int, ...] | Auto = "auto"
    tensorrt_precisions: tuple[Precision, ...] = (Precision.FP16, Precision.FP32)
    tensorrt_precisions_mode: PrecisionMode = PrecisionMode.HIERARCHY
    tensorrt_explicit_precision: bool = False
    tensorrt_sparse_weights: bool = False
    tensorrt_max_workspace_size: int = 4294967296
    tensorrt_optimization_level: int | None = None
    tensorrt_plugins: tuple[Path, ...] = ()
    tensorrt_rtx_compute_capabilities: tuple[str, ...] = ()
    atol: Mapping[str, float] | Auto = "auto"
    rtol: Mapping[str, float] | Auto = "auto"
    fp16_atol: Mapping[str, float] = field(default_factory=dict)
    fp16_rtol: Mapping[str, float] = field(default_factory=dict)
    int8_atol: Mapping[str, float] = field(default_factory=dict)
    int8_rtol: Mapping[str, float] = field(default_factory=dict)
    fp16_gates: Mapping[str, float] = field(default_factory=dict)
    int8_gates: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, int] = field(default_factory=dict)
    top_k: Count = 5
    max_batch_size: int | Auto = "auto"
    probe: bool = True
    min_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    opt_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    max_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    value_ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    dtypes: Mapping[str, str] = field(default_factory=dict)
    samples: tuple[Path, ...] = ()
    calibration_samples: tuple[Path, ...] = ()
    metric: MetricFunction | None = None
    metric_lower_is_better: bool = False
    quality: str = "99%"
    states: Mapping[str, str] | Auto = "auto"
    state_steps: Count | Auto = "auto"
    engine_count_per_device: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """A run: the options for all models, and the models.

    `accept` has the reason for each regression that's meant: "WHAT MODEL/NAME", where WHAT is a `Regression`, MODEL and
    NAME are globs, and NAME is a conversion's label, or an option of those that are loosened.

    `cache_path` is None when the cache is off. `memory_limit_bytes` None means what the machine has. `notes` are
    sentences about options that were given although `convert` ignores them.
    """

    models: tuple[ModelConfig, ...]
    config_path: Path | None = None
    workspace_path: Path = Path("navigator_workspace")
    override_workspace: bool = False
    verbose: bool = False
    cache_path: Path | None = None
    cache_size_bytes: int = 20 * 2**30
    jobs: int = 0
    """Maximum number of steps that run at the same time; 0 depends on the number of cores."""
    timeout_seconds: float = 3600.0
    memory_limit_bytes: int | None = None
    fail_on: FailOn = FailOn.FAILURE
    fail_on_unverified: bool | Auto = "auto"
    accept: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
