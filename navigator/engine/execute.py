"""Runs the units of work: a thread and a worker process each, one fork server a framework.

`navigator.engine.schedule` says what may start, `navigator.engine.steps` does a unit's work; its outcome is data.
Only the thread that calls `run` changes the state.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from navigator.cache.digests import Stamp, model_files, size_bytes, stamp
from navigator.cache.store import Cache
from navigator.converters import CONVERTERS
from navigator.engine.outcomes import Artifact, Failure, Reference, Verified
from navigator.engine.results import cell_results
from navigator.engine.reuse import Keys, keys, recall, remember
from navigator.engine.schedule import ModelState, Unit, startable
from navigator.engine.steps import Site, run_convert, run_reference, run_verify, unverified
from navigator.engine.workspace import Workspace
from navigator.records import CellResult, Host, ModelConfig, ModelPlan, Plan, RunConfig, State
from navigator.runners import RUNNERS
from navigator.workers.docker.image import framework_of
from navigator.workers.docker.pool import Containers
from navigator.workers.local.pool import ForkServer, Workers

# What the work of a unit returns: a call that notes its outcome, made by the one thread that changes the state.
Noted = Callable[[], object]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Source:
    """A source model as it was when the run began: its cache keys, its size, and its files with their stamp."""

    keys: Mapping[str, Keys]
    size_bytes: int
    files: tuple[Path, ...]
    stamp: Stamp


class Execution:
    """One run of a plan.

    Args:
        plan: what to do.
        run: the run's options.
        host: this machine; its facts are part of the cache's keys.
        workspace: where everything goes, held by the caller.
        cache: None if off.
        memory_bytes: what one worker may use.
        command: this run's command line, for the reproduction of failures.
        on_start, on_end: called in the calling thread as units start and end.
        on_progress: called in any thread with a sentence about an image that is pulled or built.
    """

    def __init__(
        self,
        plan: Plan,
        run: RunConfig,
        host: Host,
        *,
        workspace: Workspace,
        cache: Cache | None,
        memory_bytes: int,
        command: str,
        on_start: Callable[[Unit], None] = lambda _unit: None,
        on_end: Callable[[Unit], None] = lambda _unit: None,
        on_progress: Callable[[str], None] = lambda _sentence: None,
    ) -> None:
        self._run = run
        self._workspace = workspace
        self._cache = cache
        self._memory_bytes = memory_bytes
        self._command = command
        self._on_start = on_start
        self._on_end = on_end
        self._on_progress = on_progress
        self._jobs = run.jobs or max(1, min(4, host.cpu_count))
        self._models = {model.config.model_name: ModelState(plan=model) for model in plan.models}
        self._sources = {model.config.model_name: self._source(model, host) for model in plan.models}
        self._workers: dict[str, Workers] = {}
        self._errors: list[Exception] = []

    def results(self) -> tuple[CellResult, ...]:
        """Return every planned cell as it stands; also right while the run goes on."""
        return tuple(
            replace(result, must_be_verified=self._run.fail_on_unverified)
            for name, model in self._models.items()
            for result in cell_results(
                model.plan, model.outcomes, source_bytes=self._sources[name].size_bytes, command=self._command
            )
        )

    def notes(self) -> tuple[str, ...]:
        """Return what was found out about source models that the report should say."""
        return tuple(
            f"{name}: {note}"
            for name, model in self._models.items()
            if isinstance(model.reference, Reference)
            for note in model.reference.notes
        )

    def run(self) -> None:
        """Run until every cell is decided. An interrupt kills the workers and leaves the rest undecided.

        Raises:
            Exception: an error of ours in a unit. It failed that unit only; all others have run.
        """
        for model in self._models.values():
            for label in ("source", *(step.label for step in model.plan.steps)):
                self._workspace.forget(model.name, label)
        self._recall()
        with ThreadPoolExecutor(max_workers=self._jobs) as threads, self._environments():
            running: dict[Future[Noted], Unit] = {}
            try:
                while True:
                    room, busy = self._jobs - len(running), {each.gpu for each in running.values()}
                    for unit in startable(self._models.values(), room=room, busy=busy):
                        self._models[unit.model].started[unit.key] = unit
                        self._on_start(unit)
                        running[threads.submit(self._work, unit)] = unit
                    if not running:
                        break
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        unit = running.pop(future)
                        self._note(unit, future)
                        self._models[unit.model].block()
                        self._free(self._models[unit.model])
                        self._on_end(unit)
            except BaseException:
                for workers in self._workers.values():
                    workers.cancel()
                raise
        if self._errors:
            raise self._errors[0]

    def _source(self, model: ModelPlan, host: Host) -> _Source:
        """Return the state of a model's files, taken before their identities: a change meanwhile is then seen."""
        files = (*model_files(model.config.model_path), *model.config.samples)
        before = stamp(*files)
        return _Source(
            keys=keys(model, host, self._run.memory_limit_bytes) if self._cache is not None else {},
            size_bytes=size_bytes(model.config.model_path),
            files=files,
            stamp=before,
        )

    def _note(self, unit: Unit, future: Future[Noted]) -> None:
        """Note what became of a unit. An error of ours in one must not cost the results of the others."""
        try:
            future.result()()
        except Exception as error:  # noqa: BLE001 - whatever it is, the run raises it again when the others have ended
            self._errors.append(error)
            failure = Failure(
                state=State.FAILED,
                message=f"model-navigator itself failed here: {type(error).__name__}: {error}",
                remedy="report it with the lines that the command printed",
            )
            model = self._models[unit.model]
            if unit.what == "reference":
                model.reference = failure
            else:
                model.outcomes[unit.label] = failure

    def _recall(self) -> None:
        """Take from the cache what it has."""
        if self._cache is None:
            return
        for model in self._models.values():
            for step in model.plan.steps:
                key = self._sources[model.name].keys[step.label]
                found = recall(model.plan, step, key, cache=self._cache, workspace=self._workspace)
                if found is not None:
                    model.outcomes[step.label] = found
                if isinstance(found, Verified):
                    self._on_end(Unit(model=model.name, label=step.label, what="verify"))

    @contextlib.contextmanager
    def _environments(self) -> Iterator[None]:
        """Start what undecided cells run in, and stop it at the end: a fork server for each framework, containers."""
        modules: dict[str, dict[str, None]] = {}
        images: dict[str, tuple[str, ModelConfig]] = {}
        for model in self._models.values():
            for image, preload in _preloads(model.plan).items() if model.pending else ():
                if image is None:
                    modules.setdefault(_environment(model, None), {}).update(dict.fromkeys(preload))
                else:
                    images.setdefault(_environment(model, image), (image, model.plan.config))
        scratch = self._workspace.path / ".scratch"
        with contextlib.ExitStack() as stack:
            for name, names in modules.items():
                directory = scratch / f"server-{name}"
                directory.mkdir()
                self._workers[name] = stack.enter_context(ForkServer(preload=tuple(names), directory=directory))
            for number, (name, (image, config)) in enumerate(images.items()):
                assert config.model_format is not None
                containers = Containers(
                    image=image,
                    framework=framework_of(config.model_format),
                    directory=scratch / f"containers-{number}",
                    rebuild=config.override_conversion_container,
                    on_progress=self._on_progress,
                )
                self._workers[name] = stack.enter_context(containers)
            yield

    def _work(self, unit: Unit) -> Noted:
        model = self._models[unit.model]
        match unit.what:
            case "reference":
                return self._reference(model)
            case "convert":
                return self._convert(model, unit)
            case _:
                return self._verify(model, unit)

    def _free(self, model: ModelState) -> None:
        """Remove what would fill a disk: samples and references of decided models, artifacts without a verdict."""
        for label, outcome in model.outcomes.items():
            if isinstance(outcome, Failure):
                self._workspace.discard(model.name, label)
        if not model.pending:
            self._workspace.free(model.name, "source")

    def _site(self, model: ModelState, image: str | None, gpu: str = "") -> Site:
        return Site(
            workers=self._workers[_environment(model, image)],
            workspace=self._workspace,
            timeout_seconds=self._run.timeout_seconds,
            memory_bytes=self._memory_bytes,
            timing_cache=(self._run.cache_path or self._workspace.path) / "timing",
            verbose=self._run.verbose,
            image=image,
            gpu=next((each for each in model.plan.gpus if each.uuid == gpu), None),
        )

    def _reference(self, model: ModelState) -> Noted:
        outcome = run_reference(model.plan.config, site=self._site(model, model.plan.image))
        return partial(setattr, model, "reference", outcome)

    def _convert(self, model: ModelState, unit: Unit) -> Noted:
        step = model.step(unit.label)
        source = model.artifact(step.parent)
        assert source is not None
        outcome = run_convert(
            model.plan.config,
            step,
            source=source,
            reference=model.reference if isinstance(model.reference, Reference) else None,
            raise_from=model.artifact(unit.raise_from) if unit.raise_from else None,
            site=self._site(model, step.image, unit.gpu),
        )
        return partial(model.decide, unit.label, outcome)

    def _verify(self, model: ModelState, unit: Unit) -> Noted:
        artifact, step = model.outcomes[unit.label], model.step(unit.label)
        assert isinstance(artifact, Artifact)
        assert isinstance(model.reference, Reference)
        if not step.devices:
            found = unverified(model.plan.config, step, artifact, model.reference)
            return partial(self._check, model, unit, found, artifact)
        site = self._site(model, step.image, unit.gpu)
        verified = run_verify(model.plan.config, step, artifact, model.reference, unit.device, site=site)
        source = self._sources[model.name]
        if isinstance(verified, Verified) and stamp(*source.files) != source.stamp:
            # It may be another model than the one whose identity is known.
            note = f"{model.plan.config.model_path.name} or its samples changed while they were in use: run again"
            verdict = replace(verified.verdict, warnings=(*verified.verdict.warnings, note))
            verified = replace(verified, verdict=verdict)
        return partial(self._check, model, unit, verified, artifact)

    def _check(self, model: ModelState, unit: Unit, verified: Verified | Failure, artifact: Artifact) -> None:
        """Note a verification; once that decides the step, keep what passed and remove its scratch files."""
        model.check(unit.label, unit.device, verified)
        outcome = model.outcomes.get(unit.label)
        if isinstance(outcome, Artifact):
            return
        source = self._sources[model.name]
        if self._cache is not None and isinstance(outcome, Verified) and stamp(*source.files) == source.stamp:
            remember(source.keys[unit.label], outcome, artifact, cache=self._cache)
        self._workspace.free(model.name, unit.label)


def _environment(model: ModelState, image: str | None) -> str:
    """Return the name of where a model's workers run: in this interpreter one for each framework, imported once a run.

    Containers of one image are of different frameworks too: what is added to it depends on that.
    """
    framework = RUNNERS[model.plan.source_format].PRELOAD[0]
    return framework if image is None else f"{framework} in {image}"


def _preloads(plan: ModelPlan) -> dict[str | None, tuple[str, ...]]:
    """Return what the workers of one model import, in a fixed order, by the image that they run in."""
    found: dict[str | None, list[str]] = {plan.image: [*RUNNERS[plan.source_format].PRELOAD]}
    for step in plan.steps:
        names = found.setdefault(step.image, [])
        names += CONVERTERS[step.converter].PRELOAD
        if step.devices:
            names += RUNNERS[step.target_format].PRELOAD
    return {image: tuple(dict.fromkeys(names)) for image, names in found.items()}
