"""The interface of converters: what they provide and what they get.

`navigator.converters` lists the converters.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from navigator.errors import NotApplicableError, StepError
from navigator.frameworks.availability import Unavailable
from navigator.records import (
    Configuration,
    EngineOptions,
    Format,
    Gpu,
    Host,
    Json,
    ModelConfig,
    Precision,
    PrecisionMode,
    Properties,
    ShapeProfile,
    Signature,
    StepOptions,
    from_data,
)

OptionsT = TypeVar("OptionsT", bound=StepOptions)


class Container(StrEnum):
    """Whether a converter runs in its framework's container."""

    NEVER = "never"
    """No container of a framework has its libraries."""
    ON_REQUEST = "on request"
    """With `launch_mode: docker`."""
    UNLESS_LOCAL = "unless local"
    """This environment can't have its libraries, so always unless `launch_mode: local`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """The step of a converter for one configuration.

    Args:
        segment: the step's part of the label, different for different options.
        options: the converter's own options.
        precision: the precision of the converted model.
        opset: opset of the ONNX file that the step writes. Exports that differ only in it are raised from each other.
        is_copy: whether the step copies the source model in its own format.
        artifact_name: the file name of the converted model if it isn't that of the target's runner.
    """

    segment: str
    options: StepOptions
    precision: Precision = Precision.FP32
    opset: int | None = None
    is_copy: bool = False
    artifact_name: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversion(Generic[OptionsT]):
    """The input of a converter, inside a worker.

    Args:
        source: the source artifact: a file, or a SavedModel directory.
        destination: the path of the converted model. Its parent directory is empty and only for this step, so
            that it may also contain other files (ONNX external data).
        options: the options of the step, from `Converter.variant`.
        signature: the source model's signature.
        arguments: values, as text, of the source model's arguments that aren't tensors.
        samples: directory of samples (`navigator.samples.storage`), None if the converter doesn't need them.
        raise_from: an ONNX file of the same model at a lower opset that passed verification, or None.
        shapes: minimum, optimum and maximum shape of each of the source model's inputs; None if the converter
            doesn't need them.
        timing_cache: a directory for TensorRT's measurements, kept between runs; None if the converter needs none.
        gpu: the GPU that this conversion has for itself, None if it needs none.
        verbose: whether the user wants expensive details.
        progress: a file for how far it is, one line, for who watches; None if nobody does.
    """

    source: Path
    destination: Path
    options: OptionsT
    signature: Signature | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)
    samples: Path | None = None
    raise_from: Path | None = None
    shapes: ShapeProfile | None = None
    timing_cache: Path | None = None
    gpu: Gpu | None = None
    verbose: bool = False
    progress: Path | None = None


class Converter(Protocol):
    """One edge. A module satisfies it with module-level names; capitals are constants."""

    @property
    def SOURCE(self) -> Format: ...
    @property
    def TARGET(self) -> Format: ...
    @property
    def DISTRIBUTIONS(self) -> tuple[str, ...]:
        """Installed distributions (PyPI names) it imports; their versions are part of an artifact's identity."""

    @property
    def PRELOAD(self) -> tuple[str, ...]:
        """Modules that the fork server imports once, before it forks."""

    @property
    def NEEDS_SAMPLES(self) -> bool:
        """True if the conversion needs the source model's signature, samples and shapes."""

    @property
    def NEEDS_GPU(self) -> bool:
        """True if the conversion runs on a GPU, which it then has for itself."""

    @property
    def LASTING(self) -> bool:
        """True if its conversions on a GPU share a worker: what it loads takes long, and it runs nothing of a model."""

    @property
    def CONTAINER(self) -> Container:
        """Whether it runs in the framework's container."""

    @property
    def PREPARED_BY(self) -> tuple[str, ...]:
        """Keys of the converters within `SOURCE` that its input may go through first, in this order."""

    @property
    def Options(self) -> type[StepOptions]:
        """The class of its options. It extends the one of the target's runner if that reads any."""

    def variant(self, model: ModelConfig, configuration: Configuration) -> Variant | None:
        """Return the step that creates `configuration` of `model`, or leads to it. Pure.

        None if the step isn't needed, which only a converter that others name in `PREPARED_BY` may say.
        """

    def unavailable(self, host: Host) -> Unavailable | None:
        """Return why this machine can't run it, or None. Pure and fast: imports no framework."""

    def convert(self, conversion: Conversion[Any]) -> Properties:
        """Create the model at `conversion.destination` and return its properties.

        Raises:
            StepError: the conversion failed, with a message for the user. Any other exception also fails the step,
                with the text of the exception.
            NotApplicableError: nothing in the model became the step's precision, so that its artifact would be a copy.
        """


def nothing_became(precision: Precision, why: str) -> NotApplicableError:
    """Return the error of a step that leaves the model as it is."""
    return NotApplicableError(
        f"nothing became {precision}: {why}", f"remove {precision} from this model's tensorrt_precisions"
    )


def require_engines(engines: int, precision: Precision, library: str) -> None:
    """Check that a model that a framework hands on to TensorRT in parts has any.

    Raises:
        NotApplicableError: all of a reduced precision's model stays in the framework, in its own precision.
    """
    if not engines and precision is not Precision.FP32:
        raise nothing_became(precision, f"{library} found no part of the model for TensorRT, or built none")


def refuse_level(options: EngineOptions, library: str) -> None:
    """Raise `StepError` if the user set an optimization level, which `library` doesn't have."""
    if options.optimization_level is not None:
        raise StepError(
            f"{library} has no optimization levels, but tensorrt_optimization_level is {options.optimization_level}",
            "remove tensorrt_optimization_level from this model, or build TensorRT engines with target_formats: [trt]",
        )


def conversion_of(converter: Converter, data: Json) -> Conversion[Any]:
    """Return the conversion that `to_data` turned into `data`, with the options of `converter`."""
    generic: Any = Conversion
    conversion: Conversion[Any] = from_data(generic[converter.Options], data)
    return conversion


def engine_segment(configuration: Configuration) -> str:
    """Return the label segment of an engine. fp32 has no fallback, so modes don't matter."""
    precision, mode = configuration.precision, configuration.precision_mode
    parts = [precision, mode if precision is not Precision.FP32 else None]
    return "_".join([configuration.target_format, *(part for part in parts if part)])


def engine_variant(
    options: type[EngineOptions],
    model: ModelConfig,
    configuration: Configuration,
    *,
    artifact_name: str = "",
    **own: Any,
) -> Variant:
    """Return the step that builds an engine for the configuration's precision and mode.

    Args:
        options: the converter's.
        model: the model's configuration.
        configuration: the point of the matrix.
        artifact_name: see `Variant`.
        own: the options that this converter has besides those of every engine.
    """
    precision = configuration.precision or Precision.FP32
    reduced = precision is not Precision.FP32
    return Variant(
        segment=engine_segment(configuration),
        options=options(
            precision=precision,
            precision_mode=configuration.precision_mode if reduced else None,
            max_workspace_size=model.tensorrt_max_workspace_size,
            # TensorRT falls back to it from a lower precision.
            tf32=reduced and configuration.precision_mode is PrecisionMode.HIERARCHY,
            sparse_weights=model.tensorrt_sparse_weights,
            optimization_level=model.tensorrt_optimization_level,
            **own,
        ),
        precision=precision,
        artifact_name=artifact_name,
    )
