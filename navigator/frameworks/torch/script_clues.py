"""What a TorchScript graph shows of one input: its type, its number of axes, and their sizes. Pure."""

import itertools
import re
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from navigator.records import TensorSpec

# Operators whose result has the axes of their first argument, or of two.
CONVERSIONS = frozenset({"to", "_to_copy", "type_as", "float", "half", "double", "long", "int"})
UNARY = CONVERSIONS | {
    *("contiguous", "clone", "detach", "alias", "dropout", "neg", "abs", "log", "log1p", "exp", "sqrt", "clamp"),
    *("relu", "relu_", "sigmoid", "tanh", "leaky_relu", "leaky_relu_", "elu", "gelu", "silu", "silu_", "hardtanh"),
    *("hardswish", "softmax", "log_softmax", "nan_to_num", "sin", "cos", "pow", "square", "rsqrt", "sign", "round"),
    *("floor", "ceil", "erf", "softplus", "mish", "relu6", "clamp_min", "clamp_max", "cumsum", "cpu", "cuda"),
    *("layer_norm", "batch_norm", "instance_norm", "group_norm", "rms_norm", "masked_fill", "masked_fill_"),
}
BINARY = frozenset({"add", "add_", "sub", "sub_", "rsub", "mul", "mul_", "div", "div_", "minimum", "maximum"}) | {
    *("remainder", "fmod", "floor_divide", "bitwise_and", "bitwise_or", "bitwise_xor"),
}
# Which arguments of operators are axes of the first one.
AXES = {
    **dict.fromkeys(("size", "select", "slice", "narrow", "softmax", "log_softmax", "cumsum", "glu", "gather"), (1,)),
    **dict.fromkeys(("unbind", "index_select"), (1,)),
    **dict.fromkeys(("split", "split_with_sizes", "chunk", "topk"), (2,)),
    "transpose": (1, 2),
}
REDUCTIONS = frozenset({"sum", "mean", "amax", "amin", "logsumexp"})
COMPARISONS = frozenset({"eq", "ne", "lt", "le", "gt", "ge", "logical_not"})

ANY = -1
"""The size of an axis of which only its being there is known."""

# More are not worth their time: the likeliest come first.
_MOST_GUESSES = 96

# Of each of several inputs that are combined with each other.
_MOST_PAIRED = 4

# How many steps from the likeliest guess values of different ranks are worth that are added up or joined.
_ODD_COST = 2

_RANKS_FLOAT = (2, 4, 3, 1, 5, 0)
_RANKS_ROWS = (2, 3, 1, 4, 5)
_RANKS_WHOLE = (2, 1, 3, 0)

# Pictures whose channels no layer tells have three of them, or one.
_CHANNELS = (3, 1)

