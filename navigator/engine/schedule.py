"""Decides which units of work can start: which ones wait for others, or for a GPU. Pure, except for its own state.

Parents run before children, the reference before units that need it, lower opsets before those raised from them.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from navigator.converters import CONVERTERS
from navigator.engine.builders import is_built
from navigator.engine.outcomes import Artifact, Failure, Reference, Verified
from navigator.engine.results import StepOutcome
from navigator.records import Device, FoundShapes, ModelPlan, Precision, State, Step


class UnitKind(StrEnum):
    """The kind of a unit of work."""

    REFERENCE = "reference"
    CONVERT = "convert"
    VERIFY = "verify"


_NOT_RUN = "the source model, which can't be run"

UnitKey = tuple[str, UnitKind, Device]


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """One piece of work; `label` is a step's, or "source" for the reference.

    `raise_from` is the label of the step whose file a conversion raises instead of exporting; `device` is the device of
    a verification. A unit that `needs_gpu` has one of the model's GPUs for itself: `gpu`, its UUID.
    """

    model: str
    label: str
    kind: UnitKind
    raise_from: str | None = None
    device: Device = Device.CPU
    needs_gpu: bool = False
    gpu: str = ""

    @property
    def key(self) -> UnitKey:
        """Its key among the units of its model."""
        return self.label, self.kind, self.device


@dataclass(kw_only=True, slots=True)
class ModelState:
    """The state of one model during a run.

    `found` is what running the source model told of its inputs in an earlier run, as long as it's cached.
    `outcomes` has an `Artifact` until it is verified on all devices; `passed_so_far` has the devices that it passed on.
    `export_again` has the steps that are exported again, since raising failed.
    """

    plan: ModelPlan
    found: FoundShapes | None = None
    reference: Reference | Failure | None = None
    outcomes: dict[str, StepOutcome] = field(default_factory=dict)
    passed_so_far: dict[str, Verified] = field(default_factory=dict)
    started: dict[UnitKey, Unit] = field(default_factory=dict)
    export_again: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        return self.plan.config.model_name

    @property
    def pending(self) -> list[Step]:
        """The steps whose cells have no result yet."""
        return [step for step in self.plan.steps if not isinstance(self.outcomes.get(step.label), Verified | Failure)]

    @property
    def builds_more(self) -> bool:
        """Whether engines are still to be built, in a worker that lasts."""
        return any(is_built(step) and step.label not in self.outcomes for step in self.pending)

    @property
    def runs_source(self) -> bool:
        """Whether the source model is running, which may take longer than conversions that fail meanwhile."""
        return self.reference is None and any(label == "source" for label, _, _ in self.started)

    def step(self, label: str) -> Step:
        return next(step for step in self.plan.steps if step.label == label)

    def calibrates(self, step: Step) -> bool:
        """Return whether `step` is the one that turns its source into int8: what is made from that keeps its scales."""
        above = None if step.parent is None else self.step(step.parent).precision
        return step.precision is Precision.INT8 and above is not Precision.INT8

    def artifact(self, label: str | None) -> Path | None:
        """Return the path of a step's artifact, verified or not, or None; the label None is for the source model."""
        if label is None:
            return self.plan.config.model_path
        outcome = self.outcomes.get(label)
        if isinstance(outcome, Artifact):
            return outcome.path
        return outcome.output_model.path if isinstance(outcome, Verified) else None

    def ready(self) -> Iterator[Unit]:
        """Yield units that can start and have not, the reference first, since all others wait for it."""
        pending = self.pending
        units = [Unit(model=self.name, label="source", kind=UnitKind.REFERENCE)] if pending else []
        units += [unit for step in pending if (unit := self._next(step)) is not None]
        yield from (unit for unit in units if unit.key not in self.started)

    def check(self, label: str, device: Device, outcome: Verified | Failure) -> None:
        """Record a verification on one device. A failure, or a pass on the last device, decides the step."""
        step = self.step(label)
        if isinstance(outcome, Verified):
            earlier = self.passed_so_far.get(label)
            outcome = outcome.after(earlier) if earlier is not None else outcome
            if outcome.matched and device is not step.devices[-1]:
                self.passed_so_far[label] = outcome
                return
        self.decide(label, outcome)

    def decide(self, label: str, outcome: StepOutcome) -> None:
        """Record the outcome of a step, unless it has one already.

        A raised file that did not pass shows nothing about the model, since `onnx.version_converter` may have broken
        it. Such a step starts again with its own export.
        """
        if isinstance(self.outcomes.get(label), Verified | Failure):
            return
        self.outcomes[label] = outcome
        conversion = self.started.get((label, UnitKind.CONVERT, Device.CPU))
        if isinstance(outcome, Verified) and not outcome.matched and conversion is not None and conversion.raise_from:
            self.export_again.add(label)
            del self.outcomes[label]
            self.passed_so_far.pop(label, None)
            self.started = {key: unit for key, unit in self.started.items() if key[0] != label}

    def block(self) -> None:
        """Block all steps if the source model can't be run, since then nothing can be verified.

        Also blocks steps whose input is missing or did not pass. What depends on a step that isn't applicable isn't
        applicable either, for the same reason.
        """
        for step in self.pending:
            parent = self.outcomes.get(step.parent or "")
            if isinstance(parent, Failure) and parent.state is State.NOT_APPLICABLE:
                self.outcomes[step.label] = parent
            elif isinstance(parent, Failure) or (isinstance(parent, Verified) and not parent.matched):
                # An error in an artifact is in everything that is made from it, and an engine takes minutes to show it.
                self.outcomes[step.label] = Failure(state=State.BLOCKED, message=f"blocked by {step.parent}")
        if not isinstance(self.reference, Failure):
            return
        what = "the source model, which wasn't run" if self.reference.full_disk else _NOT_RUN
        for step in self.pending:
            self.outcomes[step.label] = Failure(
                state=State.BLOCKED,
                message=f"blocked by {self.reference.blocking or what}: {self.reference.message}",
                remedy=self.reference.remedy,
                log_path=self.reference.log_path,
            )

    def _next(self, step: Step) -> Unit | None:
        """Return the next unit of `step`, or None if it has to wait."""
        if isinstance(self.outcomes.get(step.label), Artifact):
            return self._verification(step) if isinstance(self.reference, Reference) else None
        if CONVERTERS[step.converter].NEEDS_SAMPLES and self.reference is None:
            return None
        if step.parent is not None and not self._passed(step.parent):
            return None
        lower = () if step.label in self.export_again else step.raise_from
        passed = next((label for label in lower if self._passed(label)), None)
        if passed is None and {each.label for each in self.pending}.intersection(lower):
            return None
        needs_gpu = CONVERTERS[step.converter].NEEDS_GPU
        return Unit(model=self.name, label=step.label, kind=UnitKind.CONVERT, raise_from=passed, needs_gpu=needs_gpu)

    def _verification(self, step: Step) -> Unit:
        """Return the verification on the next device of a step, or None if there is none."""
        earlier = self.passed_so_far.get(step.label)
        done = {each.device for each in earlier.verdict.comparisons} if earlier is not None else set()
        device = next((each for each in step.devices if each not in done), Device.CPU)
        needs_gpu = device is Device.CUDA and bool(step.devices)
        # An engine only runs on the GPU model that it was built on.
        built_on = self.started.get((step.label, UnitKind.CONVERT, Device.CPU))
        gpu = built_on.gpu if built_on is not None and needs_gpu else ""
        return Unit(
            model=self.name, label=step.label, kind=UnitKind.VERIFY, device=device, needs_gpu=needs_gpu, gpu=gpu
        )

    def _passed(self, label: str) -> bool:
        outcome = self.outcomes.get(label)
        return isinstance(outcome, Verified) and outcome.matched


