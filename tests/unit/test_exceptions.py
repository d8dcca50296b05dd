"""Few values exceed their tolerance where a model is steep: a right fp16 passes, and what is wrong does not."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from navigator.records import Precision, Verdict
from navigator.verify.compare import verify
from navigator.verify.exceptions import transferred
from navigator.verify.sentences import sentence
from navigator.verify.tolerances import least_sqnr_db, tolerances, units_of
from tests.support.builders import a_model

RNG = np.random.default_rng(0)
COUNT = 4000


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-logits)), "float32")


def decided() -> np.ndarray:
    """Return logits of scores that are nearly all decided: far from 0, and two at 0."""
    logits = RNG.choice([-9.0, 9.0], COUNT) + RNG.normal(0, 1, COUNT)
    logits[:2] = 0
    return np.asarray(logits.reshape(4, -1))


def judged(
    reference: np.ndarray,
    value: np.ndarray,
    precision: Precision,
    given: Mapping[str, float] | None = None,
    rounded: Sequence[np.ndarray] | None = None,
) -> Verdict:
    model = a_model(fp16_rtol=given or {}, int8_atol=given or {})
    source = [("s", {"y": reference})]
    allowed = tolerances(model, precision, source)
    return verify(
        source,
        [("s", {"y": value})],
        atol=allowed.atol,
        rtol=allowed.rtol,
        units=units_of(model, precision, source),
        measured=precision is not Precision.FP32,
        least_sqnr_db=least_sqnr_db(model, precision, source),
        rounded=None if rounded is None else {"s": [{"y": each} for each in rounded]},
    )


@pytest.mark.parametrize(("precision", "error"), [(Precision.FP16, 0.2), (Precision.INT8, 1.0)])
def test_few_undecided_scores_may_exceed_their_tolerance_and_are_named(precision: Precision, error: float) -> None:
    logits = decided()
    verdict = judged(sigmoid(logits), sigmoid(logits + error), precision)

    assert verdict.passed
    assert verdict.comparisons[0].mismatched == 2
    (warning,) = verdict.warnings
    assert warning.startswith("'y': 2 of 4,000 scores exceed their tolerance, with errors of up to 0.")
    assert sentence(verdict.comparisons).startswith("all outputs within tolerance, except 2 values; largest error")


def many(scores: np.ndarray) -> None:
    # Of 4,000, more than 7 aren't chance if one of 1,000 may exceed its tolerance.
    scores.reshape(-1)[:12] += 0.1


def far(scores: np.ndarray) -> None:
    scores.reshape(-1)[0] += 0.45


def noisy(scores: np.ndarray) -> None:
    scores -= np.where(scores > 0.4, 0.03 * scores, 0).astype("float32")
    scores.reshape(-1)[0] -= 0.1


def lost(scores: np.ndarray) -> None:
    scores.reshape(-1)[0] = np.nan


@pytest.mark.parametrize("break_", [many, far, noisy, lost])
def test_wrong_scores_do_not_pass(break_: object) -> None:
    assert callable(break_)
    reference = sigmoid(decided())
    value = reference.copy()
    break_(value)
    noise = RNG.normal(0, 0.01, reference.shape).astype("float32") if break_ is noisy else 0
    assert not judged(reference, value + noise, Precision.FP16).passed


def test_only_scores_have_exceptions() -> None:
    logits = decided()
    value = logits.copy()
    value[0, 0] += 0.5
    assert not judged(logits, value, Precision.FP16).passed


@pytest.mark.parametrize("given", [{"": 0.0001}, {"y": 0.0001}])
@pytest.mark.parametrize("precision", [Precision.FP16, Precision.INT8])
def test_the_user_s_tolerance_has_no_exceptions(given: Mapping[str, float], precision: Precision) -> None:
    logits = decided()
    error = 0.2 if precision is Precision.FP16 else 1.0
    assert not judged(sigmoid(logits), sigmoid(logits + error), precision, given).passed


def test_fp32_has_no_exceptions() -> None:
    logits = decided()
    assert not judged(sigmoid(logits), sigmoid(logits + 0.2), Precision.FP32).passed


def shaken(value: np.ndarray, by: float, count: int = 2) -> list[np.ndarray]:
    """Return what a converted model returns if it rounds otherwise: most is the same, and three values in a hundred."""
    rng = np.random.default_rng(1)
    steep = np.arange(value.size).reshape(value.shape) % 100 < 3
    return [(value + steep * rng.uniform(-by, by, value.shape)).astype(value.dtype) for _ in range(count)]


def off(by: float, every: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Return logits, and the same of which some are off."""
    logits = np.random.default_rng(2).normal(0, 1, (4, 1000)).astype(np.float32)
    wrong = np.arange(logits.size).reshape(logits.shape) % every == 0
    return logits, (logits + wrong * np.float32(by)).astype(np.float32)


