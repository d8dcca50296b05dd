"""Every file in tests/cases/navigator: what it means, or what the user reads, word for word."""

import argparse
import json
import re
import shlex
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from navigator import config
from navigator.records import to_data
from tests.support.builders import SAVED_MODEL

CASES = Path(__file__).resolve().parents[1] / "cases" / "navigator"
POSITIVE = sorted(CASES.glob("positive/*.yaml"))
NEGATIVE = sorted(CASES.glob("negative/*.yaml"))

METRIC = """
def accuracy(outputs, sample):
    return True

class Accuracy:
    def __call__(self, outputs, sample):
        return True

def of_outputs(outputs):
    return True
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a model of each format and two samples, in the place that the cases name."""
    root = tmp_path / "outer" / "repository"
    (root / ".git").mkdir(parents=True)
    (root / "model.onnx").write_bytes(b"\x08\x08\x3a\x00")
    with zipfile.ZipFile(root / "model.pt", "w") as archive:
        for name in ("model/data.pkl", "model/code/__torch__.py", "model/constants.pkl"):
            archive.writestr(name, "")
    with zipfile.ZipFile(root / "model.pt2", "w") as archive:
        for name in ("model/archive_format", "model/models/model.json"):
            archive.writestr(name, "")
    (root / "saved_model").mkdir()
    (root / "saved_model" / "saved_model.pb").write_bytes(SAVED_MODEL)
    for sample, names in (("one.npz", ["x"]), ("two.npz", ["serving_default_x:0", "y", "z"])):
        with zipfile.ZipFile(root / sample, "w") as archive:
            for name in names:
                archive.writestr(f"{name}.npy", "")
    (root / "not_numpy.npy").write_text("text")
    (root / "not_numpy.npz").write_text("text")
    (root / "metric.py").write_text(METRIC)
    (root / "broken.py").write_text("def accuracy(")
    (root / "link").symlink_to(root.parent)
    return root


@pytest.mark.parametrize("case", POSITIVE, ids=lambda case: case.stem)
def test_a_valid_configuration_is_read_as_its_comments_say(case: Path, repository: Path) -> None:
    text = case.read_text()
    run = config.load(_put(case, repository), _command_line(text), working_directory=repository)

    expectations = re.findall(r"^# expect (?:(run|\d+) )?(\w+): (.*)$", text, re.MULTILINE)
    assert expectations
    for which, key, expected in expectations:
        record = to_data(run if which == "run" else run.models[int(which or 0)])
        assert json.loads(json.dumps(record[key])) == json.loads(expected), key
    for model in run.models:
        assert model.model_path.is_relative_to(repository)


@pytest.mark.parametrize("case", POSITIVE, ids=lambda case: case.stem)
def test_an_editor_with_the_schema_accepts_it_too(case: Path) -> None:
    schema = json.loads(config.schema_path("navigator.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(_as_an_editor_reads(case))


@pytest.mark.parametrize("case", NEGATIVE, ids=lambda case: case.stem)
def test_an_invalid_configuration_has_the_problems_that_its_comments_say(case: Path, repository: Path) -> None:
    text = case.read_text()
    with pytest.raises(config.InvalidConfigurationError) as raised:
        config.load(_put(case, repository), _command_line(text), working_directory=repository)

    expected = re.findall(r"^# problem: (.*)$", text, re.MULTILINE)
    for word, directory in {
        "root": repository,
        "parent": repository.parent,
        "grandparent": repository.parents[1],
    }.items():
        expected = [line.replace("{" + word + "}", str(directory)) for line in expected]
    colon = [":" if re.match(r"\d+:\d+: ", line) else ": " for line in expected]
    lines = [f"{case.name}{between}{line}" for between, line in zip(colon, expected, strict=True)]
    assert [str(problem) for problem in raised.value.problems] == lines
    assert str(raised.value) == "\n".join(lines)


@pytest.mark.parametrize(
    "name", ["unknown_keys", "values", "limits", "negative_tolerances", "models_form", "defaults_alone", "models_empty"]
)
def test_an_editor_with_the_schema_refuses_it_too(name: str) -> None:
    schema = json.loads(config.schema_path("navigator.schema.json").read_text())
    case = CASES / "negative" / f"{name}.yaml"
    assert list(jsonschema.Draft202012Validator(schema).iter_errors(_as_an_editor_reads(case)))


def _put(case: Path, repository: Path) -> Path:
    path = repository / case.name
    path.write_bytes(case.read_bytes())
    return path


def _command_line(text: str) -> dict[str, Any]:
    typed = re.search(r"^# command line: (.*)$", text, re.MULTILINE)
    parser = argparse.ArgumentParser()
    config.add_options(parser)
    return config.overrides(parser.parse_args(shlex.split(typed[1] if typed else "")))


def _as_an_editor_reads(case: Path) -> Any:
    """YAML 1.2, as editors read it: keys are texts, `on` and `no` too."""

    def texts(node: Any) -> Any:
        if isinstance(node, dict):
            return {{True: "on", False: "no"}.get(key, key): texts(value) for key, value in node.items()}
        return [texts(each) for each in node] if isinstance(node, list) else node

    return texts(yaml.safe_load(case.read_text()))
