"""Landlock: a process gives up rights on files, TCP, signals and sockets, for itself and all that it starts, for good.

The system calls by their numbers, which are the same on all processors: the C library has no functions for them. See
landlock(7) and <linux/landlock.h>. Knows nothing of workers.
"""

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Iterable
from enum import IntFlag
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_BIND_TCP, _CONNECT_TCP = 1, 2
_SCOPE_ABSTRACT_UNIX_SOCKET, _SCOPE_SIGNAL = 1, 2

_LIBC = ctypes.CDLL(None, use_errno=True)


class Access(IntFlag):
    """Rights on files, by the kernel's numbers."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15

    READ = READ_FILE | READ_DIR
    WRITE = WRITE_FILE | TRUNCATE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER


_ALL = Access(2 * Access.IOCTL_DEV - 1)
_OF_FILES = Access.EXECUTE | Access.READ_FILE | Access.WRITE_FILE | Access.TRUNCATE | Access.IOCTL_DEV
# What each version of the interface added to the rights on files. The kernel refuses numbers that it doesn't know.
_SINCE = {2: Access.REFER, 3: Access.TRUNCATE, 5: Access.IOCTL_DEV}
_TCP_SINCE = 4
_SCOPES_SINCE = 6


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """Return the version of the kernel's interface; 0 if it has none, or keeps this process from it."""
    none, flags = ctypes.c_size_t(0), ctypes.c_uint32(_CREATE_RULESET_VERSION)
    return max(0, int(_LIBC.syscall(_CREATE_RULESET, None, none, flags)))


def restrict(rules: Iterable[tuple[Path, Access]]) -> int:
    """Take from this thread, and from all that it starts, every right on files but those that `rules` give.

    What's open stays open. TCP, and signals and abstract Unix sockets to other processes than those that this one
    starts, are taken away too, as far as the kernel knows how. The process must be unable to gain privileges
    (PR_SET_NO_NEW_PRIVS).

    Args:
        rules: files, or directories with all that is below them, and the rights on them; links are followed. What
            isn't there is left out.

    Returns:
        the version of the interface; 0: nothing was taken away.

    Raises:
        OSError: the kernel has Landlock, and refuses.
    """
    known = version()
    if known == 0:
        return 0
    handled = _ALL
    for since, right in _SINCE.items():
        if known < since:
            handled &= ~right
    wanted = _Ruleset(
        files=handled,
        network=_BIND_TCP | _CONNECT_TCP if known >= _TCP_SINCE else 0,
        scoped=_SCOPE_ABSTRACT_UNIX_SOCKET | _SCOPE_SIGNAL if known >= _SCOPES_SINCE else 0,
    )
    ruleset = _call(_CREATE_RULESET, ctypes.byref(wanted), ctypes.c_size_t(ctypes.sizeof(wanted)), ctypes.c_uint32(0))
    try:
        for path, rights in rules:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                _allow(ruleset, path, rights & handled)
        _call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)
    return known


def _allow(ruleset: int, path: Path, rights: Access) -> None:
    parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(parent).st_mode):
            rights &= _OF_FILES
        rule = _PathBeneath(allowed=rights, parent=parent)
        with contextlib.suppress(_NotOnDiskError):
            _call(
                _ADD_RULE,
                ctypes.c_int(ruleset),
                ctypes.c_int(_RULE_PATH_BENEATH),
                ctypes.byref(rule),
                ctypes.c_uint32(0),
            )
    finally:
        os.close(parent)


class _NotOnDiskError(OSError):
    """A file of the kernel's own, such as a pipe by its name in /proc, which needs no right."""


def _call(number: int, *arguments: object) -> int:
    result = int(_LIBC.syscall(number, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise (_NotOnDiskError if code == errno.EBADFD else OSError)(code, os.strerror(code))
    return result
