"""The numbers that a graph compares its inputs with: each may decide on a branch that no other sample takes."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from navigator.samples.symbols import Shape
from navigator.samples.values import Bounds, Origin

MOST = 8
"""More samples than that aren't made, and of a long array, so many numbers fit in one."""

NAMES = tuple("compared" if not number else f"compared_{number}" for number in range(MOST))
"""The names of these samples."""

# Whole numbers of so small a range are all drawn.
_FEW = 8

# More than a model of ordinary size compares with.
_MOST_SPECIAL = 64

# How far beyond a threshold the other side is sampled: a part of it, or of 1.
_BEYOND = 1 / 8


@dataclass(frozen=True, slots=True)
class Constant:
    """A number that an input is compared with; `ordered` if it's a threshold, not one that it may equal.

    `exact` is whether rounding can't make it another one before it's compared.
    """

    number: float
    ordered: bool = False
    exact: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Special:
    """Numbers, by input, and sizes at which a model may compute otherwise than at all others."""

    numbers: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    sizes: tuple[int, ...] = ()

    @classmethod
    def of(cls, numbers: Mapping[str, Iterable[float]], sizes: Iterable[int]) -> "Special":
        """Return the first few of them, without those that aren't finite."""
        finite = {name: dict.fromkeys(filter(math.isfinite, each)) for name, each in numbers.items()}
        return cls(
            numbers={name: tuple(each)[:_MOST_SPECIAL] for name, each in finite.items() if each},
            sizes=tuple(size for size in dict.fromkeys(sizes) if size > 0)[:_MOST_SPECIAL],
        )

    def beyond(self, known: "Special") -> "Special":
        """Return those that aren't among `known` ones, as float32 tells them apart.

        Of a threshold that moved, only what is between it and the known one may show that: numbers halfway are added.
        """
        told = {name: set(map(np.float32, each)) for name, each in known.numbers.items()}
        numbers = {
            name: [number for number in each if np.float32(number) not in told.get(name, ())]
            for name, each in self.numbers.items()
        }
        for name, each in numbers.items():
            each += [(number + _nearest(number, known.numbers[name])) / 2 for number in each if name in known.numbers]
        return Special.of(numbers, (size for size in self.sizes if size not in known.sizes))

    def __bool__(self) -> bool:
        return bool(self.numbers or self.sizes)


def _nearest(number: float, among: Iterable[float]) -> float:
    return min(among, key=lambda other: abs(other - number))


Compared = Mapping[str, Sequence[Constant]]
"""What each input is compared with."""


def candidates(bounds: Bounds, constants: Iterable[Constant]) -> tuple[float, ...]:
    """Return the numbers that an input may be, and that its ordinary samples may not have.

    A threshold is one, and so are numbers on both sides of it, as far as they're out of the range. Nothing goes beyond
    a range that the user gives.
    """
    if bounds.mask or bounds.columns:
        return ()
    whole = bounds.dtype.kind in "iu"
    found: dict[float, None] = {}
    for each in constants:
        step = 1 if whole else _BEYOND * max(1.0, abs(each.number))
        beyond = [each.number - step, each.number + step] if each.ordered else []
        itself = [each.number] if each.exact else []
        found |= dict.fromkeys([*itself, *(number for number in beyond if not bounds.holds(number))])
    return tuple(number for number in found if _is_new(bounds, number, whole=whole))


def possible(bounds: Mapping[str, Bounds], special: Special, *, beside: bool) -> dict[str, tuple[float, ...]]:
    """Return the special numbers that each input may be, and numbers on both sides of them if `beside`."""
    found = {
        name: candidates(bounds[name], [Constant(number, ordered=beside) for number in each])
        for name, each in special.numbers.items()
        if name in bounds
    }
    return {name: numbers for name, numbers in found.items() if numbers}


def taken(numbers: Iterable[float], arrays: Iterable[np.ndarray]) -> tuple[float, ...]:
    """Return those of some numbers that are in any of the arrays, or between what they have."""
    held = [array.ravel() for array in arrays]
    finite = [array[np.isfinite(array)] for array in held]
    low = min((array.min() for array in finite if array.size), default=np.inf)
    high = max((array.max() for array in finite if array.size), default=-np.inf)
    return tuple(number for number in numbers if low <= number <= high or any(_holds(array, number) for array in held))


def _holds(array: np.ndarray, number: float) -> bool:
    return bool((np.isnan(array) if math.isnan(number) else array == array.dtype.type(number)).any())


def _is_new(bounds: Bounds, number: float, *, whole: bool) -> bool:
    known = bounds.origin is Origin.GIVEN
    if not whole:
        # A range that the user gives holds neither NaN nor infinities.
        return (number != 0 or not bounds.holds(0)) and (not known or bounds.holds(number))
    limits = np.iinfo(bounds.dtype)
    if not math.isfinite(number) or number != int(number) or not limits.min <= number <= limits.max:
        return False
    if bounds.holds(number):
        return bounds.high - bounds.low >= _FEW
    return not known


def count(found: Mapping[str, Sequence[float]], shapes: Mapping[str, Shape]) -> int:
    """Return how many samples it takes to have each number in one."""
    needed = (-(-len(numbers) // _room(shapes[name])) for name, numbers in found.items() if np.prod(shapes[name]))
    return min(MOST, max(needed, default=0))


def filled(rng: np.random.Generator, array: np.ndarray, numbers: Sequence[float], turn: int) -> str:
    """Set some elements of an array to the numbers whose turn it is, one each and up to half; return what for.

    The numbers start again where there are fewer than turns.
    """
    room = _room(array.shape)
    turns = -(-len(numbers) // room)
    chosen = numbers[turn % turns * room :][:room]
    places = rng.permutation(array.size)[: max(len(chosen), array.size // 2)]
    flat = array.reshape(-1)
    flat[places] = np.resize(np.array(chosen).astype(array.dtype), len(places))
    return f"{', '.join(f'{number:.15g}' for number in chosen)}, with which the model compares it"


def _room(shape: Shape) -> int:
    return min(MOST, int(np.prod(shape))) or 1
