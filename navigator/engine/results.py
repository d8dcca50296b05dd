"""Turns the outcomes of steps into one result per planned conversion. Pure.

A conversion has the outcome of its last step, or is blocked by the first of its steps without an artifact.
"""

from collections.abc import Mapping
from dataclasses import replace

from navigator.engine.outcomes import Artifact, Failure, Verified
from navigator.records import (
    Auto,
    Cell,
    CellResult,
    Comparison,
    ConversionConfig,
    EngineOptions,
    ModelPlan,
    Precision,
    SourceModel,
    State,
    Status,
    Step,
    TensorRTConfig,
    Tolerances,
)
from navigator.render.values import word
from navigator.verify.metric_sentences import verdict_sentence
from navigator.verify.tolerances import configured

StepOutcome = Artifact | Failure | Verified

UNDECIDED = "cancelled: the run ended before this conversion finished"


def cell_results(
    plan: ModelPlan, outcomes: Mapping[str, StepOutcome], *, source_bytes: int, command: str
) -> tuple[CellResult, ...]:
    """Return a result for every cell of `plan`, finished or not.

    Args:
        plan: the plan of one model.
        outcomes: by step label; absent if the step has not ended, an `Artifact` if it is not verified yet.
        source_bytes: size of the source model.
        command: command line of this run, to reproduce failures.
    """
    return tuple(_result(plan, cell, outcomes, source_bytes, command) for cell in plan.conversions)


def obliged(result: CellResult, fail_on_unverified: bool | Auto) -> CellResult:
    """Return `result` with whether it must be verified: with "auto", if the user asked for its format."""
    must = result.requested if fail_on_unverified == "auto" else fail_on_unverified
    if must and result.status.state is State.UNVERIFIED:
        result = replace(result, remedy=f"{result.remedy}, or set fail_on_unverified: false")
    return replace(result, must_be_verified=must)


def _result(
    plan: ModelPlan, cell: Cell, outcomes: Mapping[str, StepOutcome], source_bytes: int, command: str
) -> CellResult:
    model = plan.config
    given = configured(model, cell.configuration.precision or Precision.FP32)
    empty = CellResult(
        model_name=model.model_name,
        conversion=cell.label,
        status=Status(state=cell.state or State.CANCELLED, message=cell.reason or UNDECIDED),
        source_model_config=SourceModel(
            model_name=model.model_name,
            model_path=model.model_path,
            model_format=plan.source_format,
            model_version=model.model_version,
            size_bytes=source_bytes,
            # A model on the command line has no line in a file.
            config_path=model.config_path if model.line is not None else None,
            line=model.line if model.config_path is not None else None,
        ),
        conversion_config=_conversion_config(plan, cell),
        comparator_config=given,
        configured_tolerances=given,
        requested=cell.requested,
        intermediate=cell.intermediate,
        steps=cell.steps,
        remedy=cell.remedy,
    )
    if cell.state is not None:
        return empty
    result = _decided(empty, cell, outcomes)
    if result.status.state in (State.PASSED, State.NOT_APPLICABLE):
        return result
    alone = f"--models {model.model_name} --conversions {cell.label} --verbose"
    return replace(result, reproduce=f"{command} {alone}")


def _decided(empty: CellResult, cell: Cell, outcomes: Mapping[str, StepOutcome]) -> CellResult:
    for label in cell.steps:
        outcome = outcomes.get(label)
        if isinstance(outcome, Verified) and label != cell.label and not outcome.matched:
            earlier = _verified(empty, outcome).status
            message = f"blocked by {label}, which {word(earlier.state)}: {earlier.message}"
            return replace(empty, status=replace(earlier, state=State.BLOCKED, message=message))
        if not isinstance(outcome, Failure):
            continue
        if label == cell.label or outcome.state is State.NOT_APPLICABLE:
            status = Status(state=outcome.state, message=outcome.message, log_path=outcome.log_path)
        else:
            message = f"blocked by {label}, which {word(outcome.state)}: {outcome.message}"
            status = Status(state=State.BLOCKED, message=message, log_path=outcome.log_path)
        return replace(empty, status=status, remedy=outcome.remedy)
    outcome = outcomes.get(cell.label)
    return _verified(empty, outcome) if isinstance(outcome, Verified) else empty


def _verified(empty: CellResult, verified: Verified) -> CellResult:
    failure, verdict = verified.failure, verified.verdict
    if failure is not None:
        status = Status(state=failure.state, message=failure.message, log_path=failure.log_path)
    else:
        state = State.PASSED if verdict.passed else State.MISMATCHED
        status = Status(state=state, message=verdict_sentence(verdict), log_path=verified.log_path)
    return replace(
        empty,
        status=status,
        expected_outputs=verified.expected_outputs,
        samples=verified.infos,
        comparisons=verdict.comparisons,
        metrics=verdict.metrics,
        suggested_tolerances=verdict.suggested,
        warnings=verdict.warnings,
        output_model=verified.output_model,
        latencies=verified.latencies,
        searched=verdict.searched,
        weights=verdict.weights,
        comparator_config=_applied(verdict.comparisons, empty.comparator_config),
        seconds=verified.seconds,
        peak_memory_bytes=verified.peak_memory_bytes or None,
        cached=verified.cached,
        remedy=failure.remedy if failure else "",
    )


def _applied(comparisons: tuple[Comparison, ...], configured: Tolerances) -> Tolerances:
    """Return the applied tolerances: the configured ones, and the defaults of a reduced precision."""

    def entries(configured: Mapping[str, float], applied: Mapping[str, float]) -> dict[str, float]:
        others = {name: each for name, each in applied.items() if each != configured.get(name, configured.get(""))}
        return {**configured, **others}

    return Tolerances(
        # The slices of an output may have different ones, of which this is the widest.
        atol=entries(configured.atol, {each.output: each.atol for each in sorted(comparisons, key=_atol)}),
        rtol=entries(configured.rtol, {each.output: each.rtol for each in comparisons}),
    )


def _atol(comparison: Comparison) -> float:
    return comparison.atol


def _conversion_config(plan: ModelPlan, cell: Cell) -> ConversionConfig:
    model, configuration = plan.config, cell.configuration
    tensorrt = None
    if configuration.precision is not None:
        step = next((step for step in plan.steps if step.label == cell.label), None)
        tensorrt = TensorRTConfig(
            precision=configuration.precision,
            precision_mode=configuration.precision_mode,
            explicit_precision=model.tensorrt_explicit_precision,
            sparse_weights=model.tensorrt_sparse_weights,
            max_workspace_size=model.tensorrt_max_workspace_size,
            optimization_level=model.tensorrt_optimization_level,
            tf32=_tf32(step),
            container_image=step.image if step is not None else None,
        )
    return ConversionConfig(
        target_format=configuration.target_format,
        onnx_opset=configuration.onnx_opset,
        tensorrt_config=tensorrt,
    )


def _tf32(step: Step | None) -> bool | None:
    if step is None:
        return None
    return isinstance(step.options, EngineOptions) and step.options.tf32
