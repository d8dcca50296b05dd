"""Whose verdict counts when several jobs speak about one commit, and what they are called."""

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as some

from navigator.action import names
from navigator.action.inputs import Inputs
from navigator.action.job import Job
from navigator.action.secrets import Secrets
from navigator.github.event import read_event
from navigator.github.voices import Record, Verdict, Voice, others, read_record, worst

OWN = Voice(workflow="a" * 8, run=10, attempt=2, job="cpu", part="b" * 8, leg="c" * 8)
OTHER = replace(OWN, job="gpu", part="d" * 8)
BAD, GOOD = Verdict.failure, Verdict.success

voices = some.builds(
    Voice,
    workflow=some.sampled_from(["a" * 8, "e" * 8]),
    run=some.integers(1, 3),
    attempt=some.integers(1, 3),
    job=some.just("cpu"),
    part=some.sampled_from(["b" * 8, "d" * 8]),
    leg=some.sampled_from(["", "c" * 8, "f" * 8]),
)
records = some.builds(Record, voices, some.sampled_from(Verdict))


def _counting(*said: Record) -> list[Verdict]:
    return [each.verdict for each in others(OWN, said)]


@given(records)
def test_a_record_is_read_as_it_was_written(record: Record) -> None:
    assert read_record(str(record)) == record


@given(some.text(max_size=80))
def test_anything_else_is_no_record(written: str) -> None:
    assert read_record(written) is None


def test_another_job_of_the_run_counts_with_its_latest_word() -> None:
    assert _counting(Record(OTHER, GOOD), Record(OTHER, BAD)) == [BAD]
    assert _counting(Record(OTHER, BAD), Record(OTHER, GOOD)) == [GOOD]
    assert _counting(Record(OWN, BAD)) == []


def test_a_job_that_was_not_run_again_still_counts() -> None:
    assert _counting(Record(replace(OTHER, attempt=1), BAD)) == [BAD]


@pytest.mark.parametrize("run", [9, 11])
def test_another_run_of_the_workflow_does_not_count(run: int) -> None:
    assert _counting(Record(replace(OTHER, run=run), BAD)) == []


def test_of_another_workflow_the_newest_run_counts() -> None:
    said = [Record(replace(OTHER, workflow="e" * 8, run=run), verdict) for run, verdict in ((7, BAD), (8, GOOD))]
    assert _counting(*said) == [GOOD]
    assert _counting(*reversed(said)) == [GOOD]


def test_another_leg_of_the_matrix_counts() -> None:
    assert _counting(Record(replace(OWN, leg="e" * 8), BAD)) == [BAD]


def test_a_leg_of_an_earlier_attempt_counts_if_legs_are_known_to_last() -> None:
    earlier = replace(OWN, attempt=1)
    leg = Record(replace(earlier, leg="e" * 8), BAD)
    # Ours may be the same leg under a new id.
    assert _counting(leg) == []
    assert _counting(Record(earlier, BAD), leg) == [BAD]


@given(some.lists(records, max_size=8))
def test_nothing_is_better_than_the_worst_of_this_attempt(said: list[Record]) -> None:
    own = Record(OWN, GOOD)
    here = [each for each in said if (each.voice.run, each.voice.attempt, each.voice.workflow) == (10, 2, OWN.workflow)]
    latest = {(each.voice.part, each.voice.leg): each for each in here if not each.voice.same(OWN)}
    shown = worst(own, others(OWN, said))
    assert shown.verdict >= max((each.verdict for each in latest.values()), default=GOOD)


def _job(command: Literal["convert", "plan", "report"] = "convert", leg: str = "", **variables: str) -> Job:
    payload = base64.urlsafe_b64encode(json.dumps({"scp": f"Actions.Results:run:{leg}"}).encode()).decode()
    environment = {
        "GITHUB_EVENT_NAME": "push",
        "GITHUB_REPOSITORY": "octocat/models",
        "GITHUB_SHA": "a" * 40,
        "GITHUB_RUN_ID": "10",
        "GITHUB_WORKFLOW": "Models",
        "GITHUB_JOB": "convert",
        **variables,
    }
    return Job(
        inputs=Inputs(command=command),
        event=read_event(environment),
        secrets=Secrets(runtime_token=f"e30.{payload}.signature" if leg else ""),
        environment=environment,
        workspace=Path("/"),
        stream=io.StringIO(),
    )


