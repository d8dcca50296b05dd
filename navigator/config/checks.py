"""Checks canonical values against each other and the model: everything that a schema can't express. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from navigator.config.dtypes import canonical_dtype
from navigator.config.problems import Place, Problems, about
from navigator.config.schema import AUTO, flag, nearest
from navigator.config.values import WrittenPath
from navigator.errors import listed, quote
from navigator.models.declared import contradictions, written
from navigator.records import TEXT, Description, Format, TensorSpec

SAMPLES = ("samples", "calibration_samples")

_SIGNATURE = ("inputs", "outputs")
_SHAPES = ("min_shapes", "opt_shapes", "max_shapes")
_OF_INPUTS = (*_SHAPES, "value_ranges", "dtypes")
_STORES_NAMES = (Format.ONNX, Format.TF_SAVEDMODEL)
_OF_OUTPUTS = ("atol", "rtol", "fp16_atol", "fp16_rtol", "int8_atol", "int8_rtol", "states", "scores")


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """The canonical value of an option, where it is, and where its parts are."""

    key: str
    data: Any
    place: Place
    places: Mapping[WrittenPath, Place]

    @property
    def subject(self) -> str:
        return self.key if self.place.path else flag(self.key)

    def at(self, *path: str | int) -> Place:
        """Return the place of a part, or of the nearest value around it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places[path] if path else self.place


Values = Mapping[str, Value]


def check_model(values: Values, problems: Problems, stored: Description | None = None) -> None:
    """Report values of one model that contradict each other, or what its file stores, as far as that was read."""
    inputs, outputs = inputs_of(values, stored), _declared(values, "outputs")
    source = "stored in the model" if _declared(values, "inputs") is None else "declared in 'inputs'"
    if outputs is None and stored is not None:
        outputs = _by_name(stored.outputs)
    if stored is not None and stored.model_format in _STORES_NAMES:
        _check_declared(values, "inputs", stored.inputs, problems)
        _check_declared(values, "outputs", stored.outputs, problems)
    _check_names(values, inputs, _OF_INPUTS, "input", problems)
    _check_names(values, outputs, _OF_OUTPUTS, "output", problems)
    _check_order(values, problems)
    for key in _SHAPES:
        _check_against_inputs(values, key, inputs, source, problems)
    _check_ranges(values, problems)
    _check_gpus(values, problems)


def check_run(
    run: Values,
    run_data: Mapping[str, Any],
    models: Sequence[Values],
    data: Sequence[Mapping[str, Any]],
    problems: Problems,
) -> None:
    """Report models of a run that overwrite each other, and a workspace that can't be cleaned.

    Args:
        run: the options of the run.
        run_data: the same as data, with absolute paths.
        models: the options of each model.
        data: the same as data, with absolute paths.
        problems: collects the problems.
    """
    for key, same in (("model_name", str.casefold), ("output_path", str)):
        first: dict[str, Value] = {}
        shared = Counter(id(each[key]) for each in models if key in each)
        for values, each in zip(models, data, strict=True):
            # A value from the command line applies to all models; that has a problem of its own.
            if key not in each or key not in values or values[key].place.path is None:
                continue
            value = values[key]
            known = first.setdefault(same(each[key]), value)
            if known is not value or shared[id(value)] > 1:
                where = f" (see line {known.place.line})" if known.place.line and known is not value else ""
                text = f"{value.subject}: {quote(str(value.data))} is used by two models{where}"
                problems.add(value.place, text, f"give each model its own {key}")
    for values, each in zip(models, data, strict=True):
        if "output_path" in values and each.get("output_path") == each.get("model_path", ""):
            value = values["output_path"]
            problems.add(value.place, f"{value.subject}: would overwrite the source model", "choose another path")
    _check_overwriting(run_data, models, data, problems)
    if "override_workspace" in run and run["override_workspace"].data:
        _check_cleaning(run, run_data, data, problems)


