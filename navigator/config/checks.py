"""What the values of one model must be to each other: everything that a schema cannot say.

Pure except for a look at the user's sample files; gets canonical values with their places.
"""

import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from navigator.config.problems import Place, Problems, about, quote
from navigator.config.schema import flag, nearest
from navigator.config.values import WrittenPath

_SHAPES = ("min_shapes", "opt_shapes", "max_shapes")
_OF_INPUTS = (*_SHAPES, "value_ranges", "dtypes")
_OF_OUTPUTS = ("atol", "rtol", "fp16_atol", "fp16_rtol", "int8_atol", "int8_rtol")
_NPY = b"\x93NUMPY"


@dataclass(frozen=True, kw_only=True, slots=True)
class Value:
    """An option's canonical value, where it stands, and where its parts stand."""

    key: str
    data: Any
    place: Place
    places: Mapping[WrittenPath, Place]

    @property
    def subject(self) -> str:
        return self.key if self.place.path else flag(self.key)

    def at(self, *path: str | int) -> Place:
        """Return the place of a part, or of the nearest thing around it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places[path] if path else self.place


Values = Mapping[str, Value]


def check_model(values: Values, problems: Problems) -> None:
    """Note what is wrong between the values of one model."""
    inputs, outputs = _declared(values, "inputs"), _declared(values, "outputs")
    _check_names(values, inputs, _OF_INPUTS, "input", problems)
    _check_names(values, outputs, _OF_OUTPUTS, "output", problems)
    _check_order(values, problems)
    for key in _SHAPES:
        _check_against_inputs(values, key, inputs, problems)
    _check_ranges(values, problems)
    _check_gpus(values, problems)


def check_samples(value: Value, paths: Sequence[Path], inputs: Mapping[str, Any] | None, problems: Problems) -> None:
    """Note what is wrong with the user's sample files.

    Args:
        value: the option `samples`, for places.
        paths: its files, absolute.
        inputs: the declared inputs by name, None where they are not declared.
        problems: takes what is wrong.
    """
    for position, path in enumerate(paths):
        for message, hint in _sample_problems(path, inputs):
            problems.add(value.at(position), f"{value.subject}: {path} {message}", hint)


def check_plugins(value: Value, paths: Sequence[Path], problems: Problems) -> None:
    """Note which of the plugin libraries are not there; `value` is the option, for places."""
    for position, path in enumerate(paths):
        if not path.is_file():
            hint = "build it first, or correct the path"
            problems.add(value.at(position), f"{value.subject}: {path} does not exist", hint)


def check_run(
    run: Values,
    run_data: Mapping[str, Any],
    models: Sequence[Values],
    data: Sequence[Mapping[str, Any]],
    problems: Problems,
) -> None:
    """Note where the models of a run get in each other's way, or a workspace to be cleaned holds what is needed.

    Args:
        run: the options of the run.
        run_data: the same as plain data with absolute paths.
        models: the options of each model.
        data: the same as plain data with absolute paths.
        problems: takes what is wrong.
    """
    for key, same in (("model_name", str.casefold), ("output_path", str)):
        first: dict[str, Value] = {}
        shared = Counter(id(each[key]) for each in models if key in each)
        for values, each in zip(models, data, strict=True):
            # The command line's is one for all models, which has its own problem.
            if key not in each or key not in values or values[key].place.path is None:
                continue
            value = values[key]
            known = first.setdefault(same(each[key]), value)
            if known is not value or shared[id(value)] > 1:
                where = f" (line {known.place.line})" if known.place.line and known is not value else ""
                text = f"{value.subject}: {quote(str(value.data))} is used by two models{where}"
                problems.add(value.place, text, "give each model its own")
    for values, each in zip(models, data, strict=True):
        if "output_path" in values and each.get("output_path") == each.get("model_path", ""):
            value = values["output_path"]
            problems.add(value.place, f"{value.subject}: would overwrite the model", "choose another path")
    _check_overwriting(run_data, models, data, problems)
    if "override_workspace" in run and run["override_workspace"].data:
        _check_cleaning(run, run_data, data, problems)


def _check_overwriting(
    run_data: Mapping[str, Any], models: Sequence[Values], data: Sequence[Mapping[str, Any]], problems: Problems
) -> None:
    """Note a source model, such as an artifact of an earlier run, in the place of an artifact of this run."""
    converted = Path(run_data["workspace_path"]) / "converted"
    written = {converted / each["model_name"] for each in data if each.get("model_name")}
    for values, each in zip(models, data, strict=True):
        path = Path(each.get("model_path", ""))
        place = next((ours for ours in (path, *path.parents) if ours in written), None)
        if place is not None:
            value = values["model_path"]
            text = f"{value.subject}: the model lies in {place}, where this run writes its own"
            problems.add(value.place, text, "move it, or choose another model_name or workspace_path")


def _check_cleaning(
    run: Values, run_data: Mapping[str, Any], data: Sequence[Mapping[str, Any]], problems: Problems
) -> None:
    workspace = Path(run_data["workspace_path"])
    needed = [each[key] for each in data for key in ("model_path", "config_path") if each.get(key)]
    needed += [sample for each in data for sample in each.get("samples", ())]
    for path in sorted(set(needed)):
        if Path(path).is_relative_to(workspace):
            value = run["override_workspace"]
            text = f"{value.subject}: cleaning the workspace {workspace} would delete {path}"
            problems.add(value.place, text, "move it, or choose another workspace_path")


def declared_inputs(values: Values) -> Mapping[str, Any] | None:
    """Return the declared inputs by name, None where they are not declared."""
    return _declared(values, "inputs")


def _declared(values: Values, key: str) -> Mapping[str, Any] | None:
    if key not in values or not values[key].data:
        return None
    return {tensor["name"]: tensor for tensor in values[key].data}


def _check_names(
    values: Values, declared: Mapping[str, Any] | None, keys: Sequence[str], kind: str, problems: Problems
) -> None:
    if declared is None:
        return
    known = list(declared)
    for value in _present(values, keys):
        for name in value.data:
            if not name or name in declared:
                continue
            meant = nearest(name, known)
            hint = f"did you mean '{meant}'?" if meant else f"the {kind}s are {', '.join(known)}"
            problems.add(value.at(name), f"{value.subject}: the model has no {kind} {quote(name)}", hint)


def _check_order(values: Values, problems: Problems) -> None:
    """Note shapes that are larger than those which should be larger."""
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
                text = f"{len(shape)} axes, but {small.subject} gives {len(other)}"
                hint = "give both the same number of axes"
            elif any(low > high for low, high in zip(other, shape, strict=True)):
                axis = next(i for i, (low, high) in enumerate(zip(other, shape, strict=True)) if low > high)
                text = f"axis {axis} is {shape[axis]}, less than the {other[axis]} of {small.subject}"
                hint = "sizes must not fall from min_shapes to opt_shapes to max_shapes"
            if text:
                told.add(name)
                problems.add(large.at(name), f"{large.subject}: {about(name)}{text}", hint)


def _check_against_inputs(values: Values, key: str, inputs: Mapping[str, Any] | None, problems: Problems) -> None:
    if inputs is None or key not in values:
        return
    value = values[key]
    for name, shape in value.data.items():
        if name not in inputs:
            continue
        declared = inputs[name]["shape"]
        if len(declared) != len(shape):
            text = f"{len(shape)} axes, but the input is declared with {len(declared)}: {declared}"
            problems.add(value.at(name), f"{value.subject}: {about(name)}{text}", "include the batch axis in both")
            continue
        for axis, (fixed, size) in enumerate(zip(declared, shape, strict=True)):
            if fixed not in (-1, size):
                text = f"axis {axis} is {size}, but the input is declared with {fixed}"
                hint = f"write {fixed}, or -1 in 'inputs' if the axis is dynamic"
                problems.add(value.at(name), f"{value.subject}: {about(name)}{text}", hint)


def _check_ranges(values: Values, problems: Problems) -> None:
    for value in _present(values, ["value_ranges"]):
        for name, (low, high) in value.data.items():
            if low > high:
                start = about(name)
                text = f"{value.subject}: {start}the lowest value {low:g} is greater than the highest, {high:g}"
                problems.add(value.at(name), text, "swap them")


def _check_gpus(values: Values, problems: Problems) -> None:
    for value in _present(values, ["gpus"]):
        kinds = {"all" if gpu == "all" else "id" if gpu.isdigit() else "uuid" for gpu in value.data}
        if len(kinds) > 1:
            text = f"{value.subject}: 'all', device ids and UUIDs are mixed"
            problems.add(value.place, text, "write all of them in the same way")


def _sample_problems(path: Path, inputs: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    if path.suffix not in (".npz", ".npy"):
        yield "is neither .npz nor .npy", "save it with numpy.savez(path, **{input name: array})"
        return
    try:
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                arrays = [name.removesuffix(".npy") for name in archive.namelist()]
        else:
            with path.open("rb") as file:
                if file.read(len(_NPY)) != _NPY:
                    yield "is not a NumPy file", "save it with numpy.save"
                elif inputs is not None and len(inputs) > 1:
                    yield (
                        f"holds one array, but the model has {len(inputs)} inputs: {', '.join(inputs)}",
                        "write one .npz a sample, with an array for each input",
                    )
                return
    except FileNotFoundError:
        yield "does not exist", "check the path"
        return
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        yield "is not a NumPy archive", "save it with numpy.savez(path, **{input name: array})"
        return
    except OSError as error:
        yield f"cannot be read: {error.strerror or error}", "check the path"
        return
    if inputs is None:
        return
    for name in arrays:
        if name not in inputs:
            yield f"has an array {quote(name)}, which is no input", f"the inputs are {', '.join(inputs)}"
    for name in inputs:
        if name not in arrays:
            yield f"has no array for the input {quote(name)}", "a sample holds one array an input"


def _present(values: Values, keys: Sequence[str]) -> Iterator[Value]:
    return (values[key] for key in keys if key in values)
