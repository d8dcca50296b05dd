"""Digests of unchanged files are remembered, and no change of a file goes unnoticed."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from navigator.cache import remembered as cache_remembered
from navigator.cache.digests import artifact_digest, digest, model_digest
from navigator.cache.earlier import Earlier, digested
from navigator.cache.layers import TRUSTED, Layers, untrusted
from navigator.cache.remembered import Remembered
from navigator.cache.store import Cache
from navigator.models.reading import Watch

LIMIT = 10**9
PULL_7 = untrusted("pr", 7)
CONTENT = b"weights" * 1000


@pytest.fixture(autouse=True)
def all_are_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files do, on whatever file system the tests run."""
    monkeypatch.setattr(cache_remembered, "_LARGE_BYTES", 1)
    with (tmp_path / "any").open("wb") as file:
        monkeypatch.setattr(cache_remembered, "_KEEP_TIMES", {cache_remembered._file_system(file.fileno())})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "model" / "model.onnx"
    found.parent.mkdir()
    found.write_bytes(CONTENT)
    return found


class Reader:
    """Takes a file's digest by another run with the same cache, and says whether it read the file."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache

    def reads(self, path: Path, layer: str = TRUSTED) -> bool:
        read = []

        def take() -> str:
            read.append(path)
            return digest(path)

        found = Remembered(Layers(self.cache, LIMIT, layer)).digest(path, take)
        assert found == digest(path), "the digest is always that of the content"
        return bool(read)


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path / "cache")


def test_an_unchanged_file_is_read_once(file: Path, reader: Reader) -> None:
    assert reader.reads(file)
    assert not reader.reads(file)
    file.parent.rename(file.parent.with_name("elsewhere"))
    assert not reader.reads(file.parent.with_name("elsewhere") / file.name)


def _write(file: Path) -> None:
    file.write_bytes(CONTENT[::-1])


def _write_a_byte(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.write(b"W")


def _exchange(file: Path) -> None:
    other = file.with_name("other")
    other.write_bytes(CONTENT[::-1])
    other.replace(file)


def _append(file: Path) -> None:
    with file.open("ab") as opened:
        opened.write(b"more")


def _link(file: Path) -> None:
    _exchange(file)
    file.rename(file.with_name("moved"))
    file.symlink_to("moved")


@pytest.mark.parametrize("change", [_write, _write_a_byte, _exchange, _append, _link])
def test_a_changed_file_is_read_again_also_if_its_time_is_set_back(
    file: Path, reader: Reader, change: Callable[[Path], None]
) -> None:
    reader.reads(file)
    status = file.stat()
    change(file)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert reader.reads(file)


def test_a_copy_with_the_same_times_is_another_file(file: Path, reader: Reader) -> None:
    reader.reads(file)
    copy = file.with_name("copy")
    shutil.copy2(file, copy)
    assert copy.stat().st_mtime_ns == file.stat().st_mtime_ns
    assert reader.reads(copy)


def test_a_file_that_changes_while_it_is_read_is_not_remembered(file: Path, reader: Reader) -> None:
    def take() -> str:
        found = digest(file)
        time.sleep(0.02)  # the kernel's clock for files has steps of a few milliseconds
        file.write_bytes(CONTENT[::-1])
        return found

    Remembered(Layers(reader.cache, LIMIT)).digest(file, take)
    assert reader.reads(file)


def test_a_file_that_has_just_changed_is_read_once_its_time_cannot_stay(file: Path, reader: Reader) -> None:
    """As git's index does with files that are racily clean: within a tick of the clock, two changes have one time."""
    began = []

    def take() -> str:
        began.append(time.time())
        return digest(file)

    file.write_bytes(CONTENT)
    Remembered(Layers(reader.cache, LIMIT)).digest(file, take)
    assert began[0] - file.stat().st_ctime_ns / 1e9 >= cache_remembered._TICK_SECONDS


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_KEEP_TIMES", frozenset[int]()),
        ("_COARSE_NS", 1),
        ("_LARGE_BYTES", len(CONTENT) + 1),
        ("_boot", lambda: ""),
    ],
    ids=["on another file system", "with coarse times", "small", "of an unknown start of the machine"],
)
def test_a_file_whose_times_do_not_tell_is_always_read(
    file: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    monkeypatch.setattr(cache_remembered, name, value)
    assert reader.reads(file)
    assert reader.reads(file)


def test_a_file_that_is_newer_than_the_clock_is_always_read(
    file: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time() - 3600
    monkeypatch.setattr(time, "time", lambda: now)
    assert reader.reads(file)
    assert reader.reads(file)


def test_nothing_is_remembered_after_a_crash(file: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    reader.reads(file)
    monkeypatch.setattr(cache_remembered, "_boot", lambda: "another")
    assert reader.reads(file)


def test_digests_of_different_kinds_are_different(file: Path, reader: Reader) -> None:
    of = Remembered(Layers(reader.cache, LIMIT))
    assert of.digest(file, lambda: "1" * 64, "parts") == "1" * 64
    assert of.known(file) == ""
    assert of.known(file, "parts") == "1" * 64


def test_what_a_pull_request_remembers_is_for_its_own_runs_only(file: Path, reader: Reader) -> None:
    assert reader.reads(file, PULL_7)
    assert not reader.reads(file, PULL_7)
    assert reader.reads(file)
    assert not reader.reads(file, untrusted("pr", 8)), "trusted runs are believed"


def test_nothing_is_remembered_without_a_cache(file: Path) -> None:
    assert Remembered().known(file) == ""
    assert Remembered().digest(file, lambda: "taken") == "taken"


def test_damage_is_not_a_digest(file: Path, tmp_path: Path) -> None:
    of = Remembered(cache := Layers(tmp_path / "cache", LIMIT))
    of.digest(file, lambda: "not a digest")
    assert Remembered(cache).known(file) == ""
    assert not cache.notes


def test_models_and_artifacts_are_not_read_again(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("navigator.cache.digests._LARGE_BYTES", 100)  # digests in parts
    taken = [model_digest(file), digest(file), artifact_digest(file.parent)]
    of = Remembered(Layers(tmp_path / "cache", LIMIT))

    def all_of_it() -> list[str]:
        return [model_digest(file, None, of), digest(file, None, of), artifact_digest(file.parent, None, of)]

    assert all_of_it() == taken
    monkeypatch.setattr("navigator.cache.digests._sha256", lambda _blocks: pytest.fail("it's read again"))
    assert all_of_it() == taken


@pytest.fixture
def copy(file: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(file, tmp_path / "copy"))


@pytest.mark.parametrize("has_cache", [True, False])
def test_a_copy_is_compared_instead_of_digested(
    file: Path, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_cache: bool
) -> None:
    of = Remembered(Layers(tmp_path / "cache", LIMIT) if has_cache else None)
    assert of.copied(copy, Watch()) == ""
    expected = digest(file, None, of)
    monkeypatch.setattr("navigator.cache.digests._sha256", lambda _blocks: pytest.fail("it's read again"))
    assert digest(copy, None, of) == expected
    assert of.original(copy) == file
    assert of.original(file) is None


@pytest.mark.parametrize("change", [_write, _write_a_byte, _exchange, _append, lambda file: os.truncate(file, 6999)])
@pytest.mark.parametrize("compared", [True, False])
def test_a_copy_that_is_changed_is_digested(
    file: Path, copy: Path, change: Callable[[Path], None], compared: bool
) -> None:
    of = Remembered()
    digest(file, None, of)
    if compared:
        assert of.copied(copy, Watch())
        time.sleep(0.02)  # the kernel's clock for files has steps of a few milliseconds
    change(copy)
    assert digest(copy, None, of) == hashlib.sha256(copy.read_bytes()).hexdigest() != digest(file)
    assert of.original(copy) is None


def test_nothing_is_a_copy_of_a_file_that_has_changed(file: Path, copy: Path) -> None:
    of = Remembered()
    digest(file, None, of)
    time.sleep(0.02)  # the kernel's clock for files has steps of a few milliseconds
    _write(file)
    shutil.copy(file, copy)
    assert of.copied(copy, Watch()) == ""
    file.unlink()
    assert digest(copy, None, of) == hashlib.sha256(CONTENT[::-1]).hexdigest()


def test_an_unchanged_artifact_is_moved_without_reading_it(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("navigator.cache.earlier._LARGE_BYTES", 0)
    key, cache = "0" * 64, Cache(tmp_path / "cache", LIMIT)
    of = Remembered(Layers(tmp_path / "remembered", LIMIT))
    cache.put(key, 1, file.parent, {file.name: digest(file, None, of)})
    monkeypatch.setattr("navigator.cache.earlier._sha256", lambda *_: pytest.fail("it's read again"))
    earlier = Earlier(file.parent, of)
    with digested([earlier], 0):
        assert cache.restore(key, tmp_path / "out", earlier) is not None
    assert not file.parent.exists()


def test_an_artifact_that_was_exchanged_is_not_moved(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("navigator.cache.earlier._LARGE_BYTES", 0)
    key, cache = "0" * 64, Cache(tmp_path / "cache", LIMIT)
    of = Remembered(Layers(tmp_path / "remembered", LIMIT))
    cache.put(key, 1, file.parent, {file.name: digest(file, None, of)})
    status = file.stat()
    _write(file)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    earlier = Earlier(file.parent, of)
    with digested([earlier], 0):
        assert cache.restore(key, tmp_path / "out", earlier) is not None
    assert (tmp_path / "out" / file.name).read_bytes() == CONTENT
    assert file.read_bytes() == CONTENT[::-1]
