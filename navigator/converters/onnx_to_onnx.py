"""Converts ONNX to ONNX: copies it, or changes its opset."""

import logging
from dataclasses import dataclass

from navigator.converters.protocol import Container, Conversion, Variant
from navigator.errors import StepError
from navigator.frameworks.availability import Unavailable, missing
from navigator.frameworks.onnx import file as onnx_file
from navigator.frameworks.onnx import opsets as onnx_opsets
from navigator.records import Configuration, Format, Host, ModelConfig, Properties, StepOptions

SOURCE = Format.ONNX
TARGET = Format.ONNX
DISTRIBUTIONS = ("onnx", "onnxruntime")
PRELOAD = ("onnx", "onnx.inliner", "onnx.version_converter", "onnxruntime")
NEEDS_SAMPLES = False
NEEDS_GPU = False
LASTING = False
CONTAINER = Container.ON_REQUEST
PREPARED_BY = ()

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Options(StepOptions):
    """`opset` is the target opset of the default domain; None to keep the file unchanged."""

    opset: int | None = None


def variant(model: ModelConfig, configuration: Configuration) -> Variant | None:
    """Return the step, which engines only need if the source model has another opset."""
    opset = configuration.onnx_opset
    if configuration.target_format is not TARGET and (model.model_format is not SOURCE or opset is None):
        return None
    segment = "onnx" if opset is None else f"onnx_op{opset}"
    return Variant(segment=segment, options=Options(opset=opset), opset=opset, is_copy=opset is None)


def unavailable(host: Host) -> Unavailable | None:
    """Return why `host` can't run it, or None."""
    return missing(DISTRIBUTIONS, "onnx", host)


def convert(conversion: Conversion[Options]) -> Properties:
    """Copy the file with its external data, or change its opset; see `navigator.converters.protocol`."""
    source, destination = conversion.source, conversion.destination
    opset = conversion.options.opset
    if opset is not None and opset != onnx_file.opset(source):
        return onnx_file.properties(destination, onnx_opsets.change(source, destination, opset))
    onnx_file.copy(source, destination)
    try:
        onnx_file.check(destination)
    except StepError as error:
        # This is the user's own file: it may be copied if it runs, which verification checks.
        log.warning("%s", error)
    return onnx_file.properties(destination, "copied")
