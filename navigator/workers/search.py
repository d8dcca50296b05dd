"""Searches for inputs for which a converted model disagrees with its source model, until its time is up.

Runs both models in one process, and stops at the first inputs for which rounding doesn't explain the error. The parent
compares what's written.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from navigator.errors import StepError
from navigator.records import Json, ModelConfig, Signature, TensorSpec, from_data, to_data
from navigator.runners.protocol import LoadedModel, TellsValues
from navigator.samples import storage
from navigator.samples.generate import drawn_from
from navigator.samples.probes import is_free_float
from navigator.samples.search import Drawn, Proposals, Recombined, scales
from navigator.samples.shapes import resolve
from navigator.verify.differences import bounded
from navigator.verify.search import CONVERTED, INPUTS, NUDGE, SOURCE, STEP, excess, explained, widened
from navigator.verify.ties import settled
from navigator.workers import ties
from navigator.workers.answers import SearchAnswer
from navigator.workers.loading import converted_loader, source_loader
from navigator.workers.noise import batch_size, changed, exact
from navigator.workers.source_runs import known_axes

Arrays = Mapping[str, np.ndarray]

# A run in larger shapes may take so much of the time that's left.
_SHARE = 0.25

# Of each size, one up and one down: where a decision changes in between, one of them shows it.
_NUDGES = 4
_STEPS = 16.0


def search(arguments: Mapping[str, Json]) -> Json:
    """Search for a disagreement, and write the first one.

    Args:
        arguments: those of `navigator.workers.loading.converted_loader`; `config` (a `ModelConfig`), `samples`: the
            directory to read, `seconds`, `atol` and `rtol` by output name, `found`: the directory to write.

    Returns:
        a `SearchAnswer`.
    """
    config = from_data(ModelConfig, arguments["config"])
    source, converted = source_loader(config)(), converted_loader(arguments)()
    samples = storage.load(Path(arguments["samples"]))
    inputs = from_data(Signature, arguments["declared"]).inputs
    proposals: Proposals
    if config.samples:
        batched = all(batch_size(source, arrays) is not None for _, arrays in samples)
        proposals = Recombined(samples=samples, batched=batched, seed=config.random_seed)
    else:
        layout = resolve(inputs, config, known_axes(source))
        proposals = Drawn(samples=samples, layout=layout, seed=config.random_seed, free=_free(source, inputs, config))
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
    run.run(arguments["seconds"])
    seconds = time.monotonic() - started
    if run.found is not None:
        storage.save(Path(arguments["found"]), run.found.sets())
    return to_data(
        SearchAnswer(seconds=seconds, inputs=run.inputs, largest=bounded(run.largest), found=run.found is not None)
    )


def _free(source: LoadedModel, inputs: Sequence[TensorSpec], config: ModelConfig) -> frozenset[str]:
    """Return the inputs of floats that nobody gave a range."""
    says = source.told if isinstance(source, TellsValues) else {}
    return frozenset(name for name, each in drawn_from(inputs, config, says).items() if is_free_float(each))


@dataclass(frozen=True, kw_only=True, slots=True)
class Disagreement:
    """Inputs for which both models disagree: what they return, and what the source returns after changes.

    `steps` are changes that mean nothing mathematically, `nudges` inputs that are some steps of their dtype away.
    """

    inputs: Arrays
    source: Arrays
    converted: Arrays
    steps: Sequence[Arrays]
    nudges: Sequence[Arrays]

    def sets(self) -> list[tuple[str, Arrays]]:
        """Return all arrays, as they're written."""
        return [
            (INPUTS, self.inputs),
            (SOURCE, self.source),
            (CONVERTED, self.converted),
            *((STEP, each) for each in self.steps),
            *((NUDGE, each) for each in self.nudges),
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
    _longest: int = 0
    _pace: float = 0.0

    def run(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Search for so many seconds, or until a disagreement is found."""
        end = clock() + seconds
        while self.found is None and (now := clock()) < end:
            inputs = self.proposals.propose((end - now) * _SHARE / self._pace if self._pace else 0.0)
            elements = sum(array.size for array in inputs.values())
            self._try(inputs)
            if elements >= self._longest:
                self._longest, self._pace = elements, (clock() - now) / max(1, elements)

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
            sizes = {name: max(size, self.scales.get(name, 0.0)) for name, size in scales([(INPUTS, inputs)]).items()}
            nudges = list(_nudges(self.source, inputs, sizes))
            allowed = explained(expected, steps, nudges, self.rtol)
            error = 0.0 if allowed is None else excess(expected, actual, widened(self.atol, allowed), self.rtol)
            if error > 1:
                self.found = Disagreement(inputs=inputs, source=expected, converted=actual, steps=steps, nudges=nudges)
        self.largest = max(self.largest, error)
        self.proposals.learn(inputs, expected, error)


def _nudges(model: LoadedModel, inputs: Arrays, scales: Mapping[str, float]) -> Iterator[Arrays]:
    """Yield what a model returns for inputs that are some steps of their dtype away, in random directions and back.

    Steps are those of the largest values, so that zeros move too.
    """
    if not any(array.dtype.kind == "f" for array in inputs.values()):
        return
    for number in range(_NUDGES):
        for sign in (1, -1):
            with suppress(StepError):
                yield model.infer(
                    {name: _nudged(array, scales.get(name, 0.0), number, sign) for name, array in inputs.items()}
                )


def _nudged(array: np.ndarray, scale: float, seed: int, sign: int) -> np.ndarray:
    """Return floats that are up to `_STEPS` steps of `scale` away; others stay."""
    if array.dtype.kind != "f":
        return array
    step = _STEPS * float(np.finfo(array.dtype).eps) * scale
    with np.errstate(all="ignore"):
        return (array + sign * step * np.random.default_rng(seed).uniform(-1, 1, array.shape)).astype(array.dtype)
