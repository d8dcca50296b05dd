"""The questions of a probe: whether a model takes some shapes, and what it costs to run in them."""

import math
import resource
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from navigator.errors import ReturnedError, StepError
from navigator.frameworks.declaration import shapes as written_shapes
from navigator.runners.protocol import LoadedModel
from navigator.samples.symbols import Shape
from navigator.samples.values import Bounds, generator, spelled, uniform

# What the largest sample may cost. A model is run on a dozen samples, and so is each of its conversions.
_SECONDS = 1.0
_MEMORY_BYTES = 512 * 2**20
_ARRAYS_BYTES = 64 * 2**20

# What may be held before shapes are refused: those that don't fit together may be made pairs of, each with each.
_REFUSED_BYTES = 4 * 2**30
_REFUSED_GROWTH = 1.5
# The first run loads libraries.
_NOTABLE_BYTES = 64 * 2**20

_MOST_QUESTIONS = 1000

# Time grows with the elements of the inputs, and faster where all of them look at each other.
_GROWTH = 1.3

# The first run prepares others.
_REPEATS = 3


# How many times longer a deadline may be away if others use the machine too.
_OTHERS = 3


@dataclass(frozen=True, slots=True)
class Deadline:
    """A time limit that a busy machine extends: it's over when its seconds have passed, and this process used as many.

    A model would otherwise have no shapes on a busy machine that it has on an idle one.
    """

    seconds: float
    started: float = field(default_factory=time.monotonic)
    used: float = field(default_factory=time.process_time)

    @property
    def over(self) -> bool:
        passed = time.monotonic() - self.started
        return passed > self.seconds and (
            passed > _OTHERS * self.seconds or time.process_time() - self.used > self.seconds
        )


@dataclass(kw_only=True, slots=True)
class Cost:
    """What one run took: the least of its runs, and by how many bytes the process grew."""

    inputs: Mapping[str, np.ndarray]
    seconds: float = math.inf
    grown: int = 0
    runs: int = 0

    def again(self, model: LoadedModel) -> dict[str, np.ndarray]:
        """Run the model, and return its outputs."""
        started, used = time.perf_counter(), time.process_time()
        outputs = model.infer(self.inputs)
        # Waiting for a processor that others use isn't the model's.
        self.seconds = min(self.seconds, time.perf_counter() - started, time.process_time() - used)
        self.runs += 1
        return outputs


