"""Why a conversion fails or differs from before, in half a line of markdown. Pure."""

from collections.abc import Sequence

from navigator.records import (
    CellResult,
    Changes,
    Comparison,
    Device,
    Difference,
    KeyChange,
    KeyKind,
    Measure,
    Source,
    State,
)
from navigator.render.changes import replacements, value_text
from navigator.render.escape import code, text, unbroken
from navigator.render.results import worst
from navigator.render.values import count, milliseconds, number, size, word
from navigator.verify.sentences import broken_gates, where

_CHARS = 160
_MOST = 5


def failing(result: CellResult) -> tuple[str, ...]:
    """Return what failures with one reason have in common: the output with its tolerances, or the message."""
    furthest = _measured(result)
    if furthest is None:
        return result.status.message, result.remedy
    return furthest.output, where(furthest), number(furthest.atol), number(furthest.rtol)


def reason(results: Sequence[tuple[CellResult, CellResult | None]]) -> str:
    """Return why conversions with one reason fail; each is given with its result in the base, if there is one."""
    after, before = max(results, key=lambda each: _size_of_error(each[0]))
    found = _measured(after)
    if found is None:
        return text(_without_state(after), _CHARS) or "no reason was given"
    several = len({number(each.max_abs_error) for result, _ in results if (each := _measured(result))}) > 1
    errors = _arrow(_error(before, found), _number(found.max_abs_error), most=several)
    more = sum(not each.passed for each in after.comparisons) - 1
    parts = [
        f"{code(found.output, 60)}{where(found)} error {errors}",
        f"{unbroken(f'atol {number(found.atol)}')}, {unbroken(f'rtol {number(found.rtol)}')}{_range(found)}",
        *([text(broken_gates(found), _CHARS)] if broken_gates(found) else []),
        *([f"{count(more, 'more output')}"] if more else []),
    ]
    return "; ".join(parts)


def recovery(results: Sequence[tuple[CellResult, CellResult]]) -> str:
    """Return why conversions that pass now failed in the base, in the order of before and after."""
    before, after = max(results, key=lambda each: _size_of_error(each[0]))
    found = _measured(before)
    if found is None:
        return text(_without_state(before), _CHARS)
    now = _error(after, found)
    return f"{code(found.output, 60)}{where(found)} error {_arrow(_number(found.max_abs_error), now)}" if now else ""


def differences(found: Sequence[Sequence[Difference]], *, worse: bool) -> str:
    """Return what differs in conversions of which the same measures do: the largest change of each."""
    parts = []
    for alike in zip(*found, strict=True):
        if alike[0].is_worse is worse:
            most = max(alike, key=lambda each: each.after / each.before if each.before else each.after)
            parts.append(_difference(most, several=len({(each.before, each.after) for each in alike}) > 1))
    return "; ".join(parts)


def option(key: KeyChange) -> str:
    """Return an option with its values before and after."""
    name = f"{code(key.key, 60)}{f' of {code(key.of, 60)}' if key.of else ''}"
    before, after = code(value_text(key.before)), code(value_text(key.after))
    return f"content of {name} {after}" if key.kind is KeyKind.CONTENT else f"{name} {_arrow(before, after)}"


def accepted(why: str) -> str:
    """Return why somebody accepts a change, to be added to what it is."""
    return f" — accepted: {text(why, _CHARS)}" if why else ""


def also(changes: Changes) -> str:
    """Return what else differs: source models, options that loosen nothing, tools, machines."""
    models = changes.models
    sources = [code(each.name, 100) for each in models if each.source is Source.CHANGED]
    names = [f"{code(each.previous_name, 100)} is now {code(each.name, 100)}" for each in models if each.previous_name]
    options = [
        " ".join(filter(None, (code(model, 100) if model else "", option(key))))
        for model, key in changes.keys
        if key.kind in (KeyKind.CHANGED, KeyKind.TIGHTENED, KeyKind.CONTENT)
    ]
    tools, machine = (text(replacements(each)) for each in (changes.tools, changes.machine))
    parts = [f"files of {_first(sources)}" if sources else "", _first(names), _first(options), tools, machine]
    return "; ".join(filter(None, parts))


def _first(parts: Sequence[str]) -> str:
    more = [f"and {len(parts) - _MOST} more"] if len(parts) > _MOST else []
    return ", ".join([*parts[:_MOST], *more])


def _measured(result: CellResult) -> Comparison | None:
    """Return the failing output that is furthest out of tolerance, None if what failed isn't an error of an output."""
    return worst(each for each in result.comparisons if not each.passed and each.max_abs_error is not None)


def _without_state(result: CellResult) -> str:
    """Return the message without the state's name, and without the cause of what blocks, which has its own row."""
    message, state = result.status.message, result.status.state
    if state is State.BLOCKED:
        message = message.partition(", which ")[0]
    return message.removeprefix(f"{word(state)}: ").removeprefix(f"{word(state)} ")


def _size_of_error(result: CellResult) -> float:
    found = _measured(result)
    return found.max_abs_error or 0.0 if found is not None else 0.0


def _error(before: CellResult | None, found: Comparison) -> str:
    """Return the error of the same output in the base, "" if it isn't known."""
    for each in before.comparisons if before is not None else ():
        if (each.output, where(each)) == (found.output, where(found)) and each.max_abs_error is not None:
            return _number(each.max_abs_error)
    return ""


def _range(found: Comparison) -> str:
    if found.reference_min is None or found.reference_max is None:
        return ""
    return f", {unbroken(f'range {number(found.reference_min)} to {number(found.reference_max)}')}"


def _number(amount: float | None) -> str:
    return unbroken(number(amount))


def _difference(found: Difference, *, several: bool) -> str:
    gpu = " on the GPU" if found.device is Device.CUDA else ""
    match found.measure:
        case Measure.ERROR:
            limit = f" of {unbroken(f'tolerance {number(found.limit)}')}" if found.limit is not None else ""
            errors = _arrow(_number(found.before), _number(found.after), most=several)
            return f"{code(found.of, 60)}{gpu} error {errors}{limit}"
        case Measure.LATENCY:
            values = _arrow(unbroken(milliseconds(found.before)), unbroken(milliseconds(found.after)), most=several)
            return f"latency{gpu} {values}{_growth(found)}"
        case measure:
            values = _arrow(unbroken(size(round(found.before))), unbroken(size(round(found.after))), most=several)
            return f"{'size' if measure is Measure.SIZE else 'peak memory'} {values}{_growth(found)}"


def _growth(found: Difference) -> str:
    return unbroken(f" ({100 * (found.after / found.before - 1):+.0f} %)") if found.before else ""


def _arrow(before: str, after: str, *, most: bool = False) -> str:
    shown = f"{'at most ' if most else ''}**{after}**"
    return f"{before} → {shown}" if before and before != after else shown
