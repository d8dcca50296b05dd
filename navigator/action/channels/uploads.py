"""Results and converted models as artifacts of the run."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from navigator.action import names
from navigator.action.cancellation import Cancellation
from navigator.action.channels.page import set_outputs, warn
from navigator.action.job import Job
from navigator.action.models import ModelFiles
from navigator.github.artifacts.client import Artifact, Artifacts
from navigator.github.budget import Budget
from navigator.github.commands import mask
from navigator.github.release_assets import unique
from navigator.records import Json
from navigator.render.comment import ArtifactLink, Links
from navigator.report.storage import REPORT


class Uploads:
    """The uploads of one job.

    Args:
        job: whose they are.
        budget: how long all of them may take.
        cancelled: the job's cancellation, after which an upload is given up.

    Attributes:
        links: to what was uploaded so far.
    """

    def __init__(self, job: Job, budget: Budget, cancelled: Cancellation) -> None:
        self.links = Links(run_url=job.event.run_url)
        self._job = job
        self._budget = budget
        self._cancelled = cancelled
        self._made: list[dict[str, Json]] = []

    @cached_property
    def service(self) -> Artifacts:
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

    def upload_results(self, directory: Path) -> None:
        """Upload the files of the report. Raises PublishError."""
        # An engine that was killed leaves only results.
        there = [(name, directory / name) for name in REPORT if (directory / name).is_file()]
        made = self._upload(f"{names.results_artifact(self._job.inputs)}{self._job.artifact_suffix}", there)
        self.links = replace(self.links, results_url=self._url(made))
        set_outputs(self._job, {"results_artifact_id": str(made.id), "artifacts": self._list(made)})

    def upload_models(self, models: Sequence[ModelFiles]) -> None:
        """Upload converted models: in one archive, or each as an artifact of its own. Raises PublishError."""
        inputs, suffix = self._job.inputs, self._job.artifact_suffix
        prefix = names.artifact_prefix(inputs)
        if models and inputs.artifact_archive:
            files = [(f"{model.directory}/{name}", path) for model in models for name, path in model.files]
            self._note(self._upload(f"{prefix}-models{suffix}", files))
            return
        for model, name in zip(models, unique(model.name for model in models), strict=True):
            archive = len(model.files) != 1
            self._note(self._upload(f"{prefix}{suffix}-{name}", model.files, archive=archive))

    def _upload(self, name: str, files: Sequence[tuple[str, Path]], *, archive: bool = True) -> Artifact:
        inputs = self._job.inputs

        def upload() -> Artifact:
            return self.service.upload(
                name,
                files,
                retention_days=inputs.retention_days,
                compression_level=inputs.compression_level,
                overwrite=inputs.overwrite,
                archive=archive,
            )

        late = f"uploading the artifact {name} took too long"
        made = self._budget.run(upload, late=late, stop=self._cancelled.__bool__)
        while self.service.warnings:
            warn(self._job, self.service.warnings.pop(0))
        return made

    def _note(self, made: Artifact) -> None:
        url = self._url(made)
        link = ArtifactLink(name=made.name, url=url, size_bytes=made.size_bytes, digest=made.digest)
        self.links = replace(self.links, models=(*self.links.models, link))
        outputs = {"artifact_id": str(made.id), "artifact_url": url, "artifact_digest": made.digest}
        set_outputs(self._job, {**outputs, "artifacts": self._list(made)})

    def _list(self, made: Artifact) -> str:
        """Return all artifacts so far, with one more, as JSON."""
        about = {"name": made.name, "id": made.id, "url": self._url(made), "digest": made.digest}
        self._made.append({**about, "size_bytes": made.size_bytes})
        return json.dumps(self._made)

    def _url(self, artifact: Artifact) -> str:
        event = self._job.event
        return f"{event.server_url}/{event.repository}/actions/runs/{event.run_id}/artifacts/{artifact.id}"
