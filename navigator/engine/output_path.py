"""Copies a converted model to `output_path`."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from navigator import disks
from navigator.cache.digests import digest
from navigator.config import detect_format
from navigator.engine.workspace import artifact_name
from navigator.errors import ConfigurationError, NavigatorError, listed
from navigator.models.files import external_data, files_of
from navigator.models.reading import copy_file
from navigator.records import CellResult, Format, ModelPlan, State
from navigator.runners import RUNNERS

# What TensorFlow and Keras write into the directory of a SavedModel.
_SAVED_MODEL = frozenset(
    {"saved_model.pb", "fingerprint.pb", "keras_metadata.pb", "variables", "assets", "assets.extra"}
)
_LFS = b"version https://git-lfs"


def deliver(model: ModelPlan, results: tuple[CellResult, ...]) -> tuple[str, bool]:
    """Copy the first converted model that passed to `output_path`; return a message, and whether it worked."""
    target, name = model.config.output_path, model.config.model_name
    assert target is not None
    found = first_converted(model, results)
    if found is None or found.output_model is None:
        return f"{name}: nothing was copied to output_path {target}: {_why_nothing(model, results)}", False
    try:
        _copy(found.output_model.path, target)
    except (NavigatorError, OSError) as error:
        path, why = found.output_model.path, disks.full_disk(target) if disks.is_about_full_disk(error) else str(error)
        return f"{name}: can't write output_path {target} ({why}); the converted model is {path}", False
    return f"{name}: {found.conversion} copied to {target}", True


def _why_nothing(model: ModelPlan, results: tuple[CellResult, ...]) -> str:
    """Return why no converted model belongs at `output_path`, and what to do about it."""
    own = (each for each in results if each.model_name == model.config.model_name and not each.intermediate)
    passed = {each.conversion for each in own if each.status.state is State.PASSED}
    if not passed:
        return "no conversion passed"
    if passed <= {step.label for step in model.steps if step.is_copy}:
        return (
            "only copies of the source model passed; add another format to target_formats, or another opset to "
            "onnx_opsets"
        )
    return "no conversion that passed makes a file with this suffix; name another, or add its format to target_formats"


def _copy(source: Path, target: Path) -> None:
    """Copy an artifact in one step, replacing that of an earlier run and nothing else."""
    _check_replaceable(source, target)
    # The ONNX file refers to its external data by file name.
    beside = {} if source.is_dir() else {n: path for n, path in files_of(source.parent) if path.name != source.name}
    for name, path in beside.items():
        _check_beside(target.parent / name, path, target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target.parent, prefix=".model-navigator-") as made:
        half = Path(made)
        if source.is_dir():
            shutil.copytree(source, half / "model", copy_function=copy_file)
            if target.exists():
                target.rename(half / "earlier")
            (half / "model").rename(target)
            return
        for name, path in (*beside.items(), (target.name, source)):
            (half / name).parent.mkdir(parents=True, exist_ok=True)
            copy_file(path, half / name)
        for name in (*beside, target.name):
            (target.parent / name).parent.mkdir(parents=True, exist_ok=True)
            (half / name).replace(target.parent / name)


def _check_replaceable(source: Path, target: Path) -> None:
    """Raise FileExistsError if anything else is at `target` than a converted model of the format of `source`."""
    if target.is_symlink():
        raise FileExistsError(f"{target} is a symbolic link")
    if target.is_dir():
        if not (source.is_dir() and (target / "saved_model.pb").exists()):
            raise FileExistsError(f"{target} is a directory")
        if foreign := sorted({each.name for each in target.iterdir()} - _SAVED_MODEL):
            raise FileExistsError(f"{target} also has {listed(foreign)}")
    elif target.exists() and not _is_stand_in(target) and _format(target) is not _format(source):
        raise FileExistsError(f"{target} is a file of another format")


def _check_beside(there: Path, path: Path, target: Path) -> None:
    """Raise FileExistsError if the external data of `target` would replace a file that belongs to something else."""
    if there.is_symlink():
        raise FileExistsError(f"{there} is a symbolic link")
    if not there.exists() or (there.is_file() and digest(there) == digest(path)):
        return
    owners = [each for each in target.parent.glob("*.onnx") if there.name in external_data(each)]
    if others := [each.name for each in owners if each != target]:
        raise FileExistsError(
            f"{there.name} in that directory has the weights of {others[0]}: choose another directory"
        )
    if not owners:
        raise FileExistsError(f"{there} belongs to no model: move it, or choose another directory")


def _is_stand_in(path: Path) -> bool:
    """Return whether a file holds no content of its own: it's empty, or a Git LFS pointer."""
    with path.open("rb") as file:
        return file.read(len(_LFS)) in (b"", _LFS)


def _format(path: Path) -> Format | None:
    try:
        return detect_format(path, None)
    except ConfigurationError:
        return None


def first_converted(plan: ModelPlan, results: tuple[CellResult, ...]) -> CellResult | None:
    """Return the first cell that passed and fits `output_path`, never a copy of the source model.

    If the suffix of `output_path` is that of a format, only a cell of that format fits.
    """
    target = plan.config.output_path
    suffixes = {Path(runner.ARTIFACT_NAME).suffix for runner in RUNNERS.values()}
    wanted = target.suffix if target is not None and target.suffix in suffixes else None
    conversions = {
        step.label for step in plan.steps if not step.is_copy and wanted in (None, Path(artifact_name(step)).suffix)
    }
    return next(
        (
            each
            for each in results
            if each.model_name == plan.config.model_name
            and each.conversion in conversions
            and not each.intermediate
            and each.status.state is State.PASSED
        ),
        None,
    )
