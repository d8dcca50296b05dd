"""The weights in an ONNX model: found, measured, and moved between the model and files beside it (external data).

Works on models in memory that were read without their external data; `navigator.frameworks.onnx.file` reads and
writes the files themselves.
"""

import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from navigator.errors import StepError
from navigator.models.reading import copy_content
from navigator.models.stored import Place, from_file

# An onnx protobuf message; the package ships no types.
Proto = Any

# Where a tensor may begin in an external data file, so that it can be mapped into memory.
ALIGNMENT_BYTES = 65536

FOLDER = "session.model_external_initializers_file_folder_path"
"""ONNX Runtime's setting: where the external data of a model is that it gets from memory."""

UNPACKED = ("session.disable_prepacking", "1")
"""For a session of a few runs: kernels keep no copy of the weights as they lay them out. Results differ by rounding."""

FEWEST_CONSTANTS = 9
"""Shorter constants may be the scales of a Resize or the padding of a Pad."""


def graphs(model: Proto) -> Iterator[Proto]:
    """Yield the graph, its functions and every subgraph in them (If and Loop bodies)."""
    waiting = [*model.functions, model.graph]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                waiting += [attribute.g] if attribute.HasField("g") else []
                waiting += attribute.graphs


def tensors(model: Proto) -> Iterator[Proto]:
    """Yield every tensor stored in `model`: initializers and constants."""
    for graph in graphs(model):
        yield from getattr(graph, "initializer", ())
        yield from _among_nodes(graph)


def _among_nodes(graph: Proto) -> Iterator[Proto]:
    """Yield the tensors of a graph, not of those in it, that aren't ordinary initializers."""
    for sparse in getattr(graph, "sparse_initializer", ()):
        yield sparse.values
        yield sparse.indices
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def inner(model: Proto) -> Iterator[Proto]:
    """Yield the floats inside `model` that no session can replace: all but the initializers of its main graph.

    Paddle's exporter writes all weights as constants among the nodes. Short ones are left out, and external data.
    """
    for tensor in _inside(model):
        if tensor.data_type in floats() and math.prod(tensor.dims) >= FEWEST_CONSTANTS and not tensor.external_data:
            yield tensor


def _inside(model: Proto) -> Iterator[Proto]:
    """Yield every tensor but the initializers of the main graph."""
    main, *others = graphs(model)
    yield from _among_nodes(main)
    for graph in others:
        yield from getattr(graph, "initializer", ())
        yield from _among_nodes(graph)


def fill_inner(model: Proto, path: Path) -> None:
    """Put the values into the tensors that `navigator.frameworks.onnx.file.structure` left in the file at `path`.

    Not into the initializers of the main graph.
    """
    for tensor in _inside(model):
        if is_in(tensor, path):
            tensor.CopyFrom(_filled(tensor, path))


def is_in(tensor: Proto, path: Path) -> bool:
    """Return whether the values of a tensor lie in the model's own file at `path`."""
    return _said(tensor).get("location") == path.name


def lying(model: Proto, path: Path) -> set[str]:
    """Return where in the file at `path` the values lie that `navigator.frameworks.onnx.file.structure` left there."""
    return {_said(tensor)["offset"] for tensor in tensors(model) if is_in(tensor, path)}


def stored_bytes(tensor: Proto) -> int:
    """Return how many bytes the values take that lie in a model's own file."""
    return int(_said(tensor)["length"])


def content(tensor: Proto, path: Path) -> np.ndarray:
    """Return the bytes of the values that lie in the file at `path`.

    Raises:
        OSError: it can't be read.
    """
    return from_file(path, int(_said(tensor)["offset"]), np.dtype(np.uint8), (stored_bytes(tensor),))


def without_place(tensor: Proto) -> Proto:
    """Return a tensor without its values, and without saying where they are."""
    found = type(tensor).FromString(tensor.SerializeToString())
    found.ClearField("external_data")
    found.ClearField("data_location")
    return found


def _filled(tensor: Proto, path: Path) -> Proto:
    found = without_place(tensor)
    found.raw_data = content(tensor, path).tobytes()
    return found


def _said(tensor: Proto) -> dict[str, str]:
    """Return what a tensor says of where its values are: `location`, `offset` and `length`."""
    return {entry.key: entry.value for entry in tensor.external_data}


