"""The commands that run the engine: `convert`, and `rehearse`, which converts twice. Each returns the exit code.

A wrong configuration is raised; `navigator.action.main` tells it.
"""

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from navigator import config, disks
from navigator.action import models
from navigator.action.baseline import given_baseline
from navigator.action.cancellation import Cancellation
from navigator.action.channels.page import warn
from navigator.action.checkout import check_configuration
from navigator.action.collect import write_report
from navigator.action.engine_process import EngineExit, run_engine
from navigator.action.job import Job
from navigator.action.logs import show_logs
from navigator.action.origins import check_checkout, own_origin, own_results
from navigator.action.publisher import Publisher
from navigator.action.sandbox import sandbox
from navigator.changes.compare import compare
from navigator.changes.rehearsal import installed
from navigator.engine.workspace import check_workspace, rehearsal
from navigator.errors import ConfigurationError, ExhaustedError, ExitCode, NavigatorError, NothingToDoError
from navigator.github.commands import commands_disabled
from navigator.github.origin import engine_variables
from navigator.records import FailOn, Origin, Report, RunConfig
from navigator.render.console import changes_text
from navigator.render.files import UnwrittenError
from navigator.report.report import broken_off
from navigator.report.storage import REPORT, RESULTS
from navigator.report.summary import Summary, summarize

# Reading a larger report takes a second.
_SLOW_BYTES = 500_000

_MORE_MEMORY = "use a runner with more memory, or reduce jobs, max_shapes or memory_limit_bytes"


class EngineError(NavigatorError):
    """The engine ended without a word about why."""

    exit_code = ExitCode.FAILURE


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ran:
    """What ran: the configuration, the origin of its results, where these are, and how the engine ended."""

    run: RunConfig
    origin: Origin
    directory: Path
    ended: EngineExit

    @property
    def has_results(self) -> bool:
        return (self.directory / RESULTS).exists()


def cmd_convert(job: Job, publisher: Publisher, cancelled: Cancellation) -> ExitCode:
    """Run the engine, compare its results with those of the base, and tell both."""
    given = given_baseline(job)
    ran = _run(job, publisher, cancelled, _arguments(job), lambda workspace: workspace)
    directory = ran.directory
    if cancelled:
        if ran.has_results and (directory / RESULTS).stat().st_size > _SLOW_BYTES:
            publisher.mark_cancelled()
        made = own_results(job, ran.origin, directory, ran.run) if ran.has_results else None
        publisher.publish_cancelled(made, directory)
        return ExitCode.CANCELLED
    if not ran.has_results:
        raise _no_results(ran.ended)
    made = own_results(job, ran.origin, directory, ran.run)
    # Beyond what the report says, the engine may have failed to write what was asked for.
    problem = "A requested file couldn't be written." if made.exit_code is ExitCode.OK and ran.ended.code else ""
    if not made.report.complete and ran.ended.code != ExitCode.CANCELLED:
        problem = f"The run wasn't finished: {ran.ended.reason}."
        made = summarize(broken_off(made.report, ran.ended.reason, _remedy(ran.ended)))
    if not (job.inputs.shard and made.report.complete):
        made = summarize(made.report, publisher.changes(made.report, given))
        if unsaid := unwritten(job, made, directory):
            warn(job, unsaid)
    code = ExitCode.FAILURE if problem else made.exit_code
    show_changes(job, made)
    show_logs(made, directory, job.stream, job.workspace)
    publisher.publish_results(made, directory, lambda: _models(job, made.report, directory), code, problem=problem)
    # What fails a shard may have failed before: the report of all knows.
    later = job.inputs.shard and ran.run.fail_on is FailOn.REGRESSION and made.report.complete and not problem
    return ExitCode.OK if later else code


