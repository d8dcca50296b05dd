"""Copies a converted model to `output_path`."""

import shutil
from pathlib import Path

from navigator import disks
from navigator.cache.digests import digest
from navigator.errors import NavigatorError
from navigator.models.files import external_data, files_of
from navigator.models.reading import copy_file
from navigator.records import CellResult, ModelPlan, State
from navigator.runners import RUNNERS


def deliver(model: ModelPlan, results: tuple[CellResult, ...]) -> tuple[str, bool]:
    """Copy the first converted model that passed to `output_path`; return a message, and whether it worked."""
    target, name = model.config.output_path, model.config.model_name
    assert target is not None
    found = first_converted(model, results)
    if found is None or found.output_model is None:
        return f"{name}: nothing was copied to output_path: no converted model fits {target}", False
    try:
        _copy(found.output_model.path, target)
    except (NavigatorError, OSError) as error:
        path, why = found.output_model.path, disks.full_disk(target) if disks.is_about_full_disk(error) else str(error)
        return f"{name}: can't write output_path {target} ({why}); the converted model is {path}", False
    return f"{name}: {found.conversion} copied to {target}", True


def _copy(source: Path, target: Path) -> None:
    """Copy an artifact, replacing that of an earlier run; never replace a directory that is not a SavedModel."""
    if target.is_dir() and not (source.is_dir() and (target / "saved_model.pb").exists()):
        raise FileExistsError(f"{target} is a directory")
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        if target.exists():
            shutil.rmtree(target)
        shutil.copytree(source, target, copy_function=copy_file)
        return
    # The ONNX file refers to its external data by file name.
    beside = {name: path for name, path in files_of(source.parent) if path.name != source.name}
    for name, path in beside.items():
        there = target.parent / name
        owners = [each.name for each in target.parent.glob("*.onnx") if each != target and name in external_data(each)]
        if owners and there.exists() and digest(there) != digest(path):
            raise FileExistsError(f"{name} in that directory has the weights of {owners[0]}: choose another directory")
    for name, path in beside.items():
        (target.parent / name).parent.mkdir(parents=True, exist_ok=True)
        copy_file(path, target.parent / name)
    copy_file(source, target)


def first_converted(plan: ModelPlan, results: tuple[CellResult, ...]) -> CellResult | None:
    """Return the first cell that passed and fits `output_path`, never a copy of the source model.

    If the suffix of `output_path` is that of a format, only a cell of that format fits.
    """
    target = plan.config.output_path
    suffixes = {Path(runner.ARTIFACT_NAME).suffix for runner in RUNNERS.values()}
    wanted = target.suffix if target is not None and target.suffix in suffixes else None
    conversions = {
        step.label
        for step in plan.steps
        if not step.is_copy and wanted in (None, Path(RUNNERS[step.target_format].ARTIFACT_NAME).suffix)
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
