"""The samples that a model is verified with: random values, or the user's own data.

Decides which values are drawn; `navigator.samples.shapes` decides about shapes, and `navigator.samples.own_data` reads
files. Runs no model. The same seed gives the same arrays, whatever other inputs or samples there are.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from navigator.errors import StepError
from navigator.records import ModelConfig, SampleInfo, ShapeProfile, TensorSpec
from navigator.samples.axes import (
    ASKED_FOR,
    EXTRA,
    RANDOM,
    Shape,
    Tie,
    combinations,
    fitting,
    random_shapes,
    ties,
)
from navigator.samples.own_data import Sample, read_samples
from navigator.samples.shapes import refuse, refuse_unknown, resolve_shapes, yaml_key

__all__ = ["EXTRA", "Sample", "generate", "resolve_shapes"]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Range:
    """Inclusive bounds of an input's values, exact in its dtype; `given` if the user set them."""

    dtype: np.dtype[Any]
    low: int | float
    high: int | float
    given: bool


def generate(
    inputs: Sequence[TensorSpec], config: ModelConfig, *, memory_bytes: int
) -> tuple[list[Sample], tuple[SampleInfo, ...]]:
    """Return the samples that a model is verified with, and their description for the report.

    Returns the user's own `samples`. Defaults to one sample each in the min, opt and max shapes (equal shapes only
    once), in up to two random shapes in between, and in up to eight combinations of smallest and largest sizes. Values
    are uniform within `value_ranges`, inclusive, which defaults to [0, 1] for floats and to 0 and 1 for whole numbers.

    Args:
        inputs: the source model's inputs.
        config: shapes, ranges, dtypes, seed, or the user's own files.
        memory_bytes: memory of the machine. A generated sample that would need more than half of it is made smaller,
            batch first, but never smaller than the min shapes.

    Raises:
        StepError: the configuration or the user's files contradict the signature.
    """
    dtypes = _dtypes(inputs, config)
    if config.samples:
        samples = read_samples(inputs, dtypes, config.samples, memory_bytes)
        return samples, tuple(
            SampleInfo(name=name, shapes={key: array.shape for key, array in arrays.items()})
            for name, arrays in samples
        )
    profile = resolve_shapes(inputs, config)
    refuse_unknown("value_ranges", config.value_ranges, inputs)
    ranges = {name: _range(name, dtype, config) for name, dtype in dtypes.items()}
    samples, infos = [], []
    for number, info in _planned(profile, dtypes, config.random_seed, memory_bytes):
        arrays = {
            name: _values(_rng(config.random_seed, number, name), shape, ranges[name])
            for name, shape in info.shapes.items()
        }
        samples.append((info.name, arrays))
        infos.append(info)
    return samples, tuple(infos)


def _planned(
    profile: ShapeProfile, dtypes: Mapping[str, np.dtype[Any]], seed: int, memory_bytes: int
) -> Iterator[tuple[int, SampleInfo]]:
    """Yield the number of each sample, which seeds it, and its shapes; no two have the same shapes.

    Except that a model with a single shape gets a second sample of it, to see whether it depends on its inputs.
    """
    tied = ties(profile)
    seen: list[Mapping[str, Shape]] = []
    # A sample's position seeds it.
    for number, (name, wanted) in enumerate(_wanted(profile, tied, seed, seen)):
        single = number == len(ASKED_FOR) and bool(profile.min) and profile.min == profile.max
        if wanted is None or (wanted in seen and not single):
            continue
        fits = fitting(wanted, tied, dtypes, memory_bytes)
        if fits in seen and name in EXTRA and not single:
            continue
        seen += [wanted, fits]
        yield number, SampleInfo(name=name, shapes=fits, reduced_from=None if fits == wanted else wanted)


def _wanted(
    profile: ShapeProfile, tied: Sequence[Tie], seed: int, seen: Sequence[Mapping[str, Shape]]
) -> Iterator[tuple[str, Mapping[str, Shape] | None]]:
    """Yield the names and shapes of all samples, None for a random one that's not to be found."""
    yield from zip(ASKED_FOR, (profile.min, profile.opt, profile.max), strict=True)
    for number, name in enumerate(RANDOM, start=len(ASKED_FOR)):
        yield name, random_shapes(profile, tied, _rng(seed, number, ""), seen) if tied else profile.min
    yield from combinations(profile)


