"""The output `results`: the cells as JSON for the steps after this one. Pure."""

import json

from navigator.records import CellResult, Json, Report
from navigator.render import words
from navigator.report import is_bad

# A job's outputs end at 1 MB, which GitHub counts in UTF-16.
_RESULTS_CHARS = 400_000


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
    made = result.output_model
    return {
        "model": result.model_name,
        "cell": result.cell,
        "state": str(result.status.state),
        "bad": is_bad(result),
        "max_abs_error": worst.max_abs_error if worst is not None else None,
        "size_bytes": made.size_bytes if made is not None else None,
        "sha256": made.sha256 if made is not None else None,
    }
