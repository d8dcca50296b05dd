"""The source models at the start of the run, and their cached steps."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from navigator.cache.digests import Stamp, digest, identity, model_digest, size_bytes, stamp
from navigator.cache.earlier import Earlier, digested
from navigator.cache.layers import Layers
from navigator.cache.remembered import Remembered
from navigator.config.digest import options
from navigator.engine.cached_steps import Keys, keys, recall, remember
from navigator.engine.outcomes import Artifact, Verified
from navigator.engine.workspace import Workspace
from navigator.models.files import model_files
from navigator.models.reading import Watch
from navigator.records import (
    FoundShapes,
    Given,
    Host,
    InvalidRecordError,
    ModelConfig,
    ModelPlan,
    RunConfig,
    from_data,
    to_data,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A source model: the cache keys of its steps and of what running it told, its size, and the state of its files.

    `sha256` is its digest, and `digests` are those of the files that options name, by option.
    """

    sha256: str
    digests: Mapping[str, str]
    keys: dict[str, Keys]
    found_key: str
    size_bytes: int
    files: tuple[Path, ...]
    stamp: Stamp

    @property
    def is_unchanged(self) -> bool:
        """Return whether it and the files that its options name are unchanged since the keys were computed."""
        return stamp(*self.files) == self.stamp


class Sources:
    """The source models of a run by name.

    Args:
        host: this machine, part of the cache keys.
        run: the options of the run and its models.
        cache: None if disabled.

    Attributes:
        remembered: digests that don't have to be taken again.
    """

    def __init__(self, host: Host, run: RunConfig, *, cache: Layers | None) -> None:
        self._host = host
        self._cache = cache
        self.remembered = Remembered(cache)
        self._memory_limit_bytes = run.memory_limit_bytes
        self._sources: dict[str, Source] = {}
        self._given = {name: Given(model_name=name, options=each) for name, each in options(run).items()}

    def __getitem__(self, model: str) -> Source:
        return self._sources[model]

    def size_bytes(self, model: str) -> int:
        """Return the size of a model, 0 if it wasn't read."""
        return self._sources[model].size_bytes if model in self._sources else 0

    def given(self, model: str) -> Given:
        """Return what was given of a model: the same object, unless it was read since."""
        return self._given[model]

    def read(self, plan: ModelPlan, watch: Watch) -> None:
        """Read a model's files, and those that its options name.

        Raises:
            ConfigurationError, OSError, DeadlineError, StoppedError: the model or a sample can't be read.
        """
        model = plan.config
        # Taken before the keys, so that a change in between is noticed.
        named = _named(model)
        files = (*model_files(model.model_path), *(path for paths in named.values() for path in paths))
        before = stamp(*files)
        sha256 = model_digest(model.model_path, watch, self.remembered)
        taken = partial(digest, watch=watch, remembered=self.remembered)
        made: dict[str, Keys] = {}
        found_key = ""
        if self._cache is not None:
            made, found_key = keys(plan, self._host, sha256, self._memory_limit_bytes, taken)
        self._sources[model.model_name] = Source(
            sha256=sha256,
            digests={key: identity([taken(each) for each in paths]) for key, paths in named.items()},
            keys=made,
            found_key=found_key,
            size_bytes=size_bytes(model.model_path),
            files=files,
            stamp=before,
        )
        self._given[model.model_name] = replace(
            self._given[model.model_name], sha256=sha256, files=self[model.model_name].digests
        )

    @contextmanager
    def expected(self, plan: ModelPlan, workspace: Workspace) -> Iterator[Mapping[str, Earlier]]:
        """Look at what the workspace has of an earlier run's steps while a model is read; it's probably wanted.

        Unless the model was written since.
        """
        earlier = {
            step.label: Earlier(workspace.earlier(plan.config.model_name, step.label), self.remembered)
            for step in plan.steps
        }
        written_ns = max((changed for *_, changed in stamp(plan.config.model_path)), default=0)
        with digested(earlier.values() if self._cache is not None else (), written_ns):
            yield earlier

    def recall(
        self, plan: ModelPlan, workspace: Workspace, earlier: Mapping[str, Earlier]
    ) -> Iterator[tuple[str, Artifact | Verified]]:
        """Yield the cached steps of a model by label, with their files restored to the workspace."""
        if self._cache is None:
            return
        for step in plan.steps:
            key = self[plan.config.model_name].keys[step.label]
            found = recall(plan, step, key, earlier[step.label], cache=self._cache, workspace=workspace)
            if found is not None:
                yield step.label, found

    def found(self, model: str) -> FoundShapes | None:
        """Return what running a model told in an earlier run: cached engines are made for these shapes."""
        kept = self._cache.get(self[model].found_key, None) if self._cache is not None else None
        try:
            return None if kept is None else replace(from_data(FoundShapes, kept), model_name=model)
        except InvalidRecordError:
            return None

    def remember_found(self, model: str, found: FoundShapes) -> None:
        """Cache what running a model told, unless it has changed since its keys were computed."""
        source = self[model]
        if self._cache is not None and source.is_unchanged:
            self._cache.put(source.found_key, to_data(found), None)

    def remember(self, model: str, label: str, verified: Verified, artifact: Artifact) -> None:
        """Cache an artifact that passed, unless the source model has changed since its keys were computed."""
        source = self[model]
        if self._cache is not None and source.is_unchanged:
            remember(source.keys[label], verified, artifact, cache=self._cache, remembered=self.remembered)


def _named(model: ModelConfig) -> dict[str, tuple[Path, ...]]:
    """Return the files that options name, by option."""
    metric = () if model.metric is None else (model.metric.path,)
    named = {
        "samples": model.samples,
        "calibration_samples": model.calibration_samples,
        "metric": metric,
        "tensorrt_plugins": model.tensorrt_plugins,
    }
    return {key: paths for key, paths in named.items() if paths}
