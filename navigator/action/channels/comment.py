"""The comment on the pull request."""

from contextlib import suppress

from navigator.action.channels.page import set_outputs, warning
from navigator.action.job import Job
from navigator.github.budget import Budget
from navigator.github.comment import mark, upsert
from navigator.github.errors import PublishError
from navigator.github.pull_request import pull_request_of
from navigator.github.voices import Record, Verdict
from navigator.render.comment import marker, out_of_date


def write_comment(job: Job, budget: Budget, body: str, *, verdict: Verdict) -> tuple[Record, ...]:
    """Write or update the comment if the job is to and if there is a pull request; return the other voices in it."""
    rivals: tuple[Record, ...] = ()
    if job.inputs.comment == "never" or not job.speaks_for_commit:
        return rivals
    with warning(job, "couldn't comment on the pull request"):
        rest = job.rest(budget)
        number = pull_request_of(rest, job.event)
        if number is not None:
            record = Record(job.voice, verdict)
            written = upsert(
                rest,
                job.event.repository,
                number,
                body,
                mode=job.inputs.comment,
                record=record,
                commit=job.event.sha,
            )
            rivals = written.rivals
            if written.url:
                set_outputs(job, {"comment_url": written.url})
    return rivals


def mark_comment(job: Job, budget: Budget, *, cancelled: bool) -> None:
    """Let a comment on an earlier commit say that it's out of date, if the job comments.

    Trouble is only told where the run is cancelled: otherwise the job comments again, and tells it then.
    """
    if job.inputs.comment == "never" or not job.speaks_for_commit:
        return
    told = warning(job, "couldn't mark the comment on the pull request as out of date")
    with told if cancelled else suppress(PublishError):
        rest = job.rest(budget)
        number = pull_request_of(rest, job.event)
        if number is not None:
            mark(
                rest,
                job.event.repository,
                number,
                marker(job.key),
                record=Record(job.voice, Verdict.pending),
                commit=job.event.sha,
                line=lambda about: out_of_date(about, job.event.sha, job.event.run_url, cancelled=cancelled),
            )
