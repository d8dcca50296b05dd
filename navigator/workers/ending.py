"""How a process ended, in words, and the line of its log that says why. Starts, kills and judges nothing."""

import os
import re
import signal
from pathlib import Path

from navigator.safe_files import open_file
from navigator.workers.child import HEADER

_LOG_TAIL_BYTES = 16384
_LINE_LIMIT = 200

# What TensorFlow prints on every machine, above all on one without a GPU, and how to get more of a backtrace.
_NOISE = re.compile(
    r"[IW]\d{4} \d\d|E\d{4} .*cuInit|WARNING: All log messages before absl|note: run with `RUST_BACKTRACE"
)
_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

# Where a process crashed, not why: frames as glibc, absl and glog, PyTorch, LLVM, gdb, Rust and Python write them.
_FRAME = re.compile(
    r"""
    @\s | PC:\s@ | (frame\s)?\#\d+:?\s | \d+:\s+\S*0x[0-9a-f]+ | \d+:\s+[\w<][\w:<>]*$ | at\s\S+:\d+(:\d+)?$
    | \S*\(.*\)\s?\[0x[0-9a-f]+\]$ | \S+\s\[0x[0-9a-f]+\]$ | \[0x[0-9a-f]+\] | \[[\w.:-]+\]\s\[\s?\d+\]
    | File\s".*",\sline\s\d+ | <no\sPython\sframe> | (Current\sthread|Thread)\s0x | Extension\smodules:
    | \*\*\*\sSIG | \*\*\*\sCheck\sfailure\sstack\strace | \*\*\*\sBegin\sstack | \*\*\*\sEnd\sstack | \*{3}$
    | ([Ss]tack\s?(trace|dump)|([Ss]tack\s)?[Bb]acktrace)\b.*:?$ | \d+\.\s+Program\sarguments:
    | Exception\sraised\sfrom\s | Traceback\s\(most\srecent\scall\slast\)
    """,
    re.VERBOSE,
)

# What says why, whatever is printed after it.
_WHY = re.compile(
    r"""
    \s*what\(\):\s | terminate[ ]called | F\d{4}\s | .*\bCheck\sfailed:\s | .*\bAssertion\s.*\sfailed | LLVM\sERROR:
    | .*(free|malloc|realloc|munmap_chunk)\(\): | .*\b(double\sfree|stack\ssmashing\sdetected|corrupted\s)
    | .*\b(std::bad_alloc|[Oo]ut\sof\smemory|Cannot\sallocate\smemory|No\sspace\sleft\son\sdevice)\b
    | ==\d+==\s?ERROR: | Fatal\sPython\serror:
    """,
    re.VERBOSE,
)

# Python's dump of a crash begins with the signal, which is known; what it finds itself, it says there.
_DUMP = re.compile(
    r"Fatal Python error: (Segmentation fault|Aborted|Bus error|Floating point exception|Illegal instruction)"
)
_ANY_DUMP = re.compile(r"Fatal Python error: ")

# Signals that something else sends.
_SENT = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGXCPU, signal.SIGPIPE})
# A shell, and Docker, say by such an exit code that a signal ended what they ran.
_SIGNALS = range(129, 129 + 64)


def describe_status(status: int) -> str:
    """Return an exit code, or minus a signal's number, in words."""
    if status in _SIGNALS:
        return f"ended with exit code {status} ({describe_status(128 - status)})"
    if status >= 0:
        return f"ended with exit code {status}"
    if status == -signal.SIGKILL:  # not by us: then we know why
        return "killed by signal 9, most likely out of memory"
    try:
        name = signal.Signals(-status).name
    except ValueError:  # a real-time signal
        name = f"signal {-status}"
    meaning = (signal.strsignal(-status) or "").lower()
    how = "killed by" if -status in _SENT else "crashed with"
    return f"{how} {name} ({meaning})" if meaning else f"{how} {name}"


def last_line(path: Path, start: int) -> str:
    """Return the line of a log, from byte `start` on, that says why its process ended; bounded, or "".

    That's the last line that names a reason, or else the last one that's neither a stack frame nor noise.
    """
    lines = log_tail(path, start)
    for position, line in enumerate(lines):
        if _ANY_DUMP.match(line):
            lines = lines[: position + (_DUMP.match(line) is None)]
            break
    useful = [
        line
        for line in lines
        if any(map(str.isalnum, line))
        and not line.startswith(HEADER)
        and not _NOISE.match(line)
        and not _FRAME.match(line)
    ]
    found = next((line for line in reversed(useful) if _WHY.match(line)), useful[-1] if useful else "")
    return found if len(found) <= _LINE_LIMIT else f"{found[:_LINE_LIMIT]}…"


def log_tail(path: Path, start: int) -> list[str]:
    """Return the last lines of a log, from byte `start` on, without colors; [] if it cannot be read."""
    try:
        with open_file(path, path.parent) as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(min(end, max(start, end - _LOG_TAIL_BYTES)))
            text = file.read(_LOG_TAIL_BYTES).decode(errors="replace")
    except OSError:
        return []
    return [line.strip() for line in _TERMINAL_CODES.sub("", text).splitlines()]
