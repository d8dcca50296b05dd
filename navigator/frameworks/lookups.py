"""What a graph tells about the numbers that it's given, such as the rows of the table that they're looked up in.

Knows no framework: one module of each framework's folder goes through its graphs and says here what it meets.
"""

import math
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from navigator.samples.constants import Compared, Constant
from navigator.samples.values import Told

# A size may be read from an input, or a divisor: small ones show as much as large ones.
_SIZES = (1, 8)

# Larger thresholds stand for infinity: they tell missing values from all others.
_NO_LIMIT = 1e30

NAN = (math.nan,)
"""What `Lookups.tested` is told of a test for NaN, for infinities, and for numbers that are neither."""
INFINITE = (math.inf, -math.inf)
NOT_FINITE = (*NAN, *INFINITE)

# What a recurrent layer keeps: no hidden value is larger, and few cells are.
_HIDDEN, _CELL = 1.0, 8.0

_SORTING = ("topk", "sort", "nms", "nonmaxsuppression", "kthvalue", "median", "aten::mode")


def sorting(operations: Iterable[str]) -> tuple[str, ...]:
    """Return the operations, by name, that choose among equal values as they like."""
    return tuple(sorted({each for each in operations if any(word in each.lower() for word in _SORTING)}))


@dataclass(slots=True)
class Lookups:
    """Collects what is read from each input, in the order of the graph.

    Values are known by anything hashable that the caller has for them. `origins` are the values that are an input, as
    it is or in another type or shape, and `limited` those that are cut off at a smallest or a largest number.
    """

    origins: dict[Hashable, str]
    found: dict[str, list[Told]] = field(default_factory=dict)
    constants: dict[str, dict[Constant, None]] = field(default_factory=dict)
    limited: set[Hashable] = field(default_factory=set)

    @classmethod
    def of(cls, inputs: Iterable[str]) -> "Lookups":
        """Return one for inputs that are known by their names."""
        return cls(origins={name: name for name in inputs})

    def same(self, value: Hashable, result: Hashable, *, limited: bool = False) -> None:
        """Note that `result` has the numbers of `value`, or some of them, and whether others are cut off at a limit."""
        if value in self.origins:
            self.origins[result] = self.origins[value]
        if limited or value in self.limited:
            self.limited.add(result)

    def chosen(self, values: Iterable[Hashable], result: Hashable) -> None:
        """Note that `result` is one of `values`: Keras counts negative indices from the end of a table like this."""
        for value in values:
            self.same(value, result)

    def row(self, value: Hashable, count: int, why: str) -> None:
        """Note that `value` is the index of one of `count` rows; `why` is for the report."""
        if count > 0:
            self._tell(value, Told(low=0, high=count - 1, why=why))

    def encoded(self, value: Hashable, count: int, why: str) -> None:
        """Note that `value` is compared with each number below `count` at once, as a one-hot encoding does."""
        if count > 0:
            self._tell(value, Told(low=0, high=count - 1, why=why, compared=True))

    def split(self, value: Hashable, thresholds: np.ndarray) -> None:
        """Note that `value` is compared with `thresholds` by decision trees: a tenth more on each side reaches all."""
        usual = thresholds[np.abs(thresholds) < _NO_LIMIT]
        if usual.size:
            low, high = float(usual.min()), float(usual.max())
            more = (high - low or abs(high) or 1) / 10
            self._tell(value, Told(low=low - more, high=high + more, why="thresholds of its trees", real=True))

    def size(self, value: Hashable, reader: str) -> None:
        """Note that `value` is a size that `reader` reads."""
        self._tell(value, Told(low=_SIZES[0], high=_SIZES[1], why=f"a size for {reader}"))

    def states(self, values: Iterable[Hashable]) -> None:
        """Note that a recurrent layer begins with `values`: the hidden state, and the cell of an LSTM.

        A layer returns no others, and a larger cell shows how a runtime rounds a sigmoid and nothing else.
        """
        for value, most in zip(values, (_HIDDEN, _CELL), strict=False):
            self._tell(value, Told(low=-most, high=most, why="states of a recurrent layer", real=True))

    def truth(self, value: Hashable) -> None:
        """Note that `value` is read as true and false."""
        self._tell(value, Told(low=0, high=1, why="read as true and false", mask=True))

    def sign(self, value: Hashable) -> None:
        """Note that `value` goes into what depends on its sign: a division that rounds, a remainder, a magnitude."""
        self._tell(value, Told(low=0, high=1, why="", signed=True))

    def divisor(self, value: Hashable) -> None:
        """Note that whole numbers are divided by `value`: by 0, that ends the process in some runtimes."""
        if value not in self.limited:
            self._tell(value, Told(low=_SIZES[0], high=_SIZES[1], why="numbers are divided by it"))

    def against(self, value: Hashable, number: float, *, ordered: bool) -> None:
        """Note that `value` is compared with a number, and whether as more or less."""
        if value in self.origins and abs(number) < _NO_LIMIT:
            self.constants.setdefault(self.origins[value], {})[Constant(float(number), ordered)] = None

    def tested(self, value: Hashable, numbers: Iterable[float]) -> None:
        """Note that `value` is tested for NaN or infinities: what stands for missing numbers, for instance."""
        if value in self.origins:
            found = self.constants.setdefault(self.origins[value], {})
            found |= dict.fromkeys(map(Constant, numbers))

    def compared(self) -> Compared:
        """Return the numbers that each input is compared with, in the order of the graph."""
        return {name: tuple(each) for name, each in self.constants.items()}

    def told(self) -> Mapping[str, Told]:
        """Return what is known of each input: of several tables, the one with the fewest rows.

        Ids are compared with the first few, and read as true and false, to find padding: a table says more. So it does
        of what is also a divisor. A sign says least.
        """
        return {
            name: min(each, key=lambda told: (told.signed, told.mask, told.compared, told.low > 0, told.high))
            for name, each in self.found.items()
        }

    def _tell(self, value: Hashable, told: Told) -> None:
        if value in self.origins:
            self.found.setdefault(self.origins[value], []).append(told)
