"""Which files of a run are kept: as artifacts of the run and as assets of a release.

A run's directory was written by code that nobody has to trust: only regular files inside of it are taken, no links.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath

from navigator.cache.digests import combined, digest
from navigator.github.artifacts.pack import files_below
from navigator.records import CellResult, Report, State

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFiles:
    """One converted model.

    `directory` tells it from the others inside an archive; `files` are its files by their name in that directory.
    `sha256` is what the report says of them, see `navigator.cache.digests.combined`; "" of what it does not know.
    """

    directory: str
    files: tuple[tuple[str, Path], ...]
    sha256: str = ""

    @property
    def name(self) -> str:
        """A file name of its own: the model's, the conversion's, and the suffix of a single file."""
        flat = _UNSAFE.sub("_", self.directory.replace("/", "-"))
        return f"{flat}{PurePath(self.files[0][0]).suffix}" if len(self.files) == 1 else flat


def is_released(result: CellResult) -> bool:
    """Tell whether a converted model is for others: it was asked for and passed."""
    return result.status.state is State.PASSED and not result.intermediate


def converted(report: Report, directory: Path) -> tuple[ModelFiles, ...]:
    """Return the converted models that were asked for and passed."""
    return _kept(report, directory, is_released)


def changed(kept: ModelFiles) -> bool:
    """Tell whether a model's files are not those that were verified."""
    return combined({name: digest(path) for name, path in kept.files}) != kept.sha256


def everything(report: Report, directory: Path) -> tuple[ModelFiles, ...]:
    """Return every artifact that was made, whatever became of it, and the logs."""
    logs = tuple(files_below(directory / "logs")) if (directory / "logs").is_dir() else ()
    found = _kept(report, directory, lambda _: True)
    return (*found, ModelFiles(directory="logs", files=logs)) if logs else found


def _kept(report: Report, directory: Path, wanted: Callable[[CellResult], bool]) -> tuple[ModelFiles, ...]:
    found = []
    for result in report.results:
        if result.output_model is None or not wanted(result):
            continue
        # The report may have been made on another machine, or by a model: only the two names of its path count.
        *_, model, cell = ("", "", *result.output_model.path.parts[:-1])
        place = directory / "converted" / model / cell
        if {model, cell} & {"", ".", ".."} or not place.is_dir():
            continue
        if files := tuple(files_below(place)):
            found.append(ModelFiles(directory=f"{model}/{cell}", files=files, sha256=result.output_model.sha256))
    return tuple(found)
