"""What a forked child does: run the source model, convert, run an artifact, call a metric, search. One function a task.

Arguments and values are plain JSON; arrays travel as `navigator.samples.storage` directories. Judges nothing: comparing
is the parent's.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from navigator.converters import CONVERTERS
from navigator.converters.protocol import conversion_of
from navigator.errors import StepError
from navigator.frameworks.declaration import agreed
from navigator.records import (
    Description,
    Device,
    Json,
    Latency,
    ModelConfig,
    SampleInfo,
    Signature,
    from_data,
    to_data,
)
from navigator.runners import RUNNERS
from navigator.runners.abilities import ExportDiffers, KeepsState
from navigator.runners.inspection import completed
from navigator.runners.protocol import LoadedModel
from navigator.samples import storage as arrays
from navigator.samples.calibration import calibration
from navigator.samples.constants import Special
from navigator.samples.generate import UNASKED, Sample
from navigator.workers import ties
from navigator.workers.answers import InferAnswer, ReferenceAnswer, Roll, RoundingAnswer
from navigator.workers.loading import arguments_of, converted_loader, source_loader
from navigator.workers.metric import metric
from navigator.workers.noise import BATCHES, OFF, Probes, exact, probes, probes_of, shaken, summed
from navigator.workers.non_finite import numbers
from navigator.workers.probing import advised, probed
from navigator.workers.repeatability import require_repeatable, saved_in_training_mode
from navigator.workers.rolled import DIRECTORY as ROLLED
from navigator.workers.rolled import GIVEN, RolledSource, roll_converted, roll_source
from navigator.workers.search import prepare, search, tried
from navigator.workers.source_runs import known_axes, run, untaken_branches
from navigator.workers.special import special_of
from navigator.workers.undecided import runs as runs_undecided
from navigator.workers.weights import weights

# A latency is the median of this many runs, at least and at most, for about this long.
_LATENCY_RUNS = (5, 100)
_LATENCY_SECONDS = 0.1


def reference(arguments: Mapping[str, Json]) -> Json:
    """Run the source model on its samples.

    Args:
        arguments: `config` (a `ModelConfig`), `memory_bytes` that a sample may use, `samples`, `calibration`, `outputs`
            and `noise`: the directories to write.

    Returns:
        a `ReferenceAnswer`.
    """
    config = from_data(ModelConfig, arguments["config"])
    assert config.model_format is not None
    load, given = source_loader(config), config
    model, config, found = probed(config, load, RUNNERS[config.model_format])
    inputs = agreed("inputs", config.inputs, model.signature.inputs)
    reload = partial(load, declared=Signature(inputs=inputs, outputs=config.outputs), **arguments_of(config))
    started = time.monotonic()
    try:
        runs = run(model, inputs, config, int(arguments["memory_bytes"]))
    except StepError as error:
        raise advised(error, model, inputs, given) from error
    took = time.monotonic() - started
    arrays.save(Path(arguments["samples"]), runs.samples)
    arrays.save(Path(arguments["outputs"]), numbers(runs.outputs, runs.undefined))
    unstable = require_repeatable(model, runs.samples, runs.outputs, reload)
    signature = Signature(inputs=inputs, outputs=agreed("outputs", config.outputs, model.signature.outputs))
    equal = [] if unstable else ties.undefined(model, runs.samples, runs.outputs)
    # Where a model sorts, no sample has NaN.
    arrays.save(Path(arguments["outputs"]) / ties.DIRECTORY, equal or runs.undefined)
    # A state of its own would be taken for noise.
    whole = runs.whole
    noise = probes(model, whole.samples, whole.outputs) if config.atol == "auto" and not unstable else Probes([], [])
    _save_noise(noise, arguments)
    rolled = RolledSource() if unstable else roll_source(model, signature, config, whole)
    _save_rolled(rolled, arguments)
    into = Path(arguments["samples"]), Path(arguments["outputs"])
    searches = config.search_seconds == "auto" and not unstable
    search_seconds = prepare(model, inputs, config, runs.samples, took=took, into=into) if searches else 0.0
    divided = calibration(inputs, config, whole.samples, int(arguments["memory_bytes"]))
    arrays.save(Path(arguments["calibration"]), divided.samples)
    answer = ReferenceAnswer(
        signature=signature,
        properties=model.properties,
        samples=(*runs.infos, *rolled.infos),
        axes=known_axes(model),
        notes=(
            *runs.notes,
            *(model.export_notes if isinstance(model, ExportDiffers) else ()),
            *ties.notes(model, runs.outputs, equal),
            *rolled.notes,
        ),
        warnings=(*saved_in_training_mode(model), *untaken_branches(model, runs.samples)),
        unstable=unstable,
        state_advice=model.state_advice if unstable and isinstance(model, KeepsState) else "",
        calibration=tuple(
            SampleInfo(name=name, shapes={key: array.shape for key, array in sample.items()}, calibration=True)
            for name, sample in divided.samples
        ),
        held_out=divided.held_out,
        roll=rolled.roll,
        found=found,
        search_seconds=search_seconds,
        special=special_of(model),
    )
    return to_data(answer)


def _save_noise(noise: Probes, arguments: Mapping[str, Json]) -> None:
    arrays.save(Path(arguments["noise"]), noise.rounded)
    arrays.save(Path(arguments["noise"]) / BATCHES, noise.batches)


def _save_rolled(rolled: RolledSource, arguments: Mapping[str, Json]) -> None:
    for name, sets in (("samples", rolled.steps), ("outputs", rolled.outputs), ("noise", rolled.noise)):
        arrays.save(Path(arguments[name]) / ROLLED, sets)
    arrays.save(Path(arguments["samples"]) / ROLLED / GIVEN, rolled.given)


def rounding(arguments: Mapping[str, Json]) -> Json:
    """Run the source model with other rounding.

    Args:
        arguments: `config` (a complete `ModelConfig`), `samples` and `outputs`: the directories of its reference,
            `names` of the samples to run, and `noise`: the directory to write.

    Returns:
        a `RoundingAnswer`.
    """
    model = source_loader(from_data(ModelConfig, arguments["config"]))()
    samples = _named(arguments)
    found = probes_of(model, samples, arrays.load(Path(arguments["outputs"]), mapped=True))
    found = replace(found, rounded=[*found.rounded, *exact(model, samples)])
    _save_noise(found, arguments)
    return to_data(RoundingAnswer(runs=len(found.rounded) + len(found.batches)))


def undecided(arguments: Mapping[str, Json]) -> Json:
    """Run the source model where it may decide otherwise.

    Args:
        arguments: `config` (a complete `ModelConfig`), `samples`: the directory to read, `names` of those to run, and
            `runs`: the directory to write.

    Returns:
        a `RoundingAnswer`.
    """
    model = source_loader(from_data(ModelConfig, arguments["config"]))()
    samples = _named(arguments)
    found = list(runs_undecided(model, samples))
    arrays.save(Path(arguments["runs"]), found)
    return to_data(RoundingAnswer(runs=len(found)))


def fp16_rounding(arguments: Mapping[str, Json]) -> Json:
    """Run an artifact in fp16 with other rounding.

    Args:
        arguments: those of `navigator.workers.loading.converted_loader`; `samples`: the directory to read, `names` of
            those to run, and `noise`: the directory to write.

    Returns:
        a `RoundingAnswer`.
    """
    samples = _named(arguments)
    found = list(shaken(converted_loader(arguments)(), samples))
    arrays.save(Path(arguments["noise"]), found)
    return to_data(RoundingAnswer(runs=len(found)))


def sums(arguments: Mapping[str, Json]) -> Json:
    """Run an artifact with exact sums, and with sums that are off.

    Args:
        arguments: those of `navigator.workers.loading.converted_loader`; `samples`: the directory to read, `names` of
            those to run, and `sums`: the directory to write.

    Returns:
        a `RoundingAnswer`.
    """
    samples = _named(arguments)
    run = summed(converted_loader(arguments)())
    found = [(name, sets) for name, inputs in samples if (sets := run(inputs)) is not None]
    arrays.save(Path(arguments["sums"]), [(name, exactly) for name, (exactly, _) in found])
    arrays.save(Path(arguments["sums"]) / OFF, [(name, each) for name, (_, off) in found for each in off])
    return to_data(RoundingAnswer(runs=len(found)))


def convert(arguments: Mapping[str, Json]) -> Json:
    """Run one converter: `converter` is its key, `conversion` its `Conversion`. Returns the artifact's properties."""
    converter = CONVERTERS[arguments["converter"]]
    return to_data(converter.convert(conversion_of(converter, arguments["conversion"])))


