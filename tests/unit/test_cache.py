"""Digests, identities, and a cache that is never wrong: damaged, hostile, full, read-only or shared, it only misses."""

import hashlib
import json
import multiprocessing
import os
import random
import resource
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navigator.cache import earlier as cache_earlier
from navigator.cache.digests import artifact_digest, digest, identity, model_digest, size_bytes
from navigator.cache.earlier import Earlier, digested
from navigator.cache.store import Cache
from navigator.errors import ConfigurationError

KEY = identity("a key")
OTHER = identity("another key")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory as a SavedModel has it."""
    made = tmp_path / "files"
    (made / "model.savedmodel" / "variables").mkdir(parents=True)
    (made / "model.savedmodel" / "saved_model.pb").write_bytes(b"graph")
    (made / "model.savedmodel" / "variables" / "data").write_bytes(b"w" * 3_000_000)
    return made


def entry(cache: Cache, key: str = KEY) -> Path:
    assert cache.path is not None
    return cache.path / key[:2] / key


def change(path: Path, **more: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | more))


# Digests ------------------------------------------------------------------------------------------------------------


def test_a_files_digest_is_what_sha256sum_says(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(os.urandom(3_000_001))
    said = subprocess.run(["sha256sum", path], check=True, capture_output=True, text=True).stdout.split()[0]
    assert digest(path) == artifact_digest(tmp_path) == model_digest(path) == said
    assert size_bytes(path) == size_bytes(tmp_path) == 3_000_001


def test_a_directorys_digest_is_what_sha256sum_says(files: Path) -> None:
    (files / "back\\slash and\nnewline").write_bytes(b"")
    (files / "é").write_bytes(b"x")
    command = "find * -type f -exec sha256sum {} + | LC_ALL=C sort | sha256sum"
    said = subprocess.run(["sh", "-c", command], check=True, capture_output=True, text=True, cwd=files).stdout.split()[
        0
    ]
    assert digest(files) == artifact_digest(files) == said
    assert size_bytes(files) == 3_000_006


def test_a_directorys_digest_sees_content_names_and_places(files: Path) -> None:
    seen = {digest(files)}
    data = files / "model.savedmodel" / "variables" / "data"
    data.write_bytes(b"w" * 2_999_999 + b"v")
    seen.add(digest(files))
    data.rename(data.with_name("atad"))
    seen.add(digest(files))
    data.with_name("atad").rename(files / "data")
    seen.add(digest(files))
    assert len(seen) == 4
    (files / "empty").mkdir()
    assert digest(files) in seen, "an empty directory is nothing"


def test_no_file_name_can_forge_another_directory(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    empty = hashlib.sha256(b"").hexdigest()
    (one / f"a\n{empty}  b").touch()
    (two / "a").touch()
    (two / "b").touch()
    assert digest(one) != digest(two)


def test_links_inside_count_as_what_they_lead_to(files: Path) -> None:
    copy = files.with_name("copy")
    shutil.copytree(files, copy)
    (files / "link.pb").symlink_to("model.savedmodel/saved_model.pb")
    (files / "linked").symlink_to("model.savedmodel/variables")
    (copy / "link.pb").write_bytes(b"graph")
    shutil.copytree(copy / "model.savedmodel" / "variables", copy / "linked")
    assert digest(files) == digest(copy)


@pytest.mark.parametrize(
    ("name", "target", "said"),
    [
        ("out", "/etc/hostname", "is a link to a place outside"),
        ("out", "../../outside", "is a link to a place outside"),
        ("nowhere", "absent", "is neither a file nor a directory"),
        ("round", ".", "is a link to one of its own parent directories"),
        ("self", "self", "is neither a file nor a directory"),
    ],
)
def test_links_that_lead_elsewhere_are_refused(files: Path, name: str, target: str, said: str) -> None:
    (files / name).symlink_to(target)
    with pytest.raises(ConfigurationError, match=said):
        digest(files)


def test_a_pipe_in_a_directory_is_refused(files: Path) -> None:
    os.mkfifo(files / "pipe")
    with pytest.raises(ConfigurationError, match="neither a file nor a directory"):
        digest(files)


def test_a_missing_model_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        digest(tmp_path / "absent")


@pytest.fixture
def external(tmp_path: Path) -> Path:
    """An ONNX model whose weights lie beside it, in two files."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper, save
    from onnx.external_data_helper import set_external_data

    weights = []
    for name in ("w", "v"):
        tensor = numpy_helper.from_array(np.ones(4, np.float32), name)
        set_external_data(tensor, location=f"data/{name}.bin", offset=0, length=16)
        tensor.ClearField("raw_data")
        weights.append(tensor)
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["h"]), helper.make_node("Add", ["h", "v"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])],
        weights,
    )
    model = tmp_path / "external" / "model.onnx"
    (model.parent / "data").mkdir(parents=True)
    save(helper.make_model(graph), model)
    for name in ("w", "v"):
        (model.parent / "data" / f"{name}.bin").write_bytes(np.ones(4, np.float32).tobytes())
    return model