def _rng(seed: int, number: int, name: str) -> np.random.Generator:
    """Return the generator of one array, which depends only on the seed, the sample's number and the input's name."""
    digest = hashlib.sha256(f"{seed}/{number}/{name}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


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
        dtype = np.dtype(text) if text else None
    except TypeError:
        dtype = None
    if text in {"string", "str", "bytes", "object"} or (dtype is not None and dtype.kind in "SUOT"):
        raise StepError(
            f"input {name!r} has dtype {text}: string inputs can't be generated or verified",
            "save only the part of the model after its text processing, which has numeric inputs",
        )
    if dtype is None or dtype.kind not in "biufc":
        raise StepError(
            f"input {name!r} has dtype {text}, which NumPy doesn't support" if text else f"input {name!r} has no dtype",
            f"save the model with another dtype, or set one, e.g. `dtypes: {{{yaml_key(name)}: float32}}`",
        )
    return dtype


def _range(name: str, dtype: np.dtype[Any], config: ModelConfig) -> _Range:
    """Return the bounds of an input's values: its own entry, the default one or [0, 1], within the dtype's limits."""
    key = name if name in config.value_ranges else ""
    given = key in config.value_ranges
    low, high = config.value_ranges.get(key, (0, 1))
    where = f"value_ranges [{low}, {high}] of input {name!r}"
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise StepError(f"{where}: expected two finite numbers, the smaller one first")
    if dtype.kind == "f" and dtype.itemsize <= 8:
        return _float_range(where, dtype, low, high, given)
    if dtype.kind not in "biu":
        raise StepError(f"{dtype} inputs such as {name!r} can't be generated", "set samples to your own data")
    limits = (0, 1) if dtype.kind == "b" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    lowest, highest = max(math.ceil(low), limits[0]), min(math.floor(high), limits[1])
    if lowest > highest:
        raise StepError(f"{where}: no {dtype} value is in this range")
    return _Range(dtype=dtype, low=lowest, high=highest, given=given)


def _float_range(where: str, dtype: np.dtype[Any], low: float, high: float, given: bool) -> _Range:
    """Round the bounds inwards to the dtype, so that no value is rounded out of the range."""
    largest = float(np.finfo(dtype).max)
    if low > largest or high < -largest:
        raise StepError(f"{where}: no {dtype} value is in this range")
    lowest, highest = dtype.type(max(low, -largest)), dtype.type(min(high, largest))
    inner_low = np.nextafter(lowest, dtype.type(np.inf)) if float(lowest) < low else lowest
    inner_high = np.nextafter(highest, dtype.type(-np.inf)) if float(highest) > high else highest
    if inner_low > inner_high:
        # The range is between two neighbouring values of the dtype, e.g. [0.1, 0.1] in float32: take the nearest.
        inner_low = inner_high = lowest
    return _Range(dtype=dtype, low=float(inner_low), high=float(inner_high), given=given)


def _values(rng: np.random.Generator, shape: Shape, bounds: _Range) -> np.ndarray:
    count = math.prod(shape)
    if bounds.dtype.kind == "f":
        return _floats(rng, count, bounds).reshape(shape)
    # `integers` draws no booleans from an inclusive range.
    drawn_as: Any = np.uint8 if bounds.dtype.kind == "b" else bounds.dtype.newbyteorder("=")
    low, high = int(bounds.low), int(bounds.high)
    values = rng.integers(low, high, size=count, dtype=drawn_as, endpoint=True)
    if bounds.low < bounds.high and count:
        if count == 1 and not bounds.given:
            # Zeros alone show little about a model, and a mask of one element must not hide that element.
            values[0] = bounds.high
        elif count > 1 and (values == values[0]).all():
            values[rng.integers(count)] = bounds.high if values[0] != bounds.high else bounds.low
    return values.astype(bounds.dtype, copy=False).reshape(shape)


def _floats(rng: np.random.Generator, count: int, bounds: _Range) -> np.ndarray:
    """Draw in float32 or float64. The final rounding stays within the bounds, since they are exact in the dtype."""
    work = np.float64 if bounds.dtype.itemsize == 8 else np.float32
    values = rng.random(count, dtype=work)
    # A weighted mean, since high - low overflows for the widest ranges; rounding up may still reach infinity.
    rest = 1 - values
    with np.errstate(over="ignore", under="ignore"):
        values *= work(bounds.high)
        rest *= work(bounds.low)
        values += rest
        np.clip(values, work(bounds.low), work(bounds.high), out=values)
        return values.astype(bounds.dtype, copy=False)
