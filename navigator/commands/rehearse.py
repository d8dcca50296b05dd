"""`model-navigator rehearse`: converts with the installed versions of some packages and with others, and compares.

Each run is a process of its own, since a process can't import a package in two versions.
"""

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from navigator import config
from navigator.commands import subject
from navigator.errors import ExitCode, NavigatorError
from navigator.records import Replacement
from navigator.render.streams import write
from navigator.report.storage import RESULTS

_OPTION = "--with"


class UnfinishedError(NavigatorError):
    """One of the two runs ended without results, so nothing can be compared."""

    exit_code = ExitCode.FAILURE


def run(namespace: argparse.Namespace, arguments: list[str]) -> ExitCode:
    """Convert twice and return the exit code of the second run, which only a regression fails."""
    from navigator.engine.workspace import Workspace, rehearsal
    from navigator.host import overlay

    wanted = overlay.requirements(namespace.packages)
    loaded = subject.load(namespace)
    found = overlay.changes(wanted)
    if not found:
        write(f"nothing to rehearse: {', '.join(wanted)}: already installed\n", sys.stdout)
        return ExitCode.OK
    place = overlay.overlay(found)
    with Workspace(loaded.workspace_path, clean=False):
        present, proposed = rehearsal(loaded.workspace_path)
    reproduced = f"model-navigator {shlex.join(config.reproducing(arguments))}"
    own = [*_without_packages(arguments[1:]), "--rehearsal", reproduced]
    said = _versions(found)
    first = _convert("installed", said[0], present, own, os.environ)
    if first not in (ExitCode.OK, ExitCode.FAILURE):
        return first
    environment = {**os.environ, "PYTHONPATH": overlay.python_path(place, os.environ)}
    judged = [*own, "--baseline", str(present), "--fail-on", "regression"]
    return _convert("proposed", said[1], proposed, judged, environment)


def _convert(
    kind: str, versions: str, workspace: Path, arguments: Sequence[str], environment: Mapping[str, str]
) -> ExitCode:
    """Run `convert` in a workspace of its own."""
    from navigator.engine import interrupts

    write(f"\n{kind}: {versions}\n", sys.stdout)
    sys.stdout.flush()
    results = workspace / RESULTS
    results.unlink(missing_ok=True)
    process = None
    try:
        with interrupts.held():  # a process that's started and not known yet would run on
            process = subprocess.Popen(
                # -P: no file of the working directory is a module.
                [sys.executable, "-P", "-m", "navigator", "convert", *arguments, "--workspace-path", str(workspace)],
                env=environment,
            )
        code = process.wait()
    except KeyboardInterrupt:
        if process is not None:
            # A terminal tells both processes, a runner only this one.
            process.terminate()
            process.wait()
        raise
    if code in (ExitCode.OK, ExitCode.FAILURE) and not results.is_file():
        code = -1
    if code not in [*ExitCode]:
        raise UnfinishedError(f"the run with the {kind} versions ended without results", "its last lines above say why")
    return ExitCode(code)


def _versions(found: Sequence[Replacement]) -> tuple[str, str]:
    """Return what is installed and what is proposed."""
    before = (f"{each.name} {each.before}" if each.before else f"no {each.name}" for each in found)
    return ", ".join(before), ", ".join(f"{each.name} {each.after}" for each in found)


def _without_packages(arguments: Sequence[str]) -> Iterator[str]:
    words = iter(arguments)
    for word in words:
        if word == _OPTION:
            next(words, None)
        elif not word.startswith(f"{_OPTION}="):
            yield word
