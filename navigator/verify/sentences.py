"""The result of comparisons in one sentence. Pure."""

from navigator.records import Comparison, Device


def sentence(comparisons: tuple[Comparison, ...]) -> str:
    """Return the result of comparisons in one sentence: the first output that fails, or the largest error."""
    failing = [comparison for comparison in comparisons if not comparison.passed]
    if not comparisons:
        return "nothing was compared"
    if not failing:
        worst = max(comparisons, key=lambda each: each.max_abs_error or 0.0)
        largest = f"largest error {worst.max_abs_error or 0.0:.2g} in {worst.output!r}{where(worst)}"
        return f"all outputs within tolerance; {largest}"
    first = failing[0]
    others = len(failing) - 1
    more = f"; {others} more output{'s differ' if others > 1 else ' differs'}" if others else ""
    if first.problem:
        return f"output {first.output!r}{where(first)}: {first.problem}{more}"
    return (
        f"output {first.output!r}{where(first)}: {first.mismatched} of {first.total} elements differ, "
        f"largest error {first.max_abs_error or 0.0:.2g} (atol {first.atol:g}, rtol {first.rtol:g}){more}"
    )


def where(comparison: Comparison) -> str:
    """Return what to write after the name of an output: where it was computed, unless on the CPU."""
    return " on the GPU" if comparison.device is Device.CUDA else ""
