"""Goes through a TorchScript graph, and notes what reads the inputs of its module: ranks, sizes, dtypes, batches."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from navigator.frameworks.torch.arguments import NUMBERS, Parameter
from navigator.frameworks.torch.lookups import attribute
from navigator.frameworks.torch.script_clues import (
    ANY,
    BINARY,
    COMPARISONS,
    CONVERSIONS,
    UNARY,
    Move,
    Source,
    moved,
    rearranged,
)
from navigator.frameworks.torch.script_nodes import number, numbers
from navigator.frameworks.torch.script_wants import CONVOLUTION, PADDING, RESIZING, Wants

# A torch object; the types of the package differ between supported versions.
_Torch = Any

# How many tensors a list may have if the graph doesn't tell.
_COUNTS = (1, 2, 3)

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


@dataclass(slots=True)
class Reading(Wants):
    """Goes through a graph, and notes what reads the inputs."""

    keys: dict[str, list[str]] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=dict)
    tuples: dict[str, list[tuple[int, Source]]] = field(default_factory=dict)
    containers: dict[str, str] = field(default_factory=dict)
    reshaped: dict[str, list[int]] = field(default_factory=dict)
    taken: dict[tuple[str, tuple[Move, ...], int], int] = field(default_factory=dict)

    def begin(self, parameter: Parameter, value: _Torch) -> None:
        """Note an argument."""
        if parameter.kind == "tensor":
            self.sources[value.debugName()] = [Source(parameter.name)]
        elif parameter.kind in ("list", "dict") or (parameter.kind == "tuple" and not parameter.nested):
            self.containers[value.debugName()] = parameter.name
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

    def names(self, parameter: Parameter, count: int) -> list[str]:
        """Return the names of the inputs of a parameter, none if it's left out; a list has `count`."""
        if parameter.kind in ("other", *NUMBERS) or parameter.default or parameter.nullable:
            return []
        if parameter.kind == "dict":
            return self.keys.get(parameter.name, [])
        if parameter.kind == "list":
            return [f"{parameter.name}__{index}" for index in range(count * parameter.count)]
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
            self.sources[outputs[0]] = [*first, *second]
        elif kind in COMPARISONS:
            self.sources[outputs[0]] = [replace(each, converted=True, compared=True) for each in first]
        elif kind == "cat" and listed:
            axis = number(inputs[1])
            self._beside(listed, axis)
            tracked = [each for value in listed for each in self._sources(value)]
            self.sources[outputs[0]] = [moved(each, "part", (axis,)) for each in tracked]
        else:
            self._move(kind, inputs, outputs, first)

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
        """Note the items of an argument that is a list, a tuple or a dictionary."""
        name = self.containers.get(inputs[0].debugName()) if inputs else None
        if name is None:
            return False
        if node.kind() in ("prim::TupleUnpack", "prim::ListUnpack"):
            for index, output in enumerate(outputs):
                self.sources[output] = [Source(f"{name}__{index}")]
            self.items[name] = len(outputs)
        elif node.kind() in ("aten::__getitem__", "prim::TupleIndex"):
            key = inputs[1].toIValue()
            if isinstance(key, str):
                self.keys.setdefault(name, [])
                if key not in self.keys[name]:
                    self.keys[name].append(key)
            if isinstance(key, int):
                self.items[name] = max(self.items.get(name, 0), key + 1)
            # A loop takes one after the other.
            indices = range(max(_COUNTS)) if key is None else [key]
            names = [key] if isinstance(key, str) else [f"{name}__{index}" for index in indices]
            self.sources[outputs[0]] = [*map(Source, names)]
        else:
            return False
        return True

    def _ask(self, kind: str, inputs: Sequence[_Torch], first: list[Source]) -> None:
        """Note that a value has an axis whose size is asked for, and how many of its elements are taken one by one."""
        if kind in ("size", "select") and len(inputs) > 1 and (axis := number(inputs[1], None)) is not None:
            taken = number(inputs[2], 0) if kind == "select" else 0
            for each in first:
                self._tell([each], None, {axis: ANY}, "")
                place = (each.name, each.moves, axis)
                self.taken[place] = max(self.taken.get(place, 0), taken + 1)

    def finish(self) -> None:
        """Note the sizes of axes of which several elements are taken one by one."""
        for (name, moves, axis), count in self.taken.items():
            if count > 1:
                self._tell([Source(name, moves)], None, {axis: count}, "")

    def _move(self, kind: str, inputs: Sequence[_Torch], outputs: Sequence[str], first: list[Source]) -> None:
        output = outputs[0]
        if kind in ("_pack_padded_sequence", "sort"):
            self.sources[output] = list(first)
        elif kind == "index_select":
            self.sources[output] = [moved(each, "part", (number(inputs[1]),)) for each in first]
        elif kind == "slice" and len(inputs) > 4 and _is_whole(inputs):
            self.sources[output] = list(first)
        elif PADDING.fullmatch(kind) and len(inputs) > 1:
            padded = tuple(range(-(_length(inputs[1]) // 2), 0))
            self.sources[output] = [moved(each, "part", padded) for each in first]
        elif kind in ("unsqueeze", "squeeze", "select", "slice") and len(inputs) > 1:
            axis = number(inputs[1], None)
            if axis is not None:
                self.sources[output] = [moved(each, "part" if kind == "slice" else kind, (axis,)) for each in first]
        elif kind == "permute":
            self.sources[output] = [moved(each, kind, numbers(inputs[1])) for each in first]
        elif kind == "transpose":
            axes = (number(inputs[1]), number(inputs[2]))
            self.sources[output] = [moved(each, kind, axes) for each in first]
        elif kind == "embedding":
            rows = self._sources(inputs[1])
            self.sources[output] = [replace(moved(each, "unsqueeze", (-1,)), converted=True) for each in rows]
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


def _is_whole(inputs: Sequence[_Torch]) -> bool:
    """Return whether a slice takes all of an axis, as `x[:, 1:]` does of the first one."""
    if any(each.node().kind() != "prim::Constant" for each in inputs[2:5]):
        return False
    start, end, step = (each.toIValue() for each in inputs[2:5])
    return not start and (end is None or end >= _TO_THE_END) and step == 1


def _length(value: _Torch) -> int:
    """Return how many numbers a list has."""
    held = value.toIValue()
    return len(held) if isinstance(held, list) else len([*value.node().inputs()])
