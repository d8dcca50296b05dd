"""Whole workflow runs by act: the action as its container, artifacts handed from job to job, shards and their report.

What a release is made of is what runs here: action.yml and its variants with the names of images, and the reusable
workflow. GitHub's API is the fake behind GitHub's own description, artifacts are act's server's. act's host mode starts
containers as `docker run` does, and leaves out paths and variables of GitHub's runner: those are test_image's.
"""

import base64
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from navigator.action.inputs import Inputs
from navigator.action.names import artifact_prefix
from tests.support.wheels import LIKE_INSTALLED, wheel

ROOT = Path(__file__).parents[2]
HEAD = "1234567890abcdef1234567890abcdef12345678"
TOKEN = "ghs_job"
UPLOAD_ARTIFACT = re.findall(r"actions/upload-artifact@\w+", (ROOT / "gpu/action.yml").read_text())[0]

Act = Callable[..., subprocess.CompletedProcess[str]]

CONFIGURATION = """
defaults: {target_formats: [onnx], launch_mode: local}
models:
  - {model_name: first, model_path: first.onnx, onnx_opsets: [13, 15]}
  - {model_name: second, model_path: second.onnx, onnx_opsets: [13, 14]}
"""

CONVERT = """
on: [push, pull_request]
jobs:
  convert:
    runs-on: self-hosted
    outputs:
      passed: ${{ steps.navigator.outputs.passed }}
    steps:
      - uses: actions/checkout@v5
      - id: navigator
        uses: ./
        with: {artifact_protocol: 4, artifacts: converted}
      - run: |
          test "$STATUS" = success
          test -f "$MODELS/first/onnx_op15/model.onnx"
          test "$(stat -c %u "$RESULTS")" = "$(stat -c %u navigator.yaml)"
        env:
          STATUS: ${{ steps.navigator.outputs.status }}
          MODELS: ${{ steps.navigator.outputs.models_path }}
          RESULTS: ${{ steps.navigator.outputs.results_path }}
  later:
    needs: convert
    runs-on: self-hosted
    steps:
      - uses: actions/checkout@v5
      - id: report
        uses: ./slim
        with: {command: report, artifact_protocol: 4, comment: never, status: "false"}
      - run: test "$PASSED" = 4 && test "$BEFORE" = 4
        env:
          PASSED: ${{ steps.report.outputs.passed }}
          BEFORE: ${{ needs.convert.outputs.passed }}
"""

MANY = """
on: [push, pull_request]
jobs:
  models:
    uses: ./.github/workflows/convert.yml
    permissions: {actions: read, contents: read, pull-requests: write, statuses: write}
    with:
      runner: '["self-hosted"]'
      max_shards: "2"
      artifact_protocol: "4"
  after:
    needs: models
    if: always()
    runs-on: self-hosted
    steps:
      - run: 'echo "whole: $STATUS, $SHARDS shards, $TOTAL conversions"'
        env:
          STATUS: ${{ needs.models.outputs.status }}
          SHARDS: ${{ needs.models.outputs.shards }}
          TOTAL: ${{ needs.models.outputs.total }}
"""


REHEARSE = """
on: [push, pull_request]
jobs:
  rehearse:
    runs-on: self-hosted
    steps:
      - uses: actions/checkout@v5
      - uses: ./
        with:
          artifact_protocol: 4
          command: rehearse
          with: |
            onnx==98.*
        env: {PIP_NO_INDEX: "1", PIP_FIND_LINKS: wheels}
"""

GPU = """
on: [push, pull_request]
jobs:
  convert:
    runs-on: self-hosted
    steps:
      - uses: actions/checkout@v5
      - id: navigator
        uses: ./gpu
        with:
          docker_options: --network host --env MARK=$(touch${IFS}executed)
          models: first
          shard: 01/1
          verbose: "false"
          artifacts: all
          conversions: "*op15"
          # A value that a script must not execute, in several lines.
          matrix: |
            "$(touch executed)`touch executed`"
            "; touch executed; "
      - if: always()
        run: 'echo "outputs: $STATUS, $PASSED, $NAME"'
        env:
          STATUS: ${{ steps.navigator.outputs.status }}
          PASSED: ${{ steps.navigator.outputs.passed }}
          NAME: ${{ steps.navigator.outputs.artifact_id }}
"""

