"""Slices of one output with different units: each is judged by its own range, whatever stands beside it."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from navigator.ranges import bounds, slice_bounds, spread
from navigator.records import Comparison, Precision, Slices, Tolerances, Verdict
from navigator.verify.compare import verify
from navigator.verify.sentences import part
from navigator.verify.slices import units
from navigator.verify.tolerances import tolerances, units_of
from tests.support.builders import a_model

RNG = np.random.default_rng(0)
BATCH, CLASSES, ANCHORS = 2, 6, 50


def a_head(axis: int = 1, boxes: float = 640.0, scores: float = 1.0) -> np.ndarray:
    """Return four rows of boxes and one of scores for each class, as YOLO has them, classes in `axis`."""
    rng = np.random.default_rng(0)
    sizes = np.array([boxes] * 4 + [scores] * CLASSES).reshape(1, -1, 1)
    rows = rng.random((BATCH, 4 + CLASSES, ANCHORS)) * sizes
    return np.ascontiguousarray(rows if axis == 1 else rows.transpose(0, 2, 1), dtype="float32")


def judged(
    reference: np.ndarray, value: np.ndarray, precision: Precision, int8_atol: Mapping[str, float] | None = None
) -> Verdict:
    model = a_model(int8_atol=int8_atol or {})
    source = [("s", {"y": reference})]
    allowed: Tolerances = tolerances(model, precision, source)
    apart = units_of(model, precision, source)
    return verify(source, [("s", {"y": value})], atol=allowed.atol, rtol=allowed.rtol, units=apart)


def indexes(arrays: Sequence[np.ndarray]) -> list[tuple[int, tuple[int, ...]]]:
    return [(unit.axis, unit.indexes) for unit in units(arrays)]


@pytest.mark.parametrize("axis", [1, 2])
def test_boxes_and_scores_are_two_units(axis: int) -> None:
    assert indexes([a_head(axis), a_head(axis)]) == [(axis, (0, 1, 2, 3)), (axis, (4, 5, 6, 7, 8, 9))]


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("precision", [Precision.FP16, Precision.INT8])
def test_broken_scores_beside_boxes_do_not_pass(axis: int, precision: Precision) -> None:
    reference = a_head(axis)
    value = reference.copy()
    scores = value[:, 4:] if axis == 1 else value[..., 4:]
    scores *= 0.03

    boxes, classes = judged(reference, value, precision).comparisons

    assert (boxes.passed, classes.passed) == (True, False)
    assert classes.slices == Slices(axis=axis, ranges=((4, 9),))
    assert classes.atol == pytest.approx(0.01 if precision is Precision.FP16 else 0.1, rel=0.1)
    assert classes.total == BATCH * CLASSES * ANCHORS
    assert classes.worst is not None
    at = classes.worst.index
    assert at[axis] >= 4
    assert (classes.worst.reference, classes.worst.value) == (float(reference[at]), float(value[at]))


@pytest.mark.parametrize("axis", [1, 2])
def test_right_fp16_passes(axis: int) -> None:
    reference = a_head(axis)
    value = reference.astype("float16").astype("float32")

    verdict = judged(reference, value, Precision.FP16)

    assert verdict.passed
    assert verdict.warnings == ()
    assert len(verdict.comparisons) == 2


def test_one_tolerance_is_not_suggested_for_two_units() -> None:
    reference = a_head()
    value = reference.copy()
    value[:, 4:] += 0.04

    verdict = judged(reference, value, Precision.FP16)

    assert not verdict.passed
    assert verdict.suggested is None
    (warning,) = verdict.warnings
    assert warning == (
        "'y' (4 to 9 of axis 1): no tolerance is suggested, since one for all of 'y' would be too wide for its "
        "narrowest slices"
    )


@pytest.mark.parametrize("given", [{"": 40.0}, {"y": 40.0}])
def test_the_user_s_tolerance_is_for_the_whole_output_and_says_what_it_hides(given: Mapping[str, float]) -> None:
    reference = a_head()
    value = reference.copy()
    value[:, 4:] = 0

    verdict = judged(reference, value, Precision.INT8, given)

    assert [each.slices for each in verdict.comparisons] == [None]
    assert verdict.passed
    (warning,) = verdict.warnings
    assert warning == (
        "'y' (4 to 9 of axis 1) vary by at most 0.99 each, less than their tolerance of 40, so that any value in "
        "that range passes; give them an output of their own or a narrower tolerance"
    )


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("precision", Precision)
def test_slices_that_no_error_can_leave_are_named_in_any_precision(axis: int, precision: Precision) -> None:
    sizes = np.full(200, 1e3)
    sizes[[7, 40]] = 1e-3  # too few to be a unit of their own
    sizes[50] = 0  # never active
    reference = (np.moveaxis(RNG.standard_normal((3, 9, 200)) * sizes, 2, axis)).astype("float32")
    source = [("s", {"y": reference})]
    atol = {"": 0.1} if precision is Precision.FP32 else tolerances(a_model(), precision, source).atol
    (warning,) = verify(source, source, atol=atol, rtol={"": 1e-5}).warnings
    assert warning.startswith(f"'y' (7, 40 of axis {axis % 3}) vary by at most 0.00")
    assert warning.endswith(
        "so that any value in that range passes; give them an output of their own or a narrower tolerance"
    )
    assert verify(source, source, atol={"": 0.0}, rtol={"": 1e-5}).warnings == ()


def test_only_the_first_of_many_narrow_slices_are_named() -> None:
    reference = RNG.standard_normal((5, 1000)) * np.where(np.arange(1000) % 3, 1.0, 1e-9)
    (warning,) = verify([("s", {"y": reference})], [("s", {"y": reference})], atol={}, rtol={}).warnings
    assert warning.startswith("'y' (0, 3, 6 and 331 more ranges of axis 1) vary by at most ")
    (one,) = verify(*[[("s", {"y": reference[:, 1:5]})]] * 2, atol={}, rtol={}).warnings
    assert one.startswith("'y' (2 of axis 1) varies by ")
    assert one.endswith("so that any value in that range passes; give it an output of its own or a narrower tolerance")


def test_narrow_slices_of_a_unit_are_named_by_their_own_numbers() -> None:
    sizes = np.array([640.0] * 4 + [1e-4] + [640.0] * 26 + [1.0] * 169)
    reference = (RNG.standard_normal((3, 9, 200)) * sizes).astype("float32")
    (warning,) = judged(reference, reference, Precision.INT8).warnings
    assert warning.startswith("'y' (4 of axis 2) varies by ")


@pytest.mark.parametrize("fill", [np.nan, np.inf, -1e9])
def test_the_range_of_a_slice_leaves_out_masks_and_what_is_not_finite(fill: float) -> None:
    values = RNG.uniform(-1, 1, (4, 6)).astype("float32")
    values[0] = fill
    low, high = slice_bounds([values, values[:0]], 1)
    assert np.array_equal(low, values[1:].min(0))
    assert np.array_equal(high, values[1:].max(0))
    assert bounds([values]) == (values[1:].min(), values[1:].max())
    assert bounds([np.full(3, fill, "float32"), values[:0]]) == ((-1e9, -1e9) if fill == -1e9 else (0.0, 0.0))
    assert bounds([values[1:, 1:3].reshape(6) * 1j + 3]) == (values[1:, 1:3].min(), 3.0)


def test_an_fp32_output_is_judged_as_one() -> None:
    head = a_head()
    (comparison,) = judged(head, head, Precision.FP32).comparisons
    assert comparison.slices is None
    with_problem = judged(head, np.full_like(head, np.nan), Precision.INT8).comparisons
    assert [(each.slices, bool(each.problem)) for each in with_problem] == [(None, True)]


@pytest.mark.parametrize(
    "arrays",
    [
        pytest.param([RNG.standard_normal((4, 1000))], id="logits"),
        pytest.param([RNG.standard_normal((2, 3)), RNG.standard_normal((2, 4))], id="sizes-that-differ"),
        pytest.param([RNG.standard_normal((2, 3)), RNG.standard_normal((2, 3, 1))], id="ranks-that-differ"),
        pytest.param([RNG.standard_normal(9) * 10.0 ** np.arange(9)], id="no-axis-but-the-batch"),
        pytest.param([RNG.random((1, 1, 8, 8)) * 10.0 ** np.arange(8)], id="height-and-width"),
        pytest.param([RNG.random((2, 100)) * np.where(np.arange(100) < 96, 1.0, 1e-6)], id="few-rarely-active"),
        pytest.param([np.zeros((2, 4))], id="constant"),
        pytest.param([np.tile([0.9, 0.09, 1e-3, 1e-6], (2, 1)) * [[1], [0.5]]], id="probabilities-of-rare-classes"),
        pytest.param([np.zeros((0, 4))], id="empty"),
        pytest.param([np.full((2, 4), np.inf)], id="infinite"),
        pytest.param([np.where(RNG.random((2, 9, 9)) < 0.5, -1e9, RNG.standard_normal((2, 9, 9)))], id="masked"),
    ],
)
def test_outputs_of_one_unit(arrays: Sequence[np.ndarray]) -> None:
    assert units(arrays) == ()


def test_scores_are_one_unit_whatever_is_narrower() -> None:
    head = a_head()
    head[:, 5] *= 1e-3
    head[:, 1] = head[:, 1] / 20_000 - 0.5
    assert indexes([head]) == [(1, (0, 2, 3)), (1, (4, 5, 6, 7, 8, 9)), (1, (1,))]


def test_constant_slices_are_judged_with_the_narrowest() -> None:
    head = a_head()
    head[:, [2, 9]] = 0
    assert indexes([head]) == [(1, (0, 1, 3)), (1, (2, 4, 5, 6, 7, 8, 9))]
    wide = judged(head, head, Precision.INT8).comparisons
    assert [each.slices for each in wide] == [
        Slices(axis=1, ranges=((0, 1), (3, 3))),
        Slices(axis=1, ranges=((2, 2), (4, 9))),
    ]


@pytest.mark.parametrize("mask", [-np.inf, -3.4e38, -1e9, -65504.0, -1e4, 1e9])
def test_masks_do_not_widen_the_tolerance(mask: float) -> None:
    logits = RNG.uniform(-5, 5, (4, 30, 7)).astype("float32")
    expected = spread([logits])
    masked = logits.copy()
    masked[:, 10:] = mask
    masked[0, 0, 0] = mask

    assert spread([masked]) <= expected <= 10
    assert spread([masked]) > 9
    assert judged(masked, masked, Precision.INT8).comparisons[0].atol == pytest.approx(1.0, rel=0.1)


def test_large_values_without_a_gap_are_no_masks() -> None:
    assert spread([np.linspace(-1e6, 1e6, 10_000)]) == 2e6
    assert spread([np.array([0.0, 50.0, 2e4, 9e4])]) == 9e4
    assert spread([np.array([0.0, 0.0, 2e4])]) == 2e4
    assert spread([np.full((3, 3), -1e9)]) == 0
    assert spread([]) == spread([np.zeros((0, 2))]) == 0


def test_titles_name_the_first_ranges_only() -> None:
    head = RNG.random((2, 20, 7)) * np.where(np.arange(20) % 2, 1.0, 640.0).reshape(1, -1, 1)
    value = head.copy()
    value[:, 1] = 9

    verdict = judged(head, value, Precision.INT8)

    (broken,) = (each for each in verdict.comparisons if not each.passed)
    assert isinstance(broken, Comparison)
    assert broken.slices == Slices(axis=1, ranges=tuple((each, each) for each in range(1, 20, 2)))
    assert verdict.warnings[0].startswith("'y' (1, 3, 5 and 7 more ranges of axis 1): errors of up to")


@given(st.integers(1, 5), st.integers(1, 5), st.floats(12, 9000), st.integers(0, 2**16))
def test_each_slice_is_in_exactly_one_unit(wide: int, narrow: int, ratio: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = np.concatenate([rng.uniform(0.9, 1, (wide, 1)) * ratio, rng.uniform(0.9, 1, (narrow, 1))])
    # Of the columns, hardly any is much narrower than others: these aren't the slices that differ most.
    array = rows * np.concatenate([np.zeros((1, 1)), rng.uniform(0.5, 1, (1, 30)), np.ones((1, 1))], axis=1)
    order = rng.permutation(len(array))

    found = units([array[order][np.newaxis]])

    assert [set(each.indexes) for each in found] == [
        set(np.flatnonzero(order < wide)),
        set(np.flatnonzero(order >= wide)),
    ]
    assert [each.spread for each in found] == pytest.approx([rows[:wide].max(), rows[wide:].max()])


@pytest.mark.parametrize(
    ("count", "told"), [(3, "0, 2, 4"), (4, "0, 2, 4 and 1 more range"), (5, "0, 2, 4 and 2 more ranges")]
)
def test_ranges_are_counted(count: int, told: str) -> None:
    ranges = tuple((2 * index, 2 * index) for index in range(count))
    assert part(Slices(axis=1, ranges=ranges)) == f" ({told} of axis 1)"
