"""The files of a model: all are found, and those that can't be right are named before anything runs."""

import hashlib
import os
import re
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from navigator.cache import digests
from navigator.cache.digests import digest, model_digest
from navigator.cli import main
from navigator.errors import quote
from navigator.frameworks.onnx import weights
from navigator.models.external_data import External, externals
from navigator.models.files import external_data, model_files, problems
from navigator.models.reading import DeadlineError, StoppedError, Watch, blocks, copy_content
from navigator.records import Format
from tests.support.builders import SAVED_MODEL, saved_model

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 64\n"
FETCH = "run `git lfs pull`, or set `lfs: true` for actions/checkout"


Proto = Any


def tensor(location: str | None = "w.bin", *, name: str = "w", offset: int = 0, length: int = 0) -> Proto:
    """Return sixteen floats, in another file if one is named."""
    from onnx import TensorProto, numpy_helper

    made = numpy_helper.from_array(np.ones((4, 4), np.float32), name)
    if location is not None:
        made.ClearField("raw_data")
        made.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, "offset": offset, "length": length}.items():
            if value:
                made.external_data.add(key=key, value=str(value))
    return made


def model_of(*initializers: Proto) -> Proto:
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])
    return helper.make_model(helper.make_graph([], "g", [value], [value], [*initializers]))


def write(directory: Path, *initializers: Proto) -> Path:
    path = directory / "model.onnx"
    path.write_bytes(model_of(*initializers).SerializeToString())
    return path


# What is found ------------------------------------------------------------------------------------------------------


@st.composite
def models(draw: st.DrawFn) -> Proto:
    """Return a model with tensors wherever a message may hold one."""
    import onnx

    names = st.sampled_from(["a", "b/c", "d", None])

    def some() -> list[Proto]:
        return [tensor(name, offset=draw(st.integers(0, 300))) for name in draw(st.lists(names, max_size=2))]

    def graph(depth: int) -> Proto:
        nodes = []
        for _ in range(draw(st.integers(0, 2))):
            node = onnx.NodeProto(op_type="Any", input=["x"], doc_string="d" * draw(st.integers(0, 200)))
            attribute = node.attribute.add(name="v", ints=[1, 2], tensors=some())
            for each in some()[:1]:
                attribute.t.CopyFrom(each)
            if depth:
                attribute.g.CopyFrom(graph(depth - 1))
                attribute.graphs.append(graph(depth - 1))
            nodes.append(node)
        made = onnx.GraphProto(name="g", node=nodes, initializer=some())
        for each in some():
            made.sparse_initializer.add(values=each, indices=tensor(None), dims=[9])
        return made

    made = onnx.ModelProto(ir_version=10, producer_name="p", graph=graph(2))
    made.functions.add(name="f").node.extend(graph(1).node)
    return made


@settings(max_examples=60, deadline=None)
@given(models(), st.sampled_from([64, 2**18]))
def test_all_tensors_in_other_files_are_found_as_onnx_finds_them(
    tmp_path_factory: pytest.TempPathFactory, made: Proto, block_bytes: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.onnx"
    path.write_bytes(made.SerializeToString())
    expected = [
        {entry.key: entry.value for entry in each.external_data} for each in weights.tensors(made) if each.external_data
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("navigator.models.wire._BLOCK_BYTES", block_bytes)
        found = list(externals(path))
    assert sorted((each.location, each.offset, each.end, each.is_used) for each in found) == sorted(
        (each["location"], int(each.get("offset", 0)), int(each.get("offset", 0)) + 64, True) for each in expected
    )


def test_an_entry_may_begin_with_its_value(tmp_path: Path) -> None:
    content = model_of(tensor("w.bin", length=8)).SerializeToString()
    assert content.count(b"\x0a\x08location\x12\x05w.bin") == 1
    path = tmp_path / "model.onnx"
    path.write_bytes(content.replace(b"\x0a\x08location\x12\x05w.bin", b"\x12\x05w.bin\x0a\x08location"))
    assert list(externals(path)) == [External(tensor="w", location="w.bin", offset=0, end=8, is_used=True)]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40), st.integers(0, 400))
def test_damage_is_no_error(tmp_path_factory: pytest.TempPathFactory, damage: bytes, at: int) -> None:
    content = model_of(tensor("w.bin"), tensor("v.bin")).SerializeToString()
    path = tmp_path_factory.getbasetemp() / "damaged.onnx"
    path.write_bytes(content[:at] + damage + content[at + len(damage) :])
    for each in externals(path):
        assert isinstance(each, External)


