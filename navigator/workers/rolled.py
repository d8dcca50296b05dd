"""Rolls the state of a model forward: its outputs are fed back as inputs, step by step.

One step hides a drift that adds up. The source and a converted model each go on with a state of their own, on the same
other inputs. Only runs models; `navigator.verify.rolled` judges what comes out.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np

from navigator.errors import StepError, listed
from navigator.records import ModelConfig, SampleInfo, Signature
from navigator.runners.protocol import LoadedModel, SourceModel
from navigator.samples.generate import Sample, resolve_shapes
from navigator.samples.rolls import Start, following, generated, start
from navigator.samples.states import feeds
from navigator.workers.answers import Roll
from navigator.workers.noise import stepped
from navigator.workers.source_runs import SourceRuns, known_axes

DIRECTORY = "rolled"
"""Where the inputs and outputs of the steps are, below those of the samples."""

GIVEN = "given"
"""Where the inputs of the steps that are compared are, with the source model's state, below those of all steps."""

# `auto`: more than the 256 values of a byte, as far as the source model gets in this time, but never fewer.
_STEPS = 300
_SECONDS = 2.0
_AT_LEAST = 16

# How many steps a key-value cache grows if nobody says how far it may.
_GROWN = 16

# Outputs are compared after 2, 4, 8, … steps, after every so many, or ten times in long rolls, and after the last one.
_EVERY = 32
_TIMES = 10

# Inputs of steps are kept up to this size: more isn't saved with a mismatch.
_GIVEN_BYTES = 64 * 2**20

Arrays = Mapping[str, np.ndarray]

# What a model was given in a step, and what it returned.
Run = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]


@dataclass(frozen=True, kw_only=True, slots=True)
class RolledSource:
    """The source model rolled forward.

    Args:
        roll: how, None if it has no state or can't be rolled.
        steps: the inputs of each step, the first with the states.
        given: what the source model was given in the steps whose numbers are in `roll`, as far as that isn't large.
        outputs: what it returned in these.
        noise: the same with other rounding.
        infos: of these steps, for the report.
        notes: which outputs feed which inputs, for the report.
    """

    roll: Roll | None = None
    steps: Sequence[Sample] = ()
    given: Sequence[Sample] = ()
    outputs: Sequence[Sample] = ()
    noise: Sequence[Sample] = ()
    infos: tuple[SampleInfo, ...] = ()
    notes: tuple[str, ...] = ()


def roll_source(model: LoadedModel, signature: Signature, config: ModelConfig, runs: SourceRuns) -> RolledSource:
    """Roll the source model forward from its first sample, as far as it runs and its outputs are finite.

    Args:
        model: the source model.
        signature: its inputs and outputs, after it has run.
        config: whether it has a state, and how many steps to take.
        runs: its samples and its outputs.

    Raises:
        StepError: `states` of the configuration contradicts the signature, or what the model returns.
    """
    found = feeds(config.states, signature) if config.state_steps else {}
    if not found:
        return RolledSource()
    axes = known_axes(model)
    (first, sample), (_, returned) = runs.samples[0], runs.outputs[0]
    begin = start(found, sample, returned, signature.inputs, axes)
    if config.states != "auto" and (wrong := [name for name in found if name not in begin.feeds]):
        shapes = [list(arrays[name].shape) for arrays, name in ((returned, wrong[0]), (sample, found[wrong[0]]))]
        raise StepError(
            f"states: output {wrong[0]!r} of shape {shapes[0]} can't feed input {found[wrong[0]]!r} of shape "
            f"{shapes[1]} in sample {first!r}",
            "name an output of the same shape, or one that grows along a dynamic axis",
        )
    if not begin.feeds:
        return RolledSource()
    largest = config.max_shapes if config.samples else resolve_shapes(signature.inputs, config, axes).max
    count = _STEPS if config.state_steps == "auto" else config.state_steps
    count = min(count, begin.limit(largest, _GROWN) or count)
    inputs = (
        following(begin, count, runs.samples)
        if config.samples
        else generated(begin, count, runs.bounds, config.random_seed)
    )
    if begin.growths:
        count = min(count, len(inputs))
    limit = _SECONDS if config.state_steps == "auto" else np.inf
    after, ended = _outputs(model, begin.feeds, inputs, count, limit)
    told = f"states: {_told(begin.feeds)} ({'found by names' if config.states == 'auto' else 'as declared'})"
    if max(after, default=0) < 2:
        return RolledSource(notes=(f"{told} can't be rolled forward: {ended or 'they have no room to grow'}",))
    roll = Roll(feeds=begin.feeds, kept=tuple(after))
    return RolledSource(
        roll=roll,
        steps=[(str(number), arrays) for number, arrays in enumerate(inputs, 1)],
        given=[(sample_name(number), given) for number, (given, _) in after.items() if given],
        outputs=[(sample_name(number), outputs) for number, (_, outputs) in after.items()],
        noise=_noise(model, roll, inputs),
        infos=tuple(_info(begin, number, inputs, runs) for number in after),
        notes=(f"{told}, rolled forward {roll.kept[-1]} steps{f'; {ended}' if ended else ''}",),
    )


