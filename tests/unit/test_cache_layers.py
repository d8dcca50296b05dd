"""Whose entries a run reads and writes, what all layers together may take, and that nothing else is touched."""

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from navigator.cache.digests import identity
from navigator.cache.layers import NAME, TRUSTED, Layers, untrusted

KEY = identity("a key")
LIMIT = 10**9
PULL_7, PULL_8 = untrusted("pr", 7), untrusted("pr", 8)


def blob(directory: Path, size: int) -> Path:
    directory.mkdir(parents=True)
    (directory / "model.onnx").write_bytes(os.urandom(size))
    return directory


def put(path: Path, layer: str, value: Any = None) -> None:
    Layers(path, LIMIT, layer).put(KEY, value or layer, None)


def get(path: Path, layer: str) -> Any:
    return Layers(path, LIMIT, layer).get(KEY, None)


# Who reads what -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("writer", [TRUSTED, PULL_7])
@pytest.mark.parametrize("reader", [TRUSTED, PULL_7, PULL_8])
def test_a_run_reads_what_is_trusted_and_what_is_its_own(tmp_path: Path, writer: str, reader: str) -> None:
    put(tmp_path, writer)
    assert get(tmp_path, reader) == (writer if writer in (TRUSTED, reader) else None)


def test_what_is_trusted_comes_first(tmp_path: Path) -> None:
    put(tmp_path, PULL_7)
    put(tmp_path, TRUSTED)
    assert get(tmp_path, PULL_7) == TRUSTED


def test_an_untrusted_run_changes_nothing_that_is_trusted(tmp_path: Path) -> None:
    put(tmp_path, TRUSTED)
    home = tmp_path / NAME / TRUSTED
    entry = home / KEY[:2] / KEY / "entry.json"
    os.utime(entry, (1000, 1000))
    Layers(tmp_path, LIMIT, PULL_7).put(identity("other"), 1, None)
    assert get(tmp_path, PULL_7) == TRUSTED
    assert entry.stat().st_mtime == 1000
    entry.write_text("damaged")
    before = sorted(home.rglob("*"))
    assert get(tmp_path, PULL_7) is None
    assert sorted(home.rglob("*")) == before


@pytest.mark.parametrize("layer", ["", ".", "..", "untrusted", "untrusted/..", "untrusted/pr-7/..", "/tmp", "trusted/"])
def test_what_is_no_layer_is_refused(tmp_path: Path, layer: str) -> None:
    with pytest.raises(ValueError, match="not a layer"):
        Layers(tmp_path, LIMIT, layer)


def test_a_pull_request_begins_with_the_trusted_measurements_and_keeps_its_own(tmp_path: Path) -> None:
    timing = Layers(tmp_path, LIMIT).timing
    assert timing is not None
    timing.mkdir()
    (timing / "gpu.cache").write_bytes(b"trusted")
    os.mkfifo(timing / "pipe")
    (timing / "link").symlink_to("/etc/hostname")
    own = Layers(tmp_path, LIMIT, PULL_7).timing
    assert own is not None
    assert {path.name: path.read_bytes() for path in own.iterdir()} == {"gpu.cache": b"trusted"}
    (own / "gpu.cache").write_bytes(b"own")
    Layers(tmp_path, LIMIT, PULL_7)
    assert (own / "gpu.cache").read_bytes() == b"own"
    assert (timing / "gpu.cache").read_bytes() == b"trusted"


# Nothing of the user's ----------------------------------------------------------------------------------------------


def test_the_directory_is_marked_as_a_cache(tmp_path: Path) -> None:
    Layers(tmp_path / "cache", LIMIT)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [NAME]
    tag = (tmp_path / "cache" / NAME / "CACHEDIR.TAG").read_bytes()
    assert tag.startswith(b"Signature: 8a477f597d28d172789f06886806bc55\n")


def test_only_its_own_directory_is_touched(tmp_path: Path) -> None:
    """As with `--cache-path .`: files of the user's, and those of a cache as it was once laid out."""
    for name in ("tmp/photos/1", f"{KEY[:2]}/{KEY}/entry.json", "lock", "timing/x", "trusted/y", "untrusted/pr-1/z"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
        os.utime(path.parent, (1000, 1000))
    before = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")}
    for layer in (TRUSTED, PULL_7, TRUSTED):
        cache = Layers(tmp_path, 1000, layer)
        for number in range(5):
            cache.put(identity(number), "x" * 200, None)
        assert cache.get(KEY, None) is None
    after = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*") if NAME not in path.parts}
    assert after == before


def test_a_directory_of_the_users_that_has_the_same_name_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / NAME / TRUSTED / "tmp" / f"1-{'0' * 16}").mkdir(parents=True)
    os.utime(tmp_path / NAME / TRUSTED / "tmp" / f"1-{'0' * 16}", (1000, 1000))
    before = sorted(tmp_path.rglob("*"))
    cache = Layers(tmp_path, LIMIT)
    cache.put(KEY, 1, None)
    assert cache.get(KEY, None) is None
    assert cache.timing is None
    assert sorted(tmp_path.rglob("*")) == before
    assert cache.notes == [
        f"cache {tmp_path}: not writable ({NAME} isn't Model Navigator's: it has no CACHEDIR.TAG): nothing is cached"
    ]


