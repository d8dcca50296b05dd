"""Workers in containers: the same calls as `navigator.workers.local.pool.ForkServer`, one container a task.

Prepares the image in the background and judges how a task ended by its result file. Shares no disk with a container:
what a task reads is sent, what it wrote is fetched, so that the daemon may be on another machine.
"""

import os
import queue
import secrets
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from navigator.frameworks.availability import CONTAINER_VARIABLE
from navigator.workers.child import REQUEST, RESULT
from navigator.workers.docker.archive import Upload, pack, unpack
from navigator.workers.docker.connection import CancelledError, ContainerError, connection
from navigator.workers.docker.container import CANCEL, USER, Container, ContainerSpec, Events
from navigator.workers.docker.image import ConversionImage, Framework
from navigator.workers.docker.prepare import Preparation
from navigator.workers.environment import worker_environment
from navigator.workers.request import RequestError, prepare, quote_log
from navigator.workers.task import Exit, ExitReason, Task, TaskResult, TaskStatus, failed, judge

_HOME = Path("/tmp/model-navigator-worker")  # noqa: S108 - in the container, which nobody else uses
# An interpreter and NumPy from a disk that has never read them.
_START_SECONDS = 300.0
# How much later than the parent the first process of a container notices a deadline, in case there is no parent.
_SPARE_SECONDS = 60.0
_GRACE_SECONDS = 60.0

# What an image sets for itself, and how it says things.
_THE_IMAGES_OWN = frozenset({"PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV"})
_THE_IMAGES_OWN_PREFIXES = ("CUDA_", "NVIDIA_", "LC_", "LANG")
# What changes results or helps to find a fault, though it begins like that.
_PASSED_ON = frozenset({"CUDA_LAUNCH_BLOCKING", "CUDA_MODULE_LOADING", "NVIDIA_TF32_OVERRIDE"})


