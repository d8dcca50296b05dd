"""The operators of an ONNX model that was saved in training mode."""

from navigator.frameworks.onnx.weights import Proto, graphs


def training_operations(model: Proto) -> tuple[str, ...]:
    """Return the operators that normalize by the batch's own statistics, though the file has running ones."""
    return tuple(
        sorted(
            {
                node.op_type
                for graph in graphs(model)
                for node in graph.node
                if node.op_type == "BatchNormalization"
                and any(each.name == "training_mode" and each.i for each in node.attribute)
            }
        )
    )
