"""What scores decide: which outputs are scores, flips, the best few, and the user's limits."""

import math
from typing import Any

import numpy as np
import pytest

from navigator.records import Agreement, Decisions, Precision
from navigator.verify.binomial import upper_bound
from navigator.verify.compare import verify
from navigator.verify.decisions import Scores, decisions
from navigator.verify.gates import AT_LEAST, AT_MOST, applied, gates_of
from navigator.verify.sentences import sentence
from tests.support.builders import a_model

RNG = np.random.default_rng(0)
EVEN = np.full((3, 4), 0.25)


def compared(left: np.ndarray, right: np.ndarray, **options: Any) -> Any:
    """Return the verdict on an output named logits, with tolerances that all values are in."""
    runs = [[("s", {"logits": each})] for each in (left, right)]
    return verify(runs[0], runs[1], atol={"": 1e9}, rtol={}, measured=True, **options)


@pytest.mark.parametrize("axis", [1, 2])
def test_probabilities_decide_and_flips_are_bounded(axis: int) -> None:
    left = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]], "float32")
    right = np.array([[0.8, 0.2], [0.4, 0.6], [0.2, 0.8]], "float32")
    shaped = [each[np.newaxis] if axis == 2 else each.T[np.newaxis] for each in (left, right)]
    assert Scores().axis("y", [(shaped[0], shaped[1])]) == axis

    found = decisions([(shaped[0], shaped[1])], axis, 5)

    assert found is not None
    assert (found.count, found.flips, found.flips_at_most) == (3, 1, upper_bound(1, 3))
    assert (found.top_k, found.top_k_kept) == (None, None)
    first, second = 0.9 * math.log(9 / 8) + 0.1 * math.log(1 / 2), 0.6 * math.log(6 / 4) + 0.4 * math.log(4 / 6)
    assert found.divergence == pytest.approx((first + second) / 3, rel=1e-6)


@pytest.mark.parametrize(
    "values", [RNG.standard_normal((3, 4)), RNG.uniform(0, 0.9, (3, 4)), np.ones((3, 1)), np.ones(1), np.array(1.0)]
)
def test_other_numbers_decide_nothing(values: np.ndarray) -> None:
    assert Scores().axis("y", [(values, values)]) is None
    assert Scores().axis("y", []) is None


@pytest.mark.parametrize(
    ("name", "shape", "axes", "expected"),
    [
        ("logits", (2, 5), {}, 1),
        ("start_logits", (2, 7, 5), {}, 2),
        ("logits:0", (2, 5, 7, 7), {}, 1),
        ("logits", (2, 1), {}, None),
        ("catalogits", (2, 5), {}, None),
        ("y", (2, 5), {"y": -1}, 1),
        ("y", (2, 5, 3), {"y": 1}, 1),
        ("y", (2, 5), {"y": 2}, None),
        ("y", (2, 1), {"y": 1}, None),
        ("y", (5,), {"y": 0}, 0),
    ],
)
def test_scores_are_called_logits_or_declared(
    name: str, shape: tuple[int, ...], axes: dict[str, int], expected: int | None
) -> None:
    values = RNG.standard_normal(shape)
    assert Scores(axes=axes).axis(name, [(values, values)]) == expected


def test_logits_decide_and_have_no_divergence() -> None:
    found = decisions([(np.array([[1.0, 2.0, -np.inf]]), np.array([[3.0, 2.0, -np.inf]]))], 1, 5)
    assert found == Decisions(count=1, flips=1, flips_at_most=1.0)


def test_ties_are_no_flips_and_rows_with_nan_decide_nothing() -> None:
    left = np.array([[1.0, 1.0, 0.0], [np.nan, 1.0, 0.0]])
    right = np.array([[0.9, 1.0, 0.0], [0.0, 1.0, 0.0]])
    found = decisions([(left, right)], 1, 1)
    assert found is not None
    assert (found.count, found.flips) == (1, 0)
    assert decisions([(left[1:], right[1:])], 1, 5) is None


def test_the_best_few_are_kept_in_any_order() -> None:
    left = np.array([[5.0, 4.0, 3.0, 2.0, 1.0, 0.0]])
    for right, kept in (([4, 5, 3, 0, 1, 2], 1.0), ([5, 0, 3, 4, 1, 2], 2 / 3), ([0, 0, 0, 5, 5, 5], 0.0)):
        found = decisions([(left, np.array([right], float))], 1, 3)
        assert found is not None
        assert found.top_k == 3
        assert found.top_k_kept == pytest.approx(kept)
    tied = np.array([[5.0, 1.0, 1.0, 1.0, 0.0]])
    found = decisions([(tied, np.array([[5.0, 0.9, 1.0, 1.1, 0.0]]))], 1, 2)
    assert found is not None
    assert found.top_k_kept == 1


def test_gates_are_strict_and_name_what_is_beyond() -> None:
    left = RNG.standard_normal((50, 10))
    right = left + 0.1 * RNG.standard_normal((50, 10))
    free = compared(left, right)
    assert free.passed
    agreed = free.comparisons[0].agreement
    assert agreed is not None
    values = {name: measure(agreed) for name, measure in {**AT_LEAST, **AT_MOST}.items()}
    assert values.pop("divergence") is None
    for name, value in values.items():
        assert value is not None
        worse = 1.01 if name in AT_LEAST else 0.99
        assert compared(left, right, gates={name: value}).passed, name
        failed = compared(left, right, gates={name: value * worse, "divergence": 0.0})
        assert not failed.passed, name
        assert failed.suggested is None
        said = f"output 'logits': {name} is {value:.4g}, beyond your limit of {value * worse:g}"
        assert sentence(failed.comparisons) == said
        assert [gate.measure for gate in failed.comparisons[0].gates] == [name], "no probabilities, no divergence"


def test_gates_apply_to_their_precision_and_to_what_can_be_measured() -> None:
    model = a_model(fp16_gates={"cosine": 0.9}, int8_gates={"cosine": 0.5})
    assert [dict(gates_of(model, each)) for each in (Precision.FP16, Precision.INT8, Precision.FP32)] == [
        {"cosine": 0.9},
        {"cosine": 0.5},
        {},
    ]
    assert applied({"cosine": 0.9}, None) == ()
    assert applied(dict.fromkeys((*AT_LEAST, *AT_MOST), 0.5), Agreement(differing=0.1)) == ()
    assert compared(EVEN, EVEN, gates={"sqnr_db": 100.0}).passed, "no error, no noise"


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({"y": -1}, "scores: the model has no output 'y'; the model's outputs are logits"),
        ({"logits": 3}, "scores: 'logits' of shape [3, 4] and dtype float64 has no classes on axis 3"),
    ],
)
def test_scores_that_are_not_there_are_told(axes: dict[str, int], words: str) -> None:
    assert words in compared(EVEN, EVEN, scores=Scores(axes=axes)).warnings
