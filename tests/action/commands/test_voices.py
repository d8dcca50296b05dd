"""Several jobs of one run that speak about one commit: none of them speaks over another."""

import base64
import json
from typing import TYPE_CHECKING

import pytest

from tests.support.builders import write_gelu

if TYPE_CHECKING:
    from tests.action.commands.conftest import Ended, Job

PAIR = """\
models:
- model_name: good
  model_path: tiny.onnx
  target_formats: [onnx]
  onnx_opsets: [14]
- model_name: broken
  model_path: gelu.onnx
  target_formats: [onnx]
  onnx_opsets: [13]
"""
ORDERS = pytest.mark.parametrize("order", [("good", "broken"), ("broken", "good")])


def _as(job: "Job", name: str, attempt: int = 1) -> None:
    """Let what follows run in the job `name` of the workflow, as its own job of the results service too."""
    claims = {"scp": f"Actions.Results:run-of-the-test:job-{name}"}
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    job.variables |= {"GITHUB_JOB": name, "GITHUB_RUN_ATTEMPT": str(attempt)}
    job.variables["ACTIONS_RUNTIME_TOKEN"] = f"e30.{payload}.signature"


def _speak(job: "Job", name: str, **inputs: str) -> "Ended":
    """Convert the model `name` in a job of that name."""
    _as(job, name)
    return job.run(models=name, **inputs)


def _shown(job: "Job") -> dict[str, str]:
    """Return the state of each status that GitHub shows: the latest of a context."""
    return {each["context"]: each["state"] for each in job.github["statuses"]}


@pytest.fixture
def pair(job: "Job") -> "Job":
    job.write("navigator.yaml", PAIR)
    write_gelu(job.workspace / "gelu.onnx")
    return job


@pytest.mark.fault(
    "Two jobs convert different models of one configuration",
    "Each has its own status, comment and artifacts, and says what it covered.",
)
@ORDERS
def test_jobs_that_convert_different_models_have_their_own_status(pair: "Job", order: tuple[str, str]) -> None:
    ended = {name: _speak(pair, name) for name in order}
    assert {name: each.code for name, each in ended.items()} == {"good": 0, "broken": 1}
    assert {each.outputs["coverage"] for each in ended.values()} == {"1 of 2 models"}
    said = [description for state, description, _ in pair.statuses if state != "pending"]
    for outcome in ("passed", "failed"):
        assert sum(each.startswith(f"1 of 1 conversions {outcome} (") for each in said) == 1
    assert all("; covers only 1 of 2 models)" in each for each in said)
    assert _shown(pair) == {"model-navigator (models good)": "success", "model-navigator (models broken)": "failure"}
    assert sorted("❌" in each for each in pair.comments) == [False, True]
    headings = sorted(each.splitlines()[1] for each in pair.comments)
    assert [each.partition(" conv")[0] for each in headings] == [
        "### ✅ models good: 1 of 1",
        "### ❌ models broken: 1 of 1",
    ]
    assert pair.artifacts().keys() == {
        "model-navigator-models-good-results",
        "model-navigator-models-good-models",
        "model-navigator-models-broken-results",
    }


@pytest.mark.fault(
    "Two jobs set the same status or write the same comment",
    "The worst verdict is shown, in any order. Log and summary name the other job, and what to do.",
)
@ORDERS
def test_of_jobs_with_one_voice_the_worse_verdict_stands(pair: "Job", order: tuple[str, str]) -> None:
    ended = {name: _speak(pair, name, status_context="models") for name in order}
    assert _shown(pair) == {"models": "failure"}
    [comment] = pair.comments
    assert "## ❌" in comment
    assert "## ✅" in comment
    assert comment.index("## ❌") < comment.index("## ✅")
    last = ended[order[1]]
    [warning] = [each for each in last.warnings if "status_context" in each]
    assert f"the job {order[0]}" in warning
    assert "status_context" in last.summary


@pytest.mark.fault(
    "Two jobs of a run upload artifacts of the same name",
    "The first ones stay. The second job warns, and keeps its files in the workspace.",
)
def test_the_later_jobs_artifacts_stay_in_its_workspace(pair: "Job") -> None:
    """Jobs that differ in nothing, as on a CPU and on a GPU, have one name for their artifacts."""
    _as(pair, "cpu")
    first = pair.run()
    uploaded = pair.artifacts()["model-navigator-results"]
    _as(pair, "gpu")
    second = pair.run()
    assert (first.code, second.code, pair.artifacts()["model-navigator-results"]) == (1, 1, uploaded)
    warning = next(each for each in second.warnings if "artifact" in each)
    assert "no artifact was uploaded; the files are in navigator_workspace: another job of this run" in warning
    assert "give each job its own `artifact_name`" in warning
    _as(pair, "cpu", attempt=2)
    again = pair.run()
    assert again.outputs["results_artifact_id"] != first.outputs["results_artifact_id"]


def test_jobs_with_a_filter_each_are_reported_together(pair: "Job") -> None:
    pair.write("navigator.yaml", PAIR.replace("gelu.onnx", "tiny.onnx").replace("[13]", "[15]"))
    quiet = {"status": "false", "comment": "never"}
    _speak(pair, "good", **quiet)
    pair.sabotage("import onnx.version_converter\nonnx.version_converter.convert_version = None\n")
    _speak(pair, "broken", **quiet)
    _as(pair, "report")
    ended = pair.run("report")
    assert (ended.code, ended.outputs["total"], ended.outputs["coverage"]) == (1, "2", "")
    assert _shown(pair) == {"model-navigator": "failure"}
    # What the job found the second time counts, and not what `report` made of the first time.
    del pair.variables["PYTHONPATH"]
    _as(pair, "broken", attempt=2)
    pair.run(models="broken", **quiet)
    _as(pair, "report", attempt=2)
    assert pair.run("report").code == 0
    assert _shown(pair) == {"model-navigator": "success"}
