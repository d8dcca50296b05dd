"""What is told where: outputs, job summary, annotations, artifacts, comment, check run, status.

Owns the order, the switches, and that trouble with one channel is a warning which costs neither the others nor a
result. What the texts say is `navigator.render`'s, how GitHub is told `navigator.github`'s.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from navigator.action.cancellation import Cancellation
from navigator.action.job import Job
from navigator.action.models import ModelFiles
from navigator.action.results_output import results_json
from navigator.config import InvalidConfigurationError
from navigator.errors import ExitCode, NavigatorError
from navigator.github import comment as comments
from navigator.github import status as statuses
from navigator.github.artifacts.client import Artifact, Artifacts
from navigator.github.budget import Budget
from navigator.github.commands import annotate, append_summary, command, mask, set_outputs
from navigator.github.pull_request import pull_request_of
from navigator.github.release_assets import unique
from navigator.github.rest import PublishError, Rest
from navigator.records import State
from navigator.render.annotations import Annotation, Level, of_problems, of_report
from navigator.render.comment import Links, comment, problem_text
from navigator.render.markdown import summary_markdown
from navigator.render.sentences import description
from navigator.render.streams import write
from navigator.report.report import seen_from
from navigator.report.storage import RESULTS, SUMMARY
from navigator.report.summary import Summary, summarize

PUBLISHING_SECONDS = 3600.0
"""How long publishing may take in all. Uploading models takes most of it; the job's own time limit ends the rest."""

# A check run has room for 65,535 characters.
_CHECK_CHARS = 65_000

# How long comment, status and check run may take each: a limit of GitHub's rates begins at a minute, and may last an
# hour. Before the work begins nothing is worth a wait.
_CHANNEL_SECONDS = 300.0
_PENDING_SECONDS = 15.0

_UNWRITTEN = "A requested file couldn't be written."

_STATES = {ExitCode.OK: "success", ExitCode.FAILURE: "failure"}
_WORDS = {ExitCode.OK: "success", ExitCode.FAILURE: "failure", ExitCode.CANCELLED: "cancelled"}


