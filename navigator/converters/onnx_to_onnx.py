"""ONNX to ONNX: a copy, or another opset by `onnx.version_converter`.

Options: `opset`, the opset of the default domain to reach; without it the file stays as it is.
"""

import logging
from collections.abc import Mapping

from navigator.converters.protocol import Conversion
from navigator.errors import StepError
from navigator.frameworks.availability import Unavailable, missing
from navigator.frameworks.onnx import file as onnx_file
from navigator.records import Format, Host, Json

SOURCE = Format.ONNX
TARGET = Format.ONNX
DISTRIBUTIONS = ("onnx", "onnxruntime")
PRELOAD = ("onnx", "onnx.inliner", "onnx.version_converter", "onnxruntime")
NEEDS_SAMPLES = False
NEEDS_GPU = False
IN_CONTAINER = False

log = logging.getLogger(__name__)


def unavailable(host: Host) -> Unavailable | None:
    """Return why `host` cannot run it, or None."""
    return missing(DISTRIBUTIONS, "onnx", host)


def convert(conversion: Conversion) -> Mapping[str, Json]:
    """Copy the file with its external data, or change its opset; see `navigator.converters.protocol`."""
    source, destination = conversion.source, conversion.destination
    before = onnx_file.opset(source)
    opset = conversion.options.get("opset", before)
    if opset != before:
        onnx_file.raise_opset(source, destination, opset)
        verb = "raised" if opset > before else "lowered"
        return onnx_file.properties(destination, f"{verb} from opset {before} by onnx.version_converter")
    onnx_file.copy(source, destination)
    try:
        onnx_file.check(destination)
    except StepError as error:
        # The user's own file: where it runs, it may be copied, and verification sees whether it does.
        log.warning("%s", error)
    return onnx_file.properties(destination, "copied")
