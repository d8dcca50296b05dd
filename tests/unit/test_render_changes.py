"""The first line, the rows and the folds of a report, and the commands in it."""

from dataclasses import replace
from typing import Any

import pytest

from navigator.records import CellResult, Changes, FailOn, Report, Rules, State, WorstElement
from navigator.render.folds import Fold, Part, markdown
from navigator.render.headline import headline
from navigator.render.markdown import summary_markdown
from navigator.render.reproduction import reproduction
from navigator.report.summary import summarize
from tests.support.builders import a_comparison
from tests.support.comparisons import a_run, cell, compared, given, passing

GOOD = a_run(passing("m/onnx_op13"), passing("m/onnx_op17"))


def mismatched(name: str, error: float = 0.5, **changes: Any) -> CellResult:
    wrong = a_comparison("y", passed=False, max_abs_error=error, reference_min=-1.0, reference_max=1.0)
    return cell(name, State.MISMATCHED, comparisons=(wrong,), **changes)


def shown(base: Report, run: Report) -> list[str]:
    """Return heading and rows of a run compared with a base."""
    text = summary_markdown(summarize(run, compared(base, run)))
    return [line for line in text.partition("<details>")[0].splitlines() if line.startswith(("###", "- "))]


def plain(text: str) -> str:
    return text.replace("\u00a0", " ").replace("\u2011", "-").replace("\\", "")


def with_rules(report: Report, **rules: Any) -> Report:
    return replace(report, rules=Rules(**rules))


# The first line and the rows ----------------------------------------------------------------------------------------


def test_equal_failures_are_one_row_with_the_largest_error_and_the_one_before() -> None:
    base = a_run(passing("m/onnx_op13", 1e-6), passing("m/onnx_op17", 2e-6))
    heading, row = map(plain, shown(base, a_run(mismatched("m/onnx_op13"), mismatched("m/onnx_op17", 0.25))))

    assert heading == "### ❌ 2 conversions broke (main 1a2b3c4 → 1a2b3c4): `m` onnx_op13, onnx_op17"
    assert row == (
        "- ❌ **Broken** `m` onnx_op13, onnx_op17: mismatched, `y` error 1e-06 → at most **0.5**; atol 1e-05, "
        "rtol 1e-05, range -1 to 1"
    )


def test_the_largest_error_is_shown_whichever_is_furthest_out_of_tolerance() -> None:
    def wrong(name: str, error: float, reference: float) -> CellResult:
        element = WorstElement(sample="s", index=(0,), reference=reference, value=reference + error)
        compared = a_comparison("y", passed=False, max_abs_error=error, rtol=0.1, worst=element)
        return cell(name, State.MISMATCHED, comparisons=(compared,))

    _, row = map(plain, shown(GOOD, a_run(wrong("m/onnx_op13", 0.4, 0.0), wrong("m/onnx_op17", 0.5, 4.0))))

    assert "`y` error 0 → at most **0.5**; atol 1e-05, rtol 0.1" in row


def test_what_matters_most_is_named_and_the_rest_counted() -> None:
    base = a_run(passing("m/a"), passing("m/b"), mismatched("m/c"), passing("m/d", size=10**6))
    run = a_run(mismatched("m/a"), passing("m/c"), passing("m/d", size=10**7), mismatched("m/e"))

    heading, *rows = map(plain, shown(base, run))

    assert heading == (
        "### ❌ 1 conversion broke, 1 new conversion fails, 1 got worse, 1 removed, 1 fixed "
        "(main 1a2b3c4 → 1a2b3c4): `m` a"
    )
    assert [row.split("**")[1] for row in rows] == ["Broken", "New", "Worse", "Removed", "Fixed"]
    assert rows[3] == "- 🗑️ **Removed** `m` b: it passed in the base"


def test_what_failed_before_is_told_after_what_is_new() -> None:
    base = a_run(mismatched("m/a"), passing("m/b"))
    heading, *rows = map(plain, shown(base, a_run(mismatched("m/a"), mismatched("m/b"))))

    assert heading.startswith("### ❌ 1 conversion broke (")
    assert heading.endswith(": `m` b")
    assert [row.split("**")[1] for row in rows] == ["Broken", "Still failing"]


def test_what_is_fixed_says_what_was_wrong() -> None:
    broken = cell("m/b", State.FAILED, message="no Erf in opset 8")
    base = a_run(mismatched("m/a"), broken, cell("m/c", State.UNAVAILABLE, message="no GPU"))

    _, *rows = map(plain, shown(base, a_run(passing("m/a", 1e-6), passing("m/b"), passing("m/c"))))

    assert rows == [
        "- ✅ **Fixed** `m` a: it was mismatched in the base: `y` error 0.5 → **1e-06**",
        "- ✅ **Fixed** `m` b: it failed in the base: no Erf in opset 8",
        "- ✅ **Fixed** `m` c: it was unavailable in the base: no GPU",
    ]