def infer(arguments: Mapping[str, Json]) -> Json:
    """Run an artifact on samples.

    Args:
        arguments: those of `navigator.workers.loading.converted_loader`, `samples`: the directory to read, `outputs`:
            the directory to write, `roll`: how the source model was rolled forward, or None; `searches`: whether to
            run it on other inputs too; and those of `navigator.workers.weights.weights` if the weights are to be
            compared.

    Returns:
        an `InferAnswer`.
    """
    with ThreadPoolExecutor(max_workers=1) as thread:
        # Meanwhile: as long as the model is loaded, that takes one core, and this another.
        found = thread.submit(weights, arguments) if "source" in arguments else None
        answer = _inferred(arguments)
    return to_data(replace(answer, weights=found.result() if found else None))


def _inferred(arguments: Mapping[str, Json]) -> InferAnswer:
    device = Device(arguments["device"])
    model = converted_loader(arguments)()
    samples = arrays.load(Path(arguments["samples"]))
    outputs = [(name, model.infer(inputs)) for name, inputs in samples]
    arrays.save(Path(arguments["outputs"]), outputs)
    latencies = [
        _latency(model, sample, device) for sample in samples if device is Device.CUDA and sample[0] not in UNASKED
    ]
    stopped = ""
    if arguments.get("roll") is not None:
        steps = arrays.load(Path(arguments["samples"]) / ROLLED)
        rolled, stopped = roll_converted(model, from_data(Roll, arguments["roll"]), steps)
        arrays.save(Path(arguments["outputs"]) / ROLLED, rolled)
    into = Path(arguments["samples"]), Path(arguments["outputs"])
    return InferAnswer(
        signature=model.signature,
        properties=model.properties,
        latencies=tuple(latencies),
        stopped=stopped,
        search_seconds=tried(model, *into) if arguments.get("searches") else 0.0,
        special=special_of(model) if arguments.get("searches") else Special(),
    )


