"""Publishes what a job did: outputs, job summary, annotations, artifacts, comment, check run, status.

Owns the order, and how much time each channel may take: trouble with one is a warning that costs neither the others nor
a result. The channels are in `navigator.action.channels`; what the texts say is `navigator.render`'s.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from navigator.action import names
from navigator.action.baseline import changes, to_report
from navigator.action.cancellation import Cancellation
from navigator.action.channels.comment import mark_comment, write_comment
from navigator.action.channels.commit import complete_check_run, set_status
from navigator.action.channels.page import annotate, set_outputs, summarise, warn, warning
from navigator.action.channels.uploads import Uploads
from navigator.action.job import Job
from navigator.action.models import ModelFiles
from navigator.action.results_output import results_json
from navigator.changes.base import Base
from navigator.config import InvalidConfigurationError
from navigator.errors import ExitCode, NavigatorError
from navigator.github.budget import Budget
from navigator.github.commands import SUMMARY_LIMIT_BYTES
from navigator.github.event import Event
from navigator.github.rest import Rest
from navigator.github.shared_comment import AROUND_CHARS
from navigator.github.voices import Record, Verdict, Voice, named
from navigator.records import Changes, Report, State
from navigator.render.annotations import Annotation, Level, of_problems, of_report
from navigator.render.badge import badge
from navigator.render.comment import LIMIT_CHARS, comment, problem_text
from navigator.render.headline import description
from navigator.render.markdown import summary_markdown
from navigator.report.report import seen_from
from navigator.report.storage import PAGE, RESULTS, SUMMARY
from navigator.report.summary import Summary, summarize

PUBLISHING_SECONDS = 3600.0
"""How long publishing may take in all. Uploading models takes most of it; the job's own time limit ends the rest."""

# A check run has room for 65,535 characters.
_CHECK_CHARS = 65_000
# A job summary has room for 1 MiB: for as many characters, or, whatever they are, for a quarter.
_SUMMARY_CHARS = (1_000_000, 250_000)
_COMMENT_CHARS = LIMIT_CHARS - AROUND_CHARS

# How long comment, status and check run may take each: a limit of GitHub's rates begins at a minute, and may last an
# hour. Before the work begins nothing is worth a wait.
_CHANNEL_SECONDS = 300.0
_PENDING_SECONDS = 15.0

_STATES = {ExitCode.OK: "success", ExitCode.FAILURE: "failure"}
_WORDS = {ExitCode.OK: "success", ExitCode.FAILURE: "failure", ExitCode.CANCELLED: "cancelled"}


