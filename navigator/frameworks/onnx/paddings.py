"""Writes the padding of convolutions in numbers where ONNX Runtime doesn't compute it."""

from navigator.frameworks.onnx.weights import Proto, graphs

_SAME = (b"SAME_UPPER", b"SAME_LOWER")


def made_explicit(model: Proto) -> bool:
    """Give dilated convolutions that keep their input's size numbers as padding; return whether there are any.

    Exporters write `auto_pad`, with which ONNX Runtime (1.32) takes no dilation: "Dilation not supported for
    AutoPadType::SAME_UPPER". Remove once it does.
    """
    import onnx

    changed = False
    for graph in graphs(model):
        kernels = {tensor.name: list(tensor.dims)[2:] for tensor in getattr(graph, "initializer", ())}
        for node in graph.node:
            held = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
            dilations, strides = held.get("dilations", [1]), held.get("strides", [1])
            kernel = held.get("kernel_shape") or kernels.get(node.input[1] if len(node.input) > 1 else "")
            same = node.op_type == "Conv" and held.get("auto_pad") in _SAME
            # With strides, it depends on the input's size.
            if not same or not kernel or max(dilations) == 1 or max(strides) > 1:
                continue
            more = [(size - 1) * dilation for size, dilation in zip(kernel, dilations, strict=True)]
            less, rest = [each // 2 for each in more], [each - each // 2 for each in more]
            upper = held["auto_pad"] == _SAME[0]
            kept = [each for each in node.attribute if each.name not in ("auto_pad", "pads")]
            del node.attribute[:]
            node.attribute.extend(kept)
            node.attribute.append(onnx.helper.make_attribute("pads", [*less, *rest] if upper else [*rest, *less]))
            changed = True
    return changed


def made_positive(model: Proto) -> None:
    """Let transposed convolutions whose stride is beyond their kernel add to their output instead of padding it.

    tf2onnx writes negative padding, which ONNX doesn't have. Remove once it doesn't.
    """
    import onnx

    for graph in graphs(model):
        for node in graph.node:
            pads = next((each for each in node.attribute if each.name == "pads"), None)
            if node.op_type != "ConvTranspose" or pads is None:
                continue
            half = len(pads.ints) // 2
            totals = [before + after for before, after in zip(pads.ints[:half], pads.ints[half:], strict=True)]
            if min(totals) < 0:
                kept = [size if totals[index % half] >= 0 else 0 for index, size in enumerate(pads.ints)]
                node.attribute.remove(pads)
                added = [max(-total, 0) for total in totals]
                node.attribute.extend(
                    [onnx.helper.make_attribute("pads", kept), onnx.helper.make_attribute("output_padding", added)]
                )
