"""`release`: the converted models of a run as assets of the tag's release, or nothing."""

import hashlib
from typing import TYPE_CHECKING

from tests.support.builders import write_gelu

if TYPE_CHECKING:
    from tests.action.commands.conftest import Job

NAMES = {
    "convert_results.yaml",
    "summary.md",
    "report.html",
    "SHA256SUMS",
    "tiny-onnx_op13.onnx",
    "tiny-onnx_op14.onnx",
}


def tagged(job: "Job") -> None:
    job.say("tags", ["v1"])
    job.event("push", {}, GITHUB_REF="refs/tags/v1")


def check_assets(job: "Job") -> None:
    """See that the release has every file, and that SHA256SUMS tells what the others are."""
    [release] = job.github["releases"]
    assert not release["draft"]
    digests = {each["name"]: each["digest"].removeprefix("sha256:") for each in job.github["assets"]}
    assert digests.keys() == NAMES
    sums = "".join(f"{digests[name]}  {name}\n" for name in listed(job) if name != "SHA256SUMS")
    assert digests["SHA256SUMS"] == hashlib.sha256(sums.encode()).hexdigest()
    model = (job.workspace / "navigator_workspace/converted/tiny/onnx_op14/model.onnx").read_bytes()
    assert digests["tiny-onnx_op14.onnx"] == hashlib.sha256(model).hexdigest()


def listed(job: "Job") -> list[str]:
    return [each["name"] for each in job.github["assets"]]


def test_from_the_workspace(job: "Job") -> None:
    tagged(job)
    job.run(artifacts="none")
    statuses = job.statuses
    ended = job.run("release")
    assert ended.code == 0, ended.log
    assert ended.outputs["release_url"] == "https://github.com/octocat/models/releases/tag/v1"
    check_assets(job)
    assert (job.comments, job.statuses) == ([], statuses)
    # Once more changes nothing.
    before = job.github["assets"]
    assert job.run("release").code == 0
    assert job.github["assets"] == before


def test_from_the_artifacts_of_shards(job: "Job") -> None:
    tagged(job)
    config = (job.workspace / "navigator.yaml").read_text()
    job.write("navigator.yaml", config + config.removeprefix("models:\n").replace("name: tiny", "name: other"))
    for shard in ("1/2", "2/2"):
        assert job.run(shard=shard).code == 0
    forget(job)
    ended = job.run("release")
    assert ended.code == 0, ended.log
    models = {f"{model}-onnx_op{opset}.onnx" for model in ("tiny", "other") for opset in (13, 14)}
    assert set(listed(job)) == models | NAMES


def forget(job: "Job") -> None:
    """Let the job that releases be another one than the one that converted."""
    (job.workspace / "navigator_workspace").rename(job.root / "elsewhere")


def test_from_the_artifacts(job: "Job") -> None:
    tagged(job)
    assert job.run().code == 0
    forget(job)
    ended = job.run("release", tag="v1", draft="true")
    assert ended.code == 0, ended.log
    assert job.github["releases"][0]["draft"]
    assert job.run("release").code == 0
    (job.root / "elsewhere").rename(job.workspace / "navigator_workspace")
    check_assets(job)


def test_a_bad_cell_is_not_released(job: "Job") -> None:
    tagged(job)
    job.write("navigator.yaml", (job.workspace / "navigator.yaml").read_text().replace("[13, 14]", "[13, 20]"))
    write_gelu(job.workspace / "tiny.onnx")
    job.run()
    ended = job.run("release")
    assert (ended.code, ended.outputs["status"]) == (2, "error")
    assert "nothing was released as v1: 1 of 2 conversions failed" in ended.annotations[0]
    assert (job.github["releases"], job.github["assets"]) == ([], [])


def test_a_model_that_is_not_the_verified_one_is_not_released(job: "Job") -> None:
    tagged(job)
    assert job.run().code == 0
    model = job.workspace / "navigator_workspace/converted/tiny/onnx_op13/model.onnx"
    model.write_bytes(model.read_bytes() + b"0")
    ended = job.run("release")
    assert ended.code == 2
    assert "nothing was released as v1: tiny/onnx_op13 has changed since it was verified" in ended.annotations[0]
    assert job.github["releases"] == []


def test_results_without_models_are_not_released(job: "Job") -> None:
    tagged(job)
    assert job.run(artifact_archive="false").code == 0
    forget(job)
    ended = job.run("release")
    assert ended.code == 2
    assert "nothing was released as v1: 2 of the converted models are missing" in ended.annotations[0]
    assert job.github["releases"] == []


def test_without_a_tag_nothing_is_released(job: "Job") -> None:
    job.event("push", {}, GITHUB_REF="refs/heads/main")
    ended = job.run("release")
    assert ended.code == 2
    assert "the event push has no tag to release%0A  run on a tag, or set" in ended.annotations[0]
    ended = job.run("release", tag="v9")
    assert ended.code == 2
    assert "there are no results" in ended.annotations[0]


def test_a_missing_tag_and_a_missing_permission_are_said(job: "Job") -> None:
    assert job.run().code == 0
    ended = job.run("release", tag="v9")
    assert ended.code == 2
    assert "octocat/models has no tag v9" in ended.annotations[0]
    job.say("tags", ["v9"])
    job.variables["INPUT_TOKEN"] = job.secrets["INPUT_TOKEN"] = "ghs_fork"
    ended = job.run("release", tag="v9", fail_on="never")
    assert (ended.code, ended.outputs["exit_code"]) == (0, "2")
    assert "Give the job the permission `contents: write`" in ended.annotations[0]