@pytest.mark.parametrize(("fail_on", "mark"), [(FailOn.REGRESSION, "✅"), (FailOn.FAILURE, "❌")])
def test_a_run_in_which_only_the_same_fails(fail_on: FailOn, mark: str) -> None:
    failing = with_rules(a_run(mismatched("m/a"), passing("m/b")), fail_on=fail_on)

    [heading, row] = map(plain, shown(failing, failing))

    assert heading == f"### {mark} Nothing changed, 1 of 2 conversions still fails (main 1a2b3c4 → 1a2b3c4): `m` a"
    assert row.startswith("- ❌ **Still failing** `m` a: mismatched, `y` error **0.5**; ")


def test_what_is_accepted_is_no_alarm_and_says_why() -> None:
    run = with_rules(a_run(passing("m/onnx_op17")), fail_on=FailOn.REGRESSION, accept={"removed m": "*nobody* runs it"})

    heading, row = shown(GOOD, run)

    assert heading == "### ✅ 1 change accepted (main 1a2b3c4 → 1a2b3c4)"
    assert row == "- 🗑️ **Removed** `m` onnx\\_op13: it passed in the base — accepted: \\*nobody\\* runs it"


def test_looser_options_are_counted_and_shown_with_their_values() -> None:
    run = replace(GOOD, models=(given(fp16_gates={"cosine": 0.9}, search_seconds=0),))
    base = replace(GOOD, models=(given(fp16_gates={"cosine": 0.99}),))

    heading, *rows = map(plain, shown(base, run))

    assert heading == "### ❌ 2 options loosened (main 1a2b3c4 → 1a2b3c4): `m`"
    assert len(rows) == 1
    assert "`fp16_gates` of" in rows[0]
    assert "`search_seconds`" in rows[0]


def test_other_changes_explain_what_happened() -> None:
    run = replace(GOOD, models=(given(sha256="b", onnx_opsets=[13, 17]),))
    run = replace(run, environment=replace(run.environment, versions={"onnx": "1.19", "onnxruntime": "1.22"}))

    heading, row = map(plain, shown(GOOD, run))

    assert heading == "### ✅ Nothing broke, 2 of 2 conversions passed (main 1a2b3c4 → 1a2b3c4)"
    assert row == "- 📝 **Also changed**: files of `m`; `m` `onnx_opsets` `auto` → **`[13, 17]`**; onnx 1.18 → 1.19"


def test_a_cancelled_run_says_so_first() -> None:
    run = a_run(
        mismatched("m/onnx_op13"), cell("m/onnx_op17", State.CANCELLED, message="the run ended"), complete=False
    )

    heading, *rows = map(plain, shown(GOOD, run))

    assert heading.startswith(
        "### ⚠️ Incomplete: 1 of 2 conversions cancelled, 1 failed; 1 conversion broke (main 1a2b3c4 → 1a2b3c4)"
    )
    assert [row.split("**")[1] for row in rows] == ["Broken", "Cancelled"]


def test_what_fails_without_a_result_in_the_base_is_no_silence() -> None:
    base = a_run(passing("m/a"), cell("m/b", State.CANCELLED, message="the run ended"), complete=False)

    heading, row = map(plain, shown(base, a_run(passing("m/a"), mismatched("m/b"))))

    assert heading == "### ❌ 1 conversion fails without a result in the base (main 1a2b3c4 → 1a2b3c4): `m` b"
    assert row.startswith("- ❌ **Mismatched** `m` b: `y` error **0.5**; ")


def test_what_this_machine_lacks_is_no_success() -> None:
    gone = cell("m/onnx_op17", State.UNAVAILABLE, message="not installed: onnx", requested=False)

    run = with_rules(a_run(passing("m/onnx_op13"), gone), fail_on=FailOn.FAILURE)
    heading, row = map(plain, shown(with_rules(GOOD, fail_on=FailOn.FAILURE), run))

    assert heading.startswith("### ⚠️ 1 conversion broke (")
    assert row == "- 🔌 **Broken** `m` onnx_op17: unavailable, not installed: onnx"


