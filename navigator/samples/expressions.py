"""Sizes as models' files write them: `batch`, `2*seq`, `past + 1`. Reads text that others wrote, and runs none of it.

ONNX's `dim_param` is any text; torch.export's sizes are expressions of SymPy.
"""

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

# What exporters write where they know no name, such as Paddle's "?" and Keras' "None".
_MEANINGLESS = {"", "none", "null", "nan", "unk", "unknown", "undefined", "dynamic", "dyn", "any"}

# Longer ones are names; Python's parser needs a limit.
_LONGEST = 200

# No tensor has an axis of this size: a limit for sums, products and searches.
LARGEST = 2**31 - 1

_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.floordiv,
    ast.FloorDiv: operator.floordiv,
}


@dataclass(frozen=True, slots=True)
class Expression:
    """A size computed from others. `operators` are the kinds of arithmetic in it, none for a plain name."""

    text: str
    names: frozenset[str]
    operators: frozenset[type[ast.operator]]
    tree: ast.expr = field(compare=False, repr=False)

    @property
    def may_be_a_name(self) -> bool:
        """Whether people use its operators in names, as in `batch-size`."""
        return bool(self.operators & {ast.Sub, ast.Div})

    def value(self, sizes: Mapping[str, int]) -> int | None:
        """Return its value, or None if a size is unknown, or the value can't be one: negative, too large or n / 0."""
        if not self.names <= sizes.keys():
            return None
        try:
            value = _value(self.tree, sizes)
        except (ZeroDivisionError, OverflowError):
            return None
        return value if 0 <= value <= LARGEST else None

    def solved(self, name: str, wanted: int, sizes: Mapping[str, int]) -> int | None:
        """Return the smallest size of `name` that gives `wanted`, or None; found if the value grows with the size."""
        found = self.at_least(name, wanted, sizes)
        return found if found is not None and self.value({**sizes, name: found}) == wanted else None

    def at_least(self, name: str, wanted: int, sizes: Mapping[str, int]) -> int | None:
        """Return the smallest size of `name` from 0 that gives `wanted` or more, or None."""

        def reaches(size: int) -> bool:
            return _value(self.tree, {**sizes, name: size}) >= wanted

        low, high = 0, LARGEST
        try:
            if not self.names <= {*sizes, name} or not reaches(high):
                return None
            while low < high:
                middle = (low + high) // 2
                low, high = (low, middle) if reaches(middle) else (middle + 1, high)
        except (ZeroDivisionError, OverflowError):
            return None
        return low


def parsed(text: str) -> Expression | None:
    """Return what `text` says of a size, or None if that's nothing. What isn't plain arithmetic is a name."""
    text = text.strip()
    if text.lower() in _MEANINGLESS or not re.search(r"[^\W\d_]", text):
        return None
    if len(text) > _LONGEST:
        return as_name(text)
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return as_name(text)
    parts = [part for part in ast.walk(tree) if not isinstance(part, ast.expr_context)]
    if not all(_is_arithmetic(part) for part in parts):
        return as_name(text)
    names = frozenset(part.id for part in parts if isinstance(part, ast.Name))
    operators = frozenset(type(part.op) for part in parts if isinstance(part, ast.BinOp))
    return Expression(text, names, operators, tree)


def as_name(text: str) -> Expression:
    """Return `text` as a name, whatever arithmetic is in it."""
    return Expression(text, frozenset({text}), frozenset(), ast.Name(text))


def _is_arithmetic(part: ast.AST) -> bool:
    match part:
        case ast.Name() | ast.BinOp():
            return True
        case ast.Constant(value=value):
            return type(value) is int
        case _:
            return type(part) in _OPERATORS


def _value(tree: ast.expr, sizes: Mapping[str, int]) -> int:
    match tree:
        case ast.Name(id=name):
            return sizes[name]
        case ast.Constant(value=int(value)):
            return value
        case ast.BinOp(left=left, op=op, right=right):
            value = _OPERATORS[type(op)](_value(left, sizes), _value(right, sizes))
            if abs(value) > LARGEST**2:
                raise OverflowError
            return value
    raise AssertionError(tree)
