"""Where a run's results come from: the event of a job, or the git checkout of the configuration.

The action's entry point knows it and hands it to its engine, which runs as another user and sees no variable of the
job. What the engine then writes is compared with it: models are code, and could have written something else.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

from navigator.config.digest import digest
from navigator.errors import ConfigurationError
from navigator.github.checked_out import checked_out, is_events
from navigator.github.event import Event, read_event
from navigator.host.checkout import checkout
from navigator.records import Origin, RunConfig, from_data, to_data

_VARIABLE = "MODEL_NAVIGATOR_ORIGIN"


def job_origin(run: RunConfig, event: Event, config_path: str | None) -> Origin:
    """Return the origin of what a job converts; `config_path` is relative to its workspace."""
    return Origin(
        commit=event.sha,
        event=event.name,
        run_id=event.run_id,
        run_attempt=event.run_attempt,
        config_path=config_path,
        config_sha256=digest(run),
    )


def engine_variables(origin: Origin) -> dict[str, str]:
    """Return the environment variables that hand an origin to `read_origin` in another process."""
    return {_VARIABLE: json.dumps(to_data(origin))}


def is_engine(environment: Mapping[str, str]) -> bool:
    """Tell whether this process runs models for the action, which compares and tells their results."""
    return _VARIABLE in environment


def read_origin(run: RunConfig, environment: Mapping[str, str]) -> Origin:
    """Return the origin of what this process converts, from what the action says, else the job's event, else git."""
    try:
        return from_data(Origin, json.loads(environment[_VARIABLE]))
    except (KeyError, ValueError, msgspec.ValidationError):
        pass
    directory = run.config_path.parent if run.config_path else Path.cwd()
    found = checkout(directory)
    modified = found.modified if found else None
    if environment.get("GITHUB_ACTIONS") == "true":
        try:
            event = read_event(environment)
            root = Path(environment.get("GITHUB_WORKSPACE") or Path.cwd())
            own = job_origin(run, event, _shown(run.config_path, root))
            return replace(own, commit=_commit(directory, root, environment, event), modified=modified)
        except ConfigurationError:
            pass
    return Origin(
        commit=found.commit if found else "",
        modified=modified,
        config_path=_shown(run.config_path, found.root if found else Path.cwd()),
        config_sha256=digest(run),
    )


def _commit(directory: Path, root: Path, environment: Mapping[str, str], event: Event) -> str:
    """Return the event's commit, or what is checked out instead: nobody may report that as the event's."""
    try:
        commit = checked_out(directory, root, environment, event)
    except (ConfigurationError, OSError):
        return event.sha
    return commit if commit and not is_events(commit, event) else event.sha


def _shown(path: Path | None, root: Path) -> str | None:
    """Return a path as readers elsewhere know it: relative to `root` if it's inside."""
    if path is None:
        return None
    path, root = path.resolve(), root.resolve()
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
