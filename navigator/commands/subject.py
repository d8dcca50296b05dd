"""What a command works on: a configuration or a model, by the same arguments and defaults for every command."""

import argparse
import itertools
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from navigator import config
from navigator.commands.parsers import DEFAULT_CONFIG
from navigator.config.paths import MOST_LOOKED_AT, instead
from navigator.errors import ConfigurationError
from navigator.records import Plan, RunConfig

if TYPE_CHECKING:
    from navigator.records import Host

_MOST_SUGGESTED = 3


def load(namespace: argparse.Namespace) -> RunConfig:
    """Load the configuration that the command line names, or that of the model that it names.

    FILE may be either; without it and without --config-path and --model-path it's ./navigator.yaml.

    Raises:
        ConfigurationError: it has problems, or the command line names nothing or two things.
    """
    overrides = config.overrides(namespace)
    path, file = overrides.pop("config_path", None), namespace.file
    if file is not None:
        require_file(file)
    if file is not None and config.is_model(file):
        if path is not None or "model_path" in overrides:
            other = "--config-path" if path is not None else "--model-path"
            raise ConfigurationError(f"{file} is a model, and {other} names another one", f"leave out {other}")
        overrides["model_path"] = str(file)
    elif file is not None:
        if path is not None:
            raise ConfigurationError(f"two configurations: {file} and --config-path {path}", "leave out one of them")
        path = file
    elif path is None and "model_path" not in overrides:
        if not Path(DEFAULT_CONFIG).is_file():
            raise _nothing_given(namespace.command)
        path = DEFAULT_CONFIG
    return config.load(
        Path(path) if path is not None else None,
        overrides,
        working_directory=Path.cwd(),
        allow_outside=namespace.allow_outside,
    )


def named(namespace: argparse.Namespace) -> str:
    """Return what the command works on as the user wrote it."""
    typed = vars(namespace)
    return str(namespace.file or typed.get("config_path") or typed.get("model_path") or DEFAULT_CONFIG)


def require_file(file: Path) -> None:
    """Raise `ConfigurationError` if a path can't be read, or leads nowhere, with what has nearly the same name."""
    try:
        file.lstat()
    except PermissionError as error:
        hint = "give this user access to the directories on its path"
        raise ConfigurationError(f"{file} can't be read: {error.strerror}", hint) from None
    except (OSError, ValueError):
        raise ConfigurationError(f"{file} does not exist", instead(file)) from None


def host_of(run: RunConfig) -> "Host":
    """Describe this machine, and its Docker daemon if a conversion may need it."""
    from navigator.host.describe import describe
    from navigator.plan.placement import needs_docker

    return describe(docker=any(needs_docker(model) for model in run.models))


def plan_of(run: RunConfig, host: "Host") -> Plan:
    """Return the whole plan of a run."""
    from navigator.plan.planner import plan

    return plan(run, host)


def chosen(plan: Plan, namespace: argparse.Namespace) -> Plan:
    """Return the part of a plan that the filters leave."""
    from navigator.plan.select import chosen

    return chosen(plan, models=namespace.models, conversions=namespace.conversions)


def _nothing_given(command: str) -> ConfigurationError:
    """Return that nobody said which model, with what is probably meant: the models of this directory."""
    found = list(map(shlex.quote, _models_here()))
    if len(found) == 1:
        hint = f"did you mean `model-navigator {command} {found[0]}`?"
    elif found:
        hint = (
            f"name one, such as `model-navigator {command} {found[0]}`, or write a configuration for several: "
            f"`model-navigator init {' '.join(found)}`"
        )
    else:
        hint = f"name a model: `model-navigator {command} FILE`, or write a configuration: `model-navigator init FILE`"
    return ConfigurationError(f"no model is given, and there's no {DEFAULT_CONFIG} in this directory", hint)


def _models_here() -> Iterator[str]:
    here = sorted(itertools.islice(Path().iterdir(), MOST_LOOKED_AT))
    models = (path for path in here if _is_plain(path.name) and config.has_model_suffix(path))
    yield from (str(path) for path in itertools.islice(models, _MOST_SUGGESTED))


def _is_plain(name: str) -> bool:
    """Return whether a file isn't hidden, and its name can be typed."""
    return name.isprintable() and not name.startswith(".")
