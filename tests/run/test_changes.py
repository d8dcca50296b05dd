"""Runs compared with earlier ones from the command line, with real conversions."""

import itertools
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from navigator.changes.base import read
from navigator.changes.compare import compare
from navigator.cli import main
from navigator.records import Source
from navigator.report.storage import RESULTS
from tests.run.conftest import Sabotage

TINY = """\
model_name: tiny
model_path: tiny.onnx
target_formats: [onnx]
onnx_opsets: [13, 17]
max_batch_size: 4
fail_on: regression
"""

TWO = """\
models:
  - {model_name: script, model_path: torchscript.model, model_format: torchscript, target_formats: [torchscript, onnx]}
  - {model_name: network, model_path: onnx.model, model_format: onnx, onnx_opsets: [13, 17], target_formats: onnx}
defaults: {max_batch_size: 4}
"""
PROGRAM = """\
  - {model_name: program, model_path: torch-export.model, model_format: torch-export, target_formats: onnx}
"""

SABOTAGE = """\
import onnx.version_converter, onnx.numpy_helper
convert_version = onnx.version_converter.convert_version
def sabotaged(model, opset):
    model = convert_version(model, opset)
    weight = onnx.numpy_helper.to_array(model.graph.initializer[0]).copy()
    weight[2, 1] += 0.5
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weight, 'weight'))
    return model
onnx.version_converter.convert_version = sabotaged
"""


WRONG_OPERATOR = """\
import onnx.version_converter
convert_version = onnx.version_converter.convert_version
def sabotaged(model, opset):
    model = convert_version(model, opset)
    for node in model.graph.node:
        node.op_type = node.op_type.replace('Tanh', 'Softsign')
    return model
onnx.version_converter.convert_version = sabotaged
"""


def kept(project: Path, name: str) -> str:
    """Keep the results of the last run as those of a base."""
    shutil.copyfile(project / "navigator_workspace" / RESULTS, project / name)
    return name


def sections(said: str) -> list[str]:
    """Return the lines on what changed, and the verdict."""
    lines = said.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("Compared with"))
    return [line for line in lines[start:] if not line.startswith(("results: ", "summary: ", "page: "))]


def write_source(directory: Path, name: str) -> None:
    """Write a model in a format, and beside it one with another weight."""
    script = Path(__file__).parent / "source_models.py"
    files = [directory / f"{name}.{kind}" for kind in ("model", "other")]
    subprocess.run([sys.executable, script, name, *files], check=True)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a TorchScript and an ONNX model."""
    directory = tmp_path_factory.mktemp("sources")
    for name in ("torchscript", "onnx"):
        write_source(directory, name)
    return directory


@pytest.fixture
def two(project: Path, sources: Path) -> Path:
    """Write a configuration with two models, and return its directory."""
    shutil.copytree(sources, project, dirs_exist_ok=True)
    (project / "navigator.yaml").write_text(TWO)
    return project


def assert_unchanged(project: Path, *, runs: int) -> int:
    """Convert everything as often as that; return how many pairs of results were compared."""
    for number in range(runs):
        assert main(["convert", "--workspace-path", f"runs/{number}"]) == 0
        shutil.rmtree(project / "runs" / str(number) / "converted")
    bases = [read(path) for path in (project / "runs").rglob(RESULTS)]
    pairs = list(itertools.permutations(bases, 2))
    for base, run in pairs:
        changes = compare(run.report, base)
        assert changes.is_nothing, [each for each in changes.conversions if each.differences]
        assert {each.source for each in changes.models} == {Source.UNCHANGED}
        assert (changes.tools, changes.machine, changes.notes) == ((), (), ())
    return len(pairs)


def test_the_same_commit_twice_has_not_changed(two: Path) -> None:
    assert assert_unchanged(two, runs=2) == 2


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_the_same_commit_has_not_changed_in_a_hundred_pairs_of_runs(two: Path) -> None:
    write_source(two, "torch-export")
    (two / "navigator.yaml").write_text(TWO.replace("defaults:", f"{PROGRAM}defaults:"))
    assert assert_unchanged(two, runs=11) == 110


def test_a_removed_opset_and_a_looser_tolerance_fail_unless_they_are_accepted(
    project: Path, convert: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert(TINY)[0] == 0
    assert (
        "Not compared: no baseline was given; fail_on is regression, so every failure counts\n"
        in capsys.readouterr().out
    )
    base = kept(project, "base.yaml")
    changed = TINY.replace("[13, 17]", "[17]") + "atol: {y: 0.1}\n"

    code, _ = convert(changed, "--baseline", base)

    assert code == 1
    assert sections(capsys.readouterr().out)[:-1] == [
        "Compared with base.yaml: 1 conversion is gone, 1 option lets more pass, 1 option changed",
        "  removed: tiny onnx_op13: it passed in the base",
        "  tiny: onnx_opsets changed: [13, 17] → [17]",
        "  tiny: atol of y lets more pass: auto → 0.1",
    ]
    reasons = "accept: {removed tiny/onnx_op13: nobody runs it, loosened tiny/atol: it's only a demo}\n"

    code, results = convert(changed + reasons, "--baseline", base)

    assert code == 0
    said = sections(capsys.readouterr().out)
    assert said[1] == "  removed: tiny onnx_op13: it passed in the base; accepted: nobody runs it"
    assert said[3] == "  tiny: atol of y lets more pass: auto → 0.1; accepted: it's only a demo"
    assert said[-1].startswith("1 of 1 conversions passed: ")
    assert results["rules"]["accept"]["removed tiny/onnx_op13"] == "nobody runs it"


def test_what_breaks_fails_once(
    project: Path, convert: Any, sabotage: Sabotage, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert(TINY)[0] == 0
    good = kept(project, "good.yaml")
    sabotage(SABOTAGE)
    capsys.readouterr()

    code, results = convert(TINY, "--baseline", good)

    assert code == 1
    said = sections(capsys.readouterr().out)
    assert said[0] == "Compared with good.yaml: 1 conversion broke"
    assert said[1].startswith("  broken: tiny onnx_op17: mismatched: ")
    assert said[-1].startswith("1 conversion broke; 1 of 2 conversions passed: ")
    bad = next(each for each in results["results"] if each["conversion"] == "onnx_op17")
    assert "--baseline" not in bad["reproduce"]
    broken = kept(project, "broken.yaml")

    assert convert(TINY, "--baseline", broken)[0] == 0
    said = sections(capsys.readouterr().out)
    assert said[0] == "Compared with broken.yaml: nothing changed, 1 conversion still fails"
    assert said[-1].startswith("No regression; 1 of 2 conversions passed: ")

    sabotage("")
    assert convert(TINY, "--baseline", broken)[0] == 0
    said = sections(capsys.readouterr().out)
    assert said[:2] == [
        "Compared with broken.yaml: 1 conversion is fixed",
        "  fixed: tiny onnx_op17: it was mismatched in the base",
    ]


def test_an_error_that_grows_within_a_wide_tolerance_is_a_regression(
    project: Path, convert: Any, sabotage: Sabotage, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong operator that no comparison with the source model can tell from what the user allows."""
    wide = f"{TINY}atol: 0.5\n"
    assert convert(wide)[0] == 0
    base = kept(project, "base.yaml")
    sabotage(WRONG_OPERATOR)
    capsys.readouterr()

    code, _ = convert(wide, "--baseline", base)

    assert code == 1
    said = sections(capsys.readouterr().out)
    assert said[0] == "Compared with base.yaml: 1 conversion got worse"
    assert re.fullmatch(r"  worse: tiny onnx_op17: error of y \S+ → 0\.\d+ \(tolerance 0\.5\)", said[1]), said


