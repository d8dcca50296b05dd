"""Searches for inputs for which a converted model disagrees with its source model, until its time is up.

By default, the source model's worker runs it on inputs that all of its conversions are tried on: nothing is loaded for
it. Only where the parent finds a converted model off by more than its tolerance, or where the user gives time to search
longer, both models run in one process, which stops at the first inputs for which rounding doesn't explain the error.
The parent compares what's written.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, islice
from pathlib import Path

import numpy as np

from navigator.errors import StepError
from navigator.records import Json, ModelConfig, Signature, TensorSpec, from_data, to_data
from navigator.runners.abilities import CastsToHalf, ShowsReads, TellsValues
from navigator.runners.protocol import LoadedModel
from navigator.samples import storage
from navigator.samples.constants import Special, candidates, taken
from navigator.samples.generate import Sample, drawn_from
from navigator.samples.probes import is_free_float, reach
from navigator.samples.search import Drawn, Proposals, Recombined, scales
from navigator.samples.shapes import resolve
from navigator.samples.values import Bounds
from navigator.verify.differences import bounded
from navigator.verify.search import (
    CONVERTED,
    EXACT,
    INPUTS,
    NUDGE,
    OFF,
    SOURCE,
    STEP,
    excess,
    with_exact_sums,
    without_rounding,
)
from navigator.verify.ties import settled
from navigator.workers import ties, undecided
from navigator.workers.answers import SearchAnswer
from navigator.workers.loading import converted_loader, source_loader
from navigator.workers.noise import batch_size, changed, exact, summed
from navigator.workers.pace import own_clock, timed
from navigator.workers.source_runs import known_axes, known_constants
from navigator.workers.special import directed, special_of

Arrays = Mapping[str, np.ndarray]

log = logging.getLogger(__name__)

DIRECTORY = "search"
"""Where the inputs that all conversions are tried on and the outputs for them are, below those of the samples."""

# By default: so much of the time that the source model's samples took, and at least a little.
_PART = 0.2
_LEAST_SECONDS = 0.05

# Of more, a row meets few.
_MOST_THRESHOLDS = 64

# Of each size, one up and one down: where a decision changes in between, one of them shows it.
_NUDGES = 4
_STEPS = 16.0


def prepare(
    source: LoadedModel,
    inputs: Sequence[TensorSpec],
    config: ModelConfig,
    samples: Sequence[Sample],
    *,
    took: float,
    into: tuple[Path, Path],
) -> float:
    """Run the source model on inputs that all its conversions are to be tried on; return for how long, 0 if it failed.

    Args:
        source: the source model.
        inputs: its inputs.
        config: its configuration.
        samples: those that it has run on.
        took: how many seconds that took.
        into: the directories of the samples and of its outputs.
    """
    started = time.monotonic()
    given: list[tuple[str, Arrays]] = []
    returned: list[Sample] = []
    try:
        proposals = _proposals(source, inputs, config, samples)
        for proposed in timed(proposals, max(_LEAST_SECONDS, _PART * took), own_clock()):
            with suppress(StepError):
                outputs = source.infer(proposed)
                proposals.learn(proposed, outputs, 0.0)
                given.append((str(len(given)), proposed))
                returned.append((str(len(returned)), outputs))
    except Exception:  # it's only evidence beside the samples
        log.warning("no other inputs can be tried", exc_info=True)
        return 0.0
    seconds = time.monotonic() - started
    samples_directory, outputs_directory = into
    storage.save(samples_directory / DIRECTORY, storage.stacked(given))
    storage.save(outputs_directory / DIRECTORY, storage.stacked(returned))
    return seconds


def tried(converted: LoadedModel, samples: Path, outputs: Path) -> float:
    """Run a converted model on what the source model was run on beside the samples; return for how long.

    Args:
        converted: the converted model.
        samples: the directory of the samples.
        outputs: the directory of its outputs. What it refuses is left out.
    """
    given = storage.unstacked(storage.load(samples / DIRECTORY))
    started = time.monotonic()
    found: list[Sample] = []
    for name, inputs in given.items():
        with suppress(StepError):
            found.append((name, converted.infer(inputs)))
    seconds = time.monotonic() - started
    storage.save(outputs / DIRECTORY, storage.stacked(found))
    return seconds


def search(arguments: Mapping[str, Json]) -> Json:
    """Search for a disagreement, and write the first one.

    Args:
        arguments: those of `navigator.workers.loading.converted_loader`; `config` (a `ModelConfig`), `samples`: the
            directory to read, `seconds`, `atol` and `rtol` by output name, `found`: the directory to write,
            `suspects`: which of the inputs that `prepare` wrote are to be tried, and `special`: the numbers and sizes,
            None for all of both models and whatever else there's time for.

    Returns:
        a `SearchAnswer`.
    """
    config = from_data(ModelConfig, arguments["config"])
    source, converted = source_loader(config)(), converted_loader(arguments)()
    samples = storage.load(Path(arguments["samples"]))
    inputs = from_data(Signature, arguments["declared"]).inputs
    special = special_of(converted) if arguments["special"] is None else from_data(Special, arguments["special"])
    proposals = _proposals(source, inputs, config, samples, special.sizes)
    run = Search(
        source=source,
        converted=converted,
        proposals=proposals,
        scales=scales(samples),
        atol=arguments["atol"],
        rtol=arguments["rtol"],
        sorts=ties.sorts(source),
    )
    started = time.monotonic()
    if arguments["special"] is not None:
        suspects = _suspects(Path(arguments["samples"]), arguments["suspects"])
        suspects = chain(suspects, directed(source, inputs, config, proposals, special))
        run.check(suspects, arguments["seconds"], own_clock())
    else:
        run.check(directed(source, inputs, config, proposals, special), _PART * arguments["seconds"])
        if run.found is None:
            run.run(arguments["seconds"] - (time.monotonic() - started))
    seconds = time.monotonic() - started
    if run.found is not None:
        storage.save(Path(arguments["found"]), run.found.sets())
    return to_data(
        SearchAnswer(seconds=seconds, inputs=run.inputs, largest=bounded(run.largest), found=run.found is not None)
    )


def _suspects(samples: Path, names: Sequence[str]) -> Iterator[Arrays]:
    """Yield some of the inputs that `prepare` wrote."""
    given = storage.unstacked(storage.load(samples / DIRECTORY)) if names else {}
    yield from (given[name] for name in names)


def _proposals(
    source: LoadedModel,
    inputs: Sequence[TensorSpec],
    config: ModelConfig,
    samples: Sequence[Sample],
    sizes: Sequence[int] = (),
) -> Proposals:
    """Return what proposes inputs, in sizes that the source model compares with and in others before the rest."""
    if config.samples:
        batched = all(batch_size(source.signature.inputs, arrays) is not None for _, arrays in samples)
        return Recombined(samples=samples, batched=batched, seed=config.random_seed)
    layout = resolve(inputs, config, known_axes(source))
    sizes = (*special_of(source).sizes, *sizes)
    says = source.told if isinstance(source, TellsValues) else {}
    bounds = drawn_from(inputs, config, says)
    names = [name for name, _ in samples]
    wide = {name: reach(each, names) for name, each in bounds.items()}
    return Drawn(
        samples=samples,
        layout=layout,
        seed=config.random_seed,
        free=_free(source, bounds, config),
        wide={name: each for name, each in wide.items() if each is not None},
        numbers=_numbers(source, bounds, samples),
        special=sizes,
        texts={name: each for name, each in bounds.items() if each.texts},
    )


def _numbers(
    source: LoadedModel, bounds: Mapping[str, Bounds], samples: Sequence[Sample]
) -> Mapping[str, Sequence[float]]:
    """Return the numbers with which the source model compares inputs, as far as its samples have them or span them.

    For samples, those of decision trees are too many, and rounding may decide at what is computed first.
    """
    compared = known_constants(source)
    trees = source.reads.thresholds if isinstance(source, ShowsReads) else {}
    found = {}
    for name, each in bounds.items():
        exact = [replace(constant, exact=True) for constant in compared.get(name, ())]
        known = taken(candidates(each, exact), (arrays[name] for _, arrays in samples))
        found[name] = (*known, *islice(trees.get(name, ()), _MOST_THRESHOLDS))
    return {name: numbers for name, numbers in found.items() if numbers}


def _free(source: LoadedModel, bounds: Mapping[str, Bounds], config: ModelConfig) -> frozenset[str]:
    """Return the inputs of floats that nobody gave a range, none if the user gave absolute tolerances.

    Those are meant for outputs of the usual size, and larger inputs have larger errors. So have those of a model that
    computes in float16, and what measures them there is a few values only.
    """
    if config.atol != "auto" or (isinstance(source, CastsToHalf) and source.casts_to_half):
        return frozenset()
    return frozenset(name for name, each in bounds.items() if is_free_float(each))


@dataclass(frozen=True, kw_only=True, slots=True)
class Disagreement:
    """Inputs for which both models disagree: what they return, and what the source returns after changes.

    `steps` are changes that mean nothing mathematically, `nudges` inputs that are some steps of their dtype away, or
    weights where only whole numbers, or what is sorted, are left to explain. `sums` are what the converted model
    returns with exact sums and with sums that are off, None if that isn't known.
    """

    inputs: Arrays
    source: Arrays
    converted: Arrays
    steps: Sequence[Arrays]
    nudges: Sequence[Arrays]
    sums: tuple[Arrays, Sequence[Arrays]] | None = None

    def sets(self) -> list[tuple[str, Arrays]]:
        """Return all arrays, as they're written."""
        return [
            (INPUTS, self.inputs),
            (SOURCE, self.source),
            (CONVERTED, self.converted),
            *((STEP, each) for each in self.steps),
            *((NUDGE, each) for each in self.nudges),
            *([(EXACT, self.sums[0]), *((OFF, each) for each in self.sums[1])] if self.sums else []),
        ]


