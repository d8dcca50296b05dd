"""What strangers uploaded comes out of its archive as plain files below a directory, or not at all."""

import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from navigator.github.artifacts.unpack import unpack
from navigator.github.rest import PublishError

NAMES = ("convert_results.yaml", "summary.md")


def archive(place: Path, write: Callable[[zipfile.ZipFile], None]) -> Path:
    with zipfile.ZipFile(place / "received.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        write(zipped)
    return place / "received.zip"


def refusal(place: Path, write: Callable[[zipfile.ZipFile], None], names: tuple[str, ...] | None = None) -> str:
    """Return why an archive is refused, having seen that nothing lies outside of the directory."""
    with pytest.raises(PublishError) as refused:
        unpack(archive(place, write), place / "to", names=names, limit_bytes=2**24)
    assert {path.name for path in place.iterdir()} <= {"received.zip", "to"}
    reason = refused.value.message.removeprefix("the archive received.zip was rejected: ")
    assert reason != refused.value.message
    return reason


def test_expected_files_are_unpacked(tmp_path: Path) -> None:
    def write(zipped: zipfile.ZipFile) -> None:
        zipped.writestr("convert_results.yaml", "status: {}")
        zipped.writestr("summary.md", "# Results")

    files = unpack(archive(tmp_path, write), tmp_path / "to", names=NAMES, limit_bytes=1000)

    assert files == (tmp_path / "to/convert_results.yaml", tmp_path / "to/summary.md")
    assert files[1].read_text() == "# Results"


def test_models_are_unpacked_into_their_directories_beside_others(tmp_path: Path) -> None:
    def write(zipped: zipfile.ZipFile) -> None:
        zipped.mkdir("resnet/onnx")
        zipped.writestr("resnet/onnx/model.onnx", b"\0" * 100)
        zipped.writestr("resnet/größe.onnx", b"1")

    (tmp_path / "to/bert").mkdir(parents=True)
    files = unpack(archive(tmp_path, write), tmp_path / "to", limit_bytes=1000)

    assert [str(path.relative_to(tmp_path / "to")) for path in files] == ["resnet/onnx/model.onnx", "resnet/größe.onnx"]
    assert stat.S_IMODE(files[0].stat().st_mode) & 0o111 == 0


def test_other_names_may_be_left_out(tmp_path: Path) -> None:
    def write(zipped: zipfile.ZipFile) -> None:
        zipped.writestr("../evil.sh", "")
        zipped.writestr("convert_results.yaml", "status: {}")

    files = unpack(archive(tmp_path, write), tmp_path / "to", names=NAMES, skip_others=True, limit_bytes=1000)

    assert files == (tmp_path / "to/convert_results.yaml",)
    assert [path.name for path in tmp_path.rglob("*")] == ["received.zip", "to", "convert_results.yaml"]


def test_a_name_that_is_not_expected_is_refused(tmp_path: Path) -> None:
    reason = refusal(tmp_path, lambda zipped: zipped.writestr("evil.sh", ""), NAMES)
    assert reason == "'evil.sh' is unexpected: only convert_results.yaml and summary.md may be in it"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil", "points outside the directory"),
        ("a/../../evil", "points outside the directory"),
        ("/evil", "is an absolute path"),
        ("c:evil", "contains a backslash, a colon or a control character"),
        ("a\\..\\evil", "contains a backslash, a colon or a control character"),
        ("a:stream", "contains a backslash, a colon or a control character"),
        ("a\x1b[2J", "contains a backslash, a colon or a control character"),
        ("a//b", "isn't a plain path, or is too deep or too long"),
        ("./a", "isn't a plain path, or is too deep or too long"),
        ("a/" * 100 + "b", "isn't a plain path, or is too deep or too long"),
        ("a" * 300, "isn't a plain path, or is too deep or too long"),
        ("models/NUL", "is a Windows device name, or ends with a dot or a space"),
        ("com1.onnx", "is a Windows device name, or ends with a dot or a space"),
        ("a./b", "is a Windows device name, or ends with a dot or a space"),
    ],
)
def test_a_name_that_is_no_safe_path_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    assert refusal(tmp_path, lambda zipped: zipped.writestr(name, "x")) == f"{name!r} {reason}"


