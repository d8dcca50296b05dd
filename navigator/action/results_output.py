"""The output `results`: the cells as JSON for the steps after this one. Pure."""

import json
import math

from navigator.records import CellResult, Json, Report
from navigator.render import text as words
from navigator.report.report import is_bad

# Other steps get it as a variable, and Linux starts nothing with one of 128 KiB.
_RESULTS_CHARS = 120_000


def results_json(report: Report) -> str:
    """Return the cells as JSON for the steps after this one, the bad ones first, as many as an output holds."""
    ordered = sorted(report.results, key=lambda each: not is_bad(each))
    parts, used = [], 0
    for each in ordered:
        part = json.dumps(_brief(each))
        used += len(part) + 1
        if used > _RESULTS_CHARS:
            break
        parts.append(part)
    return f"[{','.join(parts)}]"


def _brief(result: CellResult) -> dict[str, Json]:
    worst = words.worst(result.comparisons)
    error = worst.max_abs_error if worst is not None else None
    made = result.output_model
    return {
        "model": result.model_name,
        "conversion": result.conversion,
        "state": str(result.status.state),
        "failed": is_bad(result),
        # JSON has no number for what is not finite.
        "max_abs_error": error if error is not None and math.isfinite(error) else None,
        "size_bytes": made.size_bytes if made is not None else None,
        "sha256": made.sha256 if made is not None else None,
    }