def cmd_rehearse(job: Job, publisher: Publisher, cancelled: Cancellation) -> ExitCode:
    """Convert with the installed and with the proposed versions, and tell what changes."""
    if not job.inputs.with_:
        raise ConfigurationError("the input `with` is empty", "set it to packages such as `onnxruntime==1.31.*`")
    arguments = [*_arguments(job), *(word for each in job.inputs.with_ for word in ("--with", each))]
    ran = _run(job, publisher, cancelled, arguments, lambda workspace: rehearsal(workspace)[1])
    if cancelled:
        publisher.publish_cancelled(None, ran.directory)
        return ExitCode.CANCELLED
    if not ran.has_results:
        if ran.ended.code == ExitCode.OK:
            publisher.report_nothing(ran.ended.last_words)
            return ExitCode.OK
        raise _no_results(ran.ended)
    before = own_results(job, ran.origin, rehearsal(ran.run.workspace_path)[0], ran.run)
    made = own_results(job, ran.origin, ran.directory, replace(ran.run, fail_on=FailOn.REGRESSION))
    made = summarize(made.report, compare(made.report, installed(before.report)))
    problem = unwritten(job, made, ran.directory)
    code = ExitCode.FAILURE if problem and made.exit_code is ExitCode.OK else made.exit_code
    show_logs(made, ran.directory, job.stream, job.workspace)
    publisher.publish_results(made, ran.directory, tuple, code, problem=problem)
    return code


def _run(
    job: Job,
    publisher: Publisher,
    cancelled: Cancellation,
    arguments: Sequence[str],
    place: Callable[[Path], Path],
) -> _Ran:
    """Run the engine, whose results are at `place` in its workspace; nothing of an earlier run is left there."""
    commit = check_checkout(job)
    run = load(job)
    check_workspace(run.workspace_path)
    directory = place(run.workspace_path)
    origin = own_origin(job, run, commit)
    publisher.mark_pending()
    for name in REPORT:
        (directory / name).unlink(missing_ok=True)
    with sandbox(run, job) as identity:
        resolved = directory.resolve()
        variables = engine_variables(origin)
        ended = run_engine(arguments, identity=identity, job=job, cancelled=cancelled, variables=variables)
    publisher.start_publishing()
    if directory.resolve() != resolved:
        raise ConfigurationError(f"{directory} was replaced by a link while models ran", "check what the models do")
    return _Ran(run=run, origin=origin, directory=directory, ended=ended)


def load(job: Job) -> RunConfig:
    """Load the configuration with what the inputs say instead of it."""
    check_configuration(job)
    job.directory(job.inputs.workspace_path)
    given = {
        "workspace_path": job.inputs.workspace_path,
        "cache_path": job.inputs.cache_path,
        "fail_on": _fail_on(job),
    }
    overrides = {key: value for key, value in given.items() if value}
    return config.load(Path(job.inputs.config), overrides, working_directory=job.workspace)


def _arguments(job: Job) -> list[str]:
    """Return the engine's command line."""
    inputs = job.inputs
    arguments = [inputs.command, "--config-path", inputs.config]
    for option, value in (
        ("--workspace-path", inputs.workspace_path),
        ("--cache-path", inputs.cache_path),
        ("--shard", inputs.shard),
        ("--fail-on", _fail_on(job)),
    ):
        arguments += [option, value] if value else []
    for option, globs in (("--models", inputs.models), ("--conversions", inputs.conversions)):
        arguments += [option, *globs] if globs else []
    return [*arguments, "--verbose"] if inputs.verbose else arguments


def _fail_on(job: Job) -> str:
    """Return what fails the engine's run instead of what the configuration says, "" if that counts."""
    return job.inputs.fail_on if job.inputs.fail_on == "regression" else ""


def _models(job: Job, made: Report, directory: Path) -> tuple[models.ModelFiles, ...]:
    match job.inputs.artifacts:
        case "all":
            return models.everything(made, directory)
        case "converted":
            return models.converted(made, directory)
        case _:
            return ()


def show_changes(job: Job, made: Summary) -> None:
    """Show in the log what changed since the base; the engine doesn't know it."""
    with commands_disabled(job.stream) as show:
        show(job.text(changes_text(made)))


def _remedy(ended: EngineExit) -> str:
    return _MORE_MEMORY if ended.code == 128 + signal.SIGKILL else "see the last lines of its output in the log"


def unwritten(job: Job, made: Summary, directory: Path) -> str:
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
