"""TensorRT's measurements of its kernels, kept between builds: a file for each GPU model, driver and version.

A build works on a copy of its own. What it measured is put into place as a whole, so that a build that is killed
damages nothing.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from navigator.records import Gpu

# TensorRT's objects; its types differ between versions.
_Trt = Any


def file_of(directory: Path | None, gpu: Gpu | None, library: str) -> Path | None:
    """Return the file for measurements of `library`, a name with its version, on `gpu`; None if nothing is kept."""
    if directory is None or gpu is None:
        return None
    words = f"{gpu.name}-{gpu.compute_capability}-{gpu.driver_version}-{library}"
    return directory / f"{''.join(each if each.isalnum() or each in '.-' else '_' for each in words)}.cache"


@contextlib.contextmanager
def borrowed(directory: Path | None, gpu: Gpu | None, library: str) -> Iterator[Path | None]:
    """Yield a copy of the measurements for a library that reads and writes a file itself, and keep what it wrote."""
    kept = file_of(directory, gpu, library)
    if kept is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as own:
        copy = Path(own) / kept.name
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(kept, copy)
        yield copy
        if copy.is_file():
            with _locked(kept):
                _put(kept, copy.read_bytes())


def keep(config: _Trt, kept: Path | None) -> None:
    """Keep what a build has measured, together with what others have measured meanwhile."""
    measured = config.get_timing_cache() if kept is not None else None
    if kept is None or measured is None:
        return
    kept.parent.mkdir(parents=True, exist_ok=True)
    with _locked(kept):
        with contextlib.suppress(OSError):
            others = config.create_timing_cache(kept.read_bytes())
            if others is not None:
                measured.combine(others, ignore_mismatch=False)
        _put(kept, bytes(memoryview(measured.serialize())))


@contextlib.contextmanager
def _locked(kept: Path) -> Iterator[None]:
    lock = os.open(f"{kept}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _put(kept: Path, content: bytes) -> None:
    half = kept.with_name(f"{kept.name}.{os.getpid()}")
    half.write_bytes(content)
    half.replace(kept)
