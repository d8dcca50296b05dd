"""Reports and plans as people read them: golden files, hostile names, limits, terminals and logs.

`UPDATE_CASES=1 pytest tests/unit/test_render.py` writes the golden files anew; look at their diff.
"""

import io
import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from navigator.records import (
    CellResult,
    Comparison,
    Device,
    Format,
    Latency,
    Plan,
    Report,
    State,
    Status,
    Tolerances,
    WorstElement,
)
from navigator.render import console
from navigator.render.badge import badge
from navigator.render.columns import width
from navigator.render.console import Progress, show_log, show_summary
from navigator.render.escape import code, fence, row, text
from navigator.render.heartbeat import Heartbeat
from navigator.render.markdown import summary_markdown
from navigator.render.plain import result_line, summary_lines
from navigator.render.plan import plan_text
from navigator.render.results import errors, share, suggestion_yaml, worst
from navigator.render.sentences import verdict
from navigator.render.text import clean
from navigator.render.values import percent, seconds, size, word
from navigator.report import report as reports
from navigator.report import storage
from navigator.report.summary import summarize
from tests.support.builders import a_cell, a_model, a_plan, a_source, a_step

CASES = Path(__file__).parents[1] / "cases" / "render"
EVERY_STATE = storage.read(CASES / "every_state.yaml")
GOOD = storage.read(CASES / "good.yaml")
ON_A_GPU = storage.read(CASES / "gpu.yaml")


def markdown(report: Report, *, limit_chars: int | None = None) -> str:
    return summary_markdown(summarize(report), limit_chars=limit_chars)


def summary_text(report: Report) -> str:
    return console.summary_text(summarize(report))


def of_state(state: State) -> CellResult:
    return next(result for result in EVERY_STATE.results if result.status.state is state)


def golden(name: str, shown: str) -> None:
    path = CASES / name
    if os.environ.get("UPDATE_CASES"):
        path.write_text(shown, encoding="utf-8")
    assert shown == path.read_text(encoding="utf-8")


# Golden files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "report"), [("every_state", EVERY_STATE), ("good", GOOD), ("gpu", ON_A_GPU)])
def test_the_summary_is_as_it_was(name: str, report: Report) -> None:
    golden(f"{name}.md", markdown(report))


@pytest.mark.parametrize(("name", "report"), [("every_state", EVERY_STATE), ("good", GOOD), ("gpu", ON_A_GPU)])
def test_the_summary_as_plain_text_is_as_it_was(name: str, report: Report) -> None:
    golden(f"{name}.txt", summary_text(report))


def two_models() -> Plan:
    missing: dict[str, Any] = {
        "state": State.UNAVAILABLE,
        "reason": "not installed: tensorrt",
        "remedy": "pip install tensorrt",
    }
    unreachable = a_cell(
        "tf-savedmodel",
        requested=False,
        state=State.NOT_APPLICABLE,
        reason="torchscript can't be converted to tf-savedmodel",
        remedy="torchscript can be converted to torchscript, onnx",
    )
    resnet = a_plan(
        a_cell("onnx_op13"),
        a_cell("onnx_op14"),
        a_cell("onnx_op13/trt_fp16_hierarchy", target=Format.TRT, **missing),
        a_cell("onnx_op13/trt_fp32", target=Format.TRT, merged=1, requested=False, **missing),
        unreachable,
        config=a_model(model_name="resnet50", model_path=Path("/models/resnet50.pt")),
        steps=(a_step("onnx_op13"), a_step("onnx_op14", raise_from=("onnx_op13",))),
        notes=("onnx_opsets: 14 by default",),
    )
    bert = a_plan(unreachable, config=replace(resnet.config, model_name="bert"), notes=resnet.notes)
    return Plan(models=(resnet, replace(bert, source_format=Format.TRT)))


def test_the_plan_is_as_it_was() -> None:
    golden("plan.txt", plan_text(two_models()))
    golden("plan_verbose.txt", plan_text(two_models(), verbose=True))


# What the summary says ----------------------------------------------------------------------------------------------


