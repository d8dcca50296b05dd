"""An fp16 ONNX model as hardware with fp16 computes it, on ONNX Runtime's CPU provider.

That provider has few fp16 kernels. It computes the other fp16 nodes in fp32 and drops the Casts between them, also
the model's own (1.32, with every optimisation off too), so that neither roundings nor overflows show. It keeps pairs
of Casts that the model itself has: here every fp16 node becomes an fp32 node between such.
"""

from pathlib import Path

from navigator.frameworks.onnx import fp16 as onnx_fp16
from navigator.frameworks.onnx import graph as onnx_graph
from navigator.frameworks.onnx.graph import HALF
from navigator.frameworks.onnx.weights import Proto


def rounded(model: Proto, directory: Path) -> bool:
    """Rewrite `model` so that each fp16 node of its main graph computes in fp32 and rounds its results to fp16.

    Names, inputs, outputs and their types stay. What is inside a node (sums) is not rounded, as in the accumulators of
    GPUs.

    Args:
        model: an ONNX model, with or without its external data; read from a file, it is no other model's.
        directory: where its external data lies.

    Returns:
        False if nothing computes in fp16; `model` is as it was then.

    Raises:
        StepError: ONNX Runtime cannot load the model.
    """
    import onnx

    graph = model.graph
    types = onnx_graph.types(model, directory)
    suffix = onnx_graph.free_suffix(graph, "_unrounded")
    raised: set[str] = set()
    nodes = []
    for node in graph.node:
        reads = [k for k, name in enumerate(node.input) if types.get(name) == HALF]
        computes = node.op_type not in onnx_fp16.FOLLOWING and next(onnx_graph.subgraphs(node), None) is None
        writes = [k for k, name in enumerate(node.output) if types.get(name) == HALF] if reads and computes else []
        if reads and computes:
            for name in dict.fromkeys(node.input[k] for k in reads):
                if name not in raised:
                    raised.add(name)
                    nodes.append(onnx.helper.make_node("Cast", [name], [name + suffix], to=onnx.TensorProto.FLOAT))
            for k in reads:
                node.input[k] += suffix
        nodes.append(node)
        for k in writes:
            name = node.output[k]
            node.output[k] = f"{name}_result{suffix}"
            nodes.append(onnx.helper.make_node("Cast", [node.output[k]], [name], to=onnx.TensorProto.FLOAT16))
    onnx_graph.replace(graph.node, nodes)
    return bool(raised)