def startable(models: Iterable[ModelState], *, room: int, busy: Collection[str]) -> list[Unit]:
    """Return up to `room` units that can start now, of as many models from the first on, references first.

    Then those that need a GPU, so that it doesn't wait for work that can be done beside its own. So a run of many
    models has the samples and outputs of a few of them on disk at a time. A unit that needs a GPU gets one of its
    model's for itself: two engines that are built on one GPU at the same time would disturb each other's measurements.
    Other units run in parallel.

    Args:
        models: the states of those that aren't finished.
        room: how many can start.
        busy: UUIDs of the GPUs of running units.
    """
    units: list[tuple[Unit, ModelState]] = []
    begun = 0
    for model in models:
        if begun == room:
            break
        able = [unit for unit in model.ready() if not unit.needs_gpu or _free_gpu(unit, model, busy)]
        units += [(unit, model) for unit in able]
        begun += bool(able)
    chosen: list[Unit] = []
    for unit, model in sorted(units, key=lambda pair: (pair[0].kind is not UnitKind.REFERENCE, not pair[0].needs_gpu)):
        if len(chosen) == room:
            break
        gpu = _free_gpu(unit, model, {*busy, *(each.gpu for each in chosen)}) if unit.needs_gpu else ""
        if gpu is not None:
            chosen.append(replace(unit, gpu=gpu or unit.gpu))
    return chosen


def _free_gpu(unit: Unit, model: ModelState, taken: Collection[str]) -> str | None:
    """Return a GPU of the model for a unit, that on which it must run if there's one; None if all are taken."""
    gpus = [gpu.uuid for gpu in model.plan.gpus]
    return next((gpu for gpu in ([unit.gpu] if unit.gpu in gpus else gpus) if gpu not in taken), None)
