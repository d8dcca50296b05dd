"""Samples for which rounding alone changes an output by more than any tolerance."""

import pytest

from navigator.verify.noise import FACTOR, Noise
from navigator.verify.unstable import disagreement, unlimited, warnings

USUAL = Noise(largest=1e-5, atol=5e-5)
FAR = Noise(largest=0.2, atol=1e-5, rejected=True)
APART = Noise(largest=1e-6, atol=1e-5, apart=0.3)


@pytest.mark.parametrize(("found", "largest"), [(FAR, 0.2), (APART, 0.3)])
def test_what_changes_by_far_in_one_sample_has_no_limit(found: Noise, largest: float) -> None:
    noise = unlimited({"y": USUAL, "z": USUAL}, {"y": found, "z": USUAL})

    assert noise == {"y": Noise(largest=largest, atol=FACTOR * largest)}
    (warning,) = warnings((disagreement("zeros", noise),))
    assert warning.startswith("sample zeros isn't compared: ")
    assert f"changes y by up to {largest}" in warning


@pytest.mark.parametrize("found", [FAR, APART])
@pytest.mark.parametrize("usual", [FAR, APART, None])
def test_what_ordinary_samples_show_as_well_excuses_none(usual: Noise | None, found: Noise) -> None:
    assert unlimited({"y": usual} if usual else {}, {"y": found}) == {}
