"""The results that a run is compared with, from a file or a folder that somebody else may have written."""

from dataclasses import dataclass
from pathlib import Path

from navigator.errors import ConfigurationError
from navigator.records import Baseline, Changes, Report
from navigator.report.merge import merge
from navigator.report.storage import RESULTS, found_below
from navigator.report.storage import read as read_report
from navigator.report.summary import coverage


@dataclass(frozen=True, kw_only=True, slots=True)
class Base:
    """The results of the base, and what is known of them."""

    report: Report
    told: Baseline


def read(path: Path) -> Base:
    """Return the results at `path`: a results file, or a folder that holds one, or those of the shards of a run.

    Raises:
        ConfigurationError: there are none, or they can't be read, such as those of another version; the text is one
            sentence, and the hint another.
    """
    files = sorted(found_below(path))
    if not files:
        raise ConfigurationError(
            f"{path}: no {RESULTS} found", "name the results file of an earlier run, or its folder"
        )
    reports = [read_report(file) for file in files]
    report = reports[0] if len(reports) == 1 and not reports[0].shard else merge(reports, allow_partial=True)
    return Base(report=report, told=described(report, str(path)))


def described(report: Report, path: str = "") -> Baseline:
    """Return what results say of themselves: their commit, and what they lack."""
    return Baseline(
        found=True, commit=report.origin.commit if report.origin is not None else "", path=path, note=_lacking(report)
    )


def without(note: str) -> Changes:
    """Return that there is nothing to compare with, and why, as one sentence without a full stop."""
    return Changes(baseline=Baseline(found=False, note=note))


def _lacking(report: Report) -> str:
    parts = []
    if report.results and not report.models:
        parts.append("its version says nothing of the files and options of models, so that they aren't compared")
    if not report.complete:
        parts.append("its run didn't end: what it has no result of isn't compared")
    elif not (covered := coverage(report)).is_whole:
        parts.append(f"it covers only {covered}: the rest isn't compared")
    return "; ".join(parts)
