from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from navigator.engine.outcomes import Failure, Verified
from navigator.engine.results import UNDECIDED, cell_results, obliged
from navigator.plan.planner import plan
from navigator.records import (
    Auto,
    CellResult,
    Comparison,
    Format,
    ModelPlan,
    Precision,
    RunConfig,
    SourceModel,
    State,
    Tolerances,
    Verdict,
)
from navigator.report.summary import fails_run
from tests.support.builders import (
    FRAMEWORKS,
    TENSORRT,
    a_cell,
    a_comparison,
    a_converted_model,
    a_host,
    a_model,
    a_plan,
    a_result,
    a_step,
)

MODEL = a_model()
PLAN = a_plan(
    a_cell("onnx"),
    a_cell("onnx/trt", target=Format.TRT),
    a_cell(
        "tf-savedmodel",
        target=Format.TF_SAVEDMODEL,
        state=State.NOT_APPLICABLE,
        reason="no way",
        remedy="another target",
    ),
    config=MODEL,
    steps=(a_step("onnx"), a_step("onnx/trt", target=Format.TRT, source_format=Format.ONNX, parent="onnx")),
)
MADE = a_converted_model()


def verified(*comparisons: Comparison, expected: tuple[str, ...] = ("y",)) -> Verified:
    return Verified(
        output_model=MADE, expected_outputs=expected, infos=(), verdict=Verdict(comparisons=tuple(comparisons))
    )


def results(**outcomes: Failure | Verified) -> dict[str, CellResult]:
    found = cell_results(
        PLAN,
        {label.replace("_", "/"): outcome for label, outcome in outcomes.items()},
        source_bytes=1,
        command="model-navigator convert",
    )
    return {each.conversion: each for each in found}


def test_before_anything_ended_every_cell_is_there_and_undecided() -> None:
    found = results()

    assert list(found) == ["onnx", "onnx/trt", "tf-savedmodel"]
    assert (found["onnx"].status.state, found["onnx"].status.message) == (State.CANCELLED, UNDECIDED)
    assert found["tf-savedmodel"].status.state is State.NOT_APPLICABLE
    assert found["tf-savedmodel"].remedy == "another target"


def test_what_is_below_a_failed_step_is_blocked_by_its_name() -> None:
    found = results(onnx=Failure(state=State.CRASHED, message="SIGSEGV", remedy="less", log_path=Path("/log")))

    assert (found["onnx"].status.state, found["onnx"].status.message) == (State.CRASHED, "SIGSEGV")
    assert found["onnx/trt"].status.state is State.BLOCKED
    assert found["onnx/trt"].status.message == "blocked by onnx, which crashed: SIGSEGV"
    assert found["onnx/trt"].status.log_path == Path("/log")


def test_what_is_below_a_step_that_is_not_applicable_is_not_either_for_the_same_reason() -> None:
    why = Failure(state=State.NOT_APPLICABLE, message="nothing became fp16: no floats", remedy="remove fp16")
    found = results(onnx=why)

    for label in ("onnx", "onnx/trt"):
        assert found[label].status.state is State.NOT_APPLICABLE
        assert (found[label].status.message, found[label].remedy) == (why.message, why.remedy)
        assert not found[label].reproduce


def test_every_cell_says_what_is_configured_for_its_precision_and_what_was_applied() -> None:
    """Also one that nothing was compared of: a change that loosens tolerances has to show whatever the outcome."""
    config = a_model(
        Format.ONNX,
        target_formats=(Format.ONNX, Format.TRT_RTX),
        tensorrt_precisions=(Precision.INT8, Precision.FP16, Precision.FP32),
        atol={"": 1e-4},
        rtol={"": 1e-3},
        fp16_atol={"y": 0.5},
        int8_rtol={"": 0.25},
    )
    model = plan(RunConfig(models=(config,)), a_host((*FRAMEWORKS, *TENSORRT))).models[0]
    typed = verified(a_comparison(atol=0.5, rtol=0.01))
    found = {each.conversion: each for each in cell_results(model, {"onnx_fp16": typed}, source_bytes=1, command="")}

    whole = Tolerances(atol={"": 1e-4}, rtol={"": 1e-3})
    half = Tolerances(atol={"y": 0.5}, rtol={})
    eight = Tolerances(atol={}, rtol={"": 0.25})
    assert {label: each.configured_tolerances for label, each in found.items()} == {
        "onnx": whole,
        "onnx_int8_hierarchy": eight,
        "onnx_int8_hierarchy/trt-rtx_int8_hierarchy": eight,
        "onnx_fp16": half,
        "onnx_fp16/trt-rtx_fp16_hierarchy": half,
        "trt-rtx_fp32": whole,
    }
    assert found["onnx_fp16"].comparator_config == Tolerances(atol={"y": 0.5}, rtol={"y": 0.01})
    others = [each for label, each in found.items() if label != "onnx_fp16"]
    assert all(each.comparator_config == each.configured_tolerances for each in others)


@pytest.mark.parametrize(
    ("told", "requested", "fails"),
    [("auto", True, True), ("auto", False, False), (False, True, False), (True, False, True), (True, True, True)],
)
def test_what_the_user_asked_for_must_be_verified_unless_told_otherwise(
    told: bool | Auto, requested: bool, fails: bool
) -> None:
    result = obliged(a_result(State.UNVERIFIED, requested=requested, remedy="verify it elsewhere"), told)

    assert result.must_be_verified is fails_run(result) is fails
    assert result.remedy == "verify it elsewhere" + (", or set fail_on_unverified: false" if fails else "")
    assert obliged(a_result(State.FAILED, remedy="r"), told).remedy == "r"


def test_a_cell_is_passed_by_its_comparisons_only() -> None:
    assert results(onnx=verified(a_comparison()))["onnx"].status.state is State.PASSED
    assert results(onnx=verified())["onnx"].status.state is State.MISMATCHED
    assert results(onnx=verified())["onnx"].status.message == "nothing was compared"


def test_a_mismatch_says_which_output_and_how_far() -> None:
    found = results(onnx=verified(a_comparison(passed=False), a_comparison("z", passed=False), expected=("y", "z")))[
        "onnx"
    ]

    assert found.status.state is State.MISMATCHED
    assert found.status.message == (
        "output 'y': 3 of 10 elements differ, largest error 0.25 (atol 1e-05, rtol 1e-05); 1 more output differs"
    )
    assert found.reproduce == "model-navigator convert --models m --conversions onnx --verbose"


def test_a_problem_is_told_in_its_own_words() -> None:
    found = results(onnx=verified(a_comparison(passed=False, problem="missing: no 'y'")))["onnx"]

    assert found.status.message == "output 'y': missing: no 'y'"


def test_what_passed_needs_no_reproduction() -> None:
    assert results(onnx=verified(a_comparison()))["onnx"].reproduce == ""


def test_a_result_says_where_its_model_stands_in_the_configuration() -> None:
    written = replace(MODEL, config_path=Path("/r/navigator.yaml"), line=7)

    known: dict[str, Any] = {
        "model_name": "m",
        "model_path": Path("/r/m.pt"),
        "model_format": Format.TORCHSCRIPT,
        "model_version": MODEL.model_version,
        "size_bytes": 1,
    }
    at = [each.source_model_config for model in (MODEL, written) for each in decided(replace(PLAN, config=model))]

    assert at[:3] == [SourceModel(**known)] * 3
    assert at[3:] == [SourceModel(**known, config_path=Path("/r/navigator.yaml"), line=7)] * 3


def decided(plan: ModelPlan) -> tuple[CellResult, ...]:
    return cell_results(plan, {}, source_bytes=1, command="model-navigator convert")
