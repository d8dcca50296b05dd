"""Options that differ: which of them let more pass, which may be accepted, and what other programs may have written."""

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from navigator.changes.compare import compare
from navigator.changes.options import option_changes
from navigator.changes.rehearsal import installed
from navigator.changes.tolerances import applied
from navigator.records import (
    Change,
    FailOn,
    Given,
    KeyKind,
    ModelConfig,
    Origin,
    Precision,
    Regression,
    Report,
    Rules,
    Selection,
    State,
)
from tests.support.comparisons import COMMIT, NEXT, a_run, cell, compared, given, passing, said

# The option, its values before and after, and what the change means; "default" is that it isn't set.
JUDGED: list[tuple[str, Any, Any, KeyKind]] = [
    ("atol", "default", {"": 1e-3}, KeyKind.LOOSENED),
    ("atol", {"": 1e-3}, "default", KeyKind.TIGHTENED),
    ("rtol", {"": 1e-3, "y": 1e-4}, {"": 1e-3, "y": 1e-5}, KeyKind.TIGHTENED),
    ("fp16_atol", "default", {"y": 1.0}, KeyKind.LOOSENED),
    ("fp16_atol", "default", {"y": 0.001}, KeyKind.TIGHTENED),
    ("int8_atol", "default", {"y": 1.0}, KeyKind.CHANGED),
    ("fp16_gates", "default", {"cosine": 0.9}, KeyKind.TIGHTENED),
    ("fp16_gates", {"cosine": 0.9}, "default", KeyKind.LOOSENED),
    ("int8_gates", {"sqnr_db": 20.0}, {"sqnr_db": 10.0}, KeyKind.LOOSENED),
    ("int8_gates", {"divergence": 0.1}, {"divergence": 0.2}, KeyKind.LOOSENED),
    ("int8_gates", {"divergence": 0.1}, {"divergence": 0.05}, KeyKind.TIGHTENED),
    ("quality", "default", "98%", KeyKind.LOOSENED),
    ("quality", "98%", "99.9%", KeyKind.TIGHTENED),
    ("metric", "default", "metric.py:accuracy", KeyKind.CHANGED),
    ("metric", "metric.py:accuracy", "default", KeyKind.LOOSENED),
    ("samples", ["a.npz", "b.npz"], ["a.npz"], KeyKind.FEWER_SAMPLES),
    ("samples", ["a.npz"], ["a.npz", "b.npz"], KeyKind.TIGHTENED),
    ("samples", ["a.npz"], ["b.npz"], KeyKind.CHANGED),
    ("samples", "default", ["a.npz"], KeyKind.CHANGED),
    ("probe", "default", False, KeyKind.LOOSENED),
    ("probe", False, "default", KeyKind.TIGHTENED),
    ("search_seconds", "default", 0, KeyKind.LOOSENED),
    ("search_seconds", 0, "default", KeyKind.TIGHTENED),
    ("search_seconds", 30.0, 1.0, KeyKind.LOOSENED),
    ("search_seconds", "default", 30.0, KeyKind.CHANGED),
    ("state_steps", 1000, 10, KeyKind.LOOSENED),
    ("states", "default", {}, KeyKind.LOOSENED),
    ("states", {"hn": "h"}, {"hn": "h", "cn": "c"}, KeyKind.CHANGED),
    ("max_batch_size", 32, 4, KeyKind.LOOSENED),
    ("max_shapes", {"x": [8, 3]}, {"x": [4, 3]}, KeyKind.LOOSENED),
    ("max_shapes", {"x": [8, 3]}, {"x": [4, 5]}, KeyKind.CHANGED),
    ("min_shapes", {"x": [1, 3]}, {"x": [2, 3]}, KeyKind.LOOSENED),
    ("value_ranges", {"x": [-1.0, 1.0]}, {"x": [0.0, 1.0]}, KeyKind.LOOSENED),
    ("value_ranges", {"x": [-1.0, 1.0]}, {"x": [-1.0, 2.0]}, KeyKind.TIGHTENED),
    ("value_ranges", {"x": [-1.0, 1.0]}, {"x": [0.0, 2.0]}, KeyKind.CHANGED),
    ("target_formats", ["onnx"], "default", KeyKind.LOOSENED),
    ("target_formats", ["onnx"], ["onnx", "trt"], KeyKind.CHANGED),
    ("random_seed", "default", 1, KeyKind.CHANGED),
    ("tensorrt_precisions", "default", ["int8"], KeyKind.CHANGED),
]
APPLIED = {
    (precision, name): {"y": 0.01 if precision is Precision.FP16 else 1e-5}
    for precision in (Precision.FP16, Precision.FP32)
    for name in ("atol", "rtol")
}


