"""What identifies a configuration: whatever decides which conversions are made, and what they must match."""

import os
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from functools import partial
from pathlib import Path

from navigator.cache.digests import identity
from navigator.config.paths import repository_of
from navigator.records import Json, MetricFunction, RunConfig, to_data

# Where things are said to be, and where copies go.
_INDIFFERENT = frozenset({"config_path", "line", "output_path", "output_package"})

# What results say elsewhere: the model itself by its digest.
_TOLD_ELSEWHERE = _INDIFFERENT | {"model_name", "model_path", "model_format"}


def digest(run: RunConfig) -> str:
    """Return the SHA-256 of the canonical JSON of a configuration with every default applied.

    It's the same on every machine, in every checkout and in any notation: paths inside the repository count relative to
    the configuration, or to the working directory without one. Cache, workspace, jobs and limits don't count, nor does
    what is in the models' files.
    """
    plain = _relative_to_configuration(run)
    models = [
        {each.name: plain(getattr(model, each.name)) for each in fields(model) if each.name not in _INDIFFERENT}
        for model in sorted(run.models, key=lambda model: model.model_name)
    ]
    return identity({"models": models, "fail_on_unverified": run.fail_on_unverified})


def options(run: RunConfig) -> dict[str, Mapping[str, Json]]:
    """Return the options of each model that differ from their defaults, without those that say where things are.

    They're the same on every machine and in any notation, as for `digest`.
    """
    plain = _relative_to_configuration(run)
    return {
        model.model_name: {
            each.name: plain(getattr(model, each.name))
            for each in fields(model)
            if each.name not in _TOLD_ELSEWHERE and getattr(model, each.name) != _default(each)
        }
        for model in run.models
    }


def _default(option: "Field[object]") -> object:
    return option.default_factory() if option.default_factory is not MISSING else option.default


def _relative_to_configuration(run: RunConfig) -> Callable[[object], Json]:
    base = run.config_path.parent if run.config_path else Path.cwd()
    repository = repository_of(run.config_path) if run.config_path else base
    # As paths are written: without following links.
    root = Path(os.path.normpath(base / os.path.relpath(repository, os.path.realpath(base))))
    return partial(_plain, base=base, root=root)


def _plain(value: object, base: Path, root: Path) -> Json:
    if isinstance(value, Path):
        return os.path.relpath(value, base) if value.is_relative_to(root) else str(value)
    if isinstance(value, Mapping):
        # As it's read back: with lists instead of tuples.
        return {key: _plain(each, base, root) for key, each in value.items()}
    if isinstance(value, tuple):
        return [_plain(each, base, root) for each in value]
    if isinstance(value, MetricFunction):
        return f"{_plain(value.path, base, root)}:{value.function}"
    data = to_data(value)
    # A record's own tuples are still tuples.
    return _plain(data, base, root) if isinstance(data, dict | tuple) else data
