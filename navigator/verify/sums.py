"""Samples that are compared with exact sums, since each runtime rounds sums of many numbers otherwise. Pure."""

from collections.abc import Iterator

import numpy as np

from navigator.errors import listed
from navigator.verify.differences import differences, pieces
from navigator.verify.outputs import Outputs


def warnings(outputs: Outputs, exact: Outputs) -> Iterator[str]:
    """Say which samples are compared with exact sums, and by how much the converted model is off there.

    Args:
        outputs: those of the converted model.
        exact: likewise, with exact sums, for the samples that are compared.
    """
    largest: dict[str, float] = {}
    samples: dict[str, None] = {}
    known = dict(outputs)
    for sample, arrays in exact:
        for name, array in arrays.items():
            off = _largest(known[sample][name], array) if array.dtype.kind in "fc" else 0.0
            if off:
                samples[sample] = None
                largest[name] = max(largest.get(name, 0.0), off)
    if largest:
        changes = listed(f"{name} by up to {off:.2g}" for name, off in largest.items())
        yield (
            f"compared with exact sums in {listed(samples)}: ONNX Runtime rounds sums of many numbers differently from "
            f"the source model, which changes {changes} there; with exact sums, the converted model matches"
        )


def _largest(one: np.ndarray, other: np.ndarray) -> float:
    with np.errstate(all="ignore"):
        return max((float(differences(*both)[0].max(initial=0.0)) for _, *both in pieces(one, other)), default=0.0)
