"""The sets of inputs that a model is verified with: drawn values, or the user's own data.

Owns what values are drawn and what files are accepted; `navigator.samples.shapes` says in which shapes. It runs no
model and judges no output. The same seed gives the same arrays whatever other inputs or samples there are.
"""

import hashlib
import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from navigator.errors import StepError
from navigator.records import ModelConfig, SampleInfo, ShapeProfile, TensorSpec
from navigator.samples.shapes import (
    Shape,
    fitting,
    random_shapes,
    refuse,
    refuse_unknown,
    resolve_shapes,
    ties,
    yaml_key,
)

__all__ = ["RANDOM", "Sample", "generate", "resolve_shapes"]

Sample = tuple[str, dict[str, np.ndarray]]

# The user's own data is read whole; more than this part of the memory would leave nothing to run the model in.
_USABLE_FOR_DATA = 0.25
# The place in this list seeds a sample. Those that are random are in shapes that nobody asked for.
RANDOM = ("random_0", "random_1")
_NAMES = ("min", "opt", "max", *RANDOM)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Range:
    """Inclusive bounds of an input's values, exact in its dtype; `given` if the user wrote them."""

    dtype: np.dtype[Any]
    low: int | float
    high: int | float
    given: bool


def generate(
    inputs: Sequence[TensorSpec], config: ModelConfig, *, memory_bytes: int
) -> tuple[list[Sample], tuple[SampleInfo, ...]]:
    """Return the samples that a model is verified with, and what to report of them.

    Without `config.samples`: "min", "opt" and "max", the same shapes once, and up to two random shapes between.
    Values are uniform in `value_ranges`, inclusive; without one, floats in [0, 1] and whole numbers 0 and 1.

    Args:
        inputs: the source model's inputs.
        config: shapes, ranges, dtypes, seed, or the user's own files.
        memory_bytes: what the machine has. A generated sample that would need more than half of it is made
            smaller, batch first, never below the min shapes.

    Raises:
        StepError: configuration and signature do not fit, or the user's files do not fit the signature.
    """
    dtypes = _dtypes(inputs, config)
    if config.samples:
        samples = _own_data(inputs, dtypes, config.samples, memory_bytes)
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
    """Yield each sample's own number, which seeds it, with its shapes; no two ask for the same shapes.

    Except that a model with a single shape gets a second sample of it: what shows whether it depends on its inputs.
    """
    tied = ties(profile)
    named: tuple[Mapping[str, Shape], ...] = (profile.min, profile.opt, profile.max)
    seen: list[Mapping[str, Shape]] = []
    for number, name in enumerate(_NAMES):
        random = name in RANDOM
        wanted = random_shapes(profile, tied, _rng(seed, number, ""), seen) if random else named[number]
        single = name == "random_0" and bool(profile.min) and profile.min == profile.max
        if single:
            wanted = profile.min
        elif wanted is None or wanted in seen:
            continue
        fits = fitting(wanted, tied, dtypes, memory_bytes)
        if random and fits in seen and not single:
            continue
        seen += [wanted, fits]
        yield number, SampleInfo(name=name, shapes=fits, reduced_from=None if fits == wanted else wanted)