def test_rows_come_first_and_causes_before_what_they_block() -> None:
    shown = markdown(EVERY_STATE)
    parts = [
        "**Mismatched** `resnet50` onnx\\_op14: `logits` error **0.031**",
        "**Failed** `effnet` onnx\\_op13: tf2onnx",
        "**Blocked** `effnet` onnx\\_op13/trt\\_fp16\\_hierarchy: by onnx\\_op13",
        "<summary>Details: <code>resnet50</code>, 1 of 3 mismatched</summary>",
        "<summary>⚠️ 1 weak check</summary>",
        "<summary>All results: 11 conversions of 3 models</summary>",
        "2 of 3 passed",
    ]
    places = [shown.index(part) for part in parts]
    assert places == sorted(places)
    table = shown[places[-1] :]
    assert table.index("`onnx_op14`") < table.index("`onnx_op13`")


def test_every_cell_is_shown_in_both_forms() -> None:
    skipped = (State.UNAVAILABLE, State.NOT_APPLICABLE)
    for result in EVERY_STATE.results:
        assert result.conversion in markdown(EVERY_STATE)
        assert word(result.status.state) in markdown(EVERY_STATE)
        assert word(result.status.state) in summary_text(EVERY_STATE)
        unasked = result.status.state in skipped and not result.requested
        assert result.conversion_config
        assert (result.conversion_config.target_format if unasked else result.conversion) in summary_text(EVERY_STATE)


@pytest.mark.parametrize("columns", [60, 80, 100])
@pytest.mark.parametrize("report", [EVERY_STATE, GOOD, ON_A_GPU, pytest.param(None, id="wide names")])
def test_tables_fit_on_narrow_terminals(report: Report | None, columns: int) -> None:
    shown = list(summary_lines(summarize(report or hostile_report("模型" * 40)), columns))

    head = next(index for index, line in enumerate(shown) if line.text.startswith("model"))
    rows = [line.text for line in shown[head : head + [line.text for line in shown[head:]].index("")]]
    assert len(rows) > 1
    assert max(map(width, rows)) <= columns
    assert {"model", "conversion", "status", "worst"} <= set(rows[0].split())


def test_a_table_keeps_what_there_is_room_for() -> None:
    heads = {
        columns: next(
            line.text.split() for line in summary_lines(summarize(GOOD), columns) if line.text.startswith("model")
        )
        for columns in (60, 100, 200)
    }

    assert heads[60] == ["model", "conversion", "status", "worst", "output"]
    assert heads[200] == [*heads[60], "size", "convert", "verify"]
    assert heads[60] <= heads[100] <= heads[200]


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_a_plan_fits_on_narrow_terminals(columns: int) -> None:
    text = plan_text(two_models(), verbose=True, columns=columns)

    assert max(map(width, text.splitlines())) <= columns
    assert text.split() == plan_text(two_models(), verbose=True).split()


def test_cells_blocked_for_one_reason_are_told_once_with_what_to_do() -> None:
    blocked = replace(of_state(State.BLOCKED), remedy="write max_shapes: {x: [8, 128]}")
    both = replace(EVERY_STATE, results=(blocked, replace(blocked, conversion="onnx_op17")))

    lines = summary_text(both).splitlines()
    at = lines.index(f"effnet  {blocked.conversion}, onnx_op17  BLOCKED")
    assert lines[at + 1] == f"  {blocked.status.message}"
    assert lines[at + 2] == "  how to fix: write max_shapes: {x: [8, 128]}"
    assert summary_text(both).count(blocked.status.message) == 1

    shown = markdown(both)
    assert "- ⛔ **Blocked** `effnet` onnx\\_op13/trt\\_fp16\\_hierarchy, onnx\\_op17: by onnx\\_op13\n" in shown
    assert f"⛔ **`{blocked.conversion}`, `onnx_op17`: blocked**" in shown
    assert "**How to fix:** write max\\_shapes: {x: \\[8, 128\\]}" in shown


def test_cells_that_cannot_be_made_here_are_told_together_after_what_went_wrong() -> None:
    absent = of_state(State.UNAVAILABLE)
    absent = replace(absent, requested=True, status=replace(absent.status, message="no GPU"), remedy="use a GPU")
    report = replace(EVERY_STATE, results=(absent, replace(absent, conversion="trt_fp32"), of_state(State.FAILED)))

    lines = summary_text(report).splitlines()
    at = lines.index(f"{absent.model_name}  {absent.conversion}, trt_fp32  UNAVAILABLE")
    assert lines[at + 1 : at + 3] == ["  no GPU", "  how to fix: use a GPU"]
    assert lines.index("effnet  onnx_op13  FAILED") < at
    shown = markdown(report)
    labels = absent.conversion.replace("_", "\\_")
    row = f"- 🔌 **Unavailable** `{absent.model_name}` {labels}, trt\\_fp32: no GPU\n"
    assert shown.index("**Failed** `effnet`") < shown.index(row)
    assert f"🔌 **`{absent.conversion}`, `trt_fp32`: unavailable**\n\nno GPU\n\n**How to fix:** use a GPU" in shown


