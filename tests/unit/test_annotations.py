"""What a pull request shows at lines of a navigator.yaml: few sentences that say much, at the right place."""

from pathlib import Path
from typing import Any

import pytest

from navigator import config
from navigator.config import InvalidConfigurationError, Problem
from navigator.records import CellResult, FailOn, Rules, SourceModel, State, Status
from navigator.render.annotations import Annotation, Level, of_problems, of_report
from navigator.report import storage
from navigator.report.summary import Summary, summarize
from tests.support.builders import a_report, a_result, a_source
from tests.support.comparisons import a_run, compared, given, passing

CASES = Path(__file__).parents[1] / "cases" / "render"
EVERY_STATE = summarize(storage.read(CASES / "every_state.yaml"))
ROOT = Path("/repo")


def failed(model: str, conversion: str, message: str = "no", *, state: State = State.FAILED, **more: Any) -> CellResult:
    at = a_source(config_path=Path("/repo/models/navigator.yaml"), line=12)
    known = {"status": Status(state=state, message=message), "source_model_config": at}
    return a_result(state, model_name=model, conversion=conversion, **known | more)


def of(*results: CellResult, complete: bool = True) -> Summary:
    return summarize(a_report(*results, complete=complete))


def test_cells_that_fail_for_one_reason_are_one_error_at_the_line_of_their_model() -> None:
    cells = [failed("resnet50", f"onnx_op{each}", "it cannot", remedy="ask for another opset") for each in (13, 14)]

    assert of_report(of(*cells), ROOT) == (
        Annotation(
            level=Level.ERROR,
            title="resnet50: 2 conversions failed",
            message="onnx_op13, onnx_op14: it cannot\nHow to fix: ask for another opset",
            path="models/navigator.yaml",
            line=12,
        ),
    )


def test_the_first_ten_errors_say_the_most() -> None:
    """A model with many reasons takes no room from others, and what is blocked none from causes."""
    many = [failed("many", f"onnx_op{each}", f"reason {each}") for each in range(12)]
    blocked = [failed("many", f"trt{each}", "blocked by onnx", state=State.BLOCKED) for each in range(500)]
    others = [failed(f"model{each}", "onnx", "no") for each in range(8)]

    found = of_report(of(*many, *blocked, *others), ROOT)

    titles = [each.title for each in found]
    assert titles[:9] == ["many: onnx_op0 failed", *(f"model{each}: onnx failed" for each in range(8))]
    assert titles[9:20] == [f"many: onnx_op{each} failed" for each in range(1, 12)]
    assert titles[20:] == ["many: 500 conversions blocked"]
    names = ", ".join(f"trt{each}" for each in range(10))
    assert found[-1].message == f"{names} and 490 more: blocked by onnx"


def test_warnings_stand_at_their_model_too() -> None:
    at = a_source(config_path=Path("/repo/navigator.yaml"), line=3)
    weak = a_result(conversion="onnx", warnings=("all outputs are constant",), source_model_config=at)

    assert of_report(of(weak), ROOT) == (
        Annotation(
            level=Level.WARNING,
            title="m: weak check",
            message="onnx: all outputs are constant",
            path="navigator.yaml",
            line=3,
        ),
    )


def test_every_failed_conversion_is_told_and_no_other() -> None:
    errors = [each for each in of_report(EVERY_STATE, ROOT) if each.level is Level.ERROR]

    told = "\n".join(f"{each.title} {each.message}" for each in errors)
    for failed, results in ((True, EVERY_STATE.failed), (False, EVERY_STATE.others)):
        for result in results:
            assert (f"{result.conversion}: {result.status.message}" in told) is failed


def test_a_run_that_lacks_results_is_an_error_of_its_own() -> None:
    assert of_report(of(complete=False), ROOT) == (
        Annotation(level=Level.ERROR, message="Incomplete: results are missing"),
    )
    assert of_report(of(), ROOT) == ()


@pytest.mark.parametrize(
    "source",
    [
        None,
        a_source(config_path=Path("/elsewhere/navigator.yaml"), line=1),
        a_source(config_path=Path("/repo/../etc/passwd"), line=1),
        a_source(config_path=Path("/repository/navigator.yaml"), line=1),
        a_source(config_path=Path("/repo"), line=1),
        a_source(config_path=None, line=1),
    ],
)
def test_a_model_without_a_place_in_the_repository_is_told_without_one(source: SourceModel | None) -> None:
    (found,) = of_report(of(failed("m", "onnx", source_model_config=source)), ROOT)

    assert (found.path, found.line) == ("", None)