def _check_overwriting(
    run_data: Mapping[str, Any], models: Sequence[Values], data: Sequence[Mapping[str, Any]], problems: Problems
) -> None:
    """Report a source model that this run would overwrite, such as a converted model of an earlier run."""
    converted = f"{run_data['workspace_path']}/converted/"
    written = {each["model_name"] for each in data if each.get("model_name")}
    for values, each in zip(models, data, strict=True):
        path = str(each.get("model_path", ""))
        name = path.removeprefix(converted).partition("/")[0] if path.startswith(converted) else ""
        if name in written:
            value = values["model_path"]
            text = f"{value.subject}: the source model is in {converted}{name}, which this run overwrites"
            problems.add(value.place, text, "move the model, or choose another model_name or workspace_path")


def _check_cleaning(
    run: Values, run_data: Mapping[str, Any], data: Sequence[Mapping[str, Any]], problems: Problems
) -> None:
    workspace = run_data["workspace_path"]
    needed = [each[key] for each in data for key in ("model_path", "config_path") if each.get(key)]
    needed += [sample for each in data for key in SAMPLES for sample in each.get(key, ())]
    for path in sorted(set(needed)):
        if path.is_relative_to(workspace):
            value = run["override_workspace"]
            text = f"{value.subject}: cleaning the workspace {workspace} would delete {path}"
            problems.add(value.place, text, "move it, or choose another workspace_path")


def check_arguments(values: Values, source: str | None, problems: Problems) -> None:
    """Report arguments of a model of a format that has none."""
    value = values.get("arguments")
    if value is not None and value.data and source not in (None, Format.TORCHSCRIPT):
        text = f"{value.subject}: only TorchScript modules take them, and this model is {source}"
        problems.add(value.place, text, "remove it")


def check_texts(values: Values, source: str | None, problems: Problems) -> None:
    """Report text that can't be an input of a model of its format, and text that is an output."""
    behind = "convert only the part of the model behind its text processing, which has inputs of numbers"
    for value in _present(values, (*_SIGNATURE, "dtypes")):
        dtypes = value.data if value.key == "dtypes" else {each["name"]: each["dtype"] for each in value.data}
        for index, (name, dtype) in enumerate(dtypes.items()):
            place = value.at(name if value.key == "dtypes" else index)
            if dtype != TEXT:
                continue
            if value.key == "outputs":
                text = f"{about(name)}text is compared by bits of a digest, and has no shape to declare"
                problems.add(place, f"{value.subject}: {text}", f"remove {quote(name)} from outputs")
            elif source not in (None, Format.ONNX):
                text = f"{about(name)}only ONNX models take text, and this model is {source}"
                problems.add(place, f"{value.subject}: {text}", behind)


def says_of_tensors(values: Values) -> bool:
    """Return whether any value is about inputs or outputs by name."""
    return any(value.data not in ({}, [], AUTO) for value in _present(values, (*_SIGNATURE, *_OF_INPUTS, *_OF_OUTPUTS)))


def inputs_of(values: Values, stored: Description | None) -> Mapping[str, Any] | None:
    """Return the declared inputs by name, or else those that the model's file stores; None if neither is known."""
    declared = _declared(values, "inputs")
    return declared if declared is not None or stored is None else _by_name(stored.inputs)


def _declared(values: Values, key: str) -> Mapping[str, Any] | None:
    if key not in values or not values[key].data:
        return None
    return {tensor["name"]: tensor for tensor in values[key].data}


def _by_name(specs: Sequence[TensorSpec] | None) -> Mapping[str, Any] | None:
    """Return what was read; None also if that's nothing, which no model has that can be converted."""
    return {spec.name: {"name": spec.name, "shape": spec.shape} for spec in specs or ()} or None


def _check_declared(values: Values, key: str, own: Sequence[TensorSpec] | None, problems: Problems) -> None:
    """Report declared tensors that the model doesn't have, or has with another type or shape."""
    if not own or key not in values:
        return
    value = values[key]
    declared = [TensorSpec(**each) for each in value.data]
    known = [replace(each, dtype=canonical_dtype(each.dtype) or "") for each in own]
    if key == "outputs":  # the file may be wrong about their shapes, which only a run tells
        known = [replace(each, shape=None) for each in known]
    for name, text in contradictions(key, declared, known).items():
        hint = f"remove {key}, or set `{key}: {written(own)}`"
        problems.add(value.at([each.name for each in declared].index(name)), f"{value.subject}: {text}", hint)


