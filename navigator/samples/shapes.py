"""The shapes that a model is made for: those that the user set, completed from the signature.

`navigator.samples.axes` decides about the shapes of samples. Draws nothing, reads no file.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from navigator.errors import StepError, listed
from navigator.records import ModelConfig, SampleInfo, ShapeProfile, TensorSpec

Shape = tuple[int, ...]


def resolve_shapes(inputs: Sequence[TensorSpec], config: ModelConfig) -> ShapeProfile:
    """Complete `min_shapes`, `opt_shapes` and `max_shapes` from the signature.

    Static axes are the signature's. Axis 0, if dynamic, is the batch: 1 to `max_batch_size`, or what is given for
    another input's batch. Every other dynamic axis needs a maximum, and its minimum defaults to 1. Opt defaults to max.
    An axis without a given size takes the one given for another input's axis with the same maximum, since ids and mask
    must have the same sequence length. If the rank is unknown, the given shapes decide: axis 0 is the batch, and axes
    where they differ are dynamic.

    Raises:
        StepError: the given shapes contradict the signature, or do not limit a dynamic axis.
    """
    given = {"min_shapes": config.min_shapes, "opt_shapes": config.opt_shapes, "max_shapes": config.max_shapes}
    for key, shapes in given.items():
        refuse_unknown(key, shapes, inputs)
    frames = {spec.name: _frame(spec, given) for spec in inputs}
    refuse([problem for name, frame in frames.items() for problem in _contradictions(name, frame, given)])
    maxima = _maxima(frames, config)
    minima = _complete(frames, maxima, config.min_shapes, {})
    for name in minima.keys() & config.opt_shapes.keys() - config.min_shapes.keys():
        minima[name] = tuple(map(min, minima[name], config.opt_shapes[name]))
    optima = _complete(frames, maxima, config.opt_shapes, maxima)
    for name in optima.keys() - config.opt_shapes.keys():
        optima[name] = tuple(map(max, optima[name], minima[name]))
    refuse(list(_disorders(minima, optima, maxima, config)))
    return ShapeProfile(min=minima, opt=optima, max=maxima)


def profile_of(inputs: Sequence[TensorSpec], config: ModelConfig, samples: Sequence[SampleInfo]) -> ShapeProfile:
    """Return the shapes that an engine is built for: the configured ones, and those of the user's own samples.

    Args:
        inputs: the source model's inputs.
        config: shapes, and whether the samples are the user's own.
        samples: the samples that the model was run on; samples with another rank than the first are ignored.

    Raises:
        StepError: as `resolve_shapes`, but never with the user's own samples, which need no other shapes.
    """
    if not config.samples:
        return resolve_shapes(inputs, config)

    def covering(name: str, given: Mapping[str, Shape], choose: Callable[..., int]) -> Shape:
        rank = len(samples[0].shapes[name])
        seen = [sample.shapes[name] for sample in samples] + ([given[name]] if name in given else [])
        return tuple(choose(sizes) for sizes in zip(*(each for each in seen if len(each) == rank), strict=True))

    minima = {spec.name: covering(spec.name, config.min_shapes, min) for spec in inputs}
    maxima = {spec.name: covering(spec.name, config.max_shapes, max) for spec in inputs}
    return ShapeProfile(min=minima, opt={**maxima, **config.opt_shapes}, max=maxima)


def refuse_unknown(key: str, entries: Mapping[str, object], inputs: Sequence[TensorSpec]) -> None:
    """Raise StepError if the entries of the option `key` contain a name that is not an input."""
    names = [spec.name for spec in inputs]
    unknown = [name for name in entries if name not in names and (name or key.endswith("_shapes"))]
    if unknown:
        raise StepError(
            f"{key}: the model has no input {', '.join(map(repr, unknown))}",
            f"the model's inputs are {listed(names)}",
        )


def refuse(problems: Sequence[str], hint: str = "") -> None:
    """Raise StepError with all `problems`, if there are any."""
    if problems:
        raise StepError("; ".join(problems), hint)


def yaml_key(name: str) -> str:
    """Return a tensor's name as a YAML key, quoted if YAML would read it differently."""
    plain = re.fullmatch(r"[A-Za-z_]\w*", name)
    reserved = name.lower() in {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
    return name if plain and not reserved else json.dumps(name)


def _frame(spec: TensorSpec, given: Mapping[str, Mapping[str, Shape]]) -> Shape:
    """Return an input's shape in the signature, -1 for dynamic axes; if its rank is unknown, from what is given."""
    if spec.shape is not None:
        return spec.shape
    maximum = given["max_shapes"].get(spec.name)
    if maximum is None:
        raise StepError(
            f"the number of axes of input {spec.name!r} is unknown",
            f"set its shape in max_shapes, e.g. `max_shapes: {{{yaml_key(spec.name)}: [8, 128]}}`",
        )
    others = [shapes[spec.name] for shapes in given.values() if len(shapes.get(spec.name, ())) == len(maximum)]
    return tuple(
        -1 if axis == 0 or any(other[axis] != size for other in others) else size for axis, size in enumerate(maximum)
    )


def _contradictions(name: str, frame: Shape, given: Mapping[str, Mapping[str, Shape]]) -> Iterator[str]:
    for key, shapes in given.items():
        shape = shapes.get(name)
        if shape is None:
            continue
        if len(shape) != len(frame):
            yield f"{key}: expected shape {list(frame)} for input {name!r}, got {list(shape)}"
            continue
        for axis, (size, fixed) in enumerate(zip(shape, frame, strict=True)):
            if fixed >= 0 and size != fixed:
                yield f"{key}: expected size {fixed} on axis {axis} of input {name!r}, got {size}"
            elif fixed < 0 and size < 1:
                yield f"{key}: expected a size of at least 1 on axis {axis} of input {name!r}, got {size}"


def _maxima(frames: Mapping[str, Shape], config: ModelConfig) -> dict[str, Shape]:
    given = config.max_shapes
    batches = {given[name][0] for name, frame in frames.items() if name in given and frame[:1] == (-1,)}
    batch = min(batches, default=config.max_batch_size)
    problems = []
    maxima = {}
    for name, frame in frames.items():
        if name in given:
            maxima[name] = given[name]
            continue
        maxima[name] = tuple(size if size >= 0 else batch for size in frame)
        unknown = [axis for axis, size in enumerate(frame) if size < 0 and axis > 0]
        if unknown:
            axes = "axis " + " and ".join(map(str, unknown)) if len(unknown) < 3 else f"axes {unknown}"
            problems.append(f"input {name!r} {list(frame)} has no maximum size on {axes}")
        elif frame[:1] == (-1,) and len(batches) > 1:
            problems.append(f"the maximum batch (axis 0) of input {name!r} is ambiguous: {sorted(batches)}")
    refuse(problems, f"set max_shapes, e.g. `max_shapes: {_example(frames, maxima, given)}`")
    return maxima


def _example(frames: Mapping[str, Shape], maxima: Mapping[str, Shape], given: Mapping[str, Shape]) -> str:
    """Return a YAML flow mapping of max_shapes for the inputs that have a dynamic axis."""
    known = {
        axis: size
        for name in reversed(list(frames))
        for axis, size in enumerate(given.get(name, ()))
        if frames[name][axis] < 0
    }
    entries = []
    for name, frame in frames.items():
        if -1 in frame:
            sizes = [known.get(axis, 128 if axis else 8) if size < 0 else size for axis, size in enumerate(frame)]
            entries.append(f"{yaml_key(name)}: {list(maxima[name]) if name in given else sizes}")
    return "{" + ", ".join(entries) + "}"


def _complete(
    frames: Mapping[str, Shape], maxima: Mapping[str, Shape], given: Mapping[str, Shape], default: Mapping[str, Shape]
) -> dict[str, Shape]:
    """Return `given` completed from static sizes, from axes with the same maximum, and from `default` or 1."""
    known: dict[tuple[bool, int], set[int]] = {}
    for name in frames:
        for axis, size in enumerate(given.get(name, ())):
            if frames[name][axis] < 0:
                known.setdefault((axis == 0, maxima[name][axis]), set()).add(size)

    def size_of(name: str, axis: int) -> int:
        if frames[name][axis] >= 0:
            return frames[name][axis]
        sizes = known.get((axis == 0, maxima[name][axis]), set())
        if not sizes and frames[name][0] >= 0:
            sizes = known.get((True, maxima[name][axis]), set())  # the batch inside a state, see `axes.ties`
        if len(sizes) == 1:
            return next(iter(sizes))
        return default[name][axis] if default else 1

    return {
        name: given[name] if name in given else tuple(size_of(name, axis) for axis in range(len(frame)))
        for name, frame in frames.items()
    }


def _disorders(
    minima: Mapping[str, Shape], optima: Mapping[str, Shape], maxima: Mapping[str, Shape], config: ModelConfig
) -> Iterator[str]:
    for name, low in minima.items():
        for axis, (smallest, usual, largest) in enumerate(zip(low, optima[name], maxima[name], strict=True)):
            if not smallest <= usual <= largest:
                source = " (max_batch_size)" if not axis and not config.max_shapes else ""
                yield (
                    f"expected min <= opt <= max on axis {axis} of input {name!r}, "
                    f"got {smallest}, {usual}, {largest}{source}"
                )
