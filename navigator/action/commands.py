"""The commands of the action: validate, plan, convert, report, release. Each returns the exit code of its work.

A wrong configuration is raised; `navigator.action.main` tells it.
"""

import json
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

from navigator import config, disks
from navigator.action import models
from navigator.action.cancellation import Cancellation
from navigator.action.channels.page import warn
from navigator.action.checkout import check_configuration
from navigator.action.collect import collect, collected_models, write_report
from navigator.action.engine_process import EngineExit, run_engine
from navigator.action.job import Job
from navigator.action.logs import show_logs
from navigator.action.origins import check_checkout, check_released, check_reported, own_origin, own_results
from navigator.action.publisher import Publisher
from navigator.action.sandbox import sandbox
from navigator.engine.workspace import check_workspace
from navigator.errors import ConfigurationError, ExhaustedError, ExitCode, NavigatorError, NothingToDoError
from navigator.github.commands import commands_disabled
from navigator.github.origin import engine_variables
from navigator.github.release import publish
from navigator.github.release_assets import Asset
from navigator.host.describe import describe
from navigator.plain_data import PlainDataError, parse_json
from navigator.plan.planner import plan
from navigator.plan.select import chosen
from navigator.plan.shards import matrix
from navigator.records import Json, Report, RunConfig
from navigator.render.files import UnwrittenError
from navigator.render.plan import plan_text
from navigator.render.sentences import verdict
from navigator.render.streams import write
from navigator.report.merge import merge
from navigator.report.report import broken_off
from navigator.report.storage import RESULTS, SUMMARY
from navigator.report.summary import Summary, summarize

# Reading a larger report takes a second.
_SLOW_BYTES = 500_000

_MORE_MEMORY = "use a runner with more memory, or reduce jobs, max_shapes or memory_limit_bytes"


class EngineError(NavigatorError):
    """The engine ended without a word about why."""

    exit_code = ExitCode.FAILURE


Command = Callable[[Job, Publisher, Cancellation], ExitCode]


def cmd_validate(job: Job, publisher: Publisher, _cancelled: Cancellation) -> ExitCode:
    """Check the configuration; run nothing, and publish nothing but problems."""
    run = _load(job)
    write(f"{job.inputs.config}: valid, models: {len(run.models)}\n", job.stream)
    publisher.set_outputs({"status": "success", "exit_code": "0"})
    return ExitCode.OK


def cmd_plan(job: Job, publisher: Publisher, _cancelled: Cancellation) -> ExitCode:
    """Print the plan and give it to GitHub as a job matrix."""
    check_checkout(job)
    whole = plan(_load(job), describe(docker=False))
    wanted = chosen(whole, models=job.inputs.models, conversions=job.inputs.conversions)
    with commands_disabled(job.stream) as show:
        show(plan_text(wanted))
    jobs = matrix(wanted, job.inputs.max_shards)
    publisher.set_outputs(
        {"status": "success", "exit_code": "0", "matrix": json.dumps(jobs), "shards": str(len(jobs["include"]))}
    )
    return ExitCode.OK


def cmd_convert(job: Job, publisher: Publisher, cancelled: Cancellation) -> ExitCode:
    """Run the engine and tell its results."""
    commit = check_checkout(job)
    run = _load(job)
    directory = run.workspace_path
    check_workspace(directory)
    origin = own_origin(job, run, commit)
    publisher.mark_pending()
    # What an earlier run left here must not be taken for this one's.
    for name in (RESULTS, SUMMARY):
        (directory / name).unlink(missing_ok=True)
    with sandbox(run, job) as identity:
        place = directory.resolve()
        variables = engine_variables(origin)
        ended = run_engine(_arguments(job), identity=identity, job=job, cancelled=cancelled, variables=variables)
    publisher.start_publishing()
    if directory.resolve() != place:
        raise ConfigurationError(f"{directory} was replaced by a link while models ran", "check what the models do")
    there = (directory / RESULTS).exists()
    if cancelled:
        if there and (directory / RESULTS).stat().st_size > _SLOW_BYTES:
            publisher.mark_cancelled()
        publisher.publish_cancelled(own_results(job, origin, directory) if there else None, directory)
        return ExitCode.CANCELLED
    if not there:
        raise _no_results(ended)
    made = own_results(job, origin, directory)
    problem = ""
    if not made.report.complete and ended.code != ExitCode.CANCELLED:
        problem = f"The run wasn't finished: {ended.reason}."
        made = _broken_off(job, made, ended, directory)
    code = made.exit_code
    # Beyond what the report says, the engine may have failed to write what was asked for.
    if problem or (code is ExitCode.OK and ended.code):
        problem, code = problem or "A requested file couldn't be written.", ExitCode.FAILURE
    show_logs(made, directory, job.stream, job.workspace)
    publisher.publish_results(made, directory, lambda: _models(job, made.report, directory), code, problem=problem)
    return code


