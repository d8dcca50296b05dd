"""Beside the commit: its status, and a check run."""

from collections.abc import Sequence

from navigator.action.channels.page import warning
from navigator.action.job import Job
from navigator.github import status
from navigator.github.budget import Budget
from navigator.render.annotations import Annotation


def set_status(job: Job, budget: Budget, *, state: str, description: str) -> None:
    """Set the commit status if the job is to."""
    if not job.inputs.status or not job.speaks_for_commit:
        return
    with warning(job, "couldn't set the commit status"):
        context = job.inputs.status_context
        status.set_status(job.rest(budget), job.event, state=state, description=description, context=context)


def complete_check_run(
    job: Job, budget: Budget, *, conclusion: str, title: str, text: str, annotations: Sequence[Annotation] = ()
) -> None:
    """Make a check run that has ended if the job is to."""
    if not job.inputs.check_run or not job.speaks_for_commit:
        return
    with warning(job, "couldn't create the check run"):
        status.complete_check_run(
            job.rest(budget),
            job.event,
            name=job.inputs.status_context,
            conclusion=conclusion,
            title=title,
            summary=text,
            annotations=annotations,
        )
