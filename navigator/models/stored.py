"""The numbers that a model's file stores: its weights, read one at a time, and which of them it computes with.

Owns the nouns that the readers of each format fill. Reads nothing itself.
"""

import math
from collections.abc import Callable, Collection, Hashable, Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path

import numpy as np

from navigator.models import reading


@dataclass(frozen=True, slots=True)
class Place:
    """Where numbers of a type lie in a file as they are, one after the other."""

    path: Path
    offset: int
    dtype: np.dtype


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor of floats in a file: its name, its shape, and what reads its values, which may raise OSError.

    `place` is where they lie, None if they have to be decoded.
    """

    name: str
    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]
    place: Place | None = None

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Reduced:
    """A tensor in a file of reduced precision, and the names that what it's made from may have in the file before.

    `read` returns its values, and the sizes of the steps between the numbers that its type has there: zeros if it
    keeps its type. May raise OSError.
    """

    name: str
    origins: tuple[str, ...]
    shape: tuple[int, ...]
    read: Callable[[], tuple[np.ndarray, np.ndarray]]

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, kw_only=True, slots=True)
class Computed:
    """The tensors of a model that it computes others from before it uses them, as a weight norm or a clipping does.

    An exporter may have computed these in advance. Of tensors whose names aren't known, there are the `sizes`; None
    stands for any size.
    """

    names: frozenset[str] = frozenset()
    sizes: frozenset[int] | None = frozenset()

    def has(self, tensor: Stored) -> bool:
        return self.sizes is None or tensor.name in self.names or tensor.size in self.sizes


class Effect(Enum):
    """What an operation does with numbers."""

    MOVES = auto()
    """Gives them another shape, other axes or fewer of them, and leaves them as they are and in their order."""
    TELLS = auto()
    """Returns something about them, such as how many there are."""
    COMPUTES = auto()
    """Makes others, or puts them in another order."""


@dataclass(slots=True)
class Constants:
    """What is constant in a graph that is read in its order, and which tensors it's made from.

    Args:
        origins: the names of the tensors, or the sizes of those without any, by what a graph calls them.
    """

    origins: dict[Hashable, frozenset[str | int]] = field(default_factory=dict)
    used: set[str | int] = field(default_factory=set)

    def note(self, effect: Effect, inputs: Iterable[Hashable], outputs: Iterable[Hashable]) -> None:
        """Note the next operation. What it makes is constant if all of its inputs are."""
        given = [self.origins.get(each) for each in inputs]
        if any(each is None for each in given):
            return
        origins = frozenset[str | int]().union(*(each for each in given if each is not None))
        if effect is Effect.COMPUTES:
            self.used |= origins
        self.origins.update(dict.fromkeys(outputs, frozenset() if effect is Effect.TELLS else origins))

    def computed(self) -> Computed:
        """Return the tensors that others are computed from."""
        return Computed(
            names=frozenset(each for each in self.used if isinstance(each, str)),
            sizes=frozenset(each for each in self.used if isinstance(each, int)),
        )


def same_bytes(one: Stored, other: Stored) -> bool:
    """Return whether two tensors of as many numbers lie in their files as the same bytes.

    Raises:
        OSError: they can't be read.
    """
    if one.place is None or other.place is None or one.place.dtype != other.place.dtype:
        return False
    if one.place == other.place:
        return True
    size, starts = one.size * one.place.dtype.itemsize, (one.place.offset, other.place.offset)
    return reading.same_bytes(one.place.path, other.place.path, size, starts=starts)


def from_file(path: Path, offset: int, dtype: np.dtype, shape: Collection[int]) -> np.ndarray:
    """Return numbers that lie in a file as they are.

    Raises:
        OSError: it can't be read, or ends before.
    """
    count = math.prod(shape)
    with path.open("rb") as file:
        found = np.fromfile(file, dtype, count, offset=offset)
    if found.size != count:
        raise OSError(f"{path} ends within its weights")
    return found.reshape(tuple(shape))
