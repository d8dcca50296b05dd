"""Packed sequences, for torch's TorchScript exporter (2.13).

It keeps sequences padded and gives ONNX's LSTM and GRU their lengths. So there are no sizes of batches, of which torch
reads the number of sequences and the longest length, and what is padded again is as long as it was before. Remove it
once a traced LSTM is exported right that returns the last state of packed sequences, and one that returns all states of
sequences that end before their padding does.
"""

from navigator.frameworks.torch.script_nodes import Graph, Node, Value, constant, insert, nodes


def measure_sequences(graph: Graph) -> None:
    """Read from the padded sequences and their lengths what torch reads from packed ones."""
    for node in [*nodes(graph)]:
        match node.kind():
            case "aten::select" | "aten::size" if _is_packed(node.inputsAt(0)) and _is_first(node):
                _measure(graph, node)
            case "aten::_pad_packed_sequence":
                _cut(graph, node)


def _is_packed(sizes: Value) -> bool:
    return bool(sizes.node().kind() == "aten::_pack_padded_sequence" and sizes.offset() == 1)


def _is_first(node: Node) -> bool:
    """Return whether a node asks for the first size of a batch, or how many there are."""
    places = [each.toIValue() for each in node.inputs()][1:]
    return bool(places) and not any(each != 0 for each in places)


def _measure(graph: Graph, node: Node) -> None:
    """Return the number of sequences, all of which are in the first batch, or the longest length."""
    import torch

    padded, lengths, batch_first = node.inputsAt(0).node().inputs()
    whole = torch._C.IntType.get()
    if node.kind() == "aten::select":
        axis = constant(graph, node, 0 if batch_first.toIValue() else 1)
        found = insert(graph, node, "prim::NumToTensor", [insert(graph, node, "aten::size", [padded, axis], whole)])
    else:
        found = insert(graph, node, "aten::Int", [insert(graph, node, "aten::max", [lengths])], whole)
    node.output().replaceAllUsesWith(found)
    node.destroy()


def _cut(graph: Graph, node: Node) -> None:
    """Cut what is padded again to the length that torch pads it to, and let lengths be int64, not int32."""
    import torch

    _, _, batch_first, _, length = node.inputs()
    axis, start, step = (constant(graph, node, each) for each in (1 if batch_first.toIValue() else 0, 0, 1))
    whole, no, none = (constant(graph, node, each) for each in (torch.int64, False, None))
    _wrap(graph, node, 0, "aten::slice", [axis, start, length, step])
    _wrap(graph, node, 1, "aten::to", [whole, no, no, none])


def _wrap(graph: Graph, node: Node, index: int, kind: str, arguments: list[Value]) -> None:
    """Put an operator between an output of a node and all who use it."""
    made = node.outputsAt(index)
    wrapped = graph.create(kind, [made, *arguments], 1)
    wrapped.insertAfter(node)
    made.replaceAllUsesWith(wrapped.output())
    wrapped.replaceInput(0, made)
