"""Writes an ONNX file whose large weights are elsewhere in memory, without a copy of all of them.

protobuf copies them into a message, and again into the bytes of the file.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from navigator.frameworks.onnx import file as onnx_file
from navigator.frameworks.onnx import weights as onnx_weights
from navigator.frameworks.onnx.weights import Proto
from navigator.models.onnx_structure import varint

# The fields of onnx.ModelProto, GraphProto and TensorProto, and how protobuf writes those that have a length.
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9
_LENGTH = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Weight:
    """A large weight.

    Args:
        tensor: its name, type and dimensions.
        size_bytes: of its values.
        values: returns them; called once.
    """

    tensor: Proto
    size_bytes: int
    values: Callable[[], memoryview]


def save(model: Proto, weights: Sequence[Weight], destination: Path) -> None:
    """Save `model` with `weights` as further initializers; over protobuf's limit they go into a file beside it.

    Raises:
        OSError: it can't be written.
    """
    own = sum(onnx_weights.size_bytes(tensor) for tensor in onnx_weights.tensors(model) if not tensor.external_data)
    if own + sum(each.size_bytes for each in weights) <= onnx_file.INLINE_LIMIT_BYTES:
        _save_inline(model, weights, destination)
    else:
        _save_beside(model, weights, destination)


def save_from(source: Path, model: Proto, destination: Path) -> None:
    """Save `model`, whose large weights are still in the file at `source` (`navigator.frameworks.onnx.file.structure`).

    Raises:
        OSError: they can't be read, or it can't be written.
    """
    save(model, _lying(model, source), destination)


def save_over(path: Path, model: Proto) -> None:
    """Save `model` instead of the file at `path`, in which its large weights still are. Errors as of `save_from`."""
    made = path.with_name(f"changed-{path.name}")
    _save_inline(model, _lying(model, path), made)
    made.replace(path)


def _lying(model: Proto, source: Path) -> list[Weight]:
    """Take the large initializers of the main graph that are in the file at `source` out of `model`; fill others."""
    onnx_weights.fill_inner(model, source)
    initializers = list(model.graph.initializer)
    del model.graph.initializer[:]
    model.graph.initializer.extend(each for each in initializers if not onnx_weights.is_in(each, source))
    return [_lying_weight(each, source) for each in initializers if onnx_weights.is_in(each, source)]


def _lying_weight(tensor: Proto, source: Path) -> Weight:
    return Weight(
        tensor=onnx_weights.without_place(tensor),
        size_bytes=onnx_weights.stored_bytes(tensor),
        values=lambda: onnx_weights.content(tensor, source).data,
    )


def _save_inline(model: Proto, weights: Sequence[Weight], destination: Path) -> None:
    import onnx

    graph = model.graph.SerializeToString()
    others = onnx.ModelProto()
    others.CopyFrom(model)
    others.ClearField("graph")
    heads = [_head(each) for each in weights]
    length = len(graph) + sum(len(head) + each.size_bytes for head, each in zip(heads, weights, strict=True))
    with destination.open("wb") as file:
        file.write(others.SerializeToString())
        file.write(_begin(_GRAPH, length))
        file.write(graph)
        for head, each in zip(heads, weights, strict=True):
            file.write(head)
            file.write(each.values())


def _head(weight: Weight) -> bytes:
    """Return what comes before the values of an initializer."""
    tensor: bytes = weight.tensor.SerializeToString() + _begin(_RAW_DATA, weight.size_bytes)
    return _begin(_INITIALIZER, len(tensor) + weight.size_bytes) + tensor


def _begin(field: int, length: int) -> bytes:
    return varint(field << 3 | _LENGTH) + varint(length)


def _save_beside(model: Proto, weights: Sequence[Weight], destination: Path) -> None:
    import onnx

    data = destination.with_name(f"{destination.name}.data")
    with data.open("wb") as file:
        for each in weights:
            offset = file.tell() + -file.tell() % onnx_weights.ALIGNMENT_BYTES
            file.seek(offset)
            file.write(each.values())
            tensor = model.graph.initializer.add()
            tensor.CopyFrom(each.tensor)
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in (("location", data.name), ("offset", offset), ("length", each.size_bytes)):
                tensor.external_data.add(key=key, value=str(value))
    onnx.save_model(model, str(destination))
