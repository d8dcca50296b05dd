"""Whether errors as a whole look like rounding: rounding averages out over an output, a wrong weight doesn't.

The largest error of thousands is several times as large as most of them, and a tolerance has to allow that one and
more. Their root mean square hardly depends on chance, and neither does the mean error of a channel.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from navigator.ranges import mask_level, tables
from navigator.verify.slices import channel_axis

Pairs = Sequence[tuple[np.ndarray, np.ndarray]]

RMS_FACTOR = 3.0
"""How many times the root mean square of the noise is allowed. docs/explanation/verification.md says why."""

MEAN_FACTOR = 2.0
"""How many times the noise of the noisiest channel is allowed for the mean error of any."""

# With fewer values of noise, its root mean square depends on chance.
_ENOUGH = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """The size of errors as a whole, in parts of the root mean square of the source model's values.

    `rms` is the root mean square of all errors, `channel` the largest one of a channel, and `mean` the largest
    magnitude of the mean error of a channel. `count` is how many errors there are; without any, all are 0.
    """

    rms: float = 0.0
    channel: float = 0.0
    mean: float = 0.0
    count: int = 0

    def larger(self, other: "Size") -> "Size":
        """Return the larger number of each kind, of as many errors as both have."""
        return Size(
            rms=max(self.rms, other.rms),
            channel=max(self.channel, other.channel),
            mean=max(self.mean, other.mean),
            count=self.count + other.count,
        )


def size(pairs: Pairs) -> Size:
    """Return the size of the errors of one output, without masks and what isn't finite.

    Args:
        pairs: (reference, value) of each sample, of the same shape and dtype; real numbers.
    """
    references = [reference for reference, _ in pairs]
    axis = channel_axis(references)
    if axis is None:
        axis, pairs = 0, [(one.reshape(1, -1), other.reshape(1, -1)) for one, other in pairs]
    level = mask_level(references)
    channels = pairs[0][0].shape[axis]
    total, squares, counts = np.zeros(channels), np.zeros(channels), np.zeros(channels, np.int64)
    signal = 0.0
    with np.errstate(all="ignore"):
        for pair in pairs:
            for left, right in zip(*(tables(array, axis) for array in pair), strict=True):
                error = right - left
                chosen = np.isfinite(error) & (np.abs(left) < level)
                total += error.sum(axis=(0, 2), where=chosen)
                squares += np.square(error).sum(axis=(0, 2), where=chosen)
                signal += float(np.square(left).sum(where=chosen))
                counts += chosen.sum(axis=(0, 2))
    count = int(counts.sum())
    usual = math.sqrt(signal / count) if count else 0.0
    if not 0 < usual < math.inf:
        return Size()
    each = np.maximum(counts, 1)
    return Size(
        rms=math.sqrt(squares.sum() / count) / usual,
        channel=math.sqrt(np.max(squares / each)) / usual,
        mean=float(np.max(np.abs(total) / each)) / usual,
        count=count,
    )


def systematic(pairs: Pairs, noise: Size) -> str:
    """Return what about the errors of a converted model is too large for rounding, "" for nothing.

    Args:
        pairs: as for `size`.
        noise: the size of the source model's own rounding.
    """
    if noise.count < _ENOUGH:
        return ""
    errors = size(pairs)
    if errors.rms > RMS_FACTOR * noise.rms > 0:
        return f"their root mean square is {errors.rms / noise.rms:.2g} times that of rounding"
    if errors.mean > MEAN_FACTOR * noise.channel > 0:
        return f"the mean error of a channel is {errors.mean / noise.channel:.2g} times what rounding changes there"
    return ""
