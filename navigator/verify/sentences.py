"""The result of comparisons in one sentence. Pure."""

from navigator.records import Comparison, Device, Slices, Weights

# Only the first of many ranges of slices are named.
_RANGES = 3


def sentence(comparisons: tuple[Comparison, ...]) -> str:
    """Return the result of comparisons in one sentence: the first output that fails, or the largest error."""
    failing = [comparison for comparison in comparisons if not comparison.passed]
    if not comparisons:
        return "nothing was compared"
    if not failing:
        worst = max(comparisons, key=lambda each: each.max_abs_error or 0.0)
        largest = f"largest error {worst.max_abs_error or 0.0:.2g} in {worst.output!r}{where(worst)}"
        exceptions = sum(comparison.mismatched for comparison in comparisons if not comparison.overruled)
        if any(comparison.overruled for comparison in comparisons):
            return f"the metric overrules the default tolerances; {largest}"
        but = f", except {exceptions:,} values" if exceptions else ""
        return f"all outputs within tolerance{but}; {largest}"
    first = failing[0]
    others = len(failing) - 1
    more = f"; {others} more output{'s differ' if others > 1 else ' differs'}" if others else ""
    if first.problem:
        return f"output {first.output!r}{where(first)}: {first.problem}{more}"
    if gates := broken_gates(first):
        return f"output {first.output!r}{where(first)}: {gates}{more}"
    return (
        f"output {first.output!r}{where(first)}: {first.mismatched:,} of {first.total:,} elements differ, "
        f"largest error {first.max_abs_error or 0.0:.2g} (atol {first.atol:g}, rtol {first.rtol:g}){more}"
    )


def wrong_weights(weights: Weights | None) -> list[str]:
    """Return which weight is wrong in one sentence, none if all are right as far as they're known."""
    if weights is None or not weights.wrong:
        return []
    first = weights.wrong[0]
    others = len(weights.wrong) - 1
    more = f"; {others} more tensor{'s have' if others > 1 else ' has'} wrong weights" if others else ""
    if first.rounded:
        return [f"the weights of {first.tensor} are rounded to {first.rounded} (in {first.converted}){more}"]
    where = f"[{', '.join(map(str, first.index))}]" if first.index else ""
    value, expected = _told_apart(first.value, first.expected)
    differing = f"{first.differing:,} of {first.total:,} elements differ"
    return [f"weight {first.tensor}{where} is {value} instead of {expected} (in {first.converted}, {differing}){more}"]


def _told_apart(*values: float | str) -> list[str]:
    """Return two numbers with as many digits as tell them apart, at least four."""
    written = [[each if isinstance(each, str) else f"{each:.{digits}g}" for each in values] for digits in range(4, 18)]
    return next((each for each in written if each[0] != each[1]), written[-1])


def broken_gates(comparison: Comparison) -> str:
    """Return the user's limits that an output doesn't keep, with its values; "" if it keeps all."""
    return ", ".join(
        f"{gate.measure} is {_apart(gate.value, gate.limit)}, beyond your limit of {gate.limit:g}"
        for gate in comparison.gates
        if not gate.kept
    )


def _apart(value: float, limit: float) -> str:
    """Return a value with as many digits as tell it from the limit, at least four."""
    texts = (f"{value:.{digits}g}" for digits in range(4, 18))
    return next((text for text in texts if float(text) != float(f"{limit:g}")), f"{value:.17g}")


def where(comparison: Comparison) -> str:
    """Return what to write after the name of an output: which slices, after which steps, and where, if on a GPU."""
    gpu = " on the GPU" if comparison.device is Device.CUDA else ""
    ends = sorted({comparison.steps[0], comparison.steps[-1]}) if comparison.steps else []
    steps = f" after {' to '.join(map(str, ends))} steps" if ends else ""
    return f"{part(comparison.slices)}{steps}{gpu}"


def part(slices: Slices | None) -> str:
    """Return what to write after the name of an output for its slices, "" for all of it."""
    if slices is None:
        return ""
    named = [f"{first} to {last}" if first < last else str(first) for first, last in slices.ranges[:_RANGES]]
    left = len(slices.ranges) - _RANGES
    more = f" and {left} more range{'s' if left > 1 else ''}" if left > 0 else ""
    return f" ({', '.join(named)}{more} of axis {slices.axis})"
