"""Samples for which rounding alone changes what a source model returns, by more than any tolerance. Pure.

Silence is such a case: of energies that should all be equal, a normalization makes what rounding left of them.
"""

from collections.abc import Iterator, Mapping

from navigator.verify.devices import Disagreement
from navigator.verify.noise import FACTOR, Noise


def unlimited(usual: Mapping[str, Noise], found: Mapping[str, Noise]) -> dict[str, Noise]:
    """Return the noise of the outputs that rounding changes by far in one sample, and the tolerance made of it.

    Args:
        usual: the noise of ordinary samples. Where that has no limit either, or rows depend on each other, what one
            sample shows is no matter of its values.
        found: the noise of that sample alone.
    """
    far = {name: _far(usual[name], each) for name, each in found.items() if name in usual}
    return {name: Noise(largest=largest, atol=FACTOR * largest) for name, largest in far.items() if largest}


def disagreement(sample: str, noise: Mapping[str, Noise]) -> Disagreement:
    """Return the output that rounding changes most in a sample."""
    name = max(noise, key=lambda each: noise[each].largest)
    return Disagreement(sample, name, noise[name].largest)


def warnings(found: tuple[Disagreement, ...]) -> Iterator[str]:
    """Say which samples aren't compared."""
    for each in found:
        yield (
            f"sample {each.sample} isn't compared: there, the source model's own rounding changes {each.output} by up "
            f"to {each.largest:.2g}; what it returns for such inputs, such as silence, is decided by rounding alone"
        )


def _far(usual: Noise, found: Noise) -> float:
    if usual.rejected or usual.apart is not None:
        return 0.0
    return found.largest if found.rejected else found.apart or 0.0
