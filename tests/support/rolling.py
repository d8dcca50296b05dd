"""Rolls a source model and a converted one forward in this process, and judges single steps and several."""

from pathlib import Path
from typing import Any, NamedTuple

from navigator.records import ModelConfig, Precision, Signature, Verdict
from navigator.runners.protocol import LoadedModel
from navigator.verify.compare import verify
from navigator.verify.noise import measured
from navigator.verify.rolled import joined, judge, over_steps
from navigator.verify.tolerances import least_sqnr_db, tolerances, units_of
from navigator.workers.noise import probes
from navigator.workers.rolled import RolledSource, roll_converted, roll_source, sample_name
from navigator.workers.source_runs import SourceRuns, run


class Judged(NamedTuple):
    """The verdicts on single steps, and on several, None if it wasn't compared."""

    single: Verdict
    rolled: Verdict | None
    source: RolledSource
    note: str

    @property
    def passed(self) -> bool:
        return joined(self.single, self.rolled).passed


def source_of(model: LoadedModel, config: ModelConfig) -> tuple[SourceRuns, RolledSource, Signature]:
    """Run the source model on its samples and roll it forward."""
    runs = run(model, model.signature.inputs, config, 2**33)
    signature = Signature(inputs=model.signature.inputs, outputs=model.signature.outputs)
    return runs, roll_source(model, signature, config, runs), signature


def judged(
    source: LoadedModel, converted: LoadedModel, config: ModelConfig, precision: Precision = Precision.FP32
) -> Judged:
    """Judge a converted model as a run does."""
    runs, rolled, _ = source_of(source, config)
    found = probes(source, runs.samples, runs.outputs)
    noise = measured(runs.outputs, found.rounded, {"": 1e-5}, found.batches)
    allowed = tolerances(config, precision, runs.outputs, noise)
    single = verify(
        runs.outputs,
        [(name, converted.infer(inputs)) for name, inputs in runs.samples],
        atol=allowed.atol,
        rtol=allowed.rtol,
        units=units_of(config, precision, runs.outputs),
        least_sqnr_db=least_sqnr_db(config, precision, runs.outputs),
    )
    if rolled.roll is None:
        return Judged(single, None, rolled, "")
    numbers = {sample_name(number): number for number in rolled.roll.kept}
    rtol = tolerances(config, Precision.FP32, runs.outputs).rtol
    known = over_steps(runs.outputs, rolled.outputs, rolled.noise, numbers, rtol, noise)
    outputs, stopped = roll_converted(converted, rolled.roll, rolled.steps)
    verdict = judge(
        config, precision, runs.outputs, rolled.outputs, outputs, known=known, single=noise, stopped=stopped
    )
    return Judged(single, verdict, rolled, known.note)


def configured(path: Path, **changes: Any) -> ModelConfig:
    return ModelConfig(model_name="m", model_path=path, **changes)
