"""Renders a failed conversion as markdown: its outputs, how to fix it, and how to reproduce it. Pure."""

from collections.abc import Mapping
from pathlib import Path

from navigator.records import CellResult, Comparison, State
from navigator.render.escape import code, fence, link, row, text
from navigator.render.results import allowed_atol, place, portion, share, suggestion_yaml, value
from navigator.render.values import count, number, word
from navigator.report.summary import Group
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

# Only the worst of hundreds of outputs are shown.
_OUTPUTS = 5

_HEAD = ["Output", "Max abs error", "Max rel error", "Out of tolerance", "Worst element", "Source", "Converted"]


def title(result: CellResult) -> str:
    """Return the title of a failure."""
    state = result.status.state
    return f"{MARKS[state]} {code(result.model_name)} / {code(result.conversion)}: {word(state)}"


def names(group: Group, limit: int | None = None) -> str:
    """Return the labels of conversions, the first `limit` of them."""
    return ", ".join(code(each) for each in group.conversions[:limit])


def failure(result: CellResult, log_url: str = "") -> str:
    """Return everything that helps to find out why a conversion failed; the run's log is at `log_url`, if given."""
    parts = [f"### {title(result)}"]
    if result.status.message:
        parts.append(text(result.status.message, 2000))
    parts.extend(_comparisons(result))
    if result.remedy:
        parts.append(f"**How to fix:** {text(result.remedy)}")
    if suggested := suggestion_yaml(result):
        parts.append("The tightest tolerances that pass. Use them only if errors of this size are acceptable:")
        parts.append(fence(suggested, "yaml"))
    if result.reproduce:
        parts.append("To reproduce:")
        parts.append(fence(result.reproduce, "shell"))
    if result.status.log_path is not None:
        parts.append(log_line(result.status.log_path, log_url))
    return "\n\n".join(parts)


def log_line(path: Path, log_url: str) -> str:
    """Return where a worker's log is, and a link to the run that shows its end, since its machine may be gone."""
    shown = f"Log: {code(str(path), 1000)}"
    run = link("the run's log", log_url)
    return f"{shown}; its end is in {run}" if run else shown


def _comparisons(result: CellResult) -> list[str]:
    """Return the failing outputs, the worst first: measured ones as a table, the others as a list."""
    failing = sorted((each for each in result.comparisons if not each.passed), key=share, reverse=True)
    shown = failing[:_OUTPUTS]
    measured = [each for each in shown if each.max_abs_error is not None or each.worst is not None]
    parts = []
    if measured:
        parts.append("\n".join([row(_HEAD), "|---|---|---|---|---|---|---|", *(_measured(each) for each in measured)]))
    reasons = [(each, each.problem or broken_gates(each)) for each in shown]
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
    # Browsers also break lines at hyphens; this text isn't meant to be copied.
    allowed = f"({unbroken(tolerance)})".replace("-", "\u2011")
    return allowed if error is None else f"**{number(error)}** {allowed}"


def unbroken(amount: str) -> str:
    """Keep an amount and its unit on one line."""
    return amount.replace(" ", "\u00a0")
