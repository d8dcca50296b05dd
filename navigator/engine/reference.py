"""The unit of work that runs the source model, whose outputs are the reference."""

from navigator.cache.digests import stamp
from navigator.engine.outcomes import Failure, Reference
from navigator.engine.step_context import StepContext, failing_on_full_disk, failure_of, outputs_in
from navigator.models.files import model_files
from navigator.records import ModelConfig, SampleInfo, Signature, State, from_data, to_data
from navigator.samples.shapes import profile_of
from navigator.workers.task import TaskStatus


@failing_on_full_disk
def run_reference(model: ModelConfig, *, context: StepContext) -> Reference | Failure:
    """Run the source model on its samples; a failure is returned, not raised."""
    name = model.model_name
    samples, outputs = (context.workspace.scratch(name, "source", what) for what in ("samples", "outputs"))
    arguments = {
        "config": to_data(model),
        "memory_bytes": context.memory_bytes // 2,
        "samples": str(samples),
        "outputs": str(outputs),
    }
    reads = (*model_files(model.model_path), *model.samples)
    task = context.task("reference", arguments, name, "source", reads=reads, writes=(samples, outputs))
    result = context.workers.run(task)
    if result.status is not TaskStatus.FINISHED or result.value is None:
        return failure_of(result, task)
    written = stamp(samples, outputs)
    found = outputs_in(outputs)
    if isinstance(found, str):
        return Failure(state=State.FAILED, message=found, log_path=task.log_path)
    signature = from_data(Signature, result.value["signature"])
    infos = from_data(tuple[SampleInfo, ...], result.value["samples"])
    return Reference(
        signature=signature,
        samples=samples,
        outputs=outputs,
        infos=infos,
        written=written,
        shapes=profile_of(signature.inputs, model, infos),
        unstable=tuple(result.value["unstable"]),
        notes=tuple(result.value["notes"]),
    )
