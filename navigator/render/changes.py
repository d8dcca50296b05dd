"""What changed since the base, as plain sentences for all renderers. Pure; knows no output format.

Names and messages of others are cleaned here, but not escaped for markup.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from navigator.config.schema import flow
from navigator.errors import listed
from navigator.records import (
    Baseline,
    CellResult,
    Change,
    Changes,
    ConversionChange,
    Difference,
    FailOn,
    Json,
    KeyChange,
    KeyKind,
    Measure,
    ModelChange,
    Replacement,
    Source,
    State,
)
from navigator.render.text import clean, shorten
from navigator.render.values import count, milliseconds, number, size, word
from navigator.report.summary import Summary

# What a reader looks at one by one; of the others the number says enough.
SHOWN = (Change.BROKEN, Change.WORSE, Change.REMOVED, Change.NEW, Change.FIXED, Change.BETTER, Change.NOT_COMPARED)

_VERBS: Mapping[Change, str] = {
    Change.BROKEN: "broke",
    Change.WORSE: "got worse",
    Change.REMOVED: "{be} gone",
    Change.NEW: "{be} new",
    Change.STILL_FAILING: "still {fail}",
    Change.NOT_COMPARED: "{be} not compared",
    Change.FIXED: "{be} fixed",
    Change.BETTER: "got better",
    Change.UNCHANGED: "{be} unchanged",
}

_MEASURES = {Measure.SIZE: "size", Measure.PEAK_MEMORY: "peak memory", Measure.LATENCY: "latency"}

# Of what fails, the base says nothing of whether it did before.
_FAILING = {Change.NEW: "{fail} and {be} new", Change.NOT_COMPARED: "{fail} and {be} not compared"}

# The characters of a value, a reason or a message, and how many packages a line names.
_VALUE, _REASON, _PACKAGES = 60, 300, 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """Conversions of one model to which the same happened for the same reason. `what` is that reason, `title` who."""

    change: Change
    model_name: str
    conversions: tuple[ConversionChange, ...]
    what: str
    accepted: str = ""
    is_regression: bool = False

    @property
    def title(self) -> str:
        return f"{clean(self.model_name)} {listed(clean(each.conversion) for each in self.conversions)}"


def against(baseline: Baseline) -> str:
    """Return what a run is compared with: "main 1a2b3c4 (merge base)"."""
    name = " ".join(filter(None, (clean(baseline.label), baseline.commit[:7] if baseline.commit.isalnum() else "")))
    relation = f" ({clean(baseline.relation)})" if baseline.relation else ""
    return f"{name or clean(baseline.path) or 'the base'}{relation}"


def counted(changes: Changes) -> str:
    """Return the numbers of what changed: "2 conversions broke, 1 is gone, 1 option lets more pass"."""
    parts: list[str] = []
    for change in (*SHOWN[:3], Change.FIXED, Change.BETTER, Change.NEW, Change.NOT_COMPARED):
        amount = len(changes.of(change))
        if amount:
            noun = f"{amount:,}" if parts else count(amount, "conversion")
            parts.append(f"{noun} {_verb(change, amount)}")
        if change is Change.REMOVED:
            parts += _counted_options(sum(key.kind.loosens for _, key in changes.keys))
    models = sum(each.source is Source.CHANGED for each in changes.models)
    if models:
        parts.append(f"{count(models, 'source model')} changed")
    others = sum(not key.kind.loosens for _, key in changes.keys)
    if others:
        parts.append(f"{count(others, 'option')} changed")
    failing = len(changes.of(Change.STILL_FAILING))
    if failing:
        noun = f"{failing:,}" if parts else count(failing, "conversion")
        parts.append(f"{noun} still {'fails' if failing == 1 else 'fail'}")
    if changes.is_nothing:
        return ", ".join(["nothing changed", *parts])
    return ", ".join(parts) or "nothing changed but names"


def regressions(changes: Changes) -> str:
    """Return the numbers of what fails a run with `fail_on: regression`: "2 conversions broke, 1 is gone"."""
    parts: list[str] = []
    for change in (Change.BROKEN, Change.WORSE, Change.REMOVED, Change.NEW, Change.NOT_COMPARED):
        amount = sum(each.is_regression for each in changes.of(change))
        if amount:
            noun = f"{amount:,}" if parts else count(amount, "conversion")
            parts.append(f"{noun} {_verb(change, amount, _FAILING)}")
    options = sum(key.is_regression for _, key in changes.keys)
    return ", ".join([*parts, *_counted_options(options)])


def rows(changes: Changes, *kinds: Change) -> tuple[Row, ...]:
    """Return the conversions to which one of `kinds` happened, one row for each model and reason."""
    found: dict[tuple[str, str, str, bool], list[ConversionChange]] = {}
    for kind in kinds:
        for each in changes.of(kind):
            key = (f"{kind} {each.model_name}", what(each), each.accepted, each.is_regression)
            found.setdefault(key, []).append(each)
    return tuple(
        Row(
            change=group[0].change,
            model_name=group[0].model_name,
            conversions=tuple(group),
            what=reason,
            accepted=accepted,
            is_regression=is_regression,
        )
        for (_, reason, accepted, is_regression), group in found.items()
    )


def what(change: ConversionChange) -> str:
    """Return what happened to a conversion, after its name."""
    before, after = change.before, change.after
    match change.change:
        case Change.WORSE | Change.BETTER:
            return ", ".join(map(difference, change.differences))
        case Change.REMOVED:
            return _earlier(before) + (f"; here: {_outcome(change)}" if after is not None else "")
        case Change.NEW if after is not None and after.status.state is State.PASSED:
            return word(State.PASSED)
        case Change.NOT_COMPARED:
            known = after is None or after.status.message in change.reason or not change.is_regression
            return f"{_short(change.reason)}{'' if known else f'; here: {_outcome(change)}'}"
        case Change.FIXED:
            return _earlier(before)
        case _:
            return _outcome(change)


def difference(found: Difference) -> str:
    """Return what grew or shrank: "error of logits 2.1e-05 → 0.0034 (tolerance 0.001)"."""
    of = f" of {_short(found.of, _VALUE)}" if found.of else ""
    match found.measure:
        case Measure.ERROR:
            before, after = number(found.before), number(found.after)
            limits = [number(each) for each in (found.limit_before, found.limit) if each is not None]
            limit = f" (tolerance {' → '.join(dict.fromkeys(limits))})" if limits else ""
            return f"error{of} {before} → {after}{limit}"
        case Measure.LATENCY:
            change = f"{milliseconds(found.before)} → {milliseconds(found.after)}"
        case Measure.SIZE | Measure.PEAK_MEMORY:
            change = f"{size(int(found.before))} → {size(int(found.after))}"
    return f"{_MEASURES[found.measure]}{of} {change}"


def option(model: str, key: KeyChange) -> str:
    """Return how an option of a model changed: "resnet50: atol of logits is looser: 1e-05 → 0.001"."""
    name = f"{clean(model)}: " if model else ""
    subject = f"{name}{clean(key.key)}{f' of {_short(key.of, _VALUE)}' if key.of else ''}"
    values = f"{value_text(key.before)} → {value_text(key.after)}"
    match key.kind:
        case KeyKind.LOOSENED:
            return f"{subject} lets more pass: {values}"
        case KeyKind.FEWER_SAMPLES:
            return f"{subject}: fewer samples: {values}"
        case KeyKind.TIGHTENED:
            return f"{subject} is stricter: {values}"
        case KeyKind.CONTENT:
            return f"{subject}: what is in {value_text(key.after)} changed"
        case KeyKind.CHANGED:
            return f"{subject} changed: {values}"


def model(change: ModelChange) -> str:
    """Return what happened to a model itself, "" if nothing did."""
    parts = []
    if change.previous_name:
        parts.append(f"was {clean(change.previous_name)} in the base")
    if change.source is Source.CHANGED:
        before, after = change.size_before, change.size_after
        sizes = f" ({size(before)} → {size(after)})" if before and after and size(before) != size(after) else ""
        parts.append(f"the model's files changed{sizes}")
    return f"{clean(change.name)}: {', '.join(parts)}" if parts else ""


def replacements(found: Iterable[Replacement]) -> str:
    """Return what was replaced: "onnx 1.18 → 1.19, torch-tensorrt none → 2.9"."""
    told = [f"{clean(each.name)} {clean(each.before) or 'none'} → {clean(each.after) or 'none'}" for each in found]
    more = [f"and {len(told) - _PACKAGES} more"] if len(told) > _PACKAGES else []
    return ", ".join([*told[:_PACKAGES], *more])


def remarks(changes: Changes) -> Iterator[str]:
    """Yield what else a reader needs to judge the comparison, a sentence each."""
    yield from filter(None, map(model, changes.models))
    if changes.tools:
        yield f"other versions than in the base: {replacements(changes.tools)}"
    if changes.machine:
        yield f"another machine than in the base: {replacements(changes.machine)}; what depends on it isn't compared"
    if changes.baseline.note:
        yield f"the base: {clean(changes.baseline.note)}"
    yield from map(clean, changes.notes)


def uncompared(summary: Summary) -> str:
    """Return why a run isn't compared although somebody expects that, as a sentence; "" if it's compared or not."""
    changes, rules = summary.changes, summary.report.rules
    if changes is not None and changes.baseline.found:
        return ""
    strict = rules is not None and rules.fail_on is FailOn.REGRESSION
    why = clean(changes.baseline.note) if changes is not None else "no baseline was given" if strict else ""
    every = "; fail_on is regression, so every failure counts" if strict else ""
    return f"Not compared: {why}{every}" if why else ""


def _counted_options(amount: int) -> list[str]:
    return [f"{count(amount, 'option')} {'lets' if amount == 1 else 'let'} more pass"] if amount else []


def _verb(change: Change, amount: int, others: Mapping[Change, str] | None = None) -> str:
    return {**_VERBS, **(others or {})}[change].format(
        be="is" if amount == 1 else "are", fail="fails" if amount == 1 else "fail"
    )


def _outcome(change: ConversionChange) -> str:
    """Return the outcome in the run."""
    if change.after is None:
        return ""
    message = _short(change.after.status.message)
    return f"{word(change.after.status.state)}{f': {message}' if message else ''}"


def _earlier(before: CellResult | None) -> str:
    """Return the outcome in the base."""
    if before is None:
        return ""
    was = "" if before.status.state in (State.PASSED, State.FAILED, State.CRASHED, State.TIMED_OUT) else "was "
    return f"it {was}{word(before.status.state)} in the base"


def value_text(value: Json) -> str:
    """Return the value of an option on one line, as in navigator.yaml."""
    return "none" if value is None else _short(flow(value), _VALUE)


def _short(text: str, limit: int = _REASON) -> str:
    return shorten(clean(text), limit)
