"""Compares the weights that a converted model stores with those that it's made from, without loading either."""

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from navigator.errors import StepError
from navigator.records import Format, Json, Precision, Weights
from navigator.runners import RUNNERS
from navigator.runners.abilities import StoresReduced, StoresWeights
from navigator.verify.reduced_weights import reduced
from navigator.verify.weights import compared

log = logging.getLogger(__name__)


def weights(arguments: Mapping[str, Json]) -> Weights | None:
    """Compare the weights of an artifact; None if nothing can be said, which costs nothing but this evidence.

    Args:
        arguments: `format`, `path` and `precision` of the artifact, `source_format` and `source` of the model that it's
            compared with: the source model, or in a reduced precision the file that it's made from.
    """
    source, converted = (RUNNERS[Format(arguments[key])] for key in ("source_format", "format"))
    if not isinstance(source, StoresWeights) or not isinstance(converted, StoresWeights):
        return None
    origin, path = Path(arguments["source"]), Path(arguments["path"])
    try:
        if Precision(arguments["precision"]) is Precision.FP32:
            computed = partial(source.computed, origin)
            return compared(source.weights(origin), converted.weights(path), computed, named=source is converted)
        if isinstance(converted, StoresReduced):
            return reduced(source.weights(origin), converted.reduced_weights(path))
    except (StepError, OSError, ValueError, MemoryError):
        log.warning("the weights can't be compared", exc_info=True)
    return None
