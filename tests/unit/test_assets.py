"""What is attached to a release, made ready on disk."""

import hashlib
import re
import subprocess
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navigator.github.release_assets import Asset, prepare, unique
from navigator.github.rest import PublishError


def _file(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_file_is_attached_as_it_is_and_several_as_one_zip(tmp_path: Path) -> None:
    single = Asset(name="resnet50-onnx_op17.onnx", files=[("model.onnx", _file(tmp_path / "a/model.onnx", b"graph"))])
    parts = [("saved_model.pb", b"graph"), ("variables/variables.index", b"index")]
    several = Asset(name="bert-tf", files=[(name, _file(tmp_path / "b" / name, content)) for name, content in parts])
    summary = _file(tmp_path / "summary.md", b"# Report\n")
    (tmp_path / "made").mkdir()

    prepared = prepare([single, several], [summary], tmp_path / "made")

    names = ["summary.md", "resnet50-onnx_op17.onnx", "bert-tf.zip", "SHA256SUMS"]
    assert [each.name for each in prepared] == names
    assert prepared[1].path == tmp_path / "a/model.onnx"
    with zipfile.ZipFile(prepared[2].path) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == dict(parts)
    for each in prepared:
        content = each.path.read_bytes()
        assert (each.size_bytes, each.digest) == (len(content), f"sha256:{hashlib.sha256(content).hexdigest()}")


def test_the_checksums_are_those_of_sha256sum(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    asset = Asset(name="a.onnx", files=[("model.onnx", _file(tmp_path / "a.onnx", b"graph"))])

    prepare([asset], [_file(tmp_path / "summary.md", b"x")], tmp_path / "made")

    command = ["sha256sum", "--check", "--strict", "made/SHA256SUMS"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "summary.md: OK\na.onnx: OK\n")


def test_the_same_files_make_the_same_zip(tmp_path: Path) -> None:
    files = [(name, _file(tmp_path / name, name.encode())) for name in ("a", "b")]
    made = []
    for directory in (tmp_path / "one", tmp_path / "two"):
        directory.mkdir()
        made.append(prepare([Asset(name="model", files=files)], [], directory)[0].digest)

    assert made[0] == made[1]


def test_a_file_of_2_gib_is_refused_and_said_what_to_do_with(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:
        file.truncate(2**31)

    with pytest.raises(PublishError) as caught:
        prepare([Asset(name="bert-onnx.onnx", files=[("model.onnx", path)])], [], tmp_path)

    assert caught.value.message == (
        "bert-onnx.onnx, model.onnx has 2,147,483,648 bytes; release files must be smaller than 2 GiB "
        "(2,147,483,648 bytes), so nothing was uploaded"
    )
    assert "Git LFS" in caught.value.hint
    assert "split" in caught.value.hint


def test_a_link_is_not_attached(tmp_path: Path) -> None:
    link = tmp_path / "model.onnx"
    link.symlink_to("/etc/hostname")

    with pytest.raises(PublishError, match="it's a symbolic link"):
        prepare([Asset(name="a.onnx", files=[("model.onnx", link)])], [], tmp_path)


@given(
    names=st.lists(st.text(max_size=6) | st.sampled_from(["a.onnx", "A.onnx", "a-2.onnx", "..", "ä.onnx", "_.onnx"]))
)
def test_names_are_unique_and_such_that_github_keeps_them(names: list[str]) -> None:
    found = unique(names)

    assert len({name.lower() for name in found}) == len(names)
    for name in found:
        assert re.fullmatch(r"[A-Za-z0-9_-]([A-Za-z0-9._-]*[A-Za-z0-9_-])?", name), name


def test_a_good_name_is_kept_and_a_taken_one_is_numbered() -> None:
    assert unique(["resnet50-onnx_op17.onnx", "a b.onnx", "a_b.onnx"]) == [
        "resnet50-onnx_op17.onnx",
        "a_b.onnx",
        "a_b-2.onnx",
    ]


def test_a_model_cannot_take_the_name_of_the_checksums(tmp_path: Path) -> None:
    asset = Asset(name="sha256sums", files=[("model", _file(tmp_path / "model", b"x"))])
    (tmp_path / "made").mkdir()

    prepared = prepare([asset], [], tmp_path / "made")

    assert [each.name for each in prepared] == ["sha256sums-2", "SHA256SUMS"]
