"""A torch module with other rounding: what its parameters' last bits and its threads change."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from navigator.errors import StepError
from navigator.frameworks.steps import steps
from navigator.frameworks.torch import calls

# A torch object; the types of the package differ between supported versions.
_Torch = Any


# The bit of a float32 that is worth half a step of float16.
_HALF_STEP = 1 << 12

# torch.float16, as TorchScript writes it.
_HALF = 5

_CASTS = ("aten::to", "aten::_to_copy")
_IN_PROGRAMS = ("aten.to.", "aten._to_copy.")


def casts_in_script(module: _Torch) -> bool:
    """Return whether a TorchScript module casts floats to float16."""
    return any(each.name in _CASTS and each.arguments.get("dtype") == _HALF for each in calls.of_script(module))


def casts_in_program(program: _Torch) -> bool:
    """Return whether a torch.export program casts floats to float16, or has an autocast that does."""
    import torch

    modules = (each for each in program.graph_module.modules() if isinstance(each, torch.fx.GraphModule))
    nodes = [node for module in modules for node in module.graph.nodes if node.op == "call_function"]
    autocasts = any("autocast" in str(node.target) and torch.float16 in node.args for node in nodes)
    found = (each.arguments.get("dtype") for each in calls.of_program(program) if each.name.startswith(_IN_PROGRAMS))
    return autocasts or torch.float16 in found


@contextmanager
def perturbed(module: _Torch, *, to_half: bool = False) -> Iterator[None]:
    """Run with every floating-point parameter one step away, and with half of the threads.

    Those in float32 are half a step of float16 away if the module casts `to_half`. Flips bits in place, and back
    afterwards: no copy is made, and nothing is lost.
    """
    import torch

    def step(bits: _Torch) -> int:
        return _HALF_STEP if to_half and bits.dtype is torch.int32 else 1

    threads = torch.get_num_threads()
    flipped = list(_bits(module))
    torch.set_num_threads(max(1, threads // 2))
    try:
        for each in flipped:
            each.bitwise_xor_(step(each))
        yield
    finally:
        for each in flipped:
            each.bitwise_xor_(step(each))
        torch.set_num_threads(threads)


@contextmanager
def nudged(module: _Torch, seed: int, sign: int) -> Iterator[None]:
    """Run with every floating-point parameter some steps away, in place: the steps take a quarter of their memory."""
    moved: list[tuple[np.ndarray, np.ndarray]] = []
    try:
        for number, each in enumerate(_bits(module)):
            bits = each.numpy()
            moved.append((bits, sign * steps(bits, seed + number)))
            bits += moved[-1][1]
        yield
    finally:
        for bits, by in moved:
            bits -= by


@contextmanager
def in_double(module: _Torch) -> Iterator[None]:
    """Run with all parameters and buffers in float64, and in float32 afterwards, which loses nothing.

    Raises:
        StepError: some aren't in float32.
    """
    import torch

    tensors = [each for each in (*module.parameters(), *module.buffers()) if each.is_floating_point()]
    if any(each.dtype is not torch.float32 for each in tensors):
        raise StepError("its weights aren't all in float32")
    module.double()
    try:
        yield
    finally:
        module.float()


def _bits(module: _Torch) -> Iterator[_Torch]:
    """Yield the parameters as whole numbers, each memory once; an infinity one step away would be NaN."""
    import torch

    whole = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    seen = set()
    for parameter in module.parameters():
        data = parameter.detach()
        if not data.is_floating_point() or data.element_size() not in whole or data.layout is not torch.strided:
            continue
        if data.data_ptr() not in seen and _is_finite(data):
            seen.add(data.data_ptr())
            yield data.view(whole[data.element_size()])


def _is_finite(data: _Torch) -> bool:
    """Return whether no value is NaN or infinite: one pass without copies, unlike `torch.isfinite`."""
    return not data.numel() or all(math.isfinite(each) for each in data.aminmax())
