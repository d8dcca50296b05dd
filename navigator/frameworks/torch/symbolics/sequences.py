"""Recurrent layers."""

from collections.abc import Sequence

from navigator.frameworks.torch.projections import projected
from navigator.frameworks.torch.symbolics.values import Graph, Value, constant, dtype_of, known


def lstm(graph: Graph, x: Value, *arguments: Value) -> tuple[Value, Value, Value]:
    """Write projections too, which the exporter refuses; those of packed sequences it still does."""
    import torch
    from torch.onnx import symbolic_helper, symbolic_opset9

    if not symbolic_helper._is_packed_list(arguments[0]):  # the sizes of a packed sequence
        return symbolic_opset9.lstm(graph, x, *arguments)  # type: ignore[no-any-return] # untyped
    states, weights = (symbolic_helper._unpack_list(each) for each in arguments[:2])
    has_biases, layers, dropout, train, bidirectional, batch_first = (known(each, "f") for each in arguments[2:])
    directions = 1 + int(bidirectional)
    if len(weights) == layers * directions * (4 if has_biases else 2):
        return symbolic_opset9.lstm(graph, x, *arguments)  # type: ignore[no-any-return] # untyped
    if dropout and train:
        symbolic_helper._unimplemented("LSTM", "dropout in training mode", x)
    wide = symbolic_helper._get_tensor_dim_size(weights[1], 0)
    dtype = dtype_of(weights[1])

    def op(name: str, *inputs: Value, **attributes: int | Sequence[int]) -> Value:
        return graph.op(name, *inputs, **{f"{key}_i": value for key, value in attributes.items()})

    def plain(steps: Value, cell: Value, given: Sequence[Value]) -> tuple[Value, Value, Value]:
        given[1].setType(weights[1].type().with_sizes([wide, wide // 4]))
        zeros = graph.op("Expand", constant(graph, 0.0, dtype), graph.op("Shape", cell))
        return symbolic_opset9._generic_rnn(  # type: ignore[no-any-return] # untyped
            graph, "LSTM", steps, [zeros, cell], given, bool(has_biases), 1, 0.0, False, False
        )

    def number(numbers: Sequence[int]) -> Value:
        return constant(graph, numbers, torch.int64)

    return projected(op, number, plain, x, states, weights, int(layers), directions, batch_first=bool(batch_first))
