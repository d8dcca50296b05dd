"""The shapes that a model is made for: those that the user set, completed from the signature.

`navigator.samples.axes` decides about the shapes of samples. Draws nothing, reads no file.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from navigator.errors import StepError, listed
from navigator.records import AxisSpec, ModelConfig, SampleInfo, ShapeProfile, TensorSpec
from navigator.samples.symbols import Layout, Names, Shape, named, told

DEFAULT_BATCH = 128
"""The largest batch if nobody gives one."""

NOTHING: Mapping[str, Sequence[AxisSpec]] = {}
"""What most files say of the sizes of axes."""


def resolve_shapes(
    inputs: Sequence[TensorSpec], config: ModelConfig, axes: Mapping[str, Sequence[AxisSpec]] = NOTHING
) -> ShapeProfile:
    """Return the shapes of `resolve`."""
    return resolve(inputs, config, axes).profile


def resolve(
    inputs: Sequence[TensorSpec], config: ModelConfig, axes: Mapping[str, Sequence[AxisSpec]] = NOTHING
) -> Layout:
    """Complete `min_shapes`, `opt_shapes` and `max_shapes` from the signature and from what the file says of axes.

    Static axes are the signature's. Axis 0, if dynamic, is the batch: 1 to `max_batch_size`, or what is given for
    another input's batch. Every other dynamic axis needs a maximum, and its minimum defaults to 1. Opt defaults to max.
    An axis without a given size takes the one that follows from the file's names, or the one given for another input's
    axis with the same maximum, since ids and mask must have the same sequence length; then the file's own range. If the
    rank is unknown, the given shapes decide: axis 0 is the batch, and axes where they differ are dynamic.

    Args:
        inputs: the source model's inputs.
        config: the user's shapes.
        axes: what the source model's file says of its inputs' axes.

    Raises:
        StepError: the given shapes contradict the signature, or do not limit a dynamic axis.
    """
    frames = frames_of(inputs, config)
    return _resolved(frames, config, named(frames, axes, given_shapes(config)))


def given_shapes(config: ModelConfig) -> Mapping[str, Mapping[str, Shape]]:
    """Return the user's shapes by option."""
    return {"min_shapes": config.min_shapes, "opt_shapes": config.opt_shapes, "max_shapes": config.max_shapes}


def frames_of(inputs: Sequence[TensorSpec], config: ModelConfig) -> dict[str, Shape]:
    """Return the shape of each input in the signature, -1 for dynamic axes; if its rank is unknown, the user's.

    Raises:
        StepError: the user's shapes contradict the signature, or a rank is unknown.
    """
    given = given_shapes(config)
    for key, shapes in given.items():
        refuse_unknown(key, shapes, inputs)
    frames = {spec.name: _frame(spec, given) for spec in inputs}
    refuse(
        [problem for name, frame in frames.items() for problem in _contradictions(name, frame, given)],
        "write the model's own sizes, and a size of 1 or more where it has -1",
    )
    return frames


def _resolved(frames: Mapping[str, Shape], config: ModelConfig, names: Names) -> Layout:
    maxima, largest = _maxima(frames, config, names)
    minima, smallest = _complete(frames, maxima, config.min_shapes, names, "min_shapes", largest)
    for name in minima.keys() & config.opt_shapes.keys() - config.min_shapes.keys():
        minima[name] = tuple(map(min, minima[name], config.opt_shapes[name]))
    optima, _ = _complete(frames, maxima, config.opt_shapes, names, "opt_shapes", largest)
    for name in optima.keys() - config.opt_shapes.keys():
        optima[name] = tuple(map(max, optima[name], minima[name]))
    shrinking = [
        (name, axis)
        for name, axis in names.computed
        if not minima[name][axis] <= optima[name][axis] <= maxima[name][axis]
    ]
    if shrinking:  # `total - past`: the ends of what it's computed from aren't its own
        return _resolved(frames, config, names.without(shrinking))
    refuse(
        list(_disorders(minima, optima, maxima, config)),
        "sizes must not decrease from min_shapes to opt_shapes to max_shapes; a batch without max_shapes ends at "
        "max_batch_size",
    )
    symbols = {name: (smallest[name], size) for name, size in largest.items() if name in smallest}
    return Layout(profile=ShapeProfile(min=minima, opt=optima, max=maxima), names=names, symbols=symbols)


def axis_notes(
    inputs: Sequence[TensorSpec], config: ModelConfig, axes: Mapping[str, Sequence[AxisSpec]]
) -> tuple[str, ...]:
    """Return sentences on what the file ties, and on where the user's shapes contradict it."""
    layout = resolve(inputs, config, axes)
    return (*layout.names.notes, *filter(None, [told(layout)]))


