"""One container from its creation to its removal, with the two connections and threads that it is watched by.

It is started empty, gets its files while its interpreter starts, and runs `navigator.workers.docker.init`. Docker
removes it as soon as its lifeline breaks, also where this process was killed. Judges nothing.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Self

from navigator.plain_data import PlainDataError, parse_json
from navigator.records import Json
from navigator.workers.docker.attached import AttachedSocket, frames
from navigator.workers.docker.connection import CancelledError, ContainerError, explained, responses

if TYPE_CHECKING:
    from docker import APIClient

LABEL = "model-navigator.run"
CANCEL: Mapping[str, Json] = {"event": "cancel"}
USER = 65534
"""User and group id of a worker: "nobody", who owns nothing in an image."""

Events = queue.SimpleQueue[Mapping[str, Json]]

PROCESSES = 4096
"""How many processes and threads a container may have: frameworks start several for every core."""

_STDERR = 2
_REMOVAL_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerSpec:
    """What a container is made of.

    Args:
        image: id of the conversion image.
        command: what runs in it.
        environment: added to the image's own.
        memory_bytes: for everything in it together.
        gpu: UUID, or "".
        label: whose it is, to find it by.
        log_path: what it prints is appended here.
    """

    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    memory_bytes: int
    gpu: str
    label: str
    log_path: Path


class Container:
    """A running container. A context manager, at whose end it is removed.

    Args:
        api: connection to the daemon.
        spec: the container.
        events: gets what happens: what `init` tells, `exited` with `status`, `lost` with `detail`.

    Raises:
        ContainerError: it cannot be created or started.
    """

    def __init__(self, api: "APIClient", spec: ContainerSpec, events: Events) -> None:
        self._api = api
        self._gpu = spec.gpu
        self._log_path = spec.log_path
        self._events = events
        self._sockets: list[AttachedSocket] = []
        self._threads: list[threading.Thread] = []
        with explained("create a container"):
            self.id = str(_create(api, spec)["Id"])
        try:
            self._start()
        except BaseException:
            self._remove()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def put(self, archive: Iterator[bytes]) -> None:
        """Unpack an archive at /."""
        with explained("send files to a container"):
            self._api.put_archive(self.id, "/", archive)

    @contextlib.contextmanager
    def get(self, path: Path) -> Iterator[Iterable[bytes] | None]:
        """Give the archive of one path, or None if there is no such path."""
        from docker.errors import NotFound

        with responses(self._api):  # while Docker sends it cannot remove the container
            with explained(f"fetch {path} from a container"):
                try:
                    chunks = self._api.get_archive(self.id, str(path))[0]
                except NotFound:
                    chunks = None
            yield None if chunks is None else _each(chunks, path)

    def say(self) -> None:
        """Send a line down the lifeline: the first lets the task begin, the second ends the container."""
        with explained("reach a container"):
            self._sockets[0].sendall(b"\n")

    def expect(self, names: Iterable[str], seconds: float) -> Mapping[str, Json] | None:
        """Return the next event of some names, or one that means the end; or None after `seconds`.

        Raises:
            CancelledError: the run was cancelled.
            ContainerError: the daemon is gone.
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                event = self._events.get(timeout=min(left, 3600.0))
            except queue.Empty:
                continue
            if event["event"] == "cancel":
                raise CancelledError
            if event["event"] == "lost":
                raise ContainerError(
                    f"a container was lost: {event['detail']}", "make sure Docker runs, then run again"
                )
            if event["event"] in (*names, "exited", "import_failed"):
                return event
        return None

    def killed_for_memory(self) -> bool:
        """Return whether Docker says that the kernel killed something in it for its memory limit."""
        with contextlib.suppress(ContainerError), explained("inspect a container"):
            return bool(self._api.inspect_container(self.id)["State"].get("OOMKilled"))
        return False

    def finish(self) -> None:
        """End it and wait until all that it printed is in the log."""
        with contextlib.suppress(ContainerError):
            self.say()
        for thread in self._threads:
            thread.join(_REMOVAL_SECONDS)

    def _start(self) -> None:
        with explained("attach to a container"):
            # One for each direction, so that no two threads use a connection: TLS does not allow that.
            for streams in ({"stdin": 1, "stream": 1}, {"stdout": 1, "stderr": 1, "stream": 1}):
                self._sockets.append(AttachedSocket(self._api.attach_socket(self.id, params=streams)))
        for name, target in (("container-output", self._read), ("container-end", self._wait)):
            self._threads.append(threading.Thread(target=target, name=name, daemon=True))
            self._threads[-1].start()
        with explained(f"start a container with the GPU {self._gpu}" if self._gpu else "start a container"):
            self._api.start(self.id)

    def _read(self) -> None:
        """Copy what the container prints into the log and its events into the queue, until it ends."""
        line = b""
        with contextlib.suppress(OSError), self._log_path.open("ab", buffering=0) as log:
            for stream, data in frames(self._sockets[1]):
                if stream != _STDERR:
                    _append(log, data)
                    continue
                *lines, line = (line + data).split(b"\n")
                for each in lines:
                    self._take(each, log)
            _append(log, line)

    def _take(self, line: bytes, log: IO[bytes]) -> None:
        """Take a line of the standard error of `init`: an event, or what Python says when it cannot go on."""
        with contextlib.suppress(PlainDataError):
            event = parse_json(line)
            if isinstance(event, dict) and "event" in event:
                self._events.put(event)
                return
        _append(log, line + b"\n")

    def _wait(self) -> None:
        try:
            with explained("wait for a container"):
                status = self._api.wait(self.id, condition="next-exit")["StatusCode"]
            self._events.put({"event": "exited", "status": status})
        except ContainerError as error:
            self._events.put({"event": "lost", "detail": error.message})

    def _remove(self) -> None:
        """Remove it with its volumes, whatever it does. Docker may be at it already."""
        give_up = time.monotonic() + _REMOVAL_SECONDS
        while not self._is_removed() and time.monotonic() < give_up:
            time.sleep(0.01)
        for each in self._sockets:
            each.close()
        for thread in self._threads:
            thread.join(_REMOVAL_SECONDS)

    def _is_removed(self) -> bool:
        from docker.errors import APIError, DockerException, NotFound

        try:
            self._api.remove_container(self.id, v=True, force=True)
        except APIError as error:  # else "removal is already in progress"
            return isinstance(error, NotFound)
        except (DockerException, OSError):  # the daemon is gone, and will find the lifeline broken
            return True
        return True


