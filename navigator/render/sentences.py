"""Sentences about the whole run for all renderers: verdict, counts, machine, reduced samples. Pure."""

import math
from collections import Counter

from navigator.errors import ExitCode
from navigator.records import Host, State
from navigator.render.changes import regressions
from navigator.render.values import count, percent, seconds, shape, size, word
from navigator.report.summary import ModelSummary, Summary, fails_on_regression

# The versions that matter for a result; the report has all of them.
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


def verdict(summary: Summary) -> str:
    """Return the result of a run in one sentence, with what it covers if that isn't the whole configuration."""
    covered = str(summary.coverage)
    return f"{result_of(summary)} (covers only {covered})" if covered else result_of(summary)


def result_of(summary: Summary) -> str:
    """Return the result of what a run covers in one sentence."""
    match summary.exit_code:
        case ExitCode.CANCELLED if State.CANCELLED not in summary.states:
            return "Incomplete: results are missing"
        case ExitCode.CANCELLED:
            return f"Incomplete: {_failed(summary)}"
        case ExitCode.FAILURE if summary.changes is not None and fails_on_regression(summary.report, summary.changes):
            return f"{regressions(summary.changes)}; {_passed(summary)}{_incomplete(summary)}"
        case ExitCode.FAILURE:
            return f"{_failed(summary)}{_incomplete(summary)}"
        case ExitCode.NOTHING_TO_DO:
            lacking = "can run on this machine" if summary.states.get(State.UNAVAILABLE) else "applies to its model"
            return f"Nothing was converted: no conversion {lacking}"
        case ExitCode.OK if summary.failed:  # only a run that is judged by its changes passes like this
            return f"No regression; {_passed(summary)}"
    return _passed(summary)


def _failed(summary: Summary) -> str:
    """Return how many conversions failed, apart from those that were cancelled or blocked."""
    states = Counter(each.status.state for each in summary.failed)
    cancelled, blocked = states[State.CANCELLED], states[State.BLOCKED]
    counts = {"cancelled": cancelled, "failed": states.total() - cancelled - blocked, "blocked": blocked}
    (what, amount), *others = ((what, amount) for what, amount in counts.items() if amount)
    return ", ".join([f"{amount:,} of {summary.tried:,} conversions {what}", *(f"{n:,} {each}" for each, n in others)])


def _incomplete(summary: Summary) -> str:
    return "" if summary.report.complete else ", and the run is incomplete"


def _passed(summary: Summary) -> str:
    unverified = summary.states.get(State.UNVERIFIED, 0)
    unsure = f", {unverified:,} not verified" if unverified else ""
    return f"{summary.states.get(State.PASSED, 0):,} of {summary.tried:,} conversions passed{unsure}"


def tally(summary: Summary, verdict: str) -> str:
    """Return the number of conversions by state and from the cache, and the time, after a `verdict`.

    States that the verdict has all counted aren't said twice.
    """
    is_told = all(f" {word(state)}" in verdict for state in summary.states)
    states = [] if is_told else [", ".join(f"{amount:,} {word(state)}" for state, amount in summary.states.items())]
    return "; ".join([*states, *totals(summary)])


def totals(summary: Summary) -> list[str]:
    """Return the number of conversions from the cache, if any, and the time."""
    from_cache = [f"{summary.cached:,} from the cache"] if summary.cached else []
    return [*from_cache, seconds(summary.report.seconds)]


def reductions(model: ModelSummary) -> tuple[str, ...]:
    """Return one sentence for each sample that was reduced to fit in memory, or skipped."""
    found: dict[str, None] = {}
    for sample in (sample for result in model.results for sample in result.samples):
        if sample.refused:
            found[f"sample {sample.name} was skipped: the source model can't run it: {sample.refused}"] = None
        if sample.unusable:
            found[f"sample {sample.name} was skipped: the source model returns {sample.unusable}"] = None
        if sample.reduced_from is not None:
            changes = [
                f"{name} from {shape(before)} to {shape(sample.shapes[name])}"
                for name, before in sample.reduced_from.items()
                if sample.shapes.get(name, before) != before
            ]
            found[f"sample {sample.name} was reduced to fit in memory: {', '.join(changes)}"] = None
    return tuple(found)


def searches(model: ModelSummary) -> tuple[str, ...]:
    """Return one sentence on the searches for inputs for which the models disagree, if there were any."""
    found = [result.searched for result in model.results if result.searched is not None]
    if not found:
        return ()
    tried = count(sum(each.inputs for each in found), "more set")
    took = seconds(sum(each.seconds for each in found))
    mismatches = sum(bool(each.sample) for each in found)
    largest = f"largest error {percent(max(each.largest_error for each in found))} of the tolerance"
    what = f"{mismatches:,} of {count(len(found), 'conversion')} differ" if mismatches else largest
    return (f"searched {tried} of inputs in {took}: {what}",)


def recognised_weights(model: ModelSummary) -> tuple[str, ...]:
    """Return one sentence on how many of the weights are known to be right, if any were compared."""
    found = [result.weights for result in model.results if result.weights is not None and result.weights.tensors]
    if not found:
        return ()
    least = min(found, key=lambda each: each.recognised_elements / max(1, each.elements))
    part = math.floor(1000 * least.recognised_elements / max(1, least.elements)) / 10
    wrong = sum(bool(each.wrong) for each in found)
    what = f"; wrong in {wrong:,} of {count(len(found), 'conversion')}" if wrong else ""
    tensors = f"{least.recognised:,} of {count(least.tensors, 'tensor')}"
    return (f"weights compared: {tensors} recognised, {part:g} % of all elements{what}",)


def environment(host: Host) -> str:
    """Return the machine and the versions that matter for a result, on one line."""
    if not host.system:
        return "No machine reported results"
    versions = [f"{name} {host.versions[name]}" for name in _TOLD if name in host.versions]
    gpus = [f"{gpu.name} ({size(gpu.memory_bytes)}, driver {gpu.driver_version})" for gpu in host.gpus] or ["no GPU"]
    cores = f"{host.cpu} ({count(host.cpu_count, 'core')}, {size(host.memory_bytes)})"
    return "; ".join([f"Python {host.python}", *versions, host.system, cores, *gpus])
