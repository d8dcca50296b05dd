"""Archives of models are read as zipfile reads them; what is damaged or can't be read is named."""

import io
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navigator.models.archive import Archive
from navigator.models.wire import DamagedError, UnreadableError

MOST = 2**16
FILES = st.dictionaries(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40), st.binary(max_size=500)
)


def archive(files: dict[str, bytes], method: int, comment: bytes = b"", before: bytes = b"") -> bytes:
    stream = io.BytesIO(before)
    stream.seek(0, io.SEEK_END)
    with zipfile.ZipFile(stream, "a", method) as made:
        for name, content in files.items():
            made.writestr(name, content)
        made.comment = comment
    return stream.getvalue()


def contents(data: bytes) -> dict[str, bytes]:
    opened = Archive(io.BytesIO(data))
    return {name: opened.read(name, MOST) for name in opened.names}


@given(
    files=FILES,
    method=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
    comment=st.binary(max_size=30),
    before=st.binary(max_size=30),
)
def test_files_are_those_that_zipfile_wrote(
    files: dict[str, bytes], method: int, comment: bytes, before: bytes
) -> None:
    data = archive(files, method, comment, before)

    assert contents(data) == files
    opened = Archive(io.BytesIO(data))
    assert opened.root == next(iter(files), "").partition("/")[0]
    parts = {name[:end] for name in files for end in range(1, len(name) + 1)} | {"a", "a/"}
    for part in parts:
        below = part.endswith("/") and any(name.startswith(part) for name in files)
        assert opened.holds(part) == (below or part in files)


@given(files=FILES, where=st.floats(0, 1, exclude_max=True), bits=st.integers(1, 255), cut=st.booleans())
def test_damage_is_named_or_harmless(files: dict[str, bytes], where: float, bits: int, cut: bool) -> None:
    data = bytearray(archive(files, zipfile.ZIP_DEFLATED))
    at = int(where * len(data))
    data[at:] = b"" if cut else bytes([data[at] ^ bits]) + data[at + 1 :]
    try:
        found = contents(bytes(data))
    except (DamagedError, UnreadableError):
        return
    assert not cut
    assert set(found.values()) <= set(files.values())


@pytest.mark.parametrize("directory", [b"PK\1\2", b"PK\1\2" + bytes(41), bytes(46)])
def test_a_directory_without_an_entry_is_broken(directory: bytes) -> None:
    end = struct.pack("<4s6xHLL2x", b"PK\5\6", 1, len(directory), 0)

    with pytest.raises(DamagedError, match="its directory is broken"):
        Archive(io.BytesIO(directory + end))


def test_what_begins_after_four_gigabytes_is_read(tmp_path: Path) -> None:
    """As the code of a TorchScript file does, whose weights come first."""
    path = tmp_path / "large.pt"
    with path.open("wb") as file:
        file.truncate(2**32 + 1)
    with zipfile.ZipFile(path, "a") as made:
        made.writestr("m/code/__torch__.py", b"torch.add(")

    with path.open("rb") as file:
        assert Archive(file).read("m/code/__torch__.py", MOST) == b"torch.add("


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_what_is_longer_than_asked_for_is_cut_off(method: int) -> None:
    opened = Archive(io.BytesIO(archive({"a": b"0123456789"}, method)))

    assert [len(opened.read("a", most)) for most in (9, 10, 11)] == [10, 10, 10]


def test_what_no_model_has_is_not_read() -> None:
    packed = archive({"a": b"text"}, zipfile.ZIP_LZMA)
    encrypted = bytearray(archive({"a": b"text"}, zipfile.ZIP_STORED))
    encrypted[encrypted.index(b"PK\1\2") + 8] |= 1

    for data in (packed, bytes(encrypted)):
        with pytest.raises(UnreadableError, match=r"a is encrypted, or compressed by method (0|14)"):
            contents(data)