class Containers:
    """Runs each task in a container of its own, which has no network and none of our disks. A context manager.

    Constructing returns at once: the image is pulled and built meanwhile, and tasks wait for it. An image that cannot
    be had is found out once: all later tasks fail with the same words.

    Args:
        image: the framework image, see `navigator.plan.planner.framework_image`.
        framework: whose image it is.
        directory: where `image.log` is written, with what the build prints; made if absent.
        rebuild: build the conversion image anew.
        tasks_module: module whose `TASKS` maps names to functions; the image must have it.
        environment: the variables that the allow-list picks from; None: this process's.
        on_progress: called with a sentence now and then while an image is pulled or built, in another thread.
    """

    def __init__(
        self,
        *,
        image: str,
        framework: Framework,
        directory: Path,
        rebuild: bool = False,
        tasks_module: str = "navigator.workers.tasks",
        environment: Mapping[str, str] | None = None,
        on_progress: Callable[[str], None] = lambda _sentence: None,
    ) -> None:
        self._log = directory.absolute() / "image.log"
        self._tasks_module = tasks_module
        self._environment = dict(os.environ if environment is None else environment)
        self._label = secrets.token_hex(16)
        self._running: dict[int, Events] = {}
        self._cancelled = False
        self._preparation = Preparation(image, framework, rebuild=rebuild, log_path=self._log, on_progress=on_progress)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def image(self) -> ConversionImage:
        """Return the conversion image; waits for it.

        Raises:
            ContainerError: it cannot be had.
            CancelledError: the run was cancelled.
        """
        return self._preparation.wait()

    def run(self, task: Task) -> TaskResult:
        """Run one task and return what became of it. Blocks; several threads may run tasks at the same time."""
        try:
            task, log_start = prepare(task)
        except RequestError as error:
            return failed(error)
        events: Events = queue.SimpleQueue()
        self._running[id(events)] = events
        try:
            return self._run(task, events, log_start)
        except CancelledError:
            return judge(task, Exit(reason=ExitReason.CANCELLED), log_start=log_start)
        except ContainerError as error:
            quote_log(task, error, self._log)
            return failed(error)
        finally:
            del self._running[id(events)]

    def cancel(self) -> None:
        """Kill all running containers; running and later tasks are `cancelled`. Safe in a signal handler."""
        self._cancelled = True
        self._preparation.cancel()
        for events in tuple(self._running.values()):
            events.put(CANCEL)

    def close(self) -> None:
        """Cancel what still runs, and wait until no container is left."""
        self.cancel()
        self._preparation.close()
        give_up = time.monotonic() + _GRACE_SECONDS
        while self._running and time.monotonic() < give_up:
            time.sleep(0.01)

    def _check(self) -> None:
        if self._cancelled:
            raise CancelledError

    def _run(self, task: Task, events: Events, log_start: int) -> TaskResult:
        image = self._preparation.wait()
        self._check()
        seconds = task.timeout_seconds + _SPARE_SECONDS
        once = ("-P", "-X", "faulthandler", "-m", "navigator.workers.docker.init")
        spec = ContainerSpec(
            image=image.id,
            command=("python3", *once, self._tasks_module, str(task.directory), f"{seconds:g}"),
            environment=_environment(self._environment, task),
            memory_bytes=task.memory_limit_bytes,
            gpu=task.gpu,
            label=self._label,
            log_path=task.log_path,
        )
        with connection() as api, Container(api, spec, events) as container:
            ended, over_memory = self._watch(task, container)
        result = judge(task, ended, log_start=log_start)
        if over_memory and result.status is not TaskStatus.FINISHED:
            used = ended.used_bytes or task.memory_limit_bytes
            result = judge(task, replace(ended, reason=ExitReason.OUT_OF_MEMORY, used_bytes=used), log_start=log_start)
        if result.message.startswith("ModuleNotFoundError") and not result.remedy:
            result = replace(
                result, remedy=f"use a framework_docker_image that includes it; this one was {image.framework_image}"
            )
        return result

    def _watch(self, task: Task, container: Container) -> tuple[Exit, bool]:
        """Send a task's files, let it run, fetch what it made; return how it ended and whether it lacked memory."""
        directories = (task.directory, _HOME, _HOME / "tmp")
        reads = (task.directory / REQUEST, *task.reads)
        limit = max(task.timeout_seconds, _START_SECONDS)
        give_up = time.monotonic() + limit

        def check() -> None:
            self._check()
            if time.monotonic() > give_up:
                message = f"sending the files to the container took longer than {limit:g} s"
                raise ContainerError(message, "increase timeout_seconds")

        upload = Upload(reads=reads, writes=task.writes, directories=directories, owner=USER)
        container.put(pack(upload, check=check))
        event = container.expect(("ready",), _START_SECONDS)
        if event is None:
            detail = f"the container wasn't ready within {_START_SECONDS:g} s"
            return Exit(reason=ExitReason.SERVER_CRASHED, detail=detail), False
        began = time.monotonic()
        if event["event"] == "ready":
            container.say()
            event = container.expect(("ended",), task.timeout_seconds)
        seconds = time.monotonic() - began
        if event is None:
            return Exit(reason=ExitReason.TIMED_OUT, seconds=seconds), False
        if event["event"] == "import_failed":
            return Exit(reason=ExitReason.SERVER_FAILED, detail=str(event["detail"])), False
        if event["event"] == "exited":  # its first process was killed, from outside or for the memory of all
            code = int(event["status"])
            killed = code == 128 + signal.SIGKILL and container.killed_for_memory()
            return Exit(reason=ExitReason.EXITED, status=128 - code if code > 128 else code, seconds=seconds), killed
        ended = Exit(
            reason=ExitReason.EXITED,
            status=event["status"],
            seconds=event["seconds"],
            peak_bytes=event["peak_bytes"],
            used_bytes=event["used_bytes"] or task.memory_limit_bytes,
        )
        over_memory = event["oom_kills"] > 0 or (event["status"] == -9 and container.killed_for_memory())
        self._fetch(task, container)
        container.finish()
        return ended, over_memory

    def _fetch(self, task: Task, container: Container) -> None:
        """Fetch what a task wrote, its result last: with that, everything is there."""
        result = task.directory / f"{RESULT}.fetched"
        try:
            with container.get(task.directory / RESULT) as chunks:
                if chunks is None:
                    return
                unpack(chunks, result, name=RESULT, check=self._check)
            for path in task.writes:
                with container.get(path) as chunks:
                    if chunks is not None:
                        unpack(chunks, path, name=path.name, check=self._check)
            result.replace(task.directory / RESULT)
        finally:
            result.unlink(missing_ok=True)


def _environment(source: Mapping[str, str], task: Task) -> dict[str, str]:
    """Return what is added to an image's own environment."""
    allowed = {
        name: value
        for name, value in worker_environment(source).items()
        if name in _PASSED_ON or not (name in _THE_IMAGES_OWN or name.startswith(_THE_IMAGES_OWN_PREFIXES))
    }
    own = {"HOME": str(_HOME), "TMPDIR": str(_HOME / "tmp"), "USER": "nobody", "LOGNAME": "nobody"}
    own[CONTAINER_VARIABLE] = "1"
    # Images of NVIDIA's ask for all GPUs, which a daemon whose default runtime is NVIDIA's would give.
    gpu = {"NVIDIA_DRIVER_CAPABILITIES": "compute,utility"} if task.gpu else {"NVIDIA_VISIBLE_DEVICES": "void"}
    return allowed | own | gpu | dict(task.variables)
