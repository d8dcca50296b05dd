"""The state of a run as a badge, in the JSON that shields.io reads from an endpoint (schema version 1). Pure."""

import json

from navigator.errors import ExitCode
from navigator.records import State
from navigator.report.summary import Summary

_COLORS = {ExitCode.OK: "brightgreen", ExitCode.FAILURE: "red"}


def badge(summary: Summary) -> str:
    """Return the badge: "conversions | 15 of 15 passed"."""
    passed = summary.states.get(State.PASSED, 0)
    shown = f"{passed:,} of {summary.tried:,} passed" if summary.tried else "none"
    if summary.exit_code is ExitCode.CANCELLED:
        shown = "incomplete"
    color = _COLORS.get(summary.exit_code, "lightgrey")
    return json.dumps({"schemaVersion": 1, "label": "conversions", "message": shown, "color": color})