def test_a_suggestion_can_be_pasted() -> None:
    import yaml

    mismatched = of_state(State.MISMATCHED)
    assert mismatched.suggested_tolerances is not None
    block = re.search(r"```yaml\n(.*?)```", markdown(EVERY_STATE), re.DOTALL)
    assert block is not None
    suggested = Tolerances(
        atol={"": 1e-5, "out: 1": 3.2e-05, "`x`": 1e-300, "a\nb": 1.0, "name" * 50: 2.0}, rtol={"": 0.0}
    )
    assert yaml.safe_load(block.group(1)) == {
        "atol": dict(mismatched.suggested_tolerances.atol),
        "rtol": dict(mismatched.suggested_tolerances.rtol),
    }
    assert yaml.safe_load(suggestion_yaml([replace(mismatched, suggested_tolerances=suggested)])) == {
        "atol": dict(suggested.atol),
        "rtol": dict(suggested.rtol),
    }
    assert "```yaml\nfp16_atol:\n" in markdown(ON_A_GPU)


@pytest.mark.parametrize(
    ("results", "complete", "said"),
    [
        ((of_state(State.PASSED),), True, "1 of 1 conversions passed"),
        ((of_state(State.PASSED),) * 3, True, "3 of 3 conversions passed"),
        (GOOD.results, True, "3 of 3 conversions passed"),
        (
            (of_state(State.PASSED), of_state(State.UNVERIFIED)),
            True,
            "1 of 2 conversions passed, 1 not verified",
        ),
        ((of_state(State.PASSED), of_state(State.FAILED)), True, "1 of 2 conversions failed"),
        ((of_state(State.FAILED), of_state(State.CRASHED)), True, "2 of 2 conversions failed"),
        ((of_state(State.BLOCKED),), True, "1 of 1 conversions blocked"),
        ((of_state(State.FAILED), of_state(State.BLOCKED)), True, "1 of 2 conversions failed, 1 blocked"),
        (
            (of_state(State.PASSED), of_state(State.CRASHED), *(of_state(State.BLOCKED),) * 2),
            True,
            "1 of 4 conversions failed, 2 blocked",
        ),
        ((of_state(State.PASSED), of_state(State.CANCELLED)), False, "Incomplete: 1 of 2 conversions cancelled"),
        (
            (of_state(State.BLOCKED), of_state(State.CANCELLED)),
            False,
            "Incomplete: 1 of 2 conversions cancelled, 1 blocked",
        ),
        (
            (of_state(State.FAILED), of_state(State.CANCELLED)),
            False,
            "Incomplete: 1 of 2 conversions cancelled, 1 failed",
        ),
        (
            (of_state(State.NOT_APPLICABLE),),
            True,
            "Nothing was converted: no conversion applies to its model",
        ),
        (
            (of_state(State.NOT_APPLICABLE), replace(of_state(State.UNAVAILABLE), requested=False)),
            True,
            "Nothing was converted: no conversion can run on this machine",
        ),
    ],
)
def test_the_verdict_names_what_matters_first(results: tuple[CellResult, ...], complete: bool, said: str) -> None:
    report = reports.build(GOOD.environment, results, complete=complete)
    assert verdict(summarize(report)) == said
    assert markdown(report).splitlines()[0].partition(" ")[2].partition(" ")[2].startswith(said)
    assert said in summary_text(report).splitlines()[-1]


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ((State.BLOCKED,), "1 of 1 conversions blocked: "),
        ((State.FAILED, State.FAILED), "2 of 2 conversions failed: "),
        ((State.FAILED, State.BLOCKED), "1 of 2 conversions failed, 1 blocked: "),
        ((State.CRASHED, State.BLOCKED), "1 of 2 conversions failed, 1 blocked: 1 crashed, 1 blocked; "),
        ((State.UNVERIFIED, State.FAILED), "1 of 2 conversions failed: 1 failed, 1 unverified; "),
    ],
)
def test_states_are_counted_once(states: tuple[State, ...], said: str) -> None:
    report = reports.build(GOOD.environment, tuple(map(of_state, states)), complete=True)

    last = summary_text(report).splitlines()[-1]
    assert last.startswith(said)
    assert last.removeprefix(said) == seconds(report.seconds)


