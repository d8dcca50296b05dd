"""The samples that int8 scales are measured on, kept apart from those that the int8 model is compared on.

A model that is compared on what it was calibrated on shows its error on known inputs, not on new ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from navigator.records import ModelConfig, Precision, TensorSpec
from navigator.samples.own_data import Sample, read_samples


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """Which samples calibrate int8, and the names of those that are left for the comparison, in order."""

    samples: tuple[Sample, ...]
    held_out: tuple[str, ...]


def calibration(
    inputs: Sequence[TensorSpec], config: ModelConfig, samples: Sequence[Sample], memory_bytes: int
) -> Calibration:
    """Divide samples: `calibration_samples` calibrate, or else every other one of the user's own, from the first.

    One sample, or random ones, have no other half: they calibrate, and nothing is held out. A sample with the values of
    one that calibrates isn't held out either, whatever its name is. Without int8, nothing calibrates.

    Args:
        inputs: the source model's inputs.
        config: the user's own files.
        samples: those that the source model was run on, at least one.
        memory_bytes: what the calibration samples may take a quarter of.

    Raises:
        StepError: a file isn't a sample, or contradicts the signature.
    """
    if Precision.INT8 not in config.tensorrt_precisions:
        return Calibration(samples=(), held_out=())
    if config.calibration_samples:
        dtypes = {name: array.dtype for name, array in samples[0][1].items()}
        labelled = config.metric is not None
        chosen = read_samples(inputs, dtypes, config.calibration_samples, memory_bytes, labelled=labelled)
    else:
        chosen = list(samples[::2] if config.samples else samples)
    held_out = tuple(name for name, arrays in samples if not any(_equal(arrays, each) for _, each in chosen))
    return Calibration(samples=tuple(chosen), held_out=held_out)


def _equal(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    return all(np.array_equal(array, other[name]) for name, array in one.items())
