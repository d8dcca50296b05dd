"""An fp16 ONNX model as hardware with fp16 computes it, on ONNX Runtime's CPU provider.

That provider has few fp16 kernels. It computes the other fp16 nodes in fp32 and drops the Casts between them, also
the model's own (1.32, with every optimisation off too), so that neither roundings nor overflows show. It keeps pairs
of Casts that the model itself has: here every fp16 node becomes an fp32 node between such.
"""

import gc
from pathlib import Path
from typing import TYPE_CHECKING

from navigator.frameworks.onnx import fp16 as onnx_fp16
from navigator.frameworks.onnx import graph as onnx_graph

if TYPE_CHECKING:
    import onnx_ir as ir


def rounded(path: Path) -> bytes | None:
    """Return the model at `path` changed so that each fp16 node computes in fp32 and rounds its results to fp16.

    Names, inputs, outputs and their types stay. What is inside a node (sums) is not rounded, as in the accumulators of
    GPUs. Nodes inside If, Loop and Scan stay as they are.

    Args:
        path: an ONNX file; external data stays beside it.

    Returns:
        The content of an ONNX file; None if nothing in the model computes in fp16.

    Raises:
        StepError: onnx-ir or ONNX Runtime cannot load the model.
    """
    model = onnx_graph.read(path)
    import onnx_ir as ir

    proto = ir.to_proto(model) if _round(model) else None
    # Graphs of onnx-ir are cyclic: their weights would be held on beside those that ONNX Runtime gets.
    del model
    gc.collect()
    return None if proto is None else bytes(proto.SerializeToString())


def _round(model: "ir.Model") -> bool:
    """Rewrite `model`; return whether anything in it computes in fp16."""
    import onnx_ir as ir

    graph = model.graph
    onnx_graph.infer_types(model)
    suffix = onnx_graph.free_suffix(graph, "_unrounded")
    raised: dict[ir.Value, ir.Value] = {}
    for node in list(graph):
        reads = [k for k, value in enumerate(node.inputs) if onnx_graph.is_tensor(value, ir.DataType.FLOAT16)]
        if not reads or node.op_type in onnx_fp16.FOLLOWING or onnx_graph.holds_graph(node):
            continue
        for k in reads:
            value = node.inputs[k]
            if value not in raised:
                raised[value] = onnx_graph.twin(value, ir.DataType.FLOAT, value.name + suffix)
                node.prepend(onnx_graph.cast(value, raised[value]))
            node.replace_input_with(k, raised[value])
        for value in node.outputs:
            if onnx_graph.is_tensor(value, ir.DataType.FLOAT16):
                result = onnx_graph.twin(value, ir.DataType.FLOAT16, value.name)
                value.replace_all_uses_with(result, replace_graph_outputs=True)
                value.name, value.type = f"{value.name}_result{suffix}", ir.TensorType(ir.DataType.FLOAT)
                node.append(onnx_graph.cast(value, result))
    return bool(raised)