def test_a_run_that_converts_nothing_says_once_what_to_install() -> None:
    missing = replace(of_state(State.UNAVAILABLE), requested=False, remedy="pip install torch")
    nothing = reports.build(GOOD.environment, (missing, replace(missing, conversion="other")), complete=True)
    something = reports.build(GOOD.environment, (missing, of_state(State.PASSED)), complete=True)

    assert summary_text(nothing).count("how to fix: pip install torch\n") == 1
    assert "pip install torch" not in summary_text(something)


@pytest.mark.parametrize("report", [EVERY_STATE, GOOD])
def test_a_warning_is_in_the_first_lines(report: Report) -> None:
    assert "⚠️ 1 weak check" in markdown(report).split("\n\n")[1]


def compared(**more: object) -> Comparison:
    return replace(of_state(State.PASSED).comparisons[0], **more)  # type: ignore[arg-type]  # test data


@pytest.mark.parametrize(
    ("comparison", "allowed"),
    [
        (compared(atol=1e-5, rtol=1e-5, worst=WorstElement(sample="s", index=(0,), reference=1.0, value=1.00001)), 0.5),
        (compared(atol=0.0, rtol=0.0, worst=WorstElement(sample="s", index=(0,), reference=2, value=2)), 0.0),
        (compared(atol=0.0, rtol=0.0, worst=WorstElement(sample="s", index=(), reference=2, value=3)), float("inf")),
        (compared(atol=1.0, rtol=0.0, worst=WorstElement(sample="s", index=(), reference=True, value=False)), 1.0),
        (compared(worst=None, max_abs_error=None, problem="missing"), float("inf")),
        (compared(worst=None, max_abs_error=5e-6), 0.5),
    ],
)
def test_share_of_the_tolerance(comparison: Comparison, allowed: float) -> None:
    assert share(comparison) == pytest.approx(allowed, rel=1e-3)


def test_the_worst_output_is_the_one_nearest_to_its_own_tolerance() -> None:
    near = compared(
        output="near", atol=1e-6, rtol=0.0, worst=WorstElement(sample="s", index=(), reference=0.0, value=9e-7)
    )
    large = compared(
        output="large", atol=1.0, rtol=0.0, worst=WorstElement(sample="s", index=(), reference=0.0, value=0.1)
    )
    failing = replace(near, output="failing", passed=False, worst=None, max_abs_error=0.0)
    assert worst([large, near]) is near
    assert worst([large, failing, near]) is failing
    assert worst([]) is None


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (0.0, "0 %"),
        (1e-6, "< 0.1 %"),
        (0.003, "0.3 %"),
        (0.21, "21 %"),
        (0.99999, "< 100 %"),
        (1.0, "100 %"),
        (1.00001, "> 100 %"),
        (3.2, "320 %"),
        (float("inf"), "> 10,000 %"),
    ],
)
def test_percent_never_rounds_across_a_border(part: float, said: str) -> None:
    assert percent(part) == said


@pytest.mark.parametrize(
    ("amount", "said"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (102_000_000, "97.3 MiB"), (5 * 2**40, "5.0 TiB")],
)
def test_sizes_have_binary_units(amount: int, said: str) -> None:
    assert size(amount) == said


@pytest.mark.parametrize(
    ("amount", "said"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (61, "1 min 1 s"), (3599.9, "60 min 0 s"), (7260, "2 h 1 min")],
)
def test_durations_have_two_units_at_most(amount: float, said: str) -> None:
    assert seconds(amount) == said.replace("60 min 0 s", "1 h 0 min")


# Hostile text -------------------------------------------------------------------------------------------------------

