"""The verifier is seen to fail: each way an artifact can be wrong is dropped in and must be caught."""

import math
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from navigator.errors import ConfigurationError
from navigator.records import Comparison, Format, TensorSpec, Verdict, from_data, to_data
from navigator.verify.compare import verify
from navigator.verify.outputs import always_empty
from tests.support.builders import a_model

DEFAULT = {"": 1e-5}
Sets = list[tuple[str, dict[str, np.ndarray]]]


def check(
    reference: Any, value: Any, *, atol: float | dict[str, float] = 1e-5, rtol: float | dict[str, float] = 1e-5
) -> Verdict:
    """Verify one output `y` in one sample `s`."""
    return verify(
        [("s", {"y": np.asarray(reference)})],
        [("s", {"y": np.asarray(value)})],
        atol=atol if isinstance(atol, dict) else {"": atol},
        rtol=rtol if isinstance(rtol, dict) else {"": rtol},
    )


def only(verdict: Verdict) -> Comparison:
    (comparison,) = verdict.comparisons
    return comparison


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# The criterion


FLOATS = st.floats(-1e6, 1e6, width=32)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, max_side=5)
TOLERANCES = st.sampled_from([0.0, 1e-7, 1e-5, 1e-3, 0.5])


@given(st.data(), SHAPES, TOLERANCES, TOLERANCES, st.sampled_from(["f2", "f4", "f8", "i1", "u1", "i4", "i8", "?"]))
def test_the_verdict_is_numpy_isclose(
    data: st.DataObject, shape: tuple[int, ...], atol: float, rtol: float, dtype: str
) -> None:
    kind = np.dtype(dtype).kind
    elements: st.SearchStrategy[Any] = {
        "f": st.floats(-1000, 1000, width=16),
        "i": st.integers(-100, 100),
        "u": st.integers(0, 255),
        "b": st.booleans(),
    }[kind]
    reference = data.draw(hnp.arrays(dtype, shape, elements=elements))
    if data.draw(st.booleans()):
        value = data.draw(hnp.arrays(dtype, shape, elements=elements))
    else:
        value = (reference * data.draw(st.sampled_from([1, 1 + 1e-6, 1 + 1e-4]))).astype(dtype)

    comparison = only(check(reference, value, atol=atol, rtol=rtol))

    wide_reference, wide_value = reference.astype(np.float64), value.astype(np.float64)
    close = np.isclose(wide_value, wide_reference, atol=atol, rtol=rtol)
    assert comparison.passed == bool(close.all())
    assert comparison.mismatched == int((~close).sum())
    assert comparison.total == reference.size
    distance = np.abs(wide_value - wide_reference)
    assert comparison.max_abs_error == distance.max()
    assert comparison.mean_abs_error == pytest.approx(distance.mean())
    assert (comparison.reference_min, comparison.reference_max) == (reference.min(), reference.max())
    worst = distance - (rtol * np.abs(wide_reference) + atol)
    if comparison.worst is None:
        assert (reference == value).all()
    else:
        assert worst[comparison.worst.index] == worst.max()
        assert comparison.worst.reference == reference[comparison.worst.index]
        assert comparison.worst.value == value[comparison.worst.index]
    nonzero = wide_reference != 0
    if nonzero.any():
        assert comparison.max_rel_error == pytest.approx((distance[nonzero] / np.abs(wide_reference[nonzero])).max())
    else:
        assert comparison.max_rel_error is None