def test_a_file_of_endless_fields_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.onnx"
    producer = b"\x12\x08location"  # nothing else is walked through
    path.write_bytes(b"\x08\x01" * 998 + producer)
    monkeypatch.setattr("navigator.models.external_data._MOST_FIELDS", 1000)
    assert list(externals(path)) == []
    path.write_bytes(b"\x08\x01" * 1001 + producer)
    [(message, _)] = problems(path, Format.ONNX)
    assert message == f"{path} has more than 1,000 fields"


def test_large_weights_in_the_file_itself_are_skipped(tmp_path: Path) -> None:
    """A terabyte of zeros, which is a hole: whoever reads it is still at it tomorrow."""
    import onnx

    graph = onnx.GraphProto(name="g", initializer=[tensor("w.bin")]).SerializeToString()
    hole = 2**40
    path = tmp_path / "model.onnx"

    def varint(value: int) -> bytes:
        return bytes([value & 127 | 128]) + varint(value >> 7) if value > 127 else bytes([value])

    raw = b"\x4a" + varint(hole)
    own = b"\x2a" + varint(len(raw) + hole) + raw
    with path.open("wb") as file:
        file.write(b"\x08\x0a\x3a" + varint(len(own) + hole + len(graph)) + own)
        file.seek(hole, os.SEEK_CUR)
        file.write(graph)
    (tmp_path / "w.bin").write_bytes(bytes(64))
    assert model_files(path) == (path, tmp_path / "w.bin")


# What is wrong ------------------------------------------------------------------------------------------------------


def test_a_whole_model_has_no_problem(tmp_path: Path) -> None:
    path = write(tmp_path, tensor("w.bin", offset=64, length=64), tensor("below/v.bin", name="v"), tensor(None))
    (tmp_path / "w.bin").write_bytes(bytes(128))
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "v.bin").write_bytes(bytes(64))
    assert list(problems(path, Format.ONNX)) == []
    assert external_data(path) == ["below/v.bin", "w.bin"]


@pytest.mark.fault(
    "External data of an ONNX model is absent, too short, or outside the directory of the model",
    "Exit code 2. The file is named.",
)
def test_what_is_wrong_with_external_data(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    there = tmp_path / "m"
    (tmp_path / "up.bin").write_bytes(bytes(64))
    (there / "pointer").write_text(POINTER)
    (there / "short").write_bytes(bytes(100))
    (there / "directory").mkdir()
    os.mkfifo(there / "pipe")
    (there / "link").symlink_to(tmp_path / "up.bin")
    (there / "circle").symlink_to("circle")

    def problem(location: str, *, offset: int = 0, length: int = 0) -> tuple[str, str]:
        [found] = problems(write(there, tensor(location, offset=offset, length=length)), Format.ONNX)
        return found

    stored, again = f"{there}/model.onnx stores weights in ", "save the model again"
    beside, own = f"put the file next to model.onnx, or {again}", f"{again}, with its external data in the model's own"
    assert problem("gone") == (f"{stored}'gone', which doesn't exist", beside)
    assert problem("pipe") == (f"{stored}'pipe', which isn't a file", beside)
    assert problem("directory") == (f"{stored}'directory', which isn't a file", beside)
    for location in ("../up.bin", "short/../../up.bin", str(tmp_path / "up.bin"), str(there / "short"), "link"):
        assert problem(location) == (f"{stored}{quote(location)}, outside its own directory", f"{own} directory")
    assert problem("pointer") == (f"{there}/pointer is a Git LFS pointer, not the file itself", FETCH)
    assert problem("short", offset=64, length=64) == (
        f"{there}/short is too short: tensor 'w' of model.onnx ends at byte 128, but the file has 100 bytes",
        f"{again}, or copy all of the file",
    )
    assert "ends at byte 128" in problem("short", offset=64)[0], "by its shape, where it has no length"
    assert problem("circle")[0].startswith(f"{stored}'circle', which")


def test_only_what_is_used_must_be_there(tmp_path: Path) -> None:
    """onnx reads other files only for tensors whose data_location says so."""
    from onnx import TensorProto

    unused = tensor("gone")
    unused.raw_data = bytes(64)
    unused.data_location = TensorProto.DEFAULT
    assert list(problems(write(tmp_path, unused), Format.ONNX)) == []


def test_every_file_of_a_saved_model_is_looked_at(tmp_path: Path) -> None:
    for name in ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001", "assets/v"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\x08\x01")
    assert list(problems(tmp_path, Format.TF_SAVEDMODEL)) == []
    for path in sorted(path for path in tmp_path.rglob("*") if path.is_file()):
        content = path.read_bytes()
        path.write_text(POINTER)
        assert list(problems(tmp_path, Format.TF_SAVEDMODEL)) == [
            (f"{path} is a Git LFS pointer, not the file itself", FETCH)
        ]
        path.write_bytes(content)
    (tmp_path / "assets" / "secret").symlink_to("/etc/passwd")
    [(message, _)] = problems(tmp_path, Format.TF_SAVEDMODEL)
    assert message == f"{tmp_path}/assets/secret is a link to a place outside {tmp_path}"


