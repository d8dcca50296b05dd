"""Asks the source model which shapes it takes, where neither its file nor the user says it.

Runs it on small inputs first, and goes on while it costs little. `navigator.samples.ladder` says what to try.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from navigator.errors import StepError
from navigator.frameworks.declaration import agreed
from navigator.records import AxisSpec, FoundShapes, ModelConfig, TensorSpec
from navigator.runners.protocol import LoadedModel, NamesAxes, Runner, TellsValues, Undeclared
from navigator.samples.found import completed, explained, with_found
from navigator.samples.generate import drawn_from
from navigator.samples.ladder import Kind, Ladder, Levels, ladder
from navigator.samples.shapes import frames_of, given_shapes, resolve_shapes
from navigator.samples.symbols import named
from navigator.samples.values import Bounds
from navigator.workers.questions import Questions

# Sides and lengths may take this part of it, the batch the rest: rows that get in each other's way must show.
_WITHOUT_BATCH = 0.25

# All questions together, unless one of them takes longer.
_DEADLINE_SECONDS = 20.0

_STEPS = (1, 2, 4, 8, 16, 32)


def ask(model: LoadedModel, inputs: Sequence[TensorSpec], config: ModelConfig) -> tuple[FoundShapes | None, bool]:
    """Return the shapes that a model takes, None if nothing is to be found, and whether asking changed the model.

    Args:
        model: the source model.
        inputs: its inputs.
        config: the user's shapes, which win.

    Raises:
        StepError: it runs in no shape that was tried, or the user's shapes contradict its signature.
    """
    axes = model.axes if isinstance(model, NamesAxes) else {}
    frames = frames_of(inputs, config)
    wanted = ladder(frames, named(frames, axes, given_shapes(config)), config)
    if all(size.fixed for size in wanted.sizes):
        return None, False
    questions = Questions(model=model, bounds=_bounds(model, inputs, config), at=time.monotonic() + _DEADLINE_SECONDS)
    base = _base(wanted, questions, thorough=False)
    for each in (wanted, ladder(frames, named(frames, axes, given_shapes(config)), config, states=False)):
        base = base or _base(each, questions)
    if base is None:
        if any(size.high is None and size.kind is not Kind.BATCH for size in wanted.sizes):
            raise _refused(questions, wanted)
        return None, False
    search = _Search(ladder=base[0], questions=questions, low=dict(base[1]), high=dict(base[1]))
    search.run()
    found = completed(config, search.ladder, search.low, search.high, search.step, search.why())
    return (found if _tells_more(inputs, config, axes, found) else None), questions.changed()


def asked(
    config: ModelConfig, load: Callable[[], LoadedModel], runner: Runner
) -> tuple[LoadedModel, ModelConfig, FoundShapes | None]:
    """Return the source model, the configuration with what running it showed, and that alone, None if it's nothing.

    Args:
        config: the user's inputs and shapes, which win.
        load: loads the model.
        runner: the runner of its format.

    Raises:
        StepError: it can't be loaded, runs in no shape that was tried, or the user's shapes contradict its signature.
    """
    assert config.model_format is not None
    if not config.probe or config.samples:
        return load(), config, None
    signs = isinstance(runner, Undeclared) and not config.inputs
    if isinstance(runner, Undeclared) and signs:
        model = signed(partial(runner.undeclared, config.model_path, config.outputs), config)
    else:
        model = load()
    inputs = agreed("inputs", config.inputs, model.signature.inputs)
    found, changed = ask(model, inputs, config)
    if signs:
        found = _with_signature(inputs, found or FoundShapes(model_name=config.model_name))
    return (load() if changed else model), with_found(config, found), found


def _with_signature(inputs: Sequence[TensorSpec], found: FoundShapes) -> FoundShapes:
    """Return what was found with the model's inputs: axes that have only one size have it in the signature too."""

    def narrowed(spec: TensorSpec) -> TensorSpec:
        if spec.name not in found.min_shapes:
            return spec
        sizes = zip(found.min_shapes[spec.name], found.max_shapes[spec.name], strict=True)
        return replace(spec, shape=tuple(low if low == high else -1 for low, high in sizes))

    return replace(found, inputs=tuple(map(narrowed, inputs)))