def test_a_models_digest_sees_its_external_weights(external: Path) -> None:
    (external.parent / "unrelated").write_text("a neighbour")
    seen = {digest(external), model_digest(external)}
    for name in ("w", "v"):
        (external.parent / "data" / f"{name}.bin").write_bytes(b"\0" * 16)
        seen.add(model_digest(external))
    assert len(seen) == 4
    before = model_digest(external)
    (external.parent / "unrelated").write_text("another text")
    assert model_digest(external) == before


def test_large_external_weights_have_their_own_digest_unless_a_part_is_empty(
    external: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a copy in an artifact needn't be read twice, and holes needn't be read at all."""
    data = external.parent / "data" / "w.bin"
    monkeypatch.setattr("navigator.cache.digests._PART_BYTES", 1024)
    part, empty = bytes(1023) + b"\1", bytes(1024)
    in_parts = []
    for content in (part * 2 + empty[1:], part + empty + part):
        data.write_bytes(content)
        digests = set()
        for limit in (2**11, 2**30):
            monkeypatch.setattr("navigator.cache.digests._LARGE_BYTES", limit)
            digests.add(model_digest(external))
        in_parts.append(len(digests) == 2)
    assert in_parts == [False, True]


def test_external_weights_outside_the_models_directory_are_not_read(tmp_path: Path, external: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(b"one")
    content = external.read_bytes().replace(b"\x12\x0adata/w.bin", b"\x12\x0d../secret.bin")
    external.write_bytes(content)
    before = model_digest(external)
    (tmp_path / "secret.bin").write_bytes(b"two")
    assert model_digest(external) == before


def test_a_models_digest_survives_any_bytes(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    for content in (
        b"",
        b"\x0a\x08location\x12",
        b"\x0a\x08location\x12\xff\xff\xff\xff",
        b"\x0a\x08location\x12\x03a\0b",
    ):
        path.write_bytes(content)
        assert model_digest(path) == digest(path)


# Identities ---------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON, JSON)
def test_identities_are_equal_exactly_for_equal_json(one: Any, two: Any) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(two, sort_keys=True)
    assert (identity(one) == identity(two)) is same


def test_identities_ignore_the_order_of_keys_and_keep_that_of_lists() -> None:
    assert identity({"a": 1, "b": [1, 2]}) == identity({"b": [1, 2], "a": 1})
    assert identity([1, 2]) != identity([2, 1])
    assert identity("1") != identity(1)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_identities_refuse_what_equals_nothing(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        identity({"atol": value})


def test_identities_refuse_what_is_not_json(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="PosixPath is not JSON serializable"):
        identity({"path": tmp_path})


# Entries ------------------------------------------------------------------------------------------------------------


def test_what_was_put_comes_back(tmp_path: Path, files: Path) -> None:
    cache = Cache(tmp_path / "cache", 10**9)
    value = {"properties": {"onnx_opset": 13}, "error": float("inf"), "name": "é"}
    assert cache.get(KEY, tmp_path / "miss") is None
    cache.put(KEY, value, files)
    assert Cache(tmp_path / "cache", 10**9).get(KEY, tmp_path / "a" / "b") == value
    assert digest(tmp_path / "a" / "b") == digest(files)
    assert cache.get(OTHER, tmp_path / "miss") is None
    assert not (tmp_path / "miss").exists()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["b"]
    assert cache.notes == []


def test_holes_take_no_room_in_the_cache_and_none_when_they_come_back(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    with (tmp_path / "files" / "sparse").open("wb") as file:
        file.seek(20 * 2**20)
        file.write(b"x" + bytes(3 * 2**20))
        file.truncate(100 * 2**20 + 1)
    cache = Cache(tmp_path / "cache", 10**9)
    cache.put(KEY, 1, tmp_path / "files")
    assert cache.get(KEY, tmp_path / "out") == 1
    assert digest(tmp_path / "out" / "sparse") == digest(tmp_path / "files" / "sparse")
    for entry in ((tmp_path / "cache").rglob("sparse"), [tmp_path / "out" / "sparse"]):
        assert [each.stat().st_blocks * 512 < 4 * 2**20 for each in entry] == [True]


def test_a_value_without_files(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", 10**9)
    cache.put(KEY, [1, 2], None)
    assert cache.get(KEY, None) == [1, 2]
    (tmp_path / "out").mkdir()
    assert cache.get(KEY, tmp_path / "out") == [1, 2]
    assert list((tmp_path / "out").iterdir()) == []


def test_a_cache_that_is_off(tmp_path: Path, files: Path) -> None:
    cache = Cache(None, 10**9)
    cache.put(KEY, 1, files)
    assert cache.get(KEY, tmp_path / "out") is None
    assert cache.notes == []


def test_what_is_not_what_it_was_said_to_be_never_comes_back(tmp_path: Path) -> None:
    """The digest of a file is taken once, when it's verified: whoever exchanges it later stores nothing."""
    cache = Cache(tmp_path / "cache", 10**9)
    (tmp_path / "files").mkdir()
    path = tmp_path / "files" / "model.onnx"
    path.write_bytes(b"verified" * 2**18)
    verified = digest(path)
    cache.put(KEY, 1, tmp_path / "files", {path.name: verified})
    assert cache.restore(KEY, tmp_path / "one") == (1, {"model.onnx": verified})

    path.write_bytes(b"another!" * 2**18)
    cache.put(OTHER, 1, tmp_path / "files", {path.name: verified})
    assert cache.restore(OTHER, tmp_path / "two") is None
    assert not (tmp_path / "two").exists()


def test_a_digest_that_is_not_known_is_taken(tmp_path: Path, files: Path) -> None:
    """Of several files, some may be known."""
    cache = Cache(tmp_path / "cache", 10**9)
    graph, data = "model.savedmodel/saved_model.pb", "model.savedmodel/variables/data"
    cache.put(KEY, 1, files, {data: digest(files / data)})
    found = cache.restore(KEY, tmp_path / "out")
    assert found == (1, {graph: digest(files / graph), data: digest(files / data)})


def test_an_edit_of_what_came_back_does_not_reach_the_cache(tmp_path: Path, files: Path) -> None:
    cache = Cache(tmp_path / "cache", 10**9)
    cache.put(KEY, 1, files)
    (files / "model.savedmodel" / "saved_model.pb").write_bytes(b"edited")
    cache.get(KEY, tmp_path / "one")
    with (tmp_path / "one" / "model.savedmodel" / "variables" / "data").open("r+b") as data:
        data.write(b"edited")
    assert cache.get(KEY, tmp_path / "two") == 1
    assert (tmp_path / "two" / "model.savedmodel" / "saved_model.pb").read_bytes() == b"graph"
    assert (tmp_path / "two" / "model.savedmodel" / "variables" / "data").read_bytes() == b"w" * 3_000_000


def test_what_is_there_already_is_moved_instead_of_written_again(tmp_path: Path, files: Path) -> None:
    cache = Cache(tmp_path / "cache", 10**9)
    cache.put(KEY, 1, files)
    data = files / "model.savedmodel" / "variables" / "data"
    inode = data.stat().st_ino
    found = cache.restore(KEY, tmp_path / "out", earlier=Earlier(files))
    assert found is not None
    assert found[0] == 1
    assert not files.exists()
    assert (tmp_path / "out" / "model.savedmodel" / "variables" / "data").stat().st_ino == inode


@pytest.fixture
def none_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_earlier, "_LARGE_BYTES", 0)


