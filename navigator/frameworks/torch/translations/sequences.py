"""Recurrent layers."""

from collections.abc import Sequence
from typing import Any

from navigator.frameworks.torch.projections import projected

# A value in the graph.
_Value = Any


def lstm(
    x: _Value,
    hx: Sequence[_Value],
    params: Sequence[_Value],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> _Value:
    """Write projections too: onnxscript leaves them out, and ONNX Runtime refuses the file."""
    import onnx_ir
    from onnxscript import opset18 as op
    from onnxscript.function_libs.torch_lib.ops import core

    if hx[0].shape[-1] == hx[1].shape[-1]:
        return core.aten_lstm(x, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)

    def plain(steps: _Value, cell: _Value, weights: Sequence[_Value]) -> tuple[_Value, _Value, _Value]:
        zeros = op.Expand(op.CastLike(0.0, cell), op.Shape(cell))
        zeros.shape, zeros.dtype = onnx_ir.Shape([1, *hx[1].shape[1:]]), hx[1].dtype
        found: tuple[_Value, _Value, _Value] = core.aten_lstm(
            steps, (zeros, cell), weights, has_biases, 1, 0.0, False, False, False
        )
        return found

    return projected(
        lambda name, *inputs, **attributes: getattr(op, name)(*inputs, **attributes),
        lambda numbers: op.Constant(value_ints=numbers),
        plain,
        x,
        hx,
        params,
        num_layers,
        1 + bidirectional,
        batch_first=batch_first,
    )
