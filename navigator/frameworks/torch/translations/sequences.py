"""Recurrent layers."""

from collections.abc import Sequence
from typing import Any

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
    """Refuse projections: onnxscript leaves them out, and ONNX Runtime refuses the file."""
    from onnxscript.function_libs.torch_lib.ops import core

    if hx[0].shape[-1] != hx[1].shape[-1]:
        raise ValueError("an LSTM with projections (proj_size) has no operator in ONNX")
    return core.aten_lstm(x, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)
