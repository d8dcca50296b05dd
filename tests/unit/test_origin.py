"""Where results come from: the commit, the run and the configuration that they speak for, and how much of it."""

import json
import subprocess
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navigator import config
from navigator.config.digest import digest, options
from navigator.errors import ConfigurationError
from navigator.github.origin import engine_variables, read_origin
from navigator.host.checkout import checkout
from navigator.plan.select import left_out, select
from navigator.plan.shards import matrix as shard_matrix
from navigator.plan.shards import shards
from navigator.records import (
    Format,
    MetricFunction,
    ModelConfig,
    Origin,
    Plan,
    Report,
    RunConfig,
    Selection,
    TensorSpec,
)
from navigator.render.sentences import verdict
from navigator.report.merge import merge
from navigator.report.origin import difference, lacking
from navigator.report.summary import coverage, summarize
from tests.support.builders import a_cell, a_model, a_plan, a_report, a_result

HEAD, MERGE = "a" * 40, "b" * 40
ORIGIN = Origin(
    commit=HEAD, event="push", run_id=7, run_attempt=1, config_path="navigator.yaml", config_sha256="c" * 64
)


def a_run(root: Path, **changes: Any) -> RunConfig:
    models = (a_model(model_path=root / "m.pt", config_path=root / "navigator.yaml", line=1),)
    return RunConfig(**{"models": models, "config_path": root / "navigator.yaml", **changes})


def git(directory: Path, *words: str) -> str:
    who = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *who, *words], cwd=directory, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    (root / "models").mkdir(parents=True)
    (root / "models" / "navigator.yaml").write_text("{}")
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "one")
    return root


# Each field of a model with another value than its default, and whether it's part of what the digest is of.
CHANGES: dict[str, Any] = {
    "model_name": "other",
    "model_path": Path("/r/other.pt"),
    "target_formats": (Format.ONNX,),
    "onnx_opsets": (17,),
    "atol": {"": 1e-3},
    "fp16_rtol": {"y": 0.5},
    "random_seed": 1,
    "samples": (Path("/r/samples"),),
    "metric": MetricFunction(path=Path("/r/metric.py"), function="accuracy"),
    "metric_lower_is_better": True,
    "quality": "99.9%",
    "max_shapes": {"x": (8, 3)},
    "value_ranges": {"x": (0.0, 2.0)},
    "tensorrt_plugins": (Path("/r/plugin.so"),),
    "inputs": (TensorSpec(name="x", shape=(-1, 3), dtype="float32"),),
}
INDIFFERENT: dict[str, Any] = {
    "config_path": Path("/elsewhere/navigator.yaml"),
    "line": 12,
    "output_path": Path("/r/out.onnx"),
}


@pytest.mark.parametrize("name", [*CHANGES, *INDIFFERENT])
def test_the_digest_is_of_what_decides_conversions(name: str) -> None:
    assert name in {each.name for each in fields(ModelConfig)}
    run = RunConfig(models=(a_model(),), config_path=Path("/r/navigator.yaml"))
    other = replace(run, models=(replace(run.models[0], **{name: (CHANGES | INDIFFERENT)[name]}),))

    assert (digest(other) != digest(run)) == (name in CHANGES)


@pytest.mark.parametrize("name", CHANGES)
def test_options_are_the_same_when_they_are_read_back(name: str) -> None:
    models = (a_model(**{name: CHANGES[name]}),)
    found = options(RunConfig(models=models, config_path=Path("/r/navigator.yaml")))

    assert json.loads(json.dumps(found)) == found


def test_the_digest_is_the_same_in_every_checkout_and_notation(tmp_path: Path) -> None:
    first, second = tmp_path / "one", tmp_path / "two" / "deeper"
    for root in (first, second):
        root.mkdir(parents=True)
        (root / "m.onnx").write_bytes(b"model")
        (root / "n.onnx").write_bytes(b"model")
    (first / "navigator.yaml").write_text(
        "models:\n- {model_name: m, model_path: m.onnx, model_format: onnx, atol: 0.001}\n"
        "- {model_name: n, model_path: n.onnx, model_format: onnx}\n"
    )
    (second / "navigator.yaml").write_text(
        "# the same\ndefaults: {jobs: 3}\nmodels:\n- {model_path: ./n.onnx, model_name: n, model_format: onnx}\n"
        "- model_name: m\n  model_path: m.onnx\n  model_format: onnx\n  atol: {'': 1.0e-3}\n"
    )
    runs = [config.load(root / "navigator.yaml", {}, working_directory=root) for root in (first, second)]
    loosened = config.load(first / "navigator.yaml", {"atol": ["1"]}, working_directory=first)

    assert digest(runs[0]) == digest(runs[1])
    assert digest(loosened) != digest(runs[0])