def size_bytes(tensor: Proto) -> int:
    """Return the size of an ONNX tensor's values, without touching them; strings count as nothing."""
    import onnx

    if tensor.data_type in (onnx.TensorProto.STRING, onnx.TensorProto.UNDEFINED):
        return 0
    itemsize = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return int(math.prod(tensor.dims) * itemsize)


def place(tensor: Proto, path: Path) -> Place | None:
    """Return where the floats of a tensor of the file at `path` lie in a file that onnx would read too, if they do."""
    from onnx import TensorProto, helper

    said = _said(tensor)
    name = said.get("location", "")
    is_beside = Path(name).name == name and not (path.parent / name).is_symlink()
    # The model's own file may be a link.
    if tensor.data_location != TensorProto.EXTERNAL or not (name == path.name or is_beside):
        return None
    if tensor.data_type not in floats():
        return None
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type).newbyteorder("<")
    return Place(path.parent / name, int(said.get("offset", 0)), dtype)


def values(tensor: Proto, path: Path) -> np.ndarray:
    """Return the numbers of a tensor of the file at `path`.

    Raises:
        OSError: they're in another file, which can't be read.
    """
    from onnx import TensorProto, numpy_helper

    if tensor.data_location != TensorProto.EXTERNAL:
        return np.asarray(numpy_helper.to_array(tensor))
    lies = place(tensor, path)
    if lies is not None:
        return from_file(lies.path, lies.offset, lies.dtype, tensor.dims)  # onnx copies it three times
    copy = _filled(tensor, path) if is_in(tensor, path) else type(tensor).FromString(tensor.SerializeToString())
    return np.asarray(numpy_helper.to_array(copy, str(path.parent)))


def floats() -> frozenset[int]:
    """Return the types of numbers that NumPy has too, of ONNX's floats."""
    from onnx import TensorProto

    return frozenset({TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16})


def gather(model: Proto, path: Path) -> bool:
    """Bring the external data of `model`, which was read from `path`, into one `{path.name}.data` beside it.

    Over 2 GiB torch's exporter for TorchScript writes one file for each weight (2.13). Each is streamed and removed
    in turn, so that this takes no memory and little disk.

    Returns:
        True if `model` was changed and is to be saved.
    """
    external = [tensor for tensor in tensors(model) if tensor.external_data]
    target = path.with_name(f"{path.name}.data")
    locations = [entry.value for tensor in external for entry in tensor.external_data if entry.key == "location"]
    if not external or target.exists() or len(set(locations)) != len(external):
        return False
    with target.open("wb") as data:
        for tensor, location in zip(external, locations, strict=True):
            data.write(b"\0" * (-data.tell() % ALIGNMENT_BYTES))
            offset = data.tell()
            with (path.parent / location).open("rb") as weights:
                shutil.copyfileobj(weights, data, 1 << 24)
            (path.parent / location).unlink()
            tensor.ClearField("external_data")
            for key, value in (("location", target.name), ("offset", offset), ("length", data.tell() - offset)):
                tensor.external_data.add(key=key, value=str(value))
    return True


def copy_external(model: Proto, source: Path, destination: Path) -> None:
    """Copy the external data files of `model`, which was read from `source`, beside `destination`.

    What names `source` itself is the file's own weights, see `navigator.frameworks.onnx.file.structure`.
    """
    root = source.parent.resolve()
    locations = {entry.value for tensor in tensors(model) for entry in tensor.external_data if entry.key == "location"}
    for location in sorted(locations - {source.name}):
        origin = (root / location).resolve()
        target = destination.parent / location
        if not origin.is_relative_to(root) or ".." in Path(location).parts or Path(location).is_absolute():
            raise StepError(
                f"{source} stores weights in {location!r}, outside its own directory",
                "save the model again, with its external data in the same directory",
            )
        if not origin.is_file():
            raise StepError(
                f"{source} stores weights in {location!r}, which doesn't exist", "put the file next to the model"
            )
        if target == destination:
            raise StepError(f"{source} stores weights in {location!r}, the name of the converted file")
        target.parent.mkdir(parents=True, exist_ok=True)
        copy_content(origin, target)
