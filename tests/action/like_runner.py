"""Runs an image as GitHub's runner runs a container action: `python like_runner.py IMAGE WORK [--input NAME=VALUE]`.

Arguments, mounts, variables and their paths follow actions/runner: ContainerActionHandler.cs and
DockerCommandManager.cs. The workspace is WORK/trial/trial. Once this process gets SIGINT, the docker client gets what
the runner sends it when a job is cancelled. What the action wrote into the runner's files is written to
WORK/files.json; the exit code is the action's.
"""
# ruff: noqa: T201 - a command of its own

import argparse
import json
import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import yaml

ACTION = Path(__file__).parents[2] / "action.yml"
FILES = {
    "PATH": "add_path_",
    "ENV": "set_env_",
    "STEP_SUMMARY": "step_summary_",
    "STATE": "save_state_",
    "OUTPUT": "set_output_",
}
REPOSITORY = "me/trial"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image")
    parser.add_argument("work", type=Path)
    parser.add_argument("--input", action="append", default=[])
    parser.add_argument("--env", action="append", default=[])
    parser.add_argument("--event", type=Path)
    parser.add_argument("--event-name", default="push")
    parser.add_argument("--network")
    parser.add_argument("--same-paths", action="store_true", help="mount everything where it is, as act does")
    parser.add_argument("--entrypoint", help="instead of the image's own: a program and its arguments")
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    workspace, temp = work / "trial" / "trial", work / "_temp"
    mounts = {
        temp: "/github/runner_temp",
        temp / "_github_home": "/github/home",
        temp / "_github_workflow": "/github/workflow",
        temp / "_runner_file_commands": "/github/file_commands",
        workspace: "/github/workspace",
    }
    if arguments.same_paths:
        mounts = {path: str(path) for path in mounts}
    owner = workspace.stat()
    for directory in mounts:
        directory.mkdir(parents=True, exist_ok=True)
        os.chown(directory, owner.st_uid, owner.st_gid)
    (temp / "_github_workflow" / "event.json").write_text(arguments.event.read_text() if arguments.event else "{}")
    files = {name: temp / "_runner_file_commands" / f"{prefix}{uuid.uuid4()}" for name, prefix in FILES.items()}
    for path in files.values():
        path.touch()
    environment = _inputs(arguments.input) | _variables(work, files, arguments.event_name)
    environment |= dict(pair.split("=", 1) for pair in arguments.env)
    environment = {name: _translated(value, mounts) for name, value in environment.items()}

    name = f"{re.sub('[^a-zA-Z0-9]', '', arguments.image)}_{secrets.token_hex(3)}"
    command = ["docker", "run", "--name", name, "--label", "trial", "--workdir", mounts[workspace], "--rm"]
    for variable in environment:
        command += ["-e", variable]
    command += ["-e", "GITHUB_ACTIONS=true", "-e", "CI=true"]
    program, *rest = shlex.split(arguments.entrypoint or "") or [""]
    command += ["--entrypoint", program] if program else []
    command += ["--network", arguments.network] if arguments.network else []
    command += ["-v", "/var/run/docker.sock:/var/run/docker.sock"]
    for host, container in mounts.items():
        command += ["-v", f"{host}:{container}"]
    command += [arguments.image, *rest]
    print(f"##[command]{shlex.join(command)}", flush=True)
    code = _run(command, workspace, os.environ | environment)
    (work / "files.json").write_text(json.dumps({name: path.read_text() for name, path in files.items()}))
    return code


def _inputs(given: list[str]) -> dict[str, str]:
    declared = yaml.safe_load(ACTION.read_text())["inputs"]
    values = {name: str(declared[name].get("default", "")) for name in declared}
    values["token"] = ""  # its default is an expression that GitHub evaluates
    values |= dict(pair.split("=", 1) for pair in given)
    return {f"INPUT_{name.replace(' ', '_').upper()}": value for name, value in values.items()}


def _variables(work: Path, files: dict[str, Path], event_name: str) -> dict[str, str]:
    temp = work / "_temp"
    return {
        **{f"GITHUB_{name}": str(path) for name, path in files.items()},
        "HOME": str(temp / "_github_home"),
        "GITHUB_WORKSPACE": str(work / "trial" / "trial"),
        "GITHUB_EVENT_PATH": str(temp / "_github_workflow" / "event.json"),
        "GITHUB_EVENT_NAME": event_name,
        "GITHUB_REPOSITORY": REPOSITORY,
        "GITHUB_REPOSITORY_OWNER": REPOSITORY.partition("/")[0],
        "GITHUB_SHA": "0" * 40,
        "GITHUB_REF": "refs/heads/main",
        "GITHUB_REF_NAME": "main",
        "GITHUB_RUN_ID": "1",
        "GITHUB_RUN_NUMBER": "1",
        "GITHUB_RUN_ATTEMPT": "1",
        "GITHUB_JOB": "convert",
        "GITHUB_ACTION": "__self",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_API_URL": "https://api.github.com",
        "GITHUB_ACTOR": REPOSITORY.partition("/")[0],
        "GITHUB_WORKFLOW": "convert",
        "GITHUB_RETENTION_DAYS": "90",
        "RUNNER_OS": "Linux",
        "RUNNER_ARCH": "X64",
        "RUNNER_NAME": "runner",
        "RUNNER_ENVIRONMENT": "self-hosted",
        "RUNNER_TOOL_CACHE": str(work / "_tool"),
        "RUNNER_TEMP": str(temp),
        "RUNNER_WORKSPACE": str(work / "trial"),
    }


def _translated(value: str, mounts: dict[Path, str]) -> str:
    """Replace a host path at the beginning of a value, the deepest one that fits."""
    for host, container in sorted(mounts.items(), key=lambda item: -len(str(item[0]))):
        if value == str(host) or value.startswith(f"{host}/"):
            return container + value[len(str(host)) :]
    return value


def _run(command: list[str], directory: Path, environment: dict[str, str]) -> int:
    """Run the docker client; once cancelled, signal it as the runner does (ProcessInvoker.cs), and say so."""
    # It has a process group of its own: a terminal's Ctrl-C reaches us alone.
    with subprocess.Popen(command, cwd=directory, env=environment, process_group=0) as client:
        cancelled: list[int] = []
        signal.signal(signal.SIGINT, lambda number, _: cancelled.append(number))
        while client.poll() is None and not cancelled:
            try:
                return client.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
        for number, seconds in ((signal.SIGINT, 7.5), (signal.SIGTERM, 2.5), (signal.SIGKILL, None)):
            print(f"##[signal]{number.name}", flush=True)
            client.send_signal(number)
            try:
                return client.wait(seconds)
            except subprocess.TimeoutExpired:
                continue
        return client.wait()


if __name__ == "__main__":
    sys.exit(main())
