"""The optimization profile of an engine: the shapes that it is built for, and those that it can run."""

import glob
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from navigator.errors import StepError
from navigator.frameworks.tensorrt.onnx_source import name_in_file
from navigator.records import ShapeProfile
from navigator.samples import storage as arrays

# Objects of TensorRT and Polygraphy; their types differ between versions.
_Trt = Any


def profile(network: _Trt, shapes: ShapeProfile, samples: Path | None) -> _Trt:
    """Return the optimization profile: a range for every dynamic axis, and the size in the file for every static one.

    Args:
        network: the parsed network.
        shapes: minimum, optimum and maximum shapes of the source model's inputs.
        samples: directory of samples, for inputs that are shapes themselves.

    Raises:
        StepError: an axis has no range, or one that contradicts the file.
    """
    from polygraphy.backend.trt import Profile

    made = Profile()
    outputs = [network.get_output(index).name for index in range(network.num_outputs)]
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        name = name_in_file(tensor.name, outputs)
        # Polygraphy treats names as patterns.
        key = glob.escape(tensor.name)
        if tensor.is_shape_tensor:
            made.add(key, *_values(name, samples))
            continue
        ranges = _ranges(name, tuple(tensor.shape), shapes)
        made.add(key, *ranges)
    return made


def _ranges(name: str, own: tuple[int, ...], shapes: ShapeProfile) -> list[tuple[int, ...]]:
    """Return minimum, optimum and maximum shape of an input whose shape in the file is `own` (-1: dynamic)."""
    if name not in shapes.max:
        if -1 not in own:
            return [own, own, own]
        raise StepError(
            f"input {name} {list(own)} of the ONNX file has no maximum size for its dynamic axes",
            f"declare {name} in inputs, and set max_shapes for it",
        )
    found = [shapes.min[name], shapes.opt[name], shapes.max[name]]
    for low, high in zip(found[0], found[2], strict=True):
        if low > high:
            raise StepError(
                f"input {name}: the minimum shape {list(found[0])} is larger than the maximum {list(found[2])}"
            )
    fits = len(own) == len(found[2]) and all(
        fixed in (-1, size) for shape in found for fixed, size in zip(own, shape, strict=True)
    )
    if not fits:
        raise StepError(
            f"input {name} is {list(own)} in the ONNX file, but the configured shapes are {list(found[0])} to "
            f"{list(found[2])}",
            f"change min_shapes, opt_shapes and max_shapes of {name} to match the file, or export it with dynamic axes",
        )
    return found


def ranges(trt: _Trt, engine: _Trt) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return the smallest and the largest shape of each input of an engine; inputs that are shapes are left out."""
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    found = {}
    for name in names:
        if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT and not engine.is_shape_inference_io(name):
            low, _, high = engine.get_tensor_profile_shape(name, 0)
            found[name] = (tuple(low), tuple(high))
    return found


def require_within(
    given: Mapping[str, tuple[int, ...]], allowed: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]
) -> None:
    """Raise `StepError` if a given shape is outside the smallest and the largest that an engine is built for."""
    for name, shape in given.items():
        for axis, (size, low, high) in enumerate(zip(shape, *allowed.get(name, ((), ())), strict=False)):
            if not low <= size <= high:
                built = f"{low}" if low == high else f"{low} to {high}"
                raise StepError(
                    f"input {name}: axis {axis} is {size}, but the engine was built for {built}",
                    "change min_shapes, max_shapes and max_batch_size, and build the engine again",
                )


def _values(name: str, samples: Path | None) -> list[tuple[int, ...]]:
    """Return minimum, optimum and maximum values of an input that TensorRT reads as a shape, from the samples."""
    read = arrays.load(samples) if samples else []
    found = {sample: np.atleast_1d(inputs[name]) for sample, inputs in read if name in inputs}
    if len({array.shape for array in found.values()}) != 1:
        raise StepError(
            f"input {name} is a shape, but the samples have no values for it",
            "set samples or value_ranges for it, with one shape",
        )
    stacked = np.stack(list(found.values()))
    opt = found.get("opt", stacked[0])
    return [tuple(int(each) for each in row) for row in (stacked.min(axis=0), opt, stacked.max(axis=0))]