def test_a_name_cut_by_a_null_is_refused(tmp_path: Path) -> None:
    place = archive(tmp_path, lambda zipped: zipped.writestr("summary.md_evil", "x"))
    place.write_bytes(place.read_bytes().replace(b"summary.md_evil", b"summary.md\0evil"))
    with pytest.raises(PublishError, match="is unexpected"):
        unpack(place, tmp_path / "to", names=NAMES, limit_bytes=1000)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_what_is_no_regular_file_is_refused(tmp_path: Path, kind: int) -> None:
    def write(zipped: zipfile.ZipFile) -> None:
        entry = zipfile.ZipInfo("summary.md")
        entry.external_attr = (kind | 0o777) << 16
        zipped.writestr(entry, "/etc/passwd")

    assert refusal(tmp_path, write) == "'summary.md' isn't a regular file"


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("other", ["summary.md", "SUMMARY.md"])
def test_a_name_that_is_there_twice_is_refused(tmp_path: Path, other: str) -> None:
    def write(zipped: zipfile.ZipFile) -> None:
        zipped.writestr("summary.md", "one")
        zipped.writestr(other, "two")

    assert refusal(tmp_path, write) == f"{other!r} is in it twice"


@pytest.mark.parametrize("order", [("a", "a/b"), ("a/b", "a")])
def test_a_name_that_is_file_and_directory_is_refused(tmp_path: Path, order: tuple[str, str]) -> None:
    def write(zipped: zipfile.ZipFile) -> None:
        for name in order:
            zipped.writestr(name, "x")

    assert refusal(tmp_path, write) == f"{order[1]!r} already exists, or is a directory"


def test_no_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "to/a").write_text("ours")
    assert "'a' already exists" in refusal(tmp_path, lambda zipped: zipped.writestr("a", "theirs"))
    assert (tmp_path / "to/a").read_text() == "ours"


def test_a_bomb_goes_off_early(tmp_path: Path) -> None:
    reason = refusal(tmp_path, lambda zipped: zipped.writestr("summary.md", b"\0" * 2**23))
    assert reason == "it unpacks to more than 200 times its size"
    assert (tmp_path / "to/summary.md").stat().st_size < 2**22


def test_a_size_that_is_declared_too_small_does_not_help_it(tmp_path: Path) -> None:
    place = archive(tmp_path, lambda zipped: zipped.writestr("summary.md", bytes(range(256)) * 400))
    size = struct.pack("<L", 102_400)
    assert size in place.read_bytes()
    place.write_bytes(place.read_bytes().replace(size, struct.pack("<L", 10)))
    with pytest.raises(PublishError, match="it's damaged or not a zip"):
        unpack(place, tmp_path / "to", names=NAMES, limit_bytes=1000)
    assert (tmp_path / "to/summary.md").stat().st_size <= 1000


def test_all_files_together_are_limited(tmp_path: Path) -> None:
    def write(zipped: zipfile.ZipFile) -> None:
        for name in "abc":
            zipped.writestr(name, b"x" * 400)

    with pytest.raises(PublishError, match="it unpacks to more than 1,000 bytes"):
        unpack(archive(tmp_path, write), tmp_path / "to", limit_bytes=1000)


def test_the_number_of_files_is_limited(tmp_path: Path) -> None:
    def write(zipped: zipfile.ZipFile) -> None:
        for number in range(11):
            zipped.writestr(str(number), "")

    with pytest.raises(PublishError, match="it has 11 files, more than 10"):
        unpack(archive(tmp_path, write), tmp_path / "to", limit_bytes=1000, limit_files=10)


def test_an_encrypted_file_is_refused(tmp_path: Path) -> None:
    place = archive(tmp_path, lambda zipped: zipped.writestr("summary.md", "x"))
    data = bytearray(place.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    place.write_bytes(data)
    with pytest.raises(PublishError, match=r"'summary\.md' is encrypted"):
        unpack(place, tmp_path / "to", limit_bytes=1000)


def test_a_method_that_can_be_slow_or_large_is_refused(tmp_path: Path) -> None:
    reason = refusal(tmp_path, lambda zipped: zipped.writestr("summary.md", "x", compress_type=zipfile.ZIP_LZMA))
    assert reason == "'summary.md' is compressed by a method other than deflate"


@pytest.mark.parametrize("cut", [0, 10, 200])
def test_what_is_damaged_is_refused(tmp_path: Path, cut: int) -> None:
    place = archive(tmp_path, lambda zipped: zipped.writestr("summary.md", bytes(range(256))))
    place.write_bytes(place.read_bytes()[:cut])
    with pytest.raises(PublishError, match=r"received\.zip was rejected: it's damaged or not a zip"):
        unpack(place, tmp_path / "to", limit_bytes=1000)


def test_wrong_content_is_refused(tmp_path: Path) -> None:
    place = archive(tmp_path, lambda zipped: zipped.writestr("a", b"content", compress_type=zipfile.ZIP_STORED))
    place.write_bytes(place.read_bytes().replace(b"content", b"kontent"))
    with pytest.raises(PublishError, match="Bad CRC-32"):
        unpack(place, tmp_path / "to", limit_bytes=1000)
