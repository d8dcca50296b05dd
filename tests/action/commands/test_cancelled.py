"""A job that is cancelled: what was done is kept and told, and it ends before the runner kills it."""

import signal
import subprocess
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import psutil
import pytest
import requests

if TYPE_CHECKING:
    from tests.action.commands.conftest import Job

SLOW = "import time, onnx.version_converter\nonnx.version_converter.convert_version = lambda *_: time.sleep(600)\n"
# After this the runner sends its second signal.
PATIENCE_SECONDS = 7


def wait_for(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    for _ in range(600):
        if condition():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("it does not come to pass")


def test_while_a_conversion_runs(job: "Job") -> None:
    job.sabotage(SLOW)
    process = job.start(check_run="true")
    results = job.workspace / "navigator_workspace/convert_results.yaml"
    wait_for(lambda: results.exists() and "state: passed" in results.read_text(), process)
    descendants = psutil.Process(process.pid).children(recursive=True)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    ended = job.end(process, began)

    assert ended.code == 130, ended.log
    assert ended.seconds < PATIENCE_SECONDS
    assert not any(each.is_running() for each in descendants)
    assert "complete: false" in results.read_text()
    assert [ended.outputs[name] for name in ("status", "exit_code", "passed", "total")] == [
        "cancelled",
        "130",
        "1",
        "2",
    ]
    assert "## ⚠️ Incomplete: 1 of 2 conversions cancelled" in ended.summary
    assert [each[0] for each in job.statuses] == ["pending", "error"]
    assert job.statuses[-1][1].startswith("Incomplete: 1 of 2 conversions cancelled (aaaaaaa): tiny onnx_op14; 1")
    assert [each["conclusion"] for each in job.github["check_runs"]] == ["cancelled"]
    # There is no time for these.
    assert (job.comments, job.artifacts()) == ([], {})


@pytest.mark.fault(
    "A run is cancelled, and the pull request has a comment on an earlier commit",
    "The comment says that it's out of date, and which commit it's about.",
)
def test_a_comment_on_an_earlier_commit_is_marked_as_out_of_date(job: "Job") -> None:
    ended = job.run()
    assert ended.code == 0, ended.log
    [before] = job.comments
    assert "### ✅ 2 of 2 conversions passed (aaaaaaa)\n" in before

    job.variables["GITHUB_RUN_ID"] = str(int(job.variables["GITHUB_RUN_ID"]) + 1)
    job.pull_request(sha="b" * 40)
    job.sabotage(SLOW)
    process = job.start()
    wait_for(lambda: job.comments != [before], process)
    first, heading = job.comments[0].splitlines()[1:4:2]
    assert first.startswith("> ⏳ **Out of date**, about aaaaaaa: [the run for bbbbbbb](")
    assert first.endswith(") hasn't ended.")
    assert heading == before.splitlines()[1]

    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    ended = job.end(process, began)
    assert ended.seconds < PATIENCE_SECONDS
    first = job.comments[0].splitlines()[1]
    assert first.startswith("> ⏹️ **Out of date**, about aaaaaaa: [the run for bbbbbbb](")
    assert first.endswith(") was cancelled.")


def test_before_there_is_a_result(job: "Job", chaos: Callable[[str], tuple[str, str]]) -> None:
    job.variables["GITHUB_API_URL"], control = chaos(job.github_url)
    fault = {"match": "/statuses/", "direction": "down", "action": "delay", "seconds": 1}
    requests.post(control, json=[fault], timeout=10).raise_for_status()
    process = job.start(fail_on="never")
    wait_for(lambda: bool(requests.get(control, timeout=10).json()["taken"]), process)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    ended = job.end(process, began)
    assert (ended.code, ended.outputs["status"], ended.outputs["exit_code"]) == (130, "cancelled", "130"), ended.log
    assert ended.seconds < PATIENCE_SECONDS
    assert [each[:2] for each in job.statuses] == [
        ("pending", "converting and verifying"),
        ("error", "cancelled before anything was converted"),
    ]
    assert job.comments == []


def test_while_github_does_not_answer(job: "Job", chaos: Callable[[str], tuple[str, str]]) -> None:
    job.sabotage(SLOW)
    job.variables["GITHUB_API_URL"], control = chaos(job.github_url)
    process = job.start()
    results = job.workspace / "navigator_workspace/convert_results.yaml"
    wait_for(lambda: results.exists() and "state: passed" in results.read_text(), process)
    fault = {"match": "/statuses/", "direction": "up", "action": "delay", "seconds": 60}
    requests.post(control, json=[fault], timeout=10).raise_for_status()
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    ended = job.end(process, began)
    assert ended.code == 130
    assert ended.seconds < PATIENCE_SECONDS
    [warning] = ended.warnings
    assert warning.startswith("couldn't set the commit status: GitHub didn't answer POST /repos/")
    assert ended.outputs["status"] == "cancelled"


def test_while_an_artifact_is_uploaded(job: "Job", azurite: str, chaos: Callable[[str], tuple[str, str]]) -> None:
    """The results are known: they reach the commit, if not the storage."""
    url, control = chaos(azurite)
    job.say_results("settings", {"blob_url": url})
    requests.post(
        control, json=[{"direction": "down", "action": "delay", "seconds": 60}], timeout=10
    ).raise_for_status()
    process = job.start()
    wait_for(lambda: bool(requests.get(control, timeout=10).json()["taken"]), process)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    ended = job.end(process, began)
    assert ended.seconds < PATIENCE_SECONDS
    assert "uploading the artifact model-navigator-results took too long" in ended.warnings[0]
    assert [each[0] for each in job.statuses] == ["pending", "success"]
    assert len(job.comments) == 1


@pytest.mark.fault(
    "The kernel kills the whole engine, most likely since memory ran out",
    "What it finished counts. The rest failed, and status, comment, summary and results name the signal.",
)
def test_an_engine_that_was_killed_leaves_its_results(job: "Job") -> None:
    job.sabotage(SLOW)
    job.write("navigator_workspace/.model-navigator", "")
    job.write("navigator_workspace/summary.md", "of an earlier run")
    process = job.start(check_run="true")
    results = job.workspace / "navigator_workspace/convert_results.yaml"
    wait_for(lambda: results.exists() and "state: passed" in results.read_text(), process)
    for each in psutil.Process(process.pid).children():
        each.kill()
    ended = job.end(process)

    why = "the engine was killed by signal 9, most likely out of memory"
    assert ended.code == 1, ended.log
    assert [ended.outputs[name] for name in ("status", "exit_code", "passed", "failures")] == ["failure", "1", "1", "1"]
    assert job.artifacts()["model-navigator-results"].keys() == {"convert_results.yaml", "summary.md", "report.html"}
    assert job.artifacts()["model-navigator-models"].keys() == {"tiny/onnx_op13/model.onnx"}
    assert job.statuses[-1][0] == "failure"
    assert [each["conclusion"] for each in job.github["check_runs"]] == ["failure"]
    written = results.read_text()
    assert "cancelled" not in written
    for told in (job.comments[0], job.statuses[-1][1], ended.summary, written, "".join(ended.annotations)):
        assert why in told
    assert "more memory" in job.comments[0]


def test_an_engine_that_is_killed_at_once_is_no_bug_of_ours(job: "Job") -> None:
    job.sabotage("import os\nos.kill(os.getpid(), 9)\n")
    ended = job.run()
    assert (ended.code, ended.outputs["status"]) == (1, "error")
    why = "nothing was converted: the engine was killed by signal 9, most likely out of memory"
    for told in (job.comments[0], job.statuses[-1][1], ended.summary, "".join(ended.annotations)):
        assert why in told
    assert "more memory" in job.comments[0]
