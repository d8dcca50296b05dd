"""A report, judged and sorted once for all of its readers, and the two files that it leaves."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navigator.errors import ExitCode
from navigator.records import CellResult, SampleInfo, State, Status
from navigator.render.columns import aligned, width
from navigator.render.console import summary_text
from navigator.render.files import UnwrittenError, write_files
from navigator.render.markdown import summary_markdown
from navigator.render.page.page import report_page
from navigator.render.sentences import reductions
from navigator.report import storage
from navigator.report.report import seen_from
from navigator.report.summary import Group, summarize
from tests.support.builders import a_comparison, a_report, a_result


def labels(groups: tuple[Group, ...]) -> list[tuple[str, ...]]:
    return [group.conversions for group in groups]


def failed(conversion: str, message: str = "no", *, state: State = State.FAILED, remedy: str = "") -> CellResult:
    return a_result(state, conversion=conversion, status=Status(state=state, message=message), remedy=remedy)


def test_results_that_one_sentence_explains_are_a_group() -> None:
    summary = summarize(
        a_report(failed("a"), failed("b", "other"), failed("c"), failed("d", remedy="help"), failed("e", "no"))
    )

    assert labels(summary.failures) == [("a", "c", "e"), ("b",), ("d",)]
    assert summary.downstream == ()


def test_a_cause_is_told_apart_from_what_it_leads_to() -> None:
    downstream = (State.BLOCKED, State.CANCELLED, State.UNAVAILABLE)
    summary = summarize(a_report(*(failed(str(state), state=state) for state in State if state is not State.PASSED)))

    assert labels(summary.failures) == [("mismatched",), ("failed",), ("crashed",), ("timed_out",)]
    assert labels(summary.downstream) == [(str(state),) for state in downstream]
    assert labels(summary.unverified) == [("unverified",)]
    assert labels(summary.skipped) == [("not_applicable",)]
    assert summary.tried == 8


def test_what_a_default_format_lacks_is_skipped_and_what_must_be_verified_fails() -> None:
    summary = summarize(
        a_report(
            a_result(State.UNAVAILABLE, conversion="a", requested=False),
            a_result(State.UNVERIFIED, conversion="b", must_be_verified=True),
            a_result(conversion="c"),
        )
    )

    assert (labels(summary.skipped), labels(summary.failures)) == ([("a",)], [("b",)])
    assert (summary.tried, summary.exit_code) == (2, ExitCode.FAILURE)


def test_models_keep_their_order_and_show_failed_conversions_first() -> None:
    results = [a_result(model_name=name, conversion="x") for name in ("m", "n")]
    results += [replace(failed("y"), model_name=name) for name in ("n", "m")]
    summary = summarize(a_report(*results, a_result(State.NOT_APPLICABLE, model_name="skipped")))

    shown = [(model.name, [each.conversion for each in model.results]) for model in summary.models]
    assert shown == [("m", ["y", "x"]), ("n", ["y", "x"])]


def test_a_warning_names_all_conversions_that_it_is_about() -> None:
    weak = [a_result(conversion=name, warnings=("constant", *more)) for name, more in (("a", ()), ("b", ("random",)))]
    summary = summarize(a_report(*weak, a_result(conversion="c")))

    assert [(each.warning, each.checked.conversions) for each in summary.warnings] == [
        ("constant", ("a", "b")),
        ("random", ("b",)),
    ]
    assert summary.weak == 2


@given(st.lists(st.sampled_from(list(State)), max_size=12), st.booleans(), st.booleans())
def test_every_result_is_in_exactly_one_place(states: list[State], requested: bool, must_be_verified: bool) -> None:
    results = [
        a_result(state, conversion=str(index), requested=requested, must_be_verified=must_be_verified)
        for index, state in enumerate(states)
    ]
    summary = summarize(a_report(*results))

    grouped = (*summary.failures, *summary.downstream, *summary.skipped)
    tried = [each for model in summary.models for each in model.results]
    assert sorted(each.conversion for each in (*summary.failed, *summary.others)) == sorted(
        map(str, range(len(states)))
    )
    assert len(tried) == summary.tried == len(states) - sum(len(group.results) for group in summary.skipped)
    assert sum(len(group.results) for group in grouped) == len(summary.failed) + len(states) - summary.tried
    assert sum(summary.states.values()) == len(states)
    assert summary.report.summary["failures"] == len(summary.failed)


# Columns ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "columns"), [("abc", 3), ("模型", 4), ("e\u0301", 1), ("", 0), ("😀", 2)])
def test_a_text_is_as_wide_as_a_terminal_shows_it(text: str, columns: int) -> None:
    assert width(text) == columns


def test_wide_names_keep_columns_aligned() -> None:
    lines = aligned([("model", "size"), ("模型", "1 B"), ("m", "12 KiB")], texts=1)

    assert lines == ["model    size", "模型      1 B", "m      12 KiB"]


def test_the_table_of_a_report_is_aligned_for_wide_names() -> None:
    summary = summarize(a_report(a_result(model_name="模型"), a_result(model_name="model")))

    rows = [line for line in summary_text(summary).splitlines() if "onnx_op13" in line]
    assert len({width(line[: line.index("onnx_op13")]) for line in rows}) == 1


# Files --------------------------------------------------------------------------------------------------------------


def test_results_summary_and_page_are_written(tmp_path: Path) -> None:
    summary = summarize(a_report(a_result()))
    write_files(summary, tmp_path)

    assert storage.read(tmp_path / "convert_results.yaml") == summary.report
    assert (tmp_path / "summary.md").read_text(encoding="utf-8") == summary_markdown(summary)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == report_page(summary)
    assert len([*tmp_path.iterdir()]) == 3


@pytest.mark.parametrize(("broken", "whole"), [("convert_results.yaml", "summary.md"), ("summary.md", storage.RESULTS)])
def test_a_file_that_cannot_be_written_is_named_and_the_other_is_written(
    tmp_path: Path, broken: str, whole: str
) -> None:
    (tmp_path / broken).mkdir()

    with pytest.raises(UnwrittenError) as caught:
        write_files(summarize(a_report(a_result())), tmp_path)

    assert caught.value.message == f"{tmp_path / broken} couldn't be written: Is a directory"
    assert caught.value.exit_code is ExitCode.IO_ERROR
    assert (tmp_path / whole).is_file()


def test_all_files_are_named_if_none_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(
        UnwrittenError,
        match=r"convert_results\.yaml couldn't .*; .*summary\.md couldn't .*; .*report\.html couldn't be",
    ):
        write_files(summarize(a_report()), tmp_path / "nowhere")


def test_logs_are_named_as_readers_of_the_repository_see_them() -> None:
    def logged(path: str) -> CellResult:
        return replace(failed("a"), status=Status(state=State.FAILED, log_path=Path(path)))

    seen = seen_from(a_report(logged("/repo/logs/a.log"), logged("/other/a.log"), failed("b")), Path("/repo"))

    assert [each.status.log_path for each in seen.results] == [Path("logs/a.log"), Path("/other/a.log"), None]


# What is said of single results -------------------------------------------------------------------------------------


def test_a_sample_that_the_source_model_refuses_is_told_once() -> None:
    samples = (
        SampleInfo(name="random0", shapes={"x": (3,)}, refused="it takes 320 and 640"),
        SampleInfo(name="max", shapes={"x": (8, 2)}, reduced_from={"x": (128, 2)}),
    )
    summary = summarize(a_report(a_result(samples=samples), a_result(conversion="onnx_op14", samples=samples)))

    (model,) = summary.models
    assert reductions(model) == (
        "sample random0 was skipped: the source model can't run it: it takes 320 and 640",
        "sample max was reduced to fit in memory: x from 128x2 to 8x2",
    )
    assert summary_text(summary).count("sample random0 was skipped") == 1


def test_a_model_with_many_outputs_is_explained_by_its_worst() -> None:
    comparisons = tuple(a_comparison(f"y{each}", passed=False, max_abs_error=0.1 * each, total=0) for each in range(8))
    summary = summarize(a_report(a_result(State.MISMATCHED, expected_outputs=("y0",), comparisons=comparisons)))

    assert "  and 3 more outputs\n" in summary_text(summary)
    assert "Not shown: 3 more outputs out of tolerance." in summary_markdown(summary)
    table = [line for line in summary_markdown(summary).splitlines() if line.startswith("| `y")]
    assert [line.split("`")[1] for line in table] == ["y7", "y6", "y5", "y4", "y3"]
    assert all("| none compared |" in line and line.endswith("|  |  |  |") for line in map(unspaced, table))


def unspaced(line: str) -> str:
    return line.replace("\u00a0", " ")
