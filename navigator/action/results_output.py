"""The output `results`: the conversions as JSON for the steps after this one. Pure."""

import json
import math

from navigator.records import CellResult, Json
from navigator.render.results import worst
from navigator.report.summary import Summary

# Other steps get it as a variable, and Linux starts nothing with one of 128 KiB.
_RESULTS_CHARS = 120_000


def results_json(summary: Summary) -> str:
    """Return the conversions as JSON for later steps, failed ones first, as many as an output holds."""
    parts, used = [], 0
    for index, each in enumerate((*summary.failed, *summary.others)):
        part = json.dumps(_brief(each, failed=index < len(summary.failed)))
        used += len(part) + 1
        if used > _RESULTS_CHARS:
            break
        parts.append(part)
    return f"[{','.join(parts)}]"


def _brief(result: CellResult, *, failed: bool) -> dict[str, Json]:
    furthest = worst(result.comparisons)
    error = furthest.max_abs_error if furthest is not None else None
    made = result.output_model
    return {
        "model": result.model_name,
        "conversion": result.conversion,
        "state": str(result.status.state),
        "failed": failed,
        # JSON has no number for what is not finite.
        "max_abs_error": error if error is not None and math.isfinite(error) else None,
        "size_bytes": made.size_bytes if made is not None else None,
        "sha256": made.sha256 if made is not None else None,
    }
