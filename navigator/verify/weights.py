"""Whether the weights of a converted model are the source model's: a second line of evidence beside its outputs.

Exporters store weights as they are, transpose them, or fold a factor for each channel into them. So a tensor that is
nearly one of the source model's, but for a few numbers, has wrong ones. Nothing is said of a tensor that isn't like any
of the source model's: an exporter may have computed it. NumPy only.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.ma  # numpy.unique imports it, which every worker would do anew

from navigator.models.stored import Computed, Stored, same_bytes
from navigator.records import Weights, WrongWeight
from navigator.verify.alignments import Difference, Layout, arranged, difference, fits, layouts, place, squeezed
from navigator.verify.batch_norms import Norms
from navigator.verify.kept_tensors import KeptTensors, ends
from navigator.verify.narrowing import narrower, rounded
from navigator.verify.rows import joined

FAR = 1e-5
"""From here on a number isn't the source's, relative to it: ten times what rounding explains."""

# So much of a tensor must agree for the rest to be wrong.
_AGREEING = 0.75

# So many numbers that aren't alike tell whose tensor it is, of this many that are looked at.
_TELLING, _LOOKED_AT = 8, 4096

# So many must agree in addition to those that tell the factors.
_EVIDENT = 6

FEWEST = 2
"""A single number tells nothing, unless it has a name."""

# Fewer numbers don't tell a tensor, not even if it has the same name.
_FEWEST_NAMED = 4

# How near a tensor is that was rounded to bfloat16, and how many numbers are looked at first.
_ROUNDED = 2.0**-8

# Tensors are tried for a layout until so many times the size of the source model was read.
_TRIALS = 8

NAMED = 10
"""More wrong tensors aren't named."""


