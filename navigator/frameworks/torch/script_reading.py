"""Goes through a TorchScript graph, and notes what reads the inputs of its module: ranks, sizes, dtypes, batches."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from navigator.frameworks.torch.arguments import NUMBERS, Layout, Parameter, count
from navigator.frameworks.torch.lookups import attribute
from navigator.frameworks.torch.script_clues import (
    ANY,
    AXES,
    BINARY,
    COMPARISONS,
    CONVERSIONS,
    REDUCTIONS,
    UNARY,
    Clue,
    Known,
    Move,
    Source,
    moved,
    rearranged,
)
from navigator.frameworks.torch.script_nodes import items, number, numbers
from navigator.frameworks.torch.script_wants import CONVOLUTION, PADDING, RESIZING, Wants, keeps_first

# A torch object; the types of the package differ between supported versions.
_Torch = Any

# How many tensors a list may have if the graph doesn't tell.
_COUNTS = (1, 2, 3)

# Of one value.
_MOST_SOURCES = 8

# Where `x[:]` ends.
_TO_THE_END = 2**31


def read(module: _Torch, takes: Sequence[Parameter]) -> "Reading":
    """Return what the graph of a module shows; `takes` are the parameters of its `forward`."""
    graph = module.inlined_graph
    own, *values = graph.inputs()
    reading = Reading(module=module, own=own)
    for parameter, value in zip(takes, values, strict=True):
        reading.begin(parameter, value)
    reading.walk(graph)
    reading.finish()
    return reading


@dataclass(frozen=True, slots=True)
class Held:
    """An argument that holds tensors, or a tuple in it: its layout or that of each item, and its first tensor."""

    name: str
    layout: Layout
    listed: bool
    first: int = 0

    def item(self, place: int) -> "Held | Source":
        """Return one of what it holds."""
        layout = self.layout if self.listed else self.layout[place]
        before = place * count(layout) if self.listed else sum(map(count, self.layout[:place]))
        if not layout:
            return Source(f"{self.name}__{self.first + before}")
        return Held(self.name, layout, listed=False, first=self.first + before)


@dataclass(slots=True)
class Reading(Wants):
    """Goes through a graph, and notes what reads the inputs."""

    keys: dict[str, list[str]] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=dict)
    tuples: dict[str, list[tuple[int, Source]]] = field(default_factory=dict)
    containers: dict[str, list[Held]] = field(default_factory=dict)
    alike: dict[tuple[tuple[str, tuple[Move, ...]], ...], list[Source]] = field(default_factory=dict)
    reshaped: dict[str, list[int]] = field(default_factory=dict)
    taken: dict[tuple[str, tuple[Move, ...], int], int] = field(default_factory=dict)

    def begin(self, parameter: Parameter, value: _Torch) -> None:
        """Note an argument."""
        if parameter.kind == "tensor":
            self.sources[value.debugName()] = [Source(parameter.name)]
        elif parameter.kind in ("list", "dict", "tuple"):
            held = Held(parameter.name, parameter.layout, listed=parameter.kind != "tuple")
            self.containers[value.debugName()] = [held]
            if not parameter.nested:
                self.tuples[value.debugName()] = [*enumerate(map(Source, parameter.inputs))]

    def counts(self, takes: Sequence[Parameter]) -> Sequence[int]:
        """Return how many tensors a list may have: as many as the graph reads, or a few."""
        if not any(each.kind == "list" and not (each.default or each.nullable) for each in takes):
            return (1,)
        return (max(self.items.values()),) if self.items else _COUNTS

    def walk(self, block: _Torch) -> None:
        """Note the operations of a block, those in branches and loops before what uses their results."""
        for node in block.nodes():
            for inner in node.blocks():
                self.walk(inner)
            self.read(node)

    def names(self, parameter: Parameter, items: int) -> list[str]:
        """Return the names of the inputs of a parameter, none if it's left out; a list has so many `items`."""
        if parameter.kind in ("other", *NUMBERS) or parameter.default or parameter.nullable:
            return []
        if parameter.kind == "dict":
            return self.keys.get(parameter.name, [])
        if parameter.kind == "list":
            return [f"{parameter.name}__{index}" for index in range(items * parameter.count)]
        return parameter.inputs

    def read(self, node: _Torch) -> None:
        """Note one operation."""
        kind = node.kind().removeprefix("aten::")
        inputs, outputs = list(node.inputs()), [each.debugName() for each in node.outputs()]
        if self._opens(node, inputs, outputs) or self._builds(node, inputs, outputs) or not outputs:
            return
        lists = [value.node() for value in inputs if value.node().kind() == "prim::ListConstruct"]
        listed = [each for built in lists for each in built.inputs()]
        first = self._sources(inputs[0]) if inputs else []
        second = self._sources(inputs[1]) if len(inputs) > 1 else []
        self._types(kind, inputs, listed)
        self._layer(kind, inputs, first, second)
        self._reshape(kind, inputs, outputs[0])
        self._ask(kind, inputs, first)
        if kind in UNARY:
            changed = kind in CONVERSIONS
            self.sources[outputs[0]] = [replace(each, converted=each.converted or changed) for each in first]
        elif kind in BINARY:
            self._broadcast(inputs, first, second)
            self._fit(inputs, first, second)
            self._pair([*first, *second])
            self.sources[outputs[0]] = [*first, *second]
        elif kind in REDUCTIONS and len(inputs) > 2:
            self._reduce(inputs, outputs[0], first)
        elif kind in COMPARISONS:
            self.sources[outputs[0]] = [replace(each, converted=True, compared=True) for each in first]
        elif kind == "cat" and listed:
            axis = number(inputs[1])
            self._beside(listed, axis)
            tracked = [each for value in listed for each in self._sources(value)]
            self._pair(tracked)
            self.sources[outputs[0]] = [moved(each, "part", (axis,)) for each in tracked]
        else:
            self._move(kind, inputs, outputs, first)
        for output in outputs:
            self.sources[output] = _shortest(self.sources.get(output, []))

    def _pair(self, sources: Sequence[Source]) -> None:
        """Note values of several inputs that are combined with each other."""
        if len({each.name for each in sources}) > 1:
            self.alike[tuple((each.name, each.moves) for each in sources)] = [*sources]

    def _beside(self, listed: Sequence[_Torch], axis: int) -> None:
        """Note the sizes of values that are joined: those of one that was reshaped, but for the axis."""
        for sizes in filter(None, (self.reshaped.get(each.debugName()) for each in listed)):
            kept = {place: size for place, size in enumerate(sizes) if size > 0 and place != axis % len(sizes)}
            for value in listed:
                self._tell(self._sources(value), len(sizes), kept, "")

    def _reshape(self, kind: str, inputs: Sequence[_Torch], output: str) -> None:
        """Note the sizes of a value that was reshaped, -1 for those that are computed, also after a change of axes."""
        known = self.reshaped.get(inputs[0].debugName()) if inputs else None
        if kind in ("view", "reshape") and len(inputs) > 1 and inputs[1].node().kind() == "prim::ListConstruct":
            self.reshaped[output] = [self._number(each) for each in inputs[1].node().inputs()]
        elif kind == "expand" and len(inputs) > 1:
            self.reshaped[output] = [ANY if size is None else size for size in items(inputs[1])]
        elif kind == "gather":
            self.reshaped[output] = self.reshaped.get(inputs[2].debugName(), [])
        elif known and kind == "slice":
            axis, bounds = number(inputs[1]) % len(known), inputs[2:5]
            left = ANY
            if known[axis] != ANY and all(each.node().kind() == "prim::Constant" for each in bounds):
                left = len(range(known[axis])[slice(*(each.toIValue() for each in bounds))])
            self.reshaped[output] = [left if place == axis else size for place, size in enumerate(known)]
        elif known and (kind in UNARY or kind in BINARY):
            self.reshaped[output] = known
        elif kind == "cat" and inputs[0].node().kind() == "prim::ListConstruct":
            joined = [self.reshaped.get(each.debugName(), []) for each in inputs[0].node().inputs()]
            axis = number(inputs[1])
            sizes = next(filter(None, joined), [])
            whole = sum(each[axis] for each in joined) if all(each and each[axis] > 0 for each in joined) else ANY
            self.reshaped[output] = [whole if place == axis % len(sizes) else size for place, size in enumerate(sizes)]
        elif known:
            axes = numbers(inputs[1]) if kind == "permute" else tuple(number(each) for each in inputs[1:3])
            self.reshaped[output] = rearranged(known, kind, axes)

    def _fit(self, inputs: Sequence[_Torch], first: list[Source], second: list[Source]) -> None:
        """Note the sizes of a value that was reshaped, and that another is combined with."""
        for tracked, other in ((first, inputs[1]), (second, inputs[0])):
            sizes = self.reshaped.get(other.debugName(), [])
            known = {axis - len(sizes): size for axis, size in enumerate(sizes) if size > 1}
            self._tell(tracked, None, known, "")

    def _builds(self, node: _Torch, inputs: Sequence[_Torch], outputs: Sequence[str]) -> bool:
        """Note tuples that the graph makes and takes apart, and values that are one branch's or the other's."""
        match node.kind():
            case "prim::If":
                for index, output in enumerate(outputs):
                    branches = [list(inner.outputs())[index] for inner in node.blocks()]
                    self.sources[output] = [each for value in branches for each in self._sources(value)]
                    self.tuples[output] = [item for value in branches for item in self._items(value)]
            case "prim::unchecked_cast":
                self.sources[outputs[0]], self.tuples[outputs[0]] = self._sources(inputs[0]), self._items(inputs[0])
            case "prim::TupleConstruct":
                self.tuples[outputs[0]] = [
                    (index, each) for index, value in enumerate(inputs) for each in self._sources(value)
                ]
            case "prim::TupleUnpack" | "prim::TupleIndex":
                first = 0 if node.kind() == "prim::TupleUnpack" else number(inputs[1])
                for index, output in enumerate(outputs, first):
                    self.sources[output] = [each for place, each in self._items(inputs[0]) if place == index]
            case "prim::ListUnpack" if inputs[0].node().kind() in ("aten::size", "aten::unbind"):
                asked = inputs[0].node()
                whole = self._sources(asked.inputsAt(0))
                if asked.kind() == "aten::size":
                    self._tell(whole, len(outputs), {}, "")
                else:
                    axis = number(asked.inputsAt(1))
                    self._tell(whole, None, {axis: len(outputs)}, "")
                    for output in outputs:
                        self.sources[output] = [moved(each, "select", (axis,)) for each in whole]
            case _:
                return False
        return True

    def _opens(self, node: _Torch, inputs: Sequence[_Torch], outputs: Sequence[str]) -> bool:
        """Note the items of an argument that is a list, a tuple or a dictionary, or of a tuple in one."""
        found = self.containers.get(inputs[0].debugName(), []) if inputs else []
        if not found:
            return False
        if node.kind() in ("prim::TupleUnpack", "prim::ListUnpack"):
            for index, output in enumerate(outputs):
                self._hold(output, [held.item(index) for held in found])
            self.items |= {held.name: len(outputs) for held in found if held.listed}
        elif node.kind() in ("aten::__getitem__", "prim::TupleIndex"):
            key = inputs[1].toIValue()
            for held in found:
                if isinstance(key, str):
                    self.keys.setdefault(held.name, [])
                    if key not in self.keys[held.name]:
                        self.keys[held.name].append(key)
                if isinstance(key, int) and held.listed:
                    self.items[held.name] = max(self.items.get(held.name, 0), key + 1)
            # A loop takes one after the other.
            indices = range(max(_COUNTS)) if key is None else [key]
            held_by = [held.item(index) for held in found for index in indices if not isinstance(key, str)]
            self._hold(outputs[0], [Source(key)] if isinstance(key, str) else held_by)
        else:
            return False
        return True

    def _hold(self, output: str, items: Sequence[Held | Source]) -> None:
        self.sources[output] = [each for each in items if isinstance(each, Source)]
        self.containers[output] = [each for each in items if isinstance(each, Held)]

    def _ask(self, kind: str, inputs: Sequence[_Torch], first: list[Source]) -> None:
        """Note that a value has an axis that is named, and how many of its elements are taken one by one."""
        for position in AXES.get(kind, ()):
            axis = number(inputs[position], None) if len(inputs) > position else None
            if axis is not None:
                self._tell(first, None, {axis: ANY}, "")
        if kind in ("size", "select") and len(inputs) > 1 and (axis := number(inputs[1], None)) is not None:
            taken = number(inputs[2], 0) if kind == "select" else 0
            for each in first:
                place = (each.name, each.moves, axis)
                self.taken[place] = max(self.taken.get(place, 0), taken + 1)

    def _reduce(self, inputs: Sequence[_Torch], output: str, first: list[Source]) -> None:
        """Note that a value has the axes over which it's reduced, and which are left."""
        one = number(inputs[1], None)
        axes = numbers(inputs[1]) if one is None else (one,)
        self._tell(first, None, dict.fromkeys(axes, ANY), "")
        if not axes or len({axis < 0 for axis in axes}) > 1:
            return
        if inputs[2].toIValue():
            self.sources[output] = [moved(each, "part", axes) for each in first]
            return
        # Those that are left keep their numbers.
        for axis in sorted(axes, reverse=axes[0] >= 0):
            first = [moved(each, "select", (axis,)) for each in first]
        self.sources[output] = first

    def finish(self) -> None:
        """Note the sizes of what is taken element by element, and those of values that are combined with others."""
        for (name, moves, axis), taken in self.taken.items():
            if taken > 1:
                self._tell([Source(name, moves)], None, {axis: taken}, "")
        told = [(name, clue) for name, known in self.known.items() for clue in known.clues]
        for name, clue in told:
            sizes = {axis: size for axis, size in clue.sizes.items() if axis < 0 < size}
            if sizes:
                self._share(name, replace(clue, rank=None, sizes=sizes))

    def _share(self, name: str, clue: Clue) -> None:
        """Note the last sizes of an input for those that it's combined with, and for those that they are."""
        reached, left = {name}, [(name, clue)]
        for name, clue in left:
            for group in self.alike.values():
                lengths = [len(each.moves) for each in group if each.name == name and _begins(clue, each)]
                others = [each for each in group if each.name not in reached] if lengths else []
                for other in others:
                    new = replace(clue, moves=(*other.moves, *clue.moves[lengths[0] :]))
                    self.known.setdefault(other.name, Known()).clues.append(new)
                    left.append((other.name, new))
                    reached.add(other.name)

    def _move(self, kind: str, inputs: Sequence[_Torch], outputs: Sequence[str], first: list[Source]) -> None:
        output = outputs[0]
        if kind in ("_pack_padded_sequence", "sort"):
            self.sources[output] = list(first)
        elif kind == "index_select":
            self.sources[output] = [moved(each, "part", (number(inputs[1]),)) for each in first]
        elif kind == "slice" and len(inputs) > 4 and _is_whole(inputs):
            self.sources[output] = list(first)
        elif PADDING.fullmatch(kind) and len(inputs) > 1:
            padded = tuple(range(-(len(items(inputs[1])) // 2), 0))
            self.sources[output] = [moved(each, "part", padded) for each in first]
        elif kind in ("unsqueeze", "squeeze", "select", "slice") and len(inputs) > 1:
            axis = number(inputs[1], None)
            if axis is not None:
                self.sources[output] = [moved(each, "part" if kind == "slice" else kind, (axis,)) for each in first]
        elif kind == "expand" and len(inputs) > 1 and keeps_first(inputs[1]):
            new = tuple(axis for axis, size in enumerate(items(inputs[1])) if size != -1)
            self.sources[output] = [moved(each, "part", new) for each in first]
        elif kind == "permute":
            self.sources[output] = [moved(each, kind, numbers(inputs[1])) for each in first]
        elif kind == "transpose":
            axes = (number(inputs[1]), number(inputs[2]))
            self.sources[output] = [moved(each, kind, axes) for each in first]
        elif kind == "embedding":
            rows = self._sources(inputs[1])
            self.sources[output] = [replace(moved(each, "unsqueeze", (-1,)), converted=True) for each in rows]
        elif kind == "glu":
            self.sources[output] = [moved(each, "part", (number(inputs[1], -1),)) for each in first]
        elif kind in ("linear", "matmul") and getattr(self._held(inputs[1]), "shape", ())[1:]:
            self.sources[output] = [moved(each, "part", (-1,)) for each in first]
        elif CONVOLUTION.fullmatch(kind) and (weight := self._held(inputs[1])) is not None:
            self.sources[output] = [moved(each, "part", tuple(range(1, weight.dim()))) for each in first]
        elif found := RESIZING.fullmatch(kind):
            self.sources[output] = [moved(each, "part", tuple(range(2, int(found[1]) + 2))) for each in first]
        elif kind == "flatten" and number(inputs[1]) > 0 and number(inputs[2]) == -1:
            self.sources[output] = [moved(each, kind, (number(inputs[1]),)) for each in first]
        elif kind in ("flatten", "reshape", "view"):
            # Of two axes, the second is what comes out; of more, the ladder finds sizes that fit.
            self.sources[output] = [each for each in first if not each.moves]

    def _number(self, value: _Torch) -> int:
        """Return a whole number that is a constant or an attribute of the module, -1 for what is computed."""
        held = attribute(value, self.own, self.module) if value.node().kind() == "prim::GetAttr" else value.toIValue()
        return held if isinstance(held, int) else ANY

    def _items(self, value: _Torch) -> list[tuple[int, Source]]:
        return self.tuples.get(value.debugName(), [])


def _begins(clue: Clue, source: Source) -> bool:
    """Return whether a clue is about a value, or about one that was made of it; not if sizes changed before."""
    return clue.moves[: len(source.moves)] == source.moves and all(move.kind != "part" for move in source.moves)


def _shortest(sources: Sequence[Source]) -> list[Source]:
    """Return each source once, and those with the fewest changes of axes: sums of sums have more and more of them."""
    return sorted(dict.fromkeys(sources), key=lambda each: len(each.moves))[:_MOST_SOURCES]


def _is_whole(inputs: Sequence[_Torch]) -> bool:
    """Return whether a slice takes all of an axis, as `x[:, 1:]` does of the first one."""
    if any(each.node().kind() != "prim::Constant" for each in inputs[2:5]):
        return False
    start, end, step = (each.toIValue() for each in inputs[2:5])
    return not start and (end is None or end >= _TO_THE_END) and step == 1
