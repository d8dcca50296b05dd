"""The comment on a pull request: its first line, its length whatever a repository holds, and its links."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from navigator.config import InvalidConfigurationError, Problem
from navigator.errors import ConfigurationError, NavigatorError
from navigator.records import (
    Baseline,
    CellResult,
    Change,
    Changes,
    ConversionChange,
    KeyChange,
    KeyKind,
    ModelChange,
    Report,
    State,
    Status,
)
from navigator.render.comment import ArtifactLink, Links, comment, marker, outcome, problem_text
from navigator.render.headline import description
from navigator.render.markdown import summary_markdown
from navigator.render.sentences import tally, verdict
from navigator.render.text import clean
from navigator.report import report, storage
from navigator.report.summary import summarize

CASES = Path(__file__).parents[1] / "cases" / "render"
EVERY_STATE = storage.read(CASES / "every_state.yaml")
GOOD = summarize(storage.read(CASES / "good.yaml"))
MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
RUN = "https://github.com/owner/name/actions/runs/1"
LINKS = Links(
    run_url=RUN,
    models=(
        ArtifactLink(
            name="m", url=f"{RUN}/artifacts/2", size_bytes=12 * 2**20, digest=f"sha256:{'0123456789abcdef' * 4}"
        ),
    ),
    results_url=f"{RUN}/artifacts/3",
)
FIRST = re.compile(r"<!-- model-navigator:[A-Za-z0-9_.~%/ -]* outcome:[0-9a-f]{16} -->")


def of_state(state: State) -> CellResult:
    return next(result for result in EVERY_STATE.results if result.status.state is state)


def links_of(markdown: str) -> list[str]:
    return [
        str(child.attrs["href"])
        for token in MARKDOWN.parse(markdown)
        for child in token.children or ()
        if child.type == "link_open"
    ]


def test_a_comment_is_the_summary_between_its_marker_and_its_links() -> None:
    shown = comment(summarize(EVERY_STATE), key="main", links=LINKS)

    first, rest = shown.split("\n", 1)
    assert first == f"<!-- model-navigator:main outcome:{outcome(summarize(EVERY_STATE))} -->"
    assert FIRST.fullmatch(first)
    last = f"[Converted models]({RUN}/artifacts/2) (12.0 MiB, sha256 `0123456789ab`) · [Results]({RUN}/artifacts/3)"
    assert rest == f"{summary_markdown(summarize(EVERY_STATE))}\n{last} · [Job]({RUN})\n"
    assert links_of(shown) == [LINKS.models[0].url, LINKS.results_url, LINKS.run_url]


def test_a_run_in_which_nothing_changed_takes_two_lines() -> None:
    there = Baseline(found=True, commit="abc1234", label="main")
    changes = Changes(baseline=there)

    shown = comment(summarize(GOOD.report, changes), key="main", links=LINKS)

    assert changes.is_nothing
    first, second = shown.split("\n", 1)[1].rstrip("\n").split("\n\n")
    assert first == "### ✅ Nothing changed, 3 of 3 conversions passed (main abc1234 → 4d1f6b1)"
    assert second.startswith(f"{tally(GOOD, first)} · ⚠️ 1 weak check · [Converted models]({RUN}/artifacts/2) (12.0 MiB")
    assert "<details>" in summary_markdown(summarize(GOOD.report, changes)), "the run's page has everything"
    failing = summarize(EVERY_STATE, changes)
    assert comment(failing, key="main", links=LINKS).count("<details>") > 3


def test_what_tells_a_comment_from_others_begins_its_heading() -> None:
    shown = comment(GOOD, key="k", links=Links(), title="nightly @everyone\n# *x*")

    heading = summary_markdown(GOOD).splitlines()[0]
    assert heading.startswith("### ✅ 3 of 3")
    assert shown.splitlines()[1] == heading.replace("✅ ", "✅ nightly @\u200beveryone \\# \\*x\\*: ")
    assert comment(GOOD, key="k", links=Links()).splitlines()[1:] == summary_markdown(GOOD).splitlines()


def test_a_problem_stands_above_the_verdict() -> None:
    shown = comment(GOOD, key="k", links=Links(), problem="It wasn't\nfinished: *x*")

    assert shown.splitlines()[1:4] == ["**It wasn't finished: \\*x\\***", "", summary_markdown(GOOD).splitlines()[0]]


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "https://x/a) [click](https://evil.example",
        "https://x/a b",
        "https://x/a\n# heading",
        "https://x/<script>",
        "http:relative",
        "",
    ],
)
def test_what_is_no_plain_url_is_no_link(url: str) -> None:
    bad = ArtifactLink(name="m", url=url, digest="sha256:)")
    shown = comment(GOOD, key="k", links=replace(LINKS, models=(bad,), results_url=url))

    assert links_of(shown) == [RUN]
    assert shown.endswith(f"\n[Job]({RUN})\n")


def test_logs_are_linked_to_the_run_that_shows_them() -> None:
    """The machine that a path is on is gone when somebody reads the comment."""
    summary = summarize(EVERY_STATE)
    shown = comment(summary, key="k", links=replace(LINKS, log_url=f"{RUN}7"))

    assert shown.count(f"; its end is in [the run's log]({RUN}7)\n") == shown.count("Log: `") > 1
    assert summary_markdown(summary, log_url="javascript:alert(1)") == summary_markdown(summary)


def test_every_artifact_is_linked_by_its_name_up_to_a_limit() -> None:
    names = ["a.onnx", "b](https://evil.example)", *(f"m{number}" for number in range(60))]
    made = [ArtifactLink(name=name, url=f"{RUN}/artifacts/{number}") for number, name in enumerate(names)]

    shown = comment(GOOD, key="k", links=replace(LINKS, models=tuple(made)))

    assert f"\nConverted models: [a.onnx]({RUN}/artifacts/0), [b" in shown
    assert f"[m47]({RUN}/artifacts/49), and 12 more · [Results]" in shown
    assert links_of(shown) == [*(each.url for each in made[:50]), LINKS.results_url, LINKS.run_url]


# The first line -----------------------------------------------------------------------------------------------------

KEYS = st.text(max_size=300) | st.text(alphabet="->!<a \n", max_size=30)


@given(KEYS)
def test_no_key_ends_the_first_line_or_is_seen(key: str) -> None:
    shown = comment(GOOD, key=key, links=Links())

    first = shown.split("\n", 1)[0]
    assert FIRST.fullmatch(first)
    assert first.startswith(marker(key))
    assert "--" not in first[4:-3]
    assert len(first) < 300
    tokens = MARKDOWN.parse(shown)
    assert tokens[0].type == "html_block"
    assert tokens[0].content.strip() == first
    assert tokens[1].type == "heading_open"


@given(KEYS, KEYS)
def test_a_marker_is_found_in_the_comments_of_its_key_only(one: str, other: str) -> None:
    assert comment(GOOD, key=one, links=Links()).startswith(marker(other)) is (one == other)


def test_long_keys_that_begin_alike_differ() -> None:
    assert len({marker("k" * 200 + each) for each in "abc"}) == 3


def test_the_outcome_changes_with_what_became_of_cells_and_with_nothing_else() -> None:
    known = outcome(summarize(EVERY_STATE))
    slower = replace(EVERY_STATE, seconds=EVERY_STATE.seconds + 1, notes=("a note",))
    turned = replace(EVERY_STATE, results=EVERY_STATE.results[::-1])
    others = [
        replace(EVERY_STATE, complete=not EVERY_STATE.complete),
        replace(EVERY_STATE, results=EVERY_STATE.results[1:]),
        replace(EVERY_STATE, results=(*EVERY_STATE.results[:-1], replace(EVERY_STATE.results[-1], conversion="x"))),
        replace(EVERY_STATE, results=(*EVERY_STATE.results[:-1], replace(EVERY_STATE.results[-1], model_name="x"))),
        replace(EVERY_STATE, results=(of_state(State.FAILED), *EVERY_STATE.results[1:])),
    ]

    assert known == outcome(summarize(slower)) == outcome(summarize(turned))
    assert re.fullmatch("[0-9a-f]{16}", known)
    assert len({known, *(outcome(summarize(each)) for each in others)}) == 1 + len(others)


def test_what_changed_since_the_base_is_part_of_the_outcome() -> None:
    there = Changes(baseline=Baseline(found=True))
    gone = ConversionChange(model_name="m", conversion="onnx", change=Change.REMOVED)
    looser = ModelChange(name="m", keys=(KeyChange(key="atol", before=1, after=2, kind=KeyKind.LOOSENED),))
    changed = ModelChange(name="m", keys=(KeyChange(key="jobs", before=1, after=2),))

    def of(**more: Any) -> str:
        return outcome(summarize(EVERY_STATE, replace(there, **more)))

    assert outcome(summarize(EVERY_STATE)) == of() == of(models=(changed,))
    assert len({of(), of(conversions=(gone,)), of(models=(looser,))}) == 3


# Length -------------------------------------------------------------------------------------------------------------

NAMES = {
    "plain": "model",
    "wide": "😀" * 100,
    "escapes": "`|<$*_" * 40,
    "marker": "--> @everyone <!-- model-navigator:main outcome:0000000000000000 -->",
    "surrogates": "\udcff" * 100,
    "combining": "e\u0301\u200d" * 80,
}


def hostile(name: str, number: int = 3000) -> Report:
    """Return 3,000 cells of which every other fails, each for its own reason."""
    passed, bad = of_state(State.PASSED), (of_state(State.MISMATCHED), of_state(State.BLOCKED), of_state(State.FAILED))
    results = []
    for index in range(number):
        base = bad[index // 2 % 3] if index % 2 else passed
        status = Status(state=base.status.state, message=f"{name} {index}")
        model = f"{name}{index % 50}"
        results.append(replace(base, model_name=model, conversion=f"{index} {name}", status=status, warnings=(name,)))
    return report.build(EVERY_STATE.environment, results, notes=[name] * 20, complete=True)


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        ("plain", 3000),
        *((kind, 400) for kind in NAMES if kind != "plain"),
        *(pytest.param(kind, 3000, marks=pytest.mark.nightly) for kind in NAMES if kind != "plain"),
    ],
)
def test_a_comment_on_many_cells_is_within_github_s_limits_and_failures_come_first(kind: str, number: int) -> None:
    name = NAMES[kind]
    made = hostile(name, number)

    shown = comment(summarize(made), key="main", links=LINKS, problem=name)

    assert len(shown) <= 65_535
    assert len(shown.encode("utf-16-le")) // 2 <= 2 * 65_535
    assert len(shown.encode()) <= 262_144
    assert shown.startswith(f"{marker('main')}{outcome(summarize(made))} -->\n")
    assert shown.count("<!--") == shown.count("-->") == 1
    assert shown.endswith(f"[Job]({RUN})\n")
    blocked = len(range(1, number // 2, 3))
    failed = f"{number // 2 - blocked:,} of {number:,} conversions failed, {blocked:,} blocked"
    assert failed in shown.split("\n\n")[1 if clean(name) else 0]
    assert "**Truncated:** the full report doesn't fit here. Left out: " in shown
    assert "❌" in shown[shown.index(failed) :]
    assert "✅" not in shown, "no passed cell takes the room of a failing one"
    assert len(shown) > 50_000, "what room there is is used"
    MARKDOWN.parse(shown)


@pytest.mark.parametrize("limit", [1000, 5000, 20_000])
def test_any_limit_holds(limit: int) -> None:
    assert len(comment(summarize(EVERY_STATE), key="main", links=LINKS, limit_chars=limit)) <= limit
    assert len(problem_text(wrong("x" * 400, 100), key="main", links=LINKS, limit_chars=limit)) <= limit


# A configuration that is wrong --------------------------------------------------------------------------------------


def wrong(message: str, number: int = 1, hint: str = "") -> InvalidConfigurationError:
    path = Path("models/navigator.yaml")
    return InvalidConfigurationError(
        [Problem(path=path, line=3 + index, column=1, message=message, hint=hint) for index in range(number)]
    )


def test_problems_are_listed_with_their_places_and_what_to_do() -> None:
    error = InvalidConfigurationError(
        [
            Problem(path=Path("navigator.yaml"), line=3, column=1, message="unknown key 'x'", hint="write 'y'"),
            Problem(path=None, line=None, column=None, message="--models: is empty"),
        ]
    )

    shown = problem_text(error, key="main", links=LINKS)

    assert shown.splitlines() == [
        f"<!-- model-navigator:main outcome:{outcome(error)} -->",
        "### ❌ Invalid configuration: 2 problems",
        "",
        "Nothing was converted.",
        "",
        "- `navigator.yaml:3:1`: unknown key 'x'\\",
        "  **How to fix:** write 'y'",
        "- \\--models: is empty",
        "",
        comment(GOOD, key="main", links=LINKS).splitlines()[-1],
    ]
    assert problem_text(error, key="main", title="a.yaml").splitlines()[1] == (
        "### ❌ a.yaml: Invalid configuration: 2 problems"
    )
    assert FIRST.fullmatch(shown.splitlines()[0])


def test_any_other_reason_is_said_too() -> None:
    shown = problem_text(ConfigurationError("there is no navigator.yaml", "add one"), key="k")

    assert shown.splitlines()[1:] == [
        "### ❌ The run didn't start",
        "",
        "Nothing was converted.",
        "",
        "- there is no navigator.yaml\\",
        "  **How to fix:** add one",
    ]


def test_other_problems_are_another_outcome() -> None:
    errors: list[NavigatorError] = [
        wrong("a"),
        wrong("b"),
        wrong("a", 2),
        wrong("a", hint="c"),
        ConfigurationError("a"),
    ]

    assert len({outcome(each) for each in errors}) == len(errors)
    assert outcome(wrong("a")) == outcome(wrong("a"))


def test_many_long_problems_are_cut_with_their_number() -> None:
    shown = problem_text(wrong("😀`|" * 1000, 101), key="main", links=LINKS)

    assert len(shown) <= 65_535
    assert len(shown.encode()) <= 262_144
    told = shown.count("models/navigator.yaml:")
    assert 0 < told < 101
    assert f"\n- and {101 - told} more\n" in shown


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_problem_changes_the_structure(message: str, hint: str) -> None:
    problem = Problem(path=Path("n.yaml"), line=1, column=1, message=f"x{message}", hint=hint)
    shown = problem_text(InvalidConfigurationError([problem, problem]), key="main")

    assert shown.count("<!--") == shown.count("-->") == 1
    types = [token.type for token in MARKDOWN.parse(shown) if token.type != "inline"]
    item = ["list_item_open", "paragraph_open", "paragraph_close", "list_item_close"]
    heading = ["heading_open", "heading_close"]
    assert types == [
        *("html_block", *heading, "paragraph_open", "paragraph_close"),
        *("bullet_list_open", *item, *item, "bullet_list_close"),
    ]


# A commit status ----------------------------------------------------------------------------------------------------


def test_a_description_begins_as_the_comment_does_in_140_characters() -> None:
    assert description(GOOD) == f"{verdict(GOOD)} (4d1f6b1); {tally(GOOD, verdict(GOOD))}"
    every = description(summarize(EVERY_STATE))
    assert every.startswith(
        "Incomplete: 1 of 11 conversions cancelled, 5 failed, 1 blocked (4d1f6b1): resnet50 onnx_op14; effnet onnx"
    )
    assert len(every) in (139, 140)
    assert every.endswith("…")
    heading = summary_markdown(summarize(EVERY_STATE)).splitlines()[0].replace("\\", "").replace("`", "")
    assert every[:-1] in heading
