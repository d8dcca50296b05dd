"""Files on their way to a container and back: what is sent, and what of a stranger's archive is taken over."""

import io
import os
import tarfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from navigator.workers.docker import archive
from navigator.workers.docker.archive import Upload, pack, unpack
from navigator.workers.docker.connection import CancelledError, ContainerError

WORKER = 65534


def nothing() -> None:
    """Stop nobody."""


def parcel(*reads: Path, writes: tuple[Path, ...] = ()) -> Upload:
    return Upload(reads=reads, writes=writes, directories=(), owner=WORKER)


def members(sent: Iterator[bytes]) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(sent))) as packed:
        return {f"/{member.name}": member for member in packed}


def sent_and_back(path: Path, destination: Path) -> None:
    """Send a file or directory and take it over, as if a worker had made it."""
    prefix = f"{path.parent}/".lstrip("/")
    with tarfile.open(fileobj=io.BytesIO(b"".join(pack(parcel(path), check=nothing)))) as packed:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as made:
            for member in packed:
                if member.name.startswith(prefix):
                    content = packed.extractfile(member) if member.isreg() else None
                    member.name = member.name.removeprefix(prefix)
                    member.pax_headers = {}
                    made.addfile(member, content)
    unpack([buffer.getvalue()], destination, name=path.name, check=nothing)


