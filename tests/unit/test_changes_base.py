"""The results that a run is compared with: where they come from, and what they may be."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from navigator.changes.base import Base, read, without
from navigator.changes.compare import compare
from navigator.errors import ConfigurationError, ExitCode
from navigator.records import FailOn, Report, Rules, Selection, State
from navigator.render.console import summary_text
from navigator.report import storage
from navigator.report.summary import summarize
from tests.support.comparisons import COMMIT, a_run, cell, compared, given, passing

OPTIONS: dict[str, Any] = {
    "atol": {"": 1e-3},
    "value_ranges": {"x": [-1.0, 1.0]},
    "max_shapes": {"x": [8, 3]},
    "samples": ["a.npz"],
}
GOOD = a_run(passing("m/onnx_op13", 1e-6), passing("m/onnx_op17", 1e-6), models=(given(**OPTIONS),))


@pytest.mark.parametrize("named", [lambda folder: folder, lambda folder: folder / storage.RESULTS])
def test_a_file_and_its_folder_are_the_same_base(named: Callable[[Path], Path], tmp_path: Path) -> None:
    storage.write(GOOD, tmp_path / storage.RESULTS)

    base = read(named(tmp_path))

    assert (base.told.found, base.told.commit, base.told.note) == (True, COMMIT, "")
    assert base.told.path == str(named(tmp_path))
    assert compare(GOOD, base).is_nothing, "what is read back is what was written"


def test_shards_are_one_base(tmp_path: Path) -> None:
    for number, result in enumerate(GOOD.results, 1):
        part = replace(GOOD, results=(result,), shard=f"{number}/2")
        (tmp_path / f"shard-{number}").mkdir()
        storage.write(part, tmp_path / f"shard-{number}" / storage.RESULTS)

    assert compare(GOOD, read(tmp_path)).is_nothing


def test_a_shard_alone_is_a_partial_base(tmp_path: Path) -> None:
    left_out = Selection(left_out={"m": ("onnx_op17",)})
    part = replace(GOOD, results=GOOD.results[:1], shard="1/2", selection=left_out)
    storage.write(part, tmp_path / storage.RESULTS)

    base = read(tmp_path)

    assert base.told.note == "it covers only 1 of 2 conversions: the rest isn't compared"
    changes = compare(GOOD, base)
    assert [each.reason for each in changes.conversions] == ["", "the base's results don't cover it"]


def test_a_base_of_an_older_version_leaves_unknown_what_it_does_not_say(tmp_path: Path) -> None:
    path = tmp_path / storage.RESULTS
    storage.write(GOOD, path)
    data = yaml.safe_load(path.read_text())
    del data["rules"], data["models"], data["origin"], data["selection"]
    path.write_text(yaml.safe_dump(data))

    base = read(path)

    assert "says nothing of the files and options of models" in base.told.note
    stricter = replace(GOOD, models=(given(sha256="b", atol={"": 1e-9}),))
    assert compare(stricter, base).is_nothing


def test_a_base_of_a_newer_version_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / storage.RESULTS
    storage.write(GOOD, path)
    path.write_text(path.read_text().replace("version: 1\n", "version: 2\n", 1))

    with pytest.raises(ConfigurationError) as raised:
        read(path)
    assert raised.value.message == f"{path}: this is version 2 of {storage.RESULTS}, not 1"


def nothing_there(path: Path) -> None:
    """Leave out the file."""


def a_link(path: Path) -> None:
    storage.write(GOOD, path.parent / "other.yaml")
    path.symlink_to("other.yaml")


def not_results(path: Path) -> None:
    path.write_text("results: [1]\nversion: 1\n")


def an_endless_text(path: Path) -> None:
    path.write_text("version: 1\nnotes: [" + "[" * 100_000)


def a_pass_without_evidence(path: Path) -> None:
    storage.write(a_run(cell("m/onnx", State.FAILED)), path)
    path.write_text(path.read_text().replace("state: failed", "state: passed"))


@pytest.mark.fault(
    "The results to compare with aren't results, or are a link or a pipe",
    "One line says so before anything runs; exit code 2.",
)
@pytest.mark.parametrize(
    "made", [nothing_there, a_link, os.mkfifo, not_results, an_endless_text, a_pass_without_evidence]
)
def test_what_is_no_base_is_refused(made: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / storage.RESULTS
    made(path)

    for named in (path, tmp_path):
        with pytest.raises(ConfigurationError) as raised:
            read(named)
        assert raised.value.exit_code is ExitCode.CONFIGURATION
        assert str(named) in raised.value.message
        assert raised.value.hint


FAILING = a_run(cell("m/onnx_op13", State.FAILED, message="no Erf"), passing("m/onnx_op17"))


def test_without_a_baseline_every_failure_counts() -> None:
    for changes, why in (
        (None, "no baseline was given"),
        (without("main has no results yet"), "main has no results yet"),
    ):
        summary = summarize(FAILING, changes)
        assert summary.exit_code is ExitCode.FAILURE
        assert f"Not compared: {why}; fail_on is regression, so every failure counts\n" in summary_text(summary)

    free = replace(FAILING, rules=Rules())
    assert "Not compared" not in summary_text(summarize(free))
    assert "Not compared: main has no results yet\n" in summary_text(
        summarize(free, without("main has no results yet"))
    )


@pytest.mark.parametrize(
    ("fail_on", "before", "code"),
    [
        (FailOn.FAILURE, FAILING, ExitCode.FAILURE),
        (FailOn.REGRESSION, FAILING, ExitCode.OK),
        (FailOn.REGRESSION, GOOD, ExitCode.FAILURE),
    ],
)
def test_what_failed_before_fails_no_run_that_fails_on_regressions(
    fail_on: FailOn, before: Report, code: ExitCode
) -> None:
    run = replace(FAILING, rules=Rules(fail_on=fail_on))
    base = replace(before, models=run.models)

    assert summarize(run, compared(base, run)).exit_code is code


def test_a_run_that_did_not_end_is_no_success_with_a_baseline_either() -> None:
    run = a_run(passing("m/onnx_op13"), cell("m/onnx_op17", State.CANCELLED), complete=False)
    assert summarize(run, compared(GOOD, run)).exit_code is ExitCode.CANCELLED


def test_the_base_is_named_as_well_as_it_is_known() -> None:
    base = Base(report=GOOD, told=without("").baseline)
    names: tuple[tuple[dict[str, Any], str], ...] = (
        ({"found": True, "path": "old.yaml"}, "old.yaml"),
        ({"found": True, "commit": COMMIT}, "1a2b3c4"),
        ({"found": True, "commit": COMMIT, "label": "main", "relation": "merge base"}, "main 1a2b3c4 (merge base)"),
        ({"found": True, "label": "a\x1b[31m\u202eb"}, "a [31m b"),
    )
    for told, name in names:
        changes = compare(GOOD, replace(base, told=replace(base.told, **told)))
        assert f"Compared with {name}: nothing changed\n" in summary_text(summarize(GOOD, changes))
