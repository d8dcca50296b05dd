"""Plans, reports and progress as text for a terminal or a log.

Pure, except for `Progress` and functions that start with `show`, which write to standard output. Removes control
characters from untrusted text. Imports Rich only for a terminal, since that takes longer than `--help` may take.
"""

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO, cast

from navigator.records import CellResult, Plan, State
from navigator.render.columns import columns_of, width
from navigator.render.heartbeat import Heartbeat
from navigator.render.plain import change_lines, result_line, summary_lines
from navigator.render.streams import Steady, write
from navigator.render.text import clean, lines, shorten
from navigator.render.values import count
from navigator.report.summary import Summary
from navigator.safe_files import open_file

if TYPE_CHECKING:
    import rich.progress

# How many lines of a log `--verbose` shows; the complete log is in the workspace.
_LOG_LINES = 200
_LOG_BYTES = 64 * 2**20

# How often a terminal shows how far conversions are, and in how many characters.
_REFRESH_SECONDS = 0.5
_LONGEST_DOING = 60
# The kind of unit that says how far it is.
_CONVERT = "convert"


def summary_text(summary: Summary, columns: int | None = None) -> str:
    """Return the report as plain text, failed conversions first; its table fits into `columns`."""
    return "".join(f"{line.text}\n" for line in summary_lines(summary, columns))


def changes_text(summary: Summary) -> str:
    """Return what changed since the base as plain text, or why nothing is compared."""
    return "".join(f"{line.text}\n" for line in change_lines(summary))


def show_summary(summary: Summary) -> None:
    """Write the report to standard output, with colors if it is a terminal that supports them."""
    if not _is_terminal(sys.stdout):
        write(summary_text(summary, columns_of(sys.stdout)), sys.stdout)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(file=cast("TextIO", Steady(sys.stdout)), highlight=False)
    for line in summary_lines(summary, console.width):
        console.print(Text(line.text, style=line.style), soft_wrap=True)


def show_log(path: Path) -> None:
    """Write a worker's log to standard output, or its end if it is long. Models may have printed any character."""
    try:
        with open_file(path, path.parent) as log:
            # A model may print gigabytes.
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_BYTES))
            printed = lines(log.readall().decode("utf-8", "replace"))
    except OSError:
        return
    if len(printed) > _LOG_LINES:
        printed = [f"({len(printed) - _LOG_LINES} more lines)", *printed[-_LOG_LINES:]]
    write("\n".join([f"--- {clean(shown(path))}", *printed, "---", ""]), sys.stdout)


def shown(path: Path) -> str:
    """Return a path as a user in this directory would write it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


class Progress:
    """Shows the progress of a run: a context manager that can be called from any thread.

    A terminal shows how many conversions are decided, and the running units. Anything else, also a dumb terminal, gets
    one plain line for each finished conversion, and one a minute with what runs.

    Args:
        plan: the plan, for the number of conversions and the widths of columns.
        stream: the output stream. Defaults to standard output.
        doing: returns how far the conversion of a model with a label is, or "".
    """

    def __init__(
        self, plan: Plan, stream: TextIO | None = None, *, doing: Callable[[str, str], str] = lambda _model, _label: ""
    ) -> None:
        self._stream = sys.stdout if stream is None else stream
        names = [clean(model.config.model_name) for model in plan.models]
        todo = [clean(cell.label) for model in plan.models for cell in model.conversions if cell.state is None]
        self._widths = (max(map(width, names), default=0), max(map(width, todo), default=0))
        self._total = len(todo)
        self._lock = threading.Lock()
        self._told: set[tuple[str, str]] = set()
        self._running: dict[tuple[str, str, str], rich.progress.TaskID] = {}
        self._bars: rich.progress.Progress | None = None
        self._all: rich.progress.TaskID | None = None
        self._doing = doing
        self._heartbeat = Heartbeat(self.say, self._total, self._how_far)
        self._ended = threading.Event()
        self._refresher = threading.Thread(target=self._refresh, name="progress", daemon=True)

    def __enter__(self) -> Self:
        if _is_terminal(self._stream) and self._total:
            self._bars = _bars(self._stream)
            self._all = self._bars.add_task(self._decided(), total=None, state="")
            self._bars.start()
            self._refresher.start()
        elif self._total:
            self._heartbeat.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._heartbeat.stop()
        self._ended.set()
        with self._lock:
            bars, self._bars = self._bars, None
        if bars is not None:
            bars.stop()

    def say(self, sentence: str) -> None:
        """Show a message about the whole run."""
        with self._lock:
            if self._bars is None:
                write(f"{clean(sentence)}\n", self._stream)
                return
            from rich.text import Text

            self._bars.console.print(Text(clean(sentence), style="dim"), soft_wrap=True)

    def started(self, model: str, label: str, kind: str) -> None:
        """Show that a unit runs; `kind` is reference, convert or verify."""
        self._heartbeat.started((model, label, kind))
        with self._lock:
            if self._bars is not None:
                text = f"{clean(model)}  {clean(label)}"
                self._running[model, label, kind] = self._bars.add_task(text, total=None, state=clean(kind))

    def finished(self, model: str, label: str, kind: str) -> None:
        """Remove a unit that `started` showed."""
        self._heartbeat.finished((model, label, kind))
        with self._lock:
            task = self._running.pop((model, label, kind), None)
            if self._bars is not None and task is not None:
                self._bars.remove_task(task)

    def decided(self, result: CellResult, *, failed: bool) -> None:
        """Show the result of a conversion, once; `failed` is whether it fails the run."""
        key = (result.model_name, result.conversion)
        with self._lock:
            if result.status.state is State.CANCELLED or key in self._told:
                return
            self._told.add(key)
            self._heartbeat.decided()
            line = result_line(result, failed=failed, widths=self._widths, columns=columns_of(self._stream))
            if self._bars is None or self._all is None:
                write(f"{line.text}\n", self._stream)
                return
            from rich.text import Text

            self._bars.console.print(Text(line.text, style=line.style), soft_wrap=True)
            self._bars.update(self._all, description=self._decided())

    def _decided(self) -> str:
        return f"{len(self._told):,} of {count(self._total, 'conversion')}"

    def _how_far(self, unit: tuple[str, str, str]) -> str:
        model, label, kind = unit
        return shorten(clean(self._doing(model, label)), _LONGEST_DOING) if kind == _CONVERT else ""

    def _refresh(self) -> None:
        """Show beside each running conversion how far it is, until the end."""
        while not self._ended.wait(_REFRESH_SECONDS):
            with self._lock:
                running = dict(self._running)
            for unit, task in running.items():
                doing = self._how_far(unit)
                with self._lock:
                    if doing and self._bars is not None and unit in self._running:
                        self._bars.update(task, state=f"{clean(unit[2])}: {doing}")


def _bars(stream: TextIO) -> "rich.progress.Progress":
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TextColumn("{task.fields[state]}", markup=False, style="dim"),
        TimeElapsedColumn(),
        console=Console(file=cast("TextIO", Steady(stream)), highlight=False),
        transient=True,
    )


def _is_terminal(stream: TextIO) -> bool:
    """Return whether a stream supports control characters. FORCE_COLOR doesn't turn a file into a terminal."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")
