"""Has the user's metric called in a worker, on the source model's outputs and on a converted model's."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from navigator.engine.outcomes import Failure, Reference
from navigator.engine.step_context import StepContext, answer_of
from navigator.errors import StepError
from navigator.records import Device, MetricOutcome, MetricResult, ModelConfig, Precision, State, to_data
from navigator.verify.metric import fraction_of, judge, paired, refuse_useless
from navigator.verify.metric_sentences import remedy, unproven
from navigator.workers.answers import MetricAnswer


def source_items(
    model: ModelConfig, names: Sequence[str], samples: Path, outputs: Path, context: StepContext
) -> Mapping[str, tuple[float, ...]] | Failure:
    """Return the metric's values for the source model by sample, or why it has none that can be used."""
    found = _items(model, names, (samples, outputs, outputs), ("source", Device.CPU), context)
    if isinstance(found, Failure):
        return replace(found, blocking="the metric, which fails for the source model")
    try:
        refuse_useless(paired(found.values, found.values)[0], lower_is_better=model.metric_lower_is_better)
    except StepError as error:
        blocking = "the metric, which says nothing about the source model"
        return Failure(state=State.FAILED, message=error.message, remedy=error.hint, blocking=blocking)
    return found.values


def metric_of(
    model: ModelConfig,
    reference: Reference,
    names: Sequence[str],
    outputs: Path,
    step: tuple[str, Device],
    context: StepContext,
) -> MetricResult | Failure | None:
    """Return what the metric says of a converted model, why it says nothing, or None if there is no metric.

    Args:
        model: the model, with its metric.
        reference: the source model's samples, outputs and items.
        names: the samples that the converted model is compared on.
        outputs: the converted model's outputs.
        step: its label, and the device that it was run on.
        context: where the function is run.
    """
    if model.metric is None or reference.metric is None:
        return None
    found = _items(model, names, (reference.samples, reference.outputs, outputs), step, context)
    if isinstance(found, Failure):
        return replace(found, message=f"converted, but {found.message}")
    try:
        result = judge(
            *paired(reference.metric, found.values),
            name=model.metric.function,
            target=fraction_of(model.quality),
            lower_is_better=model.metric_lower_is_better,
            seed=model.random_seed,
        )
    except StepError as error:
        return Failure(state=State.FAILED, message=f"converted, but {error.message}", remedy=error.hint)
    return replace(result, device=step[1], outputs=found.outputs)


def unproven_by(result: MetricResult, precision: Precision) -> Failure | None:
    """Return why a conversion whose outputs match isn't proven to be as good, if it isn't.

    In fp32 the outputs themselves are the proof.
    """
    if result.outcome is not MetricOutcome.UNPROVEN or precision is Precision.FP32:
        return None
    return Failure(state=State.UNVERIFIED, message=f"converted, but {unproven(result)}", remedy=remedy(result))


def _items(
    model: ModelConfig,
    names: Sequence[str],
    directories: tuple[Path, Path, Path],
    step: tuple[str, Device],
    context: StepContext,
) -> MetricAnswer | Failure:
    """Call the metric for some samples, given their inputs, the source model's outputs and those to judge."""
    assert model.metric is not None
    samples, source, outputs = directories
    label, device = step
    arguments = {
        "config": to_data(model),
        "samples": str(samples),
        "source": str(source),
        "outputs": str(outputs),
        "names": list(names),
    }
    task = replace(context, gpu=None).task(
        "metric",
        arguments,
        model.model_name,
        label,
        unit="metric" if device is Device.CPU else f"metric-{device}",
        reads=(model.metric.path, *model.samples, *directories),
        writes=(),
    )
    answer = answer_of(MetricAnswer, context.workers.run(task), task)
    if isinstance(answer, Failure):
        return answer
    if list(answer.values) != list(names):
        return Failure(state=State.CRASHED, message="the metric left a damaged result", log_path=task.log_path)
    return answer
