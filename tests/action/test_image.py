"""The image as GitHub's runner runs it, with real models: outputs, summary, owners, exit codes, cancellation, tokens.

Needs Docker; the first run builds the image.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# The first test waits for the image with its frameworks.
pytestmark = pytest.mark.timeout(900)

HERE = Path(__file__).parent
# No GitHub is there to be told anything.
QUIET = ("comment=never", "status=false", "artifacts=none")
SCRIPT = """\
- model_name: script
  model_path: script.pt
  target_formats: [onnx]
  onnx_opsets: [17]
  inputs: {x: {shape: [-1, 256], dtype: float32}}
  outputs: {y: {shape: [-1, 64], dtype: float32}}
"""
MODELS = f"""\
models:
{SCRIPT}- model_name: tiny
  model_path: tiny.onnx
  target_formats: [onnx]
  onnx_opsets: [13, 14]
- model_name: saved
  model_path: saved
  target_formats: [onnx]
  onnx_opsets: [17]
"""
SLOW = """\
model_name: slow
model_path: slow.pt
target_formats: [onnx]
onnx_opsets: [17]
inputs: {x: {shape: [-1, 4], dtype: float32}}
outputs: {y: {shape: [-1, 4], dtype: float32}}
"""
HOSTILE = """\
model_name: hostile
model_path: hostile
target_formats: [onnx, tf-savedmodel]
onnx_opsets: [17]
"""


# Tokens where a job has them, each another one.
VARIABLES = {
    "INPUT_TOKEN": "ghs_input",
    "GITHUB_TOKEN": "ghs_variable",
    "ACTIONS_RUNTIME_TOKEN": "ghs_runtime",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "ghs_identity",
}
FILES = {
    "trial/trial/.git/config": "ghs_checkout",
    "trial/trial/other/.git/config": "ghs_nested",
    "_temp/git-credentials-1.config": "ghs_credentials",
    "_temp/_github_home/.npmrc": "ghs_home",
    "_temp/_github_workflow/event.json": '{"key": "ghs_event"}',
}
IN_VARIABLES = set(VARIABLES.values())
IN_FILES = {"ghs_checkout", "ghs_nested", "ghs_credentials", "ghs_home", "ghs_event"}
SECRETS = tuple(f"{name}={token}" for name, token in VARIABLES.items())


def found(text: str) -> set[str]:
    """Return the tokens that a text holds."""
    return {token for token in IN_VARIABLES | IN_FILES if token in text}


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a small model of each source format, and the hostile ones."""
    directory = tmp_path_factory.mktemp("models")
    subprocess.run([sys.executable, HERE / "small_models.py", directory], check=True, capture_output=True)
    for kind, name in (("savedmodel", "hostile"), ("torchscript", "slow.pt")):
        subprocess.run([sys.executable, HERE / "hostile.py", kind, directory / name], check=True, capture_output=True)
    return directory