def _create(api: "APIClient", spec: ContainerSpec) -> Mapping[str, Json]:
    """Create a container that has nothing but memory, processor, processes and, if asked for, one GPU."""
    from docker.types import DeviceRequest, Healthcheck, LogConfig

    host = api.create_host_config(
        auto_remove=True,
        network_mode="none",
        ipc_mode="private",
        mem_limit=spec.memory_bytes,
        memswap_limit=spec.memory_bytes,
        shm_size=max(spec.memory_bytes // 2, 2**20),  # what it holds counts as memory
        pids_limit=PROCESSES,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        init=False,  # `init` must be the first process
        log_config=LogConfig(type="none"),
        device_requests=[DeviceRequest(device_ids=[spec.gpu], capabilities=[["gpu"]])] if spec.gpu else None,
    )
    created: Mapping[str, Json] = api.create_container(
        spec.image,
        entrypoint=list(spec.command),
        environment=dict(spec.environment),
        user=f"{USER}:{USER}",
        working_dir="/",
        stdin_open=True,
        healthcheck=Healthcheck(test=["NONE"]),
        host_config=host,
        labels={LABEL: spec.label},
        use_config_proxy=False,
    )
    return created


def _append(log: IO[bytes], data: bytes) -> None:
    with contextlib.suppress(OSError):  # a full disk: the task goes on, as it does where it writes its log itself
        log.write(data)


def _each(chunks: Iterable[bytes], path: Path) -> Iterator[bytes]:
    with explained(f"fetch {path} from a container"):
        yield from chunks
