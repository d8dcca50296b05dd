"""How the rows of a tensor come from several of the source's: joined, split, or in another order. NumPy only.

Exporters join the weights of an LSTM and put its gates in another order, and they join or split projections. Each row
is looked up by its hash. A row that isn't found, between two that are, can only be the one between these.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from navigator.models.stored import Stored

# So many of the rows have to be known.
_KNOWN = 0.75

# So many rows, and so many of an unknown row's elements, have to agree.
_FEWEST = 8
_AGREEING = 0.75

# Larger tensors aren't made of vectors.
_MOST_NUMBERS = 2**16

# How near numbers are that are only rounded.
_NEAR = 1e-6
_FAR = 1e-5

# Rows along the last axis, along all but the first, and columns.
_ALONG_LAST, _ALONG_REST, _COLUMNS = range(3)


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A number of the source's tensor, where it's in the flat tensor made from it, and what it is there."""

    source: Stored
    index: tuple[int, ...]
    position: int
    differing: int


@dataclass(frozen=True, slots=True)
class _Block:
    """All rows of a source's tensor in one direction, and the number of the first one among all."""

    source: Stored
    direction: int
    first: int
    count: int


def rows_of(values: np.ndarray, direction: int) -> np.ndarray:
    """Return a tensor as a matrix of rows in a direction; a vector has rows of one number."""
    if values.ndim < 2:
        return values.reshape(-1, 1)
    if direction == _ALONG_REST:
        return values.reshape(values.shape[0], -1)
    flat = values.reshape(-1, values.shape[-1])
    return flat.T if direction == _COLUMNS else flat


def joined(
    values: np.ndarray, sources: Sequence[Stored], read: Callable[[Stored], np.ndarray]
) -> tuple[Stored, Piece | None] | None:
    """Return a source's tensor that most rows of a tensor are from, and its worst number; None if they aren't known.

    Args:
        values: the tensor.
        sources: the source's tensors.
        read: returns the values of one.
    """
    values = values.reshape([size for size in values.shape if size != 1] or [1])
    directions = (_ALONG_LAST, _ALONG_REST, _COLUMNS) if values.ndim > 1 else (_ALONG_LAST,)
    seen: set[int] = set()
    for direction in directions:
        rows = rows_of(values, direction)
        if rows.shape[1] in seen and direction != _COLUMNS:
            continue
        seen.add(rows.shape[1])
        found = _Lookup(rows, sources, read).found(direction, values.shape)
        if found is not None:
            return found
    if values.ndim > 1 and values.size <= _MOST_NUMBERS:
        # Biases of both directions of an LSTM.
        return _Lookup(values.reshape(-1, 1), sources, read).found(_ALONG_LAST, (values.size,))
    return None


