"""The waves of Fourier transforms, as both of torch's exporters write them into a convolution."""

import math
from typing import Any


def waves(size: int, bins: int) -> Any:
    """Return cosines and negative sines of so many frequencies, in float64: [2, bins, size]."""
    import torch

    # Whole turns add nothing, and large angles lose digits.
    turns = torch.outer(torch.arange(bins), torch.arange(size)) % size
    angles = turns.double() * (2 * math.pi / size)
    return torch.stack([angles.cos(), -angles.sin()])
