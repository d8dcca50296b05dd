"""What a job of GitHub's runner gives the action, in one frozen value. Decides nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from navigator.action.inputs import Inputs
from navigator.action.secrets import Secrets
from navigator.github.event import Event


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """The inputs, the event, the tokens, and the runner's variables without tokens.

    `workspace` is where the repository is checked out, and the working directory; `stream` is the job's log.
    """

    inputs: Inputs
    event: Event
    secrets: Secrets
    environment: Mapping[str, str]
    workspace: Path
    stream: TextIO

    @property
    def artifact_suffix(self) -> str:
        """What tells the artifacts of a shard from the others': names are unique within a run."""
        return f"-{self.inputs.shard.replace('/', '-of-')}" if self.inputs.shard else ""

    @property
    def key(self) -> str:
        """What a comment belongs to: a workflow and a configuration. Publishing for another run speaks for that one."""
        workflow = self.event.triggering_workflow or self.event.workflow
        return f"{workflow}/{self.inputs.config}"

    def file(self, name: str) -> Path | None:
        """Return a file of the runner, such as GITHUB_OUTPUT; None outside of a job."""
        path = self.environment.get(name, "")
        return Path(path) if path else None
