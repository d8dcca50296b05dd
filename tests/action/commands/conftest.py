"""A job of a runner: the action as its own process, among the real counterparts, with tokens that nobody may see.

The action runs as the runner's user, and so does its engine: what is different as root, `test_privileges.py` and
`test_image.py` hold.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from navigator.github.artifacts.client import Artifacts
from navigator.github.artifacts.unpack import unpack
from navigator.github.budget import Budget
from tests.support.builders import write_gelu

ENTRY_POINT = Path(__file__).parents[3] / "entrypoint.py"
HEAD = "a" * 40
MERGE = "b" * 40
OWNER, NAME = "octocat", "models"
# Where the tests are root: to the runner's user, who may read an interpreter in a home that is closed.
RUNNER = 1001
AS_RUNNER = ["setpriv", f"--reuid={RUNNER}", f"--regid={RUNNER}", "--clear-groups"]
AS_RUNNER += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--"]
TINY = """\
models:
- model_name: tiny
  model_path: tiny.onnx
  target_formats: [onnx]
  onnx_opsets: [13, 14]
"""
# What no log, result, comment or artifact may hold; the runner's own masks hide what is signed.
SECRETS = {
    "INPUT_TOKEN": "ghs_job",
    "GITHUB_TOKEN": "ghs_of_the_variables",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "ghs_of_the_identity",
    "AWS_SECRET_ACCESS_KEY": "secret_of_a_cloud",
}


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What a step left: exit code, log, outputs, job summary, and how long it took in seconds."""

    code: int
    log: str
    outputs: dict[str, str]
    summary: str
    seconds: float

    @property
    def annotations(self) -> list[str]:
        """The lines that the runner makes annotations of."""
        return re.findall(r"^::(?:error|warning|notice)\b.*", self.log, re.MULTILINE)

    @property
    def warnings(self) -> list[str]:
        """What the step warns of."""
        return re.findall(r"^::warning::(.*)", self.log, re.MULTILINE)


