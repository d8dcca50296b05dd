"""What a graph tells about the numbers that it's given, such as the rows of the table that they're looked up in.

Knows no framework: one module of each framework's folder goes through its graphs and says here what it meets.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from navigator.samples.constants import Compared, Constant, Special
from navigator.samples.values import Told

# A size may be read from an input, or a divisor: small ones show as much as large ones.
_SIZES = (1, 8)
_LENGTHS = (1, 4)

# Larger thresholds stand for infinity: they tell missing values from all others.
_NO_LIMIT = 1e30

# The numbers that a test for NaN tells from all others, one for infinities, and one for finite numbers.
NAN = (math.nan,)
INFINITE = (math.inf, -math.inf)
NOT_FINITE = (*NAN, *INFINITE)

# What a recurrent layer keeps: no hidden value is larger, and few cells are.
_HIDDEN, _CELL = 1.0, 8.0

# e to a higher power is no float64.
_LARGEST_EXPONENT = 700.0

# Where functions that round to the nearest whole number jump, and where those that round up or down do.
HALVES, WHOLES = (0.5, 1.5, 2.5, -0.5, -1.5), (1.0, 2.0, -1.0)

# The smallest whole numbers that these types don't hold.
_TOO_WIDE = {"int32": (2.0**31, -(2.0**31) - 1), "float32": (2.0**24 + 1,)}

# Stands for the size of any axis where a `_Line` names an input.
_SIZE = ""

# Parts of the names of operations that sort.
_SORTING = ("topk", "sort", "nms", "nonmaxsuppression", "kthvalue", "median", "aten::mode")


# The inverse of each function, NaN where it has none; of abs and square, for numbers from 0.
_INVERSE: Mapping[str, Callable[[float], float]] = {
    "abs": lambda value: value if value >= 0 else math.nan,
    "exp": lambda value: math.log(value) if value > 0 else math.nan,
    "log": lambda value: math.exp(value) if value < _LARGEST_EXPONENT else math.nan,
    "sigmoid": lambda value: -math.log(1 / value - 1) if 0 < value < 1 else math.nan,
    "sqrt": lambda value: value * value if value >= 0 else math.nan,
    "square": lambda value: math.sqrt(value) if value >= 0 else math.nan,
    "tanh": lambda value: math.atanh(value) if -1 < value < 1 else math.nan,
}


def sorting(operations: Iterable[str]) -> tuple[str, ...]:
    """Return the operations, by name, that choose among equal values as they like."""
    return tuple(sorted({each for each in operations if any(word in each.lower() for word in _SORTING)}))


@dataclass(frozen=True, slots=True)
class _Line:
    """What a value is computed from: `scale * number + offset`, of an input's numbers or of sizes.

    Or of what a `function` in `_INVERSE` makes of a value that's computed like this itself, `inner`.
    """

    name: str
    scale: float = 1.0
    offset: float = 0.0
    function: str = ""
    inner: "_Line | None" = None

    def at(self, value: float) -> float:
        """Return the number for which it has this value, NaN if there's none."""
        number = (value - self.offset) / self.scale
        return number if self.inner is None else self.inner.at(_INVERSE[self.function](number))

    def is_exact(self, value: float) -> bool:
        """Return whether it has this value in any arithmetic: what it's multiplied with has few digits."""
        if self.inner is not None:
            return False
        number = self.at(value)
        short = float(np.float16(self.scale)) == self.scale and float(np.float32(number)) == number
        return self == _Line(self.name) or (short and self.scale * number + self.offset == value)


