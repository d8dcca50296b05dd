"""The files that GitHub and contributors' tools read are valid, and mean what is there."""

import fnmatch
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
# `make lint` and tests/action/test_workflows.py run these.
RUN_ELSEWHERE = {"mypy", "import-linter", "ruff", "ruff-format", "prose", "actionlint", "zizmor"}


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True)
    return listed.stdout.splitlines()


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


def pre_commit(*words: str, home: Path, skipped: Iterable[str] = ()) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PRE_COMMIT_HOME": str(home), "SKIP": ",".join(skipped)}
    command = [sys.executable, "-m", "pre_commit", *words]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


@pytest.mark.skipif(
    not (ROOT / ".venv/bin/ruff").exists(), reason="the hooks run the tools of .venv, which `make` makes"
)
def test_every_hook_finds_its_files_and_nothing_wrong_in_them(tmp_path: Path) -> None:
    """Actions, workflows, issue forms and the like are checked against the schemas that check-jsonschema has."""
    ran = pre_commit("run", "--all-files", "--color", "never", home=tmp_path, skipped=RUN_ELSEWHERE)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "no files to check" not in ran.stdout
    assert ran.stdout.count("Passed") == len({hook["id"] for hook in HOOKS} - RUN_ELSEWHERE)


def test_the_configuration_of_hooks_is_valid_and_needs_no_network(tmp_path: Path) -> None:
    assert pre_commit("validate-config", home=tmp_path).returncode == 0

    assert {hook["id"] for hook in HOOKS} > RUN_ELSEWHERE
    for hook in HOOKS:
        assert hook["language"] == "pygrep" or hook["entry"].startswith(".venv/bin/"), hook["id"]


def test_dependabot_knows_where_dependencies_are() -> None:
    updates = {each["package-ecosystem"]: each for each in read(".github/dependabot.yml")["updates"]}
    files = tracked()

    def folders(pattern: str) -> set[str]:
        found = (Path("/", name) for name in files if fnmatch.fnmatch(Path(name).name, pattern))
        return {str(path.parent) for path in found}

    assert {updates["npm"]["directory"]} == folders("package.json")
    # The others are built on an image of ours.
    assert {updates["docker"]["directory"]} <= folders("Dockerfile")
    assert {updates["pip"]["directory"]} == folders("requirements-*.txt")
    pinned = {name for name in files if name.endswith("action.yml") and "uses: actions/" in (ROOT / name).read_text()}
    assert set(updates["github-actions"]["directories"]) == {"/", *(str(Path("/", name).parent) for name in pinned)}


def test_owners_own_what_is_there() -> None:
    lines = (ROOT / ".github/CODEOWNERS").read_text().splitlines()
    rules = [line.split() for line in lines if line and not line.startswith("#")]

    assert rules[0][0] == "*"
    for pattern, *owners in rules[1:]:
        assert (ROOT / pattern.strip("/")).exists(), pattern
        assert all(owner.startswith("@") for owner in owners)
        assert owners
