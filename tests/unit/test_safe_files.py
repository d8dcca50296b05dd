"""Nothing is opened through a link, and nothing but regular files and directories."""

import errno
import os
import resource
import signal
import socket
from pathlib import Path

import pytest

from navigator.safe_files import (
    UnsafeFileError,
    half_of,
    open_directory,
    open_file,
    read_file,
    replace_file,
    tree_bytes,
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path.resolve() / "root"
    (root / "inner").mkdir(parents=True)
    (root / "inner" / "file").write_bytes(b"content")
    (root / "link").symlink_to("inner")
    (root / "inner" / "link").symlink_to("file")
    os.mkfifo(root / "pipe")
    return root


def test_a_regular_file_is_read_within_its_limit(tree: Path) -> None:
    assert read_file(tree / "inner/file", 7) == b"content"
    with pytest.raises(OSError, match="larger than 0 MiB") as raised:
        read_file(tree / "inner/file", 6)
    assert raised.value.errno == errno.EFBIG


@pytest.mark.parametrize("place", ["link/file", "inner/link"])
def test_no_component_is_a_link(tree: Path, place: str) -> None:
    with pytest.raises(UnsafeFileError) as raised:
        open_file(tree / place)
    assert raised.value.strerror == "a symbolic link or behind one"
    assert str(raised.value.filename) == str(tree / ("link" if place == "link/file" else place))


def test_links_above_the_trusted_directory_are_followed(tree: Path) -> None:
    with open_file(tree / "link/file", trusted=tree / "link") as file:
        assert file.read() == b"content"


@pytest.mark.timeout(10)
def test_pipes_sockets_and_directories_are_no_files(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        for name in ("pipe", "socket", "inner"):
            with pytest.raises(UnsafeFileError, match="not a regular file"):
                open_file(tree / name)


def test_what_is_not_there_says_so(tree: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_file(tree / "none/file")


def test_missing_directories_are_made_and_never_through_a_link(tree: Path) -> None:
    def make(name: str, above: int) -> None:
        os.mkdir(name, dir_fd=above)

    descriptor = open_directory(tree / "new/newer", tree, make)
    assert os.fstat(descriptor).st_ino == (tree / "new/newer").stat().st_ino
    os.close(descriptor)
    with pytest.raises(UnsafeFileError):
        open_directory(tree / "link/new", tree, make)
    assert not (tree / "inner/new").exists()


def test_no_descriptor_is_left_open(tree: Path) -> None:
    before = len([*Path("/proc/self/fd").iterdir()])
    for place in ("inner/file", "link/file", "none", "pipe"):
        try:
            open_file(tree / place).close()
        except OSError:
            continue
    os.close(open_directory(tree / "inner"))
    assert len([*Path("/proc/self/fd").iterdir()]) == before


def test_a_tree_of_files_has_their_size(tmp_path: Path) -> None:
    (tmp_path / "made" / "variables").mkdir(parents=True)
    (tmp_path / "made" / "graph").write_bytes(b"12345")
    (tmp_path / "made" / "variables" / "weights").write_bytes(b"1234567")
    assert tree_bytes(tmp_path / "made", 12, tmp_path) == 12
    with pytest.raises(OSError, match="larger than") as raised:
        tree_bytes(tmp_path / "made", 11, tmp_path)
    assert raised.value.errno == errno.EFBIG


@pytest.mark.parametrize("kind", ["link to a file", "link to a directory", "link to nothing", "pipe"])
def test_a_tree_of_files_holds_nothing_else(tmp_path: Path, kind: str) -> None:
    inner = tmp_path / "made" / "inner"
    inner.mkdir(parents=True)
    if kind == "pipe":
        os.mkfifo(inner / "weights")
    else:
        target = {"link to a file": "/etc/hostname", "link to a directory": "/etc", "link to nothing": "nowhere"}[kind]
        (inner / "weights").symlink_to(target)
    with pytest.raises(UnsafeFileError, match="not a regular file") as raised:
        tree_bytes(tmp_path / "made", 100, tmp_path)
    assert str(raised.value.filename) == str(inner / "weights")


def test_a_tree_that_is_deeper_than_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "made" / "/".join("d" * 70)).mkdir(parents=True)
    with pytest.raises(OSError, match="more files than a model has"):
        tree_bytes(tmp_path / "made", 100, tmp_path)


def test_a_file_is_replaced_whole_and_no_link_is_followed(tree: Path) -> None:
    for name in ("new", "inner/file", "link_to_file"):
        path = tree / name
        if name == "link_to_file":
            (tree / "theirs").write_bytes(b"theirs")
            path.symlink_to("theirs")
        half_of(path).symlink_to(tree / "theirs")
        replace_file(path, b"ours")
        assert (path.read_bytes(), path.is_symlink(), half_of(path).exists()) == (b"ours", False, False)
    assert (tree / "theirs").read_bytes() == b"theirs"


def test_a_failed_write_keeps_the_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, b"earlier")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            replace_file(path, bytes(10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("file", b"earlier")]
