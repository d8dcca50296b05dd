"""Weights in reduced precision beside those that they're made from: rounded to the nearest number, or wrong."""

from functools import partial
from typing import Any

import numpy as np
import pytest

from navigator.models.stored import Reduced, Stored
from navigator.records import Weights
from navigator.verify.reduced_weights import reduced

WEIGHT = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
HALF = WEIGHT.astype(np.float16)
# As int8, with a scale for each column.
SCALE = np.abs(WEIGHT).max(axis=0, keepdims=True) / np.float32(127)
STEPS = np.rint(WEIGHT / SCALE)


def source(**tensors: Any) -> list[Stored]:
    return [Stored(name, np.shape(each), partial(np.asarray, each)) for name, each in tensors.items()]


def judged(
    values: Any, steps: Any, origins: tuple[str, ...] = ("w",), known: list[Stored] | None = None
) -> tuple[Weights, list[tuple[Any, ...]]]:
    values = np.asarray(values)
    tensor = Reduced("made", origins, values.shape, lambda: (values, np.asarray(steps)))
    found = reduced(source(w=WEIGHT) if known is None else known, [tensor])
    return found, [(each.tensor, each.index, each.expected, each.value, each.differing) for each in found.wrong]


def half(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with np.errstate(invalid="ignore"):
        return values.astype(np.float32), np.spacing(np.abs(values)).astype(np.float32)


def test_what_is_rounded_to_the_nearest_number_is_right() -> None:
    for values, steps in (half(HALF), (STEPS * SCALE, SCALE), (WEIGHT, 0), (WEIGHT.astype(np.float64), 0)):
        found, wrong = judged(values, steps)
        assert (found.tensors, found.recognised, found.elements, found.recognised_elements) == (1, 1, 30, 30)
        assert not wrong


def test_a_number_two_steps_of_float16_away_is_wrong() -> None:
    away = HALF.copy()
    away[4, 3] = np.nextafter(np.nextafter(away[4, 3], np.float16(9)), np.float16(9))
    _, wrong = judged(*half(away))
    assert wrong == [("w", (4, 3), float(WEIGHT[4, 3]), float(away[4, 3]), 1)]


@pytest.mark.parametrize("factor", [1.01, 1.05, 0.5])
def test_a_factor_on_all_weights_is_wrong(factor: float) -> None:
    assert judged(*half((WEIGHT * factor).astype(np.float16)))[1]
    assert judged(np.rint(WEIGHT * factor / SCALE) * SCALE, SCALE)[1]
    assert judged(STEPS * SCALE * factor, SCALE * factor)[1]


def test_the_worst_number_is_named() -> None:
    values = WEIGHT.copy()
    values[1, 2] *= 1.001
    values[5, 0] *= 1.01
    found, wrong = judged(values, 0)
    assert [(index, differing) for _, index, _, _, differing in wrong] == [((5, 0), 2)]
    assert found.wrong[0].total == 30


def test_an_infinity_is_wrong_unless_it_is_the_source_models() -> None:
    away = HALF.copy()
    away[0, 0] = np.inf
    assert [each[3] for each in judged(*half(away))[1]] == ["inf"]
    endless = np.array([np.inf, -np.inf, np.nan, 70000, 1e-9], np.float32)
    with np.errstate(over="ignore"):
        narrow = endless.astype(np.float16)
    _, wrong = judged(*half(narrow), known=source(w=endless))
    assert [(index, expected, value) for _, index, expected, value, _ in wrong] == [((3,), 70000.0, "inf")]


def test_only_what_has_a_known_name_and_shape_is_judged() -> None:
    twice = source(w=WEIGHT) * 2
    for origins, known in ((("v",), None), (("w",), source(w=WEIGHT[:3])), (("w",), twice)):
        found, wrong = judged(WEIGHT + 1, 0, origins, known)
        assert (found.tensors, found.recognised, wrong) == (1, 0, [])
    # An axis of one may be lost, and the first known name counts.
    assert len(judged(WEIGHT[None] + 1, 0, ("v", "w"))[1]) == 1


def test_a_single_number_is_judged_by_its_name_alone() -> None:
    assert len(judged(np.float32(2), 0, known=source(w=np.float32(1)))[1]) == 1
    assert judged(np.float32(2), 0, ("v",))[0].tensors == 0


def test_large_tensors_are_compared_in_pieces() -> None:
    values = np.linspace(-1, 1, 2**20 + 5, dtype=np.float32)
    away = values.astype(np.float16)
    away[[7, -2]] *= 2
    _, wrong = judged(*half(away), known=source(w=values))
    assert [each[1:] for each in wrong] == [((7,), float(values[7]), float(away[7]), 2)]
