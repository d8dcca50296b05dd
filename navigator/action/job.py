"""What a job of GitHub's runner gives the action, in one frozen value. Decides nothing."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from navigator.action import names
from navigator.action.inputs import Inputs
from navigator.action.secrets import Secrets
from navigator.errors import ConfigurationError, quote
from navigator.github.artifacts.service import backend_ids
from navigator.github.budget import Budget
from navigator.github.errors import PublishError
from navigator.github.event import Event
from navigator.github.rest import Rest
from navigator.github.voices import Voice
from navigator.report.report import without_root


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """The inputs, the event, the tokens, and the runner's variables without tokens.

    `workspace` is where the repository is checked out, and the working directory; `stream` is the job's log, and
    `warned` has the warnings in it.
    """

    inputs: Inputs
    event: Event
    secrets: Secrets
    environment: Mapping[str, str]
    workspace: Path
    stream: TextIO
    warned: set[str] = field(default_factory=set)

    @property
    def artifact_suffix(self) -> str:
        """What tells the artifacts of a shard from the others': names are unique within a run."""
        return f"-{self.inputs.shard.replace('/', '-of-')}" if self.inputs.shard else ""

    @property
    def workflow(self) -> str:
        """The workflow that is spoken for. Publishing for another run speaks for that one."""
        return self.event.triggering_workflow or self.event.workflow

    @property
    def key(self) -> str:
        """What the comment belongs to, see `navigator.action.names`."""
        return names.comment_key(self.inputs, self.workflow)

    @property
    def voice(self) -> Voice:
        """Who speaks, by what the workflow says about the job, and by an id of it.

        `plan` and `report` speak for all jobs that share the work: for the same ones with one voice.
        """
        said = (names.configuration(self.inputs), *names.filters(self.inputs))
        whole = self.inputs.command in ("plan", "report")
        job = self.environment.get("GITHUB_ACTION", ""), self.event.job
        return Voice(
            workflow=names.digest(self.workflow),
            run=self.event.triggering_run or self.event.run_id,
            attempt=self.event.run_attempt,
            job=re.sub(r"[^A-Za-z0-9_-]|-(?=-)", "_", self.event.job[:64]),
            part=names.digest(*(("whole",) if whole else job), *said),
            leg="" if whole else self._leg,
        )

    @property
    def _leg(self) -> str:
        """The results service's id of the job. A `run:` step knows the runner's instead, new in each attempt."""
        try:
            leg = backend_ids(self.secrets.runtime_token)[1]
        except PublishError:
            leg = self.environment.get("RUNNER_TRACKING_ID", "")
        return names.digest(leg) if leg else ""

    @property
    def speaks_for_commit(self) -> bool:
        """Tell whether this job comments and sets the status.

        A shard leaves that to `report`, a release comes later, and what is valid is not yet converted.
        """
        return not self.inputs.shard and self.inputs.command not in ("release", "validate")

    def shown(self, path: Path) -> str:
        """Return a path as other steps may use it: they do not run in this container."""
        return str(path.relative_to(self.workspace)) if path.is_relative_to(self.workspace) else str(path)

    def text(self, text: str) -> str:
        """Return a text with the repository's files as its readers call them."""
        return without_root(text, self.workspace)

    def directory(self, written: str) -> Path:
        """Return the directory that the input `workspace_path` names.

        Raises:
            ConfigurationError: it's outside the repository.
        """
        path = Path(os.path.normpath(self.workspace / written))
        if path.is_relative_to(self.workspace):
            return path
        raise ConfigurationError(
            f"the input `workspace_path`: {quote(written)} is outside the repository, where later steps can't find it",
            "use a path relative to the repository, such as `navigator_workspace`",
        )

    def rest(self, budget: Budget) -> Rest:
        """Return GitHub's REST API with the job's token.

        Raises:
            PublishError: there is no token.
        """
        if not self.secrets.token:
            raise PublishError("no GitHub token was provided", "pass `token: ${{ github.token }}`")
        return Rest(self.event.api_url, self.secrets.token, budget)

    def file(self, name: str) -> Path | None:
        """Return a file of the runner, such as GITHUB_OUTPUT; None outside of a job."""
        path = self.environment.get(name, "")
        return Path(path) if path else None
