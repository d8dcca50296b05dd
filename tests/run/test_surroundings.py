"""Runs on a machine that does not play along: closed streams, what cannot be written, leftovers of earlier runs."""
# ruff: noqa: TID253 - the frameworks are what is tested

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import numpy_helper, parser

from navigator.cli import main
from navigator.report.ownership import mark

TINY = """\
model_name: tiny
model_path: tiny.onnx
target_formats: [onnx]
onnx_opsets: [13, 17]
max_batch_size: 4
"""

CONVERT = [sys.executable, "-m", "navigator", "convert"]


def states(results: dict[str, Any]) -> list[str]:
    return [each["status"]["state"] for each in results["results"]]


def break_model(project: Path) -> None:
    """Leave an ONNX file that no runtime knows an operator of."""
    path = project / "tiny.onnx"
    path.write_bytes(path.read_bytes().replace(b"Tanh", b"Tonh"))


@pytest.mark.fault("The reader of the output goes away, as in `… | head`", "The run goes on to its end.")
def test_a_reader_that_goes_away_does_not_end_the_run(project: Path) -> None:
    """As in `model-navigator convert | head -1`, which must not make an unfinished run look good."""
    (project / "navigator.yaml").write_text(TINY)
    reader, writer = os.pipe()
    os.close(reader)

    done = subprocess.run(CONVERT, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120)
    os.close(writer)

    results = yaml.safe_load((project / "navigator_workspace/convert_results.yaml").read_text())
    assert (done.returncode, done.stderr) == (0, "")
    assert results["complete"]
    assert states(results) == ["passed", "passed"]


def test_a_reader_that_goes_away_does_not_make_a_bad_run_good(project: Path) -> None:
    break_model(project)
    (project / "navigator.yaml").write_text(TINY)
    reader, writer = os.pipe()
    os.close(reader)

    done = subprocess.run(CONVERT, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120)
    os.close(writer)

    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.fault("Standard output or error is closed", "The run goes on to its end.")
@pytest.mark.parametrize("closed", [">&-", ">&- 2>&- <&-"])
def test_closed_streams_are_no_bug(project: Path, closed: str) -> None:
    (project / "navigator.yaml").write_text(TINY)

    done = subprocess.run(
        ["/bin/sh", "-c", f'"$0" "$@" {closed}', *CONVERT], stderr=subprocess.PIPE, text=True, timeout=120
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert yaml.safe_load((project / "navigator_workspace/convert_results.yaml").read_text())["complete"]


@pytest.mark.fault("`convert_results.yaml` can't be written", "The run says so, and prints the summary.")
def test_results_that_cannot_be_written_are_said_and_the_summary_is_shown(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "navigator.yaml").write_text(TINY)
    (project / "navigator_workspace/convert_results.yaml").mkdir(parents=True)
    mark(project / "navigator_workspace")

    assert main(["convert"]) == 1

    told = capsys.readouterr()
    assert "2 of 2 conversions passed" in told.out
    assert "convert_results.yaml couldn't be written: Is a directory" in told.err


@pytest.mark.fault("A converted model can't be written", "That conversion fails with the reason.")
def test_a_workspace_that_cannot_hold_an_artifact_fails_its_cells(convert: Any, project: Path) -> None:
    (project / "navigator_workspace").mkdir()
    mark(project / "navigator_workspace")
    (project / "navigator_workspace/converted").write_text("not a directory")

    code, results = convert(TINY)

    assert code == 1
    assert states(results) == ["failed", "failed"]
    assert "can't write to the workspace: " in results["results"][0]["status"]["message"]
    assert "Not a directory" in results["results"][0]["status"]["message"]


def test_a_blocked_cell_keeps_no_artifact_of_an_earlier_run(convert: Any, project: Path) -> None:
    convert(TINY)
    assert (project / "navigator_workspace/converted/tiny/onnx_op17/model.onnx").exists()
    break_model(project)

    code, results = convert(TINY)

    assert code == 1
    assert states(results) == ["blocked", "blocked"]
    assert not list((project / "navigator_workspace/converted").rglob("model.onnx"))


def test_every_blocked_cell_is_told_while_the_run_goes_on(
    convert: Any, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    break_model(project)

    convert(TINY)

    progress = capsys.readouterr().out.partition("\n\n")[0].splitlines()
    assert sorted(line.split()[:3] for line in progress) == [
        ["tiny", "onnx_op13", "blocked"],
        ["tiny", "onnx_op17", "blocked"],
    ]


def test_the_reproduction_of_a_reproduction_is_the_same_command(convert: Any, project: Path) -> None:
    break_model(project)

    _, results = convert(TINY, "--models", "tiny", "--conversions", "onnx_op13", "--verbose")

    assert (
        results["results"][0]["reproduce"] == "model-navigator convert --models tiny --conversions onnx_op13 --verbose"
    )


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("inputs: x:-1,5:float32", "inputs: x is declared as [-1, 5], but the model has [-1, 4]"),
        ("inputs: x:-1,4:float16", "inputs: x is declared as float16, but the model has float32"),
        ("outputs: w:-1,3:float32", "outputs: w is declared, but the model has no output of that name"),
    ],
)
def test_a_declared_signature_that_an_onnx_file_contradicts_is_said_before_anything_runs(
    convert: Any, capsys: pytest.CaptureFixture[str], declared: str, message: str
) -> None:
    code, results = convert(f"{TINY}{declared}\n")

    assert code == 2
    assert not results
    what = declared.partition(":")[0]
    assert f"{message}; remove {what}, or set `{what}: [" in capsys.readouterr().err


