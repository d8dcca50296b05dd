"""What is compared where only the versions of packages differ."""

from dataclasses import replace

from navigator.changes.base import Base
from navigator.records import Baseline, FailOn, Report

INSTALLED = "the installed versions"


def installed(report: Report) -> Base:
    """Return the base of a rehearsal: results of the same commit, made with the installed versions.

    Only a regression fails a rehearsal, whatever fails other runs.
    """
    rules = report.rules and replace(report.rules, fail_on=FailOn.REGRESSION)
    return Base(report=replace(report, rules=rules), told=Baseline(found=True, label=INSTALLED))
