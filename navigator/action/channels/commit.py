"""Beside the commit: its status, and a check run."""

from collections.abc import Sequence

from navigator.action import names
from navigator.action.channels.page import warning
from navigator.action.job import Job
from navigator.github import status
from navigator.github.budget import Budget
from navigator.github.voices import Record
from navigator.render.annotations import Annotation


def set_status(job: Job, budget: Budget, *, state: str, description: str) -> tuple[Record, ...]:
    """Set the commit status if the job is to, and return the other voices that set it."""
    if job.inputs.status and job.speaks_for_commit:
        with warning(job, "couldn't set the commit status"):
            return status.set_status(
                job.rest(budget),
                job.event,
                state=state,
                description=description,
                context=names.status_context(job.inputs),
                voice=job.voice,
            )
    return ()


def complete_check_run(
    job: Job, budget: Budget, *, conclusion: str, title: str, text: str, annotations: Sequence[Annotation] = ()
) -> tuple[Record, ...]:
    """Make a check run that has ended if the job is to, and return the other voices that made one of its name."""
    if job.inputs.check_run and job.speaks_for_commit:
        with warning(job, "couldn't create the check run"):
            return status.complete_check_run(
                job.rest(budget),
                job.event,
                name=names.status_context(job.inputs),
                conclusion=conclusion,
                title=title,
                summary=text,
                annotations=annotations,
                voice=job.voice,
            )
    return ()
