"""Files that are bad as a whole, hostile files, and what reading a file costs."""

import subprocess
import sys
from pathlib import Path

import pytest

from navigator import config
from navigator.config.problems import COMMAND_LINE, Problems

ONNX = b"\x08\x08\x3a\x00"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "m.onnx").write_bytes(ONNX)
    return tmp_path


INSTEAD = "name a navigator.yaml, or write one for a model: `model-navigator init MODEL`"


def problems(root: Path, text: str | bytes) -> list[str]:
    path = root / "navigator.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(config.InvalidConfigurationError) as raised:
        config.load(path, {}, working_directory=root)
    return [str(problem) for problem in raised.value.problems]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "navigator.yaml: the file is empty; add at least model_name and model_path"),
        (b"model_name: \xff\n", "navigator.yaml:1:13: byte 0xff is not valid UTF-8; save the file as UTF-8"),
        ("model_name: a".encode("utf-16"), "navigator.yaml:1:1: byte 0xff is not valid UTF-8; save the file as UTF-8"),
        (b"atol: \x01\n", "navigator.yaml:1:7: the character '\\x01' is not allowed in YAML; remove it"),
        (
            b"#" * 2**22 + b"#",
            "navigator.yaml: the file is larger than 4 MiB; check the path: configuration files are small",
        ),
    ],
)
def test_files_that_are_no_text(repository: Path, content: bytes, expected: str) -> None:
    assert problems(repository, content) == [expected]


def test_a_byte_order_mark_is_no_problem(repository: Path) -> None:
    (repository / "navigator.yaml").write_bytes(b"\xef\xbb\xbfmodel_name: m\nmodel_path: models/m.onnx\n")
    run = config.load(Path("navigator.yaml"), {}, working_directory=repository)
    assert run.models[0].model_name == "m"


def test_a_missing_file_and_a_directory(repository: Path) -> None:
    for name, what in (
        ("nothing.yaml", "the file does not exist; check the path, or download the file first"),
        ("models", f"this is a directory, not a navigator.yaml; {INSTEAD}"),
    ):
        with pytest.raises(config.InvalidConfigurationError) as raised:
            config.load(Path(name), {}, working_directory=repository)
        assert str(raised.value) == f"{name}: {what}"


def test_no_framework_and_no_numpy_is_imported() -> None:
    code = (
        "import sys, argparse, navigator.config as c; c.add_options(argparse.ArgumentParser()); "
        "print([m for m in ('numpy', 'jsonschema', 'torch', 'tensorflow', 'onnx', 'polygraphy') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 400_000,
        "a: " + "{x: " * 200_000,
        "- " * 400_000,
        "".join(f"k{i}: [" + "x, " * 20 + "]\n" for i in range(15_000)),
        "model_name: " + "x" * 1_000_000,
        "x" * 1_000_000 + ": 1",
        "inputs: {" + ", ".join(f"t{i}: {{name: t, shape: [1], dtype: int8}}" for i in range(7_000)) + "}",
        "models:\n" + "".join(f"- {{model_name: n{i}, onnx_opsets: bad}}\n" for i in range(9_000)),
        "&a a: &b [" + "&c c, " * 100_000 + "]",
    ],
    ids=["brackets", "braces", "dashes", "values", "value", "key", "tensors", "models", "anchors"],
)
def test_hostile_files_are_refused_in_bounded_work(repository: Path, text: str) -> None:
    assert problems(repository, text)


def test_collecting_stops_asking_for_suggestions_when_it_is_full() -> None:
    collected = Problems()
    for i in range(150):
        collected.add(COMMAND_LINE, f"problem {i}")
    assert collected.full
    assert collected.left_out == 50


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("README.md", "# Models\n\n```yaml\nmodel_name: m\nmodel_path: m.onnx\n```\n", "line 3 can't be read as YAML"),
        ("convert.py", '"""Converts."""\nimport torch\n', "line 1 can't be read as YAML"),
        ("data.csv", "a,b\n1,2\n", "it has no 'key: value' lines"),
        ("data.json", "[1, 2]", "it has no 'key: value' lines"),
        ("data.json", "[]", "it has no 'key: value' lines"),
        ("data.json", '{"a": 1', "line 1 can't be read as YAML"),
        ("package.json", '{"name": "x", "scripts": {}, "private": true}', "its keys are name, scripts, private"),
        ("site.yml", "site_name: x\nnav: []\ntheme: y\nplugins: []\n", "its keys are site_name, nav, theme and others"),
        ("results.yaml", "environment: {}\norigin: {}\nmodels: {}\n", "its keys are environment, origin"),
        ("list.yaml", "- {site: 1}\n- {theme: 2}\n", "its keys are site"),
        ("weights.bin", "\0\1\2", "line 1 can't be read as YAML"),
        ("weights.yaml", "\0\1\2", "line 1 can't be read as YAML"),
    ],
)
def test_what_is_no_configuration_is_called_that(repository: Path, name: str, content: str, why: str) -> None:
    (repository / name).write_text(content)
    with pytest.raises(config.InvalidConfigurationError) as raised:
        config.load(Path(name), {}, working_directory=repository)
    (problem,) = raised.value.problems
    assert problem.message == f"this isn't a navigator.yaml: {why}"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("- model_name: m\n- model_path: m.onnx\n", "the file must be a mapping, not a list"),
        ("modelname: m\nmodle_path: m.onnx\nsite: x\n", "unknown key 'modle_path'; did you mean 'model_path'?"),
        ("atoll: 1\n", "unknown key 'atoll'; did you mean 'atol'?"),
        ("model_name: m\nsite: x\n", "unknown key 'site'"),
        ('{"model_path": "m.onnx"', "the bracket that opens here isn't closed"),
        ("defaults: [1\n", "the bracket that opens here isn't closed"),
    ],
)
def test_what_may_be_a_configuration_keeps_its_problems(repository: Path, content: str, expected: str) -> None:
    assert any(expected in problem for problem in problems(repository, content))