def signed(models: Callable[[], Iterable[LoadedModel]], config: ModelConfig) -> LoadedModel:
    """Return the first of the models, which differ in their signatures, that runs.

    Raises:
        StepError: none does.
    """
    until = time.monotonic() + _DEADLINE_SECONDS
    refusals: list[str] = []
    for thorough in (False, True):
        for model in models():
            inputs = model.signature.inputs
            questions = Questions(model=model, bounds=_bounds(model, inputs, config), at=until)
            frames = frames_of(inputs, config)
            if _base(ladder(frames, named(frames, {}, {}), config), questions, thorough=thorough):
                return model
            refusals += list(questions.refusals.values())[:1]
            if time.monotonic() > until:
                break
    raise StepError(
        f"{config.model_path.name} doesn't store its inputs, and ran with none of {len(refusals)} signatures that were "
        f"tried: {refusals[0] if refusals else 'it takes none'}",
        f"set inputs in navigator.yaml or {config.model_path.name}.yaml, each as name:shape:dtype with -1 for a "
        'dynamic axis, e.g. `inputs: ["x:-1,3,224,224:float32"]` with your names and shapes',
    )


def _tells_more(
    inputs: Sequence[TensorSpec], config: ModelConfig, axes: Mapping[str, Sequence[AxisSpec]], found: FoundShapes
) -> bool:
    """Return whether these aren't the shapes that would be used anyway."""
    try:
        known = resolve_shapes(inputs, config, axes)
    except StepError:
        return True
    return known != resolve_shapes(inputs, with_found(config, found), axes)


def _bounds(model: LoadedModel, inputs: Sequence[TensorSpec], config: ModelConfig) -> dict[str, Bounds]:
    return drawn_from(inputs, config, model.told if isinstance(model, TellsValues) else {})


def _base(wanted: Ladder, questions: Questions, *, thorough: bool = True) -> tuple[Ladder, Levels] | None:
    """Return sizes that the model takes, and the ladder that they're of; unless `thorough`, the likely ones only."""
    ways: Iterable[tuple[Ladder, Levels]] = ((wanted, levels) for levels in wanted.likely())
    if thorough:
        related = list(wanted.related())
        sums = ((each, levels) for levels in wanted.likely() for each in related)
        ways = itertools.chain(ways, sums, ((wanted, levels) for levels in wanted.small()))
    for each, levels in ways:
        if questions.over:
            return None
        if questions.takes(each.shapes(levels)):
            return each, levels
    return None


def _refused(questions: Questions, wanted: Ladder) -> StepError:
    shapes, why = next(iter(questions.refusals.items()))
    axes = ", ".join(f"{name} {list(frame)}" for name, frame in wanted.frames.items() if -1 in frame)
    return StepError(
        f"nobody says how large {axes} gets, and the source model refused all of the {len(questions.refusals)} shapes "
        f"that were tried, {shapes} first: {why}",
        "set min_shapes and max_shapes to sizes that it takes, or provide your own inputs under samples",
    )