# actions/upload-artifact lies on GitHub: this stands in for it, and says what it was given.
UPLOAD = """
name: stand-in
description: Says what it is to upload.
inputs: {name: {description: as there}, path: {description: as there}}
outputs: {artifact-id: {description: as there, value: "id of ${{ inputs.name }}"}}
runs:
  using: composite
  steps:
    - shell: bash
      run: |
        while IFS= read -r path; do
          [ -z "$path" ] || find "$path" -type f -printf "uploaded $NAME: %p\\n"
        done <<< "$PATHS"
      env: {NAME: "${{ inputs.name }}", PATHS: "${{ inputs.path }}"}
"""


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory, image: Callable[[str], str]) -> Path:
    """Return a directory with the actions as a release has them, but with the images that were just built."""
    place = tmp_path_factory.mktemp("released")
    shutil.copy(ROOT / "action.yml", place)
    shutil.copytree(ROOT / "gpu", place / "gpu")
    images = ["--image", image("full"), "--slim", image("slim")]
    subprocess.run([sys.executable, ROOT / "tools/actions.py", *images], cwd=place, check=True)
    return place


@pytest.fixture
def repository(tmp_path: Path, released: Path, tiny_onnx: Path) -> Path:
    """Return a repository with two models, the actions, and the reusable workflow."""
    place = tmp_path / "repository"
    shutil.copytree(released, place)
    (place / ".github/workflows").mkdir(parents=True)
    for name in ("first", "second"):
        shutil.copy(tiny_onnx, place / f"{name}.onnx")
    (place / "navigator.yaml").write_text(CONFIGURATION)
    # act 0.2.89 does not know `$/`: on GitHub it is what a caller of a release names.
    workflow = (ROOT / ".github/workflows/convert.yml").read_text()
    for variant in ("slim", "convert", "gpu"):
        workflow = workflow.replace(f"uses: $/{variant}", f"uses: org/model-navigator/{variant}@v1")
    (place / ".github/workflows/convert.yml").write_text(workflow)
    git(place, "init", "--quiet", "--initial-branch=main")
    git(place, "remote", "add", "origin", "https://github.com/octocat/models")
    git(place, "add", ".")
    git(place, "commit", "--quiet", "--message", "Models")
    return place


