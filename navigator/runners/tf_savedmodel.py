"""Runs TensorFlow SavedModels on the CPU, as the reference that their conversions are compared with.

Runs a signature and checks it against a declared one. `navigator.frameworks.tensorflow.signatures` loads it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from navigator.errors import StepError, listed
from navigator.frameworks.declaration import agreed
from navigator.frameworks.lookups import Lookups
from navigator.frameworks.tensorflow import double, lookups, ranks, stored
from navigator.frameworks.tensorflow.randomness import random_operations
from navigator.frameworks.tensorflow.rounding import casts_to_half, nudged, perturbed, quantizes
from navigator.frameworks.tensorflow.signatures import OpenedSignature, open_signature, reason
from navigator.models.stored import Computed, Stored
from navigator.records import Device, Host, Properties, Signature, StepOptions
from navigator.runners.protocol import TENSORFLOW, Axis
from navigator.samples.values import Told

DISTRIBUTIONS = ("tensorflow",)
PRELOAD = ("tensorflow",)
DEVICES = (Device.CPU,)
ARTIFACT_NAME = "model.savedmodel"
AXES: frozenset[Axis] = frozenset()
AS_SOURCE = TENSORFLOW
CONTAINER_LIMITS: Mapping[Device, str] = {}
Options = StepOptions


@dataclass(frozen=True)
class _LoadedSavedModel:
    """A signature of a SavedModel, see `navigator.runners.protocol.SourceModel`.

    What the graph tells is read once: a walk through a large one takes a while.
    """

    opened: OpenedSignature
    signature: Signature

    @property
    def properties(self) -> Properties:
        return Properties(signature_name=self.opened.name)

    @cached_property
    def random_operations(self) -> tuple[str, ...]:
        return random_operations(self.opened.function)

    @cached_property
    def casts_to_half(self) -> bool:
        """See `navigator.runners.abilities.CastsToHalf`."""
        return casts_to_half(self.opened.function)

    @cached_property
    def quantizes(self) -> bool:
        """See `navigator.runners.abilities.Quantizes`."""
        return quantizes(self.opened.function)

    @cached_property
    def sorting_operations(self) -> tuple[str, ...]:
        return lookups.sorting_operations(self.opened.function)

    @cached_property
    def reads(self) -> Lookups:
        return lookups.read(self.opened.function, [spec.name for spec in self.signature.inputs])

    @property
    def told(self) -> Mapping[str, Told]:
        return self.reads.told()

    @contextmanager
    def perturbed(self) -> Iterator["_LoadedSavedModel"]:
        """See `navigator.runners.protocol.SourceModel.perturbed`."""
        with perturbed(self.opened.function):
            yield self

    @contextmanager
    def nudged(self, seed: int, sign: int) -> Iterator["_LoadedSavedModel"]:
        """See `navigator.runners.abilities.Nudged`."""
        with nudged(self.opened.function, seed, sign):
            yield self

    @contextmanager
    def in_double(self) -> Iterator["_LoadedSavedModel"]:
        """See `navigator.runners.abilities.Exact`."""
        opened = double.in_double(self.opened)
        yield _LoadedSavedModel(opened, opened.signature)

    @cached_property
    def _reranking(self) -> Callable[..., dict[str, Any]]:
        return ranks.reranking(self.opened)

    def reranked(self) -> Iterator["_LoadedSavedModel"]:
        """See `navigator.runners.abilities.Reranks`."""
        for opened in ranks.orders(self.opened, self._reranking):
            yield _LoadedSavedModel(opened, self.signature)

    def infer(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the signature once. Outputs are in alphabetical order, since a SavedModel has no other.

        Raises:
            StepError: inputs are missing or unknown, or TensorFlow can't run the signature with them.
        """
        import tensorflow as tf

        expected = [spec.name for spec in self.signature.inputs]
        if set(inputs) != set(expected):
            raise StepError(
                f"signature {self.opened.name!r} has the inputs {listed(expected)}, but got {listed(sorted(inputs))}"
            )
        try:
            tensors = {spec.name: tf.constant(inputs[spec.name], dtype=spec.dtype) for spec in self.signature.inputs}
            results = self.opened.function(**tensors)
        except (tf.errors.OpError, TypeError, ValueError) as error:
            shapes = ", ".join(f"{name}: {list(array.shape)}" for name, array in inputs.items())
            raise StepError(
                f"TensorFlow can't run signature {self.opened.name!r} with {shapes}: {reason(error)}",
                "check that the model accepts min_shapes and max_shapes",
            ) from error
        return {spec.name: np.asarray(results[spec.name].numpy()) for spec in self.signature.outputs}


def unrunnable(device: Device, host: Host, options: StepOptions) -> str:
    """Return "": every model that can be loaded runs on every CPU."""
    del device, host, options
    return ""


def load(
    path: Path,
    *,
    declared: Signature,
    signature_name: str | None = None,
    device: Device = Device.CPU,
    options: StepOptions | None = None,
) -> _LoadedSavedModel:
    """Load one signature of a SavedModel, see `navigator.runners.protocol.Runner`.

    Raises:
        StepError: it can't be loaded, has no such signature, or contradicts the declared one.
    """
    del device, options
    opened = open_signature(path, signature_name)
    owner = f"signature {opened.name!r}"
    return _LoadedSavedModel(
        opened,
        Signature(
            inputs=agreed("inputs", declared.inputs, opened.signature.inputs, owner),
            outputs=agreed("outputs", declared.outputs, opened.signature.outputs, owner),
        ),
    )


def weights(path: Path) -> list[Stored]:
    """See `navigator.runners.abilities.StoresWeights`."""
    return stored.weights(path)


def computed(path: Path) -> Computed:
    """See `navigator.runners.abilities.StoresWeights`."""
    return stored.computed(path)
