"""The interfaces of runners and loaded models. `navigator.runners` lists the runners."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from navigator.records import Device, Host, Properties, Signature, StepOptions


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