def git(repository: Path, *words: str) -> str:
    who = ["-c", "user.name=Octocat", "-c", "user.email=octocat@example.org"]
    done = subprocess.run(["git", "-C", repository, *who, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def act(tmp_path: Path, repository: Path, released: Path) -> Act:
    """Return a function that runs a workflow: its text, the event, and the URL of GitHub's API."""

    def run(workflow: str, event: str, api_url: str) -> subprocess.CompletedProcess[str]:
        (repository / ".github/workflows/run.yml").write_text(workflow)
        payload = {
            "number": 7,
            "pull_request": {
                "number": 7,
                "head": {"sha": HEAD, "ref": "topic", "repo": {"full_name": "octocat/models"}},
                "base": {"ref": "main"},
            },
        }
        home = {"repository": {"default_branch": "main"}}
        (tmp_path / "event.json").write_text(json.dumps(home | (payload if event == "pull_request" else {})))
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        upload = tmp_path / "upload"
        upload.mkdir(exist_ok=True)
        (upload / "action.yml").write_text(UPLOAD)
        cache = tmp_path / "act"
        cache.mkdir(exist_ok=True)
        command: list[str | Path] = [Path(sys.executable).with_name("act"), event]
        command += ["--workflows", ".github/workflows/run.yml", "--eventpath", tmp_path / "event.json"]
        command += ["--platform", "self-hosted=-self-hosted", "--platform", "ubuntu-latest=-self-hosted"]
        for name, place in (("org/model-navigator@v1", released), (UPLOAD_ARTIFACT, upload)):
            command += ["--local-repository", f"{name}={place}"]
        command += ["--pull=false", "--action-offline-mode", "--no-cache-server", "--rm"]
        # In host mode a container sees the workspace only so; servers of the test listen on loopback alone.
        command += ["--action-cache-path", cache, "--container-options", f"-v {cache}:{cache} --network host"]
        command += ["--artifact-server-path", tmp_path / "artifacts", "--artifact-server-addr", "127.0.0.1"]
        command += ["--artifact-server-port", str(port)]
        command += ["--env", f"GITHUB_API_URL={api_url}", "--secret", f"GITHUB_TOKEN={TOKEN}"]
        command += ["--env", "GITHUB_WORKFLOW_REF=octocat/models/.github/workflows/run.yml@refs/heads/main"]
        return subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False, timeout=280)

    return run


def told(github: str) -> Any:
    return requests.get(f"{github}/control/state", timeout=10).json()


def kept(tmp_path: Path) -> dict[str, list[str]]:
    """Return the artifacts that act's server has, and the files in each."""
    found = {}
    for path in sorted((tmp_path / "artifacts").rglob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            found[path.stem] = sorted(archive.namelist())
    return found


def test_a_workflow_converts_and_a_later_job_reads_its_artifacts(act: Act, github: str, tmp_path: Path) -> None:
    ran = act(CONVERT, "pull_request", github)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "4 of 4 conversions passed" in ran.stdout
    assert kept(tmp_path) == {
        "model-navigator-models": [
            f"{model}/onnx_op{opset}/model.onnx"
            for model, opset in (("first", 13), ("first", 15), ("second", 13), ("second", 14))
        ],
        "model-navigator-results": ["convert_results.yaml", "report.html", "summary.md"],
    }
    state = told(github)
    assert [(each["state"], each["context"]) for each in state["statuses"]] == [
        ("pending", "model-navigator"),
        ("success", "model-navigator"),
    ]
    assert all(each["url"].endswith(HEAD) for each in state["statuses"])
    (comment,) = state["comments"]
    assert "4 of 4 conversions passed" in comment["body"]
    assert "/actions/runs/1/artifacts/" in comment["body"]


def test_a_wrong_model_fails_the_workflow(act: Act, github: str, repository: Path) -> None:
    random_outputs(repository / "second.onnx")

    ran = act(CONVERT, "pull_request", github)

    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "second  onnx_op14  blocked" in ran.stdout
    assert "Job 'convert' failed" in ran.stdout + ran.stderr
    state = told(github)
    assert [each["state"] for each in state["statuses"]] == ["pending", "failure"]
    assert "RandomUniformLike" in state["comments"][0]["body"]


def test_shards_become_one_comment_and_one_status(act: Act, github: str, tmp_path: Path) -> None:
    ran = act(MANY, "pull_request", github)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "whole: success, 2 shards, 4 conversions" in ran.stdout
    names = [f"model-navigator-{what}-{shard}-of-2" for what in ("models", "results") for shard in (1, 2)]
    assert [each for each in kept(tmp_path) if "-of-" in each] == names
    state = told(github)
    assert [each["state"] for each in state["statuses"]] == ["success"]
    (comment,) = state["comments"]
    assert "4 of 4 conversions passed" in comment["body"]


def test_a_wrong_model_in_a_shard_fails_the_workflow_and_leaves_the_others(
    act: Act, github: str, repository: Path
) -> None:
    random_outputs(repository / "second.onnx")

    ran = act(MANY, "pull_request", github)

    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "::set-output:: status=failure" in reported(ran)
    state = told(github)
    assert [each["state"] for each in state["statuses"]] == ["failure"]
    (comment,) = state["comments"]
    assert "second" in comment["body"]
    assert "2 passed" in comment["body"]


@pytest.mark.parametrize("workflow", [CONVERT, MANY], ids=["one job", "shards"])
def test_a_pull_request_is_compared_with_the_run_of_its_base(
    act: Act, github: str, repository: Path, tmp_path: Path, workflow: str
) -> None:
    say(github, "branches", {"main": pushed(github, repository)})
    assert act(workflow, "push", github).returncode == 0
    keep(github, repository, tmp_path)
    base = git(repository, "rev-parse", "--short=7", "HEAD")
    random_outputs(repository / "second.onnx")
    (repository / "navigator.yaml").write_text(CONFIGURATION.replace("[13, 15]", "[13]"))
    git(repository, "add", "-u")
    git(repository, "commit", "--quiet", "--message", "Change")
    pushed(github, repository)

    ran = act(workflow, "pull_request", github)

    assert ran.returncode == 1, ran.stdout + ran.stderr
    said = re.findall(r"\| (Compared with .*|  broken: .*|  removed: .*)", ran.stdout)
    # Once, by the job that converts, or the one that reports.
    assert [each.startswith("Compared") for each in said].count(True) == 1, said
    assert said[0].startswith(f"Compared with main {base} (merge base): 2 conversions broke, 1 is gone"), said
    assert said[1].startswith("  broken: second onnx_op1"), said
    assert said[-1].startswith("  removed: first onnx_op15: "), said


def test_an_upgrade_is_rehearsed_in_the_image(act: Act, github: str, repository: Path) -> None:
    wheel(repository / "wheels", "onnx", "98.0", LIKE_INSTALLED)

    ran = act(REHEARSE, "pull_request", github)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "proposed: onnx 98.0" in ran.stdout
    assert "Compared with the installed versions: nothing changed" in ran.stdout
    state = told(github)
    contexts = [(each["state"], each["context"]) for each in state["statuses"]]
    assert contexts == [("pending", "model-navigator (rehearsal)"), ("success", "model-navigator (rehearsal)")]


def pushed(github: str, repository: Path) -> str:
    """Tell GitHub of the last commit, and return it."""
    commit, *parents = git(repository, "log", "-1", "--format=%H %P").split()
    say(github, "commits", {commit: parents})
    return commit


def keep(github: str, repository: Path, tmp_path: Path) -> None:
    """Let GitHub have the run of a push, with the results that act's server has."""
    about = {"id": 500, "name": "Models", "owner": "octocat", "branch": "main", "file": "run.yml"}
    say(github, "runs", [about | {"sha": git(repository, "rev-parse", "HEAD")}])
    (found,) = (tmp_path / "artifacts").rglob("model-navigator-results.zip")
    content = base64.b64encode(found.read_bytes()).decode()
    say(github, "artifacts", {"run": 500, "name": found.stem, "base64": content})
    shutil.rmtree(tmp_path / "artifacts")


def say(github: str, what: str, body: Any) -> None:
    requests.post(f"{github}/control/{what}", json=body, timeout=10).raise_for_status()


def test_a_wrong_configuration_is_told_before_any_shard(act: Act, github: str, repository: Path) -> None:
    (repository / "navigator.yaml").write_text(CONFIGURATION.replace("onnx_opsets: [13, 14]", "onnx_opset: 14"))

    ran = act(MANY, "pull_request", github)

    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert reported(ran) == ""
    state = told(github)
    assert [each["state"] for each in state["statuses"]] == ["error"]
    assert "Invalid configuration: 1 problem" in state["comments"][0]["body"]


def test_a_token_that_may_nothing_costs_no_result(act: Act, github: str, tmp_path: Path) -> None:
    refused = {"method": "POST", "times": 100, "status": 403, "message": "Resource not accessible by integration"}
    requests.post(f"{github}/control/faults", json=[refused], timeout=10).raise_for_status()

    ran = act(CONVERT, "pull_request", github)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "::warning::couldn't comment on the pull request" in ran.stdout
    assert "::warning::couldn't set the commit status" in ran.stdout
    assert "model-navigator-results" in kept(tmp_path)


def test_the_composite_runs_the_image_itself_and_uploads(act: Act, github: str, repository: Path) -> None:
    ran = act(GPU, "pull_request", github)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    # The filters are in the names.
    prefix = artifact_prefix(Inputs(models=("first",), conversions=("*op15",)))
    assert f"outputs: success, 1, id of {prefix}-models-1-of-1" in ran.stdout
    place = "navigator_workspace"
    uploaded = sorted(line.partition("uploaded ")[2] for line in ran.stdout.splitlines() if "| uploaded " in line)
    assert [each for each in uploaded if not each.endswith(".log")] == [
        f"{prefix}-models-1-of-1: {place}/converted/first/onnx_op15/model.onnx",
        f"{prefix}-results-1-of-1: {place}/convert_results.yaml",
        f"{prefix}-results-1-of-1: {place}/report.html",
        f"{prefix}-results-1-of-1: {place}/summary.md",
    ]
    assert [each for each in uploaded if each.startswith(f"{prefix}-logs-1-of-1: ")]
    assert not [*repository.parent.rglob("executed")]


@pytest.mark.parametrize(
    ("results", "why"),
    [
        ("../elsewhere/convert_results.yaml", "outside"),
        ("/etc/convert_results.yaml", "outside"),
        ("x\n/etc/passwd\nconvert_results.yaml", "several patterns"),
        ("*/convert_results.yaml", "a pattern"),
    ],
)
def test_the_composite_uploads_only_the_workspace(tmp_path: Path, results: str, why: str) -> None:
    output = tmp_path / "output"
    environment = {"RESULTS_PATH": results, "SHARD": "", "GITHUB_OUTPUT": str(output), "PATH": os.environ["PATH"]}

    ran = subprocess.run(
        ["bash", ROOT / "gpu/kept.sh"], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert ran.stdout.startswith("::warning::no artifact was uploaded: workspace_path must be a plain path"), why
    assert not output.exists()


def test_the_composite_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a runner's")
    place = tmp_path / "workspace/runs/converted/model"
    place.mkdir(parents=True)
    (place / "weights").symlink_to(tmp_path / "secret")
    (place / "model.onnx").write_text("a model")
    output = tmp_path / "output"
    environment = {"RESULTS_PATH": "runs/convert_results.yaml", "SHARD": "3/7", "GITHUB_OUTPUT": str(output)}

    subprocess.run(
        ["bash", ROOT / "gpu/kept.sh"],
        env=environment | {"PATH": os.environ["PATH"]},
        cwd=tmp_path / "workspace",
        check=True,
    )

    assert [path.name for path in place.iterdir()] == ["model.onnx"]
    assert (tmp_path / "secret").read_text() == "a runner's"
    assert output.read_text() == "directory=runs\nsuffix=-3-of-7\n"


def reported(ran: subprocess.CompletedProcess[str]) -> str:
    """Return what the job that reports said; act ends a run after a called workflow that failed."""
    return "".join(line for line in ran.stdout.splitlines() if line.startswith("[models/Convert/Report"))


def random_outputs(path: Path) -> None:
    """Write a model that nothing can be compared with: it computes something else each time."""
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [
            helper.make_node("RandomUniformLike", ["x"], ["noise"]),
            helper.make_node("Add", ["x", "noise"], ["y"]),
        ],
        "random",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
