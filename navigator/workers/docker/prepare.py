"""A conversion image that is prepared in the background, once: tasks that need it wait, and all get the same answer."""

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from navigator.errors import remedy
from navigator.workers.docker.connection import CancelledError, ContainerError, connection, explained, responses
from navigator.workers.docker.container import LABEL
from navigator.workers.docker.image import ConversionImage, Framework, prepare

if TYPE_CHECKING:
    from docker import APIClient

# Docker ends a container whose starter is gone, except one that was created and, in that very moment, not started.
_STILLBORN_SECONDS = 600.0
_GRACE_SECONDS = 10.0


class Preparation:
    """The image and the thread that prepares it. Arguments as of `navigator.workers.docker.pool.Containers`."""

    def __init__(
        self, image: str, framework: Framework, *, rebuild: bool, log_path: Path, on_progress: Callable[[str], None]
    ) -> None:
        self._image = image
        self._framework = framework
        self._rebuild = rebuild
        self._log_path = log_path
        self._on_progress = on_progress
        self._cancelled = False
        self._result: ConversionImage | ContainerError | None = None
        self._opened: list[Any] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="conversion-image", daemon=True)
        self._thread.start()

    def wait(self) -> ConversionImage:
        """Return the image as soon as it is there.

        Raises:
            ContainerError: it cannot be had.
            CancelledError: the run was cancelled.
        """
        while not self._done.wait(0.1):
            if self._cancelled:
                raise CancelledError
        if isinstance(self._result, ContainerError):
            # A new one: each that is raised gets a trace of its own.
            raise ContainerError(self._result.message, self._result.hint)
        if self._result is None:
            raise CancelledError
        return self._result

    def cancel(self) -> None:
        """Stop as soon as the daemon says something. Safe in a signal handler."""
        self._cancelled = True

    def close(self) -> None:
        """Stop now, and wait until that is done."""
        self._cancelled = True
        # A pull or a build may be silent for minutes. (urllib3 2.3 and newer; else it ends with this process.)
        with contextlib.suppress(AttributeError, IndexError, OSError, RuntimeError, ValueError):
            self._opened[-1].raw.shutdown()
        self._thread.join(_GRACE_SECONDS)

    def _run(self) -> None:
        try:
            self._log_path.parent.mkdir(parents=True, exist_ok=True)
            with self._log_path.open("ab") as log, connection() as api:
                with responses(api) as self._opened:
                    self._result = prepare(
                        api,
                        self._image,
                        self._framework,
                        rebuild=self._rebuild,
                        log=log,
                        on_progress=self._on_progress,
                        check=self._check,
                    )
                _bury(api)
        except CancelledError:
            pass
        except ContainerError as error:
            self._result = None if self._cancelled else error
        except OSError as error:
            self._result = ContainerError(f"can't write {self._log_path}: {error.strerror}", remedy(error))
        except Exception as error:  # noqa: BLE001 - nobody may be left waiting, whatever it is
            message = f"can't prepare the image {self._image}: {type(error).__name__}: {error}"
            self._result = ContainerError(message, "internal error (please report it)")
        finally:
            self._done.set()

    def _check(self) -> None:
        if self._cancelled:
            raise CancelledError


def _bury(api: "APIClient") -> None:
    """Remove containers of earlier runs that were killed between creating and starting one."""
    with contextlib.suppress(ContainerError), explained("look for old containers"):
        for each in api.containers(all=True, filters={"label": LABEL, "status": "created"}):
            if time.time() - each["Created"] > _STILLBORN_SECONDS:
                api.remove_container(each["Id"], v=True, force=True)
