"""Tensors that are read again and again, as many of them as memory is spent on."""

import numpy as np

from navigator.models.stored import Stored


class KeptTensors:
    """The numbers of tensors by name, read if they aren't kept.

    Args:
        limit_bytes: how much is kept.
    """

    def __init__(self, limit_bytes: int = 2**28) -> None:
        self._limit_bytes = limit_bytes
        self._kept: dict[str, np.ndarray] = {}
        self._ends: dict[str, tuple[float, float]] = {}
        self._bytes = 0

    def read(self, tensor: Stored) -> np.ndarray:
        """Return the numbers of a tensor.

        Raises:
            OSError: it can't be read.
        """
        if tensor.name not in self._kept:
            values = tensor.read()
            self._ends[tensor.name] = ends(values)
            if self._bytes + values.nbytes > self._limit_bytes:
                self._kept.clear()
                self._bytes = 0
            self._kept[tensor.name] = values
            self._bytes += values.nbytes
        return self._kept[tensor.name]

    def ends(self, tensor: Stored) -> tuple[float, float]:
        """Return the first and the last number of a tensor, of all that were ever read."""
        if tensor.name not in self._ends:
            self.read(tensor)
        return self._ends[tensor.name]


def ends(values: np.ndarray) -> tuple[float, float]:
    """Return the first and the last number: they stay in place, however axes are ordered."""
    return float(values.flat[0]), float(values.flat[-1])