class Job:
    """A job in a checkout of `tiny.onnx`; everything about it may be changed before it runs."""

    def __init__(self, root: Path, variables: dict[str, str], github: str, results: str) -> None:
        self.root = root
        self.workspace = root / "workspace"
        self.variables = variables
        self.github_url, self.results_url = github, results
        self.secrets = SECRETS | {"ACTIONS_RUNTIME_TOKEN": variables["ACTIONS_RUNTIME_TOKEN"]}

    def write(self, name: str, text: str) -> None:
        path = self.workspace / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def sabotage(self, program: str) -> None:
        """Let every Python of the engine run a program first."""
        (self.root / "sabotage").mkdir()
        (self.root / "sabotage" / "sitecustomize.py").write_text(textwrap.dedent(program))
        self.variables["PYTHONPATH"] = str(self.root / "sabotage")

    def event(self, name: str, payload: dict[str, Any] | None = None, **variables: str) -> None:
        """Let the job run for an event; `variables` are further ones of the runner."""
        (self.root / "workflow" / "event.json").write_text(json.dumps(payload or {}))
        self.variables |= {"GITHUB_EVENT_NAME": name, **variables}

    def pull_request(self, number: int = 7, owner: str = OWNER, branch: str = "topic", sha: str = HEAD) -> None:
        """Let the job run for a pull request; from a fork where `owner` is another."""
        repo = {"full_name": f"{owner}/{NAME}", "owner": {"login": owner}}
        head = {"sha": sha, "ref": branch, "repo": repo, "user": {"login": owner}}
        pull = {"number": number, "head": head, "base": {"ref": "main"}}
        self.event("pull_request", {"number": number, "pull_request": pull, "repository": {"default_branch": "main"}})

    def workflow_run(self, run: int = 900, owner: str = "stranger", branch: str = "topic", sha: str = HEAD) -> None:
        """Let the job run after the workflow "Models" ended as run number `run`."""
        repo = {"full_name": f"{owner}/{NAME}", "owner": {"login": owner}}
        payload: dict[str, Any] = {"id": run, "name": "Models", "workflow_id": 1}
        payload |= {"head_sha": sha, "head_branch": branch, "head_repository": repo}
        home = {"default_branch": "main"}
        self.event("workflow_run", {"workflow_run": payload, "repository": home}, GITHUB_WORKFLOW="Publish")

    def start(self, command: str = "convert", **inputs: str) -> "subprocess.Popen[str]":
        for name in ("output", "summary"):
            (self.root / "commands" / name).unlink(missing_ok=True)
        given = {f"INPUT_{name.upper()}": value for name, value in {"command": command, **inputs}.items()}
        self.own()
        return subprocess.Popen(
            [*(AS_RUNNER if os.geteuid() == 0 else ()), sys.executable, "-I", str(ENTRY_POINT)],
            cwd=self.workspace,
            env=self.variables | given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def own(self) -> None:
        """Give everything to the runner's user."""
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", f"{RUNNER}:{RUNNER}", self.root], check=True)

    def end(self, process: "subprocess.Popen[str]", began: float | None = None) -> Ended:
        """Wait for a step, and see that no secret is in what it left."""
        log, _ = process.communicate(timeout=200)
        seconds = time.monotonic() - began if began else 0.0
        output, summary = (self.file(name) for name in ("output", "summary"))
        for text in (log, output, summary):
            assert not self.seen(text)
        written = re.findall(r"^(\w+)<<(\S+)\n(.*?)\n\2$", output, re.MULTILINE | re.DOTALL)
        outputs = {name: value for name, _, value in written}
        return Ended(code=process.returncode, log=log, outputs=outputs, summary=summary, seconds=seconds)

    def run(self, command: str = "convert", **inputs: str) -> Ended:
        began = time.monotonic()
        return self.end(self.start(command, **inputs), began)

    def file(self, name: str) -> str:
        path = self.root / "commands" / name
        return path.read_text() if path.exists() else ""

    def seen(self, text: str) -> set[str]:
        """Return the secrets that a text holds."""
        return {name for name, secret in self.secrets.items() if secret in text}

    def say(self, what: str, body: Any) -> Any:
        """Prepare the fake GitHub, see `fakes/github.py`."""
        return _post(f"{self.github_url}/control/{what}", body)

    def say_results(self, what: str, body: Any) -> None:
        """Prepare the fake results service, see `fakes/results.py`."""
        _post(f"{self.results_url}/control/{what}", body)

    @property
    def github(self) -> Any:
        """What GitHub has."""
        return requests.get(f"{self.github_url}/control/state", timeout=10).json()

    @property
    def comments(self) -> list[str]:
        """The comments' text, without the last line that nobody sees."""
        return [re.sub(r"\n<!-- voices:.* -->$", "", each["body"]) for each in self.github["comments"]]

    @property
    def statuses(self) -> list[tuple[str, str, str]]:
        """State, description and commit of each status that was set."""
        return [(each["state"], each["description"], each["url"].split("/")[-1]) for each in self.github["statuses"]]

    def asked(self, method: str) -> list[dict[str, Any]]:
        """Return the requests to the results service."""
        calls = requests.get(f"{self.results_url}/control/calls", timeout=10).json()
        return [request for name, request in calls if name == method]

    def artifacts(self) -> dict[str, dict[str, bytes]]:
        """Return the files of each artifact of the run; one that is no zip has a single file ""."""
        token = self.secrets["ACTIONS_RUNTIME_TOKEN"]
        service = Artifacts(self.results_url, token, budget=Budget(60), mask=lambda _: None)
        found: dict[str, dict[str, bytes]] = {}
        with tempfile.TemporaryDirectory() as directory:
            for each in service.list():
                file = service.download(each, Path(directory), limit_bytes=2**26)
                if file.read_bytes()[:2] != b"PK":
                    found[each.name] = {"": file.read_bytes()}
                    continue
                place = Path(directory, f"{each.id}-files")
                files = unpack(file, place, limit_bytes=2**26)
                found[each.name] = {str(path.relative_to(place)): path.read_bytes() for path in files}
        return found


def _post(url: str, body: Any) -> Any:
    response = requests.post(url, json=body, timeout=10)
    response.raise_for_status()
    return response.json()


@pytest.fixture
def job(github: str, results_service: str, runtime_token: str, tiny_onnx: Path) -> Iterator[Job]:
    """Return a job of pull request 7 that converts `tiny.onnx` into two ONNX files."""
    # Pytest's own directories are closed to other users.
    root = Path(tempfile.mkdtemp(prefix="job-")).resolve()
    for name in ("workspace", "workflow", "commands", "temp", "home"):
        (root / name).mkdir()
    job = Job(root, _variables(root, github, results_service, runtime_token), github, results_service)
    shutil.copyfile(tiny_onnx, job.workspace / "tiny.onnx")
    job.write("navigator.yaml", TINY)
    job.pull_request()
    try:
        yield job
        assert not job.seen(json.dumps(job.github))
        for path in job.workspace.rglob("*"):
            assert not path.is_file() or not job.seen(path.read_bytes().decode("latin-1")), path
    finally:
        shutil.rmtree(root)


def _variables(root: Path, github: str, results_service: str, runtime_token: str) -> dict[str, str]:
    return {
        **SECRETS,
        "PATH": os.environ["PATH"],
        "HOME": str(root / "home"),
        "RUNNER_TEMP": str(root / "temp"),
        "ACTIONS_RUNTIME_TOKEN": runtime_token,
        "ACTIONS_RESULTS_URL": results_service,
        "GITHUB_ACTIONS": "true",
        "GITHUB_API_URL": github,
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_WORKSPACE": str(root / "workspace"),
        "GITHUB_EVENT_PATH": str(root / "workflow" / "event.json"),
        "GITHUB_OUTPUT": str(root / "commands" / "output"),
        "GITHUB_STEP_SUMMARY": str(root / "commands" / "summary"),
        "GITHUB_REPOSITORY": f"{OWNER}/{NAME}",
        "GITHUB_REF": "refs/pull/7/merge",
        "GITHUB_SHA": MERGE,
        "GITHUB_RUN_ID": "4711",
        "GITHUB_RUN_ATTEMPT": "1",
        "GITHUB_WORKFLOW": "Models",
        "GITHUB_JOB": "convert",
        "GITHUB_RETENTION_DAYS": "90",
    }


@pytest.fixture(scope="session")
def reports(tiny_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """Return a function that gives the convert_results.yaml of a run: "good", or "bad" with a cell that failed."""
    made = {}
    for name, opsets in (("good", "[13, 14]"), ("bad", "[13, 20]")):
        place = tmp_path_factory.mktemp(name)
        shutil.copyfile(tiny_onnx, place / "tiny.onnx")
        if name == "bad":
            write_gelu(place / "tiny.onnx")
        (place / "navigator.yaml").write_text(TINY.replace("[13, 14]", opsets))
        command = [sys.executable, "-m", "navigator", "convert"]
        subprocess.run(command, cwd=place, check=False, capture_output=True)
        made[name] = (place / "navigator_workspace" / "convert_results.yaml").read_bytes()
    return lambda name: made[name]
