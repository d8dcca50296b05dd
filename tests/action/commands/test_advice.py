"""What the action advises is done as it says, and the command that was refused works then."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.action.commands.conftest import Ended, Job

RESULTS = "navigator_workspace"

Inputs = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A step that is refused.

    Args:
        wrong: its inputs.
        advice: what is advised, word for word.
        right: does what is advised, and returns the inputs for that.
        prepare: lets it be refused.
        command: the command.
    """

    wrong: Inputs = field(default_factory=dict)
    advice: str
    right: Callable[["Job", str], Inputs]
    prepare: Callable[["Job"], object] = lambda job: None
    command: str = "validate"


def said(pattern: str) -> Callable[["Job", str], Inputs]:
    """Return a fix that takes the one input from the advice itself."""

    def fix(_job: "Job", log: str) -> Inputs:
        found = re.search(pattern, log)
        assert found, log
        return found.groupdict()

    return fix


def given(**inputs: str) -> Callable[["Job", str], Inputs]:
    """Return a fix that sets other inputs."""
    return lambda _job, _log: inputs


def written(job: "Job", _log: str) -> Inputs:
    """Put the configuration and the model, which `moved` took away, where they belong."""
    shutil.copytree(job.root / "elsewhere", job.workspace, dirs_exist_ok=True)
    return {}


def moved(job: "Job", *, name: str = "", is_checkout: bool = False) -> None:
    """Take everything out of the workspace, to a directory in it if it has a name; leave an empty checkout if asked."""
    shutil.copytree(job.workspace, job.root / "elsewhere")
    shutil.rmtree(job.workspace)
    (job.workspace / ".git" if is_checkout else job.workspace).mkdir(parents=True)
    if name:
        shutil.copytree(job.root / "elsewhere", job.workspace / name)


CASES = {
    "config": Case(
        prepare=lambda job: moved(job, name="models"),
        advice="set the input `config` to a file that exists: models/navigator.yaml",
        right=said(r"to a file that exists: (?P<config>\S+)"),
    ),
    "no_config": Case(
        prepare=lambda job: moved(job, is_checkout=True),
        advice="add the file, or set the input `config` to its path; the repository has no navigator.yaml",
        right=written,
    ),
    "no_checkout": Case(
        prepare=moved,
        advice="add a step with `uses: actions/checkout@v5` before this one",
        right=written,
    ),
    "workspace": Case(
        wrong={"workspace_path": "/tmp/results"},
        advice="use a path relative to the repository, such as `navigator_workspace`",
        right=said(r"such as `(?P<workspace_path>\w+)`"),
    ),
    "choice": Case(
        wrong={"comment": "allways"},
        advice="did you mean always?",
        right=said(r"did you mean (?P<comment>\w+)\?"),
    ),
    "rehearsal": Case(
        command="rehearse",
        advice="set it to packages such as `onnxruntime==1.31.*`",
        right=given(**{"with": "numpy"}),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_advised_helps(job: "Job", name: str) -> None:
    case = CASES[name]
    case.prepare(job)
    before = job.run(case.command, **case.wrong)
    assert before.code == 2, before.log
    assert case.advice in before.log

    after = job.run(case.command, **{**case.wrong, **case.right(job, before.log)})
    assert after.code == 0, after.log


def refused(ended: "Ended", advice: str) -> None:
    assert ended.code == 2, ended.log
    assert advice in ended.log


@pytest.mark.nightly
def test_what_is_advised_about_results_helps(job: "Job") -> None:
    """One run's results, reported and released until everything that is advised has been done."""
    job.say("tags", {"v1": "a" * 40})
    job.event("push", {}, GITHUB_REF="refs/heads/main", GITHUB_SHA="a" * 40)
    job.write("other.yaml", (job.workspace / "navigator.yaml").read_text())
    assert job.run(artifacts="none", conversions="*op13").code == 0

    no_results = "or set `workspace_path` to the directory with its results"
    refused(job.run("report"), no_results)
    shown = {"workspace_path": RESULTS, "artifacts": "none"}
    refused(job.run("report", **shown), "convert the others too, or set `allow_partial: true`")
    shown["allow_partial"] = "true"
    refused(
        job.run("report", **shown, config="other.yaml"), "with the same `config`, and remove what earlier runs left"
    )
    refused(job.run("report", **shown, matrix="{"), "pass the output `matrix` of the command `plan`")
    matrix = job.run("plan", conversions="*op13").outputs["matrix"]
    assert json.loads(matrix)
    ended = job.run("report", **shown, conversions="*op13", matrix=matrix)
    assert ended.code == 0, ended.log

    refused(job.run("release"), "run on a tag, or set the input `tag`")
    refused(job.run("release", tag="v1"), "convert the others too, or set `allow_partial: true`")
    model = job.workspace / RESULTS / "converted/tiny/onnx_op13/model.onnx"
    model.write_bytes(model.read_bytes() + b"0")
    refused(job.run("release", tag="v1", allow_partial="true"), "run `convert` again")
    assert job.run(artifacts="none").code == 0
    ended = job.run("release", tag="v1")
    assert ended.code == 0, ended.log
