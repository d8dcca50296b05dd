"""What may start: the units of work of one model, and which of them wait for which. Pure, but for its own state.

Parents before children, the reference before what needs it, lower opsets before those that are raised from them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from navigator.cells import StepOutcome
from navigator.converters import CONVERTERS
from navigator.records import ModelPlan, State, Step
from navigator.steps import Artifact, Failure, Reference, Verified


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """One piece of work: `what` is reference, convert or verify; `label` is a step's, or "source".

    `raise_from` is the label of the step whose file a conversion raises instead of exporting anew.
    """

    model: str
    label: str
    what: str
    raise_from: str | None = None


@dataclass(kw_only=True, slots=True)
class ModelState:
    """What is known of one model while it runs. `alone` holds the steps that are to export anew after all."""

    plan: ModelPlan
    reference: Reference | Failure | None = None
    outcomes: dict[str, StepOutcome] = field(default_factory=dict)
    started: dict[tuple[str, str], Unit] = field(default_factory=dict)
    alone: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        return self.plan.config.model_name

    @property
    def pending(self) -> list[Step]:
        """The steps whose cells are not decided."""
        return [step for step in self.plan.steps if not isinstance(self.outcomes.get(step.label), Verified | Failure)]

    def step(self, label: str) -> Step:
        return next(step for step in self.plan.steps if step.label == label)

    def artifact(self, label: str | None) -> Path | None:
        """Return where a step's artifact lies, verified or not; None while there is none; None is the source model."""
        if label is None:
            return self.plan.config.model_path
        outcome = self.outcomes.get(label)
        if isinstance(outcome, Artifact):
            return outcome.path
        return outcome.output_model.path if isinstance(outcome, Verified) else None

    def ready(self) -> Iterator[Unit]:
        """Yield what may start now and has not, the reference first: everything else waits for it."""
        pending = self.pending
        units = [Unit(model=self.name, label="source", what="reference")] if pending else []
        units += [unit for step in pending if (unit := self._next(step)) is not None]
        yield from (unit for unit in units if (unit.label, unit.what) not in self.started)

    def decide(self, label: str, outcome: StepOutcome) -> None:
        """Note what became of a step, unless something else has decided it meanwhile.

        A raised file that did not pass proves nothing about the model: `onnx.version_converter` may have broken it.
        Such a step starts over with an export of its own.
        """
        if isinstance(self.outcomes.get(label), Verified | Failure):
            return
        self.outcomes[label] = outcome
        conversion = self.started.get((label, "convert"))
        if isinstance(outcome, Verified) and not outcome.passed and conversion is not None and conversion.raise_from:
            self.alone.add(label)
            del self.outcomes[label]
            for what in ("convert", "verify"):
                self.started.pop((label, what), None)

    def block(self) -> None:
        """Where the source model cannot be run, no cell can be verified: block what is not decided."""
        if not isinstance(self.reference, Failure):
            return
        for step in self.pending:
            self.outcomes[step.label] = Failure(
                state=State.BLOCKED,
                message=f"blocked by the source model, which cannot be run: {self.reference.message}",
                remedy=self.reference.remedy,
                log_path=self.reference.log_path,
            )

    def _next(self, step: Step) -> Unit | None:
        """Return what `step` needs next, or None while it has to wait."""
        if isinstance(self.outcomes.get(step.label), Artifact):
            referenced = isinstance(self.reference, Reference)
            return Unit(model=self.name, label=step.label, what="verify") if referenced else None
        if self.artifact(step.parent) is None or (CONVERTERS[step.converter].NEEDS_SAMPLES and self.reference is None):
            return None
        lower = () if step.label in self.alone else step.raise_from
        passed = next((label for label in lower if self._passed(label)), None)
        if passed is None and {each.label for each in self.pending}.intersection(lower):
            return None
        return Unit(model=self.name, label=step.label, what="convert", raise_from=passed)

    def _passed(self, label: str) -> bool:
        outcome = self.outcomes.get(label)
        return isinstance(outcome, Verified) and outcome.passed