def roll_converted(model: LoadedModel, roll: Roll, steps: Sequence[Sample]) -> tuple[list[Sample], str]:
    """Roll a converted model forward like the source model.

    Args:
        model: the converted model.
        roll: how the source model was rolled.
        steps: what `roll_source` returned.

    Returns:
        its outputs after the numbers of steps in `roll`, as far as it got, and why it got no further.
    """
    found: list[Sample] = []
    try:
        runs = _roll(model, roll.feeds, [arrays for _, arrays in steps], roll.kept[-1])
        for number, (_, outputs) in enumerate(runs, 1):
            if number in roll.kept:
                found.append((sample_name(number), outputs))
    except StepError as error:
        return found, error.message
    return found, ""


def sample_name(steps: int) -> str:
    """Return the name of the sample that the outputs after so many steps are compared as."""
    return f"rolled_{steps}"


def _roll(
    model: LoadedModel, feeds: Mapping[str, str], inputs: Sequence[Arrays], count: int, *, rounded: bool = False
) -> Iterator[Run]:
    """Yield the inputs and outputs of each step; `rounded` if all numbers that go in are one step of their dtype away.

    Raises:
        StepError: the model fails, or doesn't return its state.
    """
    state: dict[str, np.ndarray] = {}
    state_before: dict[str, np.ndarray] = {}
    for number, given in enumerate(islice(cycle(inputs), count)):
        taken = {**given, **state}
        if rounded:
            taken = {
                name: _rounded(array, state_before.get(name), len(taken) * number + at)
                for at, (name, array) in enumerate(taken.items())
            }
        outputs = model.infer(taken)
        yield taken, outputs
        if absent := [name for name in feeds if name not in outputs]:
            raise StepError(f"it returns no {listed(absent)}")
        state = {fed: outputs[name] for name, fed in feeds.items()}
        state_before = {fed: taken[fed] for fed in feeds.values()}


def _rounded(array: np.ndarray, before: np.ndarray | None, seed: int) -> np.ndarray:
    """Return an array one step of its dtype away, but where it was computed: a cache copies what it keeps."""
    away = stepped(array, seed)
    if before is None or array.ndim != before.ndim:
        return away
    kept = np.zeros(array.shape, bool)
    common = tuple(slice(min(sizes)) for sizes in zip(array.shape, before.shape, strict=True))
    kept[common] = array[common] == before[common]
    return np.where(kept, array, away)


def _outputs(
    model: LoadedModel, feeds: Mapping[str, str], inputs: Sequence[Arrays], count: int, seconds: float
) -> tuple[dict[int, Run], str]:
    """Return the source model's run after the numbers of steps to compare, and why it ended before `count`."""
    found: dict[int, Run] = {}
    last: dict[int, Run] = {}
    end = time.monotonic() + seconds
    number = 0
    try:
        for number, run in enumerate(_roll(model, feeds, inputs, count), 1):
            if text := _unusable(run[1], last.get(number - 1, run)[1]):
                return found | last, f"step {number} returns {text}"
            last = {number: run}
            if number > 1 and (number.bit_count() == 1 or number % max(_EVERY, count // _TIMES) == 0):
                found[number] = run if _has_room(found) else ({}, run[1])
            if number >= _AT_LEAST and time.monotonic() > end:
                # Not the last one, so that machines of about the same speed compare the same steps.
                return found, ""
    except StepError as error:
        return found | last, f"step {number + 1} can't be run: {error.message}"
    return found | last, ""


def _has_room(found: Mapping[int, Run]) -> bool:
    """Return whether the inputs of another step can be kept beside those of others."""
    return sum(array.nbytes for given, _ in found.values() for array in given.values()) < _GIVEN_BYTES


def _unusable(outputs: Arrays, before: Arrays) -> str:
    """Return what can't be compared: NaN, and infinities where there were none, since they may come a step later."""
    for name, array in outputs.items():
        if array.dtype.kind in "fc":
            if np.isnan(array).any():
                return f"NaN in {name}"
            if np.isinf(array).any() and not np.isinf(before[name]).any():
                return f"infinity in {name}"
    return ""


def _noise(model: LoadedModel, roll: Roll, inputs: Sequence[Arrays]) -> list[Sample]:
    """Roll the source model with other rounding in every step; with other weights and kernels where it has them."""
    contexts: list[AbstractContextManager[LoadedModel]] = [nullcontext(model)]
    if isinstance(model, SourceModel):
        contexts.insert(0, model.perturbed())
    for context in contexts:
        found: list[Sample] = []
        # A framework may refuse to write to weights, with errors of its own.
        with suppress(Exception), context as other:
            for number, (_, outputs) in enumerate(_roll(other, roll.feeds, inputs, roll.kept[-1], rounded=True), 1):
                if number in roll.kept:
                    found.append((sample_name(number), outputs))
        if found:
            return found
    return []


def _info(begin: Start, number: int, inputs: Sequence[Arrays], runs: SourceRuns) -> SampleInfo:
    """Describe the inputs of one step for the report."""
    given = inputs[(number - 1) % len(inputs)]
    shapes = {name: list(array.shape) for name, array in begin.inputs.items()}
    shapes |= {name: list(given[name].shape) for name in begin.others}
    for growth in begin.growths:
        shapes[growth.name][growth.axis] = growth.size + (number - 1) * growth.by
    values = {name: str(bounds) for name, bounds in runs.bounds.items()}
    values |= {fed: f"{name} of the step before" for name, fed in begin.feeds.items()}
    return SampleInfo(
        name=sample_name(number), shapes={name: tuple(shape) for name, shape in shapes.items()}, values=values
    )


def _told(feeds: Mapping[str, str]) -> str:
    return listed(f"{name} feeds {fed}" for name, fed in feeds.items())
