"""Outputs that depend on the order of equal values, which the source model's framework doesn't define."""

from collections.abc import Mapping

import numpy as np

from navigator.verify.outputs import Outputs

Arrays = Mapping[str, np.ndarray]


def settled(reference: Arrays, outputs: Arrays, undefined: Arrays) -> dict[str, np.ndarray]:
    """Return a converted model's outputs of a sample with the source model's values where these aren't defined.

    Args:
        reference: the source model's outputs.
        outputs: the converted model's.
        undefined: booleans of the shape of an output of `reference`, by name, for those that have such values.
    """
    found = dict(outputs)
    for name, mask in undefined.items():
        left, right = reference.get(name), outputs.get(name)
        if left is None or right is None or left.dtype != right.dtype or left.shape != mask.shape:
            continue
        if mask.all():  # then its shape may depend on it too
            found[name] = left
        elif right.shape == left.shape:
            found[name] = np.where(mask, left, right)
    return found


def all_settled(reference: Outputs, outputs: Outputs, undefined: Outputs) -> list[tuple[str, Arrays]]:
    """Return the outputs of all samples like `settled`; `undefined` has only those samples that need it."""
    known, masks = dict(reference), dict(undefined)
    return [
        (name, settled(known[name], arrays, masks[name]) if name in masks and name in known else arrays)
        for name, arrays in outputs
    ]