@pytest.fixture
def read_again(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the files whose digests weren't taken ahead."""
    found: list[str] = []
    take = hashlib.file_digest

    def noted(file: Any, name: str) -> Any:
        found.append(str(Path(f"/proc/self/fd/{file.fileno()}").readlink()))
        return take(file, name)

    monkeypatch.setattr(hashlib, "file_digest", noted)
    return found


@pytest.mark.usefixtures("none_is_small")
def test_what_is_digested_ahead_is_read_once(tmp_path: Path, files: Path, read_again: list[str]) -> None:
    cache = Cache(tmp_path / "cache", 10**9)
    cache.put(KEY, 1, files)
    earlier = Earlier(files)
    with digested([earlier, Earlier(tmp_path / "nothing")], 0):
        assert cache.restore(KEY, tmp_path / "out", earlier) is not None
    assert not files.exists()
    assert not read_again


@pytest.mark.usefixtures("none_is_small")
@pytest.mark.parametrize("change", ["written", "exchanged", "while it is read"])
def test_what_changes_after_it_was_digested_is_never_taken_for_what_it_was(
    tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """It has the same size, and the time that it was written is set back."""
    cache = Cache(tmp_path / "cache", 10**9)
    cache.put(KEY, 1, files)
    path = files / "model.savedmodel" / "saved_model.pb"
    content, status = path.read_bytes(), path.stat()

    def exchange() -> None:
        time.sleep(0.02)  # the kernel's clock for files has steps of a few milliseconds
        if change == "exchanged":
            path.with_name("other").write_bytes(content[::-1])
            path.with_name("other").replace(path)
        else:
            path.write_bytes(content[::-1])
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    take = cache_earlier._sha256

    def taken(*arguments: Any) -> str:
        found = take(*arguments)
        if change == "while it is read" and arguments[0] == path:
            exchange()
        return found

    monkeypatch.setattr(cache_earlier, "_sha256", taken)
    earlier = Earlier(files)
    with digested([earlier], 0):
        for each in earlier._taken.values():
            each.exception()  # waits
        if change != "while it is read":
            exchange()
        assert cache.restore(KEY, tmp_path / "out", earlier) is not None
    assert path.read_bytes() == content[::-1], "it's left"
    assert (tmp_path / "out" / "model.savedmodel" / "saved_model.pb").read_bytes() == content


@pytest.mark.usefixtures("none_is_small")
def test_a_file_that_changes_while_it_is_digested_has_no_digest(tmp_path: Path, files: Path) -> None:
    path = files / "model.savedmodel" / "saved_model.pb"
    of = cache_earlier._identity(path.stat())
    stopped = threading.Event()
    assert cache_earlier._sha256(path, of, stopped) == digest(path)
    stopped.set()
    with pytest.raises(OSError, match="not read to its end"):
        cache_earlier._sha256(path, of, stopped)
    with pytest.raises(OSError, match="not read to its end"):
        cache_earlier._sha256(path, (*of[:3], of[3] - 1), threading.Event())


@pytest.mark.usefixtures("none_is_small")
def test_what_is_older_than_the_model_is_not_digested_ahead(tmp_path: Path, files: Path, read_again: list[str]) -> None:
    cache = Cache(tmp_path / "cache", 10**9)
    cache.put(KEY, 1, files)
    newest = max(path.stat().st_ctime_ns for path in files.rglob("*"))
    with digested([earlier := Earlier(files)], newest):
        assert cache.restore(KEY, tmp_path / "out", earlier) is not None
    assert len(read_again) == sum(path.is_file() for path in (tmp_path / "out").rglob("*"))


def _replace_content(files: Path) -> None:
    (files / "model.savedmodel" / "saved_model.pb").write_bytes(b"grapH")


def _add_file(files: Path) -> None:
    (files / "more").touch()


def _remove_file(files: Path) -> None:
    (files / "model.savedmodel" / "saved_model.pb").unlink()


def _link_out(files: Path) -> None:
    (files / "model.savedmodel" / "saved_model.pb").rename(files.parent / "elsewhere")
    (files / "model.savedmodel" / "saved_model.pb").symlink_to(files.parent / "elsewhere")


def _link_second_name(files: Path) -> None:
    (files.parent / "second").hardlink_to(files / "model.savedmodel" / "saved_model.pb")


def _link_directory(files: Path) -> None:
    files.rename(files.parent / "elsewhere")
    files.symlink_to(files.parent / "elsewhere")


@pytest.mark.parametrize(
    "change",
    [_replace_content, _add_file, _remove_file, _link_out, _link_second_name, _link_directory, shutil.rmtree],
)
def test_what_is_there_but_differs_is_left_and_copied(
    tmp_path: Path, files: Path, change: Callable[[Path], None]
) -> None:
    cache = Cache(tmp_path / "cache", 10**9)
    cache.put(KEY, 1, files)
    shutil.copytree(files, tmp_path / "expected")
    change(files)
    left = {path: path.lstat().st_ino for path in files.rglob("*")}
    assert cache.restore(KEY, tmp_path / "out", earlier=Earlier(files)) is not None
    assert digest(tmp_path / "out") == digest(tmp_path / "expected")
    assert {path: path.lstat().st_ino for path in files.rglob("*")} == left
    assert not any(path.is_symlink() or path.stat().st_nlink > 1 for path in (tmp_path / "out").rglob("*.pb"))


def test_the_first_of_two_entries_stays(tmp_path: Path, files: Path) -> None:
    cache = Cache(tmp_path / "cache", 10**9)
    cache.put(KEY, "first", files)
    cache.put(KEY, "second", None)
    assert cache.get(KEY, tmp_path / "out") == "first"
    assert digest(tmp_path / "out") == digest(files)


def test_restoring_over_something_is_refused(tmp_path: Path, files: Path) -> None:
    cache = Cache(tmp_path / "cache", 10**9)
    cache.put(KEY, 1, files)
    with pytest.raises(FileExistsError, match="empty directory only"):
        cache.get(KEY, files)


@pytest.mark.parametrize("key", ["", "../../../etc", "A" * 64, "0" * 63])
def test_what_is_not_an_identity_is_refused(tmp_path: Path, key: str) -> None:
    cache = Cache(tmp_path / "cache", 10**9)
    with pytest.raises(ValueError, match="not an identity"):
        cache.get(key, None)
    with pytest.raises(ValueError, match="not an identity"):
        cache.put(key, 1, None)


def test_none_is_refused_since_it_means_a_miss(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="None cannot be stored"):
        Cache(tmp_path / "cache", 10**9).put(KEY, None, None)


# Damage -------------------------------------------------------------------------------------------------------------


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DATA = "files/model.savedmodel/variables/data"
SECRET = {"sha256": hashlib.sha256(b"secret").hexdigest(), "size": 6}


def hostile(name: str) -> Callable[[Path], None]:
    return lambda at: change(at / "entry.json", files={name: SECRET})


def link(name: str, target: str) -> Callable[[Path], None]:
    def damage(at: Path) -> None:
        path = at / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        path.symlink_to(target)

    return damage


def written(content: bytes) -> Callable[[Path], None]:
    def damage(at: Path) -> None:
        (at / "entry.json").write_bytes(content)

    return damage


def directory(at: Path) -> None:
    (at / "entry.json").unlink()
    (at / "entry.json").mkdir()


def pipe(at: Path) -> None:
    (at / DATA).unlink()
    os.mkfifo(at / DATA)


def move(at: Path) -> None:
    shutil.move(at / "files", at.parents[2] / "elsewhere")
    (at / "files").symlink_to(at.parents[2] / "elsewhere")


DAMAGES: dict[str, Callable[[Path], None]] = {
    "one bit of a file": lambda at: flip(at / DATA),
    "a truncated file": lambda at: os.truncate(at / DATA, 1000),
    "a longer file": lambda at: os.truncate(at / DATA, 4_000_000),
    "a missing file": lambda at: (at / DATA).unlink(),
    "no files": lambda at: shutil.rmtree(at / "files"),
    "no entry.json": lambda at: (at / "entry.json").unlink(),
    "an empty entry.json": lambda at: os.truncate(at / "entry.json", 0),
    "half an entry.json": lambda at: os.truncate(at / "entry.json", 50),
    "a list as entry.json": written(b"[]"),
    "bytes that are no text": written(b"\xff\xfe\x00"),
    "deep entry.json": written(b"[" * 100_000),
    "another version": lambda at: change(at / "entry.json", version=99),
    "another entry's": lambda at: change(at / "entry.json", identity=OTHER),
    "another value": lambda at: change(at / "entry.json", value="forged"),
    "files that are no mapping": lambda at: change(at / "entry.json", files=["a"]),
    "a file without digest": lambda at: change(at / "entry.json", files={"a": {"size": 1}}),
    "an endless size": lambda at: change(at / "entry.json", files={"a": SECRET | {"size": float("inf")}}),
    "a negative size": lambda at: change(at / "entry.json", files={"a": SECRET | {"size": -1}}),
    "a name that no file has": hostile("\ud800"),
    "a name that climbs": hostile("../../../../secret"),
    "a name that climbs later": hostile("a/../../../../../secret"),
    "an absolute name": hostile("/secret"),
    "an empty name": hostile(""),
    "a name with NUL": hostile("a\0b"),
    "the directory itself": hostile("."),
    "a file in a file": lambda at: change(at / "entry.json", files={"a": SECRET, "a/b": SECRET}),
    "a link to a file": link(DATA, "/etc/hostname"),
    "a link in a circle": link("files/model.savedmodel", "model.savedmodel"),
    "a link to a directory": link("files/model.savedmodel", "/etc"),
    "files as a link": move,
    "a pipe": pipe,
    "entry.json as a link": link("entry.json", "/etc/hostname"),
    "entry.json as a directory": directory,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_entry_is_a_miss_and_goes(tmp_path: Path, files: Path, damage: Callable[[Path], None]) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    cache = Cache(tmp_path / "cache", 10**9)
    cache.put(KEY, "a value", files)
    damage(entry(cache))
    destination = tmp_path / "out" / "artifact"
    destination.mkdir(parents=True)
    assert cache.get(KEY, destination) is None
    assert list(destination.parent.iterdir()) == [destination]
    assert list(destination.iterdir()) == []
    assert not os.path.lexists(entry(cache))
    assert (tmp_path / "secret").read_bytes() == b"secret"
    cache.put(KEY, "a value", files)
    assert cache.get(KEY, destination) == "a value"
    assert digest(destination) == digest(files)
    assert cache.notes == []


def test_links_in_place_of_directories_are_never_followed(tmp_path: Path, files: Path) -> None:
    """A cache that a CI system restored may hold anything."""
    outside = tmp_path / "outside"
    (outside / KEY).mkdir(parents=True)
    (outside / KEY / "precious").write_text("precious")
    (outside / "old").mkdir()
    os.utime(outside / "old", (0, 0))
    path = tmp_path / "cache"
    path.mkdir()
    (path / KEY[:2]).symlink_to(outside)
    (path / "tmp").symlink_to(outside)
    cache = Cache(path, 3_100_000)
    assert cache.get(KEY, tmp_path / "out") is None
    for number in range(3):
        cache.put(identity(number), number, files)
    assert (outside / KEY / "precious").read_text() == "precious"
    assert (outside / "old").is_dir()


# Bounds -------------------------------------------------------------------------------------------------------------


def blob(directory: Path, size: int) -> Path:
    directory.mkdir(parents=True)
    (directory / "model.onnx").write_bytes(os.urandom(size))
    return directory


def test_the_least_recently_used_entries_make_room(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", 35_000)
    source = blob(tmp_path / "blob", 10_000)
    keys = [identity(number) for number in range(4)]
    for age, key in enumerate(keys[:3]):
        cache.put(key, age, source)
        os.utime(entry(cache, key) / "entry.json", (1000 + age, 1000 + age))
    assert cache.get(keys[0], None) == 0, "reading makes it the most recently used"
    cache.put(keys[3], 3, source)
    assert [cache.get(key, None) for key in keys] == [0, None, 2, 3]
    assert list((tmp_path / "cache" / "tmp").iterdir()) == []
    assert cache.notes == []


def test_what_is_larger_than_the_limit_evicts_nothing(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", 20_000)
    cache.put(KEY, "small", blob(tmp_path / "small", 1000))
    cache.put(OTHER, "large", blob(tmp_path / "large", 30_000))
    assert cache.get(OTHER, None) is None
    assert cache.get(KEY, None) == "small"
    [note] = cache.notes
    assert "exceed its limit of 20,000 bytes and weren't cached: increase cache_size_bytes" in note


def test_leftovers_of_killed_runs_go_after_a_day(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", 10**9)
    old, new, users = f"12-{'0' * 16}", f"12-{'1' * 16}", "old photos"
    for name in (old, new, users):
        (tmp_path / "cache" / "tmp" / name / "files").mkdir(parents=True)
        if name != new:
            os.utime(tmp_path / "cache" / "tmp" / name, (time.time() - 90_000,) * 2)
    cache = Cache(tmp_path / "cache", 10**9)
    assert {path.name for path in (tmp_path / "cache" / "tmp").iterdir()} == {new, users}, "removes only its own names"
    assert cache.notes == []


# What cannot be written ---------------------------------------------------------------------------------------------


@contextmanager
def unprivileged() -> Iterator[Path]:
    """Yield a directory that anybody may reach, as a user who is not root: root may write anywhere."""
    directory = Path(tempfile.mkdtemp(dir="/tmp"))
    directory.chmod(0o777)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)
        yield directory
    finally:
        os.seteuid(user)
        shutil.rmtree(directory)


def test_a_read_only_cache_still_answers() -> None:
    with unprivileged() as directory:
        source = blob(directory / "blob", 1000)
        Cache(directory / "cache", 10**9).put(KEY, "kept", source)
        directories = [path for path in (directory / "cache").rglob("*") if path.is_dir()]
        for path in (directory / "cache", *directories):
            path.chmod(0o555)
        cache = Cache(directory / "cache", 10**9)
        try:
            assert cache.get(KEY, directory / "out") == "kept"
            assert digest(directory / "out") == digest(source)
            cache.put(OTHER, "not kept", source)
            cache.put(identity("third"), "not kept", source)
            assert cache.get(OTHER, None) is None
        finally:
            for path in (directory / "cache", *directories):
                path.chmod(0o755)
    assert cache.notes == [f"cache {directory}/cache: couldn't cache a result: Permission denied"]


def test_a_directory_that_cannot_be_made_is_said_once(tmp_path: Path, files: Path) -> None:
    (tmp_path / "file").touch()
    cache = Cache(tmp_path / "file" / "cache", 10**9)
    assert cache.notes == [f"cache {tmp_path}/file/cache: not writable (Not a directory): new results aren't cached"]
    cache.put(KEY, 1, files)
    assert cache.get(KEY, tmp_path / "out") is None
    assert not (tmp_path / "out").exists()


@contextmanager
def no_larger_files(limit: int) -> Iterator[None]:
    """Let every write beyond `limit` bytes of a file fail, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_failing_write_of_an_entry_is_said_and_leaves_nothing(tmp_path: Path, files: Path) -> None:
    cache = Cache(tmp_path / "cache", 10**9)
    with no_larger_files(1_000_000):
        cache.put(KEY, 1, files)
    assert cache.notes == [f"cache {tmp_path}/cache: couldn't cache a result: File too large"]
    assert cache.get(KEY, tmp_path / "out") is None
    assert list((tmp_path / "cache" / "tmp").iterdir()) == []


def test_a_failing_write_of_a_restored_file_keeps_the_entry(tmp_path: Path, files: Path) -> None:
    cache = Cache(tmp_path / "cache", 10**9)
    cache.put(KEY, 1, files)
    with no_larger_files(1_000_000):
        assert cache.get(KEY, tmp_path / "out" / "artifact") is None
    assert cache.notes == [f"cache {tmp_path}/cache: couldn't restore an entry: File too large"]
    assert list((tmp_path / "out").iterdir()) == []
    assert cache.get(KEY, tmp_path / "out" / "artifact") == 1


def test_files_that_leave_the_artifact_are_not_kept(tmp_path: Path, files: Path) -> None:
    (files / "link").symlink_to("/etc/hostname")
    cache = Cache(tmp_path / "cache", 10**9)
    cache.put(KEY, 1, files)
    assert cache.get(KEY, None) is None
    [note] = cache.notes
    assert "is a link to a place outside" in note


# Two runs at once ---------------------------------------------------------------------------------------------------


def content_of(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest() * 300


def hammer(path: Path, scratch: Path, seed: int, seconds: float) -> None:
    """Put and get at random; exit with 1 on any exception or wrong content, with 2 if nothing was ever found."""
    choose = random.Random(seed)
    cache = Cache(path, 60_000)
    scratch.mkdir()
    hits, end = 0, time.monotonic() + seconds
    turn = 0
    while time.monotonic() < end:
        turn += 1
        number = choose.randrange(12)
        key = identity(number)
        source, destination = scratch / f"in{turn}", scratch / f"out{turn}"
        source.mkdir()
        (source / "model.onnx").write_bytes(content_of(number))
        if choose.random() < 0.5:
            cache.put(key, {"number": number}, source)
        found = cache.get(key, destination)
        if found is not None:
            hits += 1
            assert found == {"number": number}
            assert (destination / "model.onnx").read_bytes() == content_of(number)
        else:
            assert not destination.exists()
        if choose.random() < 0.05 and (path / key[:2] / key / "files" / "model.onnx").exists():
            shutil.rmtree(path / key[:2] / key / "files", ignore_errors=True)
    assert cache.notes == [], cache.notes
    raise SystemExit(0 if hits else 2)


def test_two_runs_at_once_never_see_wrong_content(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    runs = [
        context.Process(target=hammer, args=(tmp_path / "cache", tmp_path / f"scratch{seed}", seed, 1.5))
        for seed in range(3)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
    assert [run.exitcode for run in runs] == [0, 0, 0]
    present = [path for path in (tmp_path / "cache").glob("??/*/files/*") if path.is_file()]
    assert present
    assert sum(path.stat().st_size for path in present) <= 60_000
    assert list((tmp_path / "cache" / "tmp").iterdir()) == []
