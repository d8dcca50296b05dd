"""Runs the units of work, each with its own thread and worker process.

`navigator.engine.schedule` decides what can start; `reference` and `work` do the work of a unit.
Outcomes are data. Only the thread that calls `run` changes the state.
"""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from itertools import chain

from navigator.cache.earlier import Earlier
from navigator.cache.layers import Layers
from navigator.engine import interrupts
from navigator.engine.builders import builder, has_room, is_built
from navigator.engine.environments import Environments
from navigator.engine.listener import Listener
from navigator.engine.outcomes import Artifact, Failure, Reference, Verified
from navigator.engine.reference import run_reference
from navigator.engine.results import cell_results, obliged
from navigator.engine.schedule import ModelState, Unit, UnitKind, startable
from navigator.engine.sources import Sources
from navigator.engine.step_context import StepContext, failure_from
from navigator.engine.subject import subject_of
from navigator.engine.timeline import Timeline
from navigator.engine.work import converted, verified
from navigator.engine.workspace import Workspace
from navigator.errors import NavigatorError, exhausted
from navigator.models.reading import Watch
from navigator.records import CellResult, FoundShapes, Given, Host, Plan, RunConfig, State
from navigator.workers.task import Lasting

# The work of a unit returns a function that records its outcome, for the thread that changes the state.
Noted = Callable[[], object]

# How often the thread that waits looks for signals: the kernel may give one to another thread, which doesn't wake it.
_LOOK_SECONDS = 0.2