def _check_names(
    values: Values, declared: Mapping[str, Any] | None, keys: Sequence[str], kind: str, problems: Problems
) -> None:
    if declared is None:
        return
    known = list(declared)
    for value in _present(values, keys):
        for name in value.data if value.data != AUTO else ():
            if not name or name in declared:
                continue
            meant = nearest(name, known)
            hint = f"did you mean {quote(meant)}?" if meant else f"the model's {kind}s are {listed(known)}"
            problems.add(value.at(name), f"{value.subject}: the model has no {kind} {quote(name)}", hint)


def _check_order(values: Values, problems: Problems) -> None:
    """Report minimum, optimum and maximum shapes that are not in this order."""
    present = list(_present(values, _SHAPES))
    pairs = [(small, large) for i, small in enumerate(present) for large in present[i + 1 :]]
    told: set[str] = set()
    for small, large in pairs:
        for name, shape in large.data.items():
            other = small.data.get(name)
            if other is None or name in told:
                continue
            text = ""
            if len(other) != len(shape):
                text = f"expected {_axes(len(other))} as in {small.subject}, got {len(shape)}"
                hint = "give both the same number of axes"
            elif any(low > high for low, high in zip(other, shape, strict=True)):
                axis = next(i for i, (low, high) in enumerate(zip(other, shape, strict=True)) if low > high)
                text = f"axis {axis} is {shape[axis]}, less than {other[axis]} in {small.subject}"
                hint = "sizes must not decrease from min_shapes to opt_shapes to max_shapes"
            if text:
                told.add(name)
                problems.add(large.at(name), f"{large.subject}: {about(name)}{text}", hint)


def _check_against_inputs(
    values: Values, key: str, inputs: Mapping[str, Any] | None, source: str, problems: Problems
) -> None:
    if inputs is None or key not in values:
        return
    value = values[key]
    for name, shape in value.data.items():
        known = inputs[name]["shape"] if name in inputs else None
        if known is None:
            continue
        if len(known) != len(shape):
            text = f"expected {_axes(len(known))} as {source} ({list(known)}), got {len(shape)}"
            problems.add(value.at(name), f"{value.subject}: {about(name)}{text}", "include the batch axis in both")
            continue
        for axis, (fixed, size) in enumerate(zip(known, shape, strict=True)):
            if fixed not in (-1, size):
                text = f"expected size {fixed} on axis {axis} as {source}, got {size}"
                is_declared = "inputs" in values and values["inputs"].data
                hint = f"write {fixed}, or -1 in 'inputs' if the axis is dynamic" if is_declared else f"write {fixed}"
                problems.add(value.at(name), f"{value.subject}: {about(name)}{text}", hint)


def _check_ranges(values: Values, problems: Problems) -> None:
    for value in _present(values, ["value_ranges"]):
        for name, (low, high) in value.data.items():
            if low > high:
                start = about(name)
                text = f"{value.subject}: {start}the lowest value, {low:g}, is greater than the highest, {high:g}"
                problems.add(value.at(name), text, "swap them")


def _check_gpus(values: Values, problems: Problems) -> None:
    for value in _present(values, ["gpus"]):
        kinds = {"all" if gpu == "all" else "id" if gpu.isdigit() else "uuid" for gpu in value.data}
        if len(kinds) > 1:
            text = f"{value.subject}: 'all', device ids and UUIDs can't be mixed"
            problems.add(value.place, text, "use only one kind")


def _axes(number: int) -> str:
    return "1 axis" if number == 1 else f"{number} axes"


def _present(values: Values, keys: Sequence[str]) -> Iterator[Value]:
    return (values[key] for key in keys if key in values)