@pytest.mark.parametrize(
    "other",
    [
        _job(leg="a", GITHUB_JOB="gpu"),
        _job(leg="a", GITHUB_ACTION="__again"),
        _job(leg="b"),
        _job(RUNNER_TRACKING_ID="github_1"),
        _job("report", leg="a"),
    ],
)
def test_another_job_step_or_leg_has_another_voice(other: Job) -> None:
    own = _job(leg="a").voice
    assert not other.voice.same(own)
    assert others(own, [Record(other.voice, BAD)]) == (Record(other.voice, BAD),)


@pytest.mark.parametrize("again", [_job(leg="a", GITHUB_RUN_ATTEMPT="2"), _job(leg="a", GITHUB_RUN_ID="11")])
def test_a_job_that_runs_again_has_its_own_voice(again: Job) -> None:
    assert again.voice.same(_job(leg="a").voice)


def test_plan_and_report_speak_with_one_voice() -> None:
    assert _job("plan", leg="a", GITHUB_JOB="plan").voice.same(_job("report", leg="b", GITHUB_JOB="report").voice)


def test_a_job_is_named_so_that_it_ends_no_comment() -> None:
    record = Record(_job(leg="a", GITHUB_JOB="a--b-->" + "c" * 100).voice, GOOD)
    assert "--" not in str(record)
    assert read_record(str(record)) == record


def test_the_usual_job_has_plain_names() -> None:
    for inputs in (Inputs(), Inputs(config="./navigator.yaml"), Inputs(models=("*",))):
        assert names.status_context(inputs) == "model-navigator"
        assert names.artifact_prefix(inputs) == "model-navigator"
        assert names.comment_key(inputs, "Models") == "Models/navigator.yaml"
        assert names.title(inputs) == ""


@pytest.mark.parametrize(
    ("inputs", "context", "artifact", "key", "title"),
    [
        (
            Inputs(models=("res*", "bert")),
            "model-navigator (models bert res*)",
            r"model-navigator-models-bert-res-[0-9a-f]{8}",
            "W/navigator.yaml (models bert res*)",
            "models bert res*",
        ),
        (
            Inputs(config="gpu.yaml", conversions=("onnx_op17",)),
            "model-navigator (gpu.yaml, conversions onnx_op17)",
            "model-navigator-gpu.yaml-conversions-onnx_op17",
            "W/gpu.yaml (conversions onnx_op17)",
            "gpu.yaml, conversions onnx_op17",
        ),
        (
            Inputs(config="ci/../gpu/navigator.yaml"),
            "model-navigator (gpu/navigator.yaml)",
            r"model-navigator-gpu-navigator.yaml-[0-9a-f]{8}",
            "W/gpu/navigator.yaml",
            "gpu/navigator.yaml",
        ),
        (
            Inputs(models=("bert",), status_context="mine", artifact_name="my"),
            "mine",
            "my",
            "W/navigator.yaml (mine)",
            "mine",
        ),
    ],
)
def test_another_configuration_and_filters_are_in_the_names(
    inputs: Inputs, context: str, artifact: str, key: str, title: str
) -> None:
    assert names.status_context(inputs) == context
    assert re.fullmatch(artifact, names.artifact_prefix(inputs))
    assert names.comment_key(inputs, "W") == key
    assert names.title(inputs) == title


globs = some.lists(some.text(some.characters(codec="utf-8", exclude_characters=" ,\n"), min_size=1), max_size=3)
limited = some.builds(Inputs, config=some.text(min_size=1, max_size=150), models=globs.map(tuple))


@given(limited, limited)
def test_names_fit_and_differ_where_jobs_do(first: Inputs, second: Inputs) -> None:
    prefix, context = names.artifact_prefix(first), names.status_context(first)
    assert re.fullmatch(r"model-navigator[A-Za-z0-9._-]{0,90}", prefix)
    assert len(context) <= 100
    assert context.isprintable()
    same = (names.configuration(first), names.filters(first)) == (names.configuration(second), names.filters(second))
    assert (prefix == names.artifact_prefix(second)) == same