class _Lookup:
    """The rows of a tensor among those of the source's that are as long."""

    def __init__(self, rows: np.ndarray, sources: Sequence[Stored], read: Callable[[Stored], np.ndarray]) -> None:
        self._rows, self._read = rows, read
        self._blocks: list[_Block] = []
        hashes, numbers, first = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)], 0
        for each in sources:
            for direction, count in _directions(each.shape, rows.shape[1]):
                self._blocks.append(_Block(each, direction, first, count))
                hashes.append(_hashes(self._matrix(self._blocks[-1])))
                numbers.append(np.arange(first, first + count))
                first += count + 1  # so that no row is next to another tensor's
        order = np.argsort(merged := np.concatenate(hashes), kind="stable")
        self._hashes, self._numbers = merged[order], np.concatenate(numbers)[order]

    def found(self, direction: int, shape: tuple[int, ...]) -> tuple[Stored, Piece | None] | None:
        """Return the tensor of most rows, and the worst number."""
        rows = self._rows
        says = np.any(rows != 0, axis=1)
        if not self._blocks or says.sum() < _FEWEST:
            return None
        own = _hashes(rows)
        at = np.minimum(np.searchsorted(self._hashes, own), len(self._hashes) - 1)
        known = says & (self._hashes[at] == own)
        if known.sum() < max(_FEWEST, _KNOWN * says.sum()) or len(np.unique(own[known])) < _FEWEST:
            return None
        numbers = np.where(known, self._numbers[at], -1)
        used = set(numbers[known].tolist())
        worst: tuple[float, _Block, int, int, int] | None = None
        differing = 0
        for row in np.flatnonzero(says & ~known).tolist():
            expected = self._expected(numbers, row, used)
            if expected is None:
                return None
            block, number = expected
            left = self._matrix(block)[number].astype(np.float64)
            right = rows[row].astype(np.float64)
            apart = np.abs(right - left) / np.maximum(np.maximum(np.abs(left), np.abs(right)), 1e-37)
            if (apart > _NEAR).sum() > (1 - _AGREEING) * len(apart) and len(apart) > 1:
                return None
            differing += int((apart > _NEAR).sum())
            most = int(np.nanargmax(apart))
            if worst is None or apart[most] > worst[0]:
                worst = (float(apart[most]), block, number, row, most)
        source = self._block(int(numbers[known][0])).source
        if worst is None or worst[0] <= _FAR:
            return source, None
        _, block, number, row, column = worst
        return block.source, Piece(
            source=block.source,
            index=_index(block.source.shape, block.direction, number, column),
            position=_position(shape, direction, row, column),
            differing=differing,
        )

    def _expected(self, numbers: np.ndarray, row: int, used: set[int]) -> tuple[_Block, int] | None:
        """Return the row that an unknown one should be: the only one that follows or precedes a neighbour's."""
        near = {int(numbers[row - 1]) + 1} if row and numbers[row - 1] >= 0 else set()
        near |= {int(numbers[row + 1]) - 1} if row + 1 < len(numbers) and numbers[row + 1] >= 0 else set()
        blocks = [(self._block(each), each) for each in near - used]
        inside = [(block, each - block.first) for block, each in blocks if 0 <= each - block.first < block.count]
        return inside[0] if len(inside) == 1 else None

    def _block(self, number: int) -> _Block:
        return next(each for each in reversed(self._blocks) if each.first <= max(number, 0))

    def _matrix(self, block: _Block) -> np.ndarray:
        values = self._read(block.source)
        values = values.reshape([size for size in values.shape if size != 1] or [1])
        return rows_of(values, block.direction).astype(self._rows.dtype, copy=False)


def _directions(shape: tuple[int, ...], length: int) -> list[tuple[int, int]]:
    """Return the directions in which a tensor has rows of that length, and how many there are."""
    shape = tuple(size for size in shape if size != 1)
    size = int(np.prod(shape))
    if len(shape) < 2:
        return [(_ALONG_LAST, size)] if length == 1 and shape else []
    found = {_ALONG_LAST: shape[-1], _ALONG_REST: size // shape[0], _COLUMNS: size // shape[-1]}
    if len(shape) == 2:
        del found[_ALONG_REST]  # the same as along the last
    return [(direction, size // length) for direction, own in found.items() if own == length]


def _hashes(rows: np.ndarray) -> np.ndarray:
    """Return a hash of each row's bits."""
    whole = {2: np.uint16, 4: np.uint32, 8: np.uint64}[rows.dtype.itemsize]
    factors = np.random.default_rng(rows.shape[1]).integers(1, 2**63, size=rows.shape[1], dtype=np.uint64) | 1
    bits = np.ascontiguousarray(rows).view(whole).astype(np.uint64)
    with np.errstate(over="ignore"):
        mixed = bits * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
        total: np.ndarray = (mixed * factors).sum(axis=1, dtype=np.uint64)
    return total


def _position(shape: tuple[int, ...], direction: int, row: int, column: int) -> int:
    """Return the position in the flat tensor of a number in a row."""
    size = int(np.prod(shape))
    if len(shape) < 2:
        return row
    if direction == _COLUMNS:
        return column * shape[-1] + row
    return row * (shape[-1] if direction == _ALONG_LAST else size // shape[0]) + column


def _index(shape: tuple[int, ...], direction: int, row: int, column: int) -> tuple[int, ...]:
    squeezed = tuple(size for size in shape if size != 1)
    return tuple(int(each) for each in np.unravel_index(_position(squeezed, direction, row, column), shape))
