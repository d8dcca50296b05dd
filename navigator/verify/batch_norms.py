"""What exporters make of a batch normalization in inference: a factor and a summand for each channel. NumPy only.

Both follow from the four vectors of the source model, but for an epsilon that's the same for all channels, and for the
bias of the convolution before. So a vector that fits in most channels is wrong in the others.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from navigator.models.stored import Stored

# What float32 rounds, with a reciprocal of a square root that's approximated.
_NEAR = 2e-6

# How many times that a number isn't rounded any more.
_FAR = 10.0

# So many channels, and so many of all, have to fit, but for so many.
_FITTING = 6
_DIFFERING = 0.02

# What PyTorch and Keras call the vectors.
_ROLES = {
    "weight": "gamma",
    "gamma": "gamma",
    "bias": "beta",
    "beta": "beta",
    "running_mean": "mean",
    "moving_mean": "mean",
    "running_var": "variance",
    "moving_variance": "variance",
}

# The order in which Keras has them, all or without some.
_SEQUENCES = (
    ("gamma", "beta", "mean", "variance"),
    ("beta", "mean", "variance"),
    ("gamma", "mean", "variance"),
    ("mean", "variance"),
)

# From so many channels, at least, the epsilon is taken.
_CLEAREST = 5

# The largest epsilon that's plausible.
_LARGEST_EPSILON = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """A vector that most channels of a normalization explain.

    Args:
        tensor: the source's tensor that's named, its variance or its bias.
        expected: what the vector should be.
        wrong: the channels that are something else.
    """

    tensor: Stored
    expected: np.ndarray
    wrong: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True)
class _Norm:
    """The vectors of one normalization, in float64; `named` is what to call it by."""

    named: Stored
    gamma: np.ndarray
    beta: np.ndarray
    mean: np.ndarray
    variance: np.ndarray

    def scale(self, epsilon: float) -> np.ndarray:
        return self.gamma / np.sqrt(self.variance + epsilon)

    def epsilon(self, scales: np.ndarray, doubts: np.ndarray) -> float | None:
        """Return the epsilon for which most channels have these factors, None if there can't be one.

        Rounding hides it where the variance is large, and where the factors are doubtful, relative to them.
        """
        with np.errstate(all="ignore"):
            found = np.square(self.gamma / scales) - self.variance
            hidden = np.where(np.isfinite(found), np.square(self.gamma / scales) * doubts, np.inf)
        clearest = np.argsort(hidden)[: max(_CLEAREST, len(found) // 4)]
        clearest = clearest[np.isfinite(hidden[clearest])]
        if not clearest.size:
            return None
        return min(max(float(np.median(found[clearest])), 0.0), _LARGEST_EPSILON)


@dataclass(slots=True)
class Norms:
    """The batch normalizations of a source model, found by the names of their vectors."""

    _groups: dict[int, list[dict[str, Stored]]] = field(default_factory=dict)
    _vectors: dict[int, list[Stored]] = field(default_factory=dict)
    _read: dict[int, list[_Norm]] = field(default_factory=dict)

    @classmethod
    def of(cls, source: Iterable[Stored]) -> "Norms":
        """Return those among a source model's tensors."""
        norms = cls()
        groups: dict[tuple[str, int], dict[str, Stored]] = {}
        for each in source:
            if each.shape != (each.size,):
                continue
            separator = "/" if "/" in each.name else "."
            prefix, _, last = each.name.rpartition(separator)
            if last in _ROLES:
                groups.setdefault((prefix, each.size), {})[_ROLES[last]] = each
            norms._vectors.setdefault(each.size, []).append(each)
        for group in (*groups.values(), *_numbered(norms._vectors)):
            if {"mean", "variance"} <= group.keys():
                norms._groups.setdefault(group["variance"].size, []).append(group)
        return norms

    def factor(self, values: np.ndarray) -> Fit | None:
        """Return what explains a vector of factors."""
        values = values.reshape(-1).astype(np.float64)
        norms = self._of(values.size)
        for norm in norms:
            if _too_many(np.sign(values) != np.sign(norm.gamma)):
                continue
            epsilon = norm.epsilon(values, np.ones(values.size))
            if epsilon is None:
                continue
            expected = norm.scale(epsilon)
            found = _fit(norm.named, expected, values, np.abs(expected))
            if found is not None:
                _to_end(norms, norm)
                return found
        return None

    def summand(self, values: np.ndarray) -> Fit | None:
        """Return what explains a vector of summands, without or with the bias of a convolution before."""
        values = values.reshape(-1).astype(np.float64)
        norms = self._of(values.size)
        if not norms:
            return None
        for bias in (np.zeros(values.size), *self._biases(values.size)):
            for norm in norms:
                with np.errstate(all="ignore"):
                    scales = (norm.beta - values) / (norm.mean - bias)
                    rounded = np.abs(values) + np.abs(norm.beta) + (np.abs(bias) + np.abs(norm.mean)) * np.abs(scales)
                    epsilon = norm.epsilon(scales, rounded / np.abs(norm.beta - values))
                if epsilon is None:
                    continue
                scale = norm.scale(epsilon)
                expected = norm.beta + (bias - norm.mean) * scale
                size = np.abs(norm.beta) + (np.abs(bias) + np.abs(norm.mean)) * np.abs(scale)
                found = _fit(norm.named, expected, values, size)
                if found is not None:
                    _to_end(norms, norm)
                    return found
        return None

    def _of(self, size: int) -> list[_Norm]:
        if size not in self._read:
            self._read[size] = [_norm(each) for each in self._groups.get(size, [])]
        return self._read[size]

    def _biases(self, size: int) -> Iterator[np.ndarray]:
        own = {each.name for group in self._groups.get(size, []) for each in group.values()}
        for each in self._vectors.get(size, []):
            last = each.name.replace("/", ".").rpartition(".")[2]
            if last.isdecimal() or (each.name not in own and _ROLES.get(last) == "beta"):
                yield each.read().astype(np.float64)


