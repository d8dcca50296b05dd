"""Which models and conversions of two runs belong together. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from navigator.records import CellResult, Given, Report


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One of the two runs: its results by model and label, in the order of its plan, and what was given by model."""

    report: Report
    results: Mapping[str, Mapping[str, CellResult]]
    given: Mapping[str, Given]

    def covers(self, model: str, label: str) -> bool:
        """Return whether the run would have a result for a conversion if its configuration asked for it."""
        left_out = self.report.selection.left_out
        # A shard of a version that didn't say what it leaves out may leave out anything.
        return label not in left_out.get(model, ()) and (bool(left_out) or not self.report.shard)

    def has(self, model: str) -> bool:
        """Return whether the configuration has a model of this name; filters may leave it out."""
        return model in self.results or model in self.report.selection.left_out

    def sha256(self, model: str) -> str:
        """Return the digest of a model's files, "" if it's unknown."""
        return self.given[model].sha256 if model in self.given else ""


def side(report: Report) -> Side:
    """Return a report by model and label."""
    results: dict[str, dict[str, CellResult]] = {}
    for each in report.results:
        results.setdefault(each.model_name, {})[each.conversion] = each
    return Side(report=report, results=results, given={each.model_name: each for each in report.models})


def previous_names(base: Side, run: Side) -> dict[str, str]:
    """Return what the base calls each model of the run that it has: the same, or the name of the same files.

    A model is renamed if its name is new, and that of a model with the same digest is gone. Of several such models
    those with the same options belong together, and else those that come first in the alphabet.
    """
    found = {name: name for name in run.results if base.has(name)}
    gone = sorted(name for name in base.results if not run.has(name) and base.sha256(name))
    new = sorted(name for name in run.results if name not in found)
    for alike in (True, False):
        for name in new:
            same = [each for each in gone if base.sha256(each) == run.sha256(name)]
            if alike:
                same = [each for each in same if base.given[each].options == run.given[name].options]
            if same and name not in found:
                found[name] = same[0]
                gone.remove(same[0])
    return found
