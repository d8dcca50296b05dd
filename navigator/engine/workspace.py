"""The workspace directory: artifacts, logs, scratch files and results. One run uses it at a time.

- `converted/<model>/<cell>/model.onnx` and so on: artifacts, one directory each
- `logs/<model>/<cell>.convert.log` and so on: one log per worker; inputs and outputs after a mismatch
- `rehearsal/`: the workspaces of the two runs of a rehearsal
- `timing/`: TensorRT's measurements, if there is no cache to keep them
- `convert_results.yaml`, `summary.md`: the report
- `.scratch/`: samples, outputs, unfinished artifacts and, at first, those of an earlier run; removed at the end
"""

import fcntl
import os
import shutil
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from navigator import disks
from navigator.errors import ConfigurationError, listed
from navigator.records import Step
from navigator.report import ownership, storage
from navigator.runners import RUNNERS

_OURS = (
    ownership.MARKER,
    "converted",
    "logs",
    "rehearsal",
    "timing",
    ".scratch",
    ".lock",
    *storage.FILES,
)

# What a repository or a disk puts into an empty directory; never touched.
_NEUTRAL = frozenset({".gitignore", ".gitkeep", "lost+found"})
_CHOOSE = "choose a new or an empty directory with workspace_path"


def check_workspace(path: Path) -> None:
    """Refuse a directory in which a run could lose something of the user's; mark one that an older version made.

    Raises:
        ConfigurationError: it's neither empty nor a workspace, or a link in it leads elsewhere.
        OSError: it can't be read or marked.
    """
    if not path.is_dir():
        return
    names = {entry.name for entry in path.iterdir()} - _NEUTRAL
    if names and not ownership.is_marked(path):
        foreign = sorted(names - {*_OURS})
        if foreign or not ownership.has_results(path):
            found = listed(foreign or sorted(names))
            raise ConfigurationError(
                f"workspace {path} contains files that Model Navigator didn't write: {found}", _CHOOSE
            )
        ownership.mark(path)
    for name in ("converted", "logs", "rehearsal", "timing", ".scratch"):
        for each in (path / name, *((path / name).glob("*") if (path / name).is_dir() else ())):
            if each.is_symlink():
                raise ConfigurationError(f"workspace {path}: {each.relative_to(path)} is a symbolic link", "remove it")


def rehearsal(path: Path) -> tuple[Path, Path]:
    """Return where in a workspace the runs of a rehearsal go: with the installed and with the proposed versions."""
    return path / "rehearsal" / "installed", path / "rehearsal" / "proposed"


