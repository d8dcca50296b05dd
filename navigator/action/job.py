"""What a job of GitHub's runner gives the action, in one frozen value. Decides nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from navigator.action.inputs import Inputs
from navigator.action.secrets import Secrets
from navigator.github.budget import Budget
from navigator.github.errors import PublishError
from navigator.github.event import Event
from navigator.github.rest import Rest


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
    def key(self) -> str:
        """What a comment belongs to: a workflow and a configuration. Publishing for another run speaks for that one."""
        workflow = self.event.triggering_workflow or self.event.workflow
        return f"{workflow}/{self.inputs.config}"

    @property
    def speaks_for_commit(self) -> bool:
        """Tell whether this job comments and sets the status.

        A shard leaves that to `report`, a release comes later, and what is valid is not yet converted.
        """
        return not self.inputs.shard and self.inputs.command not in ("release", "validate")

    def shown(self, path: Path) -> str:
        """Return a path as other steps may use it: they do not run in this container."""
        return str(path.relative_to(self.workspace)) if path.is_relative_to(self.workspace) else str(path)

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
