"""Turns a navigator.yaml and the command line into a `RunConfig`, or reports all of their problems at once.

Decides which value takes precedence and what relative paths are relative to. Imports no framework and no numpy.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from navigator.config import paths
from navigator.config.checks import (
    SAMPLES,
    Value,
    check_arguments,
    check_model,
    check_run,
    check_texts,
    inputs_of,
    says_of_tensors,
)
from navigator.config.given_files import check_plugins, check_samples
from navigator.config.metric import check_metric, split
from navigator.config.model_format import DeclaredFormatError, Found, look
from navigator.config.onnx_versions import check_versions
from navigator.config.problems import COMMAND_LINE, Place, Problems
from navigator.config.schema import MODEL, RUN, flag, flow, options
from navigator.config.sections import Section, entries_of, read_overrides, read_section, unused
from navigator.config.subject import model_name
from navigator.config.written import Context, read_file
from navigator.config.yaml_nodes import read_yaml
from navigator.errors import ConfigurationError, quote
from navigator.models import structure
from navigator.models.files import problems as model_problems
from navigator.records import Description, Format, RunConfig, from_data

# Options that can't apply to several models.
_ONE_MODEL_ONLY = ("model_name", "model_path", "output_path", "inputs", "outputs")
_WRITTEN = ("workspace_path", "cache_path", "output_path", "output_package")
_SIGNATURE = ("inputs", "outputs")
_WITHOUT_SIGNATURE = (Format.TORCHSCRIPT, Format.TORCH_TRT)


def load(
    config_path: Path | None,
    overrides: Mapping[str, Any],
    *,
    working_directory: Path,
    allow_outside: bool = False,
) -> RunConfig:
    """Return the configuration with every default applied, every path absolute and every format known.

    Args:
        config_path: a navigator.yaml, or None if the command line has all options.
        overrides: options of the command line, see `navigator.config.overrides`; they take precedence over the file.
        working_directory: what relative paths of the command line are relative to.
        allow_outside: let the file name files and directories outside its repository.

    Raises:
        InvalidConfigurationError: with every problem of the file and the command line.
    """
    working_directory = working_directory.absolute()
    problems = Problems()
    path = None if config_path is None else paths.absolute(str(config_path), working_directory)
    context = Context(
        working_directory=working_directory,
        config_path=path,
        repository=None if path is None or allow_outside else paths.repository_of(path),
        problems=problems,
    )
    typed = read_overrides(overrides, problems)
    written = read_file(context)
    if len(written.models) > 1:
        for key in typed.values:
            if key in _ONE_MODEL_ONLY:
                text = f"{flag(key)}: applies to one model, but {config_path} has {len(written.models)}"
                problems.add(COMMAND_LINE, text, f"set {key} in the file, for the model that it applies to")
    run = typed.over(written.run).only(RUN)
    run_data = _with_paths(context, run.values)
    run_data.setdefault("workspace_path", working_directory / options()["workspace_path"].default)
    models = [
        (_named(values.only(MODEL), place), place) for place, values in ((p, typed.over(s)) for p, s in written.models)
    ]
    model_data = [_resolve(context, place, given) for given, place in models]
    if not allow_outside:
        repository = paths.repository_of(path or working_directory / "navigator.yaml")
        sections = (run, *(given for given, _ in models))
        for section, data in zip(sections, (run_data, *model_data), strict=True):
            _check_links(section, data, repository, problems)
    check_run(run.values, run_data, [given.values for given, _ in models], model_data, problems)
    problems.check()
    notes = unused([given.values for given, _ in models])
    return from_data(RunConfig, {**run_data, "config_path": path, "models": model_data, "notes": notes})


def _check_links(given: Section, data: Mapping[str, Any], repository: Path, problems: Problems) -> None:
    """Report what would be written through a link out of the repository, also where nobody named it."""
    for key in _WRITTEN:
        why = paths.leads_outside(data[key], repository) if key in data else None
        if why is not None:
            place = given.values[key].place if key in given.values else COMMAND_LINE
            problems.add(place, f"{key}: {why[0]}", why[1])


def _resolve(context: Context, place: Place, given: Section) -> dict[str, Any]:
    """Find the model's format and signature, check its values, and return its record's data."""
    values = given.values
    # Without a file, the name follows from the path.
    required = ("model_name", "model_path") if place.path is not None else ("model_path",)
    for key in required:
        if key not in values and key not in given.wrong:
            _note_absent(context, place, key)
    data = _with_paths(context, values)
    found = _detect(context, values, data)
    data["model_format"] = source = None if found is None else found.model_format
    known = {**_annotation(context, values, data, source), **values}
    data.update({key: known[key].data for key in _SIGNATURE if key in known})
    stored = _stored(context, values, data)
    check_model(known, context.problems, stored)
    check_arguments(known, source, context.problems)
    check_texts(known, source, context.problems)
    for key in SAMPLES:
        if key in values and len(data[key]) == len(values[key].data):
            inputs, labelled = inputs_of(known, stored), "metric" in data
            check_samples(values[key], data[key], inputs, context.problems, labelled=labelled)
    if "tensorrt_plugins" in values:
        check_plugins(values["tensorrt_plugins"], data["tensorrt_plugins"], context.problems)
    check_metric(values, data, context.problems)
    check_versions(values, data, found, context.problems)
    return {**data, "line": place.line, "config_path": None if place.path is None else context.config_path}


def _named(given: Section, place: Place) -> Section:
    """Return the options of a model, with a name after its file if no configuration has to name it."""
    if place.path is not None or "model_name" in given.values or "model_path" not in given.values:
        return given
    name = model_name(Path(given.values["model_path"].data))
    value = Value(key="model_name", data=name, place=COMMAND_LINE, places={})
    return Section(values={"model_name": value, **given.values}, wrong=given.wrong)


def _note_absent(context: Context, place: Place, key: str) -> None:
    example = flow(options()[key].example)
    if place.path is None:
        hint = f"write e.g. {flag(key)} {example}, or name a file with --config-path"
        context.problems.add(place, f"{flag(key)} is required", hint)
    else:
        hint = f"write e.g. '{key}: {example}', or pass {flag(key)} on the command line"
        context.problems.add(place, f"{key} is required", hint)


def _with_paths(context: Context, values: Mapping[str, Value]) -> dict[str, Any]:
    """Return the values as data, with absolute paths; report and leave out those that a file may not name."""
    data = {}
    for key, value in values.items():
        data[key] = value.data
        notation = options()[key].notation
        if notation == "path" and value.data is not None:
            data[key] = _absolute(context, value, value.data, value.place)
        elif notation == "function" and value.data is not None:
            text, function = split(value.data)
            path = _absolute(context, value, text, value.place)
            data[key] = {"path": path, "function": function} if path is not None else None
        elif notation == "paths":
            found = [_absolute(context, value, text, value.at(i)) for i, text in enumerate(value.data)]
            data[key] = [each for each in found if each is not None]
    return {key: each for key, each in data.items() if each is not None}


def _absolute(context: Context, value: Value, text: str, place: Place) -> Path | None:
    start = context.start(place)
    if place.path is not None and context.repository is not None:
        why = paths.outside(text, start, context.repository, written=value.key in _WRITTEN, real=context.real)
        if why is not None:
            context.problems.add(place, f"{value.subject}: {why[0]}", why[1])
            return None
    return paths.absolute(text, start)


def _detect(context: Context, values: Mapping[str, Value], data: Mapping[str, Any]) -> Found | None:
    """Return what the model's file tells, its format above all, or report why that can't be inferred."""
    if "model_path" not in data:
        return None
    declared = Format(data["model_format"]) if "model_format" in data else None
    path = data["model_path"]
    try:
        found = look(path, declared)
    except ConfigurationError as error:
        blamed = values["model_format" if isinstance(error, DeclaredFormatError) else "model_path"]
        context.problems.add(blamed.place, f"{blamed.subject}: {error.message}", error.hint)
        return None
    value = values["model_path"]
    for message, hint in model_problems(path, found.model_format):
        context.problems.add(value.place, f"{value.subject}: {message}", hint)
    return found


def _stored(context: Context, values: Mapping[str, Value], data: Mapping[str, Any]) -> Description | None:
    """Return what the file says of its inputs and outputs, if anybody asks; report a signature that isn't there."""
    source = data["model_format"]
    if source is None or not (
        source is Format.TF_SAVEDMODEL or says_of_tensors(values) or any(key in values for key in SAMPLES)
    ):
        return None
    try:
        return structure.read(data["model_path"], source, data.get("signature_name"), operators=False)
    except structure.SignatureError as error:
        value = values["signature_name" if data.get("signature_name") else "model_path"]
        hint = error.advice("signature_name" if value.place.path else flag("signature_name"))
        context.problems.add(value.place, f"{value.subject}: {error.message}", hint)
    except ConfigurationError as error:
        value = values["model_path"]
        context.problems.add(value.place, f"{value.subject}: {error.message}", error.hint)
    except OSError:  # the run tells which
        pass
    return None


def _annotation(
    context: Context, values: Mapping[str, Value], data: Mapping[str, Any], source: Format | None
) -> Mapping[str, Value]:
    """Return the signature in `{model_path}.yaml`, for formats that do not store it."""
    if source not in _WITHOUT_SIGNATURE or all(key in values for key in _SIGNATURE):
        return {}
    beside = f"{data['model_path']}.yaml"
    if not paths.is_file(beside) or (path := Path(beside)) == context.config_path:
        return {}
    problems, shown = context.problems, paths.shown(path, context.working_directory)
    if values["model_path"].place.path is not None and context.repository is not None:
        why = paths.outside(str(path), path.parent, context.repository, written=False, real=context.real)
        if why is not None:
            problems.add(Place(path=shown), *why)
            return {}
    others = {
        key: (f"{quote(key)} is not allowed in an annotation file", "move it to navigator.yaml or the command line")
        for key in options()
        if key not in _SIGNATURE
    }
    entries = entries_of(read_yaml(path, shown, problems), "an annotation file", problems)
    return read_section(entries, problems, forbidden=others).values
