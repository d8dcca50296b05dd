"""What is recognised, and the sentence for everything that people have instead of a model."""

import warnings
import zipfile
from pathlib import Path

import pytest

from navigator.config import detect_format
from navigator.errors import ConfigurationError
from navigator.records import Format

ONNX = b"\x08\x08\x3a\x03abc"


@pytest.fixture(scope="module")
def torch_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files as the installed PyTorch writes them, under names without any suffix."""
    import torch

    directory = tmp_path_factory.mktemp("torch")
    module = torch.nn.Linear(2, 2).eval()
    example = torch.zeros(1, 2)
    with warnings.catch_warnings():
        # TorchScript is deprecated; users have it all the same.
        warnings.simplefilter("ignore")
        torch.jit.script(module).save(str(directory / "scripted"))
        torch.jit.trace(module, example).save(str(directory / "traced"))
        torch.export.save(torch.export.export(module, (example,)), directory / "exported.pt2")
        (directory / "exported.pt2").rename(directory / "exported")
        torch.save(module.state_dict(), directory / "weights")
        torch.save(module, directory / "module")
        torch.save(module.state_dict(), directory / "old", _use_new_zipfile_serialization=False)
    return directory


@pytest.mark.parametrize(
    ("name", "found"),
    [("scripted", Format.TORCHSCRIPT), ("traced", Format.TORCHSCRIPT), ("exported", Format.TORCH_EXPORT)],
)
def test_torch_is_recognised_by_content(torch_files: Path, name: str, found: Format) -> None:
    assert detect_format(torch_files / name, None) is found


@pytest.mark.parametrize("name", ["scripted", "exported"])
def test_a_file_of_torch_may_be_declared_to_have_engines(torch_files: Path, name: str) -> None:
    """Torch-TensorRT writes both, which look like those without engines."""
    assert detect_format(torch_files / name, Format.TORCH_TRT) is Format.TORCH_TRT


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("weights", "contains pickled weights or a pickled module (torch.save) but no graph"),
        ("module", "contains pickled weights or a pickled module (torch.save) but no graph"),
        ("old", "contains a pickle (torch.save of an old PyTorch, or joblib) but no graph"),
    ],
)
def test_torch_save_is_refused_with_what_to_do(torch_files: Path, name: str, what: str) -> None:
    for declared in (None, Format.TORCHSCRIPT):
        with pytest.raises(ConfigurationError) as raised:
            detect_format(torch_files / name, declared)
        assert raised.value.message == f"{torch_files / name} {what}"
        assert raised.value.hint.startswith("save the model with torch.jit.save (.pt) or torch.export.save (.pt2)")


def test_a_real_onnx_file_is_recognised_and_a_cut_one_is_named(tmp_path: Path) -> None:
    import onnx

    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", [value], [value])
    path = tmp_path / "model"
    onnx.save(onnx.helper.make_model(graph), path)
    assert detect_format(path, None) is Format.ONNX

    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigurationError, match=rf"is truncated: expected at least \d+ bytes, got {len(whole) // 2}"):
        detect_format(path, None)


def test_older_layouts_of_torch_export(tmp_path: Path) -> None:
    path = _archive(tmp_path, "old.pt2", "version", "serialized_exported_program.json", "serialized_state_dict.pt")
    assert detect_format(path, None) is Format.TORCH_EXPORT


@pytest.mark.parametrize("name", ["saved_model.pb", "saved_model.pbtxt"])
def test_a_directory_with_a_saved_model_is_a_savedmodel_unless_declared_as_tf_trt(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x08\x01")
    assert detect_format(tmp_path, None) is Format.TF_SAVEDMODEL
    assert detect_format(tmp_path, Format.TF_TRT) is Format.TF_TRT


def test_engines_are_believed_by_name_or_declaration(tmp_path: Path) -> None:
    for name in ("a.plan", "a.engine", "a.TRT"):
        (tmp_path / name).write_bytes(b"\x00anything")
        assert detect_format(tmp_path / name, None) is Format.TRT
        assert detect_format(tmp_path / name, Format.TRT_RTX) is Format.TRT_RTX
    (tmp_path / "engine").write_bytes(b"ftrt and more")
    assert detect_format(tmp_path / "engine", None) is Format.TRT


def test_content_wins_over_the_suffix(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(ONNX)
    assert detect_format(tmp_path / "model.pt", None) is Format.ONNX


def test_a_declaration_that_the_content_contradicts(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(ONNX)
    with pytest.raises(ConfigurationError) as raised:
        detect_format(tmp_path / "model.pt", Format.TORCHSCRIPT)
    assert raised.value.message == f"{tmp_path}/model.pt is declared as torchscript, but its content is onnx"
    assert raised.value.hint == "set model_format to onnx, or remove it"


def test_a_declaration_decides_where_the_content_is_silent(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"\x00\x01\x02")
    assert detect_format(tmp_path / "blob", Format.ONNX) is Format.ONNX


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.onnx", None, "does not exist"),
        ("empty.onnx", b"", "is empty"),
        (
            "lfs.pt",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "is a Git LFS pointer, not the model",
        ),
        ("keras.h5", b"\x89HDF\r\n\x1a\n", "is an HDF5 file (Keras)"),
        ("lite.tflite", b"\x1c\x00\x00\x00TFL3", "is a TensorFlow Lite model"),
        ("model.safetensors", b"\x32\x00\x00\x00\x00\x00\x00\x00{}", "holds weights without a graph"),
        ("frozen.pb", b"\x0a\x0a\x0a\x01x", "is a TensorFlow graph outside of a SavedModel"),
        ("model.gguf", b"GGUF", "is in a format that can't be converted"),
        ("page.onnx", b"<!DOCTYPE html>", "has the suffix .onnx, but its content is not onnx"),
        ("text.onnx", b"because protobuf may begin like this", "has the suffix .onnx, but its content is not onnx"),
        ("text.savedmodel", b"text", "is a file, and a SavedModel is a directory"),
        ("cut.pt", b"PK\x03\x04cut", "is a damaged or truncated archive"),
        ("saved_model.pb", b"\x08\x01", "is one file of a SavedModel"),
    ],
)
def test_sentences_for_files(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError) as raised:
        detect_format(tmp_path / name, None)
    assert raised.value.message == f"{tmp_path / name} {message}"
    assert raised.value.hint


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("config.json", "metadata.json", "model.weights.h5"), "is a Keras archive"),
        (("m/saved_model.pb",), "is a zipped SavedModel"),
        (("m/data/aotinductor/model.so",), "is an AOTInductor package, which is compiled for one device"),
        (("readme.txt",), "is a zip archive without a model in a known format"),
    ],
)
def test_sentences_for_archives(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    path = _archive(tmp_path, "model.pt2", *names)
    with pytest.raises(ConfigurationError) as raised:
        detect_format(path, None)
    assert raised.value.message == f"{path} {message}"


def test_a_file_without_suffix_and_a_directory_without_model(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"\x00\x01\x02")
    with pytest.raises(ConfigurationError, match="from its content or its name, which has no suffix") as raised:
        detect_format(tmp_path / "blob", None)
    assert raised.value.hint == "export the model as ONNX, or, if it's an engine, set model_format to trt or trt-rtx"

    with pytest.raises(ConfigurationError, match="is a directory without saved_model") as raised:
        detect_format(tmp_path, None)
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    with pytest.raises(ConfigurationError, match="holds weights without a graph"):
        detect_format(tmp_path, None)
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"\x08\x01")
    with pytest.raises(ConfigurationError) as raised:
        detect_format(tmp_path, None)
    assert raised.value.hint == f"did you mean {tmp_path}/1?"

    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match="is a broken symbolic link"):
        detect_format(tmp_path / "dangling", None)


def _archive(directory: Path, name: str, *members: str) -> Path:
    with zipfile.ZipFile(directory / name, "w") as archive:
        for member in members:
            archive.writestr(member, "")
    return directory / name
