"""Converts a format to itself: a copy, which is verified like every other converted model.

ONNX has its own converter, `onnx_to_onnx`, since its weights may be in separate files.
"""

import shutil
from dataclasses import dataclass
from typing import ClassVar

from navigator.converters.protocol import Container, Conversion, Variant
from navigator.frameworks.availability import Unavailable
from navigator.models.reading import copy_content, copy_file
from navigator.records import Configuration, Format, Host, ModelConfig, Properties, StepOptions


@dataclass(frozen=True, slots=True)
class Copy:
    """A converter (see `navigator.converters.protocol`) from `SOURCE` to itself."""

    SOURCE: Format
    DISTRIBUTIONS: tuple[str, ...] = ()
    PRELOAD: tuple[str, ...] = ()
    NEEDS_SAMPLES: bool = False
    NEEDS_GPU: bool = False
    LASTING: bool = False
    CONTAINER: Container = Container.ON_REQUEST
    PREPARED_BY: tuple[str, ...] = ()
    Options: ClassVar[type[StepOptions]] = StepOptions

    @property
    def TARGET(self) -> Format:
        return self.SOURCE

    def variant(self, model: ModelConfig, configuration: Configuration) -> Variant:
        """Return the only step."""
        del model, configuration
        return Variant(segment=self.SOURCE, options=self.Options(), is_copy=True)

    def unavailable(self, host: Host) -> Unavailable | None:
        """Return None: every machine can copy."""
        del host
        return None

    def convert(self, conversion: Conversion[StepOptions]) -> Properties:
        """Copy the file or the directory."""
        if conversion.source.is_dir():
            shutil.copytree(conversion.source, conversion.destination, copy_function=copy_file)
            # A copy of a read-only source must be writable, so that it can be removed.
            for path in (conversion.destination, *conversion.destination.rglob("*")):
                if path.is_dir():
                    path.chmod(path.stat().st_mode | 0o700)
        else:
            copy_content(conversion.source, conversion.destination)
        return Properties(exporter="copied")


TF_SAVEDMODEL_TO_TF_SAVEDMODEL = Copy(Format.TF_SAVEDMODEL)
TORCHSCRIPT_TO_TORCHSCRIPT = Copy(Format.TORCHSCRIPT)
TORCH_EXPORT_TO_TORCH_EXPORT = Copy(Format.TORCH_EXPORT)
