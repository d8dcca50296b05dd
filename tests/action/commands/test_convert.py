"""`convert` as a step of a job: what the pull request, the commit, the run and the log say."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from navigator.action.inputs import OUTPUTS
from tests.support.builders import write_gelu

if TYPE_CHECKING:
    from tests.action.commands.conftest import Job

HEAD = "a" * 40
PAGE = "https://github.com/octocat/models"
RUN = f"{PAGE}/actions/runs/4711"
RESULTS, MODELS = "model-navigator-results", "model-navigator-models"

# The library that raises opsets changes one weight.
WRONG_WEIGHT = """\
import onnx.version_converter, onnx.numpy_helper
convert_version = onnx.version_converter.convert_version
def sabotaged(model, opset):
    model = convert_version(model, opset)
    weight = onnx.numpy_helper.to_array(model.graph.initializer[0]).copy()
    weight[2, 1] += 0.5
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weight, "weight"))
    return model
onnx.version_converter.convert_version = sabotaged
"""


BROKEN = """\
import onnx.version_converter
def broken(model, opset):
    print("::set-output name=status::success", flush=True)
    raise RuntimeError("::error::no way to this opset")
onnx.version_converter.convert_version = broken
"""


def test_a_pull_request_whose_cells_are_good(job: "Job") -> None:
    ended = job.run()

    assert ended.code == 0, ended.log
    assert ended.annotations == []
    assert [status[0] for status in job.statuses] == ["pending", "success"]
    assert {status[2] for status in job.statuses} == {HEAD}
    assert job.statuses[-1][1].startswith(f"2 of 2 conversions passed ({HEAD[:7]}); ")
    assert job.github["statuses"][-1]["context"] == "model-navigator"
    assert job.github["statuses"][-1]["target_url"].partition("#")[0] == RUN
    assert job.github["check_runs"] == []

    uploaded = job.artifacts()
    assert uploaded.keys() == {RESULTS, MODELS}
    assert uploaded[RESULTS].keys() == {"convert_results.yaml", "summary.md", "report.html"}
    assert uploaded[MODELS].keys() == {f"tiny/onnx_op{opset}/model.onnx" for opset in (13, 14)}
    assert not any(job.seen(content.decode("latin-1")) for files in uploaded.values() for content in files.values())
    assert ended.summary == uploaded[RESULTS]["summary.md"].decode()
    assert ended.summary.startswith("### ✅ 2 of 2 conversions passed")

    outputs = ended.outputs
    assert outputs.keys() == set(OUTPUTS) - {"matrix", "shards", "release_url"}
    counted = ("exit_code", "total", "passed", "failures")
    assert (outputs["status"], *(outputs[name] for name in counted)) == ("success", "0", "2", "2", "0")
    assert outputs["results_path"] == "navigator_workspace/convert_results.yaml"
    assert (job.workspace / outputs["results_path"]).read_bytes() == uploaded[RESULTS]["convert_results.yaml"]
    assert (job.workspace / outputs["models_path"] / "tiny/onnx_op14/model.onnx").is_file()
    assert [each["conversion"] for each in json.loads(outputs["results"])] == ["onnx_op13", "onnx_op14"]

    [comment] = job.comments
    assert re.match(
        r"<!-- model-navigator:Models/navigator.yaml outcome:[0-9a-f]{16} -->\n### ✅ 2 of 2 conversions passed",
        comment,
    )
    digest = outputs["artifact_digest"].removeprefix("sha256:")[:12]
    models, results = (f"{RUN}/artifacts/{outputs[name]}" for name in ("artifact_id", "results_artifact_id"))
    assert outputs["artifact_url"] == models
    assert re.search(rf"\[Converted models\]\({models}\) \(\d+ B, sha256 `{digest}`\)", comment)
    assert f"[Results]({results}) · [Job]({RUN})" in comment
    assert job.github["comments"][0]["issue_url"].endswith("/issues/7")
    assert outputs["comment_url"] == job.github["comments"][0]["html_url"]


def test_a_comment_is_edited_from_good_to_bad_and_back(job: "Job") -> None:
    first = job.run().outputs["comment_url"]
    job.sabotage(WRONG_WEIGHT)
    bad = job.run()
    assert (bad.code, bad.outputs["status"], bad.outputs["comment_url"]) == (1, "failure", first)
    [comment] = job.comments
    assert "## ❌ 1 of 2 conversions failed" in comment
    assert "onnx_op14" in comment
    assert job.statuses[-1][0] == "failure"
    assert job.statuses[-1][1].startswith(f"1 of 2 conversions failed ({HEAD[:7]}): tiny onnx_op14; 1 passed, 1 mism")
    del job.variables["PYTHONPATH"]
    good = job.run()
    assert (good.code, good.outputs["comment_url"]) == (0, first)
    assert len(job.comments) == 1
    assert "## ✅" in job.comments[0]
    # Only the model that passed was uploaded, and that run's artifact made way for this one's.
    assert job.artifacts()[MODELS].keys() == {"tiny/onnx_op13/model.onnx", "tiny/onnx_op14/model.onnx"}


def test_a_mismatch_is_shown_at_its_line(job: "Job") -> None:
    job.sabotage(WRONG_WEIGHT)
    ended = job.run()
    assert ended.code == 1
    annotation, warning = ended.annotations
    assert "are too large for its range" in warning
    assert annotation.startswith("::error title=tiny%3A onnx_op14 mismatched,file=navigator.yaml,line=2::onnx_op14: ")
    assert "output 'y'" in annotation
    assert job.artifacts()[MODELS].keys() == {"tiny/onnx_op13/model.onnx"}


def test_the_log_of_a_failed_cell_is_shown_where_nothing_is_a_command(job: "Job") -> None:
    job.sabotage(BROKEN)
    ended = job.run()
    assert (ended.code, ended.outputs["failures"], ended.outputs["status"]) == (1, "1", "failure")
    assert [each["state"] for each in json.loads(ended.outputs["results"])] == ["failed", "passed"]
    log = ended.log.splitlines()
    start = log.index("::group::tiny onnx_op14: onnx_op14.convert.log")
    stop = re.fullmatch(r"::stop-commands::(\w{40})", log[start + 1])
    assert stop
    end = log.index(f"::{stop[1]}::")
    assert log[end + 1] == "::endgroup::"
    assert "::set-output name=status::success" in log[start:end]
    assert "Log: `navigator_workspace/logs/tiny/onnx_op14.convert.log`" in ended.summary
    inside = False
    for line in log:
        inside = (inside or line.startswith("::stop-commands::")) and not re.fullmatch(r"::\w{40}::", line)
        assert inside or not line.startswith(("::set-output", "::error::no way"))


def test_a_wrong_configuration_is_told_at_its_place(job: "Job") -> None:
    job.write("navigator.yaml", "model_name: tiny\nmodel_path: tiny.onnx\nonnx_opset: [13]\natol: [x]\n")
    ended = job.run()
    assert (ended.code, ended.outputs["status"], ended.outputs["exit_code"]) == (2, "error", "2")
    title = "title=Invalid configuration,file=navigator.yaml"
    assert [line.partition("::")[2].partition("::")[0] for line in ended.annotations] == [
        f"error {title},line=3,col=1",
        f"error {title},line=4,col=8",
    ]
    assert "did you mean 'onnx_opsets'?" in ended.annotations[0]
    [comment] = job.comments
    assert "## ❌ Invalid configuration: 2 problems\n\nNothing was converted." in comment
    assert "`navigator.yaml:3:1`: " in comment
    assert job.comments[0] == ended.summary
    assert [status[0] for status in job.statuses] == ["error"]
    assert job.artifacts() == {}


def test_a_missing_model_and_a_missing_configuration_are_named(job: "Job") -> None:
    (job.workspace / "tiny.onnx").unlink()
    ended = job.run()
    assert ended.code == 2
    assert "file=navigator.yaml,line=3" in ended.annotations[0]
    assert "tiny.onnx" in ended.annotations[0]
    ended = job.run(config="other.yaml")
    assert ended.code == 2
    assert "other.yaml" in ended.annotations[0]
    # Another configuration, another comment.
    assert len(job.comments) == 2


def test_a_wrong_input_is_named_with_what_it_may_be(job: "Job") -> None:
    ended = job.run(comment="allways", compression_level="11")
    assert ended.code == 2
    assert ended.log.endswith(
        "::error::the input `comment`: 'allways' isn't one of always, change, failure, never; did you mean always?"
        "%0Athe input `compression_level`: '11' isn't an integer from 0 to 9"
        "%0A  fix them under `with:` of the step\n"
    )


def test_filters_choose_cells(job: "Job") -> None:
    ended = job.run(conversions="*14")
    assert (ended.code, ended.outputs["total"]) == (0, "1")
    ended = job.run(models="none, other")
    assert (ended.code, ended.outputs["status"], ended.outputs["exit_code"]) == (3, "error", "3")
    assert "no model matches none, other" in ended.annotations[0]
    assert "the models are tiny" in ended.annotations[0]
    # Other filters, another comment and another status.
    assert "1 of 1 conversions passed" in job.comments[0]
    assert "nothing was converted" in job.comments[1]
    contexts = {each["context"] for each in job.github["statuses"]}
    assert contexts == {"model-navigator (conversions *14)", "model-navigator (models none other)"}
    assert job.statuses[-1][0] == "error"


@pytest.mark.parametrize(
    ("what", "wanted"),
    [
        ("none", set()),
        ("converted", {"tiny/onnx_op20/model.onnx"}),
        ("all", {"tiny/onnx_op20/model.onnx", "logs/tiny/"}),
    ],
)
def test_which_artifacts_are_uploaded(job: "Job", what: str, wanted: set[str]) -> None:
    job.write("navigator.yaml", (job.workspace / "navigator.yaml").read_text().replace("[13, 14]", "[13, 20]"))
    write_gelu(job.workspace / "tiny.onnx")
    ended = job.run(artifacts=what, artifact_name="mine")
    assert ended.code == 1
    uploaded = job.artifacts()
    assert uploaded.keys() == ({"mine-results", "mine-models"} if wanted else set())
    names = {name if not name.startswith("logs/") else "logs/tiny/" for name in uploaded.get("mine-models", {})}
    assert names == wanted
    assert ("Converted models" in job.comments[0]) == bool(wanted)


def test_models_as_they_are(job: "Job") -> None:
    ended = job.run(artifact_archive="false", retention_days="120", compression_level="0")
    assert ended.code == 0
    uploaded = job.artifacts()
    assert uploaded.keys() == {RESULTS, "model-navigator-tiny-onnx_op13.onnx", "model-navigator-tiny-onnx_op14.onnx"}
    here = job.workspace / "navigator_workspace/converted/tiny/onnx_op14/model.onnx"
    assert uploaded["model-navigator-tiny-onnx_op14.onnx"] == {"": here.read_bytes()}
    made = json.loads(ended.outputs["artifacts"])
    assert {each["name"] for each in made} == uploaded.keys()
    for each in made:
        assert each["url"] == f"{RUN}/artifacts/{each['id']}"
        link = f"{each['url']}) ({each['size_bytes']} B, sha256 `{each['digest'].removeprefix('sha256:')[:12]}`)"
        assert (link in job.comments[0]) is (each["name"] != RESULTS)
        assert f"]({each['url']})" in job.comments[0]
    kinds = {each["name"]: each["mime_type"] for each in job.asked("CreateArtifact")}
    assert kinds[RESULTS] == "application/zip"
    assert kinds["model-navigator-tiny-onnx_op14.onnx"] == "application/octet-stream"
    for each in job.asked("CreateArtifact"):
        kept = datetime.fromisoformat(each["expires_at"]) - datetime.now(UTC)
        assert timedelta(days=89) < kept < timedelta(days=91)
    # Nothing is compressed.
    size = next(int(each["size"]) for each in job.asked("FinalizeArtifact") if each["name"] == RESULTS)
    assert size > sum(map(len, uploaded[RESULTS].values()))
    assert "artifacts are kept for 90 days instead of 120: the repository allows no more" in ended.warnings


def test_a_check_run_says_what_the_comment_says(job: "Job") -> None:
    job.write("navigator.yaml", (job.workspace / "navigator.yaml").read_text().replace("[13, 14]", "[13, 20]"))
    write_gelu(job.workspace / "tiny.onnx")
    ended = job.run(check_run="true", status="false", status_context="models", comment="never", annotations="false")
    assert ended.code == 1
    assert (job.statuses, job.comments, ended.annotations) == ([], [], [])
    [run] = job.github["check_runs"]
    assert (run["name"], run["conclusion"], run["head_sha"]) == ("models", "failure", HEAD)
    assert run["output"]["title"].startswith("1 of 2 conversions failed")
    assert run["output"]["summary"].startswith("### ❌ 1 of 2 conversions failed")
    assert f"; its end is in [the run's log]({RUN})" in run["output"]["summary"]
    assert [(each["path"], each["start_line"]) for each in run["annotations"]] == [("navigator.yaml", 2)]


def test_an_output_that_cannot_be_written_fails_the_job(job: "Job") -> None:
    job.write("out/model.onnx/in_the_way", "")
    job.write(
        "navigator.yaml", "model_name: tiny\nmodel_path: tiny.onnx\nonnx_opsets: [14]\noutput_path: out/model.onnx\n"
    )
    ended = job.run(conversions="onnx_op14")
    assert (ended.code, ended.outputs["exit_code"], ended.outputs["status"]) == (1, "1", "failure")
    [annotation] = ended.annotations
    assert "A requested file couldn't be written.%0Atiny: can't write output_path" in annotation
    assert job.statuses[-1][0] == "failure"
    assert job.statuses[-1][1].startswith("A requested file couldn't be written. 1 of 1 conversions passed")
    assert job.comments[0].splitlines()[1] == "**A requested file couldn't be written.**"


def test_without_an_artifact_service_the_files_stay(job: "Job") -> None:
    del job.variables["ACTIONS_RUNTIME_TOKEN"]
    ended = job.run()
    assert ended.code == 0
    [warning] = ended.warnings
    assert "no artifact was uploaded; the files are in navigator_workspace: " in warning
    assert "ACTIONS_RUNTIME_TOKEN isn't set" in warning
    assert "upload the results directory with actions/upload-artifact in a later step" in warning
    assert (job.workspace / ended.outputs["results_path"]).is_file()
    assert "[Converted models]" not in job.comments[0]
    job.variables |= {"GITHUB_SERVER_URL": "https://github.example.com"}
    ended = job.run()
    assert ended.code == 0
    assert "github.example.com doesn't support artifacts of version 4 or later" in ended.warnings[0]
    assert "actions/upload-artifact@v3" in ended.warnings[0]


def test_without_a_token_results_are_told_in_the_job_alone(job: "Job") -> None:
    job.variables |= {"INPUT_TOKEN": "", "GITHUB_TOKEN": ""}
    ended = job.run()
    assert ended.code == 0
    assert all("pass `token: ${{ github.token }}`" in each for each in ended.warnings)
    assert ended.summary.startswith("### ✅")
    assert job.github["calls"] == []


def test_validate_tells_problems_alone(job: "Job") -> None:
    ended = job.run("validate")
    assert (ended.code, ended.log) == (0, "navigator.yaml: valid, models: 1\n")
    assert ended.outputs == {"status": "success", "exit_code": "0"}
    assert (job.statuses, job.comments, ended.summary) == ([], [], "")
    job.write("navigator.yaml", "models: 3\n")
    ended = job.run("validate")
    assert (ended.code, len(ended.annotations), job.statuses, job.comments) == (2, 1, [], [])
    assert "Invalid configuration" in ended.summary
