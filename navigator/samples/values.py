"""The values of random inputs: the numbers that an input may take, who says so, and how they're drawn.

Text is drawn as the numbers of the texts that an input may be, and spelled last. Knows no shapes beyond those of one
array, and no samples. The same generator gives the same values.
"""

import hashlib
import math
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

import numpy as np

from navigator.errors import StepError

# Words of a name that make a mask's neighbour of it: the positions of masked tokens, the id of the mask token.
_NOT_MASKS = frozenset(
    (
        *("count", "counts", "id", "ids", "idx", "index", "indices", "len", "length", "lengths"),
        *("pos", "position", "positions", "token", "tokens"),
    )
)

# In a shorter row, two ends leave too few ordinary values beside them.
_ORDINARY = 4

# Of larger ranges, samples see too little for an order to matter.
_MOST_ROWS = 2**22

Texts = Sequence[Sequence[str]]
"""The texts that an input may be: for each place of its last axis, or for all of them."""

# Texts that no table has, and what a model may strip, fold or count wrong. With these, some that it knows in capitals.
UNKNOWN = ("", " ", "unknown", "Ünbekannt 7", "未知")
_IN_CAPITALS = 3

# Of an input of which the model doesn't say what it knows.
ANY_TEXTS = ("a", "b", "ab", "A b", "a-b", "b a b", "10", "ä")


Columns = Sequence[tuple[int, Sequence[float]]]
"""Places of an input's last axis, and the numbers that these may be: an encoder knows no others."""


class Origin(StrEnum):
    """Who says which values an input takes."""

    GIVEN = "value_ranges"
    MODEL = "the source model"
    DTYPE = "the dtype"
    DEFAULT = "nobody"


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What a source model says about the numbers of an input: inclusive bounds, and the reason for the report.

    `mask` is whether it reads them as true and false. `compared` is whether it compares them with each number of the
    range. `signed` is whether it says nothing of their range, but does with them what depends on their sign. `real` is
    whether it says so of floats too. `texts` are what an input that is text may be, in place of bounds, and
    `columns` what whole numbers are in some places.
    """

    low: float
    high: float
    why: str
    mask: bool = False
    compared: bool = False
    signed: bool = False
    real: bool = False
    texts: Texts = ()
    columns: Columns = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """Inclusive bounds of an input's values, exact in its dtype.

    `mask` is whether the input selects elements: a bool, or 0 and 1 that the model reads as one or that are called a
    mask. `signed` is whether nobody says from where its numbers are, but the model minds their sign. Values of an input
    that is text are the numbers of its `texts`, and in some places `columns` say what an input is, see `spelled`.
    """

    dtype: np.dtype[Any]
    low: int | float
    high: int | float
    origin: Origin
    why: str = ""
    mask: bool = False
    signed: bool = False
    texts: Texts = ()
    columns: Columns = ()

    def __str__(self) -> str:
        ends = dict.fromkeys(f"{end:g}" if self.dtype.kind == "f" else f"{end}" for end in (self.low, self.high))
        between = f"{sum(map(len, self.texts))} texts" if self.texts else " to ".join(ends)
        return f"{between} ({self.why})" if self.why else between

    def holds(self, value: float) -> bool:
        """Return whether `value` is in the range."""
        return self.low <= value <= self.high


def generator(seed: int, sample: int | str, name: str) -> np.random.Generator:
    """Return the generator of one array, which depends only on the seed, the sample and the input's name."""
    digest = hashlib.sha256(f"{seed}/{sample}/{name}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


def bounds_of(
    name: str, dtype: np.dtype[Any], value_ranges: Mapping[str, tuple[float, float]], told: Told | None = None
) -> Bounds:
    """Return the bounds of an input's values, within the dtype's limits.

    The user's word wins: the input's own entry in `value_ranges`, else the entry "". Then what the source model tells.
    Else floats are from 0 to 1; int8 and uint8 are pixels and quantized values, and take all of the dtype; other whole
    numbers may be ids, of which only 0 and 1 are in any table. Text is what the source model knows.

    Raises:
        StepError: the range is impossible, or the dtype can't be generated.
    """
    if dtype.kind == "U":
        return _bounds_of_text(name, value_ranges, told)
    key = name if name in value_ranges else ""
    low, high = value_ranges.get(key, (0, 1))
    columns: Columns = ()
    origin, why = (Origin.GIVEN if key in value_ranges else Origin.DEFAULT), ""
    named = _named_mask(name)
    kinds = "iuf" if told is not None and told.real else "iu"
    if origin is Origin.DEFAULT and told is not None and not told.signed and dtype.kind in kinds:
        low, high, origin, why = told.low, told.high, Origin.MODEL, told.why
        if dtype.kind != "f":
            low, high, columns = math.floor(low), math.ceil(high), told.columns
    elif origin is Origin.DEFAULT and dtype.kind in "iu" and dtype.itemsize == 1 and not named:
        low, high, origin = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max), Origin.DTYPE
    where = f"value_ranges [{low}, {high}] of input {name!r}"
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise StepError(f"{where}: expected two finite numbers, the smaller one first")
    if dtype.kind not in "biuf" or (dtype.kind == "f" and dtype.itemsize > 8):
        raise StepError(f"{dtype} inputs such as {name!r} can't be generated", "set samples to your own data")
    lowest, highest = (_float_ends if dtype.kind == "f" else _whole_ends)(where, dtype, low, high)
    read = told is not None and told.mask and dtype.kind in "iu"
    mask = (named or read or dtype.kind == "b") and (lowest, highest) == (0, 1)
    signed = origin is Origin.DEFAULT and told is not None and told.signed and dtype.kind == "i" and not mask
    return Bounds(
        dtype=dtype, low=lowest, high=highest, origin=origin, why=why, mask=mask, signed=signed, columns=columns
    )


