"""A filter of system calls that leaves a process without a network, for itself and all that it starts, for good.

No socket is made any more, or none but Unix sockets, and none is connected: Landlock knows TCP alone, and a network
namespace takes privileges that a container doesn't give. Pairs of connected sockets, which lead nowhere else, stay. See
seccomp(2), and <linux/filter.h> for the program.
"""

import ctypes
import errno
import os
import platform
from socket import AF_UNIX

_PR_SET_SECCOMP = 22
_MODE_FILTER = 2
_ALLOW = 0x7FFF0000
_FAIL = 0x00050000

_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_IF_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_IF_AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K
# Offsets in struct seccomp_data: of the call's number, the processor, and the lower half of the first argument.
_NUMBER, _ARCHITECTURE, _FAMILY = 0, 4, 16

# <linux/audit.h>, and the numbers of socket(2) and connect(2).
_PROCESSORS = {"x86_64": (0xC000003E, 41, 42), "aarch64": (0xC00000B7, 198, 203)}
_IO_URING_SETUP = 425  # its queues make sockets as well
_X32 = 0x40000000  # another set of numbers for the same calls
_NO_FAMILY = 0xFFFFFFFF

_LIBC = ctypes.CDLL(None, use_errno=True)


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("so", ctypes.c_uint8), ("else_", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("filter", ctypes.POINTER(_Instruction)))


def refuse_sockets(*, but_unix: bool) -> bool:
    """Let this thread, and all that it starts, make no socket and connect none: it's refused with EACCES.

    The process must be unable to gain privileges (PR_SET_NO_NEW_PRIVS).

    Args:
        but_unix: let it make Unix sockets. They can't be connected either.

    Returns:
        whether it was done: False on a processor that isn't known here, or a kernel without such filters.
    """
    if platform.machine() not in _PROCESSORS:
        return False
    architecture, socket, connect = _PROCESSORS[platform.machine()]
    steps = (
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_IF_EQUAL, 0, 8, architecture),  # a program for another processor has other numbers
        (_LOAD, 0, 0, _NUMBER),
        (_IF_AT_LEAST, 6, 0, _X32),
        (_IF_EQUAL, 5, 0, _IO_URING_SETUP),
        (_IF_EQUAL, 4, 0, connect),
        (_IF_EQUAL, 0, 2, socket),
        (_LOAD, 0, 0, _FAMILY),
        (_IF_EQUAL, 0, 1, AF_UNIX if but_unix else _NO_FAMILY),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _FAIL | errno.EACCES),
    )
    instructions = (_Instruction * len(steps))(*(_Instruction(*step) for step in steps))
    program = _Program(length=len(steps), filter=instructions)
    if _LIBC.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), ctypes.byref(program), 0, 0) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.EPERM):
        return False
    raise OSError(code, os.strerror(code))
