"""Runs to compare with each other: reports in which only what a test is about differs."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from navigator.changes.base import Base, described
from navigator.changes.compare import compare
from navigator.records import (
    CellResult,
    Changes,
    FailOn,
    Given,
    Host,
    Origin,
    Report,
    Rules,
    State,
)
from navigator.render.console import summary_text
from navigator.report.summary import summarize
from tests.support.builders import a_comparison, a_converted_model, a_host, a_report, a_result, a_source

COMMIT = "1a2b3c4d" + "0" * 32
NEXT = Origin(commit="e5f6" + "0" * 36)
HOST = a_host({"onnx": "1.18", "onnxruntime": "1.22"})


def cell(name: str, state: State = State.PASSED, *, message: str = "", **changes: Any) -> CellResult:
    """Return the result of "model/label" with the evidence that a pass needs."""
    model, _, label = name.partition("/")
    known: dict[str, Any] = {"source_model_config": a_source(model_name=model), "steps": (label,)}
    result = a_result(state, model_name=model, conversion=label, **known | changes)
    if not message:
        return result
    return replace(result, status=replace(result.status, message=message))


def passing(name: str, error: float = 0.0, *, size: int = 1_000_000, **changes: Any) -> CellResult:
    """Return a conversion that passed with one output `y` of values up to 1, and its largest error."""
    compared: dict[str, Any] = {"max_abs_error": error, "reference_min": -1.0, "reference_max": 1.0}
    own = {key: changes.pop(key) for key in ("atol", "rtol", "noise") if key in changes}
    return cell(
        name,
        **{
            "comparisons": (a_comparison(**compared | own),),
            "output_model": a_converted_model(size_bytes=size),
            **changes,
        },
    )


def given(model: str = "m", sha256: str = "a", **options: Any) -> Given:
    """Return what was given of a model: the digest of its files, and options as in the results."""
    files: Mapping[str, str] = options.pop("files", {})
    return Given(model_name=model, sha256=sha256 * 64 if len(sha256) == 1 else sha256, options=options, files=files)


def a_run(*results: CellResult, models: tuple[Given, ...] = (given(),), host: Host = HOST, **changes: Any) -> Report:
    """Return the report of a run with the model `m`, of which everything is known."""
    known: dict[str, Any] = {
        "rules": Rules(fail_on=FailOn.REGRESSION),
        "origin": Origin(commit=COMMIT),
    }
    return a_report(*results, host=host, models=models, **known | changes)


def compared(base: Report, run: Report, **told: Any) -> Changes:
    """Return what changed from `base` to `run`."""
    baseline = described(base)
    told = {"label": "main", "relation": "merge base", **told}
    return compare(run, Base(report=base, told=replace(baseline, **told)))


def said(base: Report, run: Report, **told: Any) -> str:
    """Return what the terminal says of a run compared with a base, without the rest of the report."""
    text = summary_text(summarize(run, compared(base, run, **told)))
    return text[text.index("Compared with") :]
