"""Finds the files that a SavedModel keeps its variables in, without TensorFlow."""

import os
import re
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from navigator.models.reading import open_regular
from navigator.models.wire import DamagedError, Fields, UnreadableError

_INDEX = "variables/variables.index"
_SHARD = re.compile(r"variables\.data-\d{5}-of-(\d{5})")
# Fields of saved_model.proto and meta_graph.proto.
_META_GRAPH, _SAVER = 2, 3


def missing_files(saved_model: Path) -> Iterator[str]:
    """Yield the files of variables that a SavedModel's graph or the names of others promise, and that aren't there.

    Raises:
        OSError: it can't be read.
    """
    directory = saved_model / "variables"
    found = {path.name for path in directory.iterdir()} if directory.is_dir() else set()
    counts = {int(match[1]) for name in found if (match := _SHARD.fullmatch(name))}
    if "variables.index" in found:
        count = max(counts, default=1)
        shards = [f"variables.data-{number:05}-of-{count:05}" for number in range(count)]
        yield from (f"variables/{name}" for name in shards if name not in found)
    elif counts or (not found and _restores(saved_model / "saved_model.pb")):
        yield _INDEX


def _restores(graph: Path) -> bool:
    """Return whether a graph has a saver, and with it variables that loading restores."""
    if not graph.is_file():
        return False
    with BufferedReader(open_regular(graph)) as file:
        fields = Fields(file, os.fstat(file.fileno()).st_size)
        try:
            return any(
                inner == _SAVER and size > 0
                for number, value in fields
                if number == _META_GRAPH
                for inner, size in fields.inside(value)
            )
        except (DamagedError, UnreadableError):  # reported where its signature is read
            return False
