"""Few scores exceed their tolerance where a sigmoid is steep: a right fp16 passes, and what is wrong does not."""

from collections.abc import Mapping

import numpy as np
import pytest

from navigator.records import Precision, Verdict
from navigator.verify.compare import verify
from navigator.verify.sentences import sentence
from navigator.verify.tolerances import scores_sqnr_db, tolerances, units_of
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
    reference: np.ndarray, value: np.ndarray, precision: Precision, given: Mapping[str, float] | None = None
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
        scores_sqnr_db=scores_sqnr_db(model, precision, source),
    )


@pytest.mark.parametrize(("precision", "error"), [(Precision.FP16, 0.2), (Precision.INT8, 1.0)])
def test_few_undecided_scores_may_exceed_their_tolerance_and_are_named(precision: Precision, error: float) -> None:
    logits = decided()
    verdict = judged(sigmoid(logits), sigmoid(logits + error), precision)

    assert verdict.passed
    assert verdict.comparisons[0].mismatched == 2
    (warning,) = verdict.warnings
    assert warning.startswith("'y': 2 of 4,000 scores exceed their tolerance, with errors of up to 0.")
    assert sentence(verdict.comparisons).startswith("all outputs within tolerance, except 2 scores; largest error")


def many(scores: np.ndarray) -> None:
    scores.reshape(-1)[:8] += 0.1


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