@pytest.mark.parametrize(
    ("dtype", "reference", "value"),
    [
        ("uint8", 0, 255),  # would wrap to 1
        ("uint8", 255, 0),
        ("int8", -128, 127),
        ("int64", 2**60, 2**60 + 1),  # the same number in float64
        ("int64", -(2**63), 2**63 - 1),
        ("uint64", 2**64 - 1, 2**64 - 2),
        ("bool", False, True),
        ("float16", -65504.0, 65504.0),  # the difference overflows float16
        ("float64", 1.0, 1.0 + 2**-52),
        ("float64", -1.7e308, 1.7e308),  # the difference overflows float64
        ("complex64", 1 + 1j, 1 - 1j),
    ],
)
def test_one_wrong_element_is_caught_in_any_dtype(dtype: str, reference: Any, value: Any) -> None:
    left = np.full((3, 4), reference, dtype)
    right = left.copy()
    right[1, 2] = value
    verdict = check(left, right, atol=0, rtol=0)

    comparison = only(verdict)
    assert not comparison.passed
    assert not verdict.passed
    assert (comparison.mismatched, comparison.total) == (1, 12)
    assert comparison.worst is not None
    assert comparison.worst.index == (1, 2)
    assert comparison.worst.sample == "s"
    if dtype != "complex64":
        assert comparison.worst.reference == reference
        assert comparison.worst.value == value
        assert type(comparison.worst.value) in (int, float, bool)
    assert comparison.max_abs_error is not None
    assert math.isfinite(comparison.max_abs_error)
    expected = abs(complex(value) - complex(reference)) if dtype == "complex64" else None
    if expected is None and abs(float(value)) < 1e300:
        expected = float(abs(value - reference)) if not isinstance(value, bool) else 1.0
    if expected is not None:
        assert comparison.max_abs_error == pytest.approx(expected)
    assert only(check(left, left, atol=0, rtol=0)).passed


def test_an_error_and_a_tolerance_beyond_float64_are_judged_as_numpy_judges_them() -> None:
    reference, value = np.array([1.7e308, 0.0]), np.array([-1.7e308, 0.0])
    with np.errstate(over="ignore", invalid="ignore"):
        expected = bool(np.isclose(value, reference, rtol=0.9, atol=1e308).all())
    assert check(reference, value, rtol=0.9, atol=1e308).passed is expected


def test_all_samples_count_and_the_worst_names_its_own() -> None:
    reference: Sets = [(name, {"y": noise(4, 3, seed=seed)}) for seed, name in enumerate(("min", "opt", "max"))]
    outputs: Sets = [(name, {"y": arrays["y"].copy()}) for name, arrays in reference]
    outputs[1][1]["y"][2, 1] += 0.5
    outputs[2][1]["y"][3, 0] += 0.25
    verdict = verify(reference, outputs, atol=DEFAULT, rtol=DEFAULT)

    comparison = only(verdict)
    assert (comparison.samples, comparison.total, comparison.mismatched) == (3, 36, 2)
    assert comparison.worst is not None
    assert (comparison.worst.sample, comparison.worst.index) == ("opt", (2, 1))
    assert comparison.worst.reference == float(reference[1][1]["y"][2, 1])
    assert comparison.worst.value == float(outputs[1][1]["y"][2, 1])
    assert comparison.max_abs_error == pytest.approx(0.5)
    assert comparison.mean_abs_error == pytest.approx(0.75 / 36)
    assert from_data(Verdict, to_data(verdict)) == verdict


def test_the_worst_element_is_the_one_furthest_beyond_its_own_tolerance() -> None:
    comparison = only(check([1000.0, 1.0], [1000.5, 1.1], atol=0, rtol=1e-3))
    assert comparison.mismatched == 1
    assert comparison.worst is not None
    assert comparison.worst.index == (1,)
    assert comparison.max_abs_error == 0.5


def test_tolerances_are_per_output_then_default_then_1e_5() -> None:
    arrays = {name: np.array([1.0, 2.0]) for name in ("a", "b")}
    off = {name: array + 5e-4 for name, array in arrays.items()}
    verdict = verify([("s", arrays)], [("s", off)], atol={"a": 1e-3, "": 1e-4}, rtol={"b": 0.0})
    assert [(c.output, c.passed, c.atol, c.rtol) for c in verdict.comparisons] == [
        ("a", True, 1e-3, 1e-5),
        ("b", False, 1e-4, 0.0),
    ]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1e-5])
def test_a_tolerance_that_could_not_fail_is_refused(bad: float) -> None:
    with pytest.raises(ConfigurationError, match=r"atol of 'y': expected a finite number of at least 0, got "):
        check([1.0], [2.0], atol={"y": bad})


def test_an_unknown_name_in_the_tolerances_is_told() -> None:
    verdict = check(noise(2, 3), noise(2, 3), atol={"": 1e-5, "prob": 1.0}, rtol={"logit": 1.0})
    assert verdict.passed
    assert verdict.warnings == (
        "atol: the model has no output 'prob'; the model's outputs are y",
        "rtol: the model has no output 'logit'; the model's outputs are y",
    )