def test_a_path_outside_the_repository_is_the_same_at_any_depth(tmp_path: Path) -> None:
    digests: dict[str, set[str]] = {"inside": set(), "outside": set()}
    (tmp_path / "link").symlink_to(tmp_path)
    for root in (tmp_path / "a", tmp_path / "b" / "c", tmp_path / "link" / "d"):
        (root / ".git").mkdir(parents=True)
        (root / "configs").mkdir()
        for place, path in (("inside", root / "models" / "m.onnx"), ("outside", Path("/data/m.onnx"))):
            metric = MetricFunction(path=path.with_suffix(".py"), function="accuracy")
            models = (a_model(model_path=path, metric=metric),)
            digests[place].add(digest(RunConfig(models=models, config_path=root / "configs" / "navigator.yaml")))

    assert [len(each) for each in digests.values()] == [1, 1]


def test_outside_of_github_the_commit_is_the_one_that_is_checked_out(repository: Path) -> None:
    run = a_run(repository / "models")
    origin = read_origin(run, {})

    assert origin == Origin(
        commit=git(repository, "rev-parse", "HEAD"),
        modified=False,
        config_path="models/navigator.yaml",
        config_sha256=digest(run),
    )
    (repository / "new").touch()
    assert read_origin(run, {}).modified is False
    (repository / "models" / "navigator.yaml").write_text("{a: 1}")
    assert read_origin(run, {}).modified is True


def test_no_repository_no_commit_and_no_git_is_no_origin_and_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_origin(a_run(tmp_path), {}).commit == ""
    git(tmp_path, "init", "-q")
    assert checkout(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert checkout(tmp_path) is None


def test_no_program_of_a_repository_is_started(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "monitor").write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\n")
    (tmp_path / "monitor").chmod(0o755)
    git(repository, "config", "core.fsmonitor", str(tmp_path / "monitor"))

    assert checkout(repository) is not None
    assert not (tmp_path / "ran").exists()


def test_in_a_pull_request_the_commit_is_its_head(tmp_path: Path) -> None:
    (tmp_path / "event.json").write_text(json.dumps({"pull_request": {"number": 7, "head": {"sha": HEAD}}}))
    environment = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_EVENT_PATH": str(tmp_path / "event.json"),
        "GITHUB_REPOSITORY": "octocat/models",
        "GITHUB_SHA": MERGE,
        "GITHUB_RUN_ID": "4711",
        "GITHUB_RUN_ATTEMPT": "2",
        "GITHUB_WORKSPACE": str(tmp_path),
    }
    run = a_run(tmp_path / "models")
    expected = Origin(
        commit=HEAD,
        event="pull_request",
        run_id=4711,
        run_attempt=2,
        config_path="models/navigator.yaml",
        config_sha256=digest(run),
    )

    assert read_origin(run, environment) == expected
    # The engine of the action sees no variable of the job.
    assert read_origin(run, engine_variables(expected)) == expected


MODELS = ("m", "n", "o")
PLAN = Plan(
    models=tuple(
        a_plan(
            a_cell("onnx_op13"), a_cell("onnx_op17"), a_cell("trt", intermediate=True), config=a_model(model_name=name)
        )
        for name in MODELS
    )
)


def covered(part: Plan) -> Report:
    results = [
        a_result(model_name=model.config.model_name, conversion=cell.label, intermediate=cell.intermediate)
        for model in part.models
        for cell in model.conversions
    ]
    return a_report(*results, origin=ORIGIN, selection=Selection(left_out=left_out(PLAN, part)))


def test_what_is_only_on_the_way_is_not_what_was_configured() -> None:
    way, asked = a_cell("onnx_op14", intermediate=True), a_cell("onnx_op14/trt_fp32", target=Format.TRT)
    whole = Plan(models=(a_plan(way, asked),))
    selection = Selection(left_out=left_out(whole, select(whole, conversions=["onnx_op14"])))
    report = replace(a_report(a_result(conversion="onnx_op14", intermediate=True)), selection=selection)

    assert str(coverage(report)) == "the way to 1 conversion"


