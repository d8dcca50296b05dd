from dataclasses import replace
from pathlib import Path

from navigator.engine.outcomes import Failure, Verified
from navigator.engine.results import UNDECIDED, cell_results
from navigator.records import (
    Cell,
    CellResult,
    Comparison,
    Configuration,
    Format,
    ModelConfig,
    ModelPlan,
    OutputModel,
    State,
    Step,
    Verdict,
)

MODEL = ModelConfig(model_name="m", model_path=Path("/m.pt"), model_format=Format.TORCHSCRIPT)
PLAN = ModelPlan(
    config=MODEL,
    source_format=Format.TORCHSCRIPT,
    steps=(
        Step(label="onnx", converter="a", source_format=Format.TORCHSCRIPT, target_format=Format.ONNX),
        Step(label="onnx/trt", converter="b", source_format=Format.ONNX, target_format=Format.TRT, parent="onnx"),
    ),
    cells=(
        Cell(label="onnx", configuration=Configuration(target_format=Format.ONNX), steps=("onnx",)),
        Cell(label="onnx/trt", configuration=Configuration(target_format=Format.TRT), steps=("onnx", "onnx/trt")),
        Cell(
            label="tf-savedmodel",
            configuration=Configuration(target_format=Format.TF_SAVEDMODEL),
            state=State.NOT_APPLICABLE,
            reason="no way",
            remedy="another target",
        ),
    ),
)
MADE = OutputModel(name="m.onnx", path=Path("/w/model.onnx"), format=Format.ONNX, size_bytes=1, sha256="0" * 64)


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


def comparison(output: str = "y", *, passed: bool = True, problem: str = "") -> Comparison:
    return Comparison(
        output=output,
        passed=passed,
        atol=1e-5,
        rtol=1e-5,
        samples=1,
        total=10,
        mismatched=0 if passed else 3,
        max_abs_error=0.0 if passed else 0.25,
        problem=problem,
    )


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


def test_a_cell_is_passed_by_its_comparisons_only() -> None:
    assert results(onnx=verified(comparison()))["onnx"].status.state is State.PASSED
    assert results(onnx=verified())["onnx"].status.state is State.MISMATCHED
    assert results(onnx=verified())["onnx"].status.message == "nothing was compared"


def test_a_mismatch_says_which_output_and_how_far() -> None:
    found = results(onnx=verified(comparison(passed=False), comparison("z", passed=False), expected=("y", "z")))["onnx"]

    assert found.status.state is State.MISMATCHED
    assert found.status.message == (
        "output 'y': 3 of 10 elements differ, largest error 0.25 (atol 1e-05, rtol 1e-05); 1 more output differs"
    )
    assert found.reproduce == "model-navigator convert --models m --conversions onnx --verbose"


def test_a_problem_is_told_in_its_own_words() -> None:
    found = results(onnx=verified(comparison(passed=False, problem="missing: no 'y'")))["onnx"]

    assert found.status.message == "output 'y': missing: no 'y'"


def test_a_good_cell_needs_no_reproduction() -> None:
    assert results(onnx=verified(comparison()))["onnx"].reproduce == ""


def test_a_result_says_where_its_model_stands_in_the_configuration() -> None:
    written = replace(MODEL, config_path=Path("/r/navigator.yaml"), line=7)

    at = [each.source_model_config for model in (MODEL, written) for each in decided(replace(PLAN, config=model))]

    assert all("config_path" not in each and "line" not in each for each in at[:3])
    assert {(each["config_path"], each["line"]) for each in at[3:]} == {("/r/navigator.yaml", 7)}


def decided(plan: ModelPlan) -> tuple[CellResult, ...]:
    return cell_results(plan, {}, source_bytes=1, command="model-navigator convert")
