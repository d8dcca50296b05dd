"""What a runner and a loaded model are. Owns no runner; `navigator.runners` lists them."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from navigator.records import Device, Host, Properties, Signature, StepOptions


class Axis(StrEnum):
    """An option whose every value makes another configuration of a target format."""

    OPSET = "onnx_opsets"
    MODE = "tensorrt_precisions_mode"
    PRECISION = "tensorrt_precisions"


ENGINE_AXES = frozenset(Axis)


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """What a source model of a format needs.

    Args:
        extra: the extra of this project that installs what runs it.
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
        """Inputs and outputs, by the names that `infer` takes and returns; outputs may be known only after it."""

    @property
    def properties(self) -> Properties:
        """Facts for the report."""

    def infer(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the model once on inputs by name and return the outputs by name, in the model's order."""


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
        """What it can run a model on, the first by default. Only what runs on a CPU can be a source model."""

    @property
    def ARTIFACT_NAME(self) -> str:
        """The file name in Triton's model repository, so that an artifact can be moved there as it is."""

    @property
    def AXES(self) -> frozenset[Axis]:
        """The options that conversions to this format multiply by."""

    @property
    def AS_SOURCE(self) -> Source | None:
        """What a source model of this format needs; None if it can't be one."""

    @property
    def CONTAINER_LIMITS(self) -> Mapping[Device, str]:
        """Why a container of the framework cannot run it on a device that this machine may have."""

    @property
    def Options(self) -> type[StepOptions]:
        """What it reads of the options of the step that made an artifact; without any it takes the defaults."""

    def unrunnable(self, device: Device, host: Host, options: Any) -> str:
        """Return why `host` cannot run an artifact of this format on one of `DEVICES`, or "". Pure and quick.

        A missing distribution of `DISTRIBUTIONS` goes without saying; `options` are a record of `Options`.
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
            declared: what is known about inputs and outputs from the configuration or annotation file (for the
                source) or from the source model (for an artifact); either side may be empty, and a format that
                carries its own signature checks the declared one against it.
            signature_name: which of a SavedModel's signatures.
            device: one of `DEVICES`.
            options: a record of `Options` of the step that made the artifact; for the source model none.

        Raises:
            StepError: it cannot be loaded or its signature is not enough, with a sentence for the user.
        """


def read_by(runner: Runner, options: StepOptions) -> StepOptions:
    """Return what `runner` reads of a step's options: all if the converter's record extends the runner's, or none."""
    return options if isinstance(options, runner.Options) else runner.Options()
