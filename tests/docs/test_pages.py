"""What the README and the documentation say is what the program does."""

import re
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
import yaml

from navigator import config
from navigator.config.checks import SAMPLES
from navigator.config.schema import options
from navigator.errors import ExitCode
from navigator.plan.routes import reachable
from navigator.records import Format
from tests.docs.pages import PAGES, README, ROOT, Block, blocks, name

_OPTIONS = [
    (page, block)
    for page in PAGES
    for block in blocks(page)
    if block.language == "yaml" and not block.is_workflow and not block.title.endswith(".pt.yaml")
]
_WORKFLOWS = [(page, block) for page in PAGES for block in blocks(page) if block.is_workflow]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_its_generated_parts_are_those_of_the_sources(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    assert reference.written(text) == text, "run: make docs"


def test_every_generated_part_is_on_a_page() -> None:
    found = re.findall(r"<!-- generated: (.*?) -->", "".join(page.read_text() for page in PAGES))

    assert set(found) == set(reference.PARTS)


def test_every_option_has_a_heading() -> None:
    headings = re.findall(r"^### `(.*)`$", (ROOT / "docs/reference/options.md").read_text(), re.MULTILINE)

    assert headings == list(options())


def test_the_schema_is_where_it_says(tmp_path: Path) -> None:
    page = (ROOT / "docs/reference/configuration.md").read_text()
    found = re.search(r'^python -c "(.*?)"$', page, re.MULTILINE)
    assert found

    ran = subprocess.run([sys.executable, "-c", found[1]], capture_output=True, text=True, check=True, cwd=tmp_path)

    assert Path(ran.stdout.strip()).is_file()


def test_the_readme_has_exactly_two_set_up_commands_and_the_makefile_has_both() -> None:
    commands = re.findall(r"```shell\n(make .*)\n```", README.read_text())

    assert commands == ["make demo", "make test"]
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{command.split()[1]}:", makefile, re.MULTILINE) for command in commands)


def test_the_readme_is_a_front_page() -> None:
    assert len(README.read_text().splitlines()) <= 150


@pytest.mark.parametrize(("page", "block"), _OPTIONS, ids=lambda each: name(each) if isinstance(each, Path) else "")
def test_its_navigator_yaml_is_valid(page: Path, block: Block, tmp_path: Path) -> None:
    document = yaml.safe_load(block.text) or {}
    assert isinstance(document, dict)
    # A part of a file is valid in one that says which model.
    text = block.text if {"model_path", "models"} & document.keys() else f"{_MODEL}{block.text}"
    models = document.get("models", [document])
    samples = [each for key in SAMPLES for each in document.get(key, ())]
    for path in [*(model.get("model_path", "model.onnx") for model in models), *samples]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        with (tmp_path / path).open("wb") as file:
            if path.endswith(".npz"):
                np.savez(file, x=np.zeros(1))
    for program in (each for each in blocks(page) if each.language == "python" and each.title):
        (tmp_path / program.title).write_text(program.text)
    (tmp_path / "navigator.yaml").write_text(text)

    # The models are empty here; that must be all that is wrong.
    assert {problem.split(":")[0] for problem in _problems(tmp_path)} <= {"model_path"}, _problems(tmp_path)


_MODEL = "model_name: model\nmodel_path: model.onnx\n"


def _problems(directory: Path) -> list[str]:
    try:
        config.load(directory / "navigator.yaml", {}, working_directory=directory)
    except config.InvalidConfigurationError as error:
        return [problem.message for problem in error.problems]
    return []


def test_its_workflows_can_be_copied(tmp_path: Path) -> None:
    """Those that are parts of a workflow get what is missing."""
    files = []
    for number, (_, block) in enumerate(_WORKFLOWS):
        files.append(tmp_path / f"{number}.yml")
        whole = re.search(r"^on:", block.text, re.MULTILINE)
        files[-1].write_text(block.text if whole else f"on: push\n{block.text}")
    assert len(files) > 5
    _checked("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files)
    # That label is of a runner of the reader's.
    _checked("actionlint", "-ignore", 'label "gpu" is unknown', *files)


def test_its_workflows_set_inputs_that_there_are() -> None:
    used = [
        (step["uses"].removeprefix("org/model-navigator").split("@")[0].strip("/"), step.get("with", {}))
        for _, block in _WORKFLOWS
        for job in yaml.safe_load(block.text)["jobs"].values()
        for step in [job, *job.get("steps", ())]
        if step.get("uses", "").startswith("org/model-navigator")
    ]

    assert {action for action, _ in used} == {"", "slim", "gpu", ".github/workflows/convert.yml"}
    for action, given in used:
        assert given.keys() <= _inputs(action).keys(), action


def _inputs(action: str) -> dict[str, Any]:
    path = ROOT / action if action.endswith(".yml") else ROOT / action / "action.yml"
    document = yaml.safe_load(path.read_text())
    # YAML 1.1 reads the key `on` as true.
    inputs: dict[str, Any] = document["inputs"] if "inputs" in document else document[True]["workflow_call"]["inputs"]
    return inputs


def _checked(program: str, *arguments: str | Path) -> None:
    ran = subprocess.run(
        [Path(sys.executable).with_name(program), *arguments], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("page", [*PAGES, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"], ids=name)
def test_its_links_lead_somewhere(page: Path) -> None:
    """Those between pages are mkdocs' matter too, but GitHub shows the pages as well."""
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    files = [target.removeprefix(f"{reference.REPOSITORY}/blob/main/") for target in targets]

    for target, file in zip(targets, files, strict=True):
        if target != file:
            assert (ROOT / file).is_file(), target
        elif not target.startswith("https://"):
            assert (page.parent / target).exists(), target


def test_the_extras_that_it_installs_are_those_of_the_package() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    lists = [each for page in PAGES for each in re.findall(r"model-navigator\[(.*?)\]", page.read_text())]
    named = {extra for each in lists for extra in each.split(",")}
    table = (ROOT / "docs/how-to/install.md").read_text()

    assert named
    assert named <= extras.keys()
    assert [extra for extra in extras if f"\n| `{extra}` |" not in table] == []


def test_every_exit_code_is_explained() -> None:
    page = (ROOT / "docs/reference/exit-codes.md").read_text()

    assert all(re.search(rf"^\| {code.value} \|", page, re.MULTILINE) for code in ExitCode)


def test_every_conversion_is_in_the_table_of_what_was_run() -> None:
    table = reference.support()
    short = {**reference.NAMES, Format.TF_SAVEDMODEL: "SavedModel"}

    for source in Format:
        for target in reachable(source):
            assert short[source] in table
            assert short[target] in table


def test_the_errors_that_it_explains_exist() -> None:
    page = (ROOT / "docs/how-to/troubleshooting.md").read_text()
    table = page[: page.index("## An internal error")]
    texts = re.findall(r"`(.*?)`", "".join(re.findall(r"^\| ([^|]*) \|", table, re.MULTILINE)))
    others = {"Resource not accessible by integration", "EACCES: permission denied", "no space left on device"}
    others |= {"Permission denied"}
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "navigator").rglob("*.py"))

    assert len(texts) > 5
    assert [text for text in texts if text not in others and text not in source] == []


def test_every_page_is_in_the_navigation_once() -> None:
    listed = re.findall(r"- (?:\w+: )?([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)

    assert sorted(listed) == sorted(str(page.relative_to(ROOT / "docs")) for page in PAGES if page != README)


def test_the_map_has_every_room_and_the_layers_that_are_checked() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text()
    rooms = [path.parent.name for path in (ROOT / "navigator").glob("*/__init__.py")]
    linted = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]

    assert [room for room in rooms if f"\n  {room}/" not in page] == []
    assert page[page.index("## Layers") :].split("```text\n")[1].split("```")[0].splitlines() == linted


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_its_headings_are_a_tree(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    depths = [len(marks) for marks in re.findall(r"^(#+) ", text, re.MULTILINE)]

    assert depths.count(1) == 1
    assert all(deeper - depth <= 1 for depth, deeper in pairwise(depths))
