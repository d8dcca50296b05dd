"""The workflows and the actions are what GitHub takes, and the linters of the field find nothing in them."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from images import SUFFIXES

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
ACTIONS = [ROOT / "action.yml", *sorted(ROOT.glob("*/action.yml"))]
VARIANTS = [path for path in ACTIONS if path.parent != ROOT]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def checked(*words: str | Path) -> None:
    command = [Path(sys.executable).with_name(str(words[0])), *words[1:]]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def test_there_are_workflows_and_actions() -> None:
    assert {path.stem for path in WORKFLOWS} >= {"ci", "convert", "examples", "release", "gpu-self-test"}
    assert [name(path) for path in ACTIONS] == ["action.yml", "convert/action.yml", "gpu/action.yml", "slim/action.yml"]


def test_actionlint_finds_nothing() -> None:
    checked("actionlint", *WORKFLOWS)


def test_zizmor_finds_nothing() -> None:
    checked("zizmor", "--offline", "--no-progress", "--strict-collection", *WORKFLOWS, *ACTIONS)


@pytest.mark.parametrize("path", WORKFLOWS, ids=name)
def test_a_workflow_is_valid(path: Path) -> None:
    checked("check-jsonschema", "--builtin-schema", "vendor.github-workflows", path)


@pytest.mark.parametrize("path", ACTIONS, ids=name)
def test_an_action_is_valid(path: Path) -> None:
    checked("check-jsonschema", "--builtin-schema", "vendor.github-actions", path)


@pytest.mark.parametrize("path", WORKFLOWS, ids=name)
def test_every_job_is_bounded_and_has_its_own_permissions(path: Path) -> None:
    workflow = read(path)

    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"]
        assert job["permissions"]


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=name)
def test_actions_of_others_are_pinned_by_commit(path: Path) -> None:
    used = re.findall(r"^ *(?:- )?uses: (\S+)(.*)", path.read_text(), re.MULTILINE)

    for action, comment in used:
        if not action.startswith(("./", "$/")):
            assert re.fullmatch(r"[\w-]+/[\w-]+(/[\w-]+)*@[0-9a-f]{40}", action), action
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), "say which version the commit is"


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=name)
def test_no_expression_is_part_of_a_script(path: Path) -> None:
    """What an expression expands to is code there; a variable is not."""
    document = read(path)
    jobs = document["jobs"].values() if "jobs" in document else [document["runs"]]

    assert [step["run"] for job in jobs for step in job.get("steps", ()) if "${{" in step.get("run", "")] == []


def test_the_variants_are_written_from_the_action(tmp_path: Path) -> None:
    (tmp_path / "action.yml").write_text((ROOT / "action.yml").read_text())

    subprocess.run([sys.executable, ROOT / "tools/actions.py"], cwd=tmp_path, check=True)

    for path in ACTIONS:
        assert (tmp_path / name(path)).read_text() == path.read_text(), "run `python tools/actions.py`"


@pytest.mark.parametrize("path", VARIANTS, ids=name)
def test_a_variant_has_the_inputs_and_outputs_of_the_action(path: Path) -> None:
    action, variant = read(ROOT / "action.yml"), read(path)
    added = {"image", "docker_options"} if path.parent.name == "gpu" else set()

    assert {key: value for key, value in variant["inputs"].items() if key not in added} == action["inputs"]
    assert variant["inputs"].keys() - action["inputs"].keys() == added
    outputs = {key: {"description": value["description"]} for key, value in variant["outputs"].items()}
    assert outputs == action["outputs"]


def test_the_composite_passes_every_input_on() -> None:
    action = read(ROOT / "gpu/action.yml")
    steps = {step["id"]: step for step in action["runs"]["steps"]}
    passed = {key: value for key, value in steps["run"]["env"].items() if key.startswith("INPUT_")}

    expected = [each for each in action["inputs"] if each not in {"image", "docker_options"}]
    assert passed == {f"INPUT_{each.upper()}": f"${{{{ inputs.{each} }}}}" for each in expected}


def test_the_actions_run_the_images_that_they_are_given(tmp_path: Path) -> None:
    (tmp_path / "action.yml").write_text((ROOT / "action.yml").read_text())
    full, slim = "ghcr.io/org/model-navigator@sha256:12", "ghcr.io/org/model-navigator@sha256:34"

    command = [sys.executable, str(ROOT / "tools/actions.py"), "--image", full, "--slim", slim]
    subprocess.run(command, cwd=tmp_path, check=True)

    variants = {variant: read(tmp_path / variant / "action.yml") for variant in (".", "convert", "gpu", "slim")}
    images = {variant: action["runs"].get("image") for variant, action in variants.items()}
    assert images == {".": f"docker://{full}", "convert": f"docker://{full}", "gpu": None, "slim": f"docker://{slim}"}
    assert variants["gpu"]["inputs"]["image"]["default"] == full


def test_a_release_publishes_in_the_order_that_can_be_resumed() -> None:
    """Nobody gets anything before the tag, and the tag names what was pushed and attested."""
    jobs = read(ROOT / ".github/workflows/release.yml")["jobs"]

    def before(job: str) -> set[str]:
        needs = jobs[job].get("needs", [])
        named = {needs} if isinstance(needs, str) else set(needs)
        return named.union(*(before(each) for each in named))

    assert before("tag") == {"check", "test", "package", "images", "attest"}
    assert before("pypi") == {*before("tag"), "tag"}
    (tag,) = (step for step in jobs["tag"]["steps"] if "tools/tag.py" in step.get("run", ""))
    assert tag["env"]["DIGESTS"] == "${{ needs.images.outputs.digests }}"
    attested = [step["with"] for step in jobs["attest"]["steps"] if step.get("uses", "").startswith("actions/attest@")]
    assert {inputs["subject-digest"] for inputs in attested} == {
        "${{ fromJSON(needs.images.outputs.digests)[matrix.image] }}"
    }
    assert ["sbom-path" in inputs for inputs in attested] == [False, True]
    assert jobs["attest"]["strategy"]["matrix"]["image"] == [*SUFFIXES]


def test_only_jobs_that_run_no_code_of_ours_can_sign_and_publish() -> None:
    jobs = read(ROOT / ".github/workflows/release.yml")["jobs"]
    trusted = {name for name, job in jobs.items() if "id-token" in job["permissions"]}

    assert trusted == {"attest", "pypi"}
    for job in trusted:
        assert not any("checkout" in step.get("uses", "") for step in jobs[job]["steps"])
    # PyPI trusts the environment, which the other one does not have.
    assert jobs["pypi"]["permissions"] == {"id-token": "write"}
    assert [name for name, job in jobs.items() if "environment" in job] == ["pypi"]
    assert jobs["pypi"]["environment"]["name"] == "pypi"


def test_the_reusable_workflow_passes_on_inputs_that_there_are() -> None:
    inputs = {variant: read(ROOT / variant / "action.yml")["inputs"] for variant in ("slim", "convert", "gpu")}
    jobs = read(ROOT / ".github/workflows/convert.yml")["jobs"]
    ours = [step for job in jobs.values() for step in job["steps"] if step["uses"].startswith("$/")]

    assert [step["uses"] for step in ours] == ["$/slim", "$/convert", "$/gpu", "$/slim"]
    for step in ours:
        assert step["with"].keys() <= inputs[step["uses"].removeprefix("$/")].keys()
    on_gpu, plain = ours[2]["with"], ours[1]["with"]
    # The composite uploads with GitHub's own action, which knows one protocol.
    assert on_gpu.keys() - plain.keys() == {"docker_options"}
    assert plain.keys() - on_gpu.keys() == {"artifact_protocol"}
