"""The command line as a new user types it, in processes of its own: one command until a model is converted."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from navigator.commands.parsers import parsers
from navigator.commands.subject import require_file
from navigator.errors import ConfigurationError

ENVIRONMENT = {**os.environ, "COLUMNS": "80"}
"""A narrow terminal, on which long usage would be worst."""


def navigator(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "navigator", *arguments],
        cwd=directory,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_model_alone_is_converted(project: Path) -> None:
    done = navigator(project, "convert", "tiny.onnx")

    assert (done.returncode, done.stderr) == (0, "")
    results = yaml.safe_load((project / "navigator_workspace/convert_results.yaml").read_text())
    passed = [each["model_name"] for each in results["results"] if each["status"]["state"] == "passed"]
    assert passed == ["tiny"]


def test_commands_take_the_same_arguments(project: Path) -> None:
    (project / "navigator.yaml").write_text("model_name: named\nmodel_path: tiny.onnx\ntarget_formats: [onnx]\n")
    options = ["--onnx-opsets", "13", "--max-batch-size", "2"]

    for subject in ([], ["navigator.yaml"], ["tiny.onnx"], ["--model-path", "tiny.onnx"]):
        assert navigator(project, "validate", *subject, *options).returncode == 0
        planned = navigator(project, "plan", *subject, *options, "--json")
        assert '"onnx_op13"' in planned.stdout, planned.stderr
        assert ('"named"' if subject in ([], ["navigator.yaml"]) else '"tiny"') in planned.stdout


def test_a_model_may_follow_a_list(project: Path) -> None:
    done = navigator(project, "plan", "--target-formats", "onnx", "tiny.onnx")

    assert done.stdout.startswith("tiny: onnx,"), done.stderr


@pytest.mark.parametrize(
    ("path", "name"),
    [("tiny.onnx", "tiny"), ("my model (v2).onnx", "my_model_v2_"), ("_.onnx", "model"), ("v1.2.onnx", "v1.2")],
)
def test_a_model_without_a_name_is_named_after_its_file(project: Path, path: str, name: str) -> None:
    if path != "tiny.onnx":
        (project / "tiny.onnx").rename(project / path)

    done = navigator(project, "plan", path)

    assert done.stdout.startswith(f"{name}: onnx,"), done.stderr


WRONG = """\
$ model-navigator
model-navigator: error: no command is given
  for example: model-navigator convert FILE
  see `model-navigator --help`
$ model-navigator cnvert tiny.onnx
model-navigator: error: unknown command cnvert
  did you mean `model-navigator convert`?
  see `model-navigator --help`
$ model-navigator tiny.onnx
model-navigator: error: unknown command tiny.onnx
  did you mean `model-navigator convert tiny.onnx`?
  see `model-navigator --help`
$ model-navigator plan tiny.onnx --tagret-formats=onnx
model-navigator plan: error: unrecognized arguments: --tagret-formats=onnx
  did you mean --target-formats?
  see `model-navigator plan --help`
$ model-navigator convert tiny.onnx --onnx-opsets
model-navigator convert: error: argument --onnx-opsets: expected at least one argument
  for example: --onnx-opsets 13 17
  see `model-navigator convert --help`
$ model-navigator validate tiny.onnx other.onnx
model-navigator validate: error: unrecognized arguments: other.onnx
  several models need a configuration: `model-navigator init FILE...` writes one
  see `model-navigator validate --help`
$ model-navigator plan tiny.onnx --json --matrix
model-navigator plan: error: argument --matrix: not allowed with argument --json
  leave out --matrix or --json
  see `model-navigator plan --help`
$ model-navigator validate tiny.onnx --probe false
model-navigator validate: error: unrecognized arguments: false
  options take no true or false: write, for example, --verbose for true, or --no-verbose for false
  see `model-navigator validate --help`
$ model-navigator inspect tiny.onnx other.onnx
model-navigator inspect: error: unrecognized arguments: other.onnx
  name one model at a time
  see `model-navigator inspect --help`
$ model-navigator inspect tiny.onnx --timeout-seconds -1
model-navigator inspect: error: argument --timeout-seconds: expected a number greater than 0, got '-1'
  for example: --timeout-seconds 1800
  see `model-navigator inspect --help`
$ model-navigator inspect tiny.onnx --timeout-seconds soon
model-navigator inspect: error: argument --timeout-seconds: expected a number greater than 0, got 'soon'
  for example: --timeout-seconds 1800
  see `model-navigator inspect --help`
$ model-navigator plan tiny.onnx --json=1
model-navigator plan: error: argument --json: ignored explicit argument '1'
  for example: --json
  see `model-navigator plan --help`
$ model-navigator plan tiny.onnx --max-shards x
model-navigator plan: error: argument --max-shards: invalid int value: 'x'
  for example: --max-shards 16
  see `model-navigator plan --help`
$ model-navigator completion fihs
model-navigator completion: error: argument SHELL: invalid choice: 'fihs' (choose from CHOICES)
  for example: model-navigator completion bash
  see `model-navigator completion --help`
$ model-navigator report
model-navigator report: error: the following arguments are required: PATH
  for example: model-navigator report PATH
  see `model-navigator report --help`
$ model-navigator rehearse
model-navigator rehearse: error: the following arguments are required: --with
  for example: model-navigator rehearse --with REQUIREMENT|FILE
  see `model-navigator rehearse --help`
