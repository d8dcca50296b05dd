"""What every rendering says alike: verdict, order of cells, numbers, sizes. Pure; knows no output format."""

import math
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from navigator.errors import ExitCode
from navigator.records import CellResult, Comparison, Host, Report, State, WorstElement, to_data
from navigator.report.report import exit_code, is_bad

# The versions that explain a result; the report has all of them.
_TOLD = (
    "model-navigator",
    "tensorflow",
    "keras",
    "tf-keras",
    "tf2onnx",
    "torch",
    "onnxscript",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "tensorrt",
    "tensorrt-rtx-cu13",
    "torch-tensorrt",
    "numpy",
)

# Nothing of their own went wrong with cells in these.
FOLLOWERS = (State.BLOCKED, State.CANCELLED, State.UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class Absent:
    """Cells of one model that were not tried, for one reason."""

    model_name: str
    cells: tuple[str, ...]
    state: State
    reason: str
    remedy: str
    log_path: Path | None


def verdict(report: Report) -> str:
    """Return the outcome of a run in one sentence."""
    states = [result.status.state for result in report.results]
    counted = [result for result in report.results if not is_absent(result)]
    bad = [result for result in counted if is_bad(result) and result.status.state is not State.CANCELLED]
    code = exit_code(report)
    if code is ExitCode.CANCELLED:
        undecided = states.count(State.CANCELLED)
        if not undecided:
            return "Not finished: results are missing"
        also = f", {_are(len(bad))} not good" if bad else ""
        return f"Not finished: {undecided:,} of {count(len(counted), 'cell')} undecided{also}"
    if code is ExitCode.FAILURE:
        unfinished = "" if report.complete else ", and the run is not complete"
        return f"{len(bad):,} of {count(len(counted), 'cell')} {'is' if len(bad) == 1 else 'are'} not good{unfinished}"
    if code is ExitCode.NOTHING_TO_DO:
        return "Nothing was converted: no cell can be made on this machine"
    passed, unverified = states.count(State.PASSED), states.count(State.UNVERIFIED)
    one = passed == 1 or len({result.model_name for result in counted}) == 1
    source = "the source model" if one else "their source models"
    if not unverified:
        every = "The cell matches" if passed == 1 else f"All {passed} cells match"
        return f"{every} {source}"
    return f"{count(passed, 'cell')} {'matches' if passed == 1 else 'match'} {source}, {_are(unverified)} not verified"


def tally(report: Report) -> str:
    """Return how many cells are in which state, how many came from the cache, and the time."""
    states = [result.status.state for result in report.results]
    parts = [f"{states.count(state):,} {word(state)}" for state in State if state in states]
    cached = sum(result.cached for result in report.results)
    from_cache = [f"{cached} from the cache"] if cached else []
    return "; ".join([", ".join(parts), *from_cache, seconds(report.seconds)])


def description(report: Report) -> str:
    """Return the outcome of a run in the 140 characters that GitHub shows of a commit status."""
    return shorten(f"{verdict(report)}; {tally(report)}", 140)


def is_absent(result: CellResult) -> bool:
    """Tell whether a cell was not tried, and nobody expected it to be."""
    return result.status.state in (State.NOT_APPLICABLE, State.UNAVAILABLE) and not is_bad(result)


def failures(report: Report) -> tuple[CellResult, ...]:
    """Return the cells that were tried and fail the run; `followers` has the others."""
    return tuple(result for result in report.results if is_bad(result) and result.status.state not in FOLLOWERS)


def followers(report: Report) -> tuple[Absent, ...]:
    """Return the cells that fail the run although nothing of their own went wrong. Same reasons together."""
    return _alike(result for result in report.results if is_bad(result) and result.status.state in FOLLOWERS)


def models(results: Iterable[CellResult]) -> Mapping[str, tuple[CellResult, ...]]:
    """Return the cells that were tried by model, failing ones first."""
    found: dict[str, tuple[CellResult, ...]] = {}
    for result in results:
        if not is_absent(result):
            found[result.model_name] = (*found.get(result.model_name, ()), result)
    return {name: tuple(sorted(cells, key=lambda cell: not is_bad(cell))) for name, cells in found.items()}


def absent(results: Iterable[CellResult]) -> tuple[Absent, ...]:
    """Return the cells that were not tried, those with the same reason together."""
    return _alike(result for result in results if is_absent(result))


def unverified(results: Iterable[CellResult]) -> tuple[Absent, ...]:
    """Return the cells that were built and that nothing here can run, where that does not fail the run."""
    return _alike(result for result in results if result.status.state is State.UNVERIFIED and not is_bad(result))


def warnings(results: Iterable[CellResult]) -> Mapping[tuple[str, str], tuple[str, ...]]:
    """Return {(model, warning): its cells}."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for result in results:
        for warning in result.warnings:
            key = (result.model_name, warning)
            found[key] = (*found.get(key, ()), result.conversion)
    return found


def reductions(results: Iterable[CellResult]) -> tuple[str, ...]:
    """Return one sentence for each sample that did not fit the memory or the source model."""
    found: dict[str, None] = {}
    for sample in (sample for result in results for sample in result.samples):
        if sample.refused:
            found[f"sample {sample.name} was left out, the source model cannot be run on it: {sample.refused}"] = None
        changes = [
            f"{name} {shape(before)} to {shape(sample.shapes[name])}"
            for name, before in (sample.reduced_from or {}).items()
            if sample.shapes.get(name, before) != before
        ]
        if sample.reduced_from is not None:
            found[f"sample {sample.name} was reduced to fit the memory: {', '.join(changes)}"] = None
    return tuple(found)


def worst(comparisons: Iterable[Comparison]) -> Comparison | None:
    """Return the comparison that is furthest out of tolerance, or nearest to being so."""
    return max(comparisons, key=lambda each: (not each.passed, share(each)), default=None)


def share(comparison: Comparison) -> float:
    """Return the error of the worst element as a share of what its tolerances allow; inf where nothing compares."""
    if comparison.problem:
        return math.inf
    element = comparison.worst
    if element is None or isinstance(element.reference, str) or isinstance(element.value, str):
        error, allowed = comparison.max_abs_error or 0.0, comparison.atol
    else:
        error = abs(float(element.value) - float(element.reference))
        allowed = comparison.atol + comparison.rtol * abs(float(element.reference))
    if not error:
        return 0.0
    return error / allowed if allowed else math.inf


def errors(comparison: Comparison) -> str:
    """Return an output's largest absolute error with its tolerance, or what kept it from being compared."""
    if comparison.problem:
        return comparison.problem
    # An error above atol that passes does so for rtol's sake.
    relative = f", rtol {number(comparison.rtol)}" if (comparison.max_abs_error or 0.0) > comparison.atol else ""
    return f"max abs {number(comparison.max_abs_error)} (atol {number(comparison.atol)}{relative})"


def place(element: WorstElement) -> str:
    """Return where an element is."""
    return f"[{', '.join(str(each) for each in element.index)}] of sample {element.sample}"


def value(element: float | str) -> str:
    """Return a tensor's element with the digits that tell it from its neighbours."""
    return f"{element:.9g}" if isinstance(element, float) else str(element)


def portion(comparison: Comparison) -> str:
    """Return how many elements are out of tolerance."""
    if not comparison.total:
        return "none compared"
    return f"{comparison.mismatched:,} of {comparison.total:,} ({percent(comparison.mismatched / comparison.total)})"


def suggestion_yaml(result: CellResult) -> str:
    """Return the suggested tolerances of a cell as the keys of a navigator.yaml, which has own ones for fp16 and int8.

    "" where there are none.
    """
    if result.suggested_tolerances is None:
        return ""
    engine = result.conversion_config.get("tensorrt_config") or {}
    precision = engine.get("precision", "fp32")
    data = to_data(result.suggested_tolerances)
    if precision != "fp32":
        data = {f"{precision}_{key}": entries for key, entries in data.items()}
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100_000).rstrip()


