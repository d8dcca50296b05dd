"""Writes the inputs and outputs of a verification as JSON for Polygraphy's `load_json` and `RunResults.load`.

Decides about the two files and their size. Writes the format (the same from Polygraphy 0.49 to 0.53) itself, since
Polygraphy's own writer imports torch if it is installed, and keeps every array in memory several times.
"""

import base64
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

Arrays = Mapping[str, np.ndarray]
Runs = Mapping[str, Sequence[tuple[str, Arrays]]]

# The size of the arrays; base64 makes the files a third larger.
DEFAULT_LIMIT_BYTES = 64 * 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Dump:
    """The files that were written, inputs first, and the names of the samples that are not in them."""

    paths: tuple[Path, ...]
    left_out: tuple[str, ...] = ()


def paths(path_prefix: Path) -> tuple[Path, Path]:
    """Return where `write` puts the inputs and the outputs."""
    name = path_prefix.name
    return (
        path_prefix.with_name(f"{name}.comparator_inputs.json"),
        path_prefix.with_name(f"{name}.comparator_outputs.json"),
    )


def write(
    path_prefix: Path,
    samples: Sequence[tuple[str, Arrays]],
    runs: Runs,
    *,
    limit_bytes: int = DEFAULT_LIMIT_BYTES,
) -> Dump:
    """Write inputs and outputs of the same samples, in the samples' order.

    The files replace earlier ones atomically. Keeps complete samples, in order, while their arrays stay within
    `limit_bytes`, but the smallest before all others. Leaves out a sample without outputs of every run, so that
    inputs and outputs can be zipped. If nothing is kept, writes no file and removes earlier ones.

    Args:
        path_prefix: path of both files up to `.comparator_inputs.json`; its directory is created.
        samples: (sample name, {input name: array}).
        runs: for each runner's name, (sample name, {output name: array}).
        limit_bytes: maximum size of the arrays in both files together.

    Raises:
        OSError: the files can't be written.
    """
    outputs = {runner: dict(results) for runner, results in runs.items()}
    sizes = {
        name: _bytes(arrays) + sum(_bytes(results[name]) for results in outputs.values())
        for name, arrays in samples
        if all(name in results for results in outputs.values())
    }
    kept = _kept(sizes, limit_bytes)
    left_out = tuple(name for name, _ in samples if name not in kept)
    targets = paths(path_prefix)
    if not kept:
        for target in targets:
            target.unlink(missing_ok=True)
        return Dump(paths=(), left_out=left_out)
    inputs = [arrays for name, arrays in samples if name in kept]
    results = {runner: [sets[name] for name, _ in samples if name in kept] for runner, sets in outputs.items()}
    path_prefix.parent.mkdir(parents=True, exist_ok=True)
    _replace(targets[0], lambda file: _write_inputs(file, inputs))
    _replace(targets[1], lambda file: _write_results(file, results))
    return Dump(paths=targets, left_out=left_out)


def _bytes(arrays: Arrays) -> int:
    return sum(array.nbytes for array in arrays.values())


def _kept(sizes: Mapping[str, int], limit_bytes: int) -> set[str]:
    kept: set[str] = set()
    taken = 0
    smallest = min(sizes, key=sizes.__getitem__, default=None)
    for name in ([] if smallest is None else [smallest]) + [name for name in sizes if name != smallest]:
        if taken + sizes[name] <= limit_bytes:
            kept.add(name)
            taken += sizes[name]
    return kept


def _replace(target: Path, write_to: Callable[[IO[bytes]], None]) -> None:
    """Write next to `target` and rename, so that a reader sees the complete file or none."""
    written = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with written.open("wb") as file:
            write_to(file)
        written.replace(target)
    finally:
        written.unlink(missing_ok=True)


def _write_inputs(file: IO[bytes], inputs: Sequence[Arrays]) -> None:
    for position, arrays in enumerate(inputs):
        file.write(b",\n" if position else b"[\n")
        _write_arrays(file, arrays, lazy=False)
    file.write(b"\n]\n")


def _write_results(file: IO[bytes], results: Mapping[str, Sequence[Arrays]]) -> None:
    file.write(b'{"lst": [')
    for position, (runner, iterations) in enumerate(results.items()):
        file.write(b",\n" if position else b"\n")
        file.write(f"[{json.dumps(runner)}, [".encode())
        for number, arrays in enumerate(iterations):
            file.write(b',\n{"outputs": ' if number else b'\n{"outputs": ')
            _write_arrays(file, arrays, lazy=True)
            file.write(f', "runtime": null, "runner_name": {json.dumps(runner)}'.encode())
            file.write(b', "polygraphy_class": "IterationResult"}')
        file.write(b"\n]]")
    file.write(b'\n], "polygraphy_class": "RunResults"}\n')


def _write_arrays(file: IO[bytes], arrays: Arrays, *, lazy: bool) -> None:
    """Write {name: array}; Polygraphy wraps the arrays of a result once more."""
    file.write(b"{")
    for position, (name, array) in enumerate(arrays.items()):
        file.write(b",\n" if position else b"\n")
        file.write(f"{json.dumps(name)}: ".encode())
        file.write(b'{"values": {"array": "' if lazy else b'{"array": "')
        encoder = _Base64(file)
        np.lib.format.write_array(encoder, np.asarray(array), allow_pickle=False)
        encoder.finish()
        file.write(b'", "polygraphy_class": "ndarray"}')
        file.write(b', "polygraphy_class": "LazyArray"}' if lazy else b"")
    file.write(b"\n}")


class _Base64:
    """A file for NumPy to write to in pieces. Base64 turns three bytes into four, so the remainder is held back."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._rest = b""

    def write(self, data: bytes) -> int:
        whole = self._rest + data
        cut = len(whole) - len(whole) % 3
        self._file.write(base64.b64encode(whole[:cut]))
        self._rest = whole[cut:]
        return len(data)

    def finish(self) -> None:
        self._file.write(base64.b64encode(self._rest))