@dataclass
class Job:
    """A job of a runner: its directory, and the repository in it, which belongs to the runner's user."""

    work: Path
    tag: str

    @property
    def workspace(self) -> Path:
        return self.work / "trial" / "trial"

    @property
    def event(self) -> tuple[str, str]:
        return "--event", str(self.work / "_temp" / "_github_workflow" / "event.json")

    def write(self, name: str, text: str) -> None:
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self.own()

    def own(self) -> None:
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", "1001:1001", self.work], check=True)

    def start(self, *inputs: str, env: tuple[str, ...] = (), options: tuple[str, ...] = ()) -> "subprocess.Popen[str]":
        words = [word for pair in (*QUIET, *inputs) for word in ("--input", pair)]
        words += [word for pair in env for word in ("--env", pair)]
        return subprocess.Popen(
            [sys.executable, HERE / "like_runner.py", self.tag, self.work, *words, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *inputs: str, env: tuple[str, ...] = (), options: tuple[str, ...] = ()) -> tuple[int, str]:
        started = self.start(*inputs, env=env, options=options)
        output, _ = started.communicate(timeout=200)
        return started.returncode, output

    def file(self, name: str) -> str:
        """Return what the action wrote into a file of the runner."""
        files: dict[str, str] = json.loads((self.work / "files.json").read_text())
        return files[name]

    def outputs(self) -> dict[str, str]:
        written = re.findall(r"^(\w+)<<(\S+)\n(.*?)\n\2$", self.file("OUTPUT"), flags=re.MULTILINE | re.DOTALL)
        return {name: value for name, _, value in written}

    def strangers(self) -> list[str]:
        """Return what in the workspace does not belong to its owner."""
        owner = self.workspace.stat()
        return [
            str(path)
            for path in self.workspace.rglob("*")
            if (path.lstat().st_uid, path.lstat().st_gid) != (owner.st_uid, owner.st_gid)
        ]


Make = Callable[..., Job]


@pytest.fixture
def job(image: Callable[[str], str], models: Path, tmp_path: Path) -> Iterator[Make]:
    """Return a function that makes a job with the named models and a navigator.yaml in its repository."""
    made = Job(work=tmp_path / "work", tag="")

    def make(config: str, *names: str, target: str = "full") -> Job:
        made.tag = image(target)
        made.workspace.mkdir(parents=True)
        for name in names:
            subprocess.run(["cp", "-r", models / name, made.workspace], check=True)
        made.write("trial/trial/navigator.yaml", config)
        made.write("trial/trial/canary.txt", "canary")
        return made

    yield make
    made.own()


def test_the_image_says_where_it_comes_from(image: Callable[[str], str]) -> None:
    command = ["docker", "image", "inspect", "--format", "{{json .Config.Labels}}", image("slim")]
    labels = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    # The registry links the image with the repository by `source`.
    assert labels["org.opencontainers.image.source"] == "https://github.com/org/model-navigator"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.title"] == "Model Navigator"
    assert labels["org.opencontainers.image.description"]


def test_models_of_three_frameworks_are_converted(job: Make) -> None:
    here = job(MODELS, "tiny.onnx", "script.pt", "saved")
    code, log = here.run()
    assert code == 0, log
    outputs = here.outputs()
    assert (outputs["status"], outputs["exit_code"]) == ("success", "0")
    assert int(outputs["passed"]) == int(outputs["total"]) >= 4
    assert outputs["results_path"] == "navigator_workspace/convert_results.yaml"
    assert {each["model"] for each in json.loads(outputs["results"])} == {"tiny", "script", "saved"}
    assert (here.workspace / outputs["models_path"] / "saved" / "onnx_op17" / "model.onnx").is_file()
    assert "saved" in here.file("STEP_SUMMARY")
    assert here.strangers() == []
    assert not (here.workspace / "navigator_workspace" / ".scratch").exists()


def test_a_mismatch_is_exit_code_1(job: Make) -> None:
    here = job(f"models:\n{SCRIPT}  atol: 0\n  rtol: 0\n", "script.pt")
    code, log = here.run()
    assert code == 1, log
    assert here.outputs()["status"] == "failure"
    assert re.search(r"^::error .*script", log, flags=re.MULTILINE)
    assert here.strangers() == []


def test_nothing_fails_the_step_where_that_is_wanted(job: Make) -> None:
    here = job(SLOW.replace("slow.pt", "missing.pt"), target="slim")
    assert here.run("fail_on=never")[0] == 0


@pytest.mark.parametrize("command", ["validate", "convert"])
def test_a_wrong_configuration_is_exit_code_2_with_its_place(job: Make, command: str) -> None:
    here = job("model_name: tiny\nmodel_path: tiny.onnx\nonnx_opset: [13]\n", "tiny.onnx", target="slim")
    code, log = here.run(f"command={command}")
    assert code == 2, log
    assert re.search(r"^::error .*file=navigator.yaml,line=3", log, flags=re.MULTILINE)
    assert here.outputs()["status"] == "error"
    assert here.strangers() == []


def test_the_small_image_validates_and_plans_and_names_the_one_that_converts(job: Make) -> None:
    here = job(MODELS, "tiny.onnx", "script.pt", "saved", target="slim")
    code, log = here.run("command=validate")
    assert code == 0, log
    code, log = here.run("command=plan")
    assert code == 0, log
    assert json.loads(here.outputs()["matrix"])["include"]
    code, log = here.run("fail_on=never")
    assert code == 0, log
    # Nobody can install anything in an image.
    assert "use an image that includes it: the action org/model-navigator instead of org/model-navigator/slim" in log
    assert "pip install" not in log


def test_the_workspace_is_where_the_variable_says(job: Make) -> None:
    here = job("model_name: tiny\nmodel_path: tiny.onnx\ntarget_formats: [onnx]\nonnx_opsets: [14]\n", "tiny.onnx")
    code, log = here.run(options=("--same-paths",))
    assert code == 0, log
    assert (here.workspace / "navigator_workspace" / "convert_results.yaml").exists()
    assert here.strangers() == []


def test_cancelled_a_job_keeps_its_results_and_nobody_saw_a_token(job: Make) -> None:
    """The runner sends SIGINT, and kills 10 s later. Meanwhile someone with the engine's user looks around."""
    here = job(SLOW, "slow.pt")
    for name, token in FILES.items():
        here.write(name, token)
    with here.start(env=SECRETS, options=here.event) as running:
        container = _container(running)
        try:
            _wait_for(lambda: "reference" in _names(here.workspace / "navigator_workspace" / "logs" / "slow"))
            as_engine = _probe(container, "65531")
            as_root = _probe(container, "0")
            running.send_signal(signal.SIGINT)
            log, _ = running.communicate(timeout=30)
        finally:
            subprocess.run(["docker", "rm", "--force", container], check=False, capture_output=True)
    assert running.returncode != 0
    # All is told before the runner's second signal, which comes after 7.5 s.
    assert re.findall(r"##\[signal\](\w+)", log) == ["SIGINT"]
    assert here.outputs()["status"] == "cancelled"
    assert "cancelled" in here.file("STEP_SUMMARY")
    results = (here.workspace / "navigator_workspace" / "convert_results.yaml").read_text()
    assert "complete: false" in results
    assert here.strangers() == []

    assert "canary" in as_engine["seen"]
    assert found(as_engine["seen"]) == set()
    assert as_engine["writable"] == []
    assert not as_engine["docker"]
    # The same eyes see more as root: files, Docker. What the first process knows is closed to it too.
    assert found(as_root["seen"]) == IN_FILES
    assert as_root["docker"]
    assert found(log) == set()


def test_a_process_that_hides_nothing_is_seen(image: Callable[[str], str]) -> None:
    """The control of the test above: the same probe, in a container whose first process does nothing for its tokens."""
    command = ["docker", "run", "--rm", "--detach", *(word for pair in SECRETS for word in ("-e", pair))]
    command += ["--entrypoint", "sleep", image("slim"), "60"]
    container = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    try:
        seen = _probe(container, "0")["seen"]
    finally:
        subprocess.run(["docker", "kill", container], check=True, capture_output=True)
    assert found(seen) == IN_VARIABLES


def test_a_hostile_model_finds_no_token(job: Make) -> None:
    here = _with_tokens(job)
    code, log = here.run(env=SECRETS, options=here.event)
    assert code == 1, log
    looked = (here.workspace / "navigator_workspace" / "logs" / "hostile" / "source.reference.log").read_text()
    assert "navigator.workers" in looked.partition("loot: ")[2], "it found the command lines of processes"
    assert "canary" not in looked
    assert not (here.workspace / "navigator_workspace" / "loot.txt").exists()
    assert _leaked(here) == set()
    assert found(log) == set()
    assert found(here.file("OUTPUT") + here.file("STEP_SUMMARY")) == set()


def test_the_hostile_model_finds_every_token_without_protection(job: Make) -> None:
    """The control of the test above: the same model in TensorFlow alone, as root, among the tokens."""
    here = _with_tokens(job)
    loaded = "import tensorflow as tf\nmodel = tf.saved_model.load('hostile').signatures['serving_default']\n"
    here.write("trial/trial/bare.py", f"{loaded}model(x=tf.zeros([1, 4]))\n")
    bare = ("--entrypoint", "/usr/local/bin/python bare.py")
    here.run(env=SECRETS, options=(*bare, *here.event))
    assert _leaked(here) == IN_VARIABLES | IN_FILES


@pytest.mark.parametrize(
    ("trap", "said"),
    [
        ("os.mkfifo(results)", "not a regular file"),
        ("os.symlink('/github/workspace/.git/config', results)", "a symbolic link or behind one"),
    ],
)
def test_results_that_a_model_put_in_place_of_the_engines(job: Make, trap: str, said: str) -> None:
    here = job("model_name: tiny\nmodel_path: tiny.onnx\ntarget_formats: [onnx]\n", "tiny.onnx", target="slim")
    here.write("trial/trial/.git/config", "ghs_checkout")
    here.write("trial/trial/stand-in/navigator/__init__.py", "")
    results = "results = 'navigator_workspace/convert_results.yaml'"
    here.write("trial/trial/stand-in/navigator/__main__.py", f"import os\n{results}\n{trap}\n")
    code, log = here.run(env=("PYTHONPATH=/github/workspace/stand-in",))
    assert code == 2, log
    assert f"convert_results.yaml: not a results file: {said}" in log
    assert found(log) == set()


def _with_tokens(job: Make) -> Job:
    here = job(HOSTILE, "hostile")
    for name, token in FILES.items():
        here.write(name, token)
    return here


def _leaked(here: Job) -> set[str]:
    """Return the tokens that are somewhere in what a run leaves behind."""
    leaked = set()
    for path in (here.workspace / "navigator_workspace").rglob("*"):
        if path.is_file():
            leaked |= found(path.read_bytes().decode("latin-1"))
    return leaked


def _container(running: "subprocess.Popen[str]") -> str:
    assert running.stdout is not None
    first = running.stdout.readline()
    name = re.search(r"--name (\S+)", first)
    assert name is not None, first
    return name[1]


def _names(directory: Path) -> str:
    return " ".join(path.name for path in directory.glob("*"))


def _wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not begin to convert")


def _probe(container: str, user: str) -> dict[str, Any]:
    """Look around in a container as a user, with the rights that containers have."""
    command = ["docker", "exec", "--interactive", "--user", user, container, "python", "-I", "-"]
    program = (HERE / "probe.py").read_text()
    ran = subprocess.run(command, input=program, capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(ran.stdout)
    return answer
