"""The action from its variables to its exit code: tokens hidden first, then inputs, then the command.

Owns what fails the job, and the last resort for errors. A result is never lost to an error of publishing.
"""

import os
import sys
import traceback
from collections.abc import MutableMapping
from dataclasses import replace
from pathlib import Path

from navigator import __version__, disks
from navigator.action.cancellation import Cancellation
from navigator.action.commands import COMMANDS
from navigator.action.inputs import Inputs, InvalidInputsError, read_inputs
from navigator.action.job import Job
from navigator.action.publisher import PUBLISHING_SECONDS, Publisher
from navigator.action.secrets import Secrets, hide
from navigator.config import InvalidConfigurationError
from navigator.errors import ExitCode, FileError, NavigatorError, remedy
from navigator.github.budget import Budget
from navigator.github.commands import command, tell
from navigator.github.event import read_event
from navigator.render.streams import open_missing, write

# A runner signals a cancelled job again after 7.5 s, and kills it 2.5 s later. The engine has 3 s of these.
_CANCELLED_SECONDS = 6.0


def main(environment: MutableMapping[str, str]) -> int:
    """Run the action and return the exit code of its step.

    Args:
        environment: os.environ, from which the tokens are taken away.
    """
    secrets = hide(environment)
    open_missing()
    budget = Budget(PUBLISHING_SECONDS)
    cancelled = Cancellation(lambda: budget.shorten(_CANCELLED_SECONDS))
    try:
        job, wrong = _job(environment, secrets)
    except NavigatorError as error:
        tell(command("error", str(error)), sys.stdout)
        return error.exit_code
    os.chdir(job.workspace)
    code = _run(job, Publisher(job, budget, cancelled), cancelled, wrong)
    if cancelled:
        # The interpreter would wait for the threads of an upload that was given up.
        sys.stdout.flush()
        os._exit(code)
    return 0 if _forgiven(code, job.inputs) else code


def _job(environment: MutableMapping[str, str], secrets: Secrets) -> tuple[Job, InvalidInputsError | None]:
    """Return the job, and what is wrong with its inputs, which it has defaults for: it says so where it can."""
    wrong = None
    try:
        inputs = read_inputs(environment)
    except InvalidInputsError as error:
        inputs, wrong = error.inputs, error
    job = Job(
        inputs=inputs,
        event=read_event(environment),
        secrets=secrets,
        environment=dict(environment),
        workspace=Path(environment.get("GITHUB_WORKSPACE") or Path.cwd()).resolve(),
        stream=sys.stdout,
    )
    return job, wrong


def _run(job: Job, publisher: Publisher, cancelled: Cancellation, wrong: InvalidInputsError | None) -> ExitCode:
    try:
        return _work(job, publisher, cancelled, wrong)
    except NavigatorError as error:
        _name_as_readers_do(error, job)
        write(f"{error}\n", job.stream)
        publisher.report_error(error)
        return error.exit_code
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        failure = FileError(f"{where}{disks.reason(error, job.workspace)}", remedy(error))
        write(f"{failure}\n", job.stream)
        publisher.report_error(failure)
        return failure.exit_code
    except Exception as error:  # noqa: BLE001 - the last resort
        write(traceback.format_exc(), job.stream)
        bug = NavigatorError(
            f"internal error in model-navigator {__version__}: {type(error).__name__}: {error}",
            "please report it with the log lines above",
        )
        publisher.report_error(bug)
        return ExitCode.BUG


def _work(job: Job, publisher: Publisher, cancelled: Cancellation, wrong: InvalidInputsError | None) -> ExitCode:
    if wrong is not None:
        raise wrong
    return COMMANDS[job.inputs.command](job, publisher, cancelled)


def _name_as_readers_do(error: NavigatorError, job: Job) -> None:
    """Let an error name files of the repository as its readers know them, who don't know this container."""
    error.message, error.hint = job.text(error.message), job.text(error.hint)
    if isinstance(error, InvalidConfigurationError):
        error.problems = tuple(
            replace(each, message=job.text(each.message), hint=job.text(each.hint)) for each in error.problems
        )


def _forgiven(code: ExitCode, inputs: Inputs) -> bool:
    """Tell whether the job passes although its work did not end well. A cancelled one never does."""
    if inputs.fail_on == "never":
        return code is not ExitCode.CANCELLED
    return inputs.fail_on == "error" and code is ExitCode.FAILURE