def compared(
    source: Sequence[Stored],
    converted: Iterable[Stored],
    computed: Callable[[], Computed],
    *,
    named: bool = False,
) -> Weights:
    """Compare the weights of a converted model with the source model's.

    Args:
        source: the tensors of floats that the source model stores.
        converted: those of the converted model.
        computed: which of the source's tensors it computes others from. Only called if a weight may be wrong.
        named: whether a tensor with a name of the source model's has the same numbers, however few.

    Raises:
        OSError: a tensor can't be read.
    """
    known = _Known(source, named=named)
    tensors = recognised = elements = recognised_elements = 0
    wrong: list[WrongWeight] = []
    doubted: Computed | None = None
    for tensor in converted:
        if tensor.size < FEWEST and not named:
            continue
        tensors += 1
        elements += tensor.size
        found = known.found(tensor)
        if found is None:
            continue
        if found.wrong is not None:
            doubted = doubted or computed()
            if doubted.has(found.source) and not found.derived:
                continue
            wrong.append(found.wrong)
        recognised += 1
        recognised_elements += tensor.size
    return Weights(
        tensors=tensors,
        recognised=recognised,
        elements=elements,
        recognised_elements=recognised_elements,
        wrong=tuple(wrong[:NAMED]),
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """The source's tensor that a converted one is made from, and its wrong weights.

    `derived` is whether it's computed from several, as it should be.
    """

    source: Stored
    wrong: WrongWeight | None = None
    derived: bool = False


class _Known:
    """The source's tensors, and what is known of them so far."""

    def __init__(self, source: Sequence[Stored], *, named: bool) -> None:
        self._named = named
        self._sized: dict[int, list[Stored]] = defaultdict(list)
        self._kept = KeptTensors()
        self._used: set[str] = set()
        # Nothing is made from a tensor without elements.
        self._source = [each for each in source if each.size]
        for each in self._source:
            self._sized[each.size].append(each)
        self._norms = Norms.of(self._source)
        self._elements = sum(each.size for each in self._source)
        self._trials = _TRIALS * self._elements

    def found(self, tensor: Stored) -> _Found | None:
        """Return what a converted tensor is made from; None if that isn't known."""
        candidates = self._sized.get(tensor.size, [])
        same = next((each for each in candidates if each.name == tensor.name), None)
        if same is not None and (found := self._by_name(same, tensor)) is not None:
            return found
        values = tensor.read()
        if not _is_telling(values):
            return None
        # What fits as it is goes before what needs a factor, and what nothing else was made from before the rest.
        ordered = sorted(candidates, key=lambda each: each.name in self._used)
        near = None
        for found in self._fitting(ordered, tensor, values):
            if found.wrong is None:
                self._used.add(found.source.name)
                return found
            near = near or found
        near = near or self._folded(tensor, values) or self._rounded(ordered, tensor, values)
        return near or self._joined(tensor, values)

    def _by_name(self, same: Stored, tensor: Stored) -> _Found | None:
        """Return what a tensor is made from if it's the one with the same name."""
        if squeezed(same.shape) != squeezed(tensor.shape):
            return None
        wrong = None
        if not same_bytes(same, tensor):
            layout = Layout(tuple(range(len(squeezed(same.shape)))), None)
            apart = difference(self._kept.read(same), tensor.read(), layout)
            few = tensor.size >= _FEWEST_NAMED and apart.differing <= (1 - _AGREEING) * tensor.size
            if apart.differing and not (self._named or few):
                return None
            wrong = _wrong(same, tensor, apart)
        self._used.add(same.name)
        return _Found(same, wrong)

    def _fitting(self, candidates: list[Stored], tensor: Stored, values: np.ndarray) -> Iterator[_Found]:
        """Yield the source's tensors of which a converted one has most numbers, and where the others differ."""
        outer = ends(values)
        for factored in (False, True) if len(squeezed(tensor.shape)) > 1 else (False,):
            for each in candidates:
                if not factored and not _is_near(self._kept.ends(each), outer):
                    continue
                if factored:
                    self._trials -= each.size
                    if self._trials < 0:
                        return
                stored = self._kept.read(each)
                for layout in layouts(each.shape, tensor.shape):
                    if (layout.axis is not None) is not factored or not fits(stored, values, layout):
                        continue
                    apart = difference(stored, values, layout)
                    if _is_evident(apart):
                        yield _Found(each, _wrong(each, tensor, apart))
                        break

    def _folded(self, tensor: Stored, values: np.ndarray) -> _Found | None:
        """Return what a vector is made from if it's what is left of a batch normalization."""
        if len(squeezed(tensor.shape)) != 1:
            return None
        fit = self._norms.factor(values) or self._norms.summand(values)
        if fit is None:
            return None
        wrong = None
        if fit.wrong.size:
            at = int(fit.wrong[0])
            wrong = WrongWeight(
                tensor=fit.tensor.name,
                index=(at,),
                converted=tensor.name,
                expected=number(float(fit.expected[at])),
                value=number(float(values.flat[at])),
                differing=int(fit.wrong.size),
                total=tensor.size,
            )
        return _Found(fit.tensor, wrong, derived=True)

    def _joined(self, tensor: Stored, values: np.ndarray) -> _Found | None:
        """Return what a tensor is made from if its rows are those of several tensors, or some of one."""
        self._trials -= self._elements
        if self._trials < 0:
            return None
        found = joined(values, self._source, self._kept.read)
        if found is None:
            return None
        source, piece = found
        wrong = None
        if piece is not None:
            wrong = WrongWeight(
                tensor=source.name,
                index=piece.index,
                converted=tensor.name,
                expected=number(float(self._kept.read(source)[piece.index])),
                value=number(float(values.flat[piece.position])),
                differing=piece.differing,
                total=tensor.size,
            )
        return _Found(source, wrong)

    def _rounded(self, candidates: list[Stored], tensor: Stored, values: np.ndarray) -> _Found | None:
        """Return what a tensor is made from if all of its numbers were rounded to a narrower type."""
        dtype = narrower(values)
        if not dtype:
            return None
        for each in candidates:
            stored = self._kept.read(each)
            for layout in layouts(each.shape, tensor.shape):
                if layout.axis is not None or not fits(stored, values, layout, _ROUNDED):
                    continue
                lying = arranged(stored, values.shape, layout)
                if narrower(stored) != dtype and np.array_equal(rounded(lying, dtype), values.reshape(lying.shape)):
                    apart = difference(stored, values, layout)
                    return _Found(each, _wrong(each, tensor, apart, dtype, least=0.0))
        return None


def _wrong(
    source: Stored, tensor: Stored, apart: Difference, dtype: str = "", least: float = FAR
) -> WrongWeight | None:
    if not apart.differing or apart.gap <= least:
        return None
    return WrongWeight(
        tensor=source.name,
        index=place(apart.worst, source.shape, apart.layout),
        converted=tensor.name,
        expected=number(apart.expected),
        value=number(apart.value),
        differing=apart.differing,
        total=tensor.size,
        rounded=dtype,
    )


def _is_evident(apart: Difference) -> bool:
    """Return whether so much agrees that chance doesn't explain it, for each factor one less."""
    spent = 0 if apart.factors is None else len(apart.factors)
    return apart.agreeing - spent >= _EVIDENT and apart.agreeing >= _AGREEING * apart.informative


def _is_telling(values: np.ndarray) -> bool:
    """Return whether a tensor has enough numbers that aren't alike."""
    flat = values.reshape(-1)
    few = flat[:: max(1, flat.size // _LOOKED_AT)]
    few = np.abs(few[np.isfinite(few) & (few != 0)])
    return len(np.unique(few)) >= _TELLING


def _is_near(some: tuple[float, float], others: tuple[float, float]) -> bool:
    return any(math.isclose(one, other, rel_tol=FAR) for one, other in zip(some, others, strict=True))


def number(value: float) -> float | str:
    """Return a number as JSON has it: what isn't finite is a text."""
    return value if math.isfinite(value) else str(value)
