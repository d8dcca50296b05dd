from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navigator.records import (
    CellResult,
    Comparison,
    Device,
    Format,
    MetricOutcome,
    MetricResult,
    ModelConfig,
    OutputModel,
    State,
    TensorSpec,
    Verdict,
    Weights,
    WrongWeight,
    from_data,
    to_data,
)
from tests.support.builders import a_comparison, a_converted_model, a_result

GOOD = a_comparison()
MADE = a_converted_model()


def passed(
    *,
    output_model: OutputModel | None = MADE,
    expected: tuple[str, ...] = ("y",),
    comparisons: tuple[Comparison, ...] = (GOOD,),
    metrics: tuple[MetricResult, ...] = (),
    weights: Weights | None = None,
) -> CellResult:
    evidence: dict[str, Any] = {"comparisons": comparisons, "metrics": metrics, "weights": weights}
    return a_result(expected_outputs=expected, output_model=output_model, **evidence)


def test_passed_with_an_artifact_and_a_comparison_per_output_can_be_constructed() -> None:
    assert State.PASSED is passed().status.state


def test_passed_needs_an_artifact() -> None:
    with pytest.raises(ValueError, match="passed without an artifact"):
        passed(output_model=None)


@pytest.mark.parametrize(
    ("expected", "comparisons"),
    [
        ((), ()),
        (("y",), ()),
        (("y", "z"), (GOOD,)),
        ((), (GOOD,)),
        (("z",), (GOOD,)),
    ],
)
def test_passed_needs_a_passing_comparison_for_every_output_of_the_source(
    expected: tuple[str, ...], comparisons: tuple[Comparison, ...]
) -> None:
    with pytest.raises(ValueError, match="passed without a passing comparison per output"):
        passed(expected=expected, comparisons=comparisons)


def a_metric(outcome: MetricOutcome, device: Device = Device.CPU) -> MetricResult:
    values: dict[str, Any] = {"source": 1, "converted": 1, "fraction": 1, "at_least": 1, "at_most": 1}
    return MetricResult(name="accuracy", outcome=outcome, target=0.99, items=300, device=device, **values)


def test_passed_needs_a_metric_that_keeps_its_target_where_it_overrules() -> None:
    overruled = a_comparison(overruled=True)
    kept = a_metric(MetricOutcome.KEPT)

    assert passed(comparisons=(overruled,), metrics=(kept,)).comparisons == (overruled,)
    # Where comparisons match by themselves, they're the proof.
    assert passed(metrics=(a_metric(MetricOutcome.UNPROVEN),)).comparisons == (GOOD,)
    for comparison, metrics in (
        (GOOD, (a_metric(MetricOutcome.LOST),)),
        (GOOD, (kept, a_metric(MetricOutcome.LOST, Device.CUDA))),
        (overruled, ()),
        (overruled, (a_metric(MetricOutcome.UNPROVEN),)),
        (overruled, (a_metric(MetricOutcome.KEPT, Device.CUDA),)),
    ):
        with pytest.raises(ValueError, match="passed with a metric that doesn't keep its target"):
            passed(comparisons=(comparison,), metrics=metrics)


def test_passed_cannot_hold_a_failing_comparison() -> None:
    extra = Comparison(output="extra", passed=False, atol=0, rtol=0, samples=1, problem="not an output of the source")

    with pytest.raises(ValueError, match="passed with a failing comparison"):
        passed(comparisons=(GOOD, extra))


def test_a_result_survives_the_round_trip_to_plain_data() -> None:
    assert passed() == from_data(CellResult, to_data(passed()))


@given(
    name=st.text(min_size=1, max_size=8),
    shape=st.none() | st.lists(st.integers(-1, 99), max_size=4).map(tuple),
    tolerance=st.floats(0, 1),
    paths=st.lists(st.sampled_from([Path("/a"), Path("/b/c")]), max_size=2).map(tuple),
)
def test_a_model_survives_the_round_trip_to_plain_data(
    name: str, shape: tuple[int, ...] | None, tolerance: float, paths: tuple[Path, ...]
) -> None:
    model = ModelConfig(
        model_name="m",
        model_path=Path("/m.onnx"),
        model_format=Format.ONNX,
        inputs=(TensorSpec(name=name, shape=shape, dtype="float32"),),
        atol={name: tolerance},
        max_shapes={name: (1, 2)},
        samples=paths,
    )

    assert model == from_data(ModelConfig, to_data(model))


def test_passed_needs_weights_none_of_which_is_known_to_be_wrong() -> None:
    wrong = WrongWeight(tensor="w", index=(1,), converted="w", expected=1.0, value=1.5, differing=1, total=8)
    found = Weights(tensors=1, recognised=1, elements=8, recognised_elements=8)

    assert passed(weights=found).weights == found
    assert Verdict(comparisons=(GOOD,), weights=found).passed
    assert not Verdict(comparisons=(GOOD,), weights=replace(found, wrong=(wrong,))).passed
    with pytest.raises(ValueError, match="passed with a wrong weight"):
        passed(weights=replace(found, wrong=(wrong,)))
