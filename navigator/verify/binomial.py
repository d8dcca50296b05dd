"""Exact facts about a number of hits among trials: how probable it is, and the upper confidence bound on its rate."""

import math

# Halvings of [0, 1], which leave less than the rounding of a float.
_STEPS = 60
_EXACT = 1e-14


def upper_bound(hits: int, trials: int, confidence: float = 0.95) -> float:
    """Return the largest rate at which so few hits aren't yet less likely than 1 - `confidence`; 1 without trials.

    One-sided and exact: C. J. Clopper, E. S. Pearson, The use of confidence or fiducial limits illustrated in the case
    of the binomial, Biometrika 26 (1934), 404-413.

    Args:
        hits: at least 0, at most `trials`.
        trials: at least 0.
        confidence: between 0 and 1.
    """
    if hits >= trials:
        return 1.0
    low, high = hits / trials, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        at_most = _beta(1 - middle, trials - hits, hits + 1)
        low, high = (middle, high) if at_most > 1 - confidence else (low, middle)
    return high


def at_least(hits: int, trials: int, rate: float) -> float:
    """Return the probability of `hits` or more among `trials` (https://dlmf.nist.gov/8.17#E5).

    Args:
        hits: at least 0, at most `trials`.
        trials: at least 0.
        rate: the probability of each hit, between 0 and 1.
    """
    return _beta(rate, hits, trials - hits + 1) if hits else 1.0


def _beta(x: float, a: int, b: int) -> float:
    """Return the regularized incomplete beta function I_x(a, b): the chance of at most b - 1 hits at the rate 1 - x.

    Its continued fraction, NIST Digital Library of Mathematical Functions, https://dlmf.nist.gov/8.17#E22
    """
    if x == 0:
        return 0.0
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(1 - x, b, a)
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(scale) / a * _fraction(x, a, b)


def _fraction(x: float, a: int, b: int) -> float:
    """Evaluate 1 / (1 + d1 / (1 + d2 / ...)) from the front, with the modified Lentz method, until it's exact."""
    above, below = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    value = below
    m = 0
    change = 0.0
    while abs(change - 1) > _EXACT:
        m += 1
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            below = 1 / (1 + term * below)
            above = 1 + term / above
            change = above * below
            value *= change
    return value