class Execution:
    """One run of a plan.

    Args:
        plan: the plan to execute.
        run: the options of the run.
        host: this machine, part of the cache keys.
        workspace: the workspace, locked by the caller.
        cache: None if disabled.
        memory_bytes: memory limit of a worker.
        command: command line of this run, to reproduce failures.
        started: when the run began, by time.monotonic().
        listener: callbacks.
    """

    def __init__(
        self,
        plan: Plan,
        run: RunConfig,
        host: Host,
        *,
        workspace: Workspace,
        cache: Layers | None,
        memory_bytes: int,
        command: str,
        started: float,
        listener: Listener | None = None,
    ) -> None:
        self._run = run
        self._workspace = workspace
        self._timing = (cache.timing if cache is not None else None) or workspace.path / "timing"
        self._memory_bytes = memory_bytes
        self._command = command
        self._listener = listener or Listener()
        self.timeline = Timeline(started)
        self._jobs = run.jobs or max(1, min(4, host.cpu_count))
        self._models = {model.config.model_name: ModelState(plan=model) for model in plan.models}
        self._unfinished = dict(self._models)
        self._sources = Sources(host, run, cache=cache)
        self._builders: dict[str, Lasting] = {}
        self._stopped = threading.Event()
        self._errors: list[Exception] = []
        self._machine_notes: tuple[str, ...] = ()
        self._results = {name: self._current(model) for name, model in self._models.items()}

    def results(self) -> tuple[CellResult, ...]:
        """Return the current result of every planned cell; also during the run.

        A result that hasn't changed is the same object as before.
        """
        return tuple(chain.from_iterable(self._results.values()))

    def results_of(self, model: str) -> tuple[CellResult, ...]:
        """Return those of one model."""
        return self._results[model]

    def notes(self) -> tuple[str, ...]:
        """Return notes about this machine and source models for the report."""
        return (
            *self._machine_notes,
            *(
                f"{name}: {note}"
                for name, model in self._models.items()
                if isinstance(model.reference, Reference)
                for note in model.reference.notes
            ),
        )

    def found(self) -> tuple[FoundShapes, ...]:
        """Return what was found by running the source models, in this run or in the one that cached it."""
        known = ((model.reference, model.found) for model in self._models.values())
        found = (each.found if isinstance(each, Reference) else earlier for each, earlier in known)
        return tuple(each for each in found if each is not None)

    def given(self) -> tuple[Given, ...]:
        """Return what was given of each model."""
        return tuple(map(self._sources.given, self._models))

    def run(self) -> None:
        """Run until every cell has a result. An interrupt kills the workers and leaves the others without one.

        Raises:
            Exception: an internal error in a unit, which failed only that unit; all others have run.
        """
        for model in self._models.values():
            self._begin(model)
        self._workspace.remove_earlier()
        environments = Environments(
            (model.plan for model in self._models.values() if model.pending),
            directory=self._workspace.path / ".scratch",
            on_progress=self._listener.on_progress,
        )
        with ThreadPoolExecutor(max_workers=self._jobs) as threads, environments:
            self._machine_notes = environments.notes
            try:
                # Raised inside a lock's `__enter__`, a `KeyboardInterrupt` would leave it locked for all threads.
                with interrupts.held():
                    self._loop(threads, environments)
            except BaseException:
                self._stopped.set()
                environments.cancel()
                raise
        if self._errors:
            raise self._errors[0]

    def _current(self, model: ModelState) -> tuple[CellResult, ...]:
        size, command = self._sources.size_bytes(model.name), self._command
        results = cell_results(model.plan, model.outcomes, source_bytes=size, command=command)
        return tuple(obliged(each, self._run.fail_on_unverified) for each in results)

    def _changed(self, model: ModelState) -> None:
        """Update the results of a model after one of its outcomes has changed."""
        self._results[model.name] = self._current(model)
        if not model.pending:
            self._unfinished.pop(model.name, None)

    def _loop(self, threads: ThreadPoolExecutor, environments: Environments) -> None:
        """Start units that can start and record those that end, until none is running."""
        running: dict[Future[Noted], Unit] = {}
        while True:
            if interrupts.seen():
                raise KeyboardInterrupt
            room, busy = self._jobs - len(running), {unit.gpu for unit in running.values()}
            for unit in startable(self._unfinished.values(), room=room, busy=busy):
                self._models[unit.model].started[unit.key] = unit
                self.timeline.begin(unit)
                self._listener.on_start(unit)
                running[threads.submit(self._work, unit, environments)] = unit
            if not running:
                return
            done, _ = wait(running, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                unit = running.pop(future)
                self.timeline.end(unit)
                self._note(unit, future)
                self._models[unit.model].block()
                self._changed(self._models[unit.model])
                self._clean_up(self._models[unit.model])
                self._listener.on_end(unit)
            if environments.has_builders and not any(model.builds_more for model in self._unfinished.values()):
                environments.end_builders()

    def _begin(self, model: ModelState) -> None:
        """Read a source model and restore its cached steps. One that can't be read costs its own conversions only."""
        watch = Watch(self._run.timeout_seconds, on_progress=self._listener.on_progress)
        try:
            for label in ("source", *(step.label for step in model.plan.steps)):
                self._workspace.set_aside(model.name, label)
            with self._sources.expected(model.plan, self._workspace) as earlier:
                self._sources.read(model.plan, watch)
                model.found = self._sources.found(model.name)
                self._recall(model, earlier)
        except (NavigatorError, OSError) as error:
            model.reference = failure_from(error, self._workspace.path)
            model.block()
            self._changed(model)
            self._listener.on_end(Unit(model=model.name, label="source", kind=UnitKind.REFERENCE))

    def _recall(self, model: ModelState, earlier: Mapping[str, Earlier]) -> None:
        """Restore the cached steps of a model."""
        self._changed(model)  # its size is known now
        for label, found in self._sources.recall(model.plan, self._workspace, earlier):
            model.outcomes[label] = found
            if isinstance(found, Verified):
                self._changed(model)
                self._listener.on_end(Unit(model=model.name, label=label, kind=UnitKind.VERIFY))

    def _note(self, unit: Unit, future: Future[Noted]) -> None:
        """Record the outcome of a unit. An internal error in one must not lose the results of the others."""
        try:
            future.result()()
        except Exception as error:  # noqa: BLE001 - the run raises it again when the others have ended
            failure = self._failure(error)
            model = self._models[unit.model]
            if unit.kind is UnitKind.REFERENCE:
                model.reference = failure
            else:
                model.outcomes[unit.label] = failure

    def _failure(self, error: Exception) -> Failure:
        """Return the failure of a unit that raised `error`: a bug, unless the system has run out of something."""
        if told := exhausted(error):
            return Failure(state=State.FAILED, message=told.message, remedy=told.hint)
        self._errors.append(error)
        return Failure(
            state=State.FAILED,
            message=f"internal error: {type(error).__name__}: {error}",
            remedy="please report it, with the output of the command",
        )

    def _clean_up(self, model: ModelState) -> None:
        """Free disk space: remove samples and references of finished models, and artifacts without a verdict."""
        for label, outcome in model.outcomes.items():
            if isinstance(outcome, Failure):
                self._workspace.remove_artifact(model.name, label)
        if not model.pending and not model.runs_source:
            self._workspace.remove_scratch(model.name, "source")

    def _work(self, unit: Unit, environments: Environments) -> Noted:
        """Do the work of a unit, in its own thread."""
        model = self._models[unit.model]
        match unit.kind:
            case UnitKind.REFERENCE:
                context = self._context(model, environments, model.plan.image)
                return partial(self._refer, model, run_reference(model.plan.config, model.found, context=context))
            case UnitKind.CONVERT:
                context = self._builder(model, unit, environments)
                return partial(model.decide, unit.label, converted(model, unit, context=context))
            case UnitKind.VERIFY:
                subject = subject_of(model, unit.label)
                context = self._context(model, environments, subject.step.image, unit.gpu)
                judged = verified(subject, unit.device, context=context, source=self._sources[model.name])
                return partial(self._check, model, unit, judged, subject.artifact)

    def _refer(self, model: ModelState, reference: Reference | Failure) -> None:
        model.reference = reference
        if isinstance(reference, Reference) and reference.found is not None:
            self._sources.remember_found(model.name, reference.found)

    def _context(self, model: ModelState, environments: Environments, image: str | None, gpu: str = "") -> StepContext:
        return StepContext(
            workers=environments.workers(model.plan, image),
            workspace=self._workspace,
            timeout_seconds=self._run.timeout_seconds,
            memory_bytes=self._memory_bytes,
            timing_cache=self._timing,
            remembered=self._sources.remembered,
            verbose=self._run.verbose,
            stopped=self._stopped.is_set,
            on_progress=self._listener.on_progress,
            image=image,
            gpu=next((each for each in model.plan.gpus if each.uuid == gpu), None),
        )

    def _builder(self, model: ModelState, unit: Unit, environments: Environments) -> StepContext:
        """Return the context of a conversion: in the worker that builds the engines for its GPU, or in its own."""
        step = model.step(unit.label)
        context = self._context(model, environments, step.image, unit.gpu)
        if context.gpu is None or not is_built(step) or not has_room(context.gpu, self._memory_bytes):
            return context
        if unit.gpu not in self._builders:
            plans = [each.plan for each in self._models.values()]
            self._builders[unit.gpu] = builder(context.gpu, plans, self._workspace, self._timing)
        return replace(context, workers=environments.builders, lasting=self._builders[unit.gpu])

    def _check(self, model: ModelState, unit: Unit, verified: Verified | Failure, artifact: Artifact) -> None:
        """Record a verification; if it was the last one, cache the artifact if it passed, and remove scratch files."""
        model.check(unit.label, unit.device, verified)
        outcome = model.outcomes.get(unit.label)
        if isinstance(outcome, Artifact):
            return
        if isinstance(outcome, Verified):
            self._sources.remember(model.name, unit.label, outcome, artifact)
        self._workspace.remove_scratch(model.name, unit.label)
