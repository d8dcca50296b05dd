"""The unit of work that runs the source model, whose outputs are the reference."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from navigator.cache.digests import stamp
from navigator.engine.metric import source_items
from navigator.engine.outcomes import Failure, Reference
from navigator.engine.rolled import source_rolled
from navigator.engine.step_context import StepContext, answer_of, damaged, failing_alone, outputs_in
from navigator.errors import StepError
from navigator.models.files import model_files
from navigator.records import FoundShapes, ModelConfig, Precision, State, to_data
from navigator.samples.found import with_found
from navigator.samples.shapes import profile_of
from navigator.verify.noise import measured, notes, warnings
from navigator.verify.tolerances import tolerances
from navigator.workers.answers import ReferenceAnswer
from navigator.workers.noise import BATCHES
from navigator.workers.task import Task

_CRASHED = (
    "the source model crashed on inputs besides its samples, and was run on its samples alone; to try no others, set "
    "search_seconds: 0, and either min_shapes and max_shapes or probe: false"
)
_WRITTEN = ("samples", "calibration", "outputs", "noise")
_STATE = "make the state an input and an output"


@failing_alone
def run_reference(model: ModelConfig, found: FoundShapes | None = None, *, context: StepContext) -> Reference | Failure:
    """Run the source model on its samples; a failure is returned, not raised.

    Where nobody says which shapes it takes, it's asked first, unless an earlier run `found` them. If it crashes on one
    of them, or on what a search is to try, it's run on its samples alone.
    """
    config = replace(with_found(model, found), probe=model.probe and found is None)
    outcome = _run(config, context)
    more = config.search_seconds == "auto" or (config.probe and not model.samples)
    if isinstance(outcome, Failure) and outcome.state is State.CRASHED and more:
        without = _run(replace(config, probe=False, search_seconds=0.0), context)
        return outcome if isinstance(without, Failure) else replace(without, notes=(*without.notes, _CRASHED))
    return outcome if isinstance(outcome, Failure) or found is None else replace(outcome, found=found)


def _run(model: ModelConfig, context: StepContext) -> Reference | Failure:
    name = model.model_name
    places = {what: context.workspace.scratch(name, "source", what) for what in _WRITTEN}
    for path in places.values():
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()  # so that the worker may write nothing beside them
    arguments = {
        "config": to_data(model),
        "memory_bytes": context.memory_bytes // 2,
        **{what: str(path) for what, path in places.items()},
    }
    reads = (*model_files(model.model_path), *model.samples, *model.calibration_samples)
    task = context.task("reference", arguments, name, "source", reads=reads, writes=tuple(places.values()))
    answer = answer_of(ReferenceAnswer, context.workers.run(task), task)
    return answer if isinstance(answer, Failure) else _read(model, answer, places, task, context)


def _read(
    model: ModelConfig, answer: ReferenceAnswer, places: Mapping[str, Path], task: Task, context: StepContext
) -> Reference | Failure:
    """Return what the worker has written to `places`, with the noise that is measured on it."""
    outputs, noise = places["outputs"], places["noise"]
    written = stamp(places["samples"], places["calibration"], outputs)
    found, *probed = (outputs_in(each, context.memory_bytes) for each in (outputs, noise, noise / BATCHES))
    if isinstance(found, str):
        return Failure(state=State.FAILED, message=found, log_path=task.log_path)
    # Without the noise, outputs are compared strictly.
    rounded, batches = ([] if isinstance(each, str) else each for each in probed)
    rounding = measured(found, rounded, tolerances(model, Precision.FP32, found).rtol, batches)
    names = [each for each, _ in found]
    items = source_items(model, names, places["samples"], outputs, context) if model.metric is not None else None
    if isinstance(items, Failure):
        return items
    rolled = source_rolled(
        model, found, rounding, answer.roll, outputs=outputs, noise=noise, memory_bytes=context.memory_bytes
    )
    if isinstance(rolled, str):
        return Failure(state=State.FAILED, message=rolled, log_path=task.log_path)
    try:
        completed = with_found(model, answer.found)
        shapes = profile_of(answer.signature.inputs, completed, answer.samples, answer.axes)
    except (StepError, LookupError, ValueError) as error:
        return damaged(task, f"its samples don't fit its signature: {error}")
    return Reference(
        signature=answer.signature,
        samples=places["samples"],
        calibration=places["calibration"],
        outputs=outputs,
        infos=answer.samples,
        written=written,
        shapes=shapes,
        noise=rounding,
        unstable=answer.unstable,
        state_advice=answer.state_advice or _STATE,
        notes=(*answer.notes, *notes(rounding), *([rolled.note] if rolled and rolled.note else [])),
        warnings=(*answer.warnings, *warnings(rounding)),
        calibration_infos=answer.calibration,
        held_out=answer.held_out,
        metric=items,
        roll=answer.roll,
        rolled=rolled,
        found=answer.found and replace(answer.found, model_name=model.model_name),
        search_seconds=answer.search_seconds,
        special=answer.special,
    )