$ model-navigator convert
no model is given, and there's no navigator.yaml in this directory
  did you mean `model-navigator convert tiny.onnx`?
$ model-navigator plan
no model is given, and there's no navigator.yaml in this directory
  did you mean `model-navigator plan tiny.onnx`?
$ model-navigator validate tinny.onnx
tinny.onnx does not exist
  did you mean tiny.onnx?
$ model-navigator convert --config-path tiny.onnx
tiny.onnx: this is a model, not a configuration; run `model-navigator convert tiny.onnx`, or name a navigator.yaml that\
 describes it
$ model-navigator convert tiny.onnx --model-path tiny.onnx
tiny.onnx is a model, and --model-path names another one
  leave out --model-path
$ model-navigator plan some.yaml --config-path some.yaml
two configurations: some.yaml and --config-path some.yaml
  leave out one of them
"""


@pytest.mark.parametrize("case", WRONG.removeprefix("$ ").split("\n$ "), ids=lambda case: case.partition("\n")[0])
def test_a_wrong_command_line_is_told_with_what_was_meant(project: Path, case: str) -> None:
    (project / "some.yaml").write_text("model_name: tiny\nmodel_path: tiny.onnx\n")
    command, _, said = case.partition("\n")

    done = navigator(project, *command.split()[1:])

    # Python 3.12 quotes choices otherwise.
    told = re.sub(r"choose from .*\)", "choose from CHOICES)", done.stderr)
    assert (done.returncode, done.stdout, told.strip()) == (2, "", said.strip())


def test_a_configuration_given_as_the_model_is_told(project: Path) -> None:
    (project / "some.yaml").write_text("model_name: tiny\nmodel_path: tiny.onnx\n")

    done = navigator(project, "plan", "--model-path", "some.yaml")

    assert done.returncode == 2
    assert "is a configuration or an annotation, not a model" in done.stderr
    assert "run `model-navigator convert some.yaml`" in done.stderr


def test_a_file_behind_a_locked_directory_is_not_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "lstat", refused)
    with pytest.raises(ConfigurationError) as caught:
        require_file(Path("locked/tiny.onnx"))

    assert str(caught.value) == (
        "locked/tiny.onnx can't be read: Permission denied\n  give this user access to the directories on its path"
    )


def test_results_as_json_have_standard_output_to_themselves(project: Path) -> None:
    done = navigator(project, "convert", "tiny.onnx", "--json", "--verbose", "--target-formats", "onnx")

    assert done.returncode == 0
    printed = json.loads(done.stdout)
    written = yaml.safe_load((project / "navigator_workspace/convert_results.yaml").read_text())
    assert printed == written
    assert "1 of 1 conversions passed" in done.stderr


def test_only_what_failed_is_run_again(project: Path) -> None:
    options = ["--target-formats", "onnx"]
    (project / "navigator.yaml").write_text(
        "models:\n- {model_name: good, model_path: tiny.onnx}\n- {model_name: bad, model_path: broken.onnx}\n"
    )
    broken = (project / "tiny.onnx").read_bytes().replace(b"Tanh", b"Tonh")
    (project / "broken.onnx").write_bytes(broken)

    none = navigator(project, "convert", *options, "--last-failed")
    first = navigator(project, "convert", *options)
    (project / "broken.onnx").write_bytes((project / "tiny.onnx").read_bytes())
    again = navigator(project, "convert", *options, "--last-failed", "--json")
    over = navigator(project, "convert", *options, "--last-failed")

    assert (none.returncode, first.returncode, again.returncode, over.returncode) == (3, 1, 0, 3), first.stdout
    assert "there are no results in" in none.stderr
    assert {each["model_name"] for each in json.loads(again.stdout)["results"]} == {"bad"}
    assert "covers only 1 of 2 models" in again.stderr
    assert "no conversion is left that failed in the last results" in over.stderr


def test_the_shell_completes_what_the_parsers_take(project: Path) -> None:
    pytest.importorskip("shtab", reason="completion needs shtab")
    script = navigator(project, "completion", "bash").stdout
    (project / "complete.sh").write_text(script)
    ask = (
        "source ./complete.sh; COMP_WORDS=(model-navigator {}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); "
        "_shtab_model_navigator; echo ${{COMPREPLY[@]}}"
    )

    def completed(words: str) -> list[str]:
        command = ["/bin/bash", "--norc", "-c", ask.format(words)]
        return subprocess.run(command, cwd=project, capture_output=True, text=True, check=True).stdout.split()

    assert {"convert", "inspect", "init", "plan", "report", "validate"} <= set(completed("''"))
    assert completed("plan --target-formats tor") == ["torchscript", "torch-export", "torch-trt"]
    assert completed("convert --onnx-ops") == ["--onnx-opsets"]
    assert completed("inspect ti") == ["tiny.onnx"]


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_help_fits_and_begins_with_one_line_of_usage(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for name, parser in parsers()[1].items():
        lines = parser.format_help().splitlines()
        # Flags with their values, and addresses, have no place to break at.
        too_long = [
            line
            for line in lines
            if len(line) > columns and not line.startswith(("  -", "usage")) and " " in line.strip()
        ]
        assert not too_long, name
        if name in ("convert", "validate", "plan"):
            assert lines[:2] == [f"usage: model-navigator {name} [FILE] [OPTION ...]", ""]
