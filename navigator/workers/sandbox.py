"""What a worker may do once its task is known: read what the task reads, write what it writes, and reach nobody.

Models are code, of the same user as the engine: one must not write into another's results, or into its own reference.
The restriction begins in the forked child before anything of a model is read, and never ends.
"""

import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from navigator.workers import landlock, processes, seccomp
from navigator.workers.landlock import Access

_PACKAGE = Path(__file__).resolve().parents[1]

# The system's own files: programs, libraries, settings, and what the kernel tells.
_SYSTEM = (
    *("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/opt", "/nix", "/run/opengl-driver"),
    *("/etc", "/proc", "/sys"),
)
_DEVICES = ("null", "zero", "full", "random", "urandom")
# A GPU of NVIDIA's: of a computer, of a Jetson board, and of Windows with WSL.
_GPU_DEVICES = ("nvidia*", "nvhost*", "nvmap", "nvgpu", "dxg", "dri")
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - also how the CUDA driver shares memory with itself

_SCRATCH = Access.READ | Access.WRITE | Access.MAKE_SYM | Access.MAKE_SOCK | Access.MAKE_FIFO
_DEVICE = Access.READ_FILE | Access.WRITE_FILE | Access.IOCTL_DEV
# The first version that keeps a process from emptying files that it may not write.
_WHOLE = 3


def shortcoming() -> str:
    """Return what this machine's kernel doesn't offer, as a note for the report, or ""."""
    version = landlock.version()
    if version == 0:
        return "this kernel has no Landlock (Linux 5.13): models run without a sandbox of their own"
    if version < _WHOLE:
        return "this kernel's Landlock can't keep models from emptying files of yours: use Linux 6.2 or newer"
    return ""


def enter(directory: Path, log: Path, reads: Iterable[Path], writes: Iterable[Path], *, gpu: bool) -> None:
    """Restrict this process, which must have a single thread, as far as the kernel offers it.

    Temporary files and what libraries keep for their user get a place of their own below `directory`.

    Args:
        directory: the task's own, which it may write.
        log: its log, which is open already.
        reads: files and directories that it may read.
        writes: those that it may write. If one isn't there, the directory that it's to be in.
        gpu: whether it may use GPUs.

    Raises:
        OSError: the kernel refuses, though it can; or the disk is full.
    """
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home() fails for a user who has none
    libraries = tuple(_libraries(directory, home))
    own = directory / "tmp"
    own.mkdir(exist_ok=True)
    os.environ.update({"TMPDIR": str(own), "HOME": str(own), "XDG_CACHE_HOME": str(own / ".cache")})
    tempfile.tempdir = None  # a library may have asked before
    processes.renounce_privileges()
    processes.keep_capabilities_of_files()
    rules = [
        *((path, Access.READ | Access.EXECUTE) for path in libraries),
        *((Path("/dev", name), _DEVICE) for name in _DEVICES),
        *((path, _DEVICE | Access.READ_DIR) for path in (_gpu_devices() if gpu else ())),
        (Path("/dev"), Access.READ_DIR),
        (_SHARED_MEMORY, Access.READ | Access.WRITE),
        # CUDA doesn't start unless it can name its threads.
        (Path("/proc/self"), Access.READ | Access.WRITE_FILE | Access.TRUNCATE),
        (log, Access.WRITE_FILE),
        *((path, Access.READ) for path in reads),
        *((path if path.exists() else path.parent, Access.READ | Access.WRITE) for path in (directory, *writes)),
        (own, _SCRATCH),
    ]
    landlock.restrict(rules)
    seccomp.refuse_sockets(but_unix=gpu)  # CUDA makes one, on which it listens


def _libraries(workspace: Path, home: Path) -> Iterator[Path]:
    """Yield where programs and libraries are: of the system, and of this Python.

    What they share a directory with isn't theirs: a workspace may lie in /opt, where some install their runner, and a
    path of PYTHONPATH may lead to the user's home, or to a checkout of this package.
    """
    workspace, home = workspace.resolve(), home.resolve()
    for path in map(Path, _SYSTEM):
        if not workspace.is_relative_to(path):
            yield path
        elif path.is_dir():
            yield from (each for each in path.iterdir() if not workspace.is_relative_to(each))
    prefixes = {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix}
    found = {*prefixes, *(f"{prefix}/{name}" for prefix in prefixes for name in ("bin", "lib", "lib64"))}
    found |= {*sys.path, *os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep), *_loaded()}
    found |= {os.environ.get(name, "") for name in ("CUDA_HOME", "CUDA_PATH")}
    for path in (Path(each).resolve() for each in found if each):
        is_checkout = path == _PACKAGE.parent and path.name not in ("site-packages", "dist-packages")
        if not (is_checkout or workspace.is_relative_to(path) or home.is_relative_to(path)):
            yield path
    yield _PACKAGE


def _loaded() -> set[str]:
    """Return the directories of shared libraries in use, since some load others from there later."""
    return set(re.findall(r"(/.*)/[^/\n]*\.so\b", Path("/proc/self/maps").read_text(errors="replace")))


def _gpu_devices() -> Iterator[Path]:
    for pattern in _GPU_DEVICES:
        yield from Path("/dev").glob(pattern)
