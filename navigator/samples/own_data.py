"""The user's own data: which files are accepted as samples, and how they are read."""

import zipfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from navigator.errors import StepError, listed
from navigator.records import TensorSpec

# Ends the hint about an array that isn't an input.
LABELS = "; labels need a metric"

Sample = tuple[str, dict[str, np.ndarray]]

# The user's own data is read completely; if it takes more than this fraction of memory, none is left for the model.
_USABLE_FOR_DATA = 0.25


def read_samples(
    inputs: Sequence[TensorSpec],
    dtypes: Mapping[str, np.dtype[Any]],
    paths: Sequence[Path],
    memory_bytes: int,
    *,
    labelled: bool = False,
) -> list[Sample]:
    """Return one sample a file, named after it, in the model's dtypes.

    Args:
        inputs: the model's inputs.
        dtypes: their dtypes.
        paths: the files.
        memory_bytes: what they may take a quarter of.
        labelled: whether a file may hold arrays that aren't inputs, which are left out: labels for a metric.

    Raises:
        StepError: a file isn't a sample, contradicts the signature, or all of them take too much of `memory_bytes`.
    """
    samples: list[dict[str, np.ndarray]] = []
    taken = 0
    for path in paths:
        try:
            taken += _size(path)
            if taken > memory_bytes * _USABLE_FOR_DATA:
                raise StepError(
                    f"the samples up to {path} take more than {memory_bytes * _USABLE_FOR_DATA / 2**30:.1f} GiB, a "
                    "quarter of this machine's memory",
                    "use fewer or smaller samples; one or two batches are enough to find an error",
                )
            arrays = _read(path, inputs, labelled=labelled)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise _unreadable(path, error) from error
        sample = {spec.name: _checked(path, spec, dtypes[spec.name], arrays[spec.name]) for spec in inputs}
        samples.append(sample)
    return list(zip(sample_names(paths), samples, strict=True))


def inputs_of(paths: Sequence[Path], names: Sequence[str], *, labelled: bool) -> tuple[TensorSpec, ...]:
    """Return the inputs that samples show: an axis whose size differs between them is dynamic.

    Args:
        paths: the files.
        names: what the inputs may be called: that of an array without a name, and, if `labelled`, those of all others.
        labelled: whether a file may hold arrays that aren't inputs.

    Raises:
        StepError: a file isn't a sample, or they differ in what they hold.
    """
    shown: dict[str, TensorSpec] = {}
    for path in paths:
        try:
            arrays = _all_arrays(path, names)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise _unreadable(path, error) from error
        if labelled:
            arrays = {name: array for name, array in arrays.items() if name in names}
        specs = {
            name: TensorSpec(name=name, shape=array.shape, dtype=array.dtype.name) for name, array in arrays.items()
        }
        if not specs or (shown and specs.keys() != shown.keys()):
            raise StepError(
                f"{path} has arrays for {listed(specs)}, which don't tell the model's inputs",
                "save each sample as an .npz file with one array per input, named after the arguments of forward",
            )
        shown = {name: _both(shown.get(name, spec), spec, path) for name, spec in specs.items()}
    return tuple(shown.values())


def _all_arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return all arrays of a file; one without a name is the only one of `names`, or is left out."""
    with path.open("rb") as file:
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {names[0]: loaded} if len(names) == 1 else {}
        with loaded as archive:
            return {name: np.asarray(archive[name]) for name in archive.files}


def _both(one: TensorSpec, other: TensorSpec, path: Path) -> TensorSpec:
    """Return the input that two samples show."""
    ours, theirs = one.shape or (), other.shape or ()
    if one.dtype != other.dtype or len(ours) != len(theirs):
        raise StepError(
            f"{path}: {one.name!r} is {other.dtype} {list(theirs)}, but {one.dtype} {list(ours)} in another sample",
            "save all samples with the same dtype and number of axes",
        )
    shape = tuple(size if size == again else -1 for size, again in zip(ours, theirs, strict=True))
    return TensorSpec(name=one.name, shape=shape, dtype=one.dtype)


def _unreadable(path: Path, error: Exception) -> StepError:
    return StepError(
        f"{path} can't be read as a sample: {error}",
        "save it with numpy.savez(path, **{input name: array}), without objects; text as numpy.array(texts, dtype=str)",
    )


def sample_names(paths: Sequence[Path]) -> list[str]:
    """Return the name of each sample: its file's, numbered if another one has it."""
    names: list[str] = []
    for path in paths:
        names.append(path.stem if path.stem not in names else f"{path.stem}_{len(names)}")
    return names


