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
from navigator.models.stored import from_file

# An onnx protobuf message; the package ships no types.
Proto = Any

# Where a tensor may begin in an external data file, so that it can be mapped into memory.
ALIGNMENT_BYTES = 65536

FOLDER = "session.model_external_initializers_file_folder_path"
"""ONNX Runtime's setting: where the external data of a model is that it gets from memory."""

UNPACKED = ("session.disable_prepacking", "1")
"""For a session of a few runs: kernels keep no copy of the weights as they lay them out. Results differ by rounding."""

# Weights over this are kept from the version converter; the values it reads (axes, shapes) are far smaller.
_LARGE_TENSOR_BYTES = 65536
_TAKEN = "taken by navigator"

# Fewer numbers aren't learned.
_FEWEST_WEIGHTS = 2

# Shorter constants may be the scales of a Resize or the padding of a Pad.
_FEWEST_CONSTANTS = 9

# Of float16 as a whole number, without its sign: the largest finite one.
_LARGEST_HALF = 0x7BFF

# Fits into a core's cache.
_PIECE = 2**16

_WHOLE: dict[int, Any] = {2: np.int16, 4: np.int32, 8: np.int64}


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
        if tensor.data_type in floats() and math.prod(tensor.dims) >= _FEWEST_CONSTANTS and not tensor.external_data:
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
        if _place(tensor).get("location") == path.name:
            tensor.CopyFrom(_filled(tensor, path))


def _filled(tensor: Proto, path: Path) -> Proto:
    """Return a tensor with its values, which are in the model's own file at `path`."""
    place = _place(tensor)
    filled = type(tensor).FromString(tensor.SerializeToString())
    filled.ClearField("external_data")
    filled.ClearField("data_location")
    filled.raw_data = from_file(path, int(place["offset"]), np.dtype(np.uint8), (int(place["length"]),)).tobytes()
    return filled


def _place(tensor: Proto) -> dict[str, str]:
    """Return what a tensor says of where its values are: `location`, `offset` and `length`."""
    return {entry.key: entry.value for entry in tensor.external_data}


def size_bytes(tensor: Proto) -> int:
    """Return the size of an ONNX tensor's values, without touching them; strings count as nothing."""
    import onnx

    if tensor.data_type in (onnx.TensorProto.STRING, onnx.TensorProto.UNDEFINED):
        return 0
    itemsize = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return int(math.prod(tensor.dims) * itemsize)


def values(tensor: Proto, path: Path) -> np.ndarray:
    """Return the numbers of a tensor of the file at `path`.

    Raises:
        OSError: they're in another file, which can't be read.
    """
    from onnx import TensorProto, helper, numpy_helper

    if tensor.data_location != TensorProto.EXTERNAL:
        return np.asarray(numpy_helper.to_array(tensor))
    place = _place(tensor)
    name = place.get("location", "")
    is_own = name == path.name  # which may be a link, as others may not
    if tensor.data_type in floats() and (is_own or (Path(name).name == name and not (path.parent / name).is_symlink())):
        # onnx copies it three times.
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type).newbyteorder("<")
        return from_file(path.parent / name, int(place.get("offset", 0)), dtype, tensor.dims)
    copy = _filled(tensor, path) if is_own else type(tensor).FromString(tensor.SerializeToString())
    return np.asarray(numpy_helper.to_array(copy, str(path.parent)))


def floats() -> frozenset[int]:
    """Return the types of numbers that NumPy has too, of ONNX's floats."""
    from onnx import TensorProto

    return frozenset({TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16})


def stepped(model: Proto, path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name and the values of each weight with its last bits flipped: one step of its dtype away.

    Those among the nodes change in `model`. Single numbers stay, such as exponents and epsilons, and so do zeros, since
    arithmetic with the smallest numbers is slow, and weights with infinities.

    Args:
        model: was read without its external data.
        path: from there.
    """
    from onnx import numpy_helper

    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) >= _FEWEST_WEIGHTS:
            found = np.require(values(tensor, path), requirements="W")
            if _flip(found):
                yield tensor.name, found
    for tensor in inner(model):
        found = np.array(numpy_helper.to_array(tensor))
        if _flip(found):
            tensor.CopyFrom(numpy_helper.from_array(found, tensor.name))


def _flip(numbers: np.ndarray) -> bool:
    """Flip the last bits of numbers, in place and a piece at a time; return whether they're finite floats."""
    if numbers.dtype.kind != "f" or not all(math.isfinite(each) for each in (numbers.min(), numbers.max())):
        return False
    flat = numbers.reshape(-1)
    for start in range(0, flat.size, _PIECE):
        piece = flat[start : start + _PIECE]
        piece.view(_WHOLE[piece.dtype.itemsize])[...] ^= piece != 0
    return True


def shaken(model: Proto, path: Path, seed: int) -> list[tuple[str, np.ndarray]]:
    """Return the name and the values of each float16 weight, half of the numbers one step up or down.

    Those among the nodes change in `model`. Zeros and the largest numbers stay, and so do short weights.

    Args:
        model: was read without its external data.
        path: from there.
        seed: of the choice.
    """
    from onnx import TensorProto, numpy_helper

    rng = np.random.default_rng(seed)
    found = [
        (tensor.name, _shake(values(tensor, path), rng))
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT16 and math.prod(tensor.dims) >= _FEWEST_CONSTANTS
    ]
    for tensor in inner(model):
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(numpy_helper.from_array(_shake(numpy_helper.to_array(tensor), rng), tensor.name))
    return found


def _shake(weight: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    values = np.array(weight)
    whole = values.view(_WHOLE[2])
    size = whole & 0x7FFF
    steps = rng.choice(np.array([-1, 0, 0, 1], np.int16), values.shape)
    whole += steps * ((size > 0) & (size < _LARGEST_HALF))
    return values


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


def take(model: Proto) -> dict[str, bytes]:
    """Take the values of the large weights out of `model`, and return them by where it says that they are.

    The version converter serializes the model several times over: with its weights that takes six times their size.
    It passes on tensors whose values are kept elsewhere.
    """
    import onnx

    values: dict[str, bytes] = {}
    for tensor in tensors(model):
        if tensor.HasField("raw_data") and size_bytes(tensor) > _LARGE_TENSOR_BYTES:
            location = f"{_TAKEN} {len(values)}"
            values[location] = tensor.raw_data
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value=location)
    return values


def put_back(model: Proto, values: dict[str, bytes]) -> None:
    """Put back what `take` took, emptying `values`.

    Raises:
        KeyError: the converter lost a weight.
    """
    for tensor in tensors(model):
        location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        if location.startswith(_TAKEN):
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
            tensor.raw_data = values.pop(location)
    if values:
        raise KeyError(f"{len(values)} weights were lost")
