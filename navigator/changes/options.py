"""Which options of a model differ, and which of them let more pass than before. Pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields

from navigator.changes.tolerances import TOLERANCES, Applied, tolerance_changes
from navigator.records import Given, Json, KeyChange, KeyKind, ModelConfig, Rules, to_data

# Measures of which more is better; of the others less is.
_MORE_IS_BETTER = ("sqnr_db", "cosine", "explained", "top_k_kept")

Judge = Callable[[Json, Json], KeyKind]


def option_changes(before: Given | None, after: Given | None, then: Applied, now: Applied) -> tuple[KeyChange, ...]:
    """Return how the options of a model differ, nothing if they aren't known.

    Args:
        before: what was given of the model in the base.
        after: and in the run.
        then: the tolerances that were applied in the base.
        now: and in the run.
    """
    if before is None or after is None:
        return ()
    return tuple(_changes(before, after, then, now))


def rule_changes(before: Rules | None, after: Rules | None) -> tuple[KeyChange, ...]:
    """Return how the options of the run differ that decide what fails it, nothing if they aren't known."""
    if before is None or after is None:
        return ()
    found = []
    if before.fail_on is not after.fail_on:
        # What passes now doesn't pass more easily: it's compared with what passed before.
        found.append(KeyChange(key="fail_on", before=str(before.fail_on), after=str(after.fail_on)))
    one, other = before.fail_on_unverified, after.fail_on_unverified
    if one != other:
        strict = {True: 2, "auto": 1, False: 0}
        kind = _by_size(strict[one], strict[other], more=KeyKind.TIGHTENED)
        found.append(KeyChange(key="fail_on_unverified", before=one, after=other, kind=kind))
    return tuple(found)


def _changes(before: Given, after: Given, then: Applied, now: Applied) -> Iterator[KeyChange]:
    for key, default in _defaults().items():
        one, other = before.options.get(key), after.options.get(key)
        if one == other:
            if one is not None and _differ(before.files.get(key), after.files.get(key)):
                yield KeyChange(key=key, before=one, after=other, kind=KeyKind.CONTENT)
            continue
        one, other = (default if each is None else each for each in (one, other))
        try:
            yield from _judged(key, one, other, then, now)
        except (TypeError, ValueError, LookupError, AttributeError):
            # Of another version, or of somebody who writes what they like.
            yield KeyChange(key=key, before=one, after=other)


def _judged(key: str, before: Json, after: Json, then: Applied, now: Applied) -> tuple[KeyChange, ...]:
    """Return how an option differs, by entries if it has some.

    Raises:
        TypeError, ValueError, LookupError, AttributeError: the values aren't those of a configuration.
    """
    if key in TOLERANCES:
        return tuple(tolerance_changes(key, before, after, then, now))
    if key in _PER_ENTRY:
        return tuple(_entries(key, before, after, _PER_ENTRY[key]))
    return (KeyChange(key=key, before=before, after=after, kind=_JUDGES.get(key, _changed)(before, after)),)


def _defaults() -> dict[str, Json]:
    found = {}
    for each in fields(ModelConfig):
        default = each.default_factory() if each.default_factory is not MISSING else each.default
        found[each.name] = None if default is MISSING else to_data(default)
    return found


def _differ(before: str | None, after: str | None) -> bool:
    return before is not None and after is not None and before != after


def _entries(key: str, before: Json, after: Json, judge: Callable[[str, Json, Json], KeyKind]) -> Iterator[KeyChange]:
    """Yield the changed entries of an option that has one for each input, output or measure."""
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        yield KeyChange(key=key, before=before, after=after, kind=judge("", before, after))
        return
    for name in dict.fromkeys((*before, *after)):
        one, other = before.get(name), after.get(name)
        if one != other:
            yield KeyChange(key=key, of=name, before=one, after=other, kind=judge(name, one, other))


