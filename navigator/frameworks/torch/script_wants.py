"""What the operators of a TorchScript graph want of the inputs of its module: ranks, sizes, dtypes, batches."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from navigator.frameworks.torch.lookups import attribute
from navigator.frameworks.torch.script_clues import Clue, Known, Source
from navigator.frameworks.torch.script_nodes import items, number, numbers

# A torch object; the types of the package differ between supported versions.
_Torch = Any

CONVOLUTION = re.compile(r"conv\dd|_convolution|conv_transpose\dd")
PADDING = re.compile(r"(?:constant_|reflection_|replication_)?pad(?:[123]d|_nd)?")
# What changes only the sizes of so many last axes.
RESIZING = re.compile(r"(?:\w*pool|upsample_\w*?)([123])d\w*")

# What computes a weight of the shape of its first argument, as weight and spectral norms and adapters do.
_PARAMETRIZED = frozenset({"aten::_weight_norm", "aten::div", "aten::add", "aten::to"})

# What takes a weight apart.
_SPLITS = frozenset({"aten::split", "aten::split_with_sizes", "aten::chunk", "aten::unsafe_chunk"})


@dataclass(slots=True)
class Wants:
    """Notes what reads the inputs; `sources` are the values that have the axes of an input."""

    module: _Torch
    own: _Torch
    sources: dict[str, list[Source]] = field(default_factory=dict)
    known: dict[str, Known] = field(default_factory=dict)
    batches: list[tuple[str, Clue]] = field(default_factory=list)

    def _types(self, kind: str, inputs: Sequence[_Torch], listed: Sequence[_Torch]) -> None:
        """Note what is an index, and what is a mask."""
        indices: list[_Torch] = []
        if kind in ("embedding", "embedding_bag"):
            indices = list(inputs[1:2])
            for value in inputs[1:3] if kind == "embedding_bag" else ():
                self._tell(self._sources(value), 1, {}, "int64")
        elif kind in ("gather", "scatter", "scatter_add", "scatter_add_", "scatter_reduce"):
            indices = list(inputs[2:3])
        elif kind in ("index_select", "index_add", "index_add_"):
            self._tell(self._sources(inputs[2]), 1, {}, "int64")
        elif kind == "index":
            indices = list(listed)
        elif kind == "one_hot":
            indices = list(inputs[:1])
        elif kind == "_pack_padded_sequence":
            self._tell(self._sources(inputs[0]), 3, {}, "")
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
        weight = self._held(_whole(inputs[1])) if len(inputs) > 1 else None
        shape = tuple(getattr(weight, "shape", ()))
        dtype = str(getattr(weight, "dtype", "")).removeprefix("torch.")
        if CONVOLUTION.fullmatch(kind) and len(shape) > 2:
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
        elif kind in ("bmm", "baddbmm"):
            self._tell(first, 3, {}, "")
        elif kind in ("grid_sampler", "grid_sampler_2d"):
            self._tell(first, 4, {}, "")
            self._tell(second, 4, {3: 2}, "")
        elif kind == "affine_grid_generator":
            axes = inputs[1].node().inputsSize() if inputs[1].node().kind() == "prim::ListConstruct" else 4
            self._tell(first, 3, {1: axes - 2, 2: axes - 1}, "")
        elif kind == "expand" and len(inputs) > 1 and keeps_first(inputs[1]):
            self._tell(first, len(items(inputs[1])), {}, "")
        elif kind == "pixel_shuffle":
            self._tell(first, 4, {}, "")
        elif found := re.search(r"(?:pool|upsample_\w*|pad)([123])d", kind):
            self._tell(first, int(found[1]) + 2, {}, "")

    def _recurrent(self, kind: str, inputs: Sequence[_Torch], first: list[Source]) -> None:
        # Of packed sequences, the batches are in the second argument.
        packed = "List" in inputs[3].type().annotation_str
        listed = inputs[3 if packed else 2]
        traced = listed.node().kind() == "prim::ListConstruct"
        weights = (
            [self._held(each) for each in listed.node().inputs()]
            if traced
            else attribute(listed, self.own, self.module)
        )
        if not isinstance(weights, list) or len(weights) < 2 or weights[0] is None or weights[1] is None:
            return
        dtype = str(weights[0].dtype).removeprefix("torch.")
        if packed:
            self._tell(first, None, {-1: weights[0].shape[1]}, dtype)
            return
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

    def _tell(self, sources: Sequence[Source], rank: int | None, sizes: Mapping[int, int], dtype: str) -> None:
        for each in sources:
            known = self.known.setdefault(each.name, Known())
            if rank is not None or sizes:
                known.clues.append(Clue(each.moves, rank, sizes))
            if dtype in ("int64", "bool") or (dtype and not each.converted):
                known.dtypes.append(dtype)

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


def _whole(value: _Torch) -> _Torch:
    """Return the weight of whose rows a value is a part: attention has those of queries, keys and values in one."""
    node = value.node()
    if node.kind() != "prim::ListUnpack" or node.inputsAt(0).node().kind() not in _SPLITS:
        return value
    whole, _, axis = node.inputsAt(0).node().inputs()
    return whole if number(axis) == 0 else value


def keeps_first(sizes: _Torch) -> bool:
    """Return whether the first size that something is expanded to is its own: no axis is new."""
    return items(sizes)[:1] == [-1]
