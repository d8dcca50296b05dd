"""The wheel holds what users run, and nothing of this repository's own; type checkers see its types."""

import shutil
import subprocess
import sys
import tomllib
from email.message import Message
from email.parser import Parser
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel, built as the release builds it from a copy of the tree."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("navigator", "schemas", "tests/unit", "tools"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", built], cwd=source, check=True)
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def test_the_wheel_has_the_package_its_types_and_the_schemas_and_nothing_else(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        licenses = [name for name in archive.namelist() if name.endswith("/licenses/LICENSE")]

    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "navigator").rglob("*.py")}
    schemas = {f"navigator/schemas/{path.name}" for path in (ROOT / "schemas").glob("*.json")}
    assert len(schemas) == 2
    # The workflow that `init` writes, what `convert` notes of operators, and the page of a report.
    data = {"navigator/commands/models.yml", "navigator/frameworks/torch/differing_operators.yaml"}
    data |= {f"navigator/render/page/report.{kind}" for kind in ("html.jinja", "css", "js")}
    assert held == modules | schemas | data | {"navigator/py.typed"}
    assert not [name for name in held if PurePosixPath(name).stem in {"option_table", "action_table"}]
    assert len(licenses) == 1


def test_the_wheel_finds_its_schemas(wheel: Path, tmp_path: Path) -> None:
    with ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = "from navigator.config import schema_path; print(schema_path('navigator.schema.json'))"
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str(tmp_path / "navigator/schemas/navigator.schema.json")


def test_the_metadata_says_what_it_is(metadata: Message) -> None:
    assert metadata["Author"] == "Model Navigator contributors"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Keywords"]
    assert "Typing :: Typed" in metadata.get_all("Classifier", ())
    assert {url.partition(",")[0] for url in metadata.get_all("Project-URL", ())} >= {"Source", "Changelog", "Issues"}
    assert "Convert models" in metadata["Summary"]


def test_tools_of_contributors_are_no_extra(metadata: Message) -> None:
    extras = set(metadata.get_all("Provides-Extra", ()))

    assert extras == PYPROJECT["project"]["optional-dependencies"].keys()
    assert not extras & PYPROJECT["dependency-groups"].keys()


def test_every_tool_of_contributors_is_pinned() -> None:
    """`make` installs the pins alone, without reading the groups."""
    lines = (ROOT / "requirements-dev.txt").read_text().splitlines()
    pinned = {_normal(line.partition("==")[0]) for line in lines if "==" in line}
    named = [each for group in PYPROJECT["dependency-groups"].values() for each in group if isinstance(each, str)]

    assert [each for each in named if _normal(each.partition(">=")[0]) not in pinned] == []


def _normal(name: str) -> str:
    return name.strip().lower().replace("_", "-")


def test_a_type_checker_sees_the_types_of_the_installed_package(wheel: Path, tmp_path: Path) -> None:
    environment, script = tmp_path / "environment", tmp_path / "use.py"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    with ZipFile(wheel) as archive:
        archive.extractall(packages)
    script.write_text("from navigator.records import Format\n\nwrong: int = Format.ONNX\n")

    interpreter = str(environment / "bin/python")
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", interpreter, str(script)]
    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert "untyped" not in checked.stdout
    assert 'Incompatible types in assignment (expression has type "Format", variable has type "int")' in checked.stdout
