"""The inputs and outputs of action.yml are those that the program knows, and what is wrong with one is said."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
import yaml

from navigator.action.inputs import OUTPUTS, Between, Inputs, read_inputs
from navigator.errors import ConfigurationError

ROOT = Path(__file__).parents[2]
KINDS = get_type_hints(Inputs, include_extras=True)
CHOICES = {name: get_args(kind) for name, kind in KINDS.items() if get_origin(kind) is Literal}
RANGES = {
    name: (rule.smallest, rule.largest)
    for name, kind in KINDS.items()
    for rule in getattr(kind, "__metadata__", ())
    if isinstance(rule, Between)
}
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())


def test_every_input_is_a_field_and_every_field_an_input() -> None:
    # The token is taken away before anything else is read.
    names = [name for name in ACTION["inputs"] if name != "token"]

    assert names == [field.name.rstrip("_") for field in dataclasses.fields(Inputs)]


def test_the_outputs_are_those_that_the_program_sets() -> None:
    assert tuple(ACTION["outputs"]) == OUTPUTS


def test_the_defaults_are_the_same() -> None:
    given = {f"INPUT_{name.upper()}": described["default"] for name, described in ACTION["inputs"].items()}

    assert all(isinstance(value, str) for value in given.values()), "the runner knows only text"
    assert read_inputs(given) == read_inputs({}) == Inputs()


def test_every_choice_is_described() -> None:
    assert [(name, choice) for name in CHOICES for choice in CHOICES[name] if f"`{choice}`" not in _about(name)] == []


def test_every_input_and_output_is_described_in_sentences() -> None:
    for name, described in (*ACTION["inputs"].items(), *ACTION["outputs"].items()):
        assert described["description"].endswith("."), name
        assert described["description"].count(". ") <= 3, name
        assert name.replace("_", "").isalpha(), "a shell drops variables whose name has a hyphen"
        assert name.islower()


def _about(name: str) -> str:
    return str(ACTION["inputs"][name.rstrip("_")]["description"])


def test_flags_are_described_as_such() -> None:
    for field in dataclasses.fields(Inputs):
        assert (field.type is bool) == ("`true` or `false`" in _about(field.name)), field.name


def test_the_action_is_valid() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-actions", "action.yml"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_its_values_are_read() -> None:
    inputs = read_inputs(
        {
            "INPUT_COMMAND": "report\n",
            "INPUT_MODELS": " res*, mobilenet\n\nbert ",
            "INPUT_CONVERSIONS": "*op17",
            "INPUT_SHARD": "03/7",
            "INPUT_STATUS": "False",
            "INPUT_CHECK_RUN": "TRUE",
            "INPUT_ARTIFACT_PROTOCOL": "4",
            "INPUT_RETENTION_DAYS": "14",
            "INPUT_COMPRESSION_LEVEL": "0",
            "INPUT_RUN_ID": "12345678901",
            "INPUT_MATRIX": '{"include": []}',
        }
    )

    assert inputs == Inputs(
        command="report",
        models=("res*", "mobilenet", "bert"),
        conversions=("*op17",),
        shard="3/7",
        status=False,
        check_run=True,
        artifact_protocol=4,
        retention_days=14,
        compression_level=0,
        run_id=12345678901,
        matrix='{"include": []}',
    )


def _problem(**given: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_inputs({f"INPUT_{name.upper()}": value for name, value in given.items()})
    return caught.value.message


def test_a_wrong_choice_is_named_with_the_right_ones() -> None:
    assert _problem(command="covnert") == (
        "the input `command`: 'covnert' isn't one of validate, plan, convert, report, release, rehearse; "
        "did you mean convert?"
    )
    assert _problem(fail_on="failures").endswith(
        "isn't one of failure, regression, error, never; did you mean failure?"
    )
    assert _problem(artifact_protocol="5") == "the input `artifact_protocol`: '5' isn't one of 7, 4"


@pytest.mark.parametrize("value", ["yes", "1", "on"])
def test_a_flag_is_true_or_false(value: str) -> None:
    assert _problem(comment="never", status=value) == f"the input `status`: '{value}' isn't one of true, false"


@pytest.mark.parametrize("name", [*RANGES])
@pytest.mark.parametrize("value", ["-1", "x", "1.5", "9" * 20, "٣", "1_0"])
def test_an_integer_has_its_limits(name: str, value: str) -> None:
    smallest, largest = RANGES[name]

    assert _problem(**{name: value}).endswith(f" isn't an integer from {smallest} to {largest}")


@pytest.mark.parametrize("value", ["0/7", "8/7", "3", "3/", "1/257", "a/b", "3/7/9"])
def test_a_shard_is_a_part_of_a_whole(value: str) -> None:
    assert _problem(shard=value) == f"the input `shard`: '{value}' isn't a shard such as 3/7, up to 256/256"


@pytest.mark.parametrize("character", [*'":<>|*?\\/'])
def test_an_artifact_name_is_one(character: str) -> None:
    assert "the input `artifact_name`" in _problem(artifact_name=f"my{character}models")


def test_all_problems_are_said_at_once() -> None:
    problem = _problem(command="x", status="maybe", max_shards="0", shard="9")

    assert [line.split("`")[1] for line in problem.splitlines()] == ["command", "shard", "max_shards", "status"]