def made(*entries: tuple[str, bytes | str, bytes]) -> bytes:
    """Return an archive of (name, type or link's target, content)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as packed:
        for name, kind, content in entries:
            member = tarfile.TarInfo(name)
            if isinstance(kind, str):
                member.type, member.linkname = tarfile.SYMTYPE, kind
            else:
                member.type = kind
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


FILE, DIRECTORY = tarfile.REGTYPE, tarfile.DIRTYPE


def test_paths_stay_the_same_and_only_what_is_written_is_the_workers(tmp_path: Path) -> None:
    model, made_there = tmp_path / "models" / "a.pt", tmp_path / "made" / "here" / "b.onnx"
    model.parent.mkdir()
    model.write_bytes(b"weights")
    model.chmod(0o600)
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "timing").write_bytes(b"1")
    found = members(pack(parcel(model, cache, writes=(made_there, cache)), check=nothing))
    assert found[str(model)].mode == 0o644
    assert found[str(model)].uid == 0
    assert found[str(made_there.parent)].uid == WORKER
    assert found[str(made_there.parent.parent)].uid == 0
    assert found[str(cache)].uid == found[str(cache / "timing")].uid == WORKER
    assert found["/tmp"].mode == 0o1777
    assert all(member.mode == 0o755 for path, member in found.items() if member.isdir() and path != "/tmp")
    assert list(found).index(str(model.parent)) < list(found).index(str(model))


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"weights")
    model = tmp_path / "model"
    (model / "variables").mkdir(parents=True)
    (model / "variables" / "data").symlink_to(tmp_path / "blob")
    (tmp_path / "latest").symlink_to(model)
    found = members(pack(parcel(tmp_path / "latest"), check=nothing))
    assert found[f"{tmp_path}/latest"].isdir()
    assert found[f"{tmp_path}/latest/variables/data"].size == 7
    (model / "loop").symlink_to(model)
    with pytest.raises(ContainerError, match="a link to one of its own parent directories"):
        list(pack(parcel(model), check=nothing))


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("absent", "can't send .*absent: No such file or directory"),
        ("pipe", "can't send .*pipe: it's neither a file nor a directory"),
        ("/dev/shm/ws/model.pt", "/dev/shm/ws can't be used in a container, which has its own /dev"),
        ("/sys/kernel/notes", "which has its own /sys"),
    ],
)
def test_what_cannot_be_sent(tmp_path: Path, path: str, words: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ContainerError, match=words) as error:
        list(pack(parcel(tmp_path / path), check=nothing))
    assert error.value.hint


def test_file_that_shrinks_while_it_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"x" * 4 * archive.CHUNK_BYTES)
    sent = pack(parcel(path), check=nothing)
    while len(next(sent)) < archive.CHUNK_BYTES:
        pass
    os.truncate(path, 1)
    with pytest.raises(ContainerError, match="the file shrank while it was read"):
        list(sent)


def test_file_of_more_than_eight_gibibytes(tmp_path: Path) -> None:
    """The old size field ends there; only the header is made."""
    path = tmp_path / "model"
    with path.open("wb") as file:
        file.truncate(9 * 2**30 + 1)
    header = b""
    for piece in pack(parcel(path), check=nothing):
        if len(piece) == archive.CHUNK_BYTES:
            break
        header += piece
    with tarfile.open(fileobj=io.BytesIO(header)) as packed:
        for member in packed:
            if member.isreg():
                assert member.size == 9 * 2**30 + 1
                return
    raise AssertionError("no file")


def test_there_and_back(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    names = [
        "plain",
        "größe 模型 🧭",
        "new\nline",
        "y" * 255,
        f"{'d' * 200}/{'e' * 200}/{'f' * 200}",
        "empty/none/.keep",
    ]
    for name in names:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(os.urandom(3 * archive.CHUNK_BYTES // 2) if name == "plain" else b"")
    with (tree / "sparse").open("wb") as file:
        file.seek(64 * 2**20)
        file.write(b"end")
    sent_and_back(tree, tmp_path / "back")
    expected = {path.relative_to(tree): path for path in tree.rglob("*")}
    found = {path.relative_to(tmp_path / "back"): path for path in (tmp_path / "back").rglob("*")}
    assert found.keys() == expected.keys()
    assert all(found[name].read_bytes() == path.read_bytes() for name, path in expected.items() if path.is_file())
    assert found[Path("sparse")].stat().st_blocks * 512 < 2**21, "holes stay holes"


def test_memory_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with path.open("wb") as file:
        file.truncate(256 * 2**20)
    name = tarfile.TarInfo("model")
    name.size = 256 * 2**20

    def stream() -> Iterator[bytes]:
        yield name.tobuf()
        body = pack(parcel(path), check=nothing)
        yield from (piece for piece in body if len(piece) == archive.CHUNK_BYTES)
        yield bytes(1024)

    tracemalloc.start()
    try:
        unpack(stream(), tmp_path / "back", name="model", check=nothing)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / "back").stat().st_size == 256 * 2**20
    assert peak < 16 * archive.CHUNK_BYTES


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([("out/a", "/etc/passwd", b"")], "'out/a', which is a symbolic link"),
        ([("out", "..", b"")], "'out', which is a symbolic link"),
        ([("out", DIRECTORY, b""), ("out/a", tarfile.LNKTYPE, b"")], "which is a hard link"),
        ([("out/a", tarfile.CHRTYPE, b"")], "which is a device"),
        ([("out/a", tarfile.BLKTYPE, b"")], "which is a device"),
        ([("out/a", tarfile.FIFOTYPE, b"")], "which is a pipe"),
        ([("out/../../a", FILE, b"x")], "which is outside the requested path"),
        ([("../a", FILE, b"x")], "which is outside the requested path"),
        ([("/out/a", FILE, b"x")], "which is outside the requested path"),
        ([("other", FILE, b"x")], "which is outside the requested path"),
        ([("outside", FILE, b"x")], "which is outside the requested path"),
        ([(".", DIRECTORY, b"")], "which is outside the requested path"),
        ([("out", FILE, b"1"), ("out", FILE, b"2")], "which is there twice"),
        ([("out/a", FILE, b"1"), ("out/a", FILE, b"2")], "which is there twice"),
        ([("out/a", FILE, b"1"), ("out/a/b", FILE, b"2")], "can't write .*out"),
        ([("out/" + "y" * 300, FILE, b"1")], "can't write .*out: File name too long"),
    ],
)
def test_nothing_of_a_hostile_archive_is_taken_over(
    tmp_path: Path, entries: list[tuple[str, bytes | str, bytes]], words: str
) -> None:
    (tmp_path / "here").mkdir()
    with pytest.raises(ContainerError, match=words):
        unpack(
            [made(("out", DIRECTORY, b""))[:0], made(*entries)], tmp_path / "here" / "out", name="out", check=nothing
        )
    assert [path.name for path in tmp_path.rglob("*")] == ["here"]


def test_file_that_no_disk_has_room_for(tmp_path: Path) -> None:
    """Its content is never sent: the header is enough."""
    member = tarfile.TarInfo("out")
    member.size = 2**60
    with pytest.raises(ContainerError, match=r"too large for the free disk space \(1073741824.00 GiB\)"):
        unpack([member.tobuf(tarfile.PAX_FORMAT)], tmp_path / "out", name="out", check=nothing)
    assert not list(tmp_path.iterdir())


END = 2 * 512 + 2**21  # of the last member below


@pytest.mark.parametrize("cut", [0, 10, 511, 512, 513, 1023, 1024, 1100, 2**20, END, END + 511, END + 1023])
def test_archive_that_breaks_off(tmp_path: Path, cut: int) -> None:
    whole = made(("out", DIRECTORY, b""), ("out/a", FILE, b"x" * 2**21))
    unpack([whole[: END + 1024]], tmp_path / "all", name="out", check=nothing)
    with pytest.raises(ContainerError, match=r"arrived damaged|can't write"):
        unpack([whole[:cut]], tmp_path / "out", name="out", check=nothing)
    assert [path.name for path in tmp_path.iterdir()] == ["all"]


def test_connection_that_breaks_where_a_member_ends(tmp_path: Path) -> None:
    whole = made(("out", DIRECTORY, b""), ("out/a", FILE, b"x" * 512))

    def stream() -> Iterator[bytes]:
        yield whole[: 3 * 512]
        raise ContainerError("can't fetch: Docker stopped answering")

    with pytest.raises(ContainerError, match="Docker stopped answering"):
        unpack(stream(), tmp_path / "out", name="out", check=nothing)
    assert not list(tmp_path.iterdir())


def test_what_is_there_already(tmp_path: Path) -> None:
    """A directory keeps what else it holds; a link in it is replaced and not followed."""
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    (out / "sub").mkdir(parents=True)
    elsewhere.mkdir()
    (out / "sub" / "kept").write_text("kept")
    (out / "old").write_text("old")
    (out / "link").symlink_to(elsewhere)
    (out / "file").symlink_to(elsewhere / "target")
    entries = [
        ("out/old", FILE, b"new"),
        ("out/sub/a", FILE, b"a"),
        ("out/link/b", FILE, b"b"),
        ("out/file", FILE, b"c"),
    ]
    unpack([made(("out", DIRECTORY, b""), *entries)], out, name="out", check=nothing)
    assert {str(path.relative_to(out)): path.read_text() for path in out.rglob("*") if path.is_file()} == {
        "old": "new",
        "sub/kept": "kept",
        "sub/a": "a",
        "link/b": "b",
        "file": "c",
    }
    assert not list(elsewhere.iterdir())


def test_modes_of_an_archive_are_not_taken_over(tmp_path: Path) -> None:
    member = tarfile.TarInfo("out")
    member.mode, member.uid, member.size = 0o6777, 12345, 1
    unpack([member.tobuf() + b"x" + bytes(511 + 1024)], tmp_path / "out", name="out", check=nothing)
    found = (tmp_path / "out").stat()
    assert found.st_mode & 0o7111 == 0
    assert found.st_uid == os.getuid()


@pytest.mark.parametrize("calls", [1, 5])
def test_both_ways_can_be_stopped(tmp_path: Path, calls: int) -> None:
    def stopper() -> Callable[[], None]:
        left = iter(range(calls))

        def stop() -> None:
            if next(left, None) is None:
                raise CancelledError

        return stop

    path = tmp_path / "model"
    path.write_bytes(b"x" * 20 * archive.CHUNK_BYTES)
    with pytest.raises(CancelledError):
        list(pack(parcel(path), check=stopper()))
    chunks = [made(("out", FILE, b"x" * 20 * archive.CHUNK_BYTES))]
    pieces = [chunks[0][start : start + 65536] for start in range(0, len(chunks[0]), 65536)]
    with pytest.raises(CancelledError):
        unpack(pieces, tmp_path / "out", name="out", check=stopper())
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
