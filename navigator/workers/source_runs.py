"""Runs the source model on its samples, and leaves out the generated ones that say nothing about a conversion."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from navigator.errors import StepError, listed
from navigator.ranges import spread
from navigator.records import AxisSpec, Format, ModelConfig, SampleInfo, TensorSpec
from navigator.runners.abilities import Branches, NamesAxes, ShowsReads, TellsValues
from navigator.runners.protocol import LoadedModel
from navigator.samples.constants import MOST, NAMES, Compared, candidates
from navigator.samples.generate import EXTRA, Sample, drawn_from, generate, look_for_trouble
from navigator.samples.probes import LARGEST_COUNT, PROBES, is_free_count
from navigator.samples.shapes import axis_notes
from navigator.samples.values import Bounds, Origin, Told, nudged
from navigator.workers.non_finite import NotComparable, non_finite

_DRAWN = (
    "check that the model accepts the value_ranges (default: 0 to 1), min_shapes (default: 1), max_shapes and "
    "declared inputs, or provide your own inputs under samples"
)
_REFUSED = "the source model can't run"

# ONNX Runtime computes NaN from it where these do, but for the sign. TensorFlow's softmax and pooling make numbers of
# it.
_SPREADING = frozenset({Format.ONNX, Format.TORCHSCRIPT, Format.TORCH_EXPORT})

# A nudge of 2 ** -16 of an input changes less of an output, unless it changes which values are chosen.
_NUDGE_SHOWS = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceRuns:
    """The samples that the source model takes, its outputs, what to report of all samples, and what to note.

    `bounds` are those of generated values, none of the user's own. `undefined` are the elements of outputs that can't
    be compared, as booleans.
    """

    samples: list[Sample]
    outputs: list[Sample]
    infos: tuple[SampleInfo, ...]
    bounds: Mapping[str, Bounds]
    notes: tuple[str, ...] = ()
    undefined: Sequence[Sample] = ()

    @property
    def whole(self) -> "SourceRuns":
        """Those of which everything can be compared, if there are any."""
        partly = {name for name, _ in self.undefined}
        samples, outputs = ([each for each in sets if each[0] not in partly] for sets in (self.samples, self.outputs))
        return replace(self, samples=samples, outputs=outputs, undefined=()) if samples else self


def run(model: LoadedModel, inputs: Sequence[TensorSpec], config: ModelConfig, memory_bytes: int) -> SourceRuns:
    """Run the source model on its samples.

    Shapes that nobody asked for may be refused: a network with strides takes 320 and 640, and no 507 between them, and
    one whose attention has a square mask takes no other. So may values that nobody asked for; if it takes none of a
    range that was guessed, it's run on 0 and 1. The user's own samples are all taken.

    Raises:
        StepError: the model refuses a sample that was asked for, or the configuration contradicts its signature.
    """
    says = model.told if isinstance(model, TellsValues) else {}
    try:
        return _run(model, inputs, config, memory_bytes, says)
    except StepError:
        for other in () if config.samples else others(model, inputs, drawn_from(inputs, config, says)):
            with suppress(StepError):
                return _run(model, inputs, config, memory_bytes, {**says, **other})
        raise


def others(
    model: LoadedModel, inputs: Sequence[TensorSpec], bounds: Mapping[str, Bounds]
) -> Iterator[Mapping[str, Told]]:
    """Yield what inputs may be instead if the source model refuses what was guessed.

    That's 0 and 1, and then, for single numbers of which nothing is known, each of those that it compares them with. A
    column is a single number in each row, and of the columns of a table, each is what its encoder knows.
    """
    guessed = narrowed(bounds)
    if guessed:
        yield guessed
    compared = known_constants(model)
    single = [spec.name for spec in inputs if spec.shape is not None and {*spec.shape} <= {-1, 1}]
    choices = {name: candidates(bounds[name], compared[name]) for name in single if name in compared}
    choices = {name: numbers for name, numbers in choices.items() if numbers and is_free_count(bounds[name])}
    columns = dict(_known_columns(model, inputs, bounds))
    why = f"with which it compares this input; {_REFUSED} others"
    for turn in range(min(MOST, max(map(len, choices.values()), default=len(columns)))):
        chosen = {name: numbers[turn % len(numbers)] for name, numbers in choices.items()}
        single_numbers = {name: Told(low=number, high=number, why=why) for name, number in chosen.items()}
        yield {**guessed, **single_numbers, **columns}


def _known_columns(
    model: LoadedModel, inputs: Sequence[TensorSpec], bounds: Mapping[str, Bounds]
) -> Iterator[tuple[str, Told]]:
    """Yield the tables of whole numbers, some of whose columns are categories that an encoder knows."""
    found = model.reads.columns if isinstance(model, ShowsReads) else {}
    for spec in inputs:
        if spec.name in found and spec.shape is not None and len(spec.shape) == 2 and is_free_count(bounds[spec.name]):
            places = ", ".join(map(str, sorted(found[spec.name])))
            why = f"but in columns {places} numbers that the model looks up; {_REFUSED} others"
            yield spec.name, Told(low=0, high=1, why=why, columns=tuple(found[spec.name].items()))


def known_constants(model: LoadedModel) -> Compared:
    """Return what the source model's graph compares its inputs with."""
    return model.reads.compared() if isinstance(model, ShowsReads) else {}


