"""What a converter is, what it is given and how it says that a machine cannot run it.

Owns no converter; `navigator.converters` lists them.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from navigator.frameworks.availability import Unavailable
from navigator.records import (
    Configuration,
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
    """No framework's container has its libraries."""
    ON_REQUEST = "on request"
    """With `launch_mode: docker`."""
    UNLESS_LOCAL = "unless local"
    """This environment cannot have its libraries, so always but with `launch_mode: local`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """What one configuration makes of a converter: one step.

    Args:
        segment: the step's part of the label; other options are another segment.
        options: the converter's own record.
        precision: what the artifact computes in.
        opset: of the ONNX file that the step writes. Exports that differ in it alone are raised from each other.
        is_copy: whether the source model is handed on as it is, in its own format.
    """

    segment: str
    options: StepOptions
    precision: Precision = Precision.FP32
    opset: int | None = None
    is_copy: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversion(Generic[OptionsT]):
    """What a converter is given, inside a worker.

    Args:
        source: the source artifact: a file, or a SavedModel directory.
        destination: the path of the artifact to make; its parent is an empty directory of this step alone, so
            side files (ONNX external data) may lie beside it.
        options: the step's, as `Converter.variant` made them.
        signature: the source model's.
        samples: directory of samples (`navigator.samples.storage`), None where the converter does not need them.
        raise_from: an ONNX file of the same model at a lower opset that passed verification, or None.
        shapes: the smallest, usual and largest shape of each of the source model's inputs; None where the converter
            does not need them.
        timing_cache: a directory for what TensorRT measured, kept between runs; None where the converter needs none.
        gpu: the one that the conversion has for itself, None where it needs none.
        verbose: whether the user wants details that cost something.
    """

    source: Path
    destination: Path
    options: OptionsT
    signature: Signature | None = None
    samples: Path | None = None
    raise_from: Path | None = None
    shapes: ShapeProfile | None = None
    timing_cache: Path | None = None
    gpu: Gpu | None = None
    verbose: bool = False


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
        """True if conversion must wait for the source model's signature, samples and shapes."""

    @property
    def NEEDS_GPU(self) -> bool:
        """True if conversion runs on a GPU, which it then has for itself alone."""

    @property
    def CONTAINER(self) -> Container:
        """Whether it runs in the framework's container."""

    @property
    def PREPARED_BY(self) -> tuple[str, ...]:
        """Keys of the converters within `SOURCE` that its input may go through first, in this order."""

    @property
    def Options(self) -> type[StepOptions]:
        """The record of its options. It extends the one of the target's runner if that reads any."""

    def variant(self, model: ModelConfig, configuration: Configuration) -> Variant | None:
        """Return the step that makes `configuration` of `model`, also where it is on the way to it. Pure.

        None if the step isn't needed, which only a converter that others name in `PREPARED_BY` may say.
        """

    def unavailable(self, host: Host) -> Unavailable | None:
        """Why this machine cannot run it, or None. Pure and quick: no import of a framework."""

    def convert(self, conversion: Conversion[Any]) -> Properties:
        """Make the artifact at `conversion.destination` and return what is known of it.

        Raises:
            StepError: it cannot, with a sentence for the user. Anything else it raises becomes a failed step
                with the exception's text.
        """


def conversion_of(converter: Converter, data: Json) -> Conversion[Any]:
    """Return the conversion that `to_data` made `data` of, with the options of `converter`."""
    generic: Any = Conversion
    conversion: Conversion[Any] = from_data(generic[converter.Options], data)
    return conversion


def engine_segment(configuration: Configuration) -> str:
    """Return the label segment of an engine. In fp32 there is nothing to fall back to, so modes do not differ."""
    precision, mode = configuration.precision, configuration.precision_mode
    parts = [precision, mode if precision is not Precision.FP32 else None]
    return "_".join([configuration.target_format, *(part for part in parts if part)])


def falls_back_to_tf32(configuration: Configuration) -> bool:
    """Tell whether what stays in float32 may use TF32, which is what TensorRT falls back to from a lower precision."""
    return configuration.precision_mode is PrecisionMode.HIERARCHY and configuration.precision is not Precision.FP32
