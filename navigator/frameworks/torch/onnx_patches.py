"""What torch's TorchScript exporter (2.13) needs to be helped with. Each entry says what it mends and when it can go.

Owns changes of the exporter's behaviour and nothing else; they hold for the length of a `with` block.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

# A torch object; the package's types differ between the versions we support.
_Torch = Any

_UNFLATTEN = "aten::unflatten"
_UNFLATTEN_OPSET = 13


@contextlib.contextmanager
def known_ranks() -> Iterator[None]:
    """Keep the rank of `unflatten` known, which the exporter forgets where a size is computed.

    Without it no `nn.MultiheadAttention` and no `nn.TransformerEncoder` exports once its TorchScript file is saved:
    "transpose for tensor of unknown rank". To go once the exporter sets the rank itself.
    """
    import torch
    from torch.onnx import symbolic_helper, symbolic_opset13

    def unflatten(graph: _Torch, tensor: _Torch, axis: _Torch, sizes: _Torch) -> _Torch:
        output = symbolic_opset13.unflatten(graph, tensor, axis, sizes)
        rank = symbolic_helper._get_tensor_rank(tensor)
        if rank is not None and sizes.node().kind() == "prim::ListConstruct":
            output.setType(tensor.type().with_sizes([None] * (rank - 1 + len(list(sizes.node().inputs())))))
        return output

    torch.onnx.register_custom_op_symbolic(_UNFLATTEN, unflatten, _UNFLATTEN_OPSET)
    try:
        yield
    finally:
        torch.onnx.unregister_custom_op_symbolic(_UNFLATTEN, _UNFLATTEN_OPSET)
