"""The page of the run: outputs, job summary, annotations and warnings. Needs no network."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from navigator import disks
from navigator.action.job import Job
from navigator.github import commands
from navigator.github.errors import PublishError
from navigator.render.annotations import Annotation
from navigator.render.text import harmless

_READ_ONLY = (
    "no comment, status or check run: tokens for pull requests from forks are read-only. The results are in the job "
    "summary and the artifacts. A workflow_run workflow with `command: report` can publish them."
)


def set_outputs(job: Job, outputs: Mapping[str, str]) -> None:
    """Write outputs of the step; later ones win."""
    path = job.file("GITHUB_OUTPUT")
    if path is not None:
        with warning(job, "couldn't write the outputs"):
            for name in commands.set_outputs(outputs, path):
                warn(job, f"the output {name} was dropped: GitHub limits all outputs together to 1 MB")


def summarise(job: Job, markdown: str) -> None:
    """Append to the job summary."""
    path = job.file("GITHUB_STEP_SUMMARY")
    if path is not None and job.inputs.summary:
        with warning(job, "couldn't write the job summary"):
            commands.append_summary(markdown, path)


def annotate(job: Job, annotations: Sequence[Annotation]) -> None:
    """Annotate lines of the repository's files."""
    if job.inputs.annotations:
        commands.annotate(annotations, job.stream)


def warn(job: Job, message: str) -> None:
    """Show a warning in the log and on the run's page, once."""
    if message not in job.warned:
        job.warned.add(message)
        commands.tell(commands.command("warning", harmless(message)), job.stream)


@contextmanager
def warning(job: Job, failure: str) -> Iterator[None]:
    """Turn an error of publishing into a warning that begins with `failure`."""
    try:
        yield
    except PublishError as error:
        # GitHub refuses each call, for a reason that isn't the job's to change.
        read_only = job.event.fork and job.event.name != "pull_request_target" and "not accessible by" in error.message
        warn(job, _READ_ONLY if read_only else f"{failure}: {error}")
    except OSError as error:
        warn(job, f"{failure}: {disks.reason(error, job.workspace)}")