# What is no evidence


def test_nothing_is_not_a_pass() -> None:
    nothing: list[Sets] = [[], [("s", {})]]
    for empty in nothing:
        verdict = verify(empty, empty, atol=DEFAULT, rtol=DEFAULT)
        assert not verdict.passed
        assert verdict.comparisons == ()
        assert verdict.warnings == ("the source model returned no outputs, so nothing was compared",)


def test_a_missing_output() -> None:
    y = noise(2, 3)
    verdict = verify([("s", {"y": y, "z": y})], [("s", {"y": y})], atol=DEFAULT, rtol=DEFAULT)
    assert [c.passed for c in verdict.comparisons] == [True, False]
    assert verdict.comparisons[1].problem == "missing in sample 's'; the converted model's outputs are y"
    assert verdict.comparisons[1].max_abs_error is None
    assert not verdict.passed


def test_all_outputs_missing() -> None:
    verdict = verify([("s", {"y": noise(2)})], [("s", {})], atol=DEFAULT, rtol=DEFAULT)
    assert only(verdict).problem == "missing in sample 's', which the converted model can't run; the log says why"
    assert not verdict.passed


def test_an_output_missing_in_one_sample_only() -> None:
    y = noise(2, 3)
    verdict = verify(
        [("a", {"y": y}), ("b", {"y": y}), ("c", {"y": y})],
        [("a", {"y": y}), ("b", {}), ("c", {})],
        atol=DEFAULT,
        rtol=DEFAULT,
    )
    assert not verdict.passed
    assert only(verdict).problem == (
        "missing in sample 'b', which the converted model can't run; the log says why (and in 1 more of 3 samples)"
    )


def test_an_extra_output() -> None:
    y = noise(2, 3)
    verdict = verify([("s", {"y": y})], [("s", {"y": y, "aux": y})], atol=DEFAULT, rtol=DEFAULT)
    assert [(c.output, c.passed) for c in verdict.comparisons] == [("y", True), ("aux", False)]
    assert verdict.comparisons[1].problem == "unexpected in sample 's'; the source model's outputs are y"
    assert not verdict.passed


@pytest.mark.parametrize("shape", [(6,), (1, 6), (3, 2), (2, 1), (2, 3, 1), (1, 3), ()])
def test_a_misshapen_output_even_if_it_would_broadcast(shape: tuple[int, ...]) -> None:
    verdict = check(np.ones((2, 3), np.float32), np.ones(shape, np.float32), atol=100)
    assert not verdict.passed
    assert only(verdict).problem == f"expected shape [2, 3] in sample 's', got {list(shape)}"


@pytest.mark.parametrize(("left", "right"), [("float32", "float16"), ("int64", "int32"), ("bool", "uint8")])
def test_a_wrongly_typed_output(left: str, right: str) -> None:
    verdict = check(np.ones(3, left), np.ones(3, right))
    assert not verdict.passed
    assert only(verdict).problem == f"expected dtype {left}, got {right}"


def test_strings_are_not_verified() -> None:
    verdict = check(np.array(["a"]), np.array(["a"]))
    assert not verdict.passed
    assert only(verdict).problem == "both have dtype <U1, but only numbers can be verified"


def test_an_empty_output() -> None:
    verdict = check(np.zeros((0, 4)), np.zeros((0, 4)))
    assert not verdict.passed
    assert only(verdict).problem.startswith(
        "both are empty in sample 's' (shape [0, 4]), which proves nothing; set samples"
    )


