"""Tests are handed out so that no process has both frameworks; what breaks that is named. Two modules stand in."""

import ast
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.processes import FRAMEWORKS, framework_of

ROOT = Path(__file__).parents[2]

FILES = {
    "conftest.py": 'pytest_plugins = ["tests.support.processes"]',
    "stand_ins/torch.py": "",
    "stand_ins/tensorflow.py": "",
    "tests/conversion/test_tf_one.py": """
        import sys, tensorflow
        def test_alone():
            assert "torch" not in sys.modules
    """,
    "tests/conversion/test_torch_one.py": """
        import sys, torch
        def test_alone():
            assert "tensorflow" not in sys.modules
    """,
    "tests/unit/test_neither.py": """
        import pytest
        @pytest.mark.parametrize("number", range(4))
        def test_any(number):
            pass
    """,
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        write(tmp_path / name, text)
    write(tmp_path / "pytest.ini", "[pytest]")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))


def run(tree: Path, *arguments: str) -> tuple[int, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    environment["PYTHONPATH"] = f"{tree / 'stand_ins'}{os.pathsep}{ROOT}"
    command = [sys.executable, "-m", "pytest", "--import-mode=importlib", "-p", "no:cacheprovider", *arguments]
    ended = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def test_every_test_runs_once_and_the_frameworks_stay_apart(tree: Path) -> None:
    code, said = run(tree, "-n", "2", "-v")

    assert code == 0, said
    assert "6 passed" in said.splitlines()[-1]


def test_one_process_is_refused(tree: Path) -> None:
    code, said = run(tree, "-n", "1")

    assert code != 0
    assert "tests take two processes at least" in said


def test_both_frameworks_in_one_process_fail_with_what_to_do(tree: Path) -> None:
    code, said = run(tree)

    assert code == 1
    assert "PyTorch and TensorFlow are in one process" in said


def test_a_file_that_brings_a_framework_is_named(tree: Path) -> None:
    write(tree / "tests/unit/test_stray.py", "def test_stray():\n    import torch\n")

    code, said = run(tree, "tests/unit")

    assert code == 1
    assert "the test imports torch: name its file in tests/support/processes.py" in said


def test_a_process_that_dies_costs_its_test_alone(tree: Path) -> None:
    write(
        tree / "tests/conversion/test_tf_two.py",
        """
        import os, tensorflow
        def test_dies():
            os._exit(3)
        def test_follows():
            pass
        """,
    )

    code, said = run(tree, "-n", "2", "-v")

    assert code == 1
    assert "1 failed, 7 passed" in said.splitlines()[-1]
    assert "test_tf_two.py::test_dies" in said


def test_every_file_that_imports_a_framework_at_its_top_is_named(pytestconfig: pytest.Config) -> None:
    """Collecting alone brings it into a process."""
    strays = []
    for file in (ROOT / "tests").rglob("test_*.py"):
        top = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = [node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in top]
        found = {str(name).partition(".")[0] for name in names} & FRAMEWORKS.keys()
        strays += [f"{file.name}: {name}" for name in found if framework_of(file, pytestconfig) != name]
    assert strays == []
