"""What Linux tells about processes and does to them, beyond the standard library. Decides nothing."""

import contextlib
import ctypes
import os
import resource
import signal
import time
from pathlib import Path

# <linux/prctl.h>
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38

# <linux/capability.h>
_CAPABILITY_VERSION_3 = 0x20080522
# Root may open, own and change files as before: CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER.
_OF_FILES = 0b1111

_LIBC = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Make orphaned descendants of this process its children, instead of those of process 1."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent, process `parent`, dies."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the call
        os.kill(os.getpid(), signal.SIGKILL)


def become_undumpable() -> None:
    """Close this process's memory and /proc/<pid>/environ to all who lack CAP_SYS_PTRACE, its own user among them."""
    _prctl(_PR_SET_DUMPABLE, 0)


def renounce_privileges() -> None:
    """Let nothing that this thread starts from now on gain privileges, by set-user-ID programs for example."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def keep_capabilities_of_files() -> None:
    """Give up what root may do beside opening files: look into other processes, load modules, mount, and so on.

    Raises:
        OSError: the kernel refuses.
    """
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    held = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice, for numbers below 32 and above
    if _LIBC.capget(header, held) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    kept = [each & _OF_FILES if number < 2 else 0 for number, each in enumerate(held)]
    if _LIBC.capset(header, (ctypes.c_uint32 * 6)(*kept)) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def be_first_victim() -> None:
    """Let the kernel choose this process first when memory runs out, and write no core file when it crashes."""
    with contextlib.suppress(OSError):  # some sandboxes have no such file
        Path("/proc/self/oom_score_adj").write_text("1000")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def children(pid: int) -> list[int]:
    """Return the child processes of `pid`, zombies among them; [] if it is gone.

    For the calling process the list is exact; for another one that forks and reaps meanwhile it may miss some.
    """
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - called ten times a second and task; three times as fast
    except OSError:
        return found
    for thread in threads:
        with contextlib.suppress(OSError):
            found += [int(child) for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split()]
    return found


def tree(pid: int) -> list[int]:
    """Return `pid` and all its descendants."""
    found = [pid]
    for each in found:
        found += children(each)
    return found


def resident_bytes(pids: list[int]) -> int:
    """Return an upper bound of the memory that processes hold: anonymous and shared-memory pages.

    Pages shared between them, or with the process that they were forked from, count in each. Pages of files do not
    count: the kernel drops them when it needs the room. 0.1 ms a process, whatever its size.
    """
    return sum(_kibibytes(f"/proc/{pid}/status", ("RssAnon:", "RssShmem:")) for pid in pids) * 1024


def proportional_bytes(pids: list[int]) -> int:
    """Return the same memory with every shared page divided among those that share it.

    The kernel walks all pages: 5 ms for a process that imported TensorFlow, and more with every GiB.
    Where the kernel does not offer it, the upper bound.
    """
    total = 0
    for pid in pids:
        path = f"/proc/{pid}/smaps_rollup"
        total += _kibibytes(path, ("Pss_Anon:", "Pss_Shmem:")) or _kibibytes(
            f"/proc/{pid}/status", ("RssAnon:", "RssShmem:")
        )
    return total * 1024


def kill_marked(entry: str) -> None:
    """Kill every process whose environment at its start held `entry` ("NAME=value"), until none is left.

    Its parent cannot be asked for them any more: used after a server was killed. Gives up after some rounds on
    processes that the kernel cannot end.
    """
    for _ in range(50):
        found = _marked(entry.encode())
        if not found:
            return
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _marked(entry: bytes) -> list[int]:
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit() and int(directory.name) != os.getpid():
            with contextlib.suppress(OSError):  # gone, or another user's
                if entry in (directory / "environ").read_bytes().split(b"\0"):
                    found.append(int(directory.name))
    return found


def _kibibytes(path: str, keys: tuple[str, ...]) -> int:
    total = 0
    with contextlib.suppress(OSError), Path(path).open() as lines:
        for line in lines:
            if line.startswith(keys):
                total += int(line.split()[1])
    return total


def _prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl({option}): {os.strerror(code)}")
