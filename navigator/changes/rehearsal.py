"""What is compared where only the versions of packages differ."""

from dataclasses import replace

from navigator.changes.base import Base
from navigator.records import Baseline, FailOn, Report

INSTALLED = "the installed versions"


def installed(report: Report) -> Base:
    """Return the base of a rehearsal: results of the same commit, made with the installed versions.

    Only a regression fails a rehearsal, whatever fails other runs, and what the configuration accepts it accepts here.
    """
    rules = report.rules and replace(report.rules, fail_on=FailOn.REGRESSION, accept={})
    return Base(report=replace(report, rules=rules), told=Baseline(found=True, label=INSTALLED))