HOSTILE = [
    "a|b",
    "a\\|b",
    "`a` ``b``",
    "a\n# heading",
    "\n\n</details>",
    "<script>alert(1)</script>",
    "<!-- navigator: report -->",
    "-->",
    "@everyone and @org/team",
    "owner/repository#12 #34 GH-56",
    "https://example.com/x and www.example.com and me@example.com",
    "![image](https://example.com/x.png)",
    "[link](javascript:alert(1))",
    "**bold** _it_ ~~gone~~ $x^2$",
    "\x1b[2J\x1b]0;title\x07",
    "right\u202eto left",
    "- item",
    "1. item",
    "> quote",
    "=====",
    "&lt;b&gt; &#64;",
    "```\nfence\n```",
    "$`math`$",
    " leading and trailing ",
    "",
    "name" * 500,
    "\udcff",
]

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
OURS = re.compile(r"</?(code|sub|details|summary)>")


def hostile_report(name: str) -> Report:
    """Return a report with `name` wherever foreign text can be."""
    results = []
    for result in EVERY_STATE.results:
        comparisons = tuple(
            replace(
                each,
                output=name,
                problem=name if each.problem else "",
                worst=replace(each.worst, sample=name) if each.worst else None,
            )
            for each in result.comparisons
        )
        results.append(
            replace(
                result,
                model_name=name,
                conversion=name,
                status=Status(state=result.status.state, message=name, log_path=Path(f"/{name}".replace("\0", ""))),
                comparisons=comparisons,
                expected_outputs=(name,) if result.status.state is State.PASSED else (),
                source_model_config=a_source(model_name=name, model_path=Path(f"/{name}".replace("\0", ""))),
                warnings=(name,),
                remedy=name,
                reproduce=name,
                suggested_tolerances=Tolerances(atol={name: 1.0}, rtol={}),
                latencies=(Latency(device=Device.CUDA, sample=name, median_seconds=0.001, runs=1),),
            )
        )
    environment = replace(EVERY_STATE.environment, cpu=name, notes=(name,))
    return reports.build(environment, results, notes=[name])


def structure(markdown: str) -> list[str]:
    """Return the blocks of a text and what is neither text nor code inside them."""
    found = []
    for token in MARKDOWN.parse(markdown):
        if token.type == "html_block":
            found.extend(re.findall(r"<[^>]*>", token.content))
        elif token.type != "inline":
            found.append(token.type)
        for child in token.children or ():
            if child.type == "html_inline":
                assert OURS.fullmatch(child.content), child.content
            else:
                assert child.type in (
                    "text",
                    "text_special",
                    "code_inline",
                    "strong_open",
                    "strong_close",
                    "softbreak",
                    "hardbreak",
                )
    return found


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_or_message_changes_the_structure(name: str) -> None:
    shown = markdown(hostile_report(name))
    assert structure(shown) == structure(markdown(hostile_report("harmless" if name.strip() else name)))
    assert "<!--" not in shown
    visible = "\n".join(
        child.content for token in MARKDOWN.parse(shown) for child in token.children or () if child.type == "text"
    )
    assert not re.search(r"@(everyone|org|example)|://|www\.|#\d|GH-\d", visible)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", shown)


@given(st.text(max_size=60))
def test_any_text_stays_one_cell_of_a_table(value: str) -> None:
    for escaped in (text(value), code(value)):
        shown = f"{row(['a', 'b'])}\n|---|---|\n{row([escaped, 'end'])}\n"
        cells = [token for token in MARKDOWN.parse(shown) if token.type == "td_open"]
        rows = [token for token in MARKDOWN.parse(shown) if token.type == "tr_open"]
        inline = [token for token in MARKDOWN.parse(shown) if token.type == "inline"]
        assert (len(rows), len(cells)) == (2, 2)
        assert inline[-1].content == "end"
        words_shown = "".join(
            child.content
            for child in inline[-2].children or ()
            if child.type in ("text", "text_special", "code_inline")
        )
        assert "".join(words_shown.replace("\u200b", "").split()) in ("".join(clean(value).split()), '""')


@given(st.text(alphabet="`~ab\n<!->", max_size=60))
def test_nothing_ends_a_code_block(content: str) -> None:
    tokens = MARKDOWN.parse(f"{fence(content, 'shell')}\n\nafter\n")
    assert [token.type for token in tokens] == ["fence", "paragraph_open", "inline", "paragraph_close"]


