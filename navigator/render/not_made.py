"""One sentence on the default formats that aren't made, instead of a paragraph for each. Pure."""

from collections.abc import Iterable

from navigator.render.text import clean, shorten

_LONGEST_REASON = 80


def not_made(skipped: Iterable[tuple[str, str]]) -> str:
    """Return formats by the reason why they aren't made: `trt (no NVIDIA GPU is visible); tf-trt, torchscript (…)`.

    Args:
        skipped: format and reason of each conversion that nobody asked for.
    """
    by_reason: dict[str, dict[str, None]] = {}
    for target, reason in skipped:
        source = reason.removesuffix(f" can't be converted to {target}")
        by_reason.setdefault(reason if source == reason else f"not from {source}", {})[target] = None
    return "; ".join(
        f"{', '.join(map(clean, targets))} ({shorten(clean(reason), _LONGEST_REASON)})"
        for reason, targets in by_reason.items()
    )
