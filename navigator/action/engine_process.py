"""Runs `model-navigator convert` as another user, without a token, and shows what it says.

Whatever the engine and its models do, this process goes on: it reads lines, waits for an exit code and kills. Does
not read results.
"""

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from navigator.action.cancellation import Cancellation
from navigator.action.job import Job
from navigator.action.sandbox import Identity
from navigator.cache.layers import LAYER_VARIABLE
from navigator.errors import ExitCode
from navigator.github.commands import commands_disabled
from navigator.workers import processes
from navigator.workers.ending import describe_status
from navigator.workers.environment import is_secret, worker_environment

# A cancelled job has 7.5 s until the runner's next signal: the rest is for telling the results.
_GRACE_SECONDS = 3.0
# What was killed and does not end hangs in the kernel (a driver, a dead network disk).
_UNKILLABLE_SECONDS = 1.0
_LINE_BYTES = 64 * 1024
_LAST_LINES = 5
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineExit:
    """How the engine ended: its exit code (128 + the number where a signal ended it), and the end of its output."""

    code: int
    last_words: str

    @property
    def reason(self) -> str:
        """How it ended, in words."""
        how = describe_status(128 - self.code if self.code > 128 else self.code)
        return f"the engine was {how}" if how.startswith("killed") else f"the engine {how}"


def run_engine(
    arguments: Sequence[str],
    *,
    identity: Identity,
    job: Job,
    cancelled: Cancellation,
    variables: Mapping[str, str] | None = None,
) -> EngineExit:
    """Run `model-navigator` with `arguments` and show its output in the job's log, where it cannot be a command.

    Once the job is cancelled, the engine is interrupted and has 3 s to write its results. When this returns, nothing
    that it started runs any more.

    Args:
        arguments: the command line, beginning with the verb.
        identity: as whom it runs; see `navigator.action.sandbox.sandbox`.
        job: the working directory, the variables to choose from, and the log.
        cancelled: the job's cancellation.
        variables: further environment variables.
    """
    # Whatever leaves its parent and its session then becomes our child.
    processes.become_subreaper()
    processes.renounce_privileges()
    before = processes.children(os.getpid())
    process = subprocess.Popen(
        # -P: no file of the working directory is a module. Not -I: PYTHONPATH leads to what is not installed.
        [sys.executable, "-P", "-m", "navigator", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=job.workspace,
        env=_environment(identity, job) | dict(variables or {}),
        user=identity.uid,
        group=identity.gid,
        extra_groups=identity.groups,
        start_new_session=True,
    )
    with commands_disabled(job.stream) as write:
        relay = _Relay(process, lambda text: write(job.text(text)))
        try:
            relay.until_end(cancelled)
        finally:
            _end_descendants(process, before)
            relay.rest()
    code = process.returncode if process.returncode is not None else -signal.SIGKILL
    if cancelled:
        code = ExitCode.CANCELLED
    return EngineExit(code=code if code >= 0 else 128 - code, last_words="\n".join(relay.last_lines))


def _environment(identity: Identity, job: Job) -> dict[str, str]:
    """Return what a worker may see; with `docker: true` also where Docker is, and the proxies that its builds need.

    A rehearsal installs packages, so it's told of indexes and proxies. The runner's HOME holds what earlier steps
    logged in with.
    """
    allowed = worker_environment(job.environment)
    if job.inputs.command == "rehearse":
        allowed |= {name: value for name, value in job.environment.items() if _is_for_installing(name, value)}
    if job.inputs.docker:
        names = (name for name in job.environment if name.startswith("DOCKER_") or name.lower().endswith("_proxy"))
        allowed |= {name: job.environment[name] for name in names if not is_secret(name)}
    own = {"HOME": str(identity.home), "TMPDIR": str(identity.home), LAYER_VARIABLE: job.event.cache_layer}
    return allowed | own


def _is_for_installing(name: str, value: str) -> bool:
    """Tell whether a variable is pip's, uv's or a proxy's, without a password that a model could read."""
    wanted = name.startswith(("PIP_", "UV_")) or name.lower().endswith("_proxy") or name in _CERTIFICATES
    return wanted and not is_secret(name) and not re.search(r"://[^/\s]*@", value)


class _Relay:
    """What a process writes, handed on in lines."""

    def __init__(self, process: subprocess.Popen[bytes], write: Callable[[str], None]) -> None:
        assert process.stdout is not None
        self._process = process
        self._output = process.stdout
        self._write = write
        self._unfinished = b""
        self.last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        os.set_blocking(self._output.fileno(), False)

    def until_end(self, cancelled: Cancellation) -> None:
        """Relay until the process has ended, even if something else holds its output open."""
        ended = os.pidfd_open(self._process.pid)
        waiting: list[Any] = [self._output, ended, cancelled]
        give_up: float | None = None
        try:
            while True:
                patience = None if give_up is None else max(0.0, give_up - time.monotonic())
                ready, _, _ = select.select(waiting, [], [], patience)
                if cancelled in ready:
                    waiting.remove(cancelled)
                    self._process.terminate()
                    give_up = time.monotonic() + _GRACE_SECONDS
                if self._output in ready and not self._read():
                    waiting.remove(self._output)
                if ended in ready or (give_up is not None and time.monotonic() >= give_up):
                    return
        finally:
            os.close(ended)

    def rest(self) -> None:
        """Relay what is still in the pipe. Nobody writes any more."""
        while self._read():
            pass
        self._show([self._unfinished] if self._unfinished else [])
        self._output.close()

    def _read(self) -> bool:
        """Take what there is, and return whether there was anything."""
        try:
            data = os.read(self._output.fileno(), _LINE_BYTES)
        except BlockingIOError:
            return False
        *lines, self._unfinished = (self._unfinished + data).split(b"\n")
        if len(self._unfinished) > _LINE_BYTES:
            lines, self._unfinished = [*lines, self._unfinished], b""
        self._show(lines)
        return bool(data)

    def _show(self, lines: Sequence[bytes]) -> None:
        texts = [line.decode("utf-8", "replace") for line in lines]
        self.last_lines += [text for text in texts if text.strip()]
        self._write("".join(f"{text}\n" for text in texts))


def _end_descendants(process: subprocess.Popen[bytes], before: Collection[int]) -> None:
    """Kill the process and everything that it started. Only our own children are signalled; theirs then become ours."""
    process.kill()
    give_up = time.monotonic() + _UNKILLABLE_SECONDS
    while time.monotonic() < give_up:
        left = [pid for pid in processes.children(os.getpid()) if pid not in before]
        if not left:
            break
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if process.poll() is None:
            time.sleep(0.001)
        for pid in left:
            if pid != process.pid:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_UNKILLABLE_SECONDS)
