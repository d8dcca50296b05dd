"""The interfaces of runners and loaded models. `navigator.runners` lists the runners."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from navigator.frameworks.lookups import Lookups
from navigator.models.stored import Computed, Reduced, Stored
from navigator.records import AxisSpec, Device, Host, Properties, Signature, StepOptions
from navigator.samples.values import Told


class Axis(StrEnum):
    """An option: each of its values is a separate configuration of a target format."""

    OPSET = "onnx_opsets"
    MODE = "tensorrt_precisions_mode"
    PRECISION = "tensorrt_precisions"


ENGINE_AXES = frozenset(Axis)


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """The requirements of source models of a format.

    Args:
        extra: the extra of this project that installs its runner's packages.
        image: NVIDIA's container image of the framework, with `{version}` in it.
    """

    extra: str
    image: str


TORCH = Source(extra="torch", image="nvcr.io/nvidia/pytorch:{version}-py3")
TENSORFLOW = Source(extra="tensorflow", image="nvcr.io/nvidia/tensorflow:{version}-tf2-py3")
ONNX = Source(extra="onnx", image="nvcr.io/nvidia/pytorch:{version}-py3")


class LoadedModel(Protocol):
    """A model in memory."""

    @property
    def signature(self) -> Signature:
        """Inputs and outputs, with the names that `infer` uses; outputs may only be known after it."""

    @property
    def properties(self) -> Properties:
        """Facts for the report."""

    def infer(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the model once on inputs by name and return the outputs by name, in the model's order."""


@runtime_checkable
class SourceModel(LoadedModel, Protocol):
    """A model in memory of a format that can be a source model's (`Runner.AS_SOURCE`)."""

    @property
    def random_operations(self) -> tuple[str, ...]:
        """The operations that draw random numbers, by their names in the format; what never draws is left out."""

    def perturbed(self) -> AbstractContextManager[LoadedModel]:
        """Return the model as it rounds otherwise, at no mathematical difference beyond the last bits of its weights.

        Weights are one step of their dtype away, threads are fewer, or kernels are others: what the framework has. The
        model itself is as before when the context ends.

        Raises:
            StepError: there's no memory for it.
        """


@runtime_checkable
class Exact(Protocol):
    """A source model in memory that can compute in float64."""

    def in_double(self) -> AbstractContextManager[LoadedModel]:
        """Return the model with its weights in float64, which takes and returns floats of that type.

        Raises:
            StepError: its weights aren't all in float32.
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


class Runner(Protocol):
    """One format. A module satisfies it with module-level names; capitals are constants."""

    @property
    def DISTRIBUTIONS(self) -> tuple[str, ...]:
        """Installed distributions (PyPI names) it imports."""

    @property
    def PRELOAD(self) -> tuple[str, ...]:
        """Modules that the fork server imports once, before it forks."""

    @property
    def DEVICES(self) -> tuple[Device, ...]:
        """The devices it supports, the default first. Only models that run on a CPU can be source models."""

    @property
    def ARTIFACT_NAME(self) -> str:
        """The file name in Triton's model repository, so that converted models can be copied there unchanged."""

    @property
    def AXES(self) -> frozenset[Axis]:
        """The options that multiply conversions to this format."""

    @property
    def AS_SOURCE(self) -> Source | None:
        """The requirements of source models of this format; None if there can't be any."""

    @property
    def CONTAINER_LIMITS(self) -> Mapping[Device, str]:
        """Why a container of the framework can't run it on a device of this machine."""

    @property
    def Options(self) -> type[StepOptions]:
        """The options of the step that created a model, as far as it reads them; defaults if there are none."""

    def unrunnable(self, device: Device, host: Host, options: Any) -> str:
        """Return why `host` can't run a model of this format on one of `DEVICES`, or "". Pure and fast.

        Missing `DISTRIBUTIONS` are reported elsewhere; `options` is an instance of `Options`.
        """

    def load(
        self,
        path: Path,
        *,
        declared: Signature,
        signature_name: str | None = None,
        device: Device = Device.CPU,
        options: Any = None,
    ) -> LoadedModel:
        """Load the model.

        Args:
            path: the file or SavedModel directory.
            declared: inputs and outputs according to the configuration or annotation file (for the source model), or
                to the source model (for a converted model); either may be empty. A format that stores its signature
                checks the declared one against it.
            signature_name: signature of a SavedModel.
            device: one of `DEVICES`.
            options: an instance of `Options` of the step that created the model; None for the source model.

        Raises:
            StepError: it can't be loaded or its signature is incomplete, with a message for the user.
        """


def read_by(runner: Runner, options: StepOptions) -> StepOptions:
    """Return the options of a step that `runner` reads: all if their class extends the runner's, or else None."""
    return options if isinstance(options, runner.Options) else runner.Options()
