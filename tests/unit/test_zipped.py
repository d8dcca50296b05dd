"""Files are found and packed without leaving their directory, as a stream that every reader understands."""

import os
import re
import subprocess
import zipfile
from pathlib import Path

import pytest

from navigator.github.artifacts import pack as packing
from navigator.github.artifacts.pack import files_below, opened, plain, zipped
from navigator.github.rest import PublishError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a directory with three files, beside a secret that is none of it."""
    (tmp_path / "secret").write_text("s3cret")
    root = tmp_path / "root"
    (root / "b/c").mkdir(parents=True)
    (root / "a.txt").write_text("first")
    (root / "b/c/d.bin").write_bytes(bytes(range(256)) * 100)
    (root / "b/empty").touch()
    return root


def pack(files: list[tuple[str, Path]], archive: Path, level: int = 1) -> zipfile.ZipFile:
    archive.write_bytes(b"".join(zipped(files, compression_level=level)))
    return zipfile.ZipFile(archive)


def test_every_regular_file_is_found_under_its_relative_name_in_order(tree: Path) -> None:
    assert files_below(tree) == [
        ("a.txt", tree / "a.txt"),
        ("b/c/d.bin", tree / "b/c/d.bin"),
        ("b/empty", tree / "b/empty"),
    ]


def test_links_and_pipes_and_odd_names_are_left_out_and_reported(tree: Path) -> None:
    (tree / "file").symlink_to(tree.parent / "secret")
    (tree / "directory").symlink_to(tree.parent)
    (tree / "b/inside").symlink_to(tree / "a.txt")
    os.mkfifo(tree / "pipe")
    (tree / "what?").touch()
    (tree / os.fsdecode(b"\xff")).touch()
    told: list[str] = []

    names = [name for name, _ in files_below(tree, told.append)]

    assert names == ["a.txt", "b/c/d.bin", "b/empty"]
    assert sorted(told) == [
        r"""'\udcff' is left out: its name contains one of " : < > | * ? \ or a line break, or isn't UTF-8""",
        "'b/inside' is left out: it's a symbolic link",
        "'directory' is left out: it's a symbolic link",
        "'file' is left out: it's a symbolic link",
        "'pipe' is left out: it's neither a file nor a directory",
        """'what?' is left out: its name contains one of " : < > | * ? \\ or a line break, or isn't UTF-8""",
    ]


@pytest.mark.parametrize("place", ["link", "link/b"])
def test_a_directory_behind_a_link_is_refused(tree: Path, place: str) -> None:
    (tree.parent / "link").symlink_to(tree)
    with pytest.raises(PublishError, match=f"{place} isn't published: it's a symbolic link or behind one"):
        files_below(tree.parent / place)


def test_a_directory_that_is_not_there_is_refused(tree: Path) -> None:
    with pytest.raises(PublishError, match=r"none: No such file or directory"):
        files_below(tree / "none")


def test_a_file_replaced_by_a_link_after_it_was_found_is_not_read(tree: Path) -> None:
    files = files_below(tree)
    (tree / "a.txt").unlink()
    (tree / "a.txt").symlink_to(tree.parent / "secret")
    with pytest.raises(PublishError, match=r"a\.txt isn't published: it's a symbolic link"):
        list(zipped(files, compression_level=1))


def test_a_directory_replaced_by_a_link_after_it_was_found_is_not_read(tree: Path) -> None:
    files = files_below(tree)
    elsewhere = tree.parent / "elsewhere"
    (tree / "b").rename(elsewhere)
    (tree / "b").symlink_to(elsewhere)
    with pytest.raises(PublishError, match=r"d\.bin isn't published: it's a symbolic link or behind one"):
        list(zipped(files, compression_level=1))


def test_a_pipe_is_no_file_and_nobody_waits_for_its_writer(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    with pytest.raises(PublishError, match="pipe isn't published: it's not a regular file"), opened(tree / "pipe"):
        pass


def test_a_directory_of_any_depth_is_read_without_recursion(tmp_path: Path) -> None:
    place = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=place)
        inner = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(place)
    told: list[str] = []
    assert files_below(tmp_path, told.append) == []
    assert re.search("is left out: it's more than 64 directories deep", told[0])
    subprocess.run(["rm", "-r", tmp_path / "d"], check=True)


@pytest.mark.parametrize("level", [0, 1, 9])
def test_the_zip_holds_the_files_and_other_readers_agree(tree: Path, tmp_path: Path, level: int) -> None:
    with pack(files_below(tree), tmp_path / "a.zip", level) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == {
            name: path.read_bytes() for name, path in files_below(tree)
        }
    tested = subprocess.run(["unzip", "-t", tmp_path / "a.zip"], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stdout


def test_the_same_files_are_the_same_bytes(tree: Path) -> None:
    first = b"".join(zipped(files_below(tree), compression_level=1))
    os.utime(tree / "a.txt", (0, 0))
    (tree / "a.txt").chmod(0o700)
    assert b"".join(zipped(files_below(tree), compression_level=1)) == first


def test_an_empty_archive_is_an_archive(tmp_path: Path) -> None:
    assert pack([], tmp_path / "a.zip").namelist() == []


@pytest.mark.parametrize(
    ("size", "zip64_bytes"), [(2**24 + 7, 2**20), pytest.param(2**32 + 7, 2**30, marks=pytest.mark.nightly)]
)
def test_a_large_file_is_packed_with_64_bit_sizes_in_small_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, zip64_bytes: int
) -> None:
    monkeypatch.setattr(packing, "_ZIP64_BYTES", zip64_bytes)
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(size)
    largest = 0
    with (tmp_path / "a.zip").open("wb") as file:
        for piece in zipped([("large", large)], compression_level=1):
            largest = max(largest, len(piece))
            file.write(piece)
    assert largest < 4 * 2**20
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.getinfo("large").file_size == size
    shown = subprocess.run(["unzip", "-l", tmp_path / "a.zip"], capture_output=True, text=True, check=True).stdout
    assert str(size) in shown


def test_a_plain_file_is_its_own_bytes(tree: Path) -> None:
    assert b"".join(plain(tree / "b/c/d.bin")) == (tree / "b/c/d.bin").read_bytes()
