"""Renders failed conversions as markdown: their outputs, how to fix and how to reproduce them. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from navigator.records import CellResult, Comparison, State
from navigator.render.escape import code, fence, link, row, text, unbroken
from navigator.render.reproduction import reproduction
from navigator.render.results import allowed_atol, place, portion, share, suggestion_yaml, value
from navigator.render.values import count, number, word
from navigator.verify.sentences import broken_gates, where

MARKS: Mapping[State, str] = {
    State.PASSED: "✅",
    State.MISMATCHED: "❌",
    State.FAILED: "❌",
    State.CRASHED: "💥",
    State.TIMED_OUT: "⏰",
    State.BLOCKED: "⛔",
    State.CANCELLED: "⏹️",
    State.UNAVAILABLE: "🔌",
    State.UNVERIFIED: "❔",
    State.NOT_APPLICABLE: "⚪",
}

# Only the worst of hundreds of outputs are shown, and the first of many conversions and their logs.
_OUTPUTS, _NAMED, _LOGS = 5, 20, 3

_HEAD = ["Output", "Max abs error", "Max rel error", "Out of tolerance", "Worst element", "Source", "Converted"]


def names(conversions: Iterable[str], limit: int | None = None) -> str:
    """Return the labels of conversions, the first `limit` of them."""
    labels = [*conversions]
    more = [f"and {len(labels) - limit} more"] if limit is not None and len(labels) > limit else []
    return ", ".join([*map(code, labels[:limit]), *more])


def failure(results: Sequence[CellResult], log_url: str = "") -> str:
    """Return everything that helps to find out why conversions of a model failed for one reason.

    Args:
        results: the conversions, of which the worst is shown.
        log_url: the run whose log shows the ends of the workers' logs, or "".
    """
    result = max(results, key=lambda each: max(map(share, each.comparisons), default=0.0))
    state = result.status.state
    parts = [f"{MARKS[state]} **{names((each.conversion for each in results), _NAMED)}: {word(state)}**"]
    if result.status.message:
        worst = f"{code(result.conversion)}: " if len({each.status.message for each in results}) > 1 else ""
        parts.append(f"{worst}{text(result.status.message, 2000)}")
    parts.extend(_comparisons(result))
    if result.remedy:
        parts.append(f"**How to fix:** {text(result.remedy)}")
    if commands := reproduction(each.reproduce for each in results):
        parts.append("To reproduce:")
        parts.append(fence(commands, "shell"))
    logs = [each.status.log_path for each in results if each.status.log_path is not None]
    if logs:
        parts.append(_logs(logs, log_url))
    return "\n\n".join(parts)


def tolerances(results: Sequence[CellResult]) -> str:
    """Return the tolerances with which the conversions of a model pass, to be pasted; "" if there are none."""
    suggested = suggestion_yaml(results)
    if not suggested:
        return ""
    intro = "The tightest tolerances that pass. Use them only if errors of this size are acceptable:"
    return f"{intro}\n\n{fence(suggested, 'yaml')}"


def _logs(paths: Sequence[Path], log_url: str) -> str:
    """Return where workers' logs are, and a link to the run that shows their ends, since its machine may be gone."""
    shown = ", ".join(code(str(path), 1000) for path in paths[:_LOGS])
    more = f" and {len(paths) - _LOGS} more" if len(paths) > _LOGS else ""
    run = link("the run's log", log_url)
    name, ends = ("Log", "its end is") if len(paths) == 1 else ("Logs", "their ends are")
    return f"{name}: {shown}{more}{f'; {ends} in {run}' if run else ''}"


def _comparisons(result: CellResult) -> list[str]:
    """Return the failing outputs, the worst first: measured ones as a table, the others as a list."""
    failing = sorted((each for each in result.comparisons if not each.passed), key=share, reverse=True)
    shown = failing[:_OUTPUTS]
    measured = [each for each in shown if each.max_abs_error is not None or each.worst is not None]
    parts = []
    if measured:
        parts.append("\n".join([row(_HEAD), "|---|---|---|---|---|---|---|", *(_measured(each) for each in measured)]))
    reasons = [
        (each, each.problem or broken_gates(each))
        for each in shown
        if not each.problem or each.problem not in result.status.message
    ]
    problems = [f"- {code(each.output)}{where(each)}: {text(reason)}" for each, reason in reasons if reason]
    if problems:
        parts.append("\n".join(problems))
    more, within = len(failing) - len(shown), len(result.comparisons) - len(failing)
    rest = [
        *([f"{count(more, 'more output')} out of tolerance"] if more else []),
        *([f"{count(within, 'output')} within tolerance"] if within else []),
    ]
    if rest and shown:
        parts.append(f"Not shown: {', '.join(rest)}.")
    return parts


def _measured(comparison: Comparison) -> str:
    cells = [
        f"{code(comparison.output)}{where(comparison)}",
        _against(comparison.max_abs_error, allowed_atol(comparison)),
        _against(comparison.max_rel_error, f"rtol {number(comparison.rtol)}"),
        unbroken(portion(comparison)).replace("\u00a0(", " ("),
    ]
    if comparison.worst is None:
        return row([*cells, "", "", ""])
    worst = comparison.worst
    return row([*cells, text(place(worst)), code(value(worst.reference)), code(value(worst.value))])


def _against(error: float | None, tolerance: str) -> str:
    allowed = f"({unbroken(tolerance)})"
    return allowed if error is None else f"**{number(error)}** {allowed}"