@pytest.mark.parametrize("name", [NAME, f"{NAME}/{TRUSTED}", f"{NAME}/untrusted", f"{NAME}/{PULL_7}"])
def test_no_link_in_it_is_followed(tmp_path: Path, name: str) -> None:
    put(tmp_path / "cache", TRUSTED)
    put(tmp_path / "cache", PULL_7)
    link, target = tmp_path / "cache" / name, tmp_path / "target"
    link.rename(target)
    link.symlink_to(target)
    before = sorted(target.rglob("*"))
    for layer in (TRUSTED, PULL_7):
        Layers(tmp_path / "cache", LIMIT, layer).put(identity(1), 1, None)
    assert sorted(target.rglob("*")) == before


def test_the_users_own_directory_may_be_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to("target")
    put(tmp_path / "link", TRUSTED)
    assert get(tmp_path / "target", TRUSTED) == TRUSTED


# Bounds -------------------------------------------------------------------------------------------------------------


def size(path: Path) -> int:
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())


def test_all_layers_together_keep_the_limit(tmp_path: Path) -> None:
    limit, source = 2_000_000, blob(tmp_path / "blob", 100_000)
    key = iter(range(1000))
    for layer in (TRUSTED, *(untrusted("pr", number) for number in range(5)), TRUSTED):
        cache = Layers(tmp_path / "cache", limit, layer)
        for _ in range(30):
            cache.put(identity(next(key)), 1, source)
            assert size(tmp_path / "cache") <= limit, layer
        assert cache.get(identity(0 if layer == TRUSTED else next(key)), None) is None
    home = tmp_path / "cache" / NAME
    assert size(home / "untrusted") <= limit / 4
    assert size(home / TRUSTED) > limit * 0.6, "no pull request pushes it out"


def test_every_pull_request_finds_room(tmp_path: Path) -> None:
    source = blob(tmp_path / "blob", 100_000)
    for number in range(10):
        cache = Layers(tmp_path / "cache", 2_000_000, untrusted("pr", number))
        for key in range(5):
            cache.put(identity(key), number, source)
        assert cache.get(identity(4), None) == number
    names = {path.name for path in (tmp_path / "cache" / NAME / "untrusted").iterdir()}
    assert "pr-9" in names
    assert "pr-0" not in names, "the one that was not used for longest goes first"


def test_what_a_model_left_in_its_layer_is_bounded_and_removed_at_any_depth(tmp_path: Path) -> None:
    put(tmp_path / "cache", PULL_7)
    layer = tmp_path / "cache" / NAME / PULL_7
    blob(layer / "junk", 1_000_000)
    entry = layer / "00" / ("0" * 64)
    entry.mkdir(parents=True)
    here = os.open(entry, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("deep", dir_fd=here)
        here, above = os.open("deep", os.O_RDONLY, dir_fd=here), here
        os.close(above)
    os.close(here)
    cache = Layers(tmp_path / "cache", LIMIT, PULL_7)
    cache.put(identity(1), 1, None)
    assert cache.get(identity(1), None) == 1
    Layers(tmp_path / "cache", 8_000_000, PULL_8)
    assert not layer.exists()


# What another program wrote -----------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FILES = JSON | st.dictionaries(st.text(), JSON | st.fixed_dictionaries({"sha256": JSON, "size": JSON}), max_size=3)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(change=st.dictionaries(st.sampled_from(["version", "files", "value", "value_sha256"]), JSON), files=FILES)
def test_no_entry_ends_a_run(tmp_path: Path, change: dict[str, Any], files: Any) -> None:
    put(tmp_path / "cache", PULL_7)
    entry = tmp_path / "cache" / NAME / PULL_7 / KEY[:2] / KEY / "entry.json"
    entry.write_text(json.dumps(json.loads(entry.read_text()) | {"files": files} | change))
    out = tmp_path / "out"
    shutil.rmtree(out, ignore_errors=True)
    cache = Layers(tmp_path / "cache", LIMIT, PULL_7)
    cache.restore(KEY, out / "artifact")
    assert sorted(path.name for path in tmp_path.iterdir()) in (["cache"], ["cache", "out"])


@pytest.mark.parametrize("sparse", [2**50, 2 * LIMIT])
def test_files_larger_than_the_cache_are_not_restored(tmp_path: Path, sparse: int) -> None:
    blob(tmp_path / "blob", 10)
    Layers(tmp_path / "cache", LIMIT, PULL_7).put(KEY, 1, tmp_path / "blob")
    entry = tmp_path / "cache" / NAME / PULL_7 / KEY[:2] / KEY
    os.truncate(entry / "files" / "model.onnx", min(sparse, 2**43))
    record = json.loads((entry / "entry.json").read_text())
    record["files"]["model.onnx"]["size"] = min(sparse, 2**43)
    (entry / "entry.json").write_text(json.dumps(record))
    started = time.monotonic()
    assert Layers(tmp_path / "cache", LIMIT, PULL_7).restore(KEY, tmp_path / "out") is None
    assert time.monotonic() - started < 5
