"""Attention."""

from navigator.frameworks.torch.symbolics.values import (
    Graph,
    Value,
    cast,
    constant,
    dtype_of,
    is_none,
    known,
    part,
    rank_of,
    reduced,
)


def attention(
    graph: Graph,
    query: Value,
    key: Value,
    value: Value,
    mask: Value = None,
    dropout: Value = None,
    causal: Value = None,
    scale: Value = None,
    grouped: Value = None,
) -> Value:
    """Repeat the heads of keys and values, with `enable_gqa`, which the exporter refuses.

    Return zeros for a row whose mask of floats hides all, for which the exporter returns NaN.
    """
    import torch
    from torch.onnx import symbolic_opset14

    if grouped is not None and known(grouped, "b"):
        key, value = (_repeated(graph, each, query) for each in (key, value))
    attended = symbolic_opset14.scaled_dot_product_attention(
        graph, query, key, value, mask, dropout, causal, scale, constant(graph, value=False)
    )
    if is_none(mask) or dtype_of(mask) is torch.bool:
        return attended
    # Below opset 20, IsInf takes no float16.
    hidden = graph.op("IsInf", cast(graph, mask, torch.float32), detect_positive_i=0)
    shown = cast(graph, graph.op("Not", hidden), torch.float32)
    visible = cast(graph, reduced(graph, "ReduceMax", shown, [-1], keep=True), torch.bool)
    return graph.op("Where", visible, attended, constant(graph, 0.0, dtype_of(mask)))


def _repeated(graph: Graph, heads: Value, query: Value) -> Value:
    """Repeat each head as often as the query has heads for it."""
    from torch.onnx import symbolic_helper

    rank = rank_of(heads)
    shape = graph.op("Shape", heads)
    own, wanted = (part(graph, each, rank - 3, rank - 2) for each in (shape, graph.op("Shape", query)))
    last = part(graph, shape, rank - 2, rank)
    several = graph.op("Concat", part(graph, shape, 0, rank - 2), graph.op("Div", wanted, own), last, axis_i=0)
    wide = graph.op("Expand", symbolic_helper._unsqueeze_helper(graph, heads, [rank - 2]), several)
    repeated = graph.op("Reshape", wide, graph.op("Concat", part(graph, shape, 0, rank - 3), wanted, last, axis_i=0))
    repeated.setType(heads.type().with_sizes([None] * rank))
    return repeated
