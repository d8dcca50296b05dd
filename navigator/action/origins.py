"""Which results a job speaks for: its own, and in `report` and `release` those of its commit and configuration.

What the job knows counts, since whatever converted a model could have written the results.
"""

import os
from dataclasses import replace
from pathlib import Path

from navigator import config
from navigator.action.channels.page import warn
from navigator.action.collect import write_report
from navigator.action.job import Job
from navigator.action.publisher import Publisher
from navigator.config.digest import digest, options
from navigator.errors import ConfigurationError
from navigator.github.checked_out import check_commit, checked_out
from navigator.github.origin import job_origin
from navigator.github.release import commit_of
from navigator.records import Origin, Rules, RunConfig
from navigator.report import storage
from navigator.report.origin import difference, lacking
from navigator.report.storage import RESULTS
from navigator.report.summary import Summary, summarize


def check_checkout(job: Job) -> str:
    """Refuse a configuration that is of another commit of the repository than the event's.

    Returns:
        The commit that is checked out, "" if it's unknown.

    Raises:
        ConfigurationError: it's refused; says why.
    """
    directory = (job.workspace / job.inputs.config).parent
    try:
        commit = checked_out(directory, job.workspace, job.environment, job.event)
    except OSError as error:
        place = job.shown(Path(error.filename or job.workspace))
        warn(job, f"{place}: {error.strerror}, so it's unknown whether commit {job.event.sha[:12]} is checked out")
        return ""
    if commit:
        check_commit(commit, job.event)
    return commit


def own_origin(job: Job, run: RunConfig, commit: str) -> Origin:
    """Return the origin of what this job converts, of which `commit` is checked out."""
    merges = commit == job.event.merge_sha != job.event.sha
    return replace(job_origin(run, job.event, _config_path(job)), merge_commit=commit if merges else "")


def own_results(job: Job, origin: Origin, directory: Path, run: RunConfig) -> Summary:
    """Return the results of this job's engine, with the origin, the options, the filters and the shard of the job."""
    found = storage.read(directory / RESULTS)
    given = options(run)
    own = replace(
        found,
        origin=origin,
        selection=replace(found.selection, models=job.inputs.models, conversions=job.inputs.conversions),
        shard=job.inputs.shard,
        rules=Rules(fail_on=run.fail_on, fail_on_unverified=run.fail_on_unverified, accept=run.accept),
        models=tuple(replace(each, options=given.get(each.model_name, {})) for each in found.models),
    )
    if own == found:
        return summarize(found)
    note = (
        "another program changed what the results say of commit, run, configuration, filters or shard; the job's count"
    )
    made = summarize(replace(own, notes=(*own.notes, note)))
    write_report(made, directory, job.workspace)
    return made


def check_reported(job: Job, publisher: Publisher, merged: Summary) -> None:
    """Refuse to report results of another commit or configuration, and those that cover only a part.

    Results of versions that didn't write an origin are reported. If shards are missing, the report says so itself.

    Raises:
        ConfigurationError: they're refused; says why.
    """
    origin = merged.report.origin
    of_another_run = (job.inputs.run_id or job.event.triggering_run) is not None
    if origin is not None and origin.commit:
        commit = publisher.event.sha
        differs = difference(origin, commit, _config_path(job), "" if of_another_run else _config_sha256(job))
        if differs:
            raise ConfigurationError(
                f"nothing was reported: {differs}",
                f"run `convert` for commit {commit[:12]} with the same `config`, and remove what earlier runs left",
            )
    missing = lacking(merged)
    if merged.report.complete and missing and not job.inputs.allow_partial:
        raise ConfigurationError(
            f"nothing was reported: {missing}", "convert the others too, or set `allow_partial: true`"
        )


def check_released(job: Job, publisher: Publisher, made: Summary, tag: str) -> None:
    """Refuse to release results of another commit than the tag's, or of another configuration, and partial ones.

    Raises:
        ConfigurationError: they're refused; says why.
        PublishError: GitHub doesn't say which commit the tag is.
    """
    origin = made.report.origin
    if origin is None or not origin.commit:
        raise ConfigurationError(
            f"nothing was released as {tag}: the results name no commit",
            "run `convert` again in GitHub Actions, with this version of model-navigator",
        )
    commit = job.event.sha
    if tag != job.event.tag:
        # Without the tag, only a draft can be there for it.
        commit = commit_of(publisher.rest, job.event.repository, tag) or commit
    differs = difference(
        origin, commit, _config_path(job), _config_sha256(job) if commit == job.event.sha else "", name=tag
    )
    if differs:
        raise ConfigurationError(
            f"nothing was released as {tag}: {differs}",
            f"run `convert` for commit {commit[:12]} with the same `config`, and release those results",
        )
    missing = lacking(made)
    if missing and not job.inputs.allow_partial:
        raise ConfigurationError(
            f"nothing was released as {tag}: {missing}", "convert the others too, or set `allow_partial: true`"
        )


def _config_path(job: Job) -> str:
    """Return the input `config`, relative to the workspace; a job without a checkout knows no more of it."""
    path = os.path.normpath(job.workspace / job.inputs.config)
    return str(Path(path).relative_to(job.workspace)) if Path(path).is_relative_to(job.workspace) else path


def _config_sha256(job: Job) -> str:
    """Return the digest of the configuration that is checked out; "" if none is, or without its models."""
    try:
        return digest(config.load(Path(job.inputs.config), {}, working_directory=job.workspace))
    except ConfigurationError:
        return ""