class Publisher:
    """Everything that a job tells GitHub. No method raises for what GitHub answers: it warns.

    Args:
        job: the inputs, the event, the tokens and the runner's files.
        budget: how long all of it may take.
        cancelled: the job's cancellation, after which an upload is given up for the status.
    """

    def __init__(self, job: Job, budget: Budget, cancelled: Cancellation) -> None:
        self._job = job
        self._budget = budget
        self._cancelled = cancelled
        self._links = Links(run_url=job.event.run_url)

    @cached_property
    def rest(self) -> Rest:
        """GitHub's REST API with the job's token."""
        return self._rest(self._budget)

    @cached_property
    def artifacts(self) -> Artifacts:
        """The artifact service of this run.

        Raises:
            PublishError: this server or this kind of step has none.
        """
        return Artifacts.of(
            self._job.environment,
            self._job.secrets.runtime_token,
            budget=self._budget,
            mask=lambda value: mask(value, self._job.stream),
            protocol=self._job.inputs.artifact_protocol,
        )

    def speak_for(self, run: int) -> None:
        """Speak of the commit and the pull request of another run, as an event of that run would.

        Raises:
            PublishError: GitHub does not tell them.
        """
        found = self.rest.call("GET", f"/repos/{self._job.event.repository}/actions/runs/{run}")
        event = replace(
            self._job.event,
            name="workflow_run",
            sha=found["head_sha"],
            pull_request=None,
            tag="",
            head_owner=((found["head_repository"] or {}).get("owner") or {}).get("login", ""),
            head_branch=found["head_branch"] or "",
            triggering_run=run,
            triggering_workflow=found["name"] or "",
        )
        self._job = replace(self._job, event=event)

    def pending(self) -> None:
        """Set the status while the run goes on."""
        self._set_status("pending", "converting and verifying", seconds=_PENDING_SECONDS)

    def begin(self) -> None:
        """Let the time for publishing begin: what was done until now took its own."""
        self._budget.restart(PUBLISHING_SECONDS)

    def interrupted(self) -> None:
        """Say that the job was cancelled, where reading its results may take the seconds that are left."""
        self._set_status("error", "cancelled before every conversion finished")

    def wrong(self, error: NavigatorError) -> None:
        """Tell why nothing was run: what is wrong with the configuration, at its lines."""
        if isinstance(error, InvalidConfigurationError):
            self._annotate(of_problems(error.problems, self._job.workspace))
        else:
            self._annotate([Annotation(level=Level.ERROR, message=str(error))])
        text = problem_text(error, key=self._job.key, links=self._links)
        self._summarise(text)
        self.set_outputs({"status": "error", "exit_code": str(int(error.exit_code))})
        self._set_status("error", error.message)
        self._comment(text, good=False)
        self._check("failure", error.message, text, ())

    def results(
        self, summary: Summary, directory: Path, keep: Callable[[], Sequence[ModelFiles]], code: ExitCode
    ) -> None:
        """Tell the results of a run.

        Args:
            summary: of what became of the conversions.
            directory: where the files of the report are.
            keep: gives the converted models to upload; may raise PublishError.
            code: of the work; a failure although the report is none if a file could not be written.
        """
        summary = self._seen(summary)
        self._tell_job(summary, directory, code)
        self._annotate(of_report(summary, self._job.workspace))
        unwritten = "" if code is summary.exit_code else _UNWRITTEN
        if unwritten:
            self._annotate([Annotation(level=Level.ERROR, message="\n".join((unwritten, *summary.report.notes)))])
        self._upload(directory, keep)
        self._judge(summary, code)
        body = comment(summary, key=self._job.key, links=self._links, title=unwritten)
        self._comment(body, good=code is ExitCode.OK)
        self._check_results(summary, code)

    def cancelled(self, summary: Summary | None, directory: Path) -> None:
        """Tell the results of a run that was cancelled. Seconds are left: what is local, and then the status."""
        if summary is None:
            said = "cancelled before anything was converted"
            self.set_outputs({"status": "cancelled", "exit_code": str(int(ExitCode.CANCELLED))})
            self._set_status("error", said)
            self._check("cancelled", said, said, ())
            return
        summary = self._seen(summary)
        self._tell_job(summary, directory, ExitCode.CANCELLED)
        self._judge(summary, ExitCode.CANCELLED)
        self._check_results(summary, ExitCode.CANCELLED)

    def set_outputs(self, outputs: dict[str, str]) -> None:
        """Write outputs of the step; later ones win."""
        path = self._job.file("GITHUB_OUTPUT")
        if path is not None:
            with self._warning("the outputs could not be written"):
                for name in set_outputs(outputs, path):
                    self.warn(f"the output {name} is left out: GitHub keeps no more than 1 MB of all")

    def warn(self, message: str) -> None:
        """Show a warning in the log and on the run's page."""
        write(f"{command('warning', message)}\n", self._job.stream)

    def _rest(self, budget: Budget) -> Rest:
        if not self._job.secrets.token:
            raise PublishError("no GitHub token was provided", "pass `token: ${{ github.token }}`")
        return Rest(self._job.event.api_url, self._job.secrets.token, budget)

    def _tell_job(self, summary: Summary, directory: Path, code: ExitCode) -> None:
        self.set_outputs(
            {
                "status": _WORDS.get(code, "error"),
                "exit_code": str(int(code)),
                "total": str(len(summary.report.results)),
                "passed": str(summary.states.get(State.PASSED, 0)),
                "failures": str(len(summary.failed)),
                "results_path": self._shown(directory / RESULTS),
                "summary_path": self._shown(directory / SUMMARY),
                "models_path": self._shown(directory / "converted"),
                "results": results_json(summary),
            }
        )
        self._summarise(summary_markdown(summary))

    def _shown(self, path: Path) -> str:
        """Return a path as other steps may use it: they do not run in this container."""
        return str(path.relative_to(self._job.workspace)) if path.is_relative_to(self._job.workspace) else str(path)

    def _summarise(self, markdown: str) -> None:
        path = self._job.file("GITHUB_STEP_SUMMARY")
        if path is not None and self._job.inputs.summary:
            with self._warning("the job summary could not be written"):
                append_summary(markdown, path)

    def _annotate(self, annotations: Sequence[Annotation]) -> None:
        if self._job.inputs.annotations:
            annotate(annotations, self._job.stream)

    def _upload(self, directory: Path, keep: Callable[[], Sequence[ModelFiles]]) -> None:
        """Upload the results, and the models where they are wanted; remember where they are for the comment."""
        inputs = self._job.inputs
        if inputs.artifacts == "none":
            return
        with self._warning(f"no artifact was uploaded, the files stay in {self._shown(directory)}"):
            name = f"{inputs.artifact_name}-results{self._job.artifact_suffix}"
            # An engine that was killed leaves no summary.
            there = [each for each in (RESULTS, SUMMARY) if (directory / each).is_file()]
            done = self._keep(name, [(each, directory / each) for each in there])
            self._links = replace(self._links, results_url=self._url(done))
            self.set_outputs({"results_artifact_id": str(done.id)})
            kept = keep()
            if kept and inputs.artifact_archive:
                files = [(f"{each.directory}/{name}", path) for each in kept for name, path in each.files]
                self._models(self._keep(f"{inputs.artifact_name}-models{self._job.artifact_suffix}", files))
            elif kept:
                for each, name in zip(kept, unique(each.name for each in kept), strict=True):
                    name = f"{inputs.artifact_name}{self._job.artifact_suffix}-{name}"
                    self._models(self._keep(name, each.files, archive=len(each.files) != 1))

    def _keep(self, name: str, files: Sequence[tuple[str, Path]], *, archive: bool = True) -> Artifact:
        inputs = self._job.inputs

        def upload() -> Artifact:
            return self.artifacts.upload(
                name,
                files,
                retention_days=inputs.retention_days,
                compression_level=inputs.compression_level,
                overwrite=inputs.overwrite,
                archive=archive,
            )

        made = self._budget.run(
            upload, late=f"the artifact {name} was not uploaded in time", stop=self._cancelled.__bool__
        )
        while self.artifacts.warnings:
            self.warn(self.artifacts.warnings.pop(0))
        return made

    def _models(self, made: Artifact) -> None:
        url = self._url(made)
        self._links = replace(self._links, models_url=url, models_size_bytes=made.size_bytes, models_digest=made.digest)
        self.set_outputs({"artifact_id": str(made.id), "artifact_url": url, "artifact_digest": made.digest})

    def _url(self, artifact: Artifact) -> str:
        event = self._job.event
        return f"{event.server_url}/{event.repository}/actions/runs/{event.run_id}/artifacts/{artifact.id}"

    @property
    def _speaks(self) -> bool:
        """Tell whether this job speaks for its commit.

        A shard leaves that to `report`, a release comes later, and what is valid is not yet converted.
        """
        return not self._job.inputs.shard and self._job.inputs.command not in ("release", "validate")

    def _comment(self, body: str, *, good: bool) -> None:
        inputs, event = self._job.inputs, self._job.event
        if inputs.comment == "never" or not self._speaks:
            return
        with self._warning("the pull request was not commented on"):
            rest = self._rest(Budget(_CHANNEL_SECONDS, within=self._budget))
            number = pull_request_of(rest, event)
            if number is None:
                return
            url = comments.upsert(rest, event.repository, number, body, mode=inputs.comment, good=good)
            if url:
                self.set_outputs({"comment_url": url})

    def _seen(self, summary: Summary) -> Summary:
        """Return the summary as readers see it to whom the workspace is the repository."""
        return summarize(seen_from(summary.report, self._job.workspace))

    def _judge(self, summary: Summary, code: ExitCode) -> None:
        said = description(summary)
        if code is ExitCode.FAILURE and code is not summary.exit_code:
            said = f"{_UNWRITTEN} {said}"
        self._set_status(_STATES.get(code, "error"), said)

    def _check_results(self, summary: Summary, code: ExitCode) -> None:
        text = summary_markdown(summary, limit_chars=_CHECK_CHARS)
        conclusion = "cancelled" if code is ExitCode.CANCELLED else _STATES.get(code, "failure")
        self._check(conclusion, description(summary), text, of_report(summary, self._job.workspace))

    def _check(self, conclusion: str, title: str, text: str, annotations: Sequence[Annotation]) -> None:
        event, inputs = self._job.event, self._job.inputs
        if not inputs.check_run or not self._speaks:
            return
        with self._warning("there is no check run"):
            statuses.complete_check_run(
                self._rest(Budget(_CHANNEL_SECONDS, within=self._budget)),
                event,
                name=inputs.status_context,
                conclusion=conclusion,
                title=title,
                summary=text,
                annotations=annotations,
            )

    def _set_status(self, state: str, description: str, *, seconds: float = _CHANNEL_SECONDS) -> None:
        event, inputs = self._job.event, self._job.inputs
        if not inputs.status or not self._speaks:
            return
        with self._warning("the commit status was not set"):
            rest = self._rest(Budget(seconds, within=self._budget))
            statuses.set_status(rest, event, state=state, description=description, context=inputs.status_context)

    @contextmanager
    def _warning(self, what: str) -> Iterator[None]:
        try:
            yield
        except PublishError as error:
            self.warn(f"{what}: {error}")
        except OSError as error:
            self.warn(f"{what}: {error.strerror or error}")