@pytest.mark.parametrize("line", [None, 0, -1])
def test_a_line_is_a_positive_integer(line: int | None) -> None:
    source = a_source(config_path=Path("/repo/x/../navigator.yaml"), line=line)
    (found,) = of_report(of(failed("m", "onnx", source_model_config=source)), ROOT)

    assert (found.path, found.line) == ("navigator.yaml", None)


def test_hostile_text_steers_no_terminal() -> None:
    (found,) = of_report(of(failed("\x1b[2J\nm", "o\u202ennx", "a\nb\x07", remedy="c\r\nd")), ROOT)

    assert found.title == "[2J m: o nnx failed"
    assert found.message == "o nnx: a b\nHow to fix: c d"


def test_problems_of_a_configuration_stand_at_their_lines(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "models" / "navigator.yaml").write_text("model_name: m\nmodel_path: m.onnx\nonnx_opset: [x]\n")
    with pytest.raises(InvalidConfigurationError) as caught:
        config.load(tmp_path / "models" / "navigator.yaml", {"max_batch_size": "many"}, working_directory=tmp_path)

    found = of_problems(caught.value.problems, tmp_path)

    assert {each.level for each in found} == {Level.ERROR}
    assert {each.title for each in found} == {"Invalid configuration"}
    assert [(each.path, each.line, each.column) for each in found] == [
        ("models/navigator.yaml", 2, 13),
        ("models/navigator.yaml", 3, 1),
        ("", None, None),
    ]
    assert "'onnx_opset'" in found[1].message
    assert "\n" in found[1].message, "what to do is a line of its own"
    assert "--max-batch-size" in found[2].message


def test_a_problem_outside_of_the_repository_names_its_place() -> None:
    problem = Problem(path=Path("/elsewhere/n.yaml"), line=3, column=1, message="it is wrong", hint="put it right")

    (found,) = of_problems([problem], ROOT)

    assert found.message == "/elsewhere/n.yaml:3:1: it is wrong; put it right"
    assert (found.path, found.line, found.column) == ("", None, None)


# Changes since the base ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fail_on", "failing", "changed"),
    [(FailOn.REGRESSION, Level.WARNING, Level.ERROR), (FailOn.FAILURE, Level.ERROR, Level.WARNING)],
)
def test_regressions_are_errors_where_they_fail_the_run(fail_on: FailOn, failing: Level, changed: Level) -> None:
    at = a_source(config_path=Path("/repo/models/navigator.yaml"), line=12)
    rules = Rules(fail_on=fail_on, accept={"removed m/onnx_op14": "on purpose"})
    base = a_run(
        *(passing(f"m/onnx_op{opset}") for opset in (13, 14, 15)),
        failed("m", "onnx_op16", "no"),
        models=(given(search_seconds=5),),
        rules=Rules(fail_on=fail_on),
    )
    run = a_run(
        passing("m/onnx_op15", size=2_000_000, source_model_config=at),
        failed("m", "onnx_op16", "no"),
        models=(given(search_seconds=0),),
        rules=rules,
    )

    found = of_report(summarize(run, compared(base, run)), ROOT)

    assert [(each.level, each.title) for each in found] == [
        (failing, "m: onnx_op16 failed"),
        (changed, "m: 1 conversion worse"),
        (changed, "m: 1 conversion removed"),
        (changed, "m: search_seconds lets more pass"),
    ]
    assert {each.path for each in found} == {"models/navigator.yaml"}
    assert found[1].message == "m onnx_op15: size 976.6 KiB → 1.9 MiB"
    assert found[2].message == "m onnx_op13: it passed in the base"
    assert found[3].message == "m: search_seconds lets more pass: 5 → 0"


def test_what_is_broken_is_an_error_once() -> None:
    base, run = a_run(passing("m/onnx")), a_run(failed("m", "onnx", "no"))
    [found] = of_report(summarize(run, compared(base, run)), ROOT)
    assert (found.level, found.title) == (Level.ERROR, "m: onnx failed")
