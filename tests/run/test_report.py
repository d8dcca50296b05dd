"""Shards as machines convert them, and their reports merged: from the command line, with real conversions."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from navigator.cli import main
from navigator.config import schema_path

TWO = """\
models:
  - model_name: tiny
    model_path: tiny.onnx
    target_formats: [onnx, trt]
    onnx_opsets: [13, 17]
    max_batch_size: 2
  - model_name: other
    model_path: tiny.onnx
    target_formats: [onnx, torchscript]
    max_batch_size: 2
"""


def states(results: Path) -> dict[tuple[str, str], str]:
    data = yaml.safe_load(results.read_text())
    return {(each["model_name"], each["conversion"]): each["status"]["state"] for each in data["results"]}


@pytest.fixture
def planned(project: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    (project / "navigator.yaml").write_text(TWO)
    assert main(["plan", "navigator.yaml", "--matrix", "--max-shards", "2"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1, "a matrix is one line"
    matrix: dict[str, Any] = json.loads(printed)
    return matrix


@pytest.fixture
def converted(project: Path, planned: dict[str, Any]) -> Path:
    """Convert each shard in a workspace of its own, as two machines would."""
    for number, job in enumerate(planned["include"]):
        workspace = f"jobs/{number}/navigator_workspace"
        main(["convert", "--shard", job["shard"], "--workspace-path", workspace])
    return project / "jobs"


def test_shards_that_are_merged_have_the_states_of_the_whole_run(
    project: Path, planned: dict[str, Any], converted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = main(["convert"])
    capsys.readouterr()

    code = main(["report", "jobs", "--matrix", json.dumps(planned), "--output", "merged"])

    said = capsys.readouterr().out
    merged = project / "merged" / "convert_results.yaml"
    assert states(merged) == states(project / "navigator_workspace" / "convert_results.yaml")
    assert code == whole
    data = yaml.safe_load(merged.read_text())
    assert (data["complete"], data["shard"]) == (True, "")
    assert not [note for note in data["notes"] if "shard" in note]
    jsonschema.validate(data, json.loads(schema_path("convert_results.schema.json").read_text()))
    parts = [states(path) for path in sorted(converted.rglob("convert_results.yaml"))]
    assert len(parts) == 2
    assert all(parts)
    assert not set(parts[0]) & set(parts[1])
    assert "results: merged/convert_results.yaml\n" in said
    assert f" {verdict(said)}" in (project / "merged" / "summary.md").read_text().splitlines()[0]


def verdict(said: str) -> str:
    return next(
        line for line in said.splitlines() if " conversions failed" in line or " conversions passed" in line
    ).partition(":")[0]


def test_a_shard_says_which_it_is_and_reproduces_without(project: Path) -> None:
    import onnx

    broken = onnx.load(project / "tiny.onnx")
    broken.graph.node[0].op_type = "Nothing"
    onnx.save(broken, project / "broken.onnx")
    text = "model_name: broken\nmodel_path: broken.onnx\ntarget_formats: [onnx]\noutput_path: out.onnx\n"
    (project / "navigator.yaml").write_text(text)

    assert main(["convert", "--shard", "1/1", "--override-workspace"]) == 1

    made = yaml.safe_load((project / "navigator_workspace/convert_results.yaml").read_text())
    assert made["shard"] == "1/1"
    assert " · shard 1/1" in (project / "navigator_workspace/summary.md").read_text().splitlines()[2]
    again = "model-navigator convert --models broken --conversions onnx --verbose"
    assert [each["reproduce"] for each in made["results"]] == [again]
    assert "output_path isn't written: this is only shard 1/1 of the run" in made["notes"]


@pytest.mark.fault("A shard left no results", "The merged run names it and fails.")
def test_a_shard_that_left_nothing_is_named_and_fails_the_run(
    project: Path, planned: dict[str, Any], converted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "matrix.json").write_text(json.dumps(planned))
    lost = planned["include"][1]

    code = main(["report", "jobs/0", "--matrix", "matrix.json"])

    assert code == 130
    said = capsys.readouterr().out
    assert "shard 2/2 reported no results: check the job and run it again" in said
    merged = project / "navigator_report" / "convert_results.yaml"
    cancelled = {"/".join(key) for key, state in states(merged).items() if state == "cancelled"}
    assert cancelled == set(lost["conversions"])
    data = yaml.safe_load(merged.read_text())
    jsonschema.validate(data, json.loads(schema_path("convert_results.schema.json").read_text()))

    # Without the matrix the cells are not known, but that one of two is missing is.
    assert main(["report", "jobs/0/navigator_workspace/convert_results.yaml"]) == 1
    said = capsys.readouterr().out
    assert "shard 2/2 reported no results" in said
    assert "2 of 4 conversions failed, and the run is incomplete (covers only 5 of 8 conversions): " in said


def test_a_part_of_the_configuration_is_only_reported_if_that_is_allowed(
    project: Path, planned: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["convert", "--models", "tiny", "--conversions", "*op13"])
    capsys.readouterr()

    assert main(["report", "navigator_workspace"]) == 2
    said = capsys.readouterr().err
    assert "nothing was reported: the results cover only 1 of 2 models, 1 of " in said
    assert "without tiny/onnx_op17" in said
    assert said.endswith("\n  convert the others too, or pass --allow-partial\n")
    assert not (project / "navigator_report").exists()
    assert main(["report", "navigator_workspace", "--allow-partial"]) == 0


def test_what_an_earlier_report_wrote_is_not_merged_again(project: Path, converted: Path) -> None:
    assert main(["report", "."]) == main(["report", "."])
    assert states(project / "navigator_report" / "convert_results.yaml")


def test_a_report_of_several_runs_is_refused(
    project: Path, converted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["convert", "--models", "other"])
    capsys.readouterr()

    assert main(["report", "jobs", "navigator_workspace"]) == 2

    assert "can't merge results of runs with 1 and 2 shards\n  merge the results of one run" in capsys.readouterr().err


@pytest.mark.fault("Downloaded results contain links", "They aren't followed.")
def test_links_in_a_directory_are_not_followed(
    project: Path, converted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "links" / "a").mkdir(parents=True)
    (project / "links" / "a" / "convert_results.yaml").symlink_to(
        converted / "0/navigator_workspace/convert_results.yaml"
    )
    (project / "links" / "b").symlink_to(converted)
    capsys.readouterr()

    assert main(["report", "links"]) == 2

    hint = "pass the directories where `convert` wrote its results"
    assert capsys.readouterr().err == f"links: no convert_results.yaml found\n  {hint}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["convert", "--shard", "3"], "shard '3' is invalid\n  write, for example, 3/7"),
        (
            ["plan", "navigator.yaml", "--matrix", "--max-shards", "257"],
            "shards must be from 1 to 256, not 257",
        ),
        (["report", "nowhere"], "nowhere does not exist\n  check the path, or download the file first"),
        (["report", ".", "--matrix", "{"], "--matrix isn't JSON: "),
        (["report", ".", "--matrix", "navigator.yaml"], "navigator.yaml isn't JSON: "),
        (
            ["report", ".", "--matrix", "none.json"],
            "none.json can't be read: No such file or directory\n  pass the output ",
        ),
        (["report", ".", "--matrix", "{}"], "not a job matrix: it has no `include`"),
        (["report", ".", "--matrix", "[" * 100_000], " can't be read: File name too long"),
        (["report", ".", "--matrix", '{"include": [{"shard": "1/1"}]}'], "missing required field `count`"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else None,
)
def test_a_wrong_command_line_is_said(
    project: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "navigator.yaml").write_text(TWO)

    assert main(arguments) == 2

    assert said in capsys.readouterr().err


def test_an_empty_shard_is_nothing_to_do(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "navigator.yaml").write_text(TWO)

    assert main(["convert", "--shard", "9/9"]) == 3

    assert "shard 9/9 is empty: conversions that depend on each other stay in one shard" in capsys.readouterr().err