@pytest.mark.fault("A SavedModel lacks files of its variables", "Exit code 2. The file is named.")
def test_variables_that_a_saved_model_restores_must_be_there(tmp_path: Path) -> None:
    def missing(*names: str, graph: bytes = saved_model("serving_default", restores=True)) -> list[str]:
        model = Path(tempfile.mkdtemp(dir=tmp_path))
        (model / "variables").mkdir()
        for name in names:
            (model / "variables" / name).touch()
        (model / "saved_model.pb").write_bytes(graph)
        found = problems(model, Format.TF_SAVEDMODEL)
        return [message.removeprefix(f"{model} has no variables/").partition(",")[0] for message, _ in found]

    index, one, two, three = "variables.index", *(f"variables.data-{n:05}-of-00003" for n in range(3))
    assert missing() == [index]
    assert missing(graph=SAVED_MODEL) == [], "it has no variables"
    assert missing(graph=b"\x12\x7f") == [], "what is damaged is told elsewhere"
    assert missing(one, two, three) == [index]
    assert missing(index) == ["variables.data-00000-of-00001"]
    assert missing(index, two) == [one, three]
    assert missing(index, one, two, three) == []
    assert missing("variables-00000-of-00001") == [], "TensorFlow's first format, which has no index"


@pytest.mark.fault(
    "A file of a model, a sample or a plugin is a Git LFS pointer",
    "Exit code 2. The file and `git lfs pull` are named.",
)
def test_pointers_anywhere_are_named_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, tensor("w.bin"))
    (tmp_path / "saved" / "variables").mkdir(parents=True)
    (tmp_path / "saved" / "saved_model.pb").write_bytes(SAVED_MODEL)
    (tmp_path / "saved" / "variables" / "variables.index").touch()
    for name in ("w.bin", "saved/variables/variables.data-00000-of-00001", "s.npz", "p.so", "m.pt", "n.pt.yaml"):
        (tmp_path / name).write_text(POINTER)
    with zipfile.ZipFile(tmp_path / "n.pt", "w") as archive:
        archive.writestr("n/code/m.py", "")
        archive.writestr("n/constants.pkl", "")
    (tmp_path / "s.pt").write_bytes(b"x")
    (tmp_path / "navigator.yaml").write_text(
        "models:\n"
        "- {model_name: a, model_path: model.onnx, samples: [s.npz], tensorrt_plugins: [p.so]}\n"
        "- {model_name: b, model_path: saved}\n"
        "- {model_name: c, model_path: m.pt, model_format: torchscript}\n"
        "- {model_name: d, model_path: n.pt}\n"
    )
    assert main(["validate", "navigator.yaml"]) == main(["convert"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 * 6
    assert said[:6] == said[6:]
    for name in ("w.bin", "saved/variables/variables.data-00000-of-00001", "s.npz", "p.so", "m.pt"):
        [line] = [line for line in said[:6] if f"{tmp_path}/{name} is a Git LFS pointer" in line]
        assert line.startswith("navigator.yaml:")
        assert line.endswith(FETCH)
    assert f"n.pt.yaml: the file is a Git LFS pointer; {FETCH}" in said

    (tmp_path / "navigator.yaml").write_text(POINTER)
    assert main(["validate", "navigator.yaml"]) == 2
    assert capsys.readouterr().err == f"navigator.yaml: the file is a Git LFS pointer; {FETCH}\n"


def test_a_pipe_as_a_sample_is_not_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "s.npz")
    write(tmp_path, tensor(None))
    config = tmp_path / "navigator.yaml"
    config.write_text("{model_name: a, model_path: model.onnx, samples: [s.npz]}")
    assert main(["validate", str(config)]) == 2
    assert f"{tmp_path}/s.npz isn't a file" in capsys.readouterr().err


# How they are read --------------------------------------------------------------------------------------------------


@st.composite
def layouts(draw: st.DrawFn) -> tuple[int, list[tuple[int, bytes]]]:
    """Return the size of a sparse file, and what is written where: bytes that may be zeros, too."""
    size = draw(st.integers(0, 3 * 2**19))
    content = st.builds(lambda byte, count: bytes([byte]) * count, st.integers(0, 1), st.integers(1, 200_000))
    return size, draw(st.lists(st.tuples(st.integers(0, size), content), max_size=4))


@settings(max_examples=25, deadline=None)
@given(layouts())
def test_holes_count_as_the_zeros_that_they_are(
    tmp_path_factory: pytest.TempPathFactory, layout: tuple[int, list[tuple[int, bytes]]]
) -> None:
    size, written = layout
    sparse, dense, copy = (tmp_path_factory.getbasetemp() / name for name in ("sparse", "dense", "copy"))
    with sparse.open("wb") as file:
        for at, content in written:
            file.seek(at)
            file.write(content)
        file.truncate(size)
    content = sparse.read_bytes()
    dense.write_bytes(content)
    copy_content(sparse, copy)
    assert copy.read_bytes() == content
    assert copy.stat().st_blocks <= dense.stat().st_blocks
    assert digest(sparse) == digest(dense) == hashlib.sha256(content).hexdigest()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("navigator.cache.digests._LARGE_BYTES", 2**18)
        patch.setattr("navigator.cache.digests._PART_BYTES", 2**16)
        digests._empty_part.cache_clear()
        in_parts = model_digest(sparse)
        assert in_parts == model_digest(dense)
        assert (in_parts == digest(sparse)) is (size <= 2**18)
        dense.write_bytes(content[:-1] + b"\2")
        assert model_digest(dense) != in_parts
    digests._empty_part.cache_clear()


def test_a_model_of_200_gigabytes_of_holes_is_identified_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, tensor("w.bin"))
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(200 * 10**9)
    began = time.monotonic()
    seen = model_digest(path)
    assert time.monotonic() - began < 10
    with (tmp_path / "w.bin").open("r+b") as file:
        file.seek(123 * 10**9)
        file.write(b"\1")
    assert model_digest(path) != seen