def test_a_size_that_only_the_declaration_fixes_holds(convert: Any) -> None:
    code, results = convert(f"{TINY}inputs: x:2,4:float32\n")

    assert code == 0
    assert {tuple(each["shapes"]["x"]) for each in results["results"][0]["samples"]} == {(2, 4)}


@pytest.mark.fault(
    "The disk of the workspace is full, in any step",
    "The conversions that didn't fit fail. The disk is named, and not the model.",
)
@pytest.mark.parametrize(
    "kibibytes",
    [36, 100, 600, *(pytest.param(each, marks=pytest.mark.nightly) for each in (12, 28, 250, 1250, 2150, 2500))],
)
def test_a_full_disk_is_named_and_not_the_model(project: Path, kibibytes: int) -> None:
    """In a mount namespace of its own, with a file system of that size for the workspace."""
    text = '<ir_version: 9, opset_import: ["" : 12]> m (float[n, 512] x) => (float[n, 512] y) { y = MatMul(x, w) }'
    model = parser.parse_model(text)
    model.graph.initializer.append(numpy_helper.from_array(np.ones((512, 512), "float32"), "w"))
    onnx.save(model, str(project / "large.onnx"))
    (project / "small").mkdir()
    command = [sys.executable, "-m", "navigator", "convert", "--model-name", "large", "--model-path", "large.onnx"]
    command += ["--target-formats", "onnx", "--onnx-opsets", "13", "17", "--max-shapes", "x=64,512"]
    command += ["--workspace-path", "small/ws"]
    namespace = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    mounted = f"mount -t tmpfs -o size={kibibytes}k none small && exec {shlex.join(command)}"
    ended = subprocess.run([*namespace, mounted], cwd=project, check=False, capture_output=True, text=True, timeout=120)
    if "unshare" in ended.stderr:
        pytest.skip(f"no mount namespaces here: {ended.stderr}")

    assert ended.returncode == 1, ended.stdout + ended.stderr
    failures = re.findall(r"^large  onnx_op1[37].*  (?:FAILED|BLOCKED)\n  (.*)$", ended.stdout, re.MULTILINE)
    assert failures, ended.stdout
    for message in failures:
        assert f"the disk at {project}/small is full" in message
        assert "can't be run" not in message
    assert "how to fix: free up disk space, then run again" in ended.stdout
