"""Compares a job's results: with those of an earlier run of its workflow, or with files that the workflow names.

Done here and not by the engine, which runs models and knows no token. Trouble with the base costs no result: it's one
sentence in the report.
"""

import re
import tempfile
from dataclasses import replace
from pathlib import Path

from navigator.action import names
from navigator.action.job import Job
from navigator.changes.base import Base, described, read, without
from navigator.changes.compare import compare
from navigator.errors import ConfigurationError, NavigatorError, quote
from navigator.github.artifacts.unpack import unpack
from navigator.github.baseline import Kept, kept_results
from navigator.github.budget import Budget
from navigator.github.errors import PublishError
from navigator.github.rest import Rest
from navigator.records import Changes, Report
from navigator.report import storage
from navigator.report.report import seen_from
from navigator.report.storage import RESULTS

_SECONDS = 60.0
"""How long the search and the download may take: no result waits for more."""
_BYTES = 64 * 2**20
_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def given_baseline(job: Job) -> Base | Changes | None:
    """Return the base that the workflow names, or that it can't be read; None if it names none.

    To be read before a model runs, which could change the files.
    """
    if job.inputs.baseline in ("auto", "none"):
        return None
    try:
        base = read(job.workspace / job.inputs.baseline)
    except ConfigurationError as error:
        return without(job.text(error.message))
    return replace(base, told=replace(base.told, path=job.inputs.baseline))


def changes(job: Job, budget: Budget, report: Report, given: Base | Changes | None) -> Changes | None:
    """Return what changed since the base, or why that's unknown; None if nothing is to be compared.

    Args:
        job: the job, or what it acts for.
        budget: of all publishing.
        report: the results, with the job's own origin.
        given: the result of `given_baseline`.
    """
    if job.inputs.baseline == "none":
        return None
    try:
        found = given if given is not None else _found(job, budget, report)
        if isinstance(found, Changes):
            return found
        return compare(report, replace(found, report=seen_from(found.report, job.workspace)))
    except Exception as error:  # noqa: BLE001 - whatever an answer or a file holds, the results are told
        return without(f"internal error in the comparison, please report it: {type(error).__name__}: {error}")


def to_report(known: Changes, report: Report) -> Changes:
    """Return changes with the results as `report` has them."""
    results = {(each.model_name, each.conversion): each for each in report.results}
    conversions = tuple(
        replace(each, after=results.get((each.model_name, each.conversion), each.after))
        if each.after is not None
        else each
        for each in known.conversions
    )
    return replace(known, conversions=conversions)


def _found(job: Job, budget: Budget, report: Report) -> Base | Changes:
    """Search for the results of the commit before the change, of the same workflow, configuration and filters."""
    event, merged = job.event, report.origin.merge_commit if report.origin else ""
    # Of a fork's results, it may be any text.
    converted = merged if _SHA.fullmatch(merged) else event.sha
    artifact = names.results_artifact(job.inputs)
    why = ""
    try:
        rest = job.rest(Budget(_SECONDS, within=budget))
        for kept in kept_results(rest, event, converted=converted, artifact=artifact):
            try:
                return _read(rest, event.repository, kept)
            except NavigatorError as error:
                why = why or _reason(error, f"the results of run {kept.run_id} can't be used: ")
    except PublishError as error:
        why = why or _reason(error)
    return without(why or f"no earlier run of the base has kept the artifact {artifact}")


def _read(rest: Rest, repository: str, kept: Kept) -> Base:
    """Return the results that a run has kept.

    Raises:
        NavigatorError: they can't be had, or aren't those of the run, whole.
    """
    if kept.size_bytes > _BYTES:
        raise PublishError(f"the artifact has {kept.size_bytes:,} bytes, more than {_BYTES:,}")
    with tempfile.TemporaryDirectory() as directory:
        archive, place = Path(directory, "results.zip"), Path(directory, "results")
        path = f"/repos/{repository}/actions/artifacts/{kept.artifact_id}/zip"
        rest.save(path, archive, limit_bytes=_BYTES)
        unpack(archive, place, names=(RESULTS,), skip_others=True, limit_bytes=2 * _BYTES)
        try:
            report = storage.read(place / RESULTS)
        except ConfigurationError as error:
            raise ConfigurationError(error.message.replace(f"{place}/", "")) from error
    commit = report.origin.commit if report.origin else ""
    if commit != kept.commit:
        raise PublishError(f"they are of commit {quote(commit[:12])}, not of {kept.commit[:12]}")
    if not report.complete or report.shard:
        raise PublishError("they aren't complete")
    told = replace(described(report), label=kept.branch, relation=kept.relation, run_url=kept.run_url)
    return Base(report=report, told=told)


def _reason(error: NavigatorError, where: str = "") -> str:
    """Return why nothing was found, in one sentence that begins with `where`."""
    if isinstance(error, PublishError) and "actions: read" in error.hint:
        return "the results of earlier runs can't be read: give the job the permission `actions: read`"
    return f"{where}{error.message}"