def labels(path: Path, inputs: Collection[str]) -> dict[str, np.ndarray]:
    """Return the arrays of a sample's file that aren't inputs, of numbers or of text.

    Raises:
        StepError: the file can't be read.
    """
    if path.suffix == ".npy":
        return {}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: np.asarray(archive[name]) for name in archive.files if name not in inputs}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise StepError(
            f"the labels in {path} can't be read: {error}", "save them as arrays of numbers or text, without objects"
        ) from error


def _size(path: Path) -> int:
    """Return the size in bytes of the arrays in a file, without unpacking it."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return sum(entry.file_size for entry in archive.infolist())
    return path.stat().st_size


def _read(path: Path, inputs: Sequence[TensorSpec], *, labelled: bool) -> dict[str, np.ndarray]:
    names = [spec.name for spec in inputs]
    # Opened here, since numpy.load (2.4) doesn't close an invalid archive.
    with path.open("rb") as file:
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            if len(names) != 1:
                raise StepError(
                    f"{path} contains one array, but the model has {len(names)} inputs: {listed(names)}",
                    "save each sample as an .npz file with one array per input",
                )
            return {names[0]: loaded}
        with loaded as archive:
            missing = [name for name in names if name not in archive.files]
            extra = [name for name in archive.files if name not in names and not labelled]
            if missing or extra:
                lacks = f"has no array for {listed(missing)}" if missing else ""
                has = f"has an array {listed(extra)} that is not an input" if extra else ""
                raise StepError(
                    f"{path} {' and '.join(filter(None, (lacks, has)))}",
                    f"the model's inputs are {listed(names)}{'' if missing else LABELS}",
                )
            return {name: np.asarray(archive[name]) for name in names}


def _checked(path: Path, spec: TensorSpec, dtype: np.dtype[Any], array: np.ndarray) -> np.ndarray:
    """Return the array in the model's dtype, if that keeps its values and the shape fits the signature."""
    shape = list(array.shape)
    expected = spec.shape if spec.shape is not None else array.shape
    if len(expected) != array.ndim or any(fixed not in (-1, size) for fixed, size in zip(expected, shape, strict=True)):
        raise StepError(
            f"{path}: expected shape {list(expected)} for input {spec.name!r}, got {shape}",
            "save arrays of the expected shape, with any size where it has -1",
        )
    if array.size == 0 and 0 not in expected:
        raise StepError(
            f"{path}: {spec.name!r} has shape {shape}, which has no elements", "save arrays without an axis of size 0"
        )
    if dtype.kind == "U":
        if array.dtype.kind != "U":
            raise StepError(
                f"{path}: expected text for input {spec.name!r}, got {array.dtype}",
                "save it as numpy.asarray(array, dtype=str)",
            )
        return np.asarray(array, order="C")
    if array.dtype.newbyteorder("=") != dtype.newbyteorder("=") and not _survives(array, dtype):
        raise StepError(
            f"{path}: expected {dtype} for input {spec.name!r}, got {array.dtype} with values that don't fit",
            f"save it as numpy.asarray(array, dtype={str(dtype)!r})",
        )
    return np.asarray(array, dtype=dtype, order="C")


def _survives(array: np.ndarray, dtype: np.dtype[Any]) -> bool:
    """Return whether every value is the same number in `dtype`."""
    if array.dtype.kind not in "biufc" or (array.dtype.kind == "c" and dtype.kind != "c"):
        return False
    if array.dtype.kind in "iu" and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return array.size == 0 or (int(array.min()) >= limits.min and int(array.max()) <= limits.max)
    with np.errstate(all="ignore"):
        # Converted there and back, since comparing two dtypes converts too, and would hide a loss.
        back = array.astype(dtype).astype(array.dtype)
    return bool(np.array_equal(back, array, equal_nan=array.dtype.kind in "fc"))
