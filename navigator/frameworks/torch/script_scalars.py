"""Numbers that a trace wrote as tensors, which torch makes numbers again before it runs a module (2.13).

A trace writes `steps * 2.5` with a tensor of float64 without axes. With a tensor of whole numbers, that would be
float64, where the module that was traced had float32; torch's own optimization, without which modules run here, mends
it. The same here, for the same four operators.
"""

from typing import Any

from navigator.frameworks.torch.script_nodes import constant, nodes

# A torch object; the types of the package differ between supported versions.
_Torch = Any

_OPERATORS = frozenset({"aten::add", "aten::sub", "aten::mul", "aten::div"})


def restore_numbers(module: _Torch) -> None:
    """Make constant tensors without axes numbers, where one is added to a tensor, or it's multiplied by it.

    Args:
        module: a TorchScript module that hasn't run yet.
    """
    for inner in module.modules():
        for name in inner._c._method_names():
            _restore(inner._c._get_method(name).graph)


def _restore(graph: _Torch) -> None:
    import torch

    for node in [*nodes(graph)]:
        if node.kind() not in _OPERATORS or node.inputsAt(1).node().kind() != "prim::Constant":
            continue
        value = node.inputsAt(1).toIValue()
        if isinstance(value, torch.Tensor) and not value.dim():
            node.replaceInput(1, constant(graph, node, value.item()))
