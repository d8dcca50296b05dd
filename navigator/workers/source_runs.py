"""Runs the source model on its samples, and leaves out the generated ones that say nothing about a conversion."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from navigator.errors import StepError
from navigator.records import AxisSpec, ModelConfig, SampleInfo, TensorSpec
from navigator.runners.protocol import LoadedModel, NamesAxes, SourceModel
from navigator.samples.generate import EXTRA, Sample, drawn_from, generate, look_for_trouble
from navigator.samples.probes import LARGEST_COUNT, PROBES, is_free_count
from navigator.samples.shapes import axis_notes
from navigator.samples.values import Bounds, Told

_DRAWN = (
    "check that the model accepts the value_ranges (default: 0 to 1), min_shapes (default: 1), max_shapes and "
    "declared inputs, or provide your own inputs under samples"
)


def run(
    model: LoadedModel, inputs: Sequence[TensorSpec], config: ModelConfig, memory_bytes: int
) -> tuple[list[Sample], list[Sample], tuple[SampleInfo, ...]]:
    """Return the samples that the source model takes, its outputs, and what to report of all samples.

    Shapes that nobody asked for may be refused: a network with strides takes 320 and 640, and no 507 between them, and
    one whose attention has a square mask takes no other. So may values that nobody asked for. The user's own samples
    are all taken.

    Raises:
        StepError: the model refuses a sample that was asked for, or the configuration contradicts its signature.
    """
    axes, says = known_axes(model), tells(model)
    samples, infos = generate(inputs, config, memory_bytes=memory_bytes, told=says, axes=axes)
    probes, probed = look_for_trouble(inputs, config, memory_bytes=memory_bytes, told=says, axes=axes)
    asked_for = [info.shapes for info in infos if config.samples or info.name not in EXTRA]
    outputs: list[Sample] = []
    told: list[SampleInfo] = []
    for (name, arrays), info in zip([*samples, *probes], [*infos, *probed], strict=True):
        try:
            outputs.append((name, model.infer(arrays)))
            told.append(info)
        except StepError as error:
            if len(told) < len(infos) and info.shapes in asked_for:
                raise StepError(error.message, error.hint or ("" if config.samples else _DRAWN)) from error
            told.append(replace(info, refused=error.message))
    if not config.samples:
        found = _non_finite(outputs)
        told = [replace(info, non_finite=found.get(info.name, "")) for info in told]
    skipped = {info.name for info in told if info.refused or info.non_finite}
    taken = [each for each in (*samples, *probes) if each[0] not in skipped]
    return taken, [each for each in outputs if each[0] not in skipped], tuple(told)


def known_axes(model: LoadedModel) -> dict[str, tuple[AxisSpec, ...]]:
    """Return what the source model's file says of its inputs' axes."""
    return dict(model.axes) if isinstance(model, NamesAxes) else {}


def tells(model: LoadedModel) -> Mapping[str, Told]:
    """Return what the source model tells about the values of its inputs."""
    return model.told if isinstance(model, SourceModel) else {}


def notes(model: LoadedModel, inputs: Sequence[TensorSpec], config: ModelConfig) -> tuple[str, ...]:
    """Say which sizes follow the file, or contradict it, and which whole numbers nobody gave a range."""
    if config.samples:
        return ()
    free = _free_counts(drawn_from(inputs, config, tells(model)))
    return (*axis_notes(inputs, config, known_axes(model)), *free)


def _free_counts(bounds: Mapping[str, Bounds]) -> tuple[str, ...]:
    """Say which whole numbers nobody gave a range: for ids, the samples see a few rows of a large table."""
    names = [name for name, each in bounds.items() if is_free_count(each)]
    if not names:
        return ()
    drawn = f"sampled from 0 and 1, and once from 0 to {LARGEST_COUNT}"
    return (f"{', '.join(names)}: {drawn}; if they are IDs or counts, set value_ranges",)


def _non_finite(outputs: Sequence[Sample]) -> dict[str, str]:
    """Return where generated samples give NaN or infinity that their model doesn't mean, by sample.

    NaN can't be compared. Infinity can: where an ordinary sample gives some, the model may mean it, as in logits of
    what isn't allowed. Of the ordinary samples at least one stays, so that a model that only gives NaN is told as one.
    """
    ordinary = [(name, arrays) for name, arrays in outputs if name not in PROBES]
    meant = {key for _, arrays in ordinary for key, array in arrays.items() if _count(np.isinf, array)}
    found = {name: text for name, arrays in ordinary if (text := _first(arrays, np.isnan, "NaN"))}
    if len(found) == len(ordinary):
        found = {}
    for name, arrays in outputs:
        if name in PROBES:
            unmeant = {key: array for key, array in arrays.items() if key not in meant}
            found[name] = _first(arrays, np.isnan, "NaN") or _first(unmeant, np.isinf, "infinity")
    return found


def _first(arrays: Mapping[str, np.ndarray], test: Callable[[np.ndarray], np.ndarray], word: str) -> str:
    """Say how many values of the first output that has some pass a test."""
    counts = ((key, array.size, _count(test, array)) for key, array in arrays.items())
    return next((f"{word} for {count} of {size} values of {key}" for key, size, count in counts if count), "")


def _count(test: Callable[[np.ndarray], np.ndarray], array: np.ndarray) -> int:
    return int(np.count_nonzero(test(array))) if array.dtype.kind in "fc" else 0
