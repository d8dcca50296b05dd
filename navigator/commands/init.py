"""`model-navigator init`: writes a navigator.yaml for models, and a workflow. Overwrites nothing."""

import argparse
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from navigator import __version__, config
from navigator.commands.inspect import inspected
from navigator.commands.parsers import DEFAULT_CONFIG, PROGRAM
from navigator.commands.subject import require_file
from navigator.config.paths import outside, repository_of
from navigator.errors import ConfigurationError, ExitCode, FileError, StepError
from navigator.frameworks.availability import REPOSITORY
from navigator.records import Description
from navigator.render.streams import write
from navigator.render.text import clean

if TYPE_CHECKING:
    from navigator.render.configuration import Starter

_WORKFLOW = Path(".github/workflows/models.yml")
_TEMPLATE = Path(__file__).parent / "models.yml"
_LOOK_SECONDS = 60.0

# Not the path of the installed one: the file is committed, and means nothing on another machine then.
_SCHEMA = (
    f"https://raw.githubusercontent.com/{REPOSITORY}/v{__version__.partition('.')[0]}/schemas/navigator.schema.json"
)


def run(namespace: argparse.Namespace, _arguments: list[str]) -> ExitCode:
    """Write what is asked for, or nothing, and say what to run next."""
    output: Path = namespace.output
    if not namespace.models and not (namespace.workflow and output.is_file()):
        raise ConfigurationError("no model is given", f"for example: {PROGRAM} init model.onnx")
    workflow = _workflow_path(output) if namespace.workflow else None
    for path in filter(None, (output if namespace.models else None, workflow)):
        if os.path.lexists(path):
            hint = "edit it, or name another file with --output" if path == output else "edit it, or remove it first"
            if path == output and workflow is not None:
                hint = "edit it, and leave out the models to write the workflow alone"
            raise ConfigurationError(f"{path} exists already, and nothing was written", hint)
    texts = {output: _configuration(namespace.models, output)} if namespace.models else {}
    if workflow is not None:
        texts[workflow] = _workflow(output)
    _write(texts)
    try:
        config.load(output, {}, working_directory=Path.cwd())
    except ConfigurationError:
        for path in texts:
            path.unlink(missing_ok=True)
        raise
    option = "" if output == Path(DEFAULT_CONFIG) else f" {shlex.quote(str(output))}"
    written = "".join(f"{path}: written\n" for path in texts)
    steps = {
        f"{PROGRAM} plan{option}": "show what will be converted",
        f"{PROGRAM} convert{option}": "convert and verify",
    }
    width = max(map(len, steps))
    write(written + "next:\n" + "".join(f"  {each:{width}}   # {what}\n" for each, what in steps.items()), sys.stdout)
    return ExitCode.OK


def _workflow_path(output: Path) -> Path:
    """Return where GitHub looks for workflows, as a user in this directory would write it."""
    path = repository_of(output.absolute()) / _WORKFLOW
    here = Path(os.path.realpath(Path.cwd()))
    return path.relative_to(here) if path.is_relative_to(here) else path


def _workflow(output: Path) -> str:
    """Return the README's workflow for a configuration, whose place is relative to the repository."""
    place = os.path.relpath(os.path.realpath(output), repository_of(output.absolute()))
    return _TEMPLATE.read_text(encoding="utf-8").replace(f"config: {DEFAULT_CONFIG}", f"config: {place}")


def _configuration(models: list[Path], output: Path) -> str:
    from navigator.render.configuration import starter

    for path in models:
        require_file(path)
        _require_inside(path, output)
    names: set[str] = set()
    found = []
    for path in models:
        described = inspected(path, None, timeout_seconds=_LOOK_SECONDS)
        name = config.model_name(path)
        number = 2
        while name.casefold() in names:
            name, number = f"{config.model_name(path)}_{number}", number + 1
        names.add(name.casefold())
        relative = os.path.relpath(path, output.parent)
        if relative.encode(errors="replace").decode() != relative:
            raise ConfigurationError(f"{path} has a name that isn't UTF-8, as YAML is", "rename it")
        found.append(_starter(name, relative, described, path))
    return starter(found, schema=_SCHEMA)


def _require_inside(model: Path, output: Path) -> None:
    """Raise `ConfigurationError` if `output` may not name a model, before the model is run for a minute."""
    directory, repository = Path(os.path.realpath(output.parent)), repository_of(output.absolute())
    if outside(os.path.relpath(model, output.parent), directory, repository, written=False):
        raise ConfigurationError(
            f"{model} is outside {repository}, and {output} may only name files inside",
            "move it there, or write the configuration next to it, with --output",
        )


def _starter(name: str, relative: str, described: Description, path: Path) -> "Starter":
    """Return what a configuration begins with: what the file says, and what running the model shows beside it."""
    from navigator.host.limits import available_memory_bytes
    from navigator.render.configuration import Starter
    from navigator.samples.found import block
    from navigator.workers.inspection import found

    model = config.load(None, {"model_path": str(path)}, working_directory=Path.cwd()).models[0]
    lines: tuple[str, ...] = ()
    write(f"{clean(str(path))}: looking for the shapes that it runs in\n", sys.stderr)
    try:
        shapes = found(model, timeout_seconds=_LOOK_SECONDS, memory_bytes=int(available_memory_bytes() * 0.9))
    except StepError as error:
        why = tuple(filter(None, (f"not found by running it: {error.message}", error.hint)))
    else:
        lines, why = (tuple(block(shapes)), shapes.why) if shapes is not None else ((), ())
        if shapes is not None and shapes.inputs:
            described = replace(described, inputs=shapes.inputs)
    return Starter(name=name, path=relative, description=described, found=lines, why=why)


def _write(texts: dict[Path, str]) -> None:
    """Write files that aren't there yet, or none of them."""
    made: list[Path] = []
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                made.append(path)
                file.write(text)
    except OSError as error:
        for path in made:
            path.unlink(missing_ok=True)
        hint = "name a file in a writable directory with --output"
        raise FileError(f"{path} can't be written: {error.strerror or error}", hint) from error