@pytest.mark.parametrize(("wrong", "word"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_one_non_finite_value_in_a_million(wrong: float, word: str, dtype: str) -> None:
    reference = np.random.default_rng(0).normal(size=(1000, 1000)).astype(dtype)
    value = reference.copy()
    value[567, 89] = wrong
    verdict = check(reference, value, atol=1e9, rtol=1e9)

    comparison = only(verdict)
    assert not verdict.passed
    assert comparison.problem == (
        "1 of 1000000 values are NaN or infinite in sample 's', first at [567, 89], but finite in the source model"
    )
    assert (comparison.mismatched, comparison.total) == (1, 1_000_000)
    assert comparison.worst is not None
    assert (comparison.worst.index, comparison.worst.value) == ((567, 89), word)
    assert comparison.worst.reference == float(reference[567, 89])
    assert comparison.max_abs_error == 0.0
    assert verdict.suggested is None


def test_nan_in_the_source_model_is_named_and_fails_even_if_both_agree() -> None:
    reference = noise(4, 5)
    reference[1, 2:4] = np.nan, -np.inf
    verdict = check(reference, reference.copy())
    assert not verdict.passed
    assert only(verdict).problem == (
        "the source model returns NaN for 1 of 20 values in sample 's', first at [1, 2], and NaN equals nothing; "
        "narrow value_ranges, set samples that the model is made for, or remove this output from the model if that is "
        "intended"
    )
    assert only(verdict).mismatched == 1


SPECIAL = st.sampled_from([0.0, 1.0, 1.00001, -2.5, np.inf, -np.inf, np.nan])


@given(
    # NumPy 1 multiplies complex infinities, which makes them NaN.
    st.sampled_from(["f2", "f4", "f8"] if np.__version__.startswith("1.") else ["f2", "f4", "f8", "c8"]),
    hnp.arrays("f8", (3, 4), elements=SPECIAL),
    hnp.arrays("f8", (3, 4), elements=SPECIAL),
    st.lists(st.booleans(), min_size=12, max_size=12),
)
def test_infinities_and_nan_are_judged_by_numpy_isclose(
    dtype: str, reference: np.ndarray, other: np.ndarray, changed: list[bool]
) -> None:
    value = np.where(np.reshape(changed, (3, 4)), other, reference)
    left, right = reference.astype(dtype), value.astype(dtype)
    verdict = check(left, right, atol=1e-3, rtol=0)
    comparison = only(verdict)
    wide = "c16" if dtype == "c8" else "f8"
    close = np.isclose(right.astype(wide), left.astype(wide), atol=1e-3, rtol=0)
    assert comparison.passed is bool(close.all())
    assert comparison.mismatched == int((~close).sum())
    assert from_data(Verdict, to_data(verdict)) == verdict


def test_equal_infinities_match_and_are_counted() -> None:
    reference = noise(4, 10)
    reference[:, 3:5] = -np.inf, np.inf
    value = reference + np.float32(1e-7)
    verdict = check(reference, value)
    comparison = only(verdict)
    assert verdict.passed
    assert (comparison.mismatched, comparison.total) == (0, 40)
    finite = np.isfinite(reference)
    assert comparison.reference_max == reference[finite].max()
    (warning,) = verdict.warnings
    assert warning == (
        "'y': 8 of 40 values are infinite, and the same in both models; if you don't expect infinities, set samples or "
        "value_ranges that the model is made for"
    )


@pytest.mark.parametrize("wrong", [np.inf, 0.0, -1e30])
def test_another_value_than_the_infinity_of_the_source_model(wrong: float) -> None:
    reference = noise(4, 10)
    reference[2:, 3] = -np.inf
    value = reference.copy()
    value[3, 3] = wrong
    comparison = only(check(reference, value, atol=1e300, rtol=1e300))
    assert comparison.problem == (
        "1 of 40 values are infinite in the source model in sample 's', first at [3, 3], but not the same in the "
        "converted model"
    )
    assert comparison.worst is not None
    assert (comparison.worst.index, comparison.worst.reference) == ((3, 3), "-inf")


def test_nan_at_the_first_place_is_no_match_beside_infinities() -> None:
    reference = np.full((4, 5), -np.inf, "float32")
    reference[:, 1:3] = noise(4, 2)
    value = reference.copy()
    value[0, 0] = np.nan
    for left, right in ((reference, value), (value, reference), (value, value.copy())):
        assert not check(left, right, atol=1e9, rtol=1e9).passed


def test_wholly_infinite_outputs_match_with_a_warning() -> None:
    verdict = check(np.full((2, 3), -np.inf), np.full((2, 3), -np.inf))
    comparison = only(verdict)
    assert verdict.passed
    assert (comparison.max_abs_error, comparison.reference_min, comparison.reference_max) == (0.0, None, None)
    assert "6 of 6 values are infinite" in verdict.warnings[0]


def test_a_mismatch_beside_infinities_has_a_suggestion_that_passes() -> None:
    reference = np.linspace(0, 1, 50)
    reference[[0, 7]] = -np.inf, np.inf
    value = reference + 1e-3
    suggested = check(reference, value).suggested
    assert suggested is not None
    assert check(reference, value, atol=dict(suggested.atol), rtol=dict(suggested.rtol)).passed


def test_a_sample_of_infinities_alone_adds_nothing_to_a_suggestion() -> None:
    reference, endless = np.linspace(0, 1, 50), np.full(50, np.inf)
    samples = [("a", {"y": reference}), ("b", {"y": endless})]
    converted = [("a", {"y": reference + 1e-3}), ("b", {"y": endless})]
    alone = check(reference, reference + 1e-3).suggested
    assert alone is not None
    assert verify(samples, converted, atol={"": 1e-5}, rtol={"": 1e-5}).suggested == alone


def test_an_infinity_that_never_moves_does_not_hide_an_output_without_effect() -> None:
    row = np.array([[-np.inf, 1.0, 2.0, 3.0]])
    warnings = check(np.repeat(row, 3, axis=0), np.repeat(row, 3, axis=0)).warnings
    assert "is the same for all inputs" in warnings[1]
    moving = np.array([[-np.inf, 1.0, 2.0], [1.0, -np.inf, 2.0]])
    assert len(check(moving, moving).warnings) == 1


def test_an_output_that_never_has_an_element_matches_in_shape_and_dtype() -> None:
    left: Sets = [("s", {"y": noise(3, 4), "cache": noise(3, 0)})]
    assert verify(left, left, atol=DEFAULT, rtol=DEFAULT, empty={"cache"}).passed
    assert not verify(left, left, atol=DEFAULT, rtol=DEFAULT).passed
    wrong: Sets = [("s", {"y": noise(3, 4), "cache": noise(4, 0)})]
    assert not verify(left, wrong, atol=DEFAULT, rtol=DEFAULT, empty={"cache"}).passed


@pytest.mark.parametrize(
    ("model_format", "shapes", "expected"),
    [
        (Format.ONNX, {"y": (-1, 3), "cache": (-1, 0), "unknown": None}, {"cache"}),
        (Format.ONNX, {"cache": (-1, 0), "more": (0,)}, set()),
        # What it returned so far.
        (Format.TORCHSCRIPT, {"y": (-1, 3), "cache": (-1, 0)}, set()),
    ],
)
def test_which_outputs_never_have_an_element(
    model_format: Format, shapes: dict[str, tuple[int, ...] | None], expected: set[str]
) -> None:
    outputs = [TensorSpec(name=name, shape=shape, dtype="float32") for name, shape in shapes.items()]
    assert always_empty(a_model(model_format), outputs) == expected


def test_a_user_may_say_that_an_output_never_has_an_element() -> None:
    outputs = [TensorSpec(name=name, shape=shape, dtype="float32") for name, shape in {"y": (3,), "c": (0,)}.items()]
    assert always_empty(a_model(Format.TORCHSCRIPT, outputs=tuple(outputs)), outputs) == {"c"}


def test_equal_empty_outputs_match_where_another_sample_has_elements() -> None:
    full, empty = noise(3, 4), noise(0, 4)
    sets: Sets = [("none", {"y": empty}), ("some", {"y": full})]
    verdict = verify(sets, sets, atol=DEFAULT, rtol=DEFAULT)
    assert (verdict.passed, only(verdict).total, verdict.warnings) == (True, 12, ())
    for wrong in (noise(1, 4), noise(0, 5), noise(0)):
        assert not verify(sets, [("none", {"y": wrong}), sets[1]], atol=DEFAULT, rtol=DEFAULT).passed
    other = [sets[0], ("some", {"y": full + 1})]
    verdict = verify(sets, other, atol=DEFAULT, rtol=DEFAULT)
    worst = only(verdict).worst
    assert not verdict.passed
    assert worst is not None
    assert worst.sample == "some"


def test_wholly_non_finite_outputs_have_no_errors() -> None:
    comparison = only(check(np.full(3, np.nan), np.full(3, np.nan)))
    assert not comparison.passed
    assert (comparison.max_abs_error, comparison.mean_abs_error, comparison.reference_min) == (None, None, None)


@pytest.mark.parametrize("order", [["a"], ["b", "a"], ["a", "b", "c"], ["a", "x"], []])
def test_other_samples_than_the_reference(order: list[str]) -> None:
    y = noise(2, 3)
    verdict = verify(
        [("a", {"y": y}), ("b", {"y": y})], [(name, {"y": y}) for name in order], atol=DEFAULT, rtol=DEFAULT
    )
    assert not verdict.passed
    assert only(verdict).problem == (f"expected outputs for the samples a, b, got {', '.join(order) or 'none'}")


def test_swapped_outputs_are_a_mismatch_without_suggested_tolerances() -> None:
    a, b = noise(4, 10, seed=1), noise(4, 10, seed=2)
    verdict = verify([("s", {"a": a, "b": b})], [("s", {"a": b, "b": a})], atol=DEFAULT, rtol=DEFAULT)
    assert [c.passed for c in verdict.comparisons] == [False, False]
    assert verdict.suggested is None
    assert "'a': errors of up to " in verdict.warnings[0]
    assert "no tolerance would be meaningful, since the converted model computes something else" in verdict.warnings[0]


def test_a_transposed_output_of_equal_size() -> None:
    y = noise(16, 16)
    verdict = check(y, y.T)
    assert not verdict.passed
    assert only(verdict).mismatched == 16 * 15
    assert verdict.suggested is None


def test_one_wrong_element_of_a_million() -> None:
    reference = noise(1000, 1000)
    value = reference.copy()
    value[999, 999] += 0.01
    comparison = only(check(reference, value))
    assert (comparison.passed, comparison.mismatched) == (False, 1)
    assert comparison.worst is not None
    assert comparison.worst.index == (999, 999)


@pytest.mark.parametrize("view", [lambda a: a.T, lambda a: a[::2], lambda a: a[:, ::-1], np.asfortranarray])
def test_any_memory_layout_is_compared_in_place(view: Any) -> None:
    reference = view(noise(400, 300))
    value = np.ascontiguousarray(reference)
    assert check(reference, value).passed
    value[5, 7] += 1
    comparison = only(check(reference, value))
    assert comparison.mismatched == 1
    assert comparison.worst is not None
    assert comparison.worst.index == (5, 7)


# Suggested tolerances


@given(
    st.sampled_from(["f2", "f4", "f8", "i4", "i8", "u1"]),
    st.integers(-30, 30),
    st.floats(1e-9, 0.02),
    st.integers(0, 2**32),
    st.booleans(),
)
def test_suggested_tolerances_pass(dtype: str, exponent: int, error: float, seed: int, relative: bool) -> None:
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        limit = {2: 3, 4: 30, 8: 30}[np.dtype(dtype).itemsize]
        scale = 10.0 ** max(-limit, min(limit, exponent))
        reference = rng.normal(size=(3, 50)) * scale
        value = reference + (reference if relative else scale) * error * rng.uniform(-1, 1, size=reference.shape)
        reference, value = reference.astype(dtype), value.astype(dtype)
    else:
        reference = rng.integers(0, 200, size=(3, 50)).astype(dtype)
        value = reference + rng.integers(0, 2, size=reference.shape).astype(dtype)
    first = check(reference, value, atol=0, rtol=0)
    if first.passed:
        assert first.suggested is None
        return
    spread = float(reference.max()) - float(reference.min())
    comparison = only(first)
    assert comparison.max_abs_error is not None
    if comparison.max_abs_error > 0.05 * spread or dtype in ("i4", "i8"):
        assert first.suggested is None
        return
    assert first.suggested is not None
    again = check(reference, value, atol=dict(first.suggested.atol), rtol=dict(first.suggested.rtol))
    assert again.passed
    # Tight: nothing near the outputs' spread is let through.
    assert first.suggested.atol["y"] <= 1.1 * comparison.max_abs_error
    assert first.suggested.rtol["y"] <= 1e-2


@given(hnp.arrays("f8", 20, elements=st.floats(-1e300, 1e300)), hnp.arrays("f8", 20, elements=st.floats(-1e300, 1e300)))
def test_a_suggestion_holds_or_is_not_made_whatever_the_numbers(reference: np.ndarray, value: np.ndarray) -> None:
    suggested = check(reference, value).suggested
    if suggested is not None:
        assert check(reference, value, atol=dict(suggested.atol), rtol=dict(suggested.rtol)).passed


def test_a_suggestion_has_two_digits_and_is_as_tight_as_that_allows() -> None:
    reference = np.linspace(-1, 1, 101)
    value = reference.copy()
    value[50] += 0.00123
    suggested = check(reference, value, atol={"": 1e-5}, rtol={"": 0.0}).suggested
    assert suggested is not None
    assert (suggested.atol, suggested.rtol) == ({"": 1e-5, "y": 0.0013}, {"": 0.0, "y": 0.0})


def test_an_exact_two_digit_error_is_not_rounded_up() -> None:
    value = np.arange(100.0)
    value[7] += 1
    suggested = check(np.arange(100.0), value, atol=0, rtol=0).suggested
    assert suggested is not None
    assert (suggested.atol["y"], suggested.rtol["y"]) == (1.0, 0.0)


@pytest.mark.parametrize(("dtype", "suggested"), [("int64", False), ("uint16", False), ("uint8", True)])
def test_whole_numbers_that_may_be_ids_get_no_tolerance(dtype: str, suggested: bool) -> None:
    value = np.arange(100, dtype=dtype)
    value[7] += 1
    verdict = check(np.arange(100, dtype=dtype), value, atol=0, rtol=0)
    assert not verdict.passed
    assert (verdict.suggested is not None) == suggested
    assert any("no tolerance is suggested for whole numbers" in each for each in verdict.warnings) != suggested


def test_relative_errors_get_a_relative_tolerance() -> None:
    reference = np.geomspace(1e-3, 1e3, 100)
    suggested = check(reference, reference * (1 + 5e-5), atol=1e-9, rtol=1e-9).suggested
    assert suggested is not None
    assert suggested.rtol["y"] == 1e-4
    assert suggested.atol["y"] == 0.0


def test_a_suggestion_for_outputs_of_a_tiny_range() -> None:
    reference = np.linspace(0, 1e-9, 50)
    value = reference + 1e-12
    suggested = check(reference, value, atol=0, rtol=0).suggested
    assert suggested is not None
    assert suggested.atol["y"] <= 1.1e-12


def test_only_failed_outputs_get_new_tolerances() -> None:
    a, b, c = np.linspace(0, 1, 50), np.linspace(0, 9, 50), np.linspace(0, 5, 50)
    verdict = verify(
        [("s", {"a": a, "b": b, "c": c})],
        [("s", {"a": a + 1e-3, "b": b + 1e-3, "c": c})],
        atol={"a": 0.01, "gone": 3.0},
        rtol={"": 0.0},
    )
    assert verdict.suggested is not None
    assert verdict.suggested.atol == {"": 1e-5, "a": 0.01, "b": pytest.approx(0.001, rel=0.11)}
    assert verdict.suggested.rtol == {"": 0.0, "b": 0.0}


def test_no_suggestion_if_one_output_cannot_be_explained() -> None:
    y = np.linspace(0, 1, 50)
    verdict = verify([("s", {"y": y, "z": y})], [("s", {"y": y + 1e-3})], atol=DEFAULT, rtol=DEFAULT)
    assert verdict.suggested is None


# Where a pass proves little


def test_a_tolerance_wider_than_the_outputs() -> None:
    y = noise(2, 50)
    verdict = check(y, y, atol=100)
    assert verdict.passed
    (warning,) = verdict.warnings
    assert warning == (
        f"'y': the tolerance (atol 100, rtol 1e-05) is wider than its range [{y.min():.6g}, {y.max():.6g}], "
        "so that any model with outputs in that range passes"
    )


def test_probabilities_of_an_untrained_classifier() -> None:
    y = np.float32(1e-3) + noise(2, 1000) * np.float32(1e-8)
    (warning,) = check(y, y).warnings
    assert "is wider than its range" in warning


def test_a_constant_output() -> None:
    (warning,) = check(np.full((4, 3), 0.25), np.full((4, 3), 0.25)).warnings
    assert warning == (
        "'y' is 0.25 everywhere, so that a match proves little; set samples or value_ranges that make it vary"
    )


def test_equal_rows_of_a_batch() -> None:
    row = noise(1, 100)
    (warning,) = check(np.repeat(row, 8, axis=0), np.repeat(row, 8, axis=0)).warnings
    assert warning == (
        "'y' is the same for all inputs, so that a match proves little; set samples or value_ranges that make it vary"
    )


def test_one_text_for_all_inputs_has_no_size() -> None:
    label = np.tile(noise(1, 64) > 0, (8, 1))
    (warning,) = check(label, label).warnings
    assert warning.startswith("'y' is the same for all inputs, so that ")


def test_rows_that_differ_less_than_the_tolerance() -> None:
    y = noise(1, 100) + noise(8, 100, seed=1) * np.float32(1e-4)
    (warning,) = check(y, y, atol=1e-2).warnings
    assert warning.startswith("'y' hardly depends on the inputs: it varies by ")
    assert ", less than its tolerance; " in warning
    assert check(y, y).warnings == ()


def test_equal_outputs_of_samples_of_one_shape_though_rows_differ() -> None:
    table: Sets = [(name, {"y": noise(6, 6)}) for name in ("min", "random_0")]
    (warning,) = verify(table, table, atol=DEFAULT, rtol=DEFAULT).warnings
    assert warning.startswith("'y' is the same for all inputs")


def test_equal_rows_of_samples_of_different_batch() -> None:
    row = noise(1, 10)
    sets: Sets = [("min", {"y": row}), ("max", {"y": row.copy()[[0, 0, 0]]})]
    (warning,) = verify(sets, sets, atol=DEFAULT, rtol=DEFAULT).warnings
    assert warning.startswith("'y' is the same for all inputs")


def test_one_sample_that_differs_from_longer_ones_is_enough() -> None:
    row = noise(1, 10)
    sets: Sets = [(str(count), {"y": np.repeat(row, count, axis=0)}) for count in (1, 64, 32)]
    assert len(verify(sets, sets, atol=DEFAULT, rtol=DEFAULT).warnings) == 1
    sets.append(("compared", {"y": noise(2, 10, seed=1)}))
    assert verify(sets, sets, atol=DEFAULT, rtol=DEFAULT).warnings == ()


def test_outputs_that_depend_on_the_inputs_and_single_ones_give_no_warning() -> None:
    for arrays in (
        [noise(1, 10), noise(4, 10, seed=1)],
        [noise(1, 10)],
        [noise(5, seed=1), noise(5, seed=2)],
        [np.array(3.5)],
        [np.array(3.5), np.array(2.5)],
        [np.array([[3], [1]])],
        [np.array([True, False, True])],
        [np.asfortranarray(noise(30, 40))],
        [noise(4, 2).view(np.complex64)],
    ):
        sets: Sets = [(str(number), {"y": array}) for number, array in enumerate(arrays)]
        verdict = verify(sets, sets, atol=DEFAULT, rtol=DEFAULT)
        assert verdict.passed
        assert verdict.warnings == ()


# Cost


def test_mapped_files_are_compared_in_bounded_memory(tmp_path: Path) -> None:
    count = 4_000_000
    reference = np.random.default_rng(0).normal(size=count).astype(np.float32)
    np.save(tmp_path / "reference.npy", reference)
    np.save(tmp_path / "value.npy", reference + np.float32(1e-3))
    del reference
    left, right = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("reference", "value"))
    tracemalloc.start()
    try:
        verdict = check(left, right)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert only(verdict).mismatched > 0.9 * count
    assert peak < 16 * 2**20


# The user's metric


def test_an_overruled_output_passes_and_says_so_unless_it_cannot_be_compared() -> None:
    source, value = np.arange(6.0), np.arange(6.0) + 3
    for wrong, passed in ((value, True), (value[:5], False), (np.full(6, np.nan), False)):
        verdict = verify(
            [("s", {"y": source, "z": source})],
            [("s", {"y": wrong, "z": source})],
            atol=DEFAULT,
            rtol=DEFAULT,
            overruled={"y", "z"},
        )
        y, z = verdict.comparisons
        assert (y.passed, y.overruled) == (passed, passed)
        assert (z.passed, z.overruled) == (True, False)
        assert verdict.suggested is None