@dataclass(kw_only=True, slots=True)
class _Search:
    """The smallest and the largest sizes of each kind, and why they are; they begin where the model is known to run."""

    ladder: Ladder
    questions: Questions
    low: dict[Kind, int]
    high: dict[Kind, int]
    step: dict[Kind, int] = field(default_factory=dict)
    reasons: dict[tuple[Kind, str], str] = field(default_factory=dict)

    def run(self) -> None:
        base = dict(self.low)
        others = [kind for kind in self.ladder.kinds if kind is not Kind.BATCH]
        for kind in self.ladder.kinds:
            self.low[kind] = self._lowest(kind, base)
        if not self._takes(self.low):
            self.low = dict(base)
        batch = {Kind.BATCH: self.low[Kind.BATCH]} if Kind.BATCH in self.low else {}
        for kind in others:
            self.high[kind] = self._highest(kind, {**base, **batch}, _WITHOUT_BATCH)
        while others and not self._affordable({**self.high, **batch}, _WITHOUT_BATCH, others, base):
            kind = max(others, key=lambda kind: self.high[kind] / base[kind])
            self.high[kind] = max(base[kind], self.high[kind] // 2)
            self.reasons[kind, "high"] = "together with the others, larger ones are refused or cost too much"
        if batch:
            self.high[Kind.BATCH] = self._highest(Kind.BATCH, {**self.high, **batch}, 1.0)
        for kind in others:
            if self.low[kind] < self.high[kind]:
                self.step[kind] = self._step(kind, base)
                if self.low[kind] == 1 and self.step[kind] == self.high[kind] - 1 > 1:
                    self.low[kind] = self.high[kind]  # one element stands for all, and no other size will do

    def why(self) -> tuple[str, ...]:
        """Return a sentence for each kind of size."""
        return explained(self.ladder, self.low, self.high, self.step, self.reasons)

    def _takes(self, levels: Levels) -> bool:
        return self.questions.takes(self.ladder.shapes(levels))

    def _affordable(self, levels: Levels, share: float, others: Sequence[Kind], base: Levels) -> bool:
        if all(levels[kind] <= base[kind] for kind in others):
            return True
        return not self.questions.cost(self.ladder.shapes(levels), share) and self._takes(levels)

    def _lowest(self, kind: Kind, base: Levels) -> int:
        refused = 0
        for rung in self.ladder.rungs(kind, base[kind]):
            if rung >= base[kind] or self.questions.over:
                break
            if self._takes({**base, kind: rung}):
                return self._between(kind, base, refused, rung) if refused and kind is Kind.LENGTH else rung
            refused = rung
        if refused and kind is Kind.LENGTH:
            return self._between(kind, base, refused, base[kind])
        if refused:
            self.reasons[kind, "low"] = "smaller ones are refused"
        return base[kind]

    def _highest(self, kind: Kind, base: Levels, share: float) -> int:
        best, refused = base[kind], 0
        sizes = self.ladder.of(kind)
        if all(size.limited for size in sizes):
            return max(size.high or best for size in sizes)
        for rung in self.ladder.rungs(kind, best):
            if rung <= best:
                continue
            shapes = self.ladder.shapes({**base, kind: rung})
            # One row alone doesn't show whether rows get in each other's way.
            must = kind is Kind.BATCH and best == 1
            cost = "" if must else self.questions.cost(shapes, share)
            if self.questions.over or cost:
                self.reasons[kind, "high"] = f"larger ones take {cost}" if cost else "the largest in the time for it"
                break
            if self.questions.takes(shapes):
                best, refused = rung, 0
            else:
                refused = refused or rung
                self.reasons[kind, "high"] = "larger ones are refused"
        if refused and kind is not Kind.SIDE:
            best = self._between(kind, base, refused, best)
        return best

    def _between(self, kind: Kind, base: Levels, refused: int, taken: int) -> int:
        """Return the size next to those that are refused, found by halving."""
        while abs(refused - taken) > 1 and not self.questions.over:
            middle = (refused + taken) // 2
            if self._takes({**base, kind: middle}):
                taken = middle
            else:
                refused = middle
        self.reasons[kind, "low" if refused < taken else "high"] = (
            "smaller ones are refused" if refused < taken else "larger ones are refused"
        )
        return taken

    def _step(self, kind: Kind, base: Levels) -> int:
        """Return how far apart the sizes are that the model takes: networks with strides take multiples."""
        start = self.low[kind]
        for step in _STEPS:
            if start + step >= self.high[kind] or self.questions.over:
                break
            if self._takes({**base, kind: start + step}):
                return step
        return self.high[kind] - start
