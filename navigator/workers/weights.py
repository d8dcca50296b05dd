"""Compares the weights that a converted model stores with the source model's, without loading either."""

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from navigator.errors import StepError
from navigator.records import Format, Json, Weights
from navigator.runners import RUNNERS
from navigator.runners.protocol import StoresWeights
from navigator.verify.weights import compared

log = logging.getLogger(__name__)


def weights(arguments: Mapping[str, Json]) -> Weights | None:
    """Compare the weights of an artifact; None if nothing can be said, which costs nothing but this evidence.

    Args:
        arguments: `format` and `path` of the artifact, `source_format` and `source` of the source model.
    """
    source, converted = (RUNNERS[Format(arguments[key])] for key in ("source_format", "format"))
    if not isinstance(source, StoresWeights) or not isinstance(converted, StoresWeights):
        return None
    path = Path(arguments["source"])
    try:
        return compared(
            source.weights(path),
            converted.weights(Path(arguments["path"])),
            partial(source.computed, path),
            named=source is converted,
        )
    except (StepError, OSError, ValueError, MemoryError):
        log.warning("the weights can't be compared", exc_info=True)
        return None