def _by_size(before: float, after: float, *, more: KeyKind) -> KeyKind:
    """Return what it means that a number has changed, of which `more` says what a larger one means."""
    less = KeyKind.LOOSENED if more is KeyKind.TIGHTENED else KeyKind.TIGHTENED
    return more if after > before else less if after < before else KeyKind.CHANGED


def _changed(_before: Json, _after: Json) -> KeyKind:
    return KeyKind.CHANGED


def _more_is_stricter(before: Json, after: Json) -> KeyKind:
    """Judge how much is checked: numbers, percentages or switches; nothing is less than any automatic choice."""
    one, other = (_number(each) for each in (before, after))
    if one is not None and other is not None:
        return _by_size(one, other, more=KeyKind.TIGHTENED)
    if other == 0:
        return KeyKind.LOOSENED
    return KeyKind.TIGHTENED if one == 0 else KeyKind.CHANGED


def _number(value: Json) -> float | None:
    if isinstance(value, str):
        try:
            return float(value.removesuffix("%"))
        except ValueError:
            return None
    return float(value) if isinstance(value, bool | int | float) else None


def _files(before: Json, after: Json) -> KeyKind:
    """Judge the user's own samples: fewer files are fewer samples, none are those that the program makes."""
    if not before or not after or len(after) == len(before):
        return KeyKind.CHANGED
    return KeyKind.FEWER_SAMPLES if len(after) < len(before) else KeyKind.TIGHTENED


def _metric(_before: Json, after: Json) -> KeyKind:
    return KeyKind.LOOSENED if after is None else KeyKind.CHANGED


def _formats(_before: Json, after: Json) -> KeyKind:
    """Judge formats: what isn't converted any more is in the conversions, but `auto` requests nothing."""
    return KeyKind.LOOSENED if after == "auto" else KeyKind.CHANGED


def _gate(measure: str, before: Json, after: Json) -> KeyKind:
    if before is None or after is None:
        return KeyKind.LOOSENED if after is None else KeyKind.TIGHTENED
    return _by_size(before, after, more=KeyKind.TIGHTENED if measure in _MORE_IS_BETTER else KeyKind.LOOSENED)


def _state(_output: str, _before: Json, after: Json) -> KeyKind:
    """Judge what is fed back: without it, models are compared after single steps only."""
    return KeyKind.LOOSENED if after is None or after == {} else KeyKind.CHANGED


def _range(_input: str, before: Json, after: Json) -> KeyKind:
    """Judge the range of an input's values."""
    if before is None or after is None:
        return KeyKind.CHANGED
    low, high = before[0] - after[0], after[1] - before[1]
    if low <= 0 and high <= 0:
        return KeyKind.LOOSENED
    return KeyKind.TIGHTENED if low >= 0 and high >= 0 else KeyKind.CHANGED


def _smallest(_input: str, before: Json, after: Json) -> KeyKind:
    return _shape(before, after, larger=KeyKind.LOOSENED)


def _largest(_input: str, before: Json, after: Json) -> KeyKind:
    return _shape(before, after, larger=KeyKind.TIGHTENED)


def _shape(before: Json, after: Json, *, larger: KeyKind) -> KeyKind:
    """Judge one end of the range of an input's shapes: a narrower range is checked less."""
    if before is None or after is None or len(before) != len(after):
        return KeyKind.CHANGED
    kinds = {_by_size(one, other, more=larger) for one, other in zip(before, after, strict=True) if one != other}
    return kinds.pop() if len(kinds) == 1 else KeyKind.CHANGED


_JUDGES: Mapping[str, Judge] = {
    "probe": _more_is_stricter,
    "search_seconds": _more_is_stricter,
    "state_steps": _more_is_stricter,
    "quality": _more_is_stricter,
    "max_batch_size": _more_is_stricter,
    "samples": _files,
    "metric": _metric,
    "target_formats": _formats,
}

_PER_ENTRY: Mapping[str, Callable[[str, Json, Json], KeyKind]] = {
    "fp16_gates": _gate,
    "int8_gates": _gate,
    "states": _state,
    "value_ranges": _range,
    "min_shapes": _smallest,
    "max_shapes": _largest,
}