def latency(result: CellResult) -> str:
    """Return how long the usual sample takes on a GPU, else the largest, or ""."""
    found = {each.sample: each for each in result.latencies}
    each = next((found[name] for name in ("opt", "max", *found) if name in found), None)
    return "" if each is None else f"{1000 * each.median_seconds:.3g} ms ({each.sample})"


def opset(result: CellResult) -> str:
    """Return the opset of an artifact as read back from it, or ""."""
    made = result.output_model
    found = made.properties.get("onnx_opset") if made is not None else None
    return str(found) if isinstance(found, int) else ""


def source_bytes(result: CellResult) -> int | None:
    """Return the size of the source model where the report knows it."""
    found = result.source_model_config.get("size_bytes")
    return found if isinstance(found, int) and found > 0 else None


def environment(host: Host) -> str:
    """Return the machine and the versions that explain a result, on one line."""
    if not host.system:
        return "No machine left results"
    versions = [f"{name} {host.versions[name]}" for name in _TOLD if name in host.versions]
    gpus = [f"{gpu.name} ({size(gpu.memory_bytes)}, driver {gpu.driver_version})" for gpu in host.gpus] or ["no GPU"]
    cores = f"{host.cpu} ({count(host.cpu_count, 'core')}, {size(host.memory_bytes)})"
    return "; ".join([f"Python {host.python}", *versions, host.system, cores, *gpus])


