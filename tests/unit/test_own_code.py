"""The part of this program that workers import: it alone decides a conversion's identity, and it stands alone."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import navigator
from navigator.workers.own_code import IMPORTED, code_files

PACKAGE = Path(navigator.__file__).parent

KEYS = """
import json
from pathlib import Path
from navigator.engine.cached_steps import keys
from navigator.plan.planner import plan
from navigator.records import Format, Host, ModelConfig, RunConfig

VERSIONS = dict.fromkeys(("onnx", "onnx-ir", "onnxruntime"), "1")
host = Host(python="", system="", cpu="", cpu_count=1, memory_bytes=2**30, versions=VERSIONS)
model = ModelConfig(model_name="m", model_path=Path("model.onnx").absolute(), model_format=Format.ONNX)
run = RunConfig(models=(model,))
found, _ = keys(plan(run, host).models[0], host, "0" * 64)
print(json.dumps([[each.artifact, each.verdict] for each in found.values()]))
"""


def run(script: str, directory: Path) -> str:
    """Return what a script prints that finds the package in a directory and nowhere else."""
    environment = {**os.environ, "PYTHONPATH": str(directory)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], env=environment, cwd=directory, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Copy the whole package and its schema."""
    shutil.copytree(PACKAGE, tmp_path / "navigator", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(PACKAGE.parent / "schemas", tmp_path / "schemas")
    (tmp_path / "model.onnx").write_bytes(b"model")
    return tmp_path


def test_a_comment_costs_a_conversion_only_where_something_is_computed(copy: Path) -> None:
    def identities(*changed: str) -> list[str]:
        for each in changed:
            with (copy / "navigator" / each).open("r+") as file:
                file.seek(0, os.SEEK_END)
                file.write("# a comment\n")
        found: list[str] = json.loads(run(KEYS, copy))[0]
        return found

    artifact, verdict = identities()
    assert identities("render/markdown.py", "action/main.py", "github/rest.py", "report/merge.py", "__init__.py") == [
        artifact,
        verdict,
    ]
    compared = identities("verify/differences.py")
    assert compared[0] == artifact, "what compares makes nothing"
    assert compared[1] != verdict
    converted = identities("frameworks/memory.py")
    assert converted[0] != artifact
    assert converted[1] != compared[1]


def test_what_workers_import_stands_alone(tmp_path: Path) -> None:
    files = code_files(("__init__.py", *IMPORTED))
    for name, path in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / name)
    modules = [name.removesuffix(".py") for name in files if name.endswith(".py")]
    names = [name.replace("/", ".").removesuffix(".__init__") for name in modules]

    said = run(f"import importlib\nfor name in {names}: print(importlib.import_module(name).__file__)", tmp_path)

    assert all(line.startswith(str(tmp_path)) for line in said.splitlines())
    assert "navigator.workers.tasks" in names
    assert not {name.split(".")[1] for name in names if "." in name} & {"render", "action", "github", "report", "cli"}


@pytest.mark.fault("A worker reads a file of this program that isn't in a conversion image", "every such file is in it")
def test_what_workers_read_is_with_them() -> None:
    everything = {
        str(path.relative_to(PACKAGE.parent))
        for part in IMPORTED
        for path in (PACKAGE / part).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert everything <= code_files(IMPORTED).keys()