@pytest.mark.parametrize("name", HOSTILE)
def test_plain_text_holds_no_control_characters(name: str) -> None:
    shown = summary_text(hostile_report(name)) + plan_text(hostile_plan(name))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\ud800-\udfff]", shown)

    def outer(report: Report) -> list[str]:
        # YAML needs two lines for a long key.
        return [line for line in summary_text(report).splitlines() if not line.startswith("    ")]

    assert len(outer(hostile_report(name))) == len(outer(hostile_report("harmless" if name.strip() else name)))


def hostile_plan(name: str) -> Plan:
    model = two_models().models[0]
    cells = tuple(replace(cell, label=name, steps=(name,), reason=name, remedy=name) for cell in model.conversions)
    return Plan(
        models=(replace(model, config=replace(model.config, model_name=name), conversions=cells, notes=(name,)),)
    )


# Limits -------------------------------------------------------------------------------------------------------------


def many_failures() -> Report:
    failed, passed = of_state(State.MISMATCHED), of_state(State.PASSED)
    results = [replace(failed, model_name=f"bad{number}") for number in range(20)]
    results += [replace(passed, model_name=f"fine{number}") for number in range(20)]
    return reports.build(EVERY_STATE.environment, results, notes=["a note"], complete=True)


def test_no_limit_cuts_nothing() -> None:
    whole = markdown(EVERY_STATE)
    assert markdown(EVERY_STATE, limit_chars=len(whole)) == whole
    assert "Truncated" not in whole


@pytest.mark.parametrize("report", [EVERY_STATE, many_failures()])
@pytest.mark.parametrize("share", [0.99, 0.9, 0.7, 0.5, 0.3, 0.2, 0.1])
def test_a_limit_holds_and_says_what_is_missing(report: Report, share: float) -> None:
    limit = int(len(markdown(report)) * share)
    shown = markdown(report, limit_chars=limit)
    assert len(shown) <= limit
    assert shown.startswith(markdown(report).split("\n\n")[0])
    assert "**Truncated:** the full report doesn't fit here. Left out: " in shown
    structure(shown)


def test_a_tiny_limit_keeps_the_verdict() -> None:
    assert markdown(EVERY_STATE, limit_chars=50) == "### ⚠️ Incomplete: 1 of 11 conversions cancelled, 6 failed"[:50]


@pytest.mark.parametrize("share", [0.95, 0.8, 0.6, 0.4, 0.3])
def test_what_is_more_important_stays_longer(share: float) -> None:
    report = many_failures()
    shown = markdown(report, limit_chars=int(len(markdown(report)) * share))
    tables = [number for number in range(20) if f"### `fine{number}`" in shown]
    details = [number for number in range(20) if f"<code>bad{number}</code>" in shown]
    assert tables == list(range(len(tables)))
    assert details == list(range(len(details)))
    assert not tables or len(details) == 20
    assert details, "there's room for some"
    assert shown.count("**Mismatched** ") == 1
    assert "`bad0`, `bad1`, `bad2`, `bad3`, `bad4`, `bad5` and 14 more models (20 conversions)" in shown


# Terminals and logs -------------------------------------------------------------------------------------------------


def line_of(result: CellResult, *, widths: tuple[int, int] = (0, 0)) -> str:
    return result_line(result, failed=False, widths=widths).text


def test_a_line_for_a_result() -> None:
    assert line_of(GOOD.results[1]) == "resnet50  onnx_op13  passed         3.0 s  max abs 3.1e-06 (atol 1e-05)"
    cached = line_of(GOOD.results[0])
    assert cached == "resnet50  torchscript  passed        cached  max abs 3.1e-06 (atol 1e-05)"
    crashed = line_of(of_state(State.CRASHED), widths=(8, 12))
    assert crashed == "effnet    onnx_op14     crashed        1.0 s  the worker was killed by signal SIGSEGV"


def test_an_error_that_passes_by_rtol_names_rtol() -> None:
    assert errors(compared(max_abs_error=0.5, atol=1e-5, rtol=1e-3)) == "max abs 0.5 (atol 1e-05, rtol 0.001)"


