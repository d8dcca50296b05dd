"""What identifies a configuration: whatever decides which conversions are made, and what they must match."""

import os
from dataclasses import fields
from pathlib import Path

from navigator.cache.digests import identity
from navigator.config.paths import repository_of
from navigator.records import Json, MetricFunction, RunConfig, to_data

# Where things are said to be, and where copies go.
_INDIFFERENT = frozenset({"config_path", "line", "output_path", "output_package"})


def digest(run: RunConfig) -> str:
    """Return the SHA-256 of the canonical JSON of a configuration with every default applied.

    It's the same on every machine, in every checkout and in any notation: paths inside the repository count relative to
    the configuration, or to the working directory without one. Cache, workspace, jobs and limits don't count, nor does
    what is in the models' files.
    """
    base = run.config_path.parent if run.config_path else Path.cwd()
    repository = repository_of(run.config_path) if run.config_path else base
    # As paths are written: without following links.
    root = Path(os.path.normpath(base / os.path.relpath(repository, os.path.realpath(base))))
    models = [
        {
            each.name: _plain(getattr(model, each.name), base, root)
            for each in fields(model)
            if each.name not in _INDIFFERENT
        }
        for model in sorted(run.models, key=lambda model: model.model_name)
    ]
    return identity({"models": models, "fail_on_unverified": run.fail_on_unverified})


def _plain(value: object, base: Path, root: Path) -> Json:
    if isinstance(value, Path):
        return os.path.relpath(value, base) if value.is_relative_to(root) else str(value)
    if isinstance(value, tuple):
        return [_plain(each, base, root) for each in value]
    if isinstance(value, MetricFunction):
        return [_plain(value.path, base, root), value.function]
    return to_data(value)
