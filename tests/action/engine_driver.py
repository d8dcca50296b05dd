"""Runs the engine in its sandbox, as the action does: `python engine_driver.py [INPUT=VALUE ...] -- ARGUMENTS`.

The working directory is the workspace and holds navigator.yaml. The variables are the job's; it's a push to the default
branch, or a pull request whose number is PULL_REQUEST. The last line says how the engine ended, as JSON. If UNLENT is
set, there is no sandbox and the engine runs as this process's user.
"""
# ruff: noqa: T201 - a command of its own

import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path

from navigator import config
from navigator.action.cancellation import Cancellation
from navigator.action.engine_process import run_engine
from navigator.action.inputs import read_inputs
from navigator.action.job import Job
from navigator.action.sandbox import Identity, sandbox
from navigator.action.secrets import hide
from navigator.errors import NavigatorError
from navigator.github.event import Event


def event(pull_request: int) -> Event:
    """Return the event of a pull request, or of a push to the default branch if it's 0."""
    return Event(
        name="pull_request" if pull_request else "push",
        repository="octo/models",
        sha="a" * 40,
        pull_request=pull_request or None,
        fork=False,
        tag="",
        ref=f"refs/pull/{pull_request}/merge" if pull_request else "refs/heads/main",
        run_id=1,
        run_attempt=1,
        workflow="Models",
        job="convert",
        server_url="https://github.com",
        api_url="https://api.github.com",
        head_owner="",
        head_branch="",
        triggering_run=None,
        triggering_workflow="",
        default_branch="main",
    )


def main() -> int:
    split = sys.argv.index("--")
    inputs = {f"INPUT_{pair.partition('=')[0].upper()}": pair.partition("=")[2] for pair in sys.argv[1:split]}
    secrets, cancelled, workspace = hide(os.environ), Cancellation(), Path.cwd()
    job = Job(
        inputs=read_inputs(inputs),
        event=event(int(os.environ.get("PULL_REQUEST", 0))),
        secrets=secrets,
        environment=dict(os.environ),
        workspace=workspace,
        stream=sys.stdout,
    )
    with contextlib.ExitStack() as stack:
        if "UNLENT" in os.environ:
            identity = Identity(home=Path(stack.enter_context(tempfile.TemporaryDirectory())))
        else:
            run = config.load(Path("navigator.yaml"), {}, working_directory=workspace, allow_outside=True)
            try:
                identity = stack.enter_context(sandbox(run, job))
            except NavigatorError as error:
                print(error)
                return int(error.exit_code)
        ended = run_engine(sys.argv[split + 1 :], identity=identity, job=job, cancelled=cancelled)
    print(json.dumps({"code": ended.code, "last_words": ended.last_words, "cancelled": bool(cancelled)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