@dataclass(slots=True)
class Lookups:
    """Collects what is read from each input, in the order of the graph.

    Values are known by anything hashable that the caller has for them. `origins` are the values that are an input, as
    it is or in another type or shape, `limited` those that are cut off at a smallest or a largest number, and `lines`
    those that are computed from an input or a size by a factor and a summand. `sizes` are what sizes are compared
    with, `narrowed` the numbers that don't fit the types that an input is cast to, and `thresholds` those of
    decision trees. `picked` are the values that are one place of an input's last axis, and `columns` the categories
    that are known of such places. `joined` are the values that several values make together.
    """

    origins: dict[Hashable, str]
    found: dict[str, list[Told]] = field(default_factory=dict)
    constants: dict[str, dict[Constant, None]] = field(default_factory=dict)
    limited: set[Hashable] = field(default_factory=set)
    lines: dict[Hashable, _Line] = field(default_factory=dict)
    sizes: dict[int, None] = field(default_factory=dict)
    narrowed: dict[str, tuple[float, ...]] = field(default_factory=dict)
    thresholds: dict[str, dict[float, None]] = field(default_factory=dict)
    picked: dict[Hashable, tuple[str, int]] = field(default_factory=dict)
    columns: dict[str, dict[int, tuple[float, ...]]] = field(default_factory=dict)
    joined: dict[Hashable, tuple[Hashable, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, inputs: Iterable[str]) -> "Lookups":
        """Return one for inputs that are known by their names."""
        return cls(origins={name: name for name in inputs})

    def same(self, value: Hashable, result: Hashable, *, limited: bool = False) -> None:
        """Note that `result` has the numbers of `value`, or some of them, and whether others are cut off at a limit."""
        if value in self.origins:
            self.origins[result] = self.origins[value]
        if value in self.picked:
            self.picked[result] = self.picked[value]
        if value in self.joined:
            self.joined[result] = self.joined[value]
        self.computed(value, result)
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

    def column(self, value: Hashable, place: int, result: Hashable) -> None:
        """Note that `result` is what `value` has in one place of its last axis."""
        if value in self.origins and place >= 0:
            self.picked[result] = self.origins[value], place

    def categories(self, value: Hashable, numbers: Iterable[float]) -> None:
        """Note that `value` is looked up among `numbers`."""
        if value in self.picked:
            name, place = self.picked[value]
            self.columns.setdefault(name, {})[place] = tuple(numbers)

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
            if value in self.origins:
                known = self.thresholds.setdefault(self.origins[value], {})
                known |= dict.fromkeys(np.unique(usual).tolist())

    def size(self, value: Hashable, reader: str) -> None:
        """Note that `value` is a size that `reader` reads, or several of them."""
        for each in self.joined.get(value, (value,)):
            self._tell(each, Told(low=_SIZES[0], high=_SIZES[1], why=f"a size for {reader}", real=True))

    def join(self, values: Iterable[Hashable], result: Hashable) -> None:
        """Note that `result` has the numbers of all `values`."""
        self.joined[result] = tuple(part for value in values for part in self.joined.get(value, (value,)))

    def lengths(self, value: Hashable) -> None:
        """Note that `value` is the lengths of sequences, none of which is empty, or longer than their padding."""
        self._tell(value, Told(low=_LENGTHS[0], high=_LENGTHS[1], why="lengths of sequences"))

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
        """Note that something depends on the sign of `value`: a division that rounds, a remainder, a magnitude."""
        line = self._line(value)
        if line is not None and line.name != _SIZE:
            self.found.setdefault(line.name, []).append(Told(low=0, high=1, why="", signed=True))

    def divisor(self, value: Hashable) -> None:
        """Note that whole numbers are divided by `value`: by 0, that ends the process in some runtimes."""
        if value not in self.limited:
            self._tell(value, Told(low=_SIZES[0], high=_SIZES[1], why="numbers are divided by it"))

    def extents(self, result: Hashable) -> None:
        """Note that `result` has the sizes of a value's axes."""
        self.lines[result] = _Line(_SIZE)

    def computed(self, value: Hashable, result: Hashable, *, factor: float = 1.0, summand: float = 0.0) -> None:
        """Note that `result` is `factor * value + summand`, or some of these numbers."""
        line = self._line(value)
        if line is not None and factor:
            self.lines[result] = replace(line, scale=line.scale * factor, offset=line.offset * factor + summand)

    def curved(self, value: Hashable, function: str, result: Hashable) -> None:
        """Note that `result` is what a function in `_INVERSE` makes of `value`."""
        line = self._line(value)
        if line is not None and line.name != _SIZE:
            self.lines[result] = _Line(line.name, function=function, inner=line)

    def multiplied(self, one: Hashable, other: Hashable, result: Hashable) -> None:
        """Note that `result` is the product of two values: the square of one, if they're the same."""
        if one == other:
            self.curved(one, "square", result)

    def arithmetic(
        self, operation: str, value: Hashable, number: float, result: Hashable, *, reversed_: bool = False
    ) -> None:
        """Note that `result` is `value` and a number added, or the like; `reversed_` is whether the number is first."""
        if operation == "add":
            self.computed(value, result, summand=number)
        elif operation == "sub":
            self.computed(value, result, factor=-1 if reversed_ else 1, summand=number if reversed_ else -number)
        elif operation == "mul":
            self.computed(value, result, factor=number)
        elif operation == "div" and not reversed_ and number:
            self.computed(value, result, factor=1 / number)

    def against(self, value: Hashable, number: float, *, ordered: bool) -> None:
        """Note that `value` is compared with a number, and whether as more or less."""
        line = self._line(value)
        if line is None or not abs(number) < _NO_LIMIT:
            return
        at = line.at(float(number))
        if not abs(at) < _NO_LIMIT:
            return
        if line.name == _SIZE:
            self.sizes |= dict.fromkeys(range(math.floor(at) - 1, math.ceil(at) + 2))
        else:
            constants = self.constants.setdefault(line.name, {})
            constants[Constant(at, ordered, line.is_exact(float(number)))] = None

    def rounded(self, value: Hashable, numbers: Iterable[float]) -> None:
        """Note that `value` is rounded otherwise above than below some numbers, if it may be these numbers exactly."""
        line = self._line(value)
        for number in numbers:
            if line is not None and line.name != _SIZE and line.is_exact(number):
                self.constants.setdefault(line.name, {})[Constant(line.at(number))] = None

    def narrow(self, value: Hashable, dtype: str) -> None:
        """Note that `value` is cast to another type."""
        line = self._line(value)
        if line is not None and dtype in _TOO_WIDE:
            numbers = self.narrowed.get(line.name, ())
            self.narrowed[line.name] = (*numbers, *(line.at(number) for number in _TOO_WIDE[dtype]))

    def tested(self, value: Hashable, numbers: Iterable[float]) -> None:
        """Note that `value` is tested for NaN or infinities: what stands for missing numbers, for instance."""
        if value in self.origins:
            found = self.constants.setdefault(self.origins[value], {})
            found |= dict.fromkeys(map(Constant, numbers))

    def compared(self) -> Compared:
        """Return the numbers that each input is compared with, in the order of the graph."""
        return {name: tuple(each) for name, each in self.constants.items()}

    def special(self) -> Special:
        """Return the numbers and sizes at which the graph may compute otherwise than at all others."""
        names = dict.fromkeys((*self.constants, *self.narrowed, *self.thresholds))
        numbers = {
            name: (
                *(each.number for each in self.constants.get(name, ())),
                *self.narrowed.get(name, ()),
                *self.thresholds.get(name, ()),
            )
            for name in names
            if name != _SIZE
        }
        return Special.of(numbers, self.sizes)

    def told(self) -> Mapping[str, Told]:
        """Return what is known of each input: of several tables, the one with the fewest rows.

        Ids are compared with the first few, and read as true and false, to find padding: a table says more. So it does
        of what is also a divisor. A sign says least.
        """
        return {
            name: min(each, key=lambda told: (told.signed, told.mask, told.compared, told.low > 0, told.high))
            for name, each in self.found.items()
        }

    def _line(self, value: Hashable) -> _Line | None:
        return self.lines.get(value) or (_Line(self.origins[value]) if value in self.origins else None)

    def _tell(self, value: Hashable, told: Told) -> None:
        if value in self.origins:
            self.found.setdefault(self.origins[value], []).append(told)
