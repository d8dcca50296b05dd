"""What a job says if it can't begin: sentences that fit where the reader is, in every channel."""

import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.action.commands.conftest import Job


@pytest.mark.fault(
    "An input of the action is wrong",
    "Exit code 2. Status, outputs, summary and comment say which, and what it may be.",
)
def test_a_wrong_input_reaches_every_channel(job: "Job") -> None:
    ended = job.run("convert", comment="allways", retention_days="0")

    assert ended.code == 2
    assert (ended.outputs["status"], ended.outputs["exit_code"]) == ("error", "2")
    for text in (ended.summary, job.comments[0], ended.log):
        assert "allways" in text
        assert "retention" in text
    assert [each[0] for each in job.statuses] == ["error"]


def test_a_wrong_input_and_what_the_others_say(job: "Job") -> None:
    ended = job.run("convert", fail_on="never", status="false", comment="never", summary="no")

    assert (ended.code, ended.outputs["status"], ended.outputs["exit_code"]) == (0, "error", "2")
    assert (job.comments, job.statuses) == ([], [])


@pytest.mark.parametrize("command", ["convert", "report", "release", "validate"])
@pytest.mark.parametrize("path", ["/tmp/results", "../results"])
def test_a_workspace_path_outside_the_repository(job: "Job", command: str, path: str) -> None:
    ended = job.run(command, workspace_path=path, tag="v1")

    assert ended.code == 2
    assert f"the input `workspace_path`: '{path}' is outside the repository" in ended.log
    assert "use a path relative to the repository, such as `navigator_workspace`" in ended.log
    assert ended.outputs["status"] == "error"


@pytest.mark.fault(
    "The repository isn't checked out",
    "Exit code 2. The step that is missing is named.",
)
def test_a_repository_that_is_not_checked_out(job: "Job") -> None:
    for each in job.workspace.iterdir():
        shutil.rmtree(each) if each.is_dir() else each.unlink()

    ended = job.run("convert")

    assert ended.code == 2
    assert "'navigator.yaml' doesn't exist: the repository isn't checked out" in ended.summary
    assert "`uses: actions/checkout@v5`" in ended.log


def test_a_configuration_that_is_elsewhere(job: "Job") -> None:
    for name in ("models/navigator.yaml", "b/c/navigator.yml", "node_modules/x/navigator.yaml"):
        job.write(name, "")
    (job.workspace / "navigator.yaml").unlink()

    ended = job.run("convert")

    assert ended.code == 2
    assert "the input `config`: 'navigator.yaml' doesn't exist" in ended.log
    assert "set the input `config` to a file that exists: b/c/navigator.yml, models/navigator.yaml\n" in ended.log


def test_a_workspace_of_the_users_is_refused_before_anything_is_touched(job: "Job") -> None:
    job.write("docs/summary.md", "mine")

    ended = job.run("convert", workspace_path="docs")

    assert ended.code == 2
    assert "workspace docs contains files that Model Navigator didn't write: summary.md" in ended.log
    assert str(job.workspace) not in ended.log + ended.summary + job.comments[0]
    assert (job.workspace / "docs/summary.md").read_text() == "mine"

    ended = job.run("report", workspace_path="docs")
    assert ended.code == 2
    assert (job.workspace / "docs/summary.md").read_text() == "mine"


def test_texts_name_files_as_the_repository_does(job: "Job") -> None:
    """Not as the container: /github/workspace is nobody's directory."""
    path = job.workspace / "tiny.onnx"
    path.write_bytes(path.read_bytes().replace(b"Tanh", b"Tonh"))

    ended = job.run("convert")

    assert ended.code == 1
    for text in (ended.summary, ended.log, ended.outputs["results"], *job.comments):
        assert f"{job.workspace}/" not in text