class Publisher:
    """Everything that a job tells GitHub. No method raises for what GitHub answers: it warns.

    Args:
        job: the inputs, the event, the tokens and the runner's files.
        budget: how long all of it may take.
        cancelled: the job's cancellation, after which an upload is given up for the status.

    Attributes:
        uploads: the artifacts of this run.
    """

    def __init__(self, job: Job, budget: Budget, cancelled: Cancellation) -> None:
        self.uploads = Uploads(job, budget, cancelled)
        self._job = job
        self._budget = budget
        self._rivals: dict[Voice, None] = {}

    @cached_property
    def rest(self) -> Rest:
        """GitHub's REST API with the job's token. PublishError if there is none."""
        return self._job.rest(self._budget)

    @property
    def event(self) -> Event:
        """What is published for: the job's event, or that of the run that it acts for."""
        return self._job.event

    def act_for_run(self, run: int) -> None:
        """Publish to the commit and the pull request of another run, as an event of that run would.

        Raises:
            PublishError: GitHub doesn't name them.
        """
        found = self.rest.call("GET", f"/repos/{self._job.event.repository}/actions/runs/{run}")
        event = replace(
            self._job.event,
            name="workflow_run",
            sha=found["head_sha"],
            pull_request=None,
            fork=((found["head_repository"] or {}).get("full_name") or "").lower()
            != self._job.event.repository.lower(),
            tag="",
            head_owner=((found["head_repository"] or {}).get("owner") or {}).get("login", ""),
            head_branch=found["head_branch"] or "",
            triggering_run=run,
            triggering_workflow=found["name"] or "",
            workflow_id=str(found["workflow_id"]),
            base_branch="",
            previous="",
        )
        self._job = replace(self._job, event=event)

    def mark_pending(self) -> None:
        """Set the status while the run goes on, and mark a comment on an earlier commit as out of date."""
        self._set_status("pending", "converting and verifying", seconds=_PENDING_SECONDS)
        # A comment that only changes with the outcome may stay as it is.
        if self._job.inputs.comment != "change":
            mark_comment(self._job, self._within(_PENDING_SECONDS), cancelled=False)

    def start_publishing(self) -> None:
        """Let the time for publishing begin: what was done until now took its own."""
        self._budget.restart(PUBLISHING_SECONDS)

    def mark_cancelled(self) -> None:
        """Set the status of a cancelled job first, if reading its results may take the seconds that are left."""
        self._set_status("error", "cancelled before every conversion finished")

    def report_error(self, error: NavigatorError) -> None:
        """Publish why nothing was run: what is wrong with the configuration, at its lines."""
        if isinstance(error, InvalidConfigurationError):
            annotate(self._job, of_problems(error.problems, self._job.workspace))
        else:
            annotate(self._job, [Annotation(level=Level.ERROR, message=str(error))])
        title = names.title(self._job.inputs)
        text = problem_text(error, key=self._job.key, links=self.uploads.links, title=title, limit_chars=_COMMENT_CHARS)
        summarise(self._job, text)
        self.set_outputs({"status": "error", "exit_code": str(int(error.exit_code))})
        self._set_status("error", error.message)
        self._comment(text, Verdict.error)
        self._check("failure", error.message, text)
        self._tell_rivals()

    def publish_results(
        self,
        summary: Summary,
        directory: Path,
        models: Callable[[], Sequence[ModelFiles]],
        code: ExitCode,
        *,
        problem: str = "",
    ) -> None:
        """Publish the results of a run.

        Args:
            summary: of what became of the conversions.
            directory: where the files of the report are.
            models: gives the converted models to upload; may raise PublishError.
            code: of the work.
            problem: why the code is a failure, if it isn't only the report that says so.
        """
        summary = self._seen(summary)
        self._show(summary, directory, code)
        annotate(self._job, of_report(summary, self._job.workspace))
        if problem:
            message = "\n".join((problem, *summary.report.notes))
            annotate(self._job, [Annotation(level=Level.ERROR, message=message)])
        if self._job.inputs.artifacts != "none":
            with warning(self._job, f"no artifact was uploaded; the files are in {self._job.shown(directory)}"):
                self.uploads.upload_results(directory)
                self.uploads.upload_models(models())
        self._judge(summary, code, problem)
        links = replace(self.uploads.links, log_url=self._job.event.log_url)
        title = names.title(self._job.inputs)
        body = comment(
            summary, key=self._job.key, links=links, title=title, problem=problem, limit_chars=_COMMENT_CHARS
        )
        self._comment(body, Verdict[_STATES.get(code, "error")])
        self._check_results(summary, code)
        self._tell_rivals()

    def changes(self, report: Report, given: Base | Changes | None) -> Changes | None:
        """Return what changed since the base, as `navigator.action.baseline.changes` finds it."""
        return changes(self._job, self._budget, report, given)

    def report_nothing(self, said: str) -> None:
        """Publish that there was nothing to do, and that this is fine."""
        self.set_outputs({"status": "success", "exit_code": "0"})
        self._set_status("success", said)

    def publish_cancelled(self, summary: Summary | None, directory: Path) -> None:
        """Publish the results of a cancelled run. Seconds are left: what is local, and then the status."""
        if summary is None:
            said = "cancelled before anything was converted"
            self.set_outputs({"status": "cancelled", "exit_code": str(int(ExitCode.CANCELLED))})
            self._set_status("error", said)
            self._check("cancelled", said, said)
            self._mark_as_cancelled()
            return
        summary = self._seen(summary)
        self._show(summary, directory, ExitCode.CANCELLED)
        self._judge(summary, ExitCode.CANCELLED)
        self._check_results(summary, ExitCode.CANCELLED)
        self._mark_as_cancelled()

    def set_outputs(self, outputs: dict[str, str]) -> None:
        """Write outputs of the step; later ones win."""
        set_outputs(self._job, outputs)

    def _show(self, summary: Summary, directory: Path, code: ExitCode) -> None:
        """Show the results on the page of the run."""
        self.set_outputs(
            {
                "status": _WORDS.get(code, "error"),
                "exit_code": str(int(code)),
                "total": str(len(summary.report.results)),
                "passed": str(summary.states.get(State.PASSED, 0)),
                "failures": str(len(summary.failed)),
                "coverage": str(summary.coverage),
                "results_path": self._job.shown(directory / RESULTS),
                "summary_path": self._job.shown(directory / SUMMARY),
                "page_path": self._job.shown(directory / PAGE),
                "models_path": self._job.shown(directory / "converted"),
                "results": results_json(summary),
                "badge": badge(summary),
                "artifact_name": names.artifact_prefix(self._job.inputs),
            }
        )
        title = names.title(self._job.inputs)
        for chars in _SUMMARY_CHARS:
            text = summary_markdown(summary, limit_chars=chars, log_url=self._job.event.log_url, title=title)
            if len(text.encode("utf-8", "replace")) <= SUMMARY_LIMIT_BYTES:
                break
        summarise(self._job, text)

    def _seen(self, summary: Summary) -> Summary:
        """Return the summary as readers see it to whom the workspace is the repository."""
        report = seen_from(summary.report, self._job.workspace)
        return summarize(report, summary.changes and to_report(summary.changes, report))

    def _judge(self, summary: Summary, code: ExitCode, problem: str = "") -> None:
        said = " ".join(filter(None, (problem, description(summary))))
        self._set_status(_STATES.get(code, "error"), said)

    def _check_results(self, summary: Summary, code: ExitCode) -> None:
        text = summary_markdown(summary, limit_chars=_CHECK_CHARS, log_url=self._job.event.log_url)
        conclusion = "cancelled" if code is ExitCode.CANCELLED else _STATES.get(code, "failure")
        self._check(conclusion, description(summary), text, of_report(summary, self._job.workspace))

    def _set_status(self, state: str, said: str, *, seconds: float = _CHANNEL_SECONDS) -> None:
        self._heard(set_status(self._job, self._within(seconds), state=state, description=said))

    def _check(self, conclusion: str, title: str, text: str, annotations: Sequence[Annotation] = ()) -> None:
        budget = self._within(_CHANNEL_SECONDS)
        self._heard(
            complete_check_run(
                self._job, budget, conclusion=conclusion, title=title, text=text, annotations=annotations
            )
        )

    def _comment(self, body: str, verdict: Verdict) -> None:
        self._heard(write_comment(self._job, self._within(_CHANNEL_SECONDS), body, verdict=verdict))

    def _heard(self, rivals: Sequence[Record]) -> None:
        self._rivals |= {each.voice: None for each in rivals}

    def _mark_as_cancelled(self) -> None:
        """Mark the comment if there is time left, which matters less than everything else."""
        if self._budget.left:
            mark_comment(self._job, self._within(_CHANNEL_SECONDS), cancelled=True)

    def _tell_rivals(self) -> None:
        """Say in the log and the summary which other jobs have the same status or comment, and what to do."""
        if not self._rivals:
            return
        own = self._job.voice.job
        jobs = {
            f"another step or matrix job of {each.job}" if each.job == own else named(each) for each in self._rivals
        }
        said = (
            f"This job has the same status, check run or comment as {', '.join(sorted(jobs))}, so these show the worst "
            "verdict of all. Give each job its own `status_context`, such as one with a value of its matrix."
        )
        warn(self._job, said)
        summarise(self._job, f"\n> [!WARNING]\n> {said}\n")

    def _within(self, seconds: float) -> Budget:
        return Budget(seconds, within=self._budget)
