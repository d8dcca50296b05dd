"""The ends of a probe: the smallest and the largest sizes that a model takes, as far as they cost little."""

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from navigator.samples.found import LARGER_REFUSED, SMALLER_REFUSED, explained
from navigator.samples.ladder import Kind, Ladder, Levels
from navigator.workers.fitting import fitting
from navigator.workers.questions import Questions

# Sides and lengths may take this part of it, the batch the rest: rows that get in each other's way must show.
_WITHOUT_BATCH = 0.25

# How many lengths are tried one by one beyond the smallest that runs.
_RAISED = 4

# How much wider than high a picture is tried to be.
_WIDER = (8, 4, 2)

_STEPS = (1, 2, 4, 8, 16, 32)

_SIZES = re.compile(r"(?<![\d.])\d{1,4}(?![\d.])")


def first(
    wanted: Ladder, questions: Questions, *, thorough: bool = True, most: int | None = None
) -> tuple[Ladder, Levels] | None:
    """Return sizes that the model takes, and the ladder that they're of.

    Unless `thorough`, the likely ones only, of which at most `most` are tried, and what they tell of another.
    """
    likely = itertools.islice(wanted.likely(), most)
    ways: Iterable[tuple[Ladder, Levels]] = ((wanted, levels) for levels in likely)
    if thorough:
        related = list(wanted.related())
        sums = ((each, levels) for levels in wanted.likely() for each in related)
        ways = itertools.chain(ways, sums, ((wanted, levels) for levels in wanted.small()))
    for each, levels in ways:
        if questions.over:
            return None
        if questions.takes(each.shapes(levels)):
            return each, levels
    fitted = fitting(wanted, questions)
    return (wanted, fitted) if fitted is not None else None


@dataclass(kw_only=True, slots=True)
class Extents:
    """The smallest and the largest sizes of each kind, and why they are; they begin where the model is known to run."""

    ladder: Ladder
    questions: Questions
    low: dict[Kind, int]
    high: dict[Kind, int]
    step: dict[Kind, int] = field(default_factory=dict)
    reasons: dict[tuple[Kind, str], str] = field(default_factory=dict)

    def run(self) -> None:
        """Find them."""
        base = dict(self.low)
        others = [kind for kind in self.ladder.kinds if kind is not Kind.BATCH]
        for kind in self.ladder.kinds:
            self.low[kind] = self._lowest(kind, base)
        if not self._takes(self.low):
            self.low = dict(base)
        self._raise_low(base)
        batch = {Kind.BATCH: self.low[Kind.BATCH]} if Kind.BATCH in self.low else {}
        for kind in others:
            self.high[kind] = self._highest(kind, {**base, **batch}, _WITHOUT_BATCH)
        while others and not self._affordable({**self.high, **batch}, _WITHOUT_BATCH, others, base):
            kind = max(others, key=lambda kind: self.high[kind] / base[kind])
            self.high[kind] = max(base[kind], self.high[kind] // 2)
            self.reasons[kind, "high"] = "together with the others, larger ones are refused or cost too much"
        for kind in others:
            if self.high[kind] == self.low[kind]:
                self._raise_high(kind, base)
        self._widen()
        if batch:
            self.high[Kind.BATCH] = self._highest(Kind.BATCH, {**self.high, **batch}, 1.0)
        for kind in others:
            if self.low[kind] < self.high[kind]:
                self.step[kind] = self._step(kind, base)
                if self.low[kind] == 1 and self.step[kind] == self.high[kind] - 1 > 1:
                    self.low[kind] = self.high[kind]  # one element stands for all, and no other size will do

    def _widen(self) -> None:
        """Try sides of different lengths where longer ones are refused together: lines of text are low and wide."""
        sides = [index for index, size in enumerate(self.ladder.sizes) if size.kind is Kind.SIDE and not size.limited]
        if len(sides) < 2 or self.ladder.factors or self.reasons.get((Kind.SIDE, "high")) != LARGER_REFUSED:
            return
        for factor in _WIDER:
            for index in sides:
                factors = [(1, 0)] * len(self.ladder.sizes)
                factors[index] = (factor, 0)
                wide = replace(self.ladder, factors=tuple(factors))
                batch = {Kind.BATCH: self.low[Kind.BATCH]} if Kind.BATCH in self.low else {}
                ends = [wide.shapes({**levels, **batch}) for levels in (self.low, self.high)]
                if self.questions.over:
                    return
                if not self.questions.cost(ends[1], _WITHOUT_BATCH) and all(map(self.questions.takes, ends)):
                    self.ladder = wide
                    self.reasons[Kind.SIDE, "high"] = "longer ones together are refused"
                    return

    def _raise_low(self, base: Levels) -> None:
        """Raise a smallest length at which the model runs without looking at its inputs."""
        at = self.low.get(Kind.LENGTH, 0)
        if at < base.get(Kind.LENGTH, 0) and self.questions.answers(self.ladder.shapes(base)):
            sizes = (*range(at, min(at + _RAISED, base[Kind.LENGTH])), base[Kind.LENGTH])
            tried = ({**self.low, Kind.LENGTH: size} for size in sizes)
            self.low = next((each for each in tried if self.questions.answers(self.ladder.shapes(each))), dict(base))

    def _raise_high(self, kind: Kind, base: Levels) -> None:
        """Try one more size, whatever it costs: an axis isn't static because the machine is slow."""
        larger = next((rung for rung in self.ladder.rungs(kind, base[kind]) if rung > self.low[kind]), 0)
        if larger and self._takes({**base, kind: larger}):
            self.high[kind] = larger

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
            self.reasons[kind, "low"] = SMALLER_REFUSED
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
                if not refused:
                    self.reasons[kind, "high"] = (
                        f"larger ones take {cost}" if cost else "the largest in the time for it"
                    )
                break
            if self.questions.takes(shapes):
                best, refused = rung, 0
            else:
                refused = refused or rung
                self.reasons[kind, "high"] = LARGER_REFUSED
        if refused and best == 1 and (named := self._named(kind, base, refused)):
            return named
        if refused and kind is not Kind.SIDE:
            best = self._between(kind, base, refused, best)
        return best

    def _named(self, kind: Kind, base: Levels, refused: int) -> int:
        """Return a size that a refusal names and that the model takes, 0 if there is none.

        One element stands for all, as in a mask of six actions, and a size that isn't tried is refused with the one
        that it must match.
        """
        why = self.questions.known(self.ladder.shapes({**base, kind: refused}))
        sizes = {int(digits) for digits in _SIZES.findall(why)}
        return next((each for each in sorted(sizes) if each > 1 and self._takes({**base, kind: each})), 0)

    def _between(self, kind: Kind, base: Levels, refused: int, taken: int) -> int:
        """Return the size next to those that are refused, found by halving."""
        while abs(refused - taken) > 1 and not self.questions.over:
            middle = (refused + taken) // 2
            if self._takes({**base, kind: middle}):
                taken = middle
            else:
                refused = middle
        self.reasons[kind, "low" if refused < taken else "high"] = (
            SMALLER_REFUSED if refused < taken else LARGER_REFUSED
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
