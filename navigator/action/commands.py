"""The commands of the action: those that run no engine are here. Each returns the exit code of its work.

A wrong configuration is raised; `navigator.action.main` tells it.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from navigator.action import models
from navigator.action.baseline import given_baseline
from navigator.action.cancellation import Cancellation
from navigator.action.collect import collect, collected_models
from navigator.action.converting import cmd_convert, cmd_rehearse, load, show_changes, unwritten
from navigator.action.job import Job
from navigator.action.origins import check_checkout, check_released, check_reported
from navigator.action.publisher import Publisher
from navigator.errors import ConfigurationError, ExitCode
from navigator.github.commands import commands_disabled
from navigator.github.release import publish
from navigator.github.release_assets import Asset
from navigator.host.describe import describe
from navigator.plain_data import PlainDataError, parse_json
from navigator.plan.planner import plan
from navigator.plan.select import chosen
from navigator.plan.shards import matrix
from navigator.records import FailOn, Json, Rules
from navigator.render.plan import plan_text
from navigator.render.sentences import verdict
from navigator.render.streams import write
from navigator.report.merge import merge
from navigator.report.storage import REPORT
from navigator.report.summary import summarize

Command = Callable[[Job, Publisher, Cancellation], ExitCode]


def cmd_validate(job: Job, publisher: Publisher, _cancelled: Cancellation) -> ExitCode:
    """Check the configuration; run nothing, and publish nothing but problems."""
    run = load(job)
    write(f"{job.inputs.config}: valid, models: {len(run.models)}\n", job.stream)
    publisher.set_outputs({"status": "success", "exit_code": "0"})
    return ExitCode.OK


def cmd_plan(job: Job, publisher: Publisher, _cancelled: Cancellation) -> ExitCode:
    """Print the plan and give it to GitHub as a job matrix."""
    check_checkout(job)
    whole = plan(load(job), describe(docker=False))
    wanted = chosen(whole, models=job.inputs.models, conversions=job.inputs.conversions)
    with commands_disabled(job.stream) as show:
        show(plan_text(wanted))
    jobs = matrix(wanted, job.inputs.max_shards)
    publisher.set_outputs(
        {"status": "success", "exit_code": "0", "matrix": json.dumps(jobs), "shards": str(len(jobs["include"]))}
    )
    return ExitCode.OK


def cmd_report(job: Job, publisher: Publisher, _cancelled: Cancellation) -> ExitCode:
    """Merge the results of several jobs, or take those of another run, and tell them."""
    if job.inputs.run_id is not None:
        publisher.act_for_run(job.inputs.run_id)
    given = given_baseline(job)
    merged = summarize(merge(collect(job, publisher), _matrix(job), allow_partial=job.inputs.allow_partial))
    check_reported(job, publisher, merged)
    report = merged.report
    if job.inputs.fail_on == "regression":
        report = replace(report, rules=replace(report.rules or Rules(), fail_on=FailOn.REGRESSION))
    merged = summarize(report, publisher.changes(report, given))
    show_changes(job, merged)
    directory = _directory(job)
    problem = unwritten(job, merged, directory)
    code = ExitCode.FAILURE if problem and merged.exit_code is ExitCode.OK else merged.exit_code
    publisher.publish_results(merged, directory, tuple, code, problem=problem)
    return code


def cmd_release(job: Job, publisher: Publisher, _cancelled: Cancellation) -> ExitCode:
    """Attach the converted models to the release of the tag. Only a run that succeeded is released."""
    tag = job.inputs.tag or job.event.tag
    if not tag:
        raise ConfigurationError(
            f"the event {job.event.name} has no tag to release", "run on a tag, or set the input `tag`"
        )
    with collected_models(job, publisher, _directory(job)) as (made, directory):
        check_released(job, publisher, made, tag)
        if made.exit_code is not ExitCode.OK:
            raise ConfigurationError(
                f"nothing was released as {tag}: {verdict(made)}",
                "release a run whose requested conversions all passed",
            )
        found = models.converted(made.report, directory)
        missing = sum(models.is_released(each) for each in made.report.results) - len(found)
        if missing:
            raise ConfigurationError(
                f"nothing was released as {tag}: {missing} of the converted models are missing",
                "let `convert` upload the models (`artifacts: converted`, `artifact_archive: true`), or release in the "
                "job that converted",
            )
        for each in found:
            if models.changed(each):
                raise ConfigurationError(
                    f"nothing was released as {tag}: {each.directory} has changed since it was verified",
                    "run `convert` again",
                )
        url = publish(
            publisher.rest,
            job.event.repository,
            tag,
            [Asset(name=each.name, files=each.files) for each in found],
            extras=[path for name in REPORT if (path := directory / name).is_file()],
            draft=job.inputs.draft,
            overwrite=job.inputs.overwrite,
        )
    publisher.set_outputs({"status": "success", "exit_code": "0", "release_url": url})
    write(f"release: {url}\n", job.stream)
    return ExitCode.OK


COMMANDS: Mapping[str, Command] = {
    "validate": cmd_validate,
    "plan": cmd_plan,
    "convert": cmd_convert,
    "report": cmd_report,
    "release": cmd_release,
    "rehearse": cmd_rehearse,
}


def _directory(job: Job) -> Path:
    """Return where results are: a job that only reports may have no checkout, and no configuration to say so."""
    usual = job.directory(job.inputs.workspace_path or "navigator_workspace")
    if job.inputs.workspace_path or not (job.workspace / job.inputs.config).is_file():
        return usual
    try:
        return load(job).workspace_path
    except ConfigurationError:
        return usual


def _matrix(job: Job) -> Json:
    if not job.inputs.matrix:
        return None
    try:
        return parse_json(job.inputs.matrix)
    except PlainDataError as error:
        raise ConfigurationError(
            f"the input `matrix` isn't JSON: {error}", "pass the output `matrix` of the command `plan`"
        ) from error
