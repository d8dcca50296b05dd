"""The connection to the Docker daemon, and the sentences for what it says when it cannot do something.

Runs no container and builds no image. The SDK is imported when a connection is made: it costs 0.2 s.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from navigator.errors import ExitCode, NavigatorError

if TYPE_CHECKING:
    from docker import APIClient

# For one read or write of a socket, not for a call: Docker flushes gigabytes to a slow disk before it answers.
_TIMEOUT_SECONDS = 300
_TEXT_LIMIT = 500
_LOCAL = "or set launch_mode: local"

_NO_ROOM = "free up space on Docker's disk, for example with 'docker system prune'"
_NO_GPU = (
    "install the NVIDIA driver and the NVIDIA Container Toolkit on the Docker host (then run "
    "'nvidia-ctk runtime configure --runtime=docker' and restart Docker), or leave out conversions that need a GPU"
)
_NO_ACCESS = "check the image name, and log in to its registry with 'docker login'"
_NO_IMAGE = "fix container_version or framework_docker_image"
_NO_NETWORK = "check Docker's network and proxy, or load the image beforehand ('docker pull', 'docker load')"
# What to do next, by words in the daemon's or the registry's message; the first that fits.
_REMEDIES = (
    ("no space left on device", _NO_ROOM),
    *((words, _NO_GPU) for words in ("could not select device driver", "nvidia-container", "libnvidia-ml")),
    *((words, _NO_ACCESS) for words in ("denied", "unauthorized", "authentication", "credentials")),
    *((words, _NO_IMAGE) for words in ("manifest", "not found", "no such image", "invalid reference format")),
    *((words, _NO_NETWORK) for words in ("no such host", "refused", "timeout", "timed out", "unreachable")),
    *((words, _NO_NETWORK) for words in ("dial tcp", "tls: ", "x509: ", "eof")),
)


class ContainerError(NavigatorError):
    """Docker or an image cannot do what workers need. It fails what asked for it, never the run."""

    exit_code = ExitCode.FAILURE


class CancelledError(Exception):
    """The run was cancelled while something was waited for."""


@contextlib.contextmanager
def connection() -> "Iterator[APIClient]":
    """Connect to the daemon that DOCKER_HOST, the current Docker context or the usual socket leads to.

    Raises:
        ContainerError: the SDK is not installed, or no daemon answers.
    """
    try:
        import docker
    except ModuleNotFoundError as error:
        message = f"launch_mode is docker, but a Python package isn't installed: {error.name}"
        raise ContainerError(message, f"pip install docker, {_LOCAL}") from error
    try:
        client = docker.from_env(timeout=_TIMEOUT_SECONDS)
    except (docker.errors.DockerException, OSError, ValueError) as error:
        raise _unreachable(error) from error
    try:
        with responses(client.api):
            yield client.api
    finally:
        client.close()


@contextlib.contextmanager
def responses(api: "APIClient") -> Iterator[list[Any]]:
    """Give the list of the daemon's responses, as they begin, and close them all at the end.

    One that is left halfway would else go on: Docker builds, pulls and sends what nobody takes.
    """
    opened: list[Any] = []

    def note(response: Any, **_: Any) -> None:
        opened.append(response)

    api.hooks["response"].append(note)
    try:
        yield opened
    finally:
        api.hooks["response"].remove(note)
        for response in opened:
            with contextlib.suppress(OSError, ValueError):  # a socket that was attached is closed
                response.close()


@contextlib.contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turn what the SDK raises into "cannot <doing>: …" with a remedy.

    Raises:
        ContainerError: instead of the SDK's and the network's exceptions.
    """
    from docker.errors import DockerException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (DockerException, HTTPError, OSError) as error:
        raise refused(doing, _text(error)) from error


def refused(doing: str, reason: str) -> ContainerError:
    """Return the error for what the daemon refused, with the remedy that its reason suggests."""
    lines = reason.strip().splitlines() or ["no reason given"]
    text = lines[0].strip().rstrip(".")
    text = text if len(text) <= _TEXT_LIMIT else f"{text[:_TEXT_LIMIT]}…"
    lower = reason.lower()
    for words, remedy in _REMEDIES:
        if words in lower:
            return ContainerError(f"can't {doing}: {text}", remedy)
    return ContainerError(f"can't {doing}: {text}", "make sure 'docker info' works, then run again")


def _text(error: Exception) -> str:
    """Return the daemon's own words, or what the operating system says about the connection."""
    explanation = getattr(error, "explanation", None)
    if isinstance(explanation, bytes):
        explanation = explanation.decode(errors="replace")
    if explanation:
        return str(explanation)
    cause = _system_error(error)
    if cause is not None and cause is not error:
        return f"Docker stopped answering: {cause.strerror}"
    return str(error) or type(error).__name__


def _unreachable(error: Exception) -> ContainerError:
    where = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    cause = _system_error(error)
    if isinstance(cause, PermissionError):
        message = f"this user isn't allowed to use the Docker daemon at {where}"
        return ContainerError(message, f"add the user to the docker group, {_LOCAL}")
    reason = (cause.strerror or str(cause)).lower() if cause is not None else str(error)
    message = f"the Docker daemon at {where} isn't reachable: {reason}"
    return ContainerError(message, f"start Docker, set DOCKER_HOST to its address, {_LOCAL}")


def _system_error(error: BaseException) -> OSError | None:
    """Return the operating system's error that the SDK wrapped, in causes and in arguments, or None."""
    pending: list[Any] = [error]
    for each in pending:  # grows meanwhile
        if isinstance(each, OSError) and each.errno is not None:
            return each
        if isinstance(each, BaseException) and len(pending) < 100:
            pending += [*each.args, each.__cause__, each.__context__]
    return None