def test_a_run_that_was_broken_off_says_so() -> None:
    run = a_run(mismatched("m/onnx_op13"), passing("m/onnx_op17"), complete=False)
    assert shown(GOOD, run)[0].startswith("### ❌ 1 conversion broke, and the run is incomplete (")
    run = with_rules(run, fail_on=FailOn.FAILURE)
    assert shown(run, run)[0].startswith("### ❌ Nothing changed, 1 of 2 conversions still fails, and the run is incom")


def test_without_a_baseline_one_line_says_so() -> None:
    text = summary_markdown(summarize(GOOD, Changes(baseline=compared(GOOD, GOOD).baseline)))
    assert "Not compared" not in text

    missing = replace(compared(GOOD, GOOD).baseline, found=False, note="no run of main has results")
    assert " · Not compared: no run of main has results; fail\\_on is regression" in summary_markdown(
        summarize(GOOD, Changes(baseline=missing))
    )


def test_a_label_and_a_path_stand_for_a_commit_that_is_unknown() -> None:
    def about(**told: str) -> str:
        return headline(summarize(GOOD, compared(GOOD, GOOD, commit="", **told))).about

    assert about() == "main → 1a2b3c4"
    assert about(label="", path="base/convert_results.yaml") == "base/convert_results.yaml → 1a2b3c4"
    assert about(label="") == "base → 1a2b3c4"


def test_many_models_with_one_reason_are_one_row() -> None:
    models = tuple(given(f"m{number}", sha256=f"{number:064x}") for number in range(12))
    base = a_run(*(passing(f"{each.model_name}/onnx") for each in models), models=models)
    failed = [cell(f"{each.model_name}/onnx", State.FAILED, message="no Erf in opset 8") for each in models]

    heading, row = shown(base, a_run(*failed, models=models))

    names = "`m0`, `m1`, `m2`, `m3`, `m4`, `m5` and 6 more models"
    assert heading == f"### ❌ 12 conversions broke (main 1a2b3c4 → 1a2b3c4): {names}"
    assert row == f"- ❌ **Broken** {names} (12 conversions): failed, no Erf in opset 8"


# Folds --------------------------------------------------------------------------------------------------------------

PARTS: list[Part | Fold] = [
    Part("# head"),
    Part("- one", "row"),
    Part("- two", "row"),
    Fold("more", (Part("x" * 3000, "detail"), Fold("inner", (Part("y" * 3000, "table"), Part("z", "table"))))),
]


def test_parts_are_paragraphs_and_items_one_list() -> None:
    shown = markdown(PARTS)
    assert shown.startswith("# head\n\n- one\n- two\n\n<details>\n<summary>more</summary>\n\nxxx")
    assert shown.endswith("z\n\n</details>\n\n</details>\n")


@pytest.mark.parametrize(
    ("limit", "there", "left_out"),
    [
        (len(markdown(PARTS)), "xyz", ""),
        (6100, "xz", "1 table"),
        (3500, "x", "2 tables"),
        (3300, "z", "1 detail, 1 table"),
        (450, "", "1 detail, 2 tables"),
    ],
)
def test_the_last_parts_are_left_out_first(limit: int, there: str, left_out: str) -> None:
    shown = markdown(PARTS, limit)
    assert "".join(each for each in "xyz" if f"\n{each}" in shown) == there
    assert len(shown) <= limit
    assert shown.count("<details>") == shown.count("</details>")
    assert (f"Left out: {left_out}.\n" in shown) == bool(left_out)


# Commands -----------------------------------------------------------------------------------------------------------

ONE = "model-navigator convert --models m --conversions {} --verbose"


@pytest.mark.parametrize(
    ("commands", "said"),
    [
        (
            [ONE.format("a"), ONE.format("b"), ONE.format("a")],
            "model-navigator convert \\\n  --models m \\\n  --conversions a b \\\n  --verbose",
        ),
        (["run --conversions a"], "run \\\n  --conversions a"),
        (["run --conversions a", "run --conversions b"], "run \\\n  --conversions a b"),
        (["run 'x --y'", "run --conversions b"], "run 'x --y'\nrun \\\n  --conversions b"),
        (
            ["run --x 1 --conversions a", "run --x 2 --conversions a"],
            "run \\\n  --x 1 \\\n  --conversions a\nrun \\\n  --x 2 \\\n  --conversions a",
        ),
        (["run --conversions a b", "run --conversions c"], "run \\\n  --conversions a b\nrun \\\n  --conversions c"),
        (["run --conversions"], "run \\\n  --conversions"),
        (["run 'unclosed", ""], "run 'unclosed"),
        ([], ""),
    ],
)
def test_commands_are_one_with_an_option_on_a_line(commands: list[str], said: str) -> None:
    assert reproduction(commands) == said
