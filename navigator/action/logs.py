"""The logs of failed conversions, in the job's log: each in a group, and nothing in it can be a workflow command."""

import os
from pathlib import Path
from typing import TextIO

from navigator.github.artifacts.pack import opened
from navigator.github.commands import commands_disabled, group
from navigator.github.rest import PublishError
from navigator.render.text import clean, harmless, lines
from navigator.report.report import without_root
from navigator.report.summary import Summary
from navigator.safe_files import ROOT

# Converters write megabytes; their reason is at the end. Everything is in the artifact, where `artifacts` is `all`.
_LINES = 200
_TAIL_BYTES = 2**20
_LOGS = 20


def show_logs(summary: Summary, directory: Path, stream: TextIO, root: Path = ROOT) -> None:
    """Show the end of the log of each failed conversion, with paths relative to `root`.

    Blocked ones share theirs with the culprit.
    """
    shown: set[Path] = set()
    for result in summary.failed:
        path = result.status.log_path
        if path is None or path in shown or len(shown) == _LOGS:
            continue
        shown.add(path)
        found = _tail(path, directory / "logs")
        if found:
            with (
                group(harmless(f"{clean(result.model_name)} {clean(result.conversion)}: {clean(path.name)}"), stream),
                commands_disabled(stream) as show,
            ):
                show(without_root("\n".join([*found, ""]), root))


def _tail(path: Path, logs: Path) -> list[str]:
    """Return the last lines of a log. Nothing is read through a link, nor from elsewhere: models wrote there."""
    if path.parent.parent != logs or ".." in path.parts:
        return []
    try:
        with opened(path) as log:
            # A model may write gigabytes on one line.
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            tail = log.readall()
    except (PublishError, ValueError):  # a name with a null character is a ValueError
        return []
    return lines(tail.decode("utf-8", "replace"))[-_LINES:]
