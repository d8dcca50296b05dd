"""The weights that files of torch store, read from their archives one at a time, without torch and without its code.

A TorchScript file is a zip archive, with a pickle that says where each tensor lies: it's read with stand-ins for all
classes. A file of torch.export has JSON for that.
"""

import math
import pickle
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from navigator.models.stored import Stored, from_file
from navigator.plain_data import PlainDataError, parse_json
from navigator.records import Json

# Of the fixed part of an entry's header, and where the lengths of its variable parts are.
_HEADER_BYTES, _LENGTHS = 30, 26

_BFLOAT16 = "bfloat16"
_STORAGES = {
    "HalfStorage": "float16",
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "BFloat16Storage": _BFLOAT16,
}
# As torch/_export/serde/schema.py numbers them (torch 2.13).
_NUMBERED = {6: "float16", 7: "float32", 8: "float64", 13: _BFLOAT16}

_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, PlainDataError),
    *(pickle.UnpicklingError, KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError),
)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a tensor lies: the name of its entry in the archive, and how its elements lie in there."""

    entry: str
    dtype: str
    offset: int
    shape: Sequence[int]
    strides: Sequence[int]


def of_script(path: Path) -> list[Stored]:
    """Return the floats that the TorchScript file at `path` stores, by the paths of their attributes.

    Constants of its code are named `constants.0` and so on. A file that can't be read tells nothing.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            found: dict[str, _Place] = {}
            for name, prefix in (("data", ""), ("constants", "constants")):
                pickled = next((each for each in archive.namelist() if each.endswith(f"/{name}.pkl")), None)
                if pickled is not None:
                    found.update(_walk(_unpickled(archive, pickled), prefix, set()))
            return _stored(path, archive, found)
    except _DAMAGED:
        return []


def of_program(path: Path) -> list[Stored]:
    """Return the floats that the file of torch.export at `path` stores, by their names in the program.

    A file of torch up to 2.8 has them in a pickle of torch's own, and tells nothing.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            found: dict[str, _Place] = {}
            for kind in ("weights", "constants"):
                listed = f"/data/{kind}/model_{kind}_config.json"
                for name in (each for each in archive.namelist() if each.endswith(listed)):
                    found.update(_configured(parse_json(archive.read(name)), name.rpartition("/")[0]))
            return _stored(path, archive, found)
    except _DAMAGED:
        return []


def _unpickled(archive: zipfile.ZipFile, name: str) -> Any:
    """Return what a pickle of the archive holds, with a `_Place` for each tensor."""
    with archive.open(name) as file:
        return _Reader(file, name.removesuffix(".pkl")).load()


def _configured(document: Json, directory: str) -> Iterator[tuple[str, _Place]]:
    for name, each in document["config"].items():
        meta = each["tensor_meta"]
        if each["use_pickle"] or meta is None or meta["dtype"] not in _NUMBERED:
            continue
        shape, strides = ([int(size["as_int"]) for size in meta[key]] for key in ("sizes", "strides"))
        offset = int(meta["storage_offset"]["as_int"])
        yield name, _Place(f"{directory}/{each['path_name']}", _NUMBERED[meta["dtype"]], offset, shape, strides)


def _stored(path: Path, archive: zipfile.ZipFile, places: Mapping[str, _Place]) -> list[Stored]:
    """Return the tensors that lie in the archive as they are: torch compresses nothing."""
    starts = {each.filename: each for each in archive.infolist() if each.compress_type == zipfile.ZIP_STORED}
    return [
        Stored(name, tuple(place.shape), partial(_values, path, starts[place.entry].header_offset, place))
        for name, place in places.items()
        if place.entry in starts
    ]


def _values(path: Path, header: int, place: _Place) -> np.ndarray:
    with path.open("rb") as file:
        file.seek(header + _LENGTHS)
        lengths = np.frombuffer(file.read(4), "<u2")
    start = header + _HEADER_BYTES + int(lengths.sum())
    dtype = np.dtype(np.uint16 if place.dtype == _BFLOAT16 else place.dtype)
    last = sum((size - 1) * stride for size, stride in zip(place.shape, place.strides, strict=True))
    if not math.prod(place.shape):
        return np.zeros(tuple(place.shape), np.float32)
    flat = from_file(path, start + place.offset * dtype.itemsize, dtype, (last + 1,))
    steps = [stride * dtype.itemsize for stride in place.strides]
    values = np.lib.stride_tricks.as_strided(flat, tuple(place.shape), steps, writeable=False)
    return (values.astype(np.uint32) << 16).view(np.float32) if place.dtype == _BFLOAT16 else values


@dataclass(slots=True)
class _Object:
    """Stands for an object of any class."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


@dataclass(frozen=True, slots=True)
class _Named:
    """Stands for a class or a function: makes tensors and objects of nothing but data."""

    name: str

    def __call__(self, *arguments: Any) -> Any:
        if self.name == "_rebuild_tensor_v2":
            (dtype, entry), offset, shape, strides, *_ = arguments
            return _Place(entry, dtype, int(offset), [*map(int, shape)], [*map(int, strides)]) if dtype else None
        return arguments[0] if self.name in ("_rebuild_parameter", "restore_type_tag") and arguments else _Object()


class _Reader(pickle.Unpickler):
    """Reads a pickle without importing anything: every class is a stand-in."""

    def __init__(self, file: Any, directory: str) -> None:
        super().__init__(file)
        self._directory = directory

    def find_class(self, module: str, name: str) -> Any:
        del module
        if name.endswith("Storage"):
            return _STORAGES.get(name, "")
        return type(name, (_Object,), {}) if name[:1].isupper() else _Named(name)

    def persistent_load(self, pid: Any) -> tuple[str, str]:
        _, dtype, key, *_ = pid
        return dtype, f"{self._directory}/{key}"


def _walk(value: Any, name: str, above: set[int]) -> Iterator[tuple[str, _Place]]:
    """Yield the tensors in a value by their paths."""
    if isinstance(value, _Place):
        yield name, value
        return
    inside = value.state if isinstance(value, _Object) else value
    if id(value) in above or not isinstance(inside, dict | list | tuple):
        return
    pairs = inside.items() if isinstance(inside, dict) else enumerate(inside)
    for key, each in pairs:
        yield from _walk(each, f"{name}.{key}" if name else str(key), above | {id(value)})
