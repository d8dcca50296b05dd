"""Whether the weights of a model in reduced precision are those that it was made from, rounded. NumPy only.

That shows what no tolerance can: the rounding of a precision is larger in an output than a wrong weight's error, but
each weight can only be rounded to the nearest number of its type.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from navigator.models.stored import Reduced, Stored
from navigator.records import Weights, WrongWeight
from navigator.verify.alignments import squeezed
from navigator.verify.weights import FAR, FEWEST, NAMED, number

# Of a tensor, so many numbers are compared at a time.
_PIECE = 2**20


def reduced(source: Sequence[Stored], converted: Iterable[Reduced]) -> Weights:
    """Compare the weights of a model in reduced precision with those that it was made from.

    A number is wrong if it's further than half a step of its type from the source's.

    Args:
        source: the tensors of floats in the file that it was made from.
        converted: those of the converted model.

    Raises:
        OSError: a tensor can't be read.
    """
    # Two branches may each have a tensor of the same name.
    twice = {name for name, count in Counter(each.name for each in source).items() if count > 1}
    known = {each.name: each for each in source if each.name not in twice}
    tensors = recognised = elements = recognised_elements = 0
    wrong = []
    for tensor in converted:
        origins = (known[name] for name in tensor.origins if name in known)
        origin = next((each for each in origins if squeezed(each.shape) == squeezed(tensor.shape)), None)
        if origin is None and tensor.size < FEWEST:
            continue
        tensors += 1
        elements += tensor.size
        if origin is not None:
            recognised += 1
            recognised_elements += tensor.size
            wrong += _wrong(origin, tensor)
    return Weights(
        tensors=tensors,
        recognised=recognised,
        elements=elements,
        recognised_elements=recognised_elements,
        wrong=tuple(wrong[:NAMED]),
    )


def _wrong(origin: Stored, tensor: Reduced) -> list[WrongWeight]:
    """Return the worst of a tensor's wrong numbers, none if all are right."""
    values, steps = tensor.read()
    right, left = (each.reshape(-1) for each in (values, origin.read()))
    allowed = np.broadcast_to(steps, values.shape)
    differing, worst, furthest = 0, 0, 0.0
    for start in range(0, right.size, _PIECE):
        piece = slice(start, start + _PIECE)
        far = _far(left[piece], right[piece], allowed.flat[piece] / 2)
        differing += int(np.count_nonzero(far))
        if far.max(initial=0.0) > furthest:
            worst, furthest = start + int(far.argmax()), float(far.max())
    if not differing:
        return []
    return [
        WrongWeight(
            tensor=origin.name,
            index=tuple(int(each) for each in np.unravel_index(worst, origin.shape)),
            converted=tensor.name,
            expected=number(float(left[worst])),
            value=number(float(right[worst])),
            differing=differing,
            total=tensor.size,
        )
    ]


def _far(left: np.ndarray, right: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Return how far each number is from the source's, relative to it; 0 where it's as near as it should be."""
    with np.errstate(all="ignore"):
        wanted = left.astype(np.result_type(left, np.float32), copy=False)
        apart = np.abs(right - wanted)
        near = (apart <= allowed + FAR * np.abs(wanted)) | (right == wanted) | (np.isnan(right) & np.isnan(wanted))
        far = apart / np.maximum(np.abs(wanted), np.abs(right))
    return np.where(near, 0.0, np.where(np.isfinite(far), far, np.inf))
