"""Reports of shards as one: nothing counts twice, and nothing that was planned is missing unsaid."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navigator.errors import ConfigurationError, ExitCode
from navigator.records import CellResult, Host, Report, State
from navigator.render.markdown import summary_markdown
from navigator.report import storage
from navigator.report.merge import merge
from navigator.report.summary import summarize
from tests.support.builders import a_gpu, a_host, a_report, a_result, a_source

HOST = a_host({"onnx": "1.17"})
SOURCE = a_source()


def cell(name: str, state: State = State.PASSED, **changes: Any) -> CellResult:
    model, _, label = name.partition("/")
    return a_result(state, model_name=model, conversion=label, **{"steps": (label,), **changes})


def shard(which: str, *results: CellResult, host: Host = HOST, complete: bool = True, **more: Any) -> Report:
    return a_report(*results, host=host, complete=complete, shard=which, **more)


def planned(*cells: list[str] | None) -> dict[str, Any]:
    jobs = []
    for index, each in enumerate(cells, 1):
        job: dict[str, Any] = {"shard": f"{index}/{len(cells)}", "name": "", "count": len(each or ["?"])}
        jobs.append(job if each is None else {**job, "conversions": each})
    return {"include": jobs}


def states(merged: Report) -> dict[str, State]:
    assert len({(each.model_name, each.conversion) for each in merged.results}) == len(merged.results)
    return {f"{each.model_name}/{each.conversion}": each.status.state for each in merged.results}


def test_shards_become_one_whole_report_in_their_order() -> None:
    parts = [
        shard("10/10", cell("m/z"), seconds=5.0, notes=["said once", "by the last"]),
        *(shard(f"{index}/10", seconds=1.0) for index in range(3, 10)),
        shard("2/10", cell("m/b", State.FAILED), seconds=90.0, notes=["said once"]),
        shard("1/10", cell("m/a"), cell("n/a"), notes=["by the first", "said once"]),
    ]

    merged = merge(parts, planned(["m/a", "n/a"], ["m/b"], *([] for _ in range(7)), ["m/z"]))

    assert list(states(merged).items()) == [
        ("m/a", State.PASSED),
        ("n/a", State.PASSED),
        ("m/b", State.FAILED),
        ("m/z", State.PASSED),
    ]
    assert merged.notes == ("by the first", "said once", "by the last")
    assert merged.seconds == 90.0, "shards run side by side"
    assert (merged.complete, merged.shard, merged.environment) == (True, "", HOST)
    assert merged.summary == {
        "total": 4,
        "requested": 4,
        "failures": 1,
        "cached": 0,
        "warned": 0,
        "passed": 3,
        "failed": 1,
    }
    assert summarize(merged).exit_code is ExitCode.FAILURE


def test_a_shard_without_results_cancels_its_cells() -> None:
    parts = [shard("1/3", cell("m/a")), shard("3/3", cell("n/a"))]

    merged = merge(parts, planned(["m/a"], ["m/b", "x/a"], ["n/a"]))

    assert states(merged) == {"m/a": State.PASSED, "n/a": State.PASSED, "m/b": State.CANCELLED, "x/a": State.CANCELLED}
    lost = merged.results[2]
    assert lost.status.message == "shard 2/3 reported no results"
    assert lost.remedy == "check the job of that shard and run it again"
    assert lost.source_model_config == SOURCE, "another shard knows the model"
    assert merged.results[3].source_model_config is None
    assert merged.notes == ("shard 2/3 reported no results: check the job and run it again",)
    assert not merged.complete
    assert summarize(merged).exit_code is ExitCode.CANCELLED
    assert "Incomplete: 2 of 4 conversions cancelled" in summary_markdown(summarize(merged))


@pytest.mark.parametrize("matrix", [None, planned(None, None, None, None)])
def test_a_missing_shard_is_named_where_its_cells_are_not_known(matrix: Any) -> None:
    merged = merge([shard("2/4", cell("m/a"))], matrix)

    assert states(merged) == {"m/a": State.PASSED}
    assert merged.notes == ("shards 1/4, 3/4, 4/4 reported no results: check the job and run it again",)
    assert not merged.complete
    assert summarize(merged).exit_code is ExitCode.CANCELLED
    assert "Incomplete: results are missing" in summary_markdown(summarize(merged))


def test_where_no_shard_left_results_every_cell_is_cancelled(tmp_path: Path) -> None:
    merged = merge([], planned(["m/a"], ["m/b"]))

    assert states(merged) == {"m/a": State.CANCELLED, "m/b": State.CANCELLED}
    assert "No machine reported results" in summary_markdown(summarize(merged))
    storage.write(merged, tmp_path / "r.yaml")
    assert storage.read(tmp_path / "r.yaml") == merged


def test_a_planned_cell_that_its_shard_does_not_know_is_said() -> None:
    merged = merge([shard("1/1", cell("m/a"))], planned(["m/a", "m/b"]))

    assert states(merged) == {"m/a": State.PASSED, "m/b": State.CANCELLED}
    assert merged.results[1].status.message == "shard 1/1 has no result for this planned conversion"
    assert summarize(merged).exit_code is ExitCode.CANCELLED


def test_a_cell_that_shows_only_where_others_can_be_made_from_it_is_not_missing() -> None:
    engine = cell("m/onnx/trt", State.UNAVAILABLE, steps=("onnx", "onnx/trt"), requested=False)

    merged = merge([shard("1/1", engine, cell("m/other"))], planned(["m/onnx", "m/onnx/trt", "m/other"]))

    assert list(states(merged)) == ["m/onnx/trt", "m/other"]
    assert summarize(merged).exit_code is ExitCode.OK


WORST_FIRST = ["crashed", "timed_out", "failed", "mismatched", "blocked", "cancelled", "unavailable", "unverified"]
WORST_FIRST = [*WORST_FIRST, "not_applicable", "passed"]


@pytest.mark.parametrize("worse", range(len(WORST_FIRST) - 1))
def test_of_two_results_for_a_cell_the_worse_counts(worse: int) -> None:
    assert set(WORST_FIRST) == set(State)
    first, second = (cell("m/a", State(WORST_FIRST[index])) for index in (worse, worse + 1))

    for each in ((first, second), (second, first), (first, second, first)):
        merged = merge([shard("1/1", result) for result in each])
        assert states(merged) == {"m/a": first.status.state}
        assert merged.notes == ("two reports differ on m/a: the worse result counts",)


def test_a_cell_that_is_twice_alike_counts_once() -> None:
    merged = merge([shard("", cell("m/a")), shard("", cell("m/a"), cell("m/b"))])

    assert states(merged) == {"m/a": State.PASSED, "m/b": State.PASSED}
    assert merged.notes == ()
    assert summarize(merged).exit_code is ExitCode.OK


def test_a_part_that_did_not_end_makes_the_whole_incomplete() -> None:
    merged = merge([shard("1/2", cell("m/a")), shard("2/2", cell("m/b"), complete=False)])

    assert not merged.complete
    assert summarize(merged).exit_code is ExitCode.CANCELLED


def test_machines_that_differ_are_said_together() -> None:
    def on(gpu: str, **versions: str) -> Host:
        return replace(HOST, gpus=(a_gpu(gpu),), versions={**HOST.versions, **versions}, notes=(f"a note of {gpu}",))

    merged = merge(
        [
            shard("1/4", cell("m/a"), host=on("L4")),
            shard("2/4", host=on("T4", onnx="1.18", torch="2.9")),
            shard("3/4", host=on("T4", onnx="1.18", torch="2.9")),
            shard("4/4", host=replace(HOST, versions={f"p{each}": "1" for each in range(9)})),
        ]
    )

    assert merged.environment == on("L4")
    assert merged.notes == (
        (
            "shard 2/4, shard 3/4 ran on a different machine: "
            "T4 instead of L4; onnx 1.18 instead of 1.17; torch 2.9 instead of none"
        ),
        (
            "shard 4/4 ran on a different machine: no GPU instead of L4; onnx none instead of 1.17; "
            "p0 1 instead of none; p1 1 instead of none; p2 1 instead of none; 6 more"
        ),
        "a note of T4",
    )


@pytest.mark.parametrize(
    ("reports", "matrix", "said"),
    [
        ([], None, "there are no results to merge"),
        ([shard("1/2"), shard("1/3")], None, "can't merge results of runs with 2 and 3 shards"),
        ([shard("1/2"), shard("")], None, "can't merge results of runs with 1 and 2 shards"),
        ([shard("1/2")], planned(["m/a"], [], []), "can't merge results of runs with 2 and 3 shards"),
        ([shard(""), replace(shard(""), version=2)], None, "can't merge results of versions 1, 2"),
        ([shard("-->")], None, "shard '-->' is invalid"),
        ([shard("1/2")], {"include": 1}, "not a job matrix"),
    ],
)
def test_what_is_not_of_one_run_is_refused(reports: list[Report], matrix: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        merge(reports, matrix)
    assert said in caught.value.message
    assert caught.value.hint


@given(st.data(), st.integers(1, 6))
def test_nothing_planned_is_lost_and_only_a_whole_run_that_passed_is_a_success(data: st.DataObject, count: int) -> None:
    """Whatever jobs fail to report, in whatever order and however often the others do."""
    cells = {
        f"{index}/{count}": [f"m{index}/{each}" for each in "abc"[: 1 + index % 3]] for index in range(1, count + 1)
    }
    there = data.draw(st.lists(st.sampled_from(sorted(cells)), max_size=8))
    failed = data.draw(st.sets(st.sampled_from([name for each in cells.values() for name in each])))
    parts = [
        shard(each, *(cell(name, State.FAILED if name in failed else State.PASSED) for name in cells[each]))
        for each in there
    ]

    merged = merge(parts, planned(*cells.values()))

    found = states(merged)
    assert set(found) == {name for each in cells.values() for name in each}
    for which, names in cells.items():
        for name in names:
            expected = State.FAILED if name in failed else State.PASSED
            assert found[name] is (expected if which in there else State.CANCELLED)
    assert (summarize(merged).exit_code is ExitCode.OK) is (set(there) == set(cells) and not failed)