def narrowed(bounds: Mapping[str, Bounds]) -> dict[str, Told]:
    """Return 0 and 1 for the inputs whose range is a guess."""
    guesses = (Origin.DTYPE, Origin.MODEL)
    guessed = {name: each for name, each in bounds.items() if each.origin in guesses and not each.texts}
    return {name: Told(low=0, high=1, why=f"not {each}, which {_REFUSED}") for name, each in guessed.items()}


def _run(
    model: LoadedModel, inputs: Sequence[TensorSpec], config: ModelConfig, memory_bytes: int, says: Mapping[str, Told]
) -> SourceRuns:
    axes = known_axes(model)
    samples, infos = generate(inputs, config, memory_bytes=memory_bytes, told=says, axes=axes)
    look = partial(
        look_for_trouble,
        inputs,
        config,
        memory_bytes=memory_bytes,
        told=says,
        compared=known_constants(model),
        axes=axes,
    )
    probes, probed = look()
    asked_for = [info.shapes for info in infos if config.samples or info.name not in EXTRA]
    outputs: list[Sample] = []
    told: list[SampleInfo] = []
    enlarged: dict[str, Sample] = {}
    for (name, arrays), info in zip([*samples, *probes], [*infos, *probed], strict=True):
        try:
            outputs.append((name, model.infer(arrays)))
            told.append(info)
        except StepError as error:
            if len(told) < len(infos) and info.shapes in asked_for:
                raise StepError(error.message, error.hint or ("" if config.samples else _DRAWN)) from error
            again = _on_large_shapes(model, info, look)
            if again is None:
                told.append(replace(info, refused=error.message))
            else:
                enlarged[name], given, larger = again
                outputs.append(given)
                told.append(larger)
    probes = [enlarged.get(each[0], each) for each in probes]
    notes: tuple[str, ...] = ()
    bounds: Mapping[str, Bounds] = {}
    excluded = NotComparable()
    if not config.samples:
        bounds = drawn_from(inputs, config, says)
        sorts = isinstance(model, TellsValues) and bool(model.sorting_operations)
        excluded = non_finite(outputs, spreads=config.model_format in _SPREADING and not sorts)
        notes = (*axis_notes(inputs, config, axes), *_notes(bounds), *excluded.notes)
        found = _ambiguous(model, probes, outputs, bounds) | excluded.unusable
        told = [replace(info, unusable=found.get(info.name, "")) for info in told]
    notes = (*notes, *_misdeclared(model.signature.outputs, outputs))
    skipped = {info.name for info in told if info.refused or info.unusable}
    return SourceRuns(
        samples=[each for each in (*samples, *probes) if each[0] not in skipped],
        outputs=[each for each in outputs if each[0] not in skipped],
        infos=tuple(told),
        bounds=bounds,
        notes=notes,
        undefined=excluded.undefined,
    )


