"""Arrays between workers and their parent: what a model wrote itself is read as a stranger's."""

import contextlib
import json
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from navigator.samples.storage import load, save, stacked, unstacked

LIMIT = 1000


@pytest.mark.parametrize("mapped", [True, False])
def test_arrays_come_back_as_they_were(tmp_path: Path, mapped: bool) -> None:
    arrays = {
        "a/b": np.arange(6.0).reshape(2, 3),
        "": np.array(True),
        "none": np.zeros((0, 4), np.int8),
        "c": np.array([1 + 2j], np.complex64),
    }
    save(tmp_path / "sets", [("first", arrays), ("second", {})])
    (first, found), second = load(tmp_path / "sets", mapped=mapped, limit_bytes=57)
    assert (first, second) == ("first", ("second", {}))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


def test_arrays_beyond_the_limit_are_refused_together(tmp_path: Path) -> None:
    save(tmp_path / "sets", [(name, {"x": np.zeros(60)}) for name in ("a", "b")])
    assert len(load(tmp_path / "sets", limit_bytes=960)) == 2
    with pytest.raises(ValueError, match="its arrays are larger than a worker's memory"):
        load(tmp_path / "sets", limit_bytes=959)


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (2**37,)})
        file.truncate(2**40 + 128)


def _array(array: np.ndarray, *, pickled: bool = False) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, array, allow_pickle=pickled)

    return write


ARRAYS: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (os.mkfifo, "not a regular file"),
    "endless": (lambda path: path.symlink_to("/dev/zero"), "a symbolic link"),
    "the reference": (lambda path: path.symlink_to("../reference.npy"), "a symbolic link"),
    "directory": (Path.mkdir, "not a regular file"),
    "terabyte": (_sparse, "larger than a worker's memory"),
    "pickle": (_array(np.array([object()]), pickled=True), "Python objects"),
    "text": (_array(np.array(["text"])), "isn't an array of numbers"),
    "dates": (_array(np.array(["2026-01-01"], "M8[D]")), "isn't an array of numbers"),
    "records": (_array(np.zeros(2, [("a", "f4")])), "isn't an array of numbers"),
    "archive": (lambda path: zipfile.ZipFile(path, "w").close(), "magic string"),
    "cut": (lambda path: path.write_bytes(b"\x93NUMPY\x01"), "magic string|header"),
    "text file": (lambda path: path.write_text("text"), "magic string"),
}


def _header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode("latin1")


@given(st.one_of(st.binary(max_size=300), st.text("{}()[]'descrfotnhp_aulTeFs<8:, 0123456789L*\n-", max_size=200)))
@example("{'descr': '<f8'")
@example("{'descr': '<f8', 'fortran_order': False, 'shape': (" + "9" * 30 + ",)}")
@example("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}")
@example("{'descr': '|V0', 'fortran_order': False, 'shape': ()}")
@example("(" * 9000)
@example("[" * 90 + "]" * 90)
@example("  {\n x")
def test_whatever_a_file_of_arrays_holds_it_is_numbers_or_refused(content: bytes | str) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name, "sets")
        save(directory, [("a", {"x": np.zeros(3)})])
        (directory / "0_0.npy").write_bytes(content if isinstance(content, bytes) else _header(content))
        with contextlib.suppress(ValueError):
            ((_, found),) = load(directory, mapped=True, limit_bytes=LIMIT)
            assert found["x"].dtype.kind in "biufcU"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("mapped", [True, False])
def test_what_is_no_array_of_numbers_is_refused(tmp_path: Path, kind: str, mapped: bool) -> None:
    save(tmp_path / "sets", [("a", {"x": np.zeros(3)})])
    (tmp_path / "sets" / "0_0.npy").rename(tmp_path / "reference.npy")
    write, words = ARRAYS[kind]
    write(tmp_path / "sets" / "0_0.npy")
    with pytest.raises((OSError, ValueError), match=words):
        load(tmp_path / "sets", mapped=mapped, limit_bytes=LIMIT, text=False)


@pytest.mark.parametrize("mapped", [True, False])
def test_text_comes_back_where_it_may_be(tmp_path: Path, mapped: bool) -> None:
    save(tmp_path / "sets", [("a", {"x": np.array([["red", ""], ["Ü", "未知"]])})])
    ((_, found),) = load(tmp_path / "sets", mapped=mapped)
    assert found["x"].tolist() == [["red", ""], ["Ü", "未知"]]


@pytest.mark.parametrize(
    "index",
    [
        *(1, None, "x", [1], [[]], [{}], [{"name": "a"}], [{"name": "a", "files": []}], [{"name": 1, "files": {}}]),
        *([{"name": "a", "files": {"x": 1}}], [{"name": "a", "files": {"x": "absent.npy"}}]),
        [{"name": "a", "files": {"x": ""}}],
    ],
)
def test_an_index_that_save_never_writes_is_refused(tmp_path: Path, index: object) -> None:
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises((OSError, ValueError)):
        load(tmp_path)


def test_an_index_of_deep_lists_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text("[" * 10**6)
    with pytest.raises(ValueError, match=r"index\.json is damaged"):
        load(tmp_path)


def test_arrays_behind_a_link_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "others", [("a", {"x": np.zeros(3)})])
    (tmp_path / "sets").symlink_to("others")
    with pytest.raises(OSError, match="a symbolic link"):
        load(tmp_path / "sets")


def test_small_sets_share_files_and_come_apart_again(tmp_path: Path) -> None:
    one, other = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(4, np.int64)
    sets = [
        ("0", {"x": one, "number": np.array(3)}),
        ("1", {"x": one[:1], "number": np.array(3)}),
        ("2", {"x": one + 1, "number": np.array(5)}),
        ("3", {"x": one.astype(np.float64), "number": np.array(5)}),
        ("4", {"z": other}),
    ]
    save(tmp_path / "sets", stacked(sets))
    assert len(list((tmp_path / "sets").glob("*.npy"))) == 7
    found = unstacked(load(tmp_path / "sets", mapped=True))
    assert found.keys() == {"0", "1", "2", "3", "4"}
    for name, arrays in sets:
        assert found[name].keys() == arrays.keys()
        for key, array in arrays.items():
            assert found[name][key].dtype == array.dtype
            np.testing.assert_array_equal(found[name][key], array, strict=True)


@pytest.mark.parametrize("array", [np.zeros(2), np.array(1.0), np.zeros((4, 3))])
def test_other_sets_do_not_come_apart(array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="as many as their names"):
        unstacked([("0 1 2", {"x": array})])