_IDS = re.compile(r"(^|_)(ids?|tokens?|idx|index|indices|positions?|labels?|lengths?|lens?)(_|$)", re.IGNORECASE)
# Inputs of diffusion models, recurrent layers and transformers, of which the graph may show little else.
_NAMED_RANKS = (
    (re.compile(r"(^|_)(time_?steps?|sigmas?|lengths?|lens?|offsets?)(_|$)|(^|_)id$", re.IGNORECASE), 1),
    (re.compile(r"(^|_)(hidden_states?|embeds|features)(_|$)", re.IGNORECASE), 3),
)
_MASK = re.compile(r"mask", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Move:
    """A change of axes between an input and what reads it: `kind` is the operator, `axes` its arguments."""

    kind: str
    axes: tuple[int, ...]

    def rank_after(self, rank: int) -> int:
        """Return the number of axes after the move, negative if there are too few before."""
        if self.kind == "flatten":
            return self.axes[0] + 1 if rank > self.axes[0] else -1
        return rank + {"unsqueeze": 1, "squeeze": -1, "select": -1}.get(self.kind, 0)

    def before(self, sizes: Mapping[int, int], rank: int) -> dict[int, int]:
        """Return the known sizes by axis before the move from those after it; `rank` is that before it."""
        after = self.rank_after(rank)
        axes = [axis % max(1, after if self.kind == "unsqueeze" else rank) for axis in self.axes]
        match self.kind:
            case "flatten":
                return {axis: size for axis, size in sizes.items() if axis < self.axes[0] or rank == after}
            case "permute":
                return {axes[axis]: size for axis, size in sizes.items() if axis < len(axes)}
            case "transpose":
                swap = {axes[0]: axes[1], axes[1]: axes[0]}
                return {swap.get(axis, axis): size for axis, size in sizes.items()}
            case "unsqueeze":
                return {axis - (axis > axes[0]): size for axis, size in sizes.items() if axis != axes[0]}
            case "squeeze" | "select":
                moved = {axis + (axis >= axes[0]): size for axis, size in sizes.items()}
                return {**moved, axes[0]: 1} if self.kind == "squeeze" else moved
            case _:  # part of an axis
                return {axis: size for axis, size in sizes.items() if axis not in axes}


@dataclass(frozen=True, slots=True)
class Source:
    """A value of the graph that has the axes of an input, but for `moves`."""

    name: str
    moves: tuple[Move, ...] = ()
    converted: bool = False
    compared: bool = False

    def rank_of(self, rank: int) -> int:
        """Return its number of axes if the input has `rank`, negative if that has too few."""
        for move in self.moves:
            rank = move.rank_after(rank) if rank >= 0 else rank
        return rank


@dataclass(frozen=True, slots=True)
class Clue:
    """What an operator requires of a value: its number of axes, None for any, and sizes by axis, from either end."""

    moves: tuple[Move, ...]
    rank: int | None
    sizes: Mapping[int, int]

    def tells(self) -> bool:
        """Return whether it tells a number of axes or a size, not only that there's an axis."""
        return self.rank is not None or any(size != ANY for size in self.sizes.values())

    def tells_rank(self) -> bool:
        """Return whether it tells a number of axes."""
        return self.rank is not None

    @property
    def turns(self) -> tuple[Move, ...]:
        """The moves after which there are other axes, or the same ones in another order."""
        return tuple(move for move in self.moves if move.kind != "part")

    def sizes_at(self, rank: int) -> dict[int, int] | None:
        """Return the known sizes of an input with `rank` axes, None if it can't have so many."""
        ranks = [rank]
        for move in self.moves:
            if move.kind == "permute" and len(move.axes) != ranks[-1]:
                return None
            ranks.append(move.rank_after(ranks[-1]))
        if min(ranks) < 0 or (self.rank is not None and ranks[-1] != self.rank):
            return None
        sizes = {axis + ranks[-1] if axis < 0 else axis: size for axis, size in self.sizes.items()}
        if any(not 0 <= axis < ranks[-1] for axis in sizes):
            return None
        for move, before in zip(reversed(self.moves), reversed(ranks[:-1]), strict=True):
            sizes = move.before(sizes, before)
        return sizes


@dataclass(slots=True)
class Known:
    """What the graph shows of one input."""

    clues: list[Clue] = field(default_factory=list)
    dtypes: list[str] = field(default_factory=list)

    def guesses(self, name: str) -> list[TensorSpec]:
        """Return specs of the input, the likeliest first."""
        dtypes = [*dict.fromkeys(self.dtypes or _named_dtypes(name))]
        whole = dtypes[0].startswith("int")
        found = []
        ranks = _RANKS_WHOLE if whole else _RANKS_ROWS if any(clue.tells() for clue in self.clues) else _RANKS_FLOAT
        # All have the axes that are named. Where branches differ, one that isn't added is the rule, such as the batch.
        told = [[clue.turns for clue in self.clues if which(clue)] for which in (Clue.tells, Clue.tells_rank)]
        plain = {min(turns, key=len) for turns in told if turns}
        ruling = [clue for clue in self.clues if clue.turns in plain or not (clue.turns or clue.tells())]
        unfit = {rank: sum(clue.sizes_at(rank) is None for clue in ruling) for rank in ranks}
        usual = next((rank for pattern, rank in _NAMED_RANKS if pattern.search(name)), None)
        known = {rank: self._sizes(rank) for rank in ranks}
        # Where one number of axes gives the first one a size, and another doesn't, that's the batch.
        for rank in sorted(ranks, key=lambda rank: (unfit[rank], 0 in (known[rank] or ()), rank != usual)):
            sizes = known[rank]
            if sizes is not None:
                found += [tuple(each.get(axis, -1) for axis in range(rank)) for each in _with_channels(sizes, rank)]
        shapes = [*dict.fromkeys(found)] or [(-1,) * rank for rank in _RANKS_FLOAT]
        ordered = sorted(itertools.product(range(len(shapes)), range(len(dtypes))), key=lambda pair: (sum(pair), pair))
        return [TensorSpec(name=name, shape=shapes[shape], dtype=dtypes[dtype]) for shape, dtype in ordered]

    def _sizes(self, rank: int) -> dict[int, int] | None:
        """Return the sizes that the clues give for so many axes, None if no clue fits; what reads it first wins."""
        known = [sizes for clue in self.clues if (sizes := clue.sizes_at(rank)) is not None]
        if not known and self.clues:
            return None
        return dict(ChainMap(*({axis: size for axis, size in each.items() if size != ANY} for each in known)))


def moved(source: Source, kind: str, axes: tuple[int, ...]) -> Source:
    """Return a value after one more change of its axes."""
    *before, last = source.moves or (None,)
    if kind == "part" and last is not None and last.kind == kind:
        return replace(source, moves=(*before, Move(kind, tuple(sorted({*last.axes, *axes})))))
    return replace(source, moves=(*source.moves, Move(kind, axes)))


def rearranged(sizes: list[int], kind: str, axes: tuple[int, ...]) -> list[int]:
    """Return sizes after a change of axes, none after what may change them otherwise."""
    if kind == "transpose":
        one, other = (axis % len(sizes) for axis in axes)
        swap = {one: other, other: one}
        return [sizes[swap.get(axis, axis)] for axis in range(len(sizes))]
    if kind == "permute" and len(axes) == len(sizes):
        return [sizes[axis] for axis in axes]
    if kind == "unsqueeze":
        axis = axes[0] % (len(sizes) + 1)
        return [*sizes[:axis], 1, *sizes[axis:]]
    return sizes if kind in ("contiguous", "clone", "to") else []


def combined(
    options: Sequence[Sequence[TensorSpec]], alike: Sequence[Sequence[Source]] = ()
) -> Iterator[tuple[TensorSpec, ...]]:
    """Yield signatures of the inputs, each of which may be one of several, the likeliest first.

    Args:
        options: the specs of each input, the likeliest first.
        alike: values that are combined with each other, most of which have as many axes.
    """
    counts = [len(each) for each in options]
    most = 8 if len(counts) < 4 else _MOST_PAIRED if alike else 2
    alone = [tuple(min(place, count - 1) for count in counts) for place in range(max(counts))]
    few = [range(min(count, most)) for count in counts[:6]]
    found = {*alone, *itertools.product(*few, *((0,),) * len(counts[6:]))}

    def chosen(places: tuple[int, ...]) -> tuple[TensorSpec, ...]:
        return tuple(each[place] for each, place in zip(options, places, strict=True))

    def cost(places: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        ranks = {spec.name: len(spec.shape or ()) for spec in chosen(places)}
        odd = sum(len({each.rank_of(ranks[each.name]) for each in group if each.name in ranks}) > 1 for group in alike)
        return sum(places) + _ODD_COST * odd, places

    yield from map(chosen, sorted(found, key=cost)[:_MOST_GUESSES])


def _with_channels(sizes: dict[int, int], rank: int) -> Iterator[dict[int, int]]:
    if rank < 4 or 1 in sizes or rank - 1 in sizes:
        yield sizes
    else:
        yield from ({**sizes, 1: channels} for channels in _CHANNELS)
        yield sizes


def _named_dtypes(name: str) -> tuple[str, ...]:
    if _MASK.search(name):
        return "int64", "bool", "float32"
    return ("int64", "float32", "bool") if _IDS.search(name) else ("float32", "int64", "bool")