@pytest.mark.parametrize(("key", "before", "after", "kind"), JUDGED)
def test_what_a_changed_option_means(key: str, before: Any, after: Any, kind: KeyKind) -> None:
    assert key in {each.name for each in fields(ModelConfig)}
    one, other = (given(**({} if each == "default" else {key: each})) for each in (before, after))

    (change,) = option_changes(one, other, APPLIED, APPLIED)

    assert (change.key, change.kind) == (key, kind)
    assert option_changes(one, one, APPLIED, APPLIED) == ()


def test_a_tolerance_that_is_written_down_as_it_was_is_no_change() -> None:
    written = given(atol={"": 1e-5, "y": 1e-5})
    assert option_changes(given(), written, APPLIED, APPLIED) == ()


def test_an_output_without_a_tolerance_of_its_own_has_the_one_that_applies() -> None:
    before, after = given(atol={"": 2e-5, "y": 1e-5}), given(atol={"": 2e-7})
    changes = option_changes(before, after, APPLIED, APPLIED)
    assert [(each.of, each.before, each.after) for each in changes] == [("", 2e-5, 2e-7), ("y", 1e-5, 2e-7)]


def test_automatic_tolerances_are_those_that_were_applied() -> None:
    """A model with much rounding of its own had 2e-3: to set 1e-3 is stricter."""
    applied = {(Precision.FP32, "atol"): {"y": 2e-3}}
    (change,) = option_changes(given(), given(atol={"": 1e-3}), applied, {})
    assert change.kind is KeyKind.TIGHTENED


def test_the_widest_of_a_model_s_automatic_tolerances_counts() -> None:
    results = [passing(f"m/{label}", atol=atol) for label, atol in (("a", 1e-2), ("b", 1e-4))]
    for each in (results, results[::-1]):
        assert applied(each)[Precision.FP32, "atol"] == {"y": 1e-2}


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)
KEYS = st.sampled_from([each.name for each in fields(ModelConfig)])
OPTIONS = st.dictionaries(KEYS, JSON, max_size=6)


@drawn(OPTIONS, OPTIONS)
def test_options_that_are_none_are_told_like_any_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    """The base's results may be another program's."""
    base, run = (
        a_run(passing("m/onnx"), models=(Given(model_name="m", sha256="a" * 64, options=each),))
        for each in (before, after)
    )
    lines = said(base, run).splitlines()
    assert all(line.isprintable() for line in lines)
    assert len(lines) <= 2 + 4 * 12


# What is accepted


def changed(accept: dict[str, str], base_accepts: dict[str, str] | None = None, **more: Any) -> tuple[Report, Report]:
    """Return two runs: one conversion is gone, one is broken, one is worse, and a tolerance is wider."""
    base = a_run(
        passing("m/onnx_op13"),
        passing("m/onnx_op17"),
        passing("m/onnx_op18", 1e-6, atol=1e-3),
        rules=Rules(fail_on=FailOn.REGRESSION, accept=base_accepts or {}),
    )
    run = a_run(
        cell("m/onnx_op17", State.CRASHED),
        passing("m/onnx_op18", 9e-4, atol=1e-3),
        models=(given(atol={"": 1e-2}),),
        rules=Rules(fail_on=FailOn.REGRESSION, accept=accept),
        **{"origin": NEXT, **more},
    )
    return base, run