def _on_large_shapes(
    model: LoadedModel, info: SampleInfo, look: Callable[..., tuple[Sequence[Sample], Sequence[SampleInfo]]]
) -> tuple[Sample, Sample, SampleInfo] | None:
    """Return a refused sample with numbers that the model compares with on large shapes, and its outputs.

    The branch that such a number takes may need more than the others, as that of a larger sampling rate does. Returns
    None for other samples, and if the model refuses large shapes, too.
    """
    if info.name in NAMES:
        for sample, larger in zip(*look(large=True), strict=True):
            if larger.name == info.name and larger.shapes != info.shapes:
                with suppress(StepError):
                    return sample, (info.name, model.infer(sample[1])), larger
    return None


def known_axes(model: LoadedModel) -> dict[str, tuple[AxisSpec, ...]]:
    """Return what the source model's file says of its inputs' axes."""
    return dict(model.axes) if isinstance(model, NamesAxes) else {}


def untaken_branches(model: LoadedModel, samples: Sequence[Sample]) -> Iterator[str]:
    """Say which branches no sample takes: nothing that is in them is verified."""
    if isinstance(model, Branches):
        # No model fails for want of a warning, and what this runs is made of its file.
        with suppress(Exception):
            for name, branch in model.untaken(arrays for _, arrays in samples):
                yield (
                    f"no sample takes the {branch} of {name}, so that it isn't verified: set value_ranges, shapes or "
                    "samples that do"
                )


def _misdeclared(declared: Sequence[TensorSpec], outputs: Sequence[Sample]) -> Iterator[str]:
    """Say which outputs have other shapes than the model's file declares: an engine may be built for those."""
    for spec in declared:
        for sample, arrays in outputs:
            shape = arrays[spec.name].shape if spec.name in arrays else spec.shape
            if spec.shape is None or shape is None:
                continue
            alike = len(shape) == len(spec.shape) and all(
                own in (-1, size) for own, size in zip(spec.shape, shape, strict=True)
            )
            if not alike:
                is_ = f"it is {list(shape)} in sample {sample}"
                yield f"the model's file declares output {spec.name} as {list(spec.shape)}, but {is_}: export it again"
                break


def _notes(bounds: Mapping[str, Bounds]) -> Iterator[str]:
    """Say of which whole numbers the samples see few: of a large table for ids, say."""
    names = [name for name, each in bounds.items() if is_free_count(each)]
    if names:
        drawn = f"sampled from 0 and 1, and once from 0 to {LARGEST_COUNT}"
        yield f"{', '.join(names)}: {drawn}; if they are IDs or counts, set value_ranges"
    for name, each in bounds.items():
        if _REFUSED in each.why:
            yield f"{name}: sampled from {each}; set {'samples' if each.columns else 'value_ranges'}"


def _ambiguous(
    model: LoadedModel, probes: Sequence[Sample], outputs: Sequence[Sample], bounds: Mapping[str, Bounds]
) -> dict[str, str]:
    """Return the probes for which the answer depends on the order of equal values, and how to say so, by sample.

    Values that are alike are what probes are made of, and what topk and sort return for them isn't defined. They're run
    again with inputs that differ a little from each other.
    """
    sorting = model.sorting_operations if isinstance(model, TellsValues) else ()
    given = {name: arrays for name, arrays in outputs if name in PROBES} if sorting else {}
    found = {}
    for name, arrays in probes:
        if name in given:
            try:
                again = model.infer({key: nudged(array, bounds[key]) for key, array in arrays.items()})
            except StepError:
                again = {}
            changed = next((key for key, array in given[name].items() if _differs(key, array, again, outputs)), "")
            if changed:
                found[name] = f"a value of {changed} that depends on the order of equal ones ({listed(sorting)})"
    return found


def _differs(key: str, one: np.ndarray, again: Mapping[str, np.ndarray], outputs: Sequence[Sample]) -> bool:
    """Return whether a nudge changed an output by more than it explains: any whole number, or 1 % of the range."""
    other = again.get(key)
    if other is None or one.shape != other.shape:
        return True
    if one.dtype.kind != "f":
        return not np.array_equal(one, other)
    allowed = _NUDGE_SHOWS * spread([arrays[key] for _, arrays in outputs])
    return not np.allclose(one, other, rtol=0, atol=allowed, equal_nan=True)