def profile_of(
    inputs: Sequence[TensorSpec],
    config: ModelConfig,
    samples: Sequence[SampleInfo],
    axes: Mapping[str, Sequence[AxisSpec]] = NOTHING,
) -> ShapeProfile:
    """Return the shapes that an engine is built for: the configured ones, and those of the user's own samples.

    Args:
        inputs: the source model's inputs.
        config: shapes, and whether the samples are the user's own.
        samples: the samples that the model was run on; samples with another rank than the first are ignored.
        axes: what the source model's file says of its inputs' axes.

    Raises:
        StepError: as `resolve_shapes`, but never with the user's own samples, which need no other shapes.
    """
    if not config.samples:
        return resolve_shapes(inputs, config, axes)

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


def _maxima(frames: Mapping[str, Shape], config: ModelConfig, names: Names) -> tuple[dict[str, Shape], dict[str, int]]:
    """Return the largest shapes, and the largest size of each name."""
    given = config.max_shapes
    batches = {given[name][0] for name, frame in frames.items() if name in given and frame[:1] == (-1,)}
    batch = min(batches, default=DEFAULT_BATCH if config.max_batch_size == "auto" else config.max_batch_size)
    largest = _largest(names, batch if len(batches) < 2 else None)
    problems = []
    maxima = {}
    for name, frame in frames.items():
        if name in given:
            maxima[name] = given[name]
            continue
        known = {axis: names.size((name, axis), largest) for axis, size in enumerate(frame) if size < 0}
        maxima[name] = tuple(size if size >= 0 else known[axis] or batch for axis, size in enumerate(frame))
        unknown = [axis for axis, size in known.items() if size is None and axis > 0]
        if unknown:
            axes = "axis " + " and ".join(map(str, unknown)) if len(unknown) < 3 else f"axes {unknown}"
            problems.append(f"input {name!r} {list(frame)} has no maximum size on {axes}")
        elif known.get(0, 0) is None and len(batches) > 1:
            problems.append(f"the maximum batch (axis 0) of input {name!r} is ambiguous: {sorted(batches)}")
    found = "" if config.probe else "set `probe: true` to find them by running the model, or "
    refuse(problems, f"{found}set max_shapes, e.g. `max_shapes: {_example(frames, maxima, given)}`")
    return maxima, largest


def _largest(names: Names, batch: int | None) -> dict[str, int]:
    """Return the largest size of each name: the user's, the batch within the file's range, or the end of that range."""
    largest = dict(names.given["max_shapes"])
    batches = {name for name, places in names.plain.items() if any(axis == 0 for _, axis in places)}
    for name in names.symbols:
        _, high = names.ranges.get(name, (1, None))
        limits = [limit for limit in (high, batch if name in batches else None) if limit is not None]
        if limits:
            largest.setdefault(name, min(limits))
    return largest


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
    frames: Mapping[str, Shape],
    maxima: Mapping[str, Shape],
    given: Mapping[str, Shape],
    names: Names,
    key: str,
    largest: Mapping[str, int],
) -> tuple[dict[str, Shape], dict[str, int]]:
    """Return `given`, the shapes of the option `key`, completed, and the size of each name.

    Completed from static sizes, the file's names, axes with the same maximum, and the file's smallest sizes or 1 for
    `min_shapes`, or else the maxima.
    """
    known: dict[tuple[bool, int], set[int]] = {}
    for name in frames:
        for axis, own in enumerate(given.get(name, ())):
            if frames[name][axis] < 0:
                known.setdefault((axis == 0, maxima[name][axis]), set()).add(own)

    def alike(name: str, axis: int) -> int | None:
        sizes = known.get((axis == 0, maxima[name][axis]), set())
        if not sizes and frames[name][0] >= 0:
            sizes = known.get((True, maxima[name][axis]), set())  # the batch inside a state, see `axes.ties`
        return next(iter(sizes)) if len(sizes) == 1 else None

    symbols = dict(names.given[key])
    for name, places in names.plain.items():
        found = {size for place in places if (size := alike(*place)) is not None}
        if len(found) == 1:
            symbols.setdefault(name, found.pop())
    symbols = (names.smallest(largest) if key == "min_shapes" else dict(largest)) | symbols

    def size_of(name: str, axis: int) -> int:
        if frames[name][axis] >= 0:
            return frames[name][axis]
        size = names.size((name, axis), symbols) or alike(name, axis)
        return size or (1 if key == "min_shapes" else maxima[name][axis])

    completed = {
        name: given[name] if name in given else tuple(size_of(name, axis) for axis in range(len(frame)))
        for name, frame in frames.items()
    }
    return completed, symbols


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