ALL = {"removed": "removed m/onnx_op13", "broken": "broken m/*", "worse": "worse *", "loosened": "loosened m/[ar]tol"}


def test_all_regressions_have_to_be_accepted() -> None:
    assert not compared(*changed(dict.fromkeys(ALL.values(), "why"))).regresses


@pytest.mark.parametrize("left_out", ALL)
def test_what_is_not_accepted_fails(left_out: str) -> None:
    changes = compared(*changed({key: f"{what} is fine" for what, key in ALL.items() if what != left_out}))

    assert changes.regresses
    failing = [str(each.change) for each in changes.conversions if each.is_regression]
    failing += [str(key.kind) for _, key in changes.keys if key.is_regression]
    assert failing == [left_out]
    reasons = {each.accepted for each in changes.conversions} | {key.accepted for _, key in changes.keys}
    assert reasons - {""} == {f"{what} is fine" for what in ALL if what != left_out}
    assert changes.notes == ()
    assert set(ALL) == {str(each) for each in Regression}


@pytest.mark.parametrize(
    "entry",
    ["removed n/onnx_op13", "removed m/onnx_op1", "broken m/onnx_op13", "removed M/onnx_op13", "loosened m/rtol"],
)
def test_an_entry_for_something_else_accepts_nothing_and_is_told(entry: str) -> None:
    changes = compared(*changed({entry: "why"}))

    assert all(each.accepted == "" for each in changes.conversions)
    assert changes.notes == (f"accept: there is no '{entry}' here, so remove that entry",)


def test_an_entry_of_the_base_accepts_no_second_regression() -> None:
    changes = compared(*changed({"removed m": "why"}, {"removed m": "why"}))
    (gone,) = changes.of(Change.REMOVED)
    assert gone.is_regression
    assert changes.notes == ("accept: 'removed m' is in the base too, and done: remove that entry",)

    assert (
        not compared(*changed({"removed m": "another why"}, {"removed m": "why"})).of(Change.REMOVED)[0].is_regression
    )


@pytest.mark.parametrize("rehearsed", [False, True])
def test_what_packages_change_at_one_commit_is_accepted_by_the_entries_of_both(rehearsed: bool) -> None:
    """As in a rehearsal. Entries that match nothing may be right for other changes."""
    entries = {"removed m": "why", "worse x": "why"}
    base, run = changed(entries, entries, origin=Origin(commit=COMMIT) if not rehearsed else None)
    changes = compare(run, installed(base)) if rehearsed else compared(base, run)

    assert [each.accepted for each in changes.of(Change.REMOVED)] == ["why"]
    assert changes.notes == () or rehearsed


def test_a_part_of_a_run_tells_nothing_of_entries_for_the_rest() -> None:
    left_out = Selection(left_out={"m": ("onnx_op20",)})
    base, run = changed({"broken m/onnx_op20": "why"}, selection=left_out)
    assert compared(base, run).notes == ()


def test_a_renamed_model_is_accepted_by_either_name() -> None:
    base = a_run(passing("m/onnx"))
    for name in ("m", "new"):
        rules = Rules(fail_on=FailOn.REGRESSION, accept={f"broken {name}/onnx": "why"})
        run = a_run(cell("new/onnx", State.FAILED), models=(given("new"),), rules=rules)
        assert not compared(base, run).regresses


def test_results_of_another_configuration_are_told() -> None:
    base, run = (a_run(passing("m/onnx"), origin=Origin(config_path=name)) for name in ("a.yaml", "gpu/b.yaml"))
    assert compared(base, run).notes == ("the base is of the configuration 'a.yaml', and this run of 'gpu/b.yaml'",)
    assert compared(replace(base, origin=None), run).notes == ()