def test_a_copy_is_a_file_of_its_own(tmp_path: Path) -> None:
    """Whoever writes to a converted model must not reach the source through it."""
    (tmp_path / "source").write_bytes(b"weights")
    copy_content(tmp_path / "source", tmp_path / "copy")
    with (tmp_path / "copy").open("r+b") as file:
        file.write(b"W")
    assert (tmp_path / "source").read_bytes() == b"weights"
    assert (tmp_path / "copy").read_bytes() == b"Weights"


@pytest.mark.fault(
    "A source model is so large that reading it takes longer than `timeout_seconds`",
    "That model's conversions fail and say so; a line every ten seconds says how much was read.",
)
def test_reading_has_a_deadline_says_how_far_it_is_and_can_be_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(DeadlineError, match=r"reading .*large took longer than 0\.1 s: 0\.\d of 1000\.0 GB were read"):
        digest(path, Watch(0.1))

    said: list[str] = []
    monkeypatch.setattr("navigator.models.reading._SAY_EVERY_SECONDS", 0.01)
    with pytest.raises(StoppedError):
        digest(path, Watch(is_cancelled=lambda: len(said) > 2, on_progress=said.append))
    assert re.fullmatch(rf"reading {re.escape(str(path))}: 0\.\d of 1000\.0 GB", said[0])


def test_what_has_taken_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        for read in (digest, model_digest, lambda path: copy_content(path, tmp_path / "copy")):
            with pytest.raises(OSError, match="not a regular file"):
                read(path)


def test_a_file_that_shrinks_while_it_is_read_is_said(tmp_path: Path) -> None:
    path = tmp_path / "shrinking"
    path.write_bytes(b"x" * 3 * 2**20)
    content = blocks(path, Watch())
    assert next(content) == b"x" * 2**20
    os.truncate(path, 2**20)
    with pytest.raises(OSError, match="the file shrank while it was read"):
        next(content)
