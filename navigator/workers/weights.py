"""Compares the weights that a converted model stores with those that it's made from, without loading either."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from navigator.errors import StepError
from navigator.models.stored import Stored
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
            compared with: the source model, or in a reduced precision the file that it's made from; `originals`: which
            files of the artifact are copies of which.
    """
    source, converted = (RUNNERS[Format(arguments[key])] for key in ("source_format", "format"))
    if not isinstance(source, StoresWeights) or not isinstance(converted, StoresWeights):
        return None
    origin, path = Path(arguments["source"]), Path(arguments["path"])
    try:
        if Precision(arguments["precision"]) is Precision.FP32:
            computed = partial(source.computed, origin)
            originals = {Path(copy): Path(found) for copy, found in arguments.get("originals", {}).items()}
            tensors = (_in_original(each, originals) for each in converted.weights(path))
            return compared(source.weights(origin), tensors, computed, named=source is converted)
        if isinstance(converted, StoresReduced):
            return reduced(source.weights(origin), converted.reduced_weights(path))
    except (StepError, OSError, ValueError, MemoryError):
        log.warning("the weights can't be compared", exc_info=True)
    return None


def _in_original(tensor: Stored, originals: Mapping[Path, Path]) -> Stored:
    """Return a tensor that lies in a copy of a file as the one that lies in that file."""
    place = tensor.place
    if place is None or place.path not in originals:
        return tensor
    return replace(tensor, place=replace(place, path=originals[place.path]))