def test_the_last_run_in_the_same_workspace_can_be_the_base(
    project: Path, convert: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert(TINY)[0] == 0
    capsys.readouterr()

    code, results = convert(TINY.replace("[13, 17]", "[17, 18]"), "--baseline", "navigator_workspace")

    assert code == 1
    assert sections(capsys.readouterr().out)[0] == (
        "Compared with navigator_workspace: 1 conversion is gone, 1 is new, 1 option changed"
    )
    assert [each["conversion"] for each in results["results"]] == ["onnx_op17", "onnx_op18"]


def test_shards_are_compared_with_a_whole_run(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "--workspace-path", "before"]) == 0
    for shard in ("1/2", "2/2"):
        # What another shard converts isn't gone.
        assert main(["convert", "--shard", shard, "--workspace-path", f"jobs/{shard[0]}", "--baseline", "before"]) == 0
        assert sections(capsys.readouterr().out)[0] == "Compared with before: nothing changed"

    assert main(["report", "jobs", "--baseline", "before"]) == 0

    assert sections(capsys.readouterr().out)[0] == "Compared with before: nothing changed"


def test_a_changed_model_and_a_new_name_are_told(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "--models", "network", "script", "--workspace-path", "before"]) == 0
    shutil.copyfile(two / "onnx.other", two / "onnx.model")
    text = (two / "navigator.yaml").read_text()
    (two / "navigator.yaml").write_text(text.replace("model_name: script", "model_name: renamed"))
    capsys.readouterr()

    assert main(["convert", "--models", "network", "renamed", "--baseline", "before"]) == 0

    said = sections(capsys.readouterr().out)
    assert said[0] == "Compared with before: 1 source model changed"
    assert said[1:3] == ["  renamed: was script in the base", "  network: the model's files changed"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "base.yaml does not exist"),
        ("hello: there\n", "it has no version"),
        ("version: 2\n", "this is version 2"),
    ],
)
def test_a_baseline_that_is_none_is_refused_before_anything_runs(
    text: str | None, told: str, project: Path, convert: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        (project / "base.yaml").write_text(text)

    code, results = convert(TINY, "--baseline", "base.yaml")

    said = capsys.readouterr().err.splitlines()
    assert (code, results, len(said)) == (2, {}, 2)
    assert said[0].startswith("base.yaml")
    assert told in said[0]
