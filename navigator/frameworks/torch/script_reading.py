"""Goes through a TorchScript graph, and notes what reads the inputs of its module: ranks, sizes, dtypes, batches."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from navigator.frameworks.torch.arguments import NUMBERS, Parameter
from navigator.frameworks.torch.lookups import attribute
from navigator.frameworks.torch.script_clues import (
    BINARY,
    COMPARISONS,
    CONVERSIONS,
    UNARY,
    Clue,
    Known,
    Source,
    moved,
    rearranged,
)
from navigator.frameworks.torch.script_nodes import number, numbers

# A torch object; the types of the package differ between supported versions.
_Torch = Any

# What computes a weight of the shape of its first argument, as weight and spectral norms and adapters do.
_PARAMETRIZED = frozenset({"aten::_weight_norm", "aten::div", "aten::add", "aten::to"})

_CONVOLUTION = re.compile(r"conv\dd|_convolution|conv_transpose\dd")


def read(module: _Torch, takes: Sequence[Parameter]) -> "Reading":
    """Return what the graph of a module shows; `takes` are the parameters of its `forward`."""
    graph = module.inlined_graph
    own, *values = graph.inputs()
    reading = Reading(module=module, own=own)
    for parameter, value in zip(takes, values, strict=True):
        reading.begin(parameter, value)
    reading.walk(graph)
    return reading


@dataclass(slots=True)
class Reading:
    """Goes through a graph, and notes what reads the inputs."""

    module: _Torch
    own: _Torch
    sources: dict[str, list[Source]] = field(default_factory=dict)
    known: dict[str, Known] = field(default_factory=dict)
    keys: dict[str, list[str]] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=dict)
    tuples: dict[str, list[tuple[int, Source]]] = field(default_factory=dict)
    containers: dict[str, str] = field(default_factory=dict)
    reshaped: dict[str, list[int]] = field(default_factory=dict)
    batches: list[tuple[str, Clue]] = field(default_factory=list)

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
        return (max(self.items.values()),) if self.items else (1, 2, 3)

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
            self._move(kind, inputs, outputs[0], first)

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
            self.reshaped[output] = [number(each, -1) for each in inputs[1].node().inputs()]
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
            self.sources[outputs[0]] = [Source(key if isinstance(key, str) else f"{name}__{key}")]
        else:
            return False
        return True

    def _types(self, kind: str, inputs: Sequence[_Torch], listed: Sequence[_Torch]) -> None:
        """Note what is an index, and what is a mask."""
        indices: list[_Torch] = []
        if kind in ("embedding", "embedding_bag"):
            indices = list(inputs[1:2])
        elif kind in ("gather", "index_select", "scatter"):
            indices = list(inputs[2:3])
        elif kind == "index":
            indices = list(listed)
        elif kind == "one_hot":
            indices = list(inputs[:1])
        elif kind == "_pack_padded_sequence":
            self._tell(self._sources(inputs[1]), 1, {}, "int64")
        for value in indices:
            self._tell([each for each in self._sources(value) if not each.compared], None, {}, "int64")
        masks = {"masked_fill": 1, "masked_fill_": 1, "where": 0, "bitwise_not": 0}
        if kind in masks:
            plain = [each for each in self._sources(inputs[masks[kind]]) if not each.converted]
            self._tell(plain, None, {}, "bool")

    def _layer(self, kind: str, inputs: Sequence[_Torch], first: list[Source], second: list[Source]) -> None:
        """Note how many axes a layer wants, and which sizes its weights give."""
        if not inputs:
            return
        weight = self._held(inputs[1]) if len(inputs) > 1 else None
        shape = tuple(getattr(weight, "shape", ()))
        dtype = str(getattr(weight, "dtype", "")).removeprefix("torch.")
        if _CONVOLUTION.fullmatch(kind) and len(shape) > 2:
            transposed = "transpose" in kind or (kind == "_convolution" and bool(inputs[6].toIValue()))
            groups = number(inputs[{"_convolution": 8}.get(kind, 7 if transposed else 6)], 1)
            channels = shape[0] if transposed else shape[1] * groups
            self._tell(first, len(shape), {1: channels}, dtype)
        elif kind == "linear" and len(shape) == 2:
            self._tell(first, None, {-1: shape[1]}, dtype)
        elif kind == "matmul" and len(shape) == 2:
            self._tell(first, None, {-1: shape[0]}, dtype)
        elif kind == "addmm" and len(inputs) > 2 and (factor := self._held(inputs[2])) is not None:
            self._tell(second, 2, {-1: factor.shape[0]}, dtype)
        elif kind in ("batch_norm", "instance_norm") and len(inputs) > 3:
            held = next((each for each in map(self._held, inputs[1:4]) if each is not None), None)
            self._tell(first, None, {1: held.shape[0]} if held is not None else {}, "")
        elif kind == "layer_norm":
            sizes = numbers(inputs[1])
            self._tell(first, None, {index - len(sizes): size for index, size in enumerate(sizes)}, "")
        elif kind in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
            self._recurrent(kind, inputs, first)
        elif kind == "stft":
            self._tell(first, 2, {}, "")
        elif kind == "pixel_shuffle":
            self._tell(first, 4, {}, "")
        elif found := re.search(r"(?:pool|upsample_\w*|pad)([123])d", kind):
            self._tell(first, int(found[1]) + 2, {}, "")

    def _recurrent(self, kind: str, inputs: Sequence[_Torch], first: list[Source]) -> None:
        listed = inputs[2].node()
        traced = listed.kind() == "prim::ListConstruct"
        weights = (
            [self._held(each) for each in listed.inputs()] if traced else attribute(inputs[2], self.own, self.module)
        )
        if not isinstance(weights, list) or len(weights) < 2 or weights[0] is None or weights[1] is None:
            return
        dtype = str(weights[0].dtype).removeprefix("torch.")
        self._tell(first, 3, {2: weights[0].shape[1]}, dtype)
        states = list(inputs[1].node().inputs()) if kind == "lstm" else [inputs[1]]
        layers = number(inputs[4], 1) * (2 if inputs[7].toIValue() else 1)
        batch = 0 if inputs[8].toIValue() else 1
        self.batches += [(each.name, Clue(each.moves, 3, {batch: 1})) for each in first]
        for state in states:
            self._tell(self._sources(state), 3, {0: layers, 2: weights[1].shape[1]}, dtype)
            self.batches += [(each.name, Clue(each.moves, 3, {1: 1})) for each in self._sources(state)]

    def _broadcast(self, inputs: Sequence[_Torch], first: list[Source], second: list[Source]) -> None:
        """Note the sizes of a constant that a value is combined with: the mean of each channel."""
        for tracked, other in ((first, inputs[1]), (second, inputs[0])):
            shape = tuple(getattr(self._held(other), "shape", ()))
            if tracked and len(shape) > 1:
                sizes = {index - len(shape): size for index, size in enumerate(shape) if size > 1}
                self._tell(tracked, None, sizes, "")

    def _move(self, kind: str, inputs: Sequence[_Torch], output: str, first: list[Source]) -> None:
        if kind in ("unsqueeze", "squeeze", "select", "slice") and len(inputs) > 1:
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
        elif _CONVOLUTION.fullmatch(kind) and (weight := self._held(inputs[1])) is not None:
            self.sources[output] = [moved(each, "part", tuple(range(1, weight.dim()))) for each in first]
        elif kind in ("flatten", "reshape", "view"):
            # Of two axes, the second is what comes out; of more, the ladder finds sizes that fit.
            self.sources[output] = [each for each in first if not each.moves]

    def _tell(self, sources: Sequence[Source], rank: int | None, sizes: Mapping[int, int], dtype: str) -> None:
        for each in sources:
            known = self.known.setdefault(each.name, Known())
            if rank is not None or sizes:
                known.clues.append(Clue(each.moves, rank, sizes))
            if dtype in ("int64", "bool") or (dtype and not each.converted):
                known.dtypes.append(dtype)

    def _items(self, value: _Torch) -> list[tuple[int, Source]]:
        return self.tuples.get(value.debugName(), [])

    def _sources(self, value: _Torch) -> list[Source]:
        return self.sources.get(value.debugName(), [])

    def _held(self, value: _Torch) -> _Torch | None:
        """Return a weight or a constant tensor, also a transposed one; of a weight that is computed, its parameter."""
        import torch

        node = value.node()
        if node.kind() in _PARAMETRIZED:
            return self._held(next(iter(node.inputs())))
        if node.kind() in ("aten::t", "aten::transpose"):
            held = self._held(next(iter(node.inputs())))
            return held.t() if held is not None and held.dim() == 2 else None
        found = attribute(value, self.own, self.module) if node.kind() == "prim::GetAttr" else None
        if node.kind() == "prim::Constant":
            found = value.toIValue()
        return found if isinstance(found, torch.Tensor) else None
