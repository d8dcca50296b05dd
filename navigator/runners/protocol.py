"""What a runner and a loaded model are. Owns no runner; `navigator.runners` lists them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from navigator.records import Device, Host, Json, Signature


class LoadedModel(Protocol):
    """A model in memory."""

    @property
    def signature(self) -> Signature:
        """Inputs and outputs, by the names that `infer` takes and returns; outputs may be known only after it."""

    @property
    def properties(self) -> Mapping[str, Json]:
        """Facts for the report, e.g. `onnx_opset`."""

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
        """What it can run a model on, the first by default."""

    def unrunnable(self, device: Device, host: Host, options: Mapping[str, Json]) -> str:
        """Return why `host` cannot run an artifact of this format on one of `DEVICES`, or "". Pure and quick.

        A missing distribution of `DISTRIBUTIONS` goes without saying; `options` are those of the artifact's step.
        """

    def load(
        self,
        path: Path,
        *,
        declared: Signature,
        signature_name: str | None = None,
        device: Device = Device.CPU,
        options: Mapping[str, Json] | None = None,
    ) -> LoadedModel:
        """Load the model.

        Args:
            path: the file or SavedModel directory.
            declared: what is known about inputs and outputs from the configuration or annotation file (for the
                source) or from the source model (for an artifact); either side may be empty, and a format that
                carries its own signature checks the declared one against it.
            signature_name: which of a SavedModel's signatures.
            device: one of `DEVICES`.
            options: those of the step that made the artifact; for the source model none.

        Raises:
            StepError: it cannot be loaded or its signature is not enough, with a sentence for the user.
        """
