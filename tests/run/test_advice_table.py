"""Every kind of advice is done as it says, and the conversion that printed it passes then."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from navigator.cli import main
from tests.run.advised import GROUPS, Case, write_data
from tests.support.advice import advised, matches

WRITER = Path(__file__).parent / "advised_models.py"


def convert(folder: Path, models: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Convert models to ONNX in one run, and return the result of each."""
    listed = [{"model_name": name, "target_formats": ["onnx"], **keys} for name, keys in models.items()]
    (folder / "navigator.yaml").write_text(yaml.safe_dump({"defaults": {"search_seconds": 0}, "models": listed}))
    main(["convert", str(folder / "navigator.yaml"), "--workspace-path", str(folder / "ws"), "--override-workspace"])
    report = yaml.safe_load((folder / "ws" / "convert_results.yaml").read_text())
    return {each["model_name"]: each for each in report["results"] if not each["intermediate"]}


@pytest.fixture(
    scope="module",
    params=["onnx", *(pytest.param(each, marks=pytest.mark.nightly) for each in ("torch", "tensorflow"))],
)
def group(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any, Any]:
    """Return the results of a group of cases as they are, and after what is advised was done."""
    folder = tmp_path_factory.mktemp(request.param)
    subprocess.run([sys.executable, WRITER, request.param, folder], check=True, capture_output=True)
    write_data(folder)
    cases = GROUPS[request.param]
    before = convert(folder, {each.name: each.keys for each in cases})
    repaired = {each.name: each.fix(folder, dict(each.keys), before[each.name]["remedy"]) for each in cases}
    return request.param, before, convert(folder, repaired)


@pytest.mark.timeout(900)
def test_what_is_advised_helps(group: tuple[str, Any, Any]) -> None:
    name, before, after = group
    wrong = {case.name: text for case in GROUPS[name] if (text := _wrong(case, before[case.name], after[case.name]))}
    assert not wrong, yaml.safe_dump(wrong, width=1000)


def _wrong(case: Case, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    if before["status"]["state"] in ("passed", "unavailable"):
        return f"it doesn't fail: {before['status']}"
    if not matches(case.advice, before["remedy"]):
        return f"{before['status']['message']}: {before['remedy']!r} is advised"
    if after["status"]["state"] != "passed":
        return f"after {before['remedy']!r}: {after['status']} {after['remedy']}"
    return ""


REASONS = yaml.safe_load((Path(__file__).parent / "unapplied_advice.yaml").read_text())
CONFIGURATIONS = yaml.safe_load((Path(__file__).parent / "advised_configurations.yaml").read_text(encoding="utf-8"))


def test_every_advice_is_done_somewhere_or_says_why_not() -> None:
    cases = {case.advice for group in GROUPS.values() for case in group}
    cases |= {row["advice"] for rows in CONFIGURATIONS.values() for row in rows}
    elsewhere = {text for texts in REASONS["done_by"].values() for text in texts}
    reasoned = {text for texts in REASONS["not_done"].values() for text in texts}
    modules = tuple(module for modules in REASONS["modules"].values() for module in modules)
    known = cases | elsewhere | reasoned
    written = advised(modules)
    assert {text: module for text, module in written.items() if text not in known} == {}
    assert sorted(known - written.keys()) == []
    assert sorted((elsewhere | cases) & reasoned) == []
    assert all((Path(__file__).parents[2] / test).is_file() for test in REASONS["done_by"])