def _rng(seed: int, number: int, name: str) -> np.random.Generator:
    """Return the generator of one array: of the seed, the sample's number and the input's name, nothing else."""
    digest = hashlib.sha256(f"{seed}/{number}/{name}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


def _dtypes(inputs: Sequence[TensorSpec], config: ModelConfig) -> dict[str, np.dtype[Any]]:
    """Return the dtype of every input: the signature's; `config.dtypes` may only say the same."""
    refuse_unknown("dtypes", config.dtypes, inputs)
    dtypes = {}
    problems = []
    for spec in inputs:
        dtypes[spec.name] = _dtype(spec.name, spec.dtype or config.dtypes.get(spec.name, config.dtypes.get("", "")))
        wanted = config.dtypes.get(spec.name)
        if wanted is not None and _dtype(spec.name, wanted) != dtypes[spec.name]:
            problems.append(f"dtypes says {wanted} for the input {spec.name!r}, which is {spec.dtype} in the model")
    refuse(problems, "take the entries out of dtypes: the model's own signature holds")
    return dtypes


def _dtype(name: str, text: str) -> np.dtype[Any]:
    try:
        dtype = np.dtype(text) if text else None
    except TypeError:
        dtype = None
    if text in {"string", "str", "bytes", "object"} or (dtype is not None and dtype.kind in "SUOT"):
        raise StepError(
            f"the input {name!r} is of type {text}: string inputs can be neither generated nor verified",
            "save the model from its first numeric input on, behind the text processing",
        )
    if dtype is None or dtype.kind not in "biufc":
        raise StepError(
            f"the input {name!r} is of type {text or 'unknown'}, which NumPy does not hold",
            f"save the model with an input of another type, or name it: `dtypes: {{{yaml_key(name)}: float32}}`",
        )
    return dtype


def _range(name: str, dtype: np.dtype[Any], config: ModelConfig) -> _Range:
    """Return the values allowed for an input: its entry, the default entry or [0, 1], within the dtype's limits."""
    key = name if name in config.value_ranges else ""
    given = key in config.value_ranges
    low, high = config.value_ranges.get(key, (0, 1))
    where = f"value_ranges [{low}, {high}] of the input {name!r}"
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise StepError(f"{where}: two finite numbers are needed, the smaller one first")
    if dtype.kind == "f" and dtype.itemsize <= 8:
        return _float_range(where, dtype, low, high, given)
    if dtype.kind not in "biu":
        raise StepError(f"{dtype} inputs such as {name!r} are not generated", "give your own data under samples")
    limits = (0, 1) if dtype.kind == "b" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    lowest, highest = max(math.ceil(low), limits[0]), min(math.floor(high), limits[1])
    if lowest > highest:
        raise StepError(f"no {dtype} lies in {where}")
    return _Range(dtype=dtype, low=lowest, high=highest, given=given)


def _float_range(where: str, dtype: np.dtype[Any], low: float, high: float, given: bool) -> _Range:
    """Round the bounds to the dtype, inwards, so that no drawn value is rounded out of the range."""
    largest = float(np.finfo(dtype).max)
    if low > largest or high < -largest:
        raise StepError(f"no {dtype} lies in {where}")
    lowest, highest = dtype.type(max(low, -largest)), dtype.type(min(high, largest))
    inner_low = np.nextafter(lowest, dtype.type(np.inf)) if float(lowest) < low else lowest
    inner_high = np.nextafter(highest, dtype.type(-np.inf)) if float(highest) > high else highest
    if inner_low > inner_high:
        # The range lies between two neighbours of the dtype, such as [0.1, 0.1] in float32: take the nearest.
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
            # Zeros alone say little of a model; a mask of one element must let that element through.
            values[0] = bounds.high
        elif count > 1 and (values == values[0]).all():
            values[rng.integers(count)] = bounds.high if values[0] != bounds.high else bounds.low
    return values.astype(bounds.dtype, copy=False).reshape(shape)


def _floats(rng: np.random.Generator, count: int, bounds: _Range) -> np.ndarray:
    """Draw in float32 or float64; bounds that the dtype holds make the last rounding stay within them."""
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


def _own_data(
    inputs: Sequence[TensorSpec], dtypes: Mapping[str, np.dtype[Any]], paths: Sequence[Path], memory_bytes: int
) -> list[Sample]:
    samples: list[Sample] = []
    taken = 0
    for path in paths:
        try:
            taken += _size(path)
            if taken > memory_bytes * _USABLE_FOR_DATA:
                raise StepError(
                    f"samples hold more than {memory_bytes * _USABLE_FOR_DATA / 2**30:.1f} GiB up to {path}, a quarter "
                    "of the memory",
                    "give fewer or smaller ones: a batch or two shows an error as well as a data set does",
                )
            arrays = _read(path, inputs)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise StepError(
                f"{path} cannot be read as a sample: {error}",
                "write it with numpy.savez(path, **{input name: array}), without objects or strings",
            ) from error
        sample = {spec.name: _checked(path, spec, dtypes[spec.name], arrays[spec.name]) for spec in inputs}
        names = [name for name, _ in samples]
        name = path.stem if path.stem not in names else f"{path.stem}_{len(names)}"
        samples.append((name, sample))
    return samples


def _size(path: Path) -> int:
    """Return the bytes of the arrays in a file, before any of it is unpacked."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return sum(entry.file_size for entry in archive.infolist())
    return path.stat().st_size


def _read(path: Path, inputs: Sequence[TensorSpec]) -> dict[str, np.ndarray]:
    names = [spec.name for spec in inputs]
    # Opened here, since numpy.load (2.4) leaves a broken archive open.
    with path.open("rb") as file:
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            if len(names) != 1:
                raise StepError(
                    f"{path} holds one array, and the model has {len(names)} inputs: {', '.join(names)}",
                    "write one .npz a sample, with an array for each input name",
                )
            return {names[0]: loaded}
        with loaded as archive:
            missing = ", ".join(name for name in names if name not in archive.files)
            extra = ", ".join(name for name in archive.files if name not in names)
            if missing or extra:
                has = f"has {extra}, which the model does not take" if extra else ""
                wrong = " and ".join(filter(None, (missing and f"lacks {missing}", has)))
                raise StepError(f"{path} {wrong}", f"the model's inputs are: {', '.join(names)}")
            return {name: np.asarray(archive[name]) for name in names}


def _checked(path: Path, spec: TensorSpec, dtype: np.dtype[Any], array: np.ndarray) -> np.ndarray:
    """Return the array in the model's dtype if it is the same numbers there, and fits the signature's shape."""
    shape = list(array.shape)
    expected = spec.shape if spec.shape is not None else array.shape
    if len(expected) != array.ndim or any(fixed not in (-1, size) for fixed, size in zip(expected, shape, strict=True)):
        raise StepError(f"{path}: {spec.name!r} has the shape {shape}, but the model's input is {list(expected)}")
    if array.size == 0 and 0 not in expected:
        raise StepError(f"{path}: {spec.name!r} has the shape {shape}, without any element")
    if array.dtype.newbyteorder("=") != dtype.newbyteorder("=") and not _survives(array, dtype):
        raise StepError(
            f"{path}: {spec.name!r} is {array.dtype}, the model takes {dtype}, and its values would not stay the same",
            f"save it as numpy.asarray(array, dtype={str(dtype)!r})",
        )
    return np.asarray(array, dtype=dtype, order="C")


def _survives(array: np.ndarray, dtype: np.dtype[Any]) -> bool:
    """Return whether every value is the same number in `dtype`."""
    if array.dtype.kind not in "biufc" or (array.dtype.kind == "c" and dtype.kind != "c"):
        return False
    if array.dtype.kind in "iu" and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return array.size == 0 or (int(array.min()) >= limits.min and int(array.max()) <= limits.max)
    with np.errstate(all="ignore"):
        # There and back: a comparison across the two dtypes would itself convert, and hide what was lost.
        back = array.astype(dtype).astype(array.dtype)
    return bool(np.array_equal(back, array, equal_nan=array.dtype.kind in "fc"))