@dataclass(kw_only=True)
class Search:
    """A search, and what it has found: how many inputs it ran, how many the source model refused, the largest error.

    Args:
        source: the source model.
        converted: the converted model.
        proposals: what proposes inputs.
        scales: the largest magnitude of each input of floats.
        atol: absolute tolerance by output name, "" for all others.
        rtol: relative tolerance, likewise.
        sorts: whether the source model sorts, so that its outputs may depend on the order of equal values.
    """

    source: LoadedModel
    converted: LoadedModel
    proposals: Proposals
    scales: Mapping[str, float]
    atol: Mapping[str, float]
    rtol: Mapping[str, float]
    sorts: bool = False
    inputs: int = 0
    refused: int = 0
    largest: float = 0.0
    found: Disagreement | None = None

    def run(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Search for so many seconds, or until a disagreement is found."""
        for inputs in timed(self.proposals, seconds, clock):
            self._try(inputs)
            if self.found is not None:
                return

    def check(self, suspects: Iterable[Arrays], seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Try some inputs, at least one, for so many seconds, or until a disagreement is found."""
        end = clock() + seconds
        for inputs in suspects:
            self._try(inputs)
            if self.found is not None or clock() > end:
                return

    def _try(self, inputs: Arrays) -> None:
        try:
            expected = self.source.infer(inputs)
        except StepError:
            self.refused += 1
            return
        self.inputs += 1
        try:
            actual = self.converted.infer(inputs)
        except StepError:
            actual = {}
        error = excess(expected, actual, self.atol, self.rtol)
        if error > 1 and self.sorts:
            actual = settled(expected, actual, ties.at(self.source, inputs, expected))
            error = excess(expected, actual, self.atol, self.rtol)
        if error > 1:
            steps = [*changed(self.source, inputs), *(each for _, each in exact(self.source, [("", inputs)]))]
            rows = batch_size(self.source.signature.inputs, inputs)
            nudges = list(_nudges(self.source, inputs, self.scales, rows))
            error = self._unexplained(expected, actual, steps, nudges, rows)
            if error > 1:
                nudges += [outputs for _, outputs in undecided.runs(self.source, [("", dict(inputs))])]
                error = self._unexplained(expected, actual, steps, nudges, rows)
            sums = self._summed(inputs) if error > 1 else None
            if sums is not None:
                exactly = with_exact_sums(actual, *sums, atol=self.atol, rtol=self.rtol, rows=rows)
                error = min(error, self._unexplained(expected, exactly, steps, nudges, rows))
            if error > 1:
                self.found = Disagreement(
                    inputs=inputs, source=expected, converted=actual, steps=steps, nudges=nudges, sums=sums
                )
        self.largest = max(self.largest, error)
        self.proposals.learn(inputs, expected, error)

    @cached_property
    def _summed(self) -> Callable[[Arrays], tuple[Arrays, list[Arrays]] | None]:
        return summed(self.converted)

    def _unexplained(
        self, expected: Arrays, actual: Arrays, steps: Sequence[Arrays], nudges: Sequence[Arrays], rows: int | None
    ) -> float:
        """Return the largest error in tolerances that the source model's own rounding doesn't explain."""
        left = without_rounding(expected, actual, steps, nudges, atol=self.atol, rtol=self.rtol, rows=rows)
        return excess(expected, left, self.atol, self.rtol)


def _nudges(model: LoadedModel, inputs: Arrays, scales: Mapping[str, float], rows: int | None) -> Iterator[Arrays]:
    """Yield what a model returns for inputs that are some steps of their dtype away, in random directions and back.

    Steps are those of the largest values of a row or of all samples, so that zeros move too.
    """
    if not any(array.dtype.kind == "f" for array in inputs.values()):
        return
    sizes = {name: _sizes(array, scales.get(name, 0.0), rows) for name, array in inputs.items()}
    for number in range(_NUDGES):
        for sign in (1, -1):
            with suppress(StepError):
                yield model.infer({name: _nudged(array, sizes[name], number, sign) for name, array in inputs.items()})


def _sizes(array: np.ndarray, scale: float, rows: int | None) -> np.ndarray:
    """Return the largest magnitude of each row of floats, or of all, at least `scale`."""
    axes = tuple(range(0 if rows is None else 1, array.ndim))
    finite = np.where(np.isfinite(array), np.abs(array), 0)
    return np.asarray(np.maximum(scale, finite.max(axis=axes, keepdims=True, initial=0)))


def _nudged(array: np.ndarray, sizes: np.ndarray, seed: int, sign: int) -> np.ndarray:
    """Return floats that are up to `_STEPS` steps of these sizes away; others stay."""
    if array.dtype.kind != "f":
        return array
    step = _STEPS * float(np.finfo(array.dtype).eps) * sizes
    with np.errstate(all="ignore"):
        return (array + sign * step * np.random.default_rng(seed).uniform(-1, 1, array.shape)).astype(array.dtype)
