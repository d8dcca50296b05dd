from pathlib import Path

import numpy as np
import pytest

from navigator.records import ModelConfig, Precision, Tolerances
from navigator.verify.compare import verify
from navigator.verify.tolerances import rounding_limit, tolerances

REFERENCE = [
    ("min", {"logits": np.array([[-4.0, 0.0]], "float32"), "best": np.array([1])}),
    ("max", {"logits": np.array([[6.0, np.nan]], "float32"), "best": np.array([0])}),
]


def model(**keys: object) -> ModelConfig:
    return ModelConfig(model_name="m", model_path=Path("/m"), **keys)  # type: ignore[arg-type]


def test_fp32_has_the_configured_ones() -> None:
    configured = Tolerances(atol={"": 1e-4}, rtol={"logits": 0.0})

    assert tolerances(model(atol={"": 1e-4}, rtol={"logits": 0.0}), Precision.FP32, REFERENCE) == configured


@pytest.mark.parametrize(("precision", "atol", "rtol"), [("fp16", 0.1, 0.01), ("int8", 1.0, 0.1)])
def test_a_reduced_precision_is_measured_by_the_range_of_the_output(precision: str, atol: float, rtol: float) -> None:
    found = tolerances(model(), Precision(precision), REFERENCE)

    assert found.atol == {"logits": atol, "best": 1e-5}
    assert found.rtol == {"logits": rtol, "best": 0.0}


def test_a_wider_tolerance_of_the_user_s_is_not_narrowed() -> None:
    found = tolerances(model(atol={"": 0.2}, rtol={"": 0.3}), Precision.FP16, REFERENCE)

    assert found == Tolerances(atol={"logits": 0.2, "best": 0.2}, rtol={"logits": 0.3, "best": 0.3})


def test_what_is_given_for_the_precision_holds_also_where_it_is_narrow() -> None:
    one = tolerances(model(fp16_atol={"logits": 1e-9}, int8_atol={"": 7.0}), Precision.FP16, REFERENCE)
    every = tolerances(model(fp16_atol={"": 1e-9}, fp16_rtol={"": 0.0}), Precision.FP16, REFERENCE)

    assert one.atol == {"logits": 1e-9, "best": 1e-5}
    assert every == Tolerances(atol={"": 1e-9}, rtol={"": 0.0})


@pytest.mark.parametrize("precision", Precision)
def test_a_large_whole_number_that_is_one_off_is_another_one(precision: Precision) -> None:
    reference, converted = ([("opt", {"token": np.array([token, 7], "int64")})] for token in (120_000, 120_001))
    found = tolerances(model(), precision, reference)
    given = tolerances(model(rtol={"": 1e-5}), precision, reference)

    assert not verify(reference, converted, atol=found.atol, rtol=found.rtol).passed
    assert verify(reference, reference, atol=found.atol, rtol=found.rtol).passed
    assert verify(reference, converted, atol=given.atol, rtol=given.rtol).passed


def test_an_output_without_a_finite_value_has_no_range() -> None:
    nothing = [("min", {"y": np.full(3, np.nan, "float32"), "z": np.zeros((0, 2), "float32")})]

    assert tolerances(model(), Precision.FP16, nothing).atol == {"y": 1e-5, "z": 1e-5}


def test_int8_may_be_further_off_before_it_is_something_else() -> None:
    assert rounding_limit(Precision.FP32) == rounding_limit(Precision.FP16) < rounding_limit(Precision.INT8) < 0.5
