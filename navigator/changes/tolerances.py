"""Which tolerances are wider than before. Pure.

The default of a tolerance isn't in the configuration: it depends on the model, and the results say what it was.
"""

from collections.abc import Iterable, Iterator, Mapping

from navigator.changes.measures import precision_of
from navigator.records import DEFAULT_TOLERANCE, CellResult, Json, KeyChange, KeyKind, Precision

TOLERANCES: Mapping[str, tuple[Precision, str]] = {
    f"{prefix}{kind}": (precision, kind)
    for prefix, precision in (("", Precision.FP32), ("fp16_", Precision.FP16), ("int8_", Precision.INT8))
    for kind in ("atol", "rtol")
}
"""The precision that each option is for, and the name of its tolerance."""

Applied = Mapping[tuple[Precision, str], Mapping[str, float]]
"""The tolerances that were applied, by precision and name: the widest for each output."""


def applied(results: Iterable[CellResult]) -> Applied:
    """Return the tolerances that were applied to the conversions of a model."""
    found: dict[tuple[Precision, str], dict[str, float]] = {}
    for result in results:
        precision = precision_of(result)
        for each in result.comparisons:
            for name, value in (("atol", each.atol), ("rtol", each.rtol)):
                known = found.setdefault((precision, name), {})
                known[each.output] = max(known.get(each.output, 0.0), value)
    return found


def tolerance_changes(key: str, before: Json, after: Json, then: Applied, now: Applied) -> Iterator[KeyChange]:
    """Yield the changed entries of a tolerance, one for each output.

    Args:
        key: the option.
        before: its value, `auto` or entries by output, "" for all others.
        after: the value now.
        then: the tolerances that were applied in the base.
        now: and in the run.
    """
    place = TOLERANCES[key]
    one, other = ({} if each == "auto" else dict(each) for each in (before, after))
    known, present = then.get(place, {}), now.get(place, {})
    least = DEFAULT_TOLERANCE if place[0] is Precision.FP32 else None
    for name in sorted({*one, *other}):
        if one.get(name) == other.get(name):
            continue
        own = {*one, *other} - {""}
        outputs = [name] if name else [each for each in dict.fromkeys((*known, *present)) if each not in own] or [""]
        pairs = [(_value(one, known, each, least), _value(other, present, each, least)) for each in outputs]
        kind = _kind(pairs)
        if kind is None:
            continue
        # Where an output has no entry of its own, another value applies to it.
        instead = pairs[0] if name else (None, None)
        shown = [
            each if each == "auto" else each.get(name, value)
            for each, value in zip((before, after), instead, strict=True)
        ]
        yield KeyChange(key=key, of=name, before=shown[0], after=shown[1], kind=kind)


def _value(entries: Mapping[str, float], known: Mapping[str, float], output: str, least: float | None) -> float | None:
    """Return the tolerance of an output: the configured one, or else the one that was applied, or else the least."""
    configured = entries.get(output, entries.get(""))
    return configured if configured is not None else known.get(output, least)


def _kind(pairs: Iterable[tuple[float | None, float | None]]) -> KeyKind | None:
    """Return what other tolerances mean, None if they're the same in effect."""
    known = list(pairs)
    compared = [(one, other) for one, other in known if one is not None and other is not None]
    if any(other > one for one, other in compared):
        return KeyKind.LOOSENED
    if any(other < one for one, other in compared):
        return KeyKind.TIGHTENED
    return None if len(compared) == len(known) else KeyKind.CHANGED
