"""The optimization profile of an engine: which shapes it is built for."""

import glob
from pathlib import Path
from typing import Any

import numpy as np

from navigator.errors import StepError
from navigator.records import ShapeProfile
from navigator.samples import storage as arrays

# TensorRT's and Polygraphy's objects; no types of theirs hold for every version.
_Trt = Any


def profile(network: _Trt, shapes: ShapeProfile, samples: Path | None) -> _Trt:
    """Return the optimization profile: a range for every dynamic axis, exactly what the file fixes for the others.

    Args:
        network: as it was parsed.
        shapes: the smallest, usual and largest shape of the source model's inputs.
        samples: directory of samples, for the inputs that are themselves shapes.

    Raises:
        StepError: an axis without a range, or with one that the file does not allow.
    """
    from polygraphy.backend.trt import Profile

    made = Profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        # Polygraphy takes names for patterns.
        key = glob.escape(tensor.name)
        if tensor.is_shape_tensor:
            made.add(key, *_values(tensor.name, samples))
            continue
        ranges = _ranges(tensor.name, tuple(tensor.shape), shapes)
        made.add(key, *ranges)
    return made


def _ranges(name: str, own: tuple[int, ...], shapes: ShapeProfile) -> list[tuple[int, ...]]:
    """Return the smallest, usual and largest shape of an input whose shape in the file is `own` (-1: dynamic)."""
    if name not in shapes.max:
        if -1 not in own:
            return [own, own, own]
        raise StepError(
            f"input {name} of the ONNX file is {list(own)}, and nothing says how large its dynamic axes get",
            f"declare {name} under inputs, and give it max_shapes",
        )
    found = [shapes.min[name], shapes.opt[name], shapes.max[name]]
    for low, high in zip(found[0], found[2], strict=True):
        if low > high:
            raise StepError(f"input {name}: the smallest shape {list(found[0])} is above the largest {list(found[2])}")
    fits = len(own) == len(found[2]) and all(
        fixed in (-1, size) for shape in found for fixed, size in zip(own, shape, strict=True)
    )
    if not fits:
        raise StepError(
            f"the ONNX file fixes input {name} at {list(own)}, the shapes asked for go from {list(found[0])} to "
            f"{list(found[2])}",
            f"give {name} the file's shape in min_shapes, opt_shapes and max_shapes, or export it with dynamic axes",
        )
    return found


def _values(name: str, samples: Path | None) -> list[tuple[int, ...]]:
    """Return smallest, usual and largest values of an input that TensorRT reads as a shape, from the samples."""
    found = [sample[name] for _, sample in arrays.load(samples) if name in sample] if samples else []
    if not found or len({array.shape for array in found}) > 1:
        raise StepError(
            f"input {name} is read as a shape, and the samples do not say which values it takes",
            "give samples or value_ranges for it, of one shape",
        )
    stacked = np.stack([np.atleast_1d(array) for array in found])
    return [tuple(int(each) for each in row) for row in (stacked.min(axis=0), stacked[-1], stacked.max(axis=0))]