@pytest.mark.parametrize(
    ("filters", "text", "whole"),
    [
        ({}, "", True),
        ({"models": ["*"]}, "", True),
        ({"models": ["m"]}, "1 of 3 models", False),
        ({"models": ["m", "n"]}, "2 of 3 models", False),
        ({"conversions": ["*op13"]}, "3 of 6 conversions", False),
        ({"models": ["m"], "conversions": ["*op13"]}, "1 of 3 models, 1 of 2 conversions", False),
    ],
)
def test_what_filters_leave_out_is_known(filters: dict[str, list[str]], text: str, whole: bool) -> None:
    found = coverage(covered(select(PLAN, **filters)))

    assert (str(found), found.is_whole, found.all_models, found.all_conversions) == (text, whole, 3, 6)
    assert verdict(summarize(covered(select(PLAN, **filters)))).endswith(f"(covers only {text})" if text else "passed")


@given(st.integers(1, 5), st.data())
def test_shards_cover_everything_together_and_no_part_of_them_does(count: int, data: st.DataObject) -> None:
    parts = [replace(covered(part), shard=f"{index}/{count}") for index, part in enumerate(shards(PLAN, count), 1)]
    assert coverage(merge(parts)).is_whole
    there = data.draw(st.lists(st.sampled_from(parts), min_size=1, unique_by=lambda each: each.shard))
    merged = merge(there)
    missing = {(each.model_name, each.conversion) for each in covered(PLAN).results if not each.intermediate}
    missing -= {(each.model_name, each.conversion) for each in merged.results}
    assert {(name, label) for name, labels in merged.selection.left_out.items() for label in labels} == missing
    assert coverage(merged).is_whole == (not missing)


def test_jobs_with_a_filter_each_cover_everything_together() -> None:
    merged = merge([covered(select(PLAN, models=[name])) for name in MODELS])

    assert merged.selection == Selection()
    assert merged.origin == ORIGIN


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"commit": "d" * 40}, f"different commits: {'a' * 12} (shard 1/2) and {'d' * 12} (shard 2/2)"),
        (
            {"config_sha256": "d" * 64},
            f"configurations: 'navigator.yaml' with digest {'c' * 12} (shard 1/2) and",
        ),
        ({"run_id": 8}, "different runs: 7 (shard 1/2) and 8 (shard 2/2)"),
        (
            {"run_id": None, "run_attempt": None},
            "runs: 7 (shard 1/2) and one outside GitHub Actions (shard 2/2)",
        ),
        (None, "can't merge results without an origin (shard 2/2) with others"),
    ],
)
def test_results_of_different_origins_are_not_merged(other: dict[str, Any] | None, said: str) -> None:
    second = replace(ORIGIN, **other) if other is not None else None
    parts = [a_report(shard="1/2", origin=ORIGIN), a_report(shard="2/2", origin=second)]

    with pytest.raises(ConfigurationError) as raised:
        merge(parts)
    assert said in raised.value.message
    assert "merge the results of one run only" in raised.value.hint


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ((HEAD, "navigator.yaml", ""), ""),
        ((HEAD, "navigator.yaml", "c" * 64), ""),
        ((MERGE, "navigator.yaml", ""), f"the results are of commit {'a' * 12}, not of {'b' * 12}"),
        ((HEAD, "other.yaml", ""), "the results are of the configuration 'navigator.yaml', not of 'other.yaml'"),
        (
            (HEAD, "navigator.yaml", "d" * 64),
            "the results are of 'navigator.yaml' with other content than here",
        ),
    ],
)
def test_what_results_are_of_is_compared_with_what_is_wanted(wanted: tuple[str, str, str], said: str) -> None:
    assert difference(ORIGIN, *wanted) == said


def test_what_is_missing_is_named() -> None:
    assert lacking(summarize(covered(PLAN))) == ""
    assert lacking(summarize(covered(select(PLAN, models=["m", "n"])))) == (
        "the results cover only 2 of 3 models, without o/onnx_op13, o/onnx_op17"
    )


@pytest.mark.parametrize("matrix", [None, shard_matrix(PLAN, 3)])
@pytest.mark.parametrize("allowed", [False, True])
def test_a_missing_shard_is_only_forgiven_if_nobody_planned_it(allowed: bool, matrix: Any) -> None:
    parts = [replace(covered(part), shard=f"{index}/3") for index, part in enumerate(shards(PLAN, 3), 1)]
    merged = merge(parts[:2], matrix, allow_partial=allowed)

    assert merged.complete == (allowed and matrix is None)
    assert coverage(merged).is_whole == (matrix is not None)


def test_attempts_of_a_run_belong_together() -> None:
    parts = [a_report(shard=f"{index}/2", origin=replace(ORIGIN, run_attempt=index)) for index in (1, 2)]

    assert merge(parts).origin == replace(ORIGIN, run_attempt=2)


def test_results_without_origins_are_merged_as_before() -> None:
    assert merge([a_report(shard="1/2"), a_report(shard="2/2")]).origin is None
