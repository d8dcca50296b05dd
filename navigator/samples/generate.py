"""The samples that a model is verified with: random values, or the user's own data.

Plans the samples. Beside this, `shapes` decides about shapes, `values` about values, `probes` about the samples that
look for trouble, and `own_data` reads files. Runs no model. The same seed gives the same arrays, whatever other inputs
there are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from navigator.errors import StepError
from navigator.records import TEXT, AxisSpec, ModelConfig, SampleInfo, TensorSpec
from navigator.samples.axes import (
    ASKED_FOR,
    EXTRA,
    RANDOM,
    Tie,
    batch_axes,
    combinations,
    fitting,
    random_shapes,
    ties,
)
from navigator.samples.constants import Compared
from navigator.samples.own_data import Sample, read_samples
from navigator.samples.probes import PROBES, probes
from navigator.samples.shapes import NOTHING, refuse, refuse_unknown, resolve, resolve_shapes, yaml_key
from navigator.samples.symbols import Layout, Shape
from navigator.samples.values import (
    Bounds,
    Told,
    bounds_of,
    generator,
    rows,
    spelled,
    tell_rows_apart,
    touch_ends,
    uniform,
)

__all__ = ["EXTRA", "UNASKED", "Sample", "drawn_from", "generate", "look_for_trouble", "resolve_shapes"]


UNASKED = frozenset({*EXTRA, *PROBES})
"""Generated samples that the user did not ask for, so that the source model may refuse them."""


def generate(
    inputs: Sequence[TensorSpec],
    config: ModelConfig,
    *,
    memory_bytes: int,
    told: Mapping[str, Told] | None = None,
    axes: Mapping[str, Sequence[AxisSpec]] = NOTHING,
) -> tuple[list[Sample], tuple[SampleInfo, ...]]:
    """Return the samples that a model is verified with, and their description for the report.

    Returns the user's own `samples`. Defaults to one sample each in the min, opt and max shapes (equal shapes only
    once), in up to two random shapes in between, and in up to eight combinations of smallest and largest sizes. Values
    are uniform within their bounds, see `navigator.samples.values.bounds_of`, but the rows of a table are all looked up
    before one is again; the first and the last row of a batch differ. In the random shapes, each row has an element at
    either end of a range that the user gave.

    Args:
        inputs: the source model's inputs.
        config: shapes, ranges, dtypes, seed, or the user's own files.
        memory_bytes: memory of the machine. A generated sample that would need more than half of it is made smaller,
            batch first, but never smaller than the min shapes.
        told: what the source model says about the values of its inputs.
        axes: what the source model's file says of its inputs' axes.

    Raises:
        StepError: the configuration or the user's files contradict the signature.
    """
    dtypes = _dtypes(inputs, config)
    if config.samples:
        labelled = config.metric is not None
        samples = read_samples(inputs, dtypes, config.samples, memory_bytes, labelled=labelled)
        return samples, tuple(
            SampleInfo(name=name, shapes={key: array.shape for key, array in arrays.items()})
            for name, arrays in samples
        )
    layout = resolve(inputs, config, axes)
    bounds = drawn_from(inputs, config, told)
    values = {name: str(each) for name, each in bounds.items()}
    batch = batch_axes(ties(layout))
    unseen = {name: rows(config.random_seed, name, each) for name, each in bounds.items()}
    samples, infos = [], []
    drawn_as = {name: each.dtype for name, each in bounds.items()}
    for number, info in _planned(layout, drawn_as, config.random_seed, memory_bytes):
        arrays = {}
        for name, shape in info.shapes.items():
            rng = generator(config.random_seed, number, name)
            arrays[name] = uniform(rng, shape, bounds[name], unseen[name])
            unseen[name] = unseen[name][arrays[name].size :]
            if name in batch:
                tell_rows_apart(rng, arrays[name], batch[name], bounds[name])
            if info.name in RANDOM:
                touch_ends(rng, arrays[name], batch.get(name), bounds[name])
        samples.append((info.name, {name: spelled(array, bounds[name]) for name, array in arrays.items()}))
        infos.append(replace(info, values=values))
    return samples, tuple(infos)


def look_for_trouble(
    inputs: Sequence[TensorSpec],
    config: ModelConfig,
    *,
    memory_bytes: int,
    told: Mapping[str, Told] | None = None,
    compared: Compared | None = None,
    axes: Mapping[str, Sequence[AxisSpec]] = NOTHING,
    large: bool = False,
) -> tuple[list[Sample], tuple[SampleInfo, ...]]:
    """Return the samples beside generated ones that look for trouble, none beside the user's own; see `generate`.

    They're small, or `large`.
    """
    if config.samples:
        return [], ()
    layout = resolve(inputs, config, axes)
    bounds = drawn_from(inputs, config, told)
    return probes(bounds, layout, seed=config.random_seed, memory_bytes=memory_bytes, compared=compared, large=large)


def drawn_from(
    inputs: Sequence[TensorSpec], config: ModelConfig, told: Mapping[str, Told] | None = None
) -> dict[str, Bounds]:
    """Return the bounds of the values of each input.

    Raises:
        StepError: `value_ranges` or `dtypes` contradict the signature.
    """
    refuse_unknown("value_ranges", config.value_ranges, inputs)
    return {
        name: bounds_of(name, dtype, config.value_ranges, (told or {}).get(name))
        for name, dtype in _dtypes(inputs, config).items()
    }


def _planned(
    layout: Layout, dtypes: Mapping[str, np.dtype[Any]], seed: int, memory_bytes: int
) -> Iterator[tuple[int, SampleInfo]]:
    """Yield the number of each sample, which seeds it, and its shapes; no two have the same shapes.

    Except that a model with a single shape gets a second sample of it, to see whether it depends on its inputs.
    """
    profile, tied = layout.profile, ties(layout)
    seen: list[Mapping[str, Shape]] = []
    # A sample's position seeds it.
    for number, (name, wanted) in enumerate(_wanted(layout, tied, seed, seen)):
        single = number == len(ASKED_FOR) and bool(profile.min) and profile.min == profile.max
        if wanted is None or (wanted in seen and not single):
            continue
        fits = fitting(wanted, layout, tied, dtypes, memory_bytes)
        if fits in seen and name in EXTRA and not single:
            continue
        seen += [wanted, fits]
        yield number, SampleInfo(name=name, shapes=fits, reduced_from=None if fits == wanted else wanted)


def _wanted(
    layout: Layout, tied: Sequence[Tie], seed: int, seen: Sequence[Mapping[str, Shape]]
) -> Iterator[tuple[str, Mapping[str, Shape] | None]]:
    """Yield the names and shapes of all samples, None for a random one that's not to be found.

    The first random one has height and width apart, the second alike for models that take nothing but squares.
    """
    profile = layout.profile
    yield from zip(ASKED_FOR, (profile.min, profile.opt, profile.max), strict=True)
    for number, (name, sizes) in enumerate(zip(RANDOM, (ties(layout, apart=True), tied), strict=True), len(ASKED_FOR)):
        yield name, random_shapes(layout, sizes, generator(seed, number, ""), seen) if sizes else profile.min
    yield from combinations(layout)


def _dtypes(inputs: Sequence[TensorSpec], config: ModelConfig) -> dict[str, np.dtype[Any]]:
    """Return the dtype of every input: the signature's, which `config.dtypes` must not contradict."""
    refuse_unknown("dtypes", config.dtypes, inputs)
    dtypes = {}
    problems = []
    for spec in inputs:
        dtypes[spec.name] = _dtype(spec.name, spec.dtype or config.dtypes.get(spec.name, config.dtypes.get("", "")))
        wanted = config.dtypes.get(spec.name)
        if wanted is not None and _dtype(spec.name, wanted) != dtypes[spec.name]:
            problems.append(f"dtypes has {wanted} for input {spec.name!r}, but the model has {spec.dtype}")
    refuse(problems, "remove these entries from dtypes; the model's signature already has them")
    return dtypes


def _dtype(name: str, text: str) -> np.dtype[Any]:
    try:
        dtype = np.dtype(str if text == TEXT else text) if text else None
    except TypeError:
        dtype = None
    if dtype is None or dtype.kind not in "biufcU":
        raise StepError(
            f"input {name!r} has dtype {text}, which NumPy doesn't support" if text else f"input {name!r} has no dtype",
            f"set it, e.g. `dtypes: {{{yaml_key(name)}: float32}}`"
            if not text
            else "save the model in float32 or float16",
        )
    return dtype