def finish(progress: Progress, results: list[CellResult]) -> None:
    for result in results:
        progress.started(result.model_name, result.conversion, "convert")
        progress.finished(result.model_name, result.conversion, "convert")
        progress.decided(replace(result, status=UNDECIDED), failed=True)
        progress.started(result.model_name, result.conversion, "verify")
        progress.finished(result.model_name, result.conversion, "verify")
        progress.decided(result, failed=result.status.state is not State.PASSED)


UNDECIDED = Status(state=State.CANCELLED, message="not decided")
DECIDED = [replace(of_state(State.CRASHED), conversion=f"cell{number}") for number in range(40)]


def test_a_log_gets_one_plain_line_for_each_decided_cell() -> None:
    stream = io.StringIO()
    with Progress(two_models(), stream) as progress:
        progress.started("resnet50", "source", "reference")
        progress.finished("resnet50", "source", "reference")
        finish(progress, [of_state(State.CRASHED), GOOD.results[1]])
    assert stream.getvalue() == (
        "effnet    onnx_op14  crashed        1.0 s  the worker was killed by signal SIGSEGV\n"
        "resnet50  onnx_op13  passed         3.0 s  max abs 3.1e-06 (atol 1e-05)\n"
    )


def test_threads_do_not_tear_lines() -> None:
    stream = io.StringIO()
    with Progress(two_models(), stream) as progress:
        threads = [threading.Thread(target=finish, args=(progress, DECIDED[start::4])) for start in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = stream.getvalue().splitlines()
    assert sorted(lines) == sorted(line_of(result, widths=(8, 9)) for result in DECIDED)


def test_a_stream_that_lacks_characters_gets_question_marks() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with Progress(two_models(), stream) as progress:
        finish(progress, [replace(DECIDED[0], model_name="modèle")])
    stream.seek(0)
    assert stream.read().startswith("mod?le")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[io.TextIOWrapper, int]]:
    """A pseudo-terminal: the end that a program writes to, and the one that a person looks at."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("NO_COLOR", raising=False)
    seen, written = os.openpty()
    tty.setraw(written)
    with os.fdopen(written, "w", encoding="utf-8") as stream:
        yield stream, seen
    os.close(seen)


class Reader(threading.Thread):
    """Collects what comes out of a terminal, which holds only a few KiB itself."""

    def __init__(self, number: int) -> None:
        super().__init__(daemon=True)
        self._number = number
        self._content = b""
        self.start()

    def run(self) -> None:
        while not self._content.endswith(b"END\n"):
            self._content += os.read(self._number, 65536)

    def all(self, stream: io.TextIOWrapper) -> str:
        stream.write("END\n")
        stream.flush()
        self.join(30)
        return self._content.decode()


def test_a_terminal_gets_counts_and_coloured_lines(terminal: tuple[io.TextIOWrapper, int]) -> None:
    stream, seen = terminal
    reader = Reader(seen)
    with Progress(two_models(), stream) as progress:
        progress.started("resnet50", "onnx_op13", "convert")
        finish(progress, [of_state(State.CRASHED), replace(GOOD.results[1], model_name="[bold]m[/bold]")])
    shown = reader.all(stream)
    assert "\x1b[1;31meffnet    onnx_op14  crashed" in shown
    assert "\x1b[32m[bold]m[/bold]  onnx_op13  passed" in shown, "names are no markup"
    assert "0 of 2 conversions" in shown
    assert "2 of 2 conversions" in shown
    assert shown.count("killed by signal") == 1
    assert "\x1b[?25h" in shown, "the cursor is back"


@pytest.mark.parametrize(("name", "value"), [("TERM", "dumb"), ("TERM", "")])
def test_a_dumb_terminal_gets_plain_lines(
    terminal: tuple[io.TextIOWrapper, int], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    stream, seen = terminal
    reader = Reader(seen)
    with Progress(two_models(), stream) as progress:
        finish(progress, [of_state(State.CRASHED)])
    assert reader.all(stream) == f"{line_of(of_state(State.CRASHED), widths=(8, 9))}\nEND\n"


def test_the_summary_is_coloured_on_a_terminal_and_without_on_request(
    terminal: tuple[io.TextIOWrapper, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, seen = terminal
    monkeypatch.setattr(sys, "stdout", stream)
    reader = Reader(seen)
    show_summary(summarize(EVERY_STATE))
    monkeypatch.setenv("NO_COLOR", "1")
    show_summary(summarize(GOOD))
    shown = reader.all(stream)
    first, second = shown.split("1 h 3 min", 1)
    assert "\x1b[1;31mresnet50  onnx_op14  MISMATCHED" in first
    assert "\x1b[3" not in second.split("\n", 1)[1], "no colour"
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert plain == summary_text(EVERY_STATE) + summary_text(GOOD) + "END\n"


def test_a_pipe_gets_no_control_characters_even_if_colour_is_forced(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    show_summary(summarize(EVERY_STATE))
    with Progress(two_models()) as progress:
        finish(progress, [of_state(State.CRASHED)])
    shown = capsys.readouterr().out
    assert shown.startswith(summary_text(EVERY_STATE))
    assert "\x1b" not in shown
    assert "\r" not in shown


def test_what_a_model_printed_cannot_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "convert.log"
    log.write_text("loading\n\x1b[2K\rPASSED\x07\n  \u202eindented\n" + "more\n" * 198)
    show_log(log)
    title, left_out, first, second, *_ = capsys.readouterr().out.splitlines()
    assert (title, left_out) == (f"--- {log}", "(2 more lines)")
    assert (first, second) == ("PASSED", "  indented")


def test_rendering_imports_rich_only_for_a_terminal() -> None:
    program = (
        "import sys; from navigator.render import console, markdown;"
        "assert not any(name.split('.')[0] == 'rich' for name in sys.modules), 'rich'"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])


def test_a_log_says_now_and_then_what_runs() -> None:
    said: queue.SimpleQueue[str] = queue.SimpleQueue()
    beat = Heartbeat(said.put, 3, every_seconds=0.01)
    beat.start()
    try:
        beat.started(("resnet50", "onnx_op13", "convert"))
        beat.decided()
        line = said.get(timeout=10)
        while not line.startswith("still running (1 "):
            line = said.get(timeout=10)
        beat.finished(("resnet50", "onnx_op13", "convert"))
    finally:
        beat.stop()
    while not said.empty():
        said.get()
    time.sleep(0.05)

    expected = r"still running \(1 of 3 conversions decided\): resnet50 onnx_op13 convert for 0\.\d s"
    assert re.fullmatch(expected, line)
    assert said.empty()


def test_a_log_says_how_far_a_conversion_is_and_nothing_of_what_a_model_could_write() -> None:
    said: queue.SimpleQueue[str] = queue.SimpleQueue()
    stream = io.StringIO()
    progress = Progress(two_models(), stream, doing=lambda model, label: f"Timing\x1b[31m {model}\n{label}, 40 %" * 9)
    beat = Heartbeat(said.put, 2, progress._how_far, every_seconds=0.01)
    beat.start()
    try:
        beat.started(("resnet50", "trt_fp32", "convert"))
        beat.started(("resnet50", "trt_fp32", "verify"))
        line = said.get(timeout=10)
        while "verify" not in line:
            line = said.get(timeout=10)
    finally:
        beat.stop()

    told = re.search(r"convert for 0\.\d s \((.*)\), resnet50 trt_fp32 verify for 0\.\d s$", line)
    assert told
    assert told[1].startswith("Timing [31m resnet50 trt_fp32, 40 %")
    assert len(told[1]) <= 60


def test_a_run_has_a_heartbeat_in_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("navigator.render.heartbeat.EVERY_SECONDS", 0.01)
    stream = io.StringIO()

    with Progress(two_models(), stream) as progress:
        progress.started("resnet50", "onnx_op13", "convert")
        until = time.monotonic() + 10
        while "still running" not in stream.getvalue() and time.monotonic() < until:
            time.sleep(0.01)

    assert "resnet50 onnx_op13 convert for" in stream.getvalue()


@pytest.mark.parametrize(
    ("report", "message", "color"),
    [
        (GOOD, "3 of 3 passed", "brightgreen"),
        (replace(GOOD, complete=False), "incomplete", "lightgrey"),
        (replace(GOOD, results=()), "none", "lightgrey"),
        (replace(EVERY_STATE, results=(of_state(State.MISMATCHED),)), "0 of 1 passed", "red"),
    ],
)
def test_a_badge_says_how_many_passed(report: Report, message: str, color: str) -> None:
    shown = json.loads(badge(summarize(report)))
    assert shown == {"schemaVersion": 1, "label": "conversions", "message": message, "color": color}