def _bounds_of_text(name: str, value_ranges: Mapping[str, tuple[float, float]], told: Told | None) -> Bounds:
    if name in value_ranges:
        why = f"value_ranges of input {name!r}: it's text, which has no range"
        raise StepError(why, f"remove {name!r} from value_ranges")
    if told is None or not told.texts:
        told = Told(low=0, high=len(ANY_TEXTS) - 1, why="", texts=(ANY_TEXTS,))
        origin = Origin.DTYPE
    else:
        origin = Origin.MODEL
    numbers = np.dtype(np.int64)
    return Bounds(dtype=numbers, low=int(told.low), high=int(told.high), origin=origin, why=told.why, texts=told.texts)


def spelled(numbers: np.ndarray, bounds: Bounds) -> np.ndarray:
    """Return the texts that numbers stand for, in a fixed width; the numbers if the input isn't text.

    In columns of which the model knows the numbers, return these instead.

    A place with fewer texts than others begins with its first one again. Below 0 are texts that the model may not know.
    """
    if bounds.columns:
        return _in_columns(numbers, bounds.columns)
    if not bounds.texts:
        return numbers
    found = np.empty(numbers.shape, object)
    for place, texts in enumerate(bounds.texts):
        part = (..., place) if len(bounds.texts) > 1 else (...,)
        chosen = numbers[part]
        found[part] = _table(tuple(texts))[np.where(chosen < 0, chosen, chosen % len(texts))]
    return found.astype(str)


def _in_columns(numbers: np.ndarray, columns: Columns) -> np.ndarray:
    """Return an array with numbers that a model knows in some columns: all of them, if there's room."""
    found = numbers.copy()
    for place, known in columns:
        if place < found.shape[-1]:
            part = found[..., place]
            rng = np.random.default_rng([place, zlib.crc32(part.tobytes())])
            chosen = np.resize(rng.permutation(np.array(known)), part.size)
            part[...] = rng.permutation(chosen).reshape(part.shape)
    return found


@lru_cache(maxsize=256)
def _table(texts: tuple[str, ...]) -> np.ndarray:
    """Return the texts that a model knows, and then others."""
    return np.array([*texts, *(text.upper() for text in texts[:_IN_CAPITALS]), *UNKNOWN], object)


def unknown(bounds: Bounds) -> int:
    """Return the lowest number that stands for a text, which the model may not know."""
    return -len(UNKNOWN) - min(_IN_CAPITALS, *map(len, bounds.texts), _IN_CAPITALS)


def _named_mask(name: str) -> bool:
    """Return whether an input is called a mask: `attention_mask`, `keyPaddingMask`, but not `mask_positions`."""
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    return any(word.endswith(("mask", "masks")) for word in words) and not _NOT_MASKS & set(words)


def _whole_ends(where: str, dtype: np.dtype[Any], low: float, high: float) -> tuple[int, int]:
    limits = (0, 1) if dtype.kind == "b" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    lowest, highest = max(math.ceil(low), limits[0]), min(math.floor(high), limits[1])
    if lowest > highest:
        raise StepError(f"{where}: no {dtype} value is in this range")
    return lowest, highest


def _float_ends(where: str, dtype: np.dtype[Any], low: float, high: float) -> tuple[float, float]:
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
    return float(inner_low), float(inner_high)