def probe(arguments: Mapping[str, Json]) -> Json:
    """Return what running the source model of `config`, a `ModelConfig`, tells of its inputs; None if nothing."""
    config = from_data(ModelConfig, arguments["config"])
    assert config.model_format is not None
    return to_data(probed(config, source_loader(config), RUNNERS[config.model_format])[2])


def describe(arguments: Mapping[str, Json]) -> Json:
    """Complete a `Description` with what the model at `path` says once it's loaded. Runs nothing."""
    return to_data(completed(from_data(Description, arguments["description"]), Path(arguments["path"])))


def _named(arguments: Mapping[str, Json]) -> list[Sample]:
    """Return the samples of the directory `samples` that are among `names`."""
    return [each for each in arrays.load(Path(arguments["samples"])) if each[0] in arguments["names"]]


def _latency(model: LoadedModel, sample: Sample, device: Device) -> Latency:
    """Time a sample that has run before, which was the warm-up."""
    name, inputs = sample
    seconds: list[float] = []
    end = time.monotonic() + _LATENCY_SECONDS
    while len(seconds) < _LATENCY_RUNS[0] or (time.monotonic() < end and len(seconds) < _LATENCY_RUNS[1]):
        started = time.perf_counter()
        model.infer(inputs)
        seconds.append(time.perf_counter() - started)
    return Latency(device=device, sample=name, median_seconds=statistics.median(seconds), runs=len(seconds))


TASKS: dict[str, Callable[[Mapping[str, Json]], Json]] = {
    "reference": reference,
    "rounding": rounding,
    "undecided": undecided,
    "fp16_rounding": fp16_rounding,
    "sums": sums,
    "convert": convert,
    "infer": infer,
    "metric": metric,
    "describe": describe,
    "probe": probe,
    "search": search,
}
