"""What a converter is, what it is given and how it says that a machine cannot run it.

Owns no converter; `navigator.converters` lists them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from navigator.frameworks.availability import Unavailable
from navigator.records import Format, Gpu, Host, Json, ShapeProfile, Signature


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversion:
    """What a converter is given, inside a worker.

    Args:
        source: the source artifact: a file, or a SavedModel directory.
        destination: the path of the artifact to make; its parent is an empty directory of this step alone, so
            side files (ONNX external data) may lie beside it.
        options: the step's options, as `Converter.options` froze them.
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
    options: Mapping[str, Json] = field(default_factory=dict)
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
    def IN_CONTAINER(self) -> bool:
        """True if its libraries live in the framework's container, unless `launch_mode` is local."""

    def unavailable(self, host: Host) -> Unavailable | None:
        """Why this machine cannot run it, or None. Pure and quick: no import of a framework."""

    def convert(self, conversion: Conversion) -> Mapping[str, Json]:
        """Make the artifact at `conversion.destination` and return its properties (`onnx_opset`, …).

        Raises:
            StepError: it cannot, with a sentence for the user. Anything else it raises becomes a failed step
                with the exception's text.
        """
