"""Full disks: what counts as one, and how it is named."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from navigator import disks
from navigator.errors import StepError, remedy


def chained(cause: BaseException) -> BaseException:
    error = StepError("the model can't be saved", "save it again")
    error.__cause__ = cause
    return error


NO_SPACE = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    "error",
    [
        NO_SPACE,
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), "/ws/model.onnx"),
        chained(NO_SPACE),
        chained(chained(NO_SPACE)),
        RuntimeError("[enforce fail at inline_container.cc:603] . write failed: No space left on device"),
        shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'")]),
    ],
)
def test_what_means_a_full_disk(error: BaseException) -> None:
    assert disks.is_about_full_disk(error)


@pytest.mark.parametrize(
    "error", [None, ValueError("no space"), OSError(errno.EIO, "Input/output error"), chained(ValueError("no"))]
)
def test_what_does_not(error: BaseException | None) -> None:
    assert not disks.is_about_full_disk(error)


def test_an_error_that_comes_from_itself_ends() -> None:
    error = ValueError("a")
    error.__cause__ = error
    assert not disks.is_about_full_disk(error)


def test_the_disk_is_named_by_its_mount_point(tmp_path: Path) -> None:
    place = tmp_path
    while not place.is_mount():
        place = place.parent
    told = disks.full_disk(tmp_path / "absent" / "model.onnx")
    assert told.startswith(f"the disk at {place} is full")
    assert told.endswith(" free)")
    error = OSError(errno.ENOSPC, "No space", str(tmp_path / "x"))
    assert disks.reason(error, Path("/proc")).startswith(f"the disk at {place} is full")
    assert remedy(NO_SPACE) == disks.REMEDY


def test_of_a_copy_the_file_that_was_written_counts(tmp_path: Path) -> None:
    error = OSError(errno.ENOSPC, "No space", "/proc/source", None, str(tmp_path / "copy"))
    assert disks.file_of(error) == tmp_path / "copy"


def test_what_is_behind_a_stream_is_not_known() -> None:
    error = OSError(errno.ENOSPC, "No space left on device", "<stdout>")
    assert disks.reason(error, Path()) == "No space left on device"