def clean(text: str) -> str:
    """Return text on one line without characters that steer a terminal, a browser or the direction of writing."""
    return " ".join("".join(_printable(each, " ") for each in text).split())


def lines(text: str) -> list[str]:
    """Return the lines of text without characters that steer a terminal, their indentation kept."""
    return ["".join(_printable(each, "") for each in line).rstrip() for line in text.replace("\t", "    ").splitlines()]


def shorten(text: str, limit: int) -> str:
    """Return text cut to `limit` characters, and visibly so."""
    return text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"


def word(state: State) -> str:
    """Return a state as a reader says it."""
    return str(state).replace("_", " ")


def number(amount: float | None) -> str:
    """Return an error or a tolerance with two digits; a dash where there is none."""
    return "-" if amount is None else f"{amount:.2g}"


def percent(part: float) -> str:
    """Return a part of 1 as percent, so that a little is never nothing and almost all never all."""
    if 0 < part < 0.001:
        return "< 0.1 %"
    if part > 100:
        return "> 10,000 %"
    digits = 1 if part < 0.1 or 0.99 < part < 1.01 else 0
    told = f"{100 * part:.{digits}f}"
    if part != 1 and told == "100.0":
        return "< 100 %" if part < 1 else "> 100 %"
    return f"{told.removesuffix('.0')} %"


def shape(axes: tuple[int, ...]) -> str:
    """Return a shape as 1x3x224x224."""
    return "x".join(str(axis) for axis in axes) or "scalar"


def seconds(amount: float) -> str:
    """Return a duration."""
    if amount < 60:
        return f"{amount:.1f} s"
    minutes, rest = divmod(round(amount), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def size(amount: int) -> str:
    """Return a size in the binary unit that fits."""
    scaled, unit = float(amount), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if scaled < 1024:
            break
        scaled, unit = scaled / 1024, larger
    return f"{scaled:.0f} {unit}" if unit == "B" else f"{scaled:.1f} {unit}"


def count(amount: int, noun: str) -> str:
    """Return an amount with its noun."""
    return f"{amount:,} {noun}" if amount == 1 else f"{amount:,} {noun}s"


def _printable(character: str, instead: str) -> str:
    category = unicodedata.category(character)
    # A surrogate is a byte of a path that is no UTF-8: it is shown as unreadable, not hidden.
    return "\ufffd" if category == "Cs" else instead if category[0] == "C" else character


class _Dumper(yaml.CSafeDumper):
    """Keeps each output on one line. The C form, since the other writes the empty key as "? ''"."""


def _name(dumper: yaml.CSafeDumper, text: str) -> yaml.ScalarNode:
    style = None if text.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text.encode("utf-8", "replace").decode(), style=style)


_Dumper.add_representer(str, _name)


def _alike(results: Iterable[CellResult]) -> tuple[Absent, ...]:
    found: dict[Absent, tuple[str, ...]] = {}
    for result in results:
        state, reason, log = result.status.state, result.status.message, result.status.log_path
        alike = Absent(result.model_name, (), state, reason, result.remedy, log)
        found[alike] = (*found.get(alike, ()), result.conversion)
    return tuple(replace(alike, cells=cells) for alike, cells in found.items())


def _are(amount: int) -> str:
    return f"{amount} {'is' if amount == 1 else 'are'}"
