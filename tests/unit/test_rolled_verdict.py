"""The verdict on several steps: for how many of them models are compared, and what is said of a mismatch."""

import numpy as np
import pytest

from navigator.records import Precision, Tolerances, Verdict
from navigator.verify.noise import Noise
from navigator.verify.rolled import Rolled, joined, judge, over_steps
from tests.support.builders import a_model

STEPS = {"rolled_2": 2, "rolled_4": 4}
RNG = np.random.default_rng(0)
ONE = [("min", {"y": RNG.normal(size=(1, 64)).astype(np.float32)})]
MORE = [(name, {"y": RNG.normal(size=(1, 64)).astype(np.float32)}) for name in STEPS]


def away(*by: float) -> list[tuple[str, dict[str, np.ndarray]]]:
    """Return the outputs after several steps with something added."""
    return [(name, {"y": arrays["y"] + np.float32(more)}) for (name, arrays), more in zip(MORE, by, strict=True)]


def known(*noise: float) -> Rolled:
    return over_steps(ONE, MORE, away(*noise), STEPS, {"": 1e-5}, {})


def test_steps_are_compared_until_rounding_changes_too_much() -> None:
    assert list(known(0, 1e-6).noise) == ["rolled_2", "rolled_4"]
    assert known(0, 1e-6).note == ""
    assert list(known(1e-6, 0.5).noise) == ["rolled_2"]
    assert known(1e-6, 0.5).note == (
        "states: compared after up to 2 steps, since rounding alone changes y too much in step 4"
    )
    assert known(0.5, 0.5).note == (
        "states: compared only in single steps, since rounding alone changes y too much in step 2"
    )


@pytest.mark.parametrize(
    ("other", "ended"),
    [
        ({}, "rounding changes the shape of y"),
        ({"y": np.zeros((1, 63), np.int64)}, "rounding changes the shape of y"),
        ({"y": np.ones((1, 64), np.int64)}, "rounding alone changes y too much in step 2"),
    ],
)
def test_whole_numbers_and_shapes_must_not_depend_on_rounding(other: dict[str, np.ndarray], ended: str) -> None:
    whole = [("rolled_2", {"y": np.zeros((1, 64), np.int64)})]
    found = over_steps(whole, whole, [("rolled_2", other)], {"rolled_2": 2}, {"": 0.0}, {})
    assert (found.noise, found.ended.startswith(ended)) == ({}, True)


def test_noise_of_several_steps_widens_their_tolerance_alone() -> None:
    verdict = judge(a_model(), Precision.FP32, ONE, MORE, away(1e-6, 1e-4), known=known(0, 5e-5), single={})
    assert verdict is not None
    assert verdict.passed
    early = judge(a_model(), Precision.FP32, ONE, MORE, away(1e-4, 1e-4), known=known(0, 5e-5), single={})
    assert early is not None
    assert (early.passed, early.comparisons[0].worst and early.comparisons[0].worst.sample) == (False, "rolled_2")
    wide = {"y": Noise(largest=2e-5, atol=1e-4), "z": Noise(largest=1.0, atol=1e-5, rejected=True)}
    usual = judge(a_model(), Precision.FP32, ONE, MORE, away(1e-4, 1e-4), known=known(0, 5e-5), single=wide)
    assert usual is not None
    assert usual.passed
    (comparison,) = verdict.comparisons
    assert comparison.steps == (2, 4)
    assert comparison.noise == pytest.approx(5e-5, rel=1e-2)
    failed = judge(a_model(), Precision.FP32, ONE, MORE, away(1e-4, 1e-3), known=known(0, 5e-5), single={})
    assert failed is not None
    assert failed.warnings == ("'y': the error when the state is fed back is 0.0001 after 2, 0.001 after 4 steps",)


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16])
def test_an_output_that_is_empty_after_some_steps_matches_in_shape(precision: Precision) -> None:
    def with_boxes(*counts: int) -> list[tuple[str, dict[str, np.ndarray]]]:
        boxes = [np.ones((count, 4), np.float32) for count in counts]
        return [(name, {**arrays, "boxes": each}) for (name, arrays), each in zip(MORE, boxes, strict=True)]

    single = [("min", {**ONE[0][1], "boxes": np.ones((2, 4), np.float32)})]
    more = with_boxes(3, 0)
    alike = over_steps(single, more, more, STEPS, {"": 1e-5}, {})
    for converted, expected in ((more, True), (with_boxes(3, 1), False)):
        verdict = judge(a_model(), precision, single, more, converted, known=alike, single={})
        assert verdict is not None
        assert verdict.passed == expected


def test_a_strict_tolerance_is_used_where_rounding_leaves_room() -> None:
    strict = a_model(atol={"": 1e-5}, rtol={"": 0.0})
    verdict = judge(strict, Precision.FP32, ONE, MORE, away(0, 0), known=known(1e-7, 1e-4), single={})
    assert verdict is not None
    assert (verdict.comparisons[0].steps, verdict.comparisons[0].noise) == ((2,), None)


@pytest.mark.parametrize(
    ("precision", "noise", "steps"),
    [
        (Precision.FP16, 1e-7, (2, 4)),
        (Precision.FP16, 1e-5, (2,)),
        (Precision.INT8, 1e-6, (2, 4)),
        (Precision.INT8, 1e-5, (2,)),
    ],
)
def test_a_reduced_precision_is_compared_while_its_own_rounding_has_room(
    precision: Precision, noise: float, steps: tuple[int, ...]
) -> None:
    verdict = judge(a_model(), precision, ONE, MORE, away(0.01, 0.01), known=known(0, noise), single={})
    assert verdict is not None
    assert (verdict.passed, verdict.comparisons[0].steps) == (True, steps)
    assert judge(a_model(), precision, ONE, MORE, away(0, 0), known=known(1e-3, 1e-3), single={}) is None


def test_a_converted_model_that_stops_has_a_problem_only_where_it_is_compared() -> None:
    outputs, stopped = away(0, 0)[:1], "out of range"
    verdict = judge(a_model(), Precision.FP32, ONE, MORE, outputs, known=known(0, 0), single={}, stopped=stopped)
    assert verdict is not None
    assert verdict.comparisons[0].problem == "the state can't be fed back: out of range"
    verdict = judge(a_model(), Precision.FP32, ONE, MORE, outputs, known=known(0, 0.5), single={}, stopped=stopped)
    assert verdict is not None
    assert verdict.passed


def test_suggested_tolerances_pass_single_steps_and_several() -> None:
    def failing(atol: dict[str, float] | None) -> Verdict:
        found = judge(a_model(), Precision.FP32, ONE, MORE, away(0, 1e-3), known=known(0, 0), single={})
        assert found is not None
        suggested = None if atol is None else Tolerances(atol=atol, rtol={"y": 0.0})
        return Verdict(comparisons=found.comparisons, suggested=suggested)

    passing = judge(a_model(), Precision.FP32, ONE, MORE, away(0, 0), known=known(0, 0), single={})
    assert passing is not None
    one, other = failing({"y": 1e-3, "z": 1e-5}), failing({"y": 1e-2})
    assert joined(one, None) == one
    wider = joined(one, other).suggested
    assert wider is not None
    assert wider.atol == {"y": 1e-2, "z": 1e-5}
    assert joined(passing, other).suggested == other.suggested
    assert joined(failing(None), other).suggested is None
    assert joined(passing, passing).suggested is None
    assert len(joined(passing, other).comparisons) == 2