def cmd_report(job: Job, publisher: Publisher, _cancelled: Cancellation) -> ExitCode:
    """Merge the results of several jobs, or take those of another run, and tell them."""
    if job.inputs.run_id is not None:
        publisher.act_for_run(job.inputs.run_id)
    merged = summarize(merge(collect(job, publisher), _matrix(job), allow_partial=job.inputs.allow_partial))
    check_reported(job, publisher, merged)
    directory = _directory(job)
    problem = _unwritten(job, merged, directory)
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
            extras=[directory / RESULTS, directory / SUMMARY],
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
}


def _load(job: Job) -> RunConfig:
    """Load the configuration with what the inputs say instead of it."""
    check_configuration(job)
    job.directory(job.inputs.workspace_path)
    given = {"workspace_path": job.inputs.workspace_path, "cache_path": job.inputs.cache_path}
    overrides = {key: value for key, value in given.items() if value}
    return config.load(Path(job.inputs.config), overrides, working_directory=job.workspace)


def _arguments(job: Job) -> list[str]:
    """Return the engine's command line."""
    inputs = job.inputs
    arguments = ["convert", "--config-path", inputs.config]
    for option, value in (
        ("--workspace-path", inputs.workspace_path),
        ("--cache-path", inputs.cache_path),
        ("--shard", inputs.shard),
    ):
        arguments += [option, value] if value else []
    for option, globs in (("--models", inputs.models), ("--conversions", inputs.conversions)):
        arguments += [option, *globs] if globs else []
    return [*arguments, "--verbose"] if inputs.verbose else arguments


def _directory(job: Job) -> Path:
    """Return where results are: a job that only reports may have no checkout, and no configuration to say so."""
    usual = job.directory(job.inputs.workspace_path or "navigator_workspace")
    if job.inputs.workspace_path or not (job.workspace / job.inputs.config).is_file():
        return usual
    try:
        return _load(job).workspace_path
    except ConfigurationError:
        return usual


def _models(job: Job, made: Report, directory: Path) -> tuple[models.ModelFiles, ...]:
    match job.inputs.artifacts:
        case "all":
            return models.everything(made, directory)
        case "converted":
            return models.converted(made, directory)
        case _:
            return ()


def _matrix(job: Job) -> Json:
    if not job.inputs.matrix:
        return None
    try:
        return parse_json(job.inputs.matrix)
    except PlainDataError as error:
        raise ConfigurationError(
            f"the input `matrix` isn't JSON: {error}", "pass the output `matrix` of the command `plan`"
        ) from error


def _broken_off(job: Job, made: Summary, ended: EngineExit, directory: Path) -> Summary:
    """Return the results of an engine that ended early, not cancelled; their files say the same."""
    remedy = _MORE_MEMORY if ended.code == 128 + signal.SIGKILL else "see the last lines of its output in the log"
    decided = summarize(broken_off(made.report, ended.reason, remedy))
    if unwritten := _unwritten(job, decided, directory):
        warn(job, unwritten)
    return decided


def _unwritten(job: Job, made: Summary, directory: Path) -> str:
    """Write results and summary; return why they couldn't be, which costs no channel, or ""."""
    try:
        write_report(made, directory, job.workspace)
    except UnwrittenError as error:
        return error.message.replace(f"{job.workspace}/", "")
    except OSError as error:
        return f"{job.shown(directory)} couldn't be written: {disks.reason(error, directory)}"
    return ""


def _no_results(ended: EngineExit) -> NavigatorError:
    """Return why the engine ended before it had results; its last words are an error of its own."""
    kinds: Mapping[int, type[NavigatorError]] = {
        2: ConfigurationError,
        3: NothingToDoError,
        71: ExhaustedError,
        74: UnwrittenError,
    }
    told = "; ".join(line.strip() for line in ended.last_words.splitlines())
    if ended.code <= 128 and told:
        return kinds.get(ended.code, NavigatorError)(f"nothing was converted: {told}")
    last = f"; last output: {told}" if told else " and no output"
    remedy = _MORE_MEMORY if ended.code == 128 + signal.SIGKILL else ""
    return EngineError(f"nothing was converted: {ended.reason}{last}", remedy)