def _numbered(vectors: Mapping[int, Sequence[Stored]]) -> Iterator[dict[str, Stored]]:
    """Yield vectors that may be a normalization's, since they follow each other: `model.export` of Keras numbers them.

    A scale or a center may have been left out. What isn't a normalization explains nothing.
    """
    lists: dict[tuple[int, str], dict[int, Stored]] = {}
    for size, several in vectors.items():
        for each in several:
            prefix, _, last = each.name.rpartition("/")
            if last.isdecimal():
                lists.setdefault((size, prefix), {})[int(last)] = each
    for numbered in lists.values():
        for first in numbered:
            for roles in _SEQUENCES:
                group = {role: numbered.get(first + step) for step, role in enumerate(roles)}
                found = {role: each for role, each in group.items() if each is not None}
                if len(found) == len(roles):
                    yield found


def _norm(group: dict[str, Stored]) -> _Norm:
    size = group["variance"].size
    read = {role: each.read().astype(np.float64) for role, each in group.items()}
    return _Norm(
        named=group["variance"],
        gamma=read.get("gamma", np.ones(size)),
        beta=read.get("beta", np.zeros(size)),
        mean=read["mean"],
        variance=read["variance"],
    )


def _fit(named: Stored, expected: np.ndarray, values: np.ndarray, size: np.ndarray) -> Fit | None:
    """Return a vector that fits in most channels, None if it doesn't, or if what doesn't fit may be rounding."""
    with np.errstate(all="ignore"):
        apart = np.abs(values - expected) / size
    apart = np.where(values == expected, 0.0, apart)
    differing = ~(apart <= _NEAR)
    if values.size - differing.sum() < _FITTING or _too_many(differing):
        return None
    if len(np.unique(values)) < _FITTING or (differing & (apart <= _FAR * _NEAR)).any():
        return None
    return Fit(tensor=named, expected=expected, wrong=np.flatnonzero(differing))


def _too_many(differing: np.ndarray) -> bool:
    return int(np.count_nonzero(differing)) > max(1.0, _DIFFERING * differing.size)


def _to_end(norms: list[_Norm], found: _Norm) -> None:
    """Try a normalization last from now on: exporters keep the order, and use each once."""
    norms.sort(key=lambda each: each is found)