def rows(seed: int, name: str, bounds: Bounds) -> np.ndarray:
    """Return all rows of the table of an input in the order in which samples have them, none if there are many.

    A converter may get one row of a table wrong, and of numbers that are drawn again and again, a third is missing when
    as many were drawn as there are.
    """
    known = bounds.dtype.kind in "iu" and bounds.origin is Origin.MODEL and not bounds.mask
    count = int(bounds.high) - int(bounds.low) + 1
    if not known or count > _MOST_ROWS:
        return np.empty(0, bounds.dtype)
    # In the dtype, where what wraps around comes back: int64 has no large uint64.
    rng = generator(seed, "rows", name)
    # Columns of texts are each in an order of their own.
    orders = [rng.permutation(count) for _ in range(max(1, len(bounds.texts)))]
    found = np.stack(orders, axis=-1).ravel().astype(bounds.dtype)
    return np.asarray(found + bounds.dtype.type(bounds.low))


def uniform(
    rng: np.random.Generator, shape: tuple[int, ...], bounds: Bounds, first: np.ndarray | None = None
) -> np.ndarray:
    """Draw uniformly within the bounds. Whole numbers are never all alike if there is room for two.

    `first` are whole numbers to begin with; those for which there's no room are left out.
    """
    count = math.prod(shape)
    if bounds.dtype.kind == "f":
        return _floats(rng, count, bounds).reshape(shape)
    # `integers` draws no booleans from an inclusive range.
    drawn_as: Any = np.uint8 if bounds.dtype.kind == "b" else bounds.dtype.newbyteorder("=")
    low, high = int(bounds.low), int(bounds.high)
    values = rng.integers(low, high, size=count, dtype=drawn_as, endpoint=True)
    if first is not None:
        values[: len(first)] = first[:count]
    if bounds.low < bounds.high and count:
        if count == 1 and bounds.origin is Origin.DEFAULT:
            # Zeros alone show little about a model, and a mask of one element must not hide that element.
            values[0] = bounds.high
        elif count > 1 and (values == values[0]).all():
            values[rng.integers(count)] = bounds.high if values[0] != bounds.high else bounds.low
    return values.astype(bounds.dtype, copy=False).reshape(shape)


def tell_rows_apart(rng: np.random.Generator, array: np.ndarray, axis: int, bounds: Bounds) -> None:
    """Change one element of the last row along `axis` if the first row is the same, so that none can stand for both."""
    rows = np.moveaxis(array, axis, 0)
    if len(rows) > 1 and rows[0].size and bounds.low < bounds.high and np.array_equal(rows[0], rows[-1]):
        element = (-1, *(int(rng.integers(size)) for size in rows.shape[1:]))
        rows[element] = bounds.high if rows[element] != bounds.high else bounds.low


def touch_ends(rng: np.random.Generator, array: np.ndarray, axis: int | None, bounds: Bounds) -> None:
    """Set one element of each row along `axis` to the upper end of a range that the user gave, and one to the lower.

    Where all values are ends, a softmax or a clipping behind them may hide what is wrong with one of them.
    """
    rows = array[None] if axis is None else np.moveaxis(array, axis, 0)
    if bounds.origin is not Origin.GIVEN or bounds.mask or not len(rows) or rows[0].size < _ORDINARY:
        return
    for row in rows:
        high, low = rng.choice(row.size, 2, replace=False)
        row.flat[high], row.flat[low] = bounds.high, bounds.low


def _floats(rng: np.random.Generator, count: int, bounds: Bounds) -> np.ndarray:
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


def nudged(array: np.ndarray, bounds: Bounds) -> np.ndarray:
    """Return floats that differ a little, each from what it was and from all others; inside the bounds. Others stay."""
    if array.dtype.kind != "f":
        return array
    step = max(2.0**-16, 4 * float(np.finfo(array.dtype).eps)) * max(
        1.0, float(np.abs(array).max(initial=0, where=np.isfinite(array)))
    )
    noise = step * np.random.default_rng(0).uniform(0.5, 1, array.shape)
    return np.where(array < (bounds.low / 2 + bounds.high / 2), array + noise, array - noise).astype(array.dtype)


def ends(rng: np.random.Generator, shape: tuple[int, ...], bounds: Bounds) -> np.ndarray:
    """Draw the two bounds alone, each at least once if there is room for both; one element is the upper bound."""
    upper = rng.random(math.prod(shape)) < 0.5
    if upper.size:
        first, *second = rng.choice(upper.size, min(2, upper.size), replace=False)
        upper[first], upper[second] = True, False
    return np.array([bounds.low, bounds.high], bounds.dtype)[upper.astype(np.intp)].reshape(shape)