class Workspace:
    """The directory of a run: a context manager that locks it and removes its scratch files.

    Args:
        path: the workspace, created if it does not exist. A directory that is neither empty nor a workspace is
            refused: its files are the user's.
        clean: remove what an earlier run left. Refused if the directory contains anything else, since
            that is the user's work.

    Raises:
        ConfigurationError: it can't be written, is in use by another run, or must not be cleaned.
    """

    def __init__(self, path: Path, *, clean: bool) -> None:
        self.path = path
        self._lock: int | None = None
        try:
            path.mkdir(parents=True, exist_ok=True)
            check_workspace(path)
            ownership.mark(path)
            self._take_lock()
            shutil.rmtree(path / ".scratch", ignore_errors=True)
            (path / ".scratch").mkdir()
            if clean:
                self._clean()
        except OSError as error:
            raise ConfigurationError(
                f"workspace {path}: {disks.reason(error, path)}",
                disks.REMEDY
                if disks.is_about_full_disk(error)
                else "choose a writable directory with --workspace-path",
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.path / ".scratch", ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def _earlier(self) -> Path:
        return self.path / ".scratch" / ".earlier"  # no model has such a name

    @property
    def converted(self) -> Path:
        return self.path / "converted"

    @property
    def results(self) -> Path:
        return self.path / storage.RESULTS

    @property
    def summary(self) -> Path:
        return self.path / storage.SUMMARY

    @property
    def page(self) -> Path:
        return self.path / storage.PAGE

    def artifact(self, model: str, step: Step) -> Path:
        """Return the path of a step's finished artifact."""
        return self.converted / model / _flat(step.label) / artifact_name(step)

    def log(self, model: str, label: str, kind: str) -> Path:
        """Return the path of a worker's log; its directory exists."""
        path = self.path / "logs" / model / f"{_flat(label)}.{kind}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def dump(self, model: str, label: str) -> Path:
        """Return the path prefix for the inputs and outputs of a cell."""
        return self.path / "logs" / model / _flat(label)

    def scratch(self, model: str, label: str, kind: str, within: Path | None = None) -> Path:
        """Return a path in the scratch directory, or in a part of it, that no other step uses; its parent exists."""
        path = (within or self.path / ".scratch") / model / _flat(label) / kind
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def builder(self, gpu: str) -> Path:
        """Return the scratch directory of the worker that builds the engines for a GPU."""
        return self.path / ".scratch" / ".builders" / gpu

    @property
    def told(self) -> Path:
        """The directory in which conversions say how far they are."""
        return self.path / ".scratch" / ".told"

    def progress(self, model: str, label: str) -> Path:
        """Return the path of a line that says how far a conversion is."""
        return self.told / model / _flat(label)

    def earlier(self, model: str, label: str) -> Path:
        """Return where `set_aside` moves a cell's artifact."""
        return self._earlier / model / _flat(label)

    def set_aside(self, model: str, label: str) -> None:
        """Remove the files of a cell from earlier runs, but for its artifact: it may be the same in this run."""
        found, aside = self.converted / model / _flat(label), self.earlier(model, label)
        with suppress(OSError):
            if found.exists() and not aside.exists():
                aside.parent.mkdir(parents=True, exist_ok=True)
                found.rename(aside)
        self.remove_stale(model, label)

    def remove_earlier(self) -> None:
        """Remove what was set aside."""
        shutil.rmtree(self._earlier, ignore_errors=True)

    def remove_stale(self, model: str, label: str) -> None:
        """Remove the files of a cell from earlier runs, so that a stale artifact is never mistaken for a new one."""
        self.remove_artifact(model, label)
        for stale in (self.path / "logs" / model).glob(f"{_flat(label)}.*"):
            stale.unlink(missing_ok=True)

    def remove_artifact(self, model: str, label: str) -> None:
        """Remove a cell's artifact."""
        shutil.rmtree(self.converted / model / _flat(label), ignore_errors=True)

    def remove_scratch(self, model: str, label: str) -> None:
        """Remove a step's scratch files."""
        shutil.rmtree(self.path / ".scratch" / model / _flat(label), ignore_errors=True)

    def _take_lock(self) -> None:
        self._lock = os.open(self.path / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise ConfigurationError(
                f"workspace {self.path} is in use by another run",
                "wait until it ends, or choose another directory with --workspace-path",
            ) from None

    def _clean(self) -> None:
        foreign = sorted(entry.name for entry in self.path.iterdir() if entry.name not in {*_OURS, *_NEUTRAL})
        if foreign:
            raise ConfigurationError(
                f"workspace {self.path} contains files that Model Navigator didn't write: {', '.join(foreign[:5])}",
                "move them, or choose another directory with --workspace-path",
            )
        for name in _OURS:
            if name in (".lock", ".scratch", ownership.MARKER):
                continue
            entry = self.path / name
            if name == "converted" and entry.is_dir():
                entry.rename(self._earlier)
            elif entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)


def artifact_name(step: Step) -> str:
    """Return the file name of a step's artifact."""
    return step.artifact_name or RUNNERS[step.target_format].ARTIFACT_NAME


def _flat(label: str) -> str:
    """Return a label as one directory name: an artifact's directory must not hold another's."""
    return label.replace("/", "-")
