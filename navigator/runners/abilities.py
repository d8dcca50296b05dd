"""What some loaded models and runners can do besides what all of them do: `isinstance` tells which."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from navigator.frameworks.lookups import Lookups
from navigator.models.stored import Computed, Reduced, Stored
from navigator.records import AxisSpec, Signature
from navigator.runners.protocol import LoadedModel
from navigator.samples.values import Told


@runtime_checkable
class Exact(Protocol):
    """A source model in memory that can compute in float64."""

    def in_double(self) -> AbstractContextManager[LoadedModel]:
        """Return the model with its weights in float64, which takes and returns floats of that type.

        Raises:
            StepError: its weights aren't all in float32.
        """


@runtime_checkable
class Nudged(Protocol):
    """A source model in memory whose weights can be moved in a direction and back."""

    def nudged(self, seed: int, sign: int) -> AbstractContextManager[LoadedModel]:
        """Return the model with each weight some steps of its dtype away, with the other sign the other way.

        The model itself is as before when the context ends.
        """


@runtime_checkable
class CastsToHalf(Protocol):
    """A source model in memory whose graph shows in which types it computes."""

    @property
    def casts_to_half(self) -> bool:
        """Whether it rounds floats to float16 on the way: a float32 that is one step away rounds to the same then.

        Its weights in float32 are half a step of float16 away if it's perturbed.
        """


@runtime_checkable
class Shaken(Protocol):
    """A converted model in memory whose rounding to fp16 can be measured."""

    def shaken(self, seed: int) -> AbstractContextManager[LoadedModel]:
        """Return the model with half of its float16 weights one step up or down.

        Raises:
            StepError: it has none, or there's no memory for it.
        """


@runtime_checkable
class AddsExactly(Protocol):
    """A model in memory whose runtime's sums can be told from what its file says."""

    def summed(self) -> tuple[LoadedModel, LoadedModel]:
        """Return the model with exact sums, and with sums that are off by what a runtime rounds, otherwise each time.

        Raises:
            StepError: it adds nothing in float32, or there's no memory for it.
        """


@runtime_checkable
class TellsValues(Protocol):
    """A source model in memory whose graph shows what it does with the values of its inputs."""

    @property
    def sorting_operations(self) -> tuple[str, ...]:
        """The operations that choose among equal values as they like, by their names in the format."""

    @property
    def told(self) -> Mapping[str, Told]:
        """What its graph tells about the values of its inputs, by name, those of which it tells nothing left out."""


@runtime_checkable
class ShowsReads(Protocol):
    """A source model in memory whose graph shows what it reads from its inputs, such as what it compares them with."""

    @property
    def reads(self) -> Lookups:
        """What it reads, by the names that `infer` uses."""


@runtime_checkable
class Branches(Protocol):
    """A source model in memory whose file shows where it takes one of two branches."""

    def untaken(self, samples: Iterable[Mapping[str, np.ndarray]]) -> Iterator[tuple[str, str]]:
        """Yield the operators that choose a branch and the branch that no sample takes, by their names in the format.

        It may leave out what would take long to find out.
        """


@runtime_checkable
class TellsMode(Protocol):
    """A source model in memory whose graph shows whether it was saved in training mode."""

    @property
    def training_operations(self) -> tuple[str, ...]:
        """The operations that normalize by the batch instead of running statistics, by their names in the format."""


@runtime_checkable
class ExportDiffers(Protocol):
    """A source model in memory whose graph shows operators that are exported wrongly for some values."""

    @property
    def export_notes(self) -> tuple[str, ...]:
        """Sentences on them, none if it has none."""


@runtime_checkable
class KeepsState(Protocol):
    """A source model in memory whose graph shows whether it keeps a state from call to call."""

    @property
    def state_advice(self) -> str:
        """What to do about it, "" if the graph shows none."""


class Met(Protocol):
    """What a model met while it ran."""

    @property
    def equal(self) -> bool:
        """Whether equal values were sorted."""


@runtime_checkable
class OrdersTies(Protocol):
    """A source model in memory of a format that doesn't define the order of equal values when it sorts."""

    def ordered(self, *, rotated: bool) -> AbstractContextManager[Met]:
        """Make `infer` sort equal values by their positions, or `rotated`, so that none of them is at the same place.

        What it meets is known when the context ends.
        """


@runtime_checkable
class Quantizes(Protocol):
    """A source model in memory that may round floats to few levels, so that the last digit decides between two."""

    @property
    def quantizes(self) -> bool:
        """Whether it does."""


@runtime_checkable
class Reranks(Protocol):
    """A source model in memory that can rank otherwise what only rounding tells apart, such as saturated scores."""

    def reranked(self) -> Iterator[LoadedModel]:
        """Yield models that rank it in other orders, the second one in the reverse order of the first.

        Raises:
            Exception: of the framework.
        """


@runtime_checkable
class NamesAxes(Protocol):
    """A model in memory whose file says more of its inputs' axes than whether they're dynamic."""

    @property
    def axes(self) -> Mapping[str, tuple[AxisSpec, ...]]:
        """What it says of the axes of each input, by the names that `infer` uses."""


@runtime_checkable
class TakesArguments(Protocol):
    """A model in memory of a format whose models may take numbers and text beside their inputs."""

    @property
    def given(self) -> Mapping[str, str]:
        """Their values, as text: those that `Undeclared.undeclared` was called with, and those that it tried."""


@runtime_checkable
class Undeclared(Protocol):
    """A runner of a format that doesn't store a model's inputs. Its `load` takes `arguments`, see `undeclared`."""

    def undeclared(self, path: Path, declared: Signature, arguments: Mapping[str, str]) -> Iterator[LoadedModel]:
        """Yield the model at `path` with each signature that it may have, the likeliest first.

        Args:
            path: the file.
            declared: what the user declared, which is kept; either part may be empty.
            arguments: the user's values of arguments that aren't tensors, as text.

        Raises:
            StepError: it can't be loaded, or no signature would do.
        """


@runtime_checkable
class StoresWeights(Protocol):
    """A runner of a format whose weights can be read without loading a model."""

    def weights(self, path: Path) -> list[Stored]:
        """Return the tensors of floats that the model at `path` stores; none if it can't be read.

        Raises:
            StepError: it isn't of this format.
        """

    def computed(self, path: Path) -> Computed:
        """Return which of them the model computes others from before it uses them. May load it.

        Raises:
            StepError: it can't be loaded.
        """


@runtime_checkable
class StoresReduced(Protocol):
    """A runner of a format whose files may be in reduced precision, made from other files of it."""

    def reduced_weights(self, path: Path) -> list[Reduced]:
        """Return the tensors of floats that the file at `path` stores, also those that are stored as integers.

        Raises:
            StepError: it isn't of this format.
        """