@dataclass(kw_only=True, slots=True)
class Questions:
    """A model that is asked, with what it answered until a deadline.

    `returned` is the first complaint about what it returned, and `refused` the bytes by which the process grew when it
    refused such shapes, in the order of its inputs.
    """

    model: LoadedModel
    bounds: Mapping[str, Bounds]
    deadline: Deadline
    refusals: dict[str, str] = field(default_factory=dict)
    costs: dict[int, Cost] = field(default_factory=dict)
    refused: dict[tuple[Shape, ...], int] = field(default_factory=dict)
    held: int = field(default_factory=lambda: _peak())
    returned: ReturnedError | None = None
    first: tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]] | None = None

    @property
    def over(self) -> bool:
        return self.deadline.over or len(self.refusals) >= _MOST_QUESTIONS

    def refusal(self, shapes: Mapping[str, Shape]) -> str:
        """Return why the model doesn't run in these shapes, "" if it does."""
        key = written_shapes(shapes)
        if key not in self.refusals:
            self.refusals[key] = self._ask(shapes)
        return self.refusals[key]

    def known(self, shapes: Mapping[str, Shape]) -> str:
        """Return why the model doesn't run in these shapes if it has been asked, "" if it does or hasn't."""
        return self.refusals.get(written_shapes(shapes), "")

    def takes(self, shapes: Mapping[str, Shape]) -> bool:
        """Return whether the model runs in these shapes."""
        return not self.refusal(shapes)

    def cost(self, shapes: Mapping[str, Shape], share: float = 1.0) -> str:
        """Return what running in these shapes would take too much of, as far as smaller ones tell; "" if it's cheap.

        Args:
            shapes: of all inputs.
            share: the part of the budget that it may take.
        """
        size = _elements(shapes.values())
        smaller = max((each for each in self.costs if each <= size), default=None)
        if self._bytes(shapes) > _ARRAYS_BYTES:
            return f"samples of more than {_ARRAYS_BYTES // 2**20} MiB"
        if smaller is None:
            return ""
        known = self.costs[smaller]
        ratio = size / max(1, smaller)
        while known.seconds * ratio**_GROWTH > share * _SECONDS:
            if known.runs >= _REPEATS or known.seconds > _SECONDS:
                return f"more than {_SECONDS:g} s"
            known.again(self.model)  # others use this machine too
        return f"more than {_MEMORY_BYTES // 2**20} MiB" if known.grown * ratio > share * _MEMORY_BYTES else ""

    def changed(self) -> bool:
        """Return whether the model now answers its first question otherwise: it keeps a state between calls."""
        if self.first is None:
            return False
        inputs, before = self.first
        # Twice, since another batch than the last one may begin anew.
        return any(_differ(before, self.model.infer(inputs)) for _ in range(2))

    def answers(self, shapes: Mapping[str, Shape]) -> bool:
        """Return whether the model answers other inputs otherwise, and the same ones alike.

        It doesn't where it reads memory that nothing was written to: a kernel longer than its input in TensorFlow
        (2.21).
        """
        one, other = self._drawn(shapes), self._drawn(shapes, 1)
        try:
            first, second, again = self.model.infer(one), self.model.infer(other), self.model.infer(one)
        except StepError:
            return False
        alike = (np.allclose(first[name], again[name], rtol=1e-3, equal_nan=True) for name in first)
        return all(alike) and any(not np.array_equal(first[name], second[name]) for name in first)

    def _drawn(self, shapes: Mapping[str, Shape], seed: int = 0) -> dict[str, np.ndarray]:
        drawn = {
            name: uniform(generator(seed, "probe", name), shape, self.bounds[name]) for name, shape in shapes.items()
        }
        return {name: spelled(array, self.bounds[name]) for name, array in drawn.items()}

    def _bytes(self, shapes: Mapping[str, Shape]) -> int:
        return sum(math.prod(shape) * self.bounds[name].dtype.itemsize for name, shape in shapes.items())

    def _folds(self, inputs: Mapping[str, np.ndarray], array: np.ndarray, known: np.ndarray | None) -> bool:
        """Return whether an output has more or fewer rows than the inputs, but hadn't for the first question.

        A network that ends in `reshape(-1, features)` makes two rows of an input of twice the length.
        """
        if known is None or self.first is None or not known.ndim or not array.ndim:
            return False
        rows, before = ({len(each) for each in arrays.values() if each.ndim} for arrays in (inputs, self.first[0]))
        return rows == before == {len(known)} and len(array) != len(known)

    def _nothing(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> str:
        """Return which output says nothing, since the input was too small for the model, or ""."""
        known = self.first[1] if self.first else {}
        for name, array in outputs.items():
            if not array.size:
                return f"output {name} is empty"
            # The mean of nothing is NaN, and its maximum the lowest number of its type, or 0 in TensorFlow (2.21).
            if array.dtype.kind == "f" and not (np.abs(array) < np.finfo(array.dtype).max).any():
                return f"output {name} has no finite value"
            if not array.any() and name in known and known[name].any():
                return f"output {name} is 0 everywhere"
            if self._folds(inputs, array, known.get(name)):
                return f"output {name} has {len(array)} rows"
        return ""

    def _needs_too_much(self, shapes: Mapping[str, Shape]) -> bool:
        """Return whether what smaller shapes took before the model refused them says that these take too much."""
        size, asked = _elements(shapes.values()), tuple(shapes.values())
        return any(
            grown * (size / max(1, _elements(smaller))) ** _REFUSED_GROWTH > _REFUSED_BYTES
            for smaller, grown in self.refused.items()
            if _reaches(asked, smaller)
        )

    def _ask(self, shapes: Mapping[str, Shape]) -> str:
        if self._bytes(shapes) > _ARRAYS_BYTES:
            return f"samples of more than {_ARRAYS_BYTES // 2**20} MiB"
        if self._needs_too_much(shapes):
            return "too much memory"
        arrays = self._drawn(shapes)
        cost = Cost(inputs=arrays)
        try:
            outputs = cost.again(self.model)
        except StepError as error:
            # What a refused run held tells nothing of smaller ones, but of larger ones.
            if (grown := _peak() - self.held) > _NOTABLE_BYTES:
                self.refused[tuple(shapes.values())] = grown
            self.held = max(self.held, _peak())
            if isinstance(error, ReturnedError):
                self.returned = self.returned or error
            return error.message
        except MemoryError:
            return "not enough memory"
        if found := self._nothing(arrays, outputs):
            return found
        self.first = self.first or (arrays, outputs)
        size = _elements(shapes.values())
        made = sum(array.nbytes for array in (*arrays.values(), *outputs.values()))
        cost.grown = max(made, _peak() - self.held if size >= max(self.costs, default=0) else 0)
        self.costs[size] = cost
        return ""


def _differ(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    return one.keys() != other.keys() or not all(
        np.array_equal(one[name], array, equal_nan=array.dtype.kind in "fc") for name, array in other.items()
    )


def _elements(shapes: Iterable[Shape]) -> int:
    return sum(map(math.prod, shapes))


def _reaches(shapes: tuple[Shape, ...], smaller: tuple[Shape, ...]) -> bool:
    """Return whether shapes are nowhere smaller than others, as far as they have the same axes.

    Other axes are those of another signature of the model.
    """
    return [*map(len, shapes)] != [*map(len, smaller)] or all(
        size >= other for pair in zip(shapes, smaller, strict=True) for size, other in zip(*pair, strict=True)
    )


def _peak() -> int:
    """Return the most memory that this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
