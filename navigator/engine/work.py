"""The work of a unit that converts or verifies: the worker's part, and what the outcome takes over.

Runs in the unit's thread and changes no state; outcomes are data.
"""

from dataclasses import replace

from navigator.engine.conversion import run_convert
from navigator.engine.outcomes import Artifact, Failure, Reference, Verified
from navigator.engine.schedule import ModelState, Unit
from navigator.engine.search import searched
from navigator.engine.sources import Source
from navigator.engine.step_context import StepContext
from navigator.engine.subject import Subject
from navigator.engine.verification import run_verify, unverified
from navigator.records import Device, Properties


def converted(model: ModelState, unit: Unit, *, context: StepContext) -> Artifact | Failure:
    """Return what a step made of its parent's artifact."""
    step = model.step(unit.label)
    source = model.artifact(step.parent)
    assert source is not None
    outcome = run_convert(
        model.plan.config,
        step,
        source=source,
        reference=model.reference if isinstance(model.reference, Reference) else None,
        raise_from=model.artifact(unit.raise_from) if unit.raise_from else None,
        calibrates=model.calibrates(step),
        context=context,
    )
    above = model.outcomes.get(step.parent or "")
    if isinstance(outcome, Artifact) and isinstance(above, Verified) and not model.calibrates(step):
        # An engine keeps the scales of its ONNX file, and with them what they were measured on.
        calibrated = Properties(calibrated=above.output_model.properties.calibrated)
        outcome = replace(outcome, properties=calibrated.updated(outcome.properties))
    return outcome


def verified(subject: Subject, device: Device, *, context: StepContext, source: Source) -> Verified | Failure:
    """Return the verdict on an artifact, after a search for a disagreement if it passed."""
    if not subject.step.devices:
        return unverified(subject, context=context)
    outcome = run_verify(subject, device, context=context)
    after = searched(outcome, subject, device, context=context)
    if source.is_unchanged:
        return after
    if isinstance(outcome, Failure):
        return outcome
    # The model may have changed since its key was computed; a search would have run the new one.
    note = f"{subject.model.model_path.name} or its samples changed during the run: run again"
    verdict = replace(outcome.verdict, warnings=(*outcome.verdict.warnings, note))
    return replace(outcome, verdict=verdict)
