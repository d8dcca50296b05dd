"""Reads what a navigator.yaml holds: one model or several, each with its options and places. Checks no values."""

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from navigator.config import paths
from navigator.config.foreign import is_readable_model, why_foreign
from navigator.config.problems import COMMAND_LINE, Place, Problems
from navigator.config.sections import FORMS, Section, beside_models, entries_of, misplaced_in_model, read_section
from navigator.config.subject import CONFIGURATION, is_model
from navigator.config.values import is_null, kind
from navigator.config.yaml_nodes import Entries, Entry, Items, Node, read_yaml

_INSTEAD = "name a navigator.yaml, or write one for a model: `model-navigator init MODEL`"


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """Where a configuration is.

    `config_path` is None if there is no file; `repository` is None then too, and if the file may name paths outside.
    `real` returns where the links of a directory lead, which it looks up once.
    """

    working_directory: Path
    config_path: Path | None
    repository: Path | None
    problems: Problems
    real: Callable[[str], str] = field(default_factory=lambda: cache(os.path.realpath))

    def start(self, place: Place) -> Path:
        """Return the directory that a relative path written at `place` starts from."""
        if place.path is None or self.config_path is None:
            return self.working_directory
        return self.config_path.parent


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """The content of a file: the options of the run, and those of each model with the place where it starts."""

    run: Section
    models: Sequence[tuple[Place, Section]] = ()


def read_file(context: Context) -> Written:
    """Read the file. No file is the same as a file with one model without options."""
    path, problems = context.config_path, context.problems
    if path is None:
        return Written(run=Section(), models=[(COMMAND_LINE, Section())])
    shown = paths.shown(path, context.working_directory)
    node = _read(path, shown, problems)
    if node is None:
        return Written(run=Section())
    entries = entries_of(node, "the file", problems)
    if any(entry.key in FORMS for entry in entries):
        return _several(node, {entry.key: entry for entry in entries}, problems)
    if not isinstance(node, Entries):
        return Written(run=Section())
    section = read_section(entries, problems)
    return Written(run=section, models=[(node.place, section)])


def _read(path: Path, shown: Path, problems: Problems) -> Node | None:
    """Return what a file holds, or report that it's something else than a configuration."""
    whole = Place(path=shown)
    if is_model(path) and is_readable_model(path):
        hint = f"run `model-navigator convert {shlex.quote(str(shown))}`, or name a navigator.yaml that describes it"
        problems.add(whole, "this is a model, not a configuration", hint)
        return None
    if path.is_dir():
        inside = path / CONFIGURATION
        hint = f"did you mean {shown / CONFIGURATION}?" if inside.is_file() else _INSTEAD
        problems.add(whole, "this is a directory, not a navigator.yaml", hint)
        return None
    found = Problems()
    node = read_yaml(path, shown, found)
    if why := why_foreign(path, node, found):
        problems.add(whole, f"this isn't a navigator.yaml: {why}", _INSTEAD)
        return None
    problems.extend(found)
    return node


def _several(node: Node, entries: Mapping[str, Entry], problems: Problems) -> Written:
    """Read the form with `models` and `defaults`."""
    for key, entry in entries.items():
        if key not in FORMS:
            beside_models(entry, problems)
    defaults = Section()
    if "defaults" in entries and not is_null(entries["defaults"].value):
        defaults = read_section(entries_of(entries["defaults"].value, "'defaults'", problems), problems)
    if "models" not in entries:
        problems.add(node.place, "'models' is required with 'defaults'", "list the models under 'models'")
        return Written(run=defaults)
    models = entries["models"].value
    if not isinstance(models, Items) or not models.nodes:
        got = "nothing" if is_null(models) or isinstance(models, Items) else kind(models)
        text = f"'models': expected a list of models, got {got}"
        problems.add(entries["models"].place, text, "start each model with '- model_name: ...'")
        return Written(run=defaults)
    forbidden = misplaced_in_model()
    found = []
    for each in models.nodes:
        own = read_section(entries_of(each, "a model", problems), problems, forbidden=forbidden)
        if isinstance(each, Entries):
            found.append((each.place, own.over(defaults)))
    return Written(run=defaults, models=found)
