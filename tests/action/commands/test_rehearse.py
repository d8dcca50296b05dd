"""An upgrade is rehearsed by the action: its status, its comment and its artifact are its own."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.wheels import LIKE_INSTALLED, WRONG_WEIGHTS, wheel

if TYPE_CHECKING:
    from tests.action.commands.conftest import Job


@pytest.fixture
def index(job: "Job") -> Path:
    """Return a directory with the only wheels that the job can have."""
    place = job.root / "wheels"
    wheel(place, "onnx", "98.0", LIKE_INSTALLED)
    wheel(place, "onnx", "99.0", WRONG_WEIGHTS)
    job.variables |= {"PIP_FIND_LINKS": str(place), "PIP_NO_INDEX": "1"}
    return place


def test_a_rehearsal_speaks_for_itself(job: "Job", index: Path) -> None:
    assert job.run().code == 0
    ended = job.run("rehearse", **{"with": "onnx==99.0\n"})
    assert ended.code == 1, ended.log
    assert "Compared with the installed versions: 1 conversion broke" in ended.log
    assert (ended.outputs["status"], ended.outputs["failures"]) == ("failure", "1")
    assert ended.outputs["results_path"] == "navigator_workspace/rehearsal/proposed/convert_results.yaml"
    statuses = {each["context"]: each["state"] for each in job.github["statuses"]}
    assert statuses == {"model-navigator": "success", "model-navigator (rehearsal)": "failure"}
    # One comment for each, and neither replaces the other.
    assert len(job.comments) == 2
    assert job.artifacts().keys() == {"model-navigator-models", "model-navigator-results", "model-navigator-rehearsal"}
    assert job.run("rehearse", **{"with": "onnx==98.0"}).code == 0
    assert len(job.comments) == 2


def test_nothing_to_rehearse_is_fine(job: "Job", index: Path) -> None:
    ended = job.run("rehearse", **{"with": "numpy"})
    assert (ended.code, ended.outputs["status"]) == (0, "success"), ended.log
    assert job.statuses[-1][:2] == ("success", "nothing to rehearse: numpy: already installed")


def test_what_cannot_be_installed_is_said_where_readers_are(job: "Job", index: Path) -> None:
    ended = job.run("rehearse", **{"with": "onnx==97.*"})
    assert (ended.code, ended.outputs["status"]) == (2, "error")
    assert "onnx==97.* can't be installed: there is no such version" in job.statuses[-1][1]
    assert "the newest versions are 99.0, 98.0" in ended.annotations[0]
    assert "the input `with` is empty" in job.run("rehearse").annotations[0]


def test_no_password_of_an_index_reaches_the_engine(job: "Job", index: Path) -> None:
    job.variables["PIP_EXTRA_INDEX_URL"] = "https://user:hidden@packages.example.org/simple"
    job.variables["PIP_INDEX_URL"] = "https://packages.example.org/simple"
    job.variables["UV_PUBLISH_TOKEN"] = "hidden"
    job.sabotage(f"""
        import os
        with open({str(job.root / "temp" / "seen")!r}, "a") as file:
            file.write(repr(dict(os.environ)) + "\\n")
        """)
    assert job.run("rehearse", **{"with": "onnx==98.0"}).code == 0
    seen = (job.root / "temp" / "seen").read_text()
    assert "https://packages.example.org/simple" in seen
    assert "hidden" not in seen
    # Other commands install nothing.
    (job.root / "temp" / "seen").unlink()
    assert job.run(artifacts="none").code == 0
    assert "PIP_" not in (job.root / "temp" / "seen").read_text()
