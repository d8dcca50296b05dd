"""The commands of the README and of the documentation are run, page by page, on the models that they name."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, README, ROOT, blocks, name

# What a page's commands cannot do here: set up the environment, which is there.
_SET_UP = re.compile(r"make (demo|test)\n|source .venv/bin/activate\n")
_EXIT_CODE = re.compile(r"# exit code (\d+)$", re.MULTILINE)

_WITH_COMMANDS = [page for page in PAGES if any(each.language == "shell" for each in blocks(page))]


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with `examples/`, and the models in it that pages name, made by its script."""
    directory = tmp_path_factory.mktemp("docs")
    shutil.copytree(
        ROOT / "examples",
        directory / "examples",
        ignore=shutil.ignore_patterns("models", ".cache", "navigator_workspace"),
    )
    # The script leaves a model alone that it made before, for `make demo`.
    (directory / "examples" / "models").mkdir()
    for path in (ROOT / "examples" / "models").glob("*resnet50*"):
        shutil.copy(path, directory / "examples" / "models")
    script = directory / "examples" / "make_models.py"
    subprocess.run([sys.executable, script, "--only", "resnet50"], check=True, capture_output=True)
    return directory


@pytest.fixture
def project(request: pytest.FixtureRequest, tmp_path: Path, tiny_onnx: Path) -> Path:
    """Return a directory with the files that a page's commands read."""
    page: Path = request.getfixturevalue("page")
    if "examples/models" in page.read_text():
        shutil.copytree(request.getfixturevalue("examples"), tmp_path, dirs_exist_ok=True)
    shutil.copy(tiny_onnx, tmp_path / "model.onnx")
    return tmp_path


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", _WITH_COMMANDS, ids=name)
def test_its_commands_do_what_it_says(page: Path, project: Path) -> None:
    said = ""
    for block in blocks(page):
        if block.title and not block.is_workflow:
            (project / block.title).write_text(block.text)
        elif block.language == "python":
            said = _run(f"python - <<'end'\n{block.text}end\n", project)
        elif block.language == "shell" and (commands := _SET_UP.sub("", block.text)):
            said = _run(commands, project)
        elif block.language == "text" and said:
            assert [line for line in block.text.splitlines() if _shape(line) not in _shape(said)] == [], said
            said = ""

    if page == README:
        made = {path.parent.name for path in project.glob("navigator_workspace/converted/resnet50/*/model.onnx")}
        assert made == {"onnx_op13", "onnx_op17"}


def _run(commands: str, project: Path) -> str:
    """Run a block as a reader would, and return what it printed."""
    expected = _EXIT_CODE.search(commands)
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    ran = subprocess.run(
        ["/bin/bash", "-euc", commands],
        cwd=project,
        env={"PATH": path, "HOME": str(project), "LANG": "C.UTF-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ran.returncode == (int(expected[1]) if expected else 0), ran.stdout
    return ran.stdout


def _shape(text: str) -> str:
    """Return a text without what differs from run to run: numbers, and the width of columns."""
    return re.sub(r"\s+", " ", re.sub(r"\d+([.,]\d+)*(e[-+]\d+)?", "0", text)).strip()


def test_what_needs_root_or_a_network_is_no_command_that_is_run() -> None:
    for page in PAGES:
        for block in blocks(page):
            if block.language == "shell":
                assert not re.search(r"\b(sudo|docker|pip|git clone|curl)\b", block.text), name(page)