@pytest.mark.parametrize("by", [0.2, 2.0])
def test_what_other_rounding_changes_as_much_is_accepted_and_named(by: float) -> None:
    reference, value = off(by)
    verdict = judged(reference, value, Precision.FP16, rounded=shaken(value, by / 2))
    assert verdict.passed
    assert verdict.comparisons[0].mismatched > 30
    (warning,) = verdict.warnings
    assert "since the rounding of fp16 alone changes as much there" in warning


@pytest.mark.parametrize(
    ("by", "noise", "every"),
    [
        pytest.param(2.0, 0.2, 100, id="errors-larger-than-rounding"),
        pytest.param(1.0, 0.5, 2, id="errors-everywhere"),
        pytest.param(0.2, 0.0, 100, id="nothing-changed"),
        # All are rounding, but of an output that fp16 doesn't keep.
        pytest.param(1.0, 5.0, 20, id="too-many"),
    ],
)
def test_what_is_not_rounding_or_too_much_of_it_does_not_pass(by: float, noise: float, every: int) -> None:
    reference, value = off(by, every)
    assert not judged(reference, value, Precision.FP16, rounded=shaken(value, noise)).passed


def test_an_engine_is_not_held_against_runs_of_the_file_that_it_was_built_from() -> None:
    """They are right where the engine is wrong: that they differ from it isn't rounding."""
    reference, wrong = off(2.0)
    runs = [{"y": each} for each in shaken(reference, 0.001)]
    assert judged(reference, wrong, Precision.FP16, rounded=[run["y"] for run in runs]).passed  # taken for its own

    own = [run["y"] for run in transferred({"y": wrong}, runs)]
    assert not judged(reference, wrong, Precision.FP16, rounded=own).passed

    large = [{"y": each} for each in shaken(reference, 1.0)]
    assert judged(
        reference, wrong, Precision.FP16, rounded=[run["y"] for run in transferred({"y": wrong}, large)]
    ).passed
    assert transferred({"y": wrong}, large[:1]) == []


def test_without_a_run_of_the_sample_nothing_is_known_of_its_rounding() -> None:
    reference, value = off(0.2)
    assert not judged(reference, value, Precision.FP16, rounded=[]).passed


def test_rounding_that_shows_in_many_values_is_accepted_if_the_output_is_kept() -> None:
    reference, value = off(0.1, 20)
    assert judged(reference, value, Precision.FP16, rounded=shaken(value, 0.4)).passed
    assert not judged(reference, value + np.float32(0.05), Precision.FP16, rounded=shaken(value, 0.4)).passed


def test_scores_within_the_part_that_is_allowed_must_be_like_rounding_where_it_is_known() -> None:
    logits = decided()
    reference, value = sigmoid(logits), sigmoid(logits + 0.2)
    assert not judged(reference, value, Precision.FP16, rounded=[value, value]).passed
    assert judged(reference, value, Precision.FP16, rounded=[sigmoid(logits + 0.3)]).passed


@pytest.mark.parametrize("given", [{"": 0.0001}, {"y": 0.0001}])
def test_rounding_is_no_excuse_where_the_user_sets_a_tolerance(given: Mapping[str, float]) -> None:
    reference, value = off(0.2)
    assert not judged(reference, value, Precision.FP16, given, rounded=shaken(value, 0.2)).passed
