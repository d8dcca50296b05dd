"""The examples: navigator.yaml and make_models.py agree, and the script refuses models that prove nothing."""

import copy
import importlib.util
import os
import sys
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from zipfile import ZipFile

import numpy as np
import pytest
import yaml

from navigator import config
from navigator.plan.matrix import configurations
from navigator.records import ModelConfig, RunConfig
from tests.support.builders import SAVED_MODEL

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENT = yaml.safe_load((REPOSITORY / "examples" / "navigator.yaml").read_text())


# What tells the two archives of PyTorch apart.
_PARTS = {
    ".pt": ("data.pkl", "code/__torch__.py", "constants.pkl"),
    ".pt2": ("archive_format", "models/model.json"),
}


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def make_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the script, set to write into a directory of the test."""
    module = _module(REPOSITORY / "examples" / "make_models.py")
    monkeypatch.setattr(module, "DIRECTORY", tmp_path / "models")
    # The script sets these for its own process.
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return module


def _run(module: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["make_models.py", *arguments])
    module.main()


def test_navigator_yaml_names_exactly_the_models_that_the_script_makes(make_models: ModuleType) -> None:
    named = {model["model_name"]: model["model_path"] for model in DOCUMENT["models"]}
    assert named == {name: f"models/{file}" for name, (file, _) in make_models.MODELS.items()}


def test_every_key_is_a_key_of_the_records() -> None:
    of_model = {field.name for field in fields(ModelConfig)}
    of_run = {field.name for field in fields(RunConfig)} - {"models"}
    assert set(DOCUMENT) == {"defaults", "models"}
    assert set(DOCUMENT["defaults"]) <= of_model | of_run
    for model in DOCUMENT["models"]:
        assert set(model) <= of_model, model["model_name"]


def test_every_model_is_converted_to_several_opsets_and_seeded() -> None:
    assert DOCUMENT["defaults"]["random_seed"] == 0
    for model in DOCUMENT["models"]:
        assert "onnx" in model["target_formats"], model["model_name"]
        assert len(model["onnx_opsets"]) > 1, model["model_name"]


def test_the_benchmark_converts_the_cells_that_navigator_plans(
    make_models: ModuleType, tmp_path: Path, tiny_onnx: Path
) -> None:
    matrix = _module(REPOSITORY / "benchmarks" / "matrix.py")
    document = copy.deepcopy(DOCUMENT)
    for model in document["models"]:
        path = tmp_path / model["model_path"]
        path.parent.mkdir(exist_ok=True)
        # Without its content, a model's format must be said.
        model["model_format"] = str(matrix.SUFFIXES[path.suffix])
        if path.suffix == ".savedmodel":
            path.mkdir()
            (path / "saved_model.pb").write_bytes(SAVED_MODEL)
        elif path.suffix == ".onnx":
            path.write_bytes(tiny_onnx.read_bytes())
        else:
            with ZipFile(path, "w") as archive:
                for name in _PARTS[path.suffix]:
                    archive.writestr(f"m/{name}", b"")
    (tmp_path / "models" / "resnet50.pt.yaml").write_text(make_models.RESNET50_ANNOTATION)
    (tmp_path / "navigator.yaml").write_text(yaml.safe_dump(document))

    planned = {}
    for model in config.load(tmp_path / "navigator.yaml", {}, working_directory=tmp_path).models:
        planned[model.model_name] = [(c.target_format, c.onnx_opset) for c in configurations(model)]
    contested = {
        name: [(cell.target, cell.opset) for cell in matrix.cells(model)]
        for name, model in matrix.load(tmp_path / "navigator.yaml").items()
    }
    assert contested == planned
    assert sum(len(cells) for cells in contested.values()) == 15


def test_a_model_is_made_once_and_again_when_its_script_changes(
    make_models: ModuleType, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    _run(make_models, monkeypatch, "--only", "conv")
    _run(make_models, monkeypatch, "--only", "conv")
    stamp = make_models.DIRECTORY / ".conv.onnx.stamp"
    stamp.write_text("of an earlier script")
    _run(make_models, monkeypatch, "--only", "conv")

    made, present, remade = capfd.readouterr().out.splitlines()
    assert made.startswith("conv.onnx: created in ")
    assert "spread 2 0." in made
    assert present == "conv.onnx: up to date, 0.0 MB"
    assert remade.startswith("conv.onnx: created in ")
    assert {path.name for path in make_models.DIRECTORY.iterdir()} == {"conv.onnx", ".conv.onnx.stamp"}


@pytest.mark.parametrize("value", [0.001, np.nan], ids=["constant", "nan"])
def test_a_model_whose_outputs_do_not_depend_on_its_inputs_is_refused(
    make_models: ModuleType, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    def make_flat(path: Path) -> dict[str, np.ndarray]:
        path.write_bytes(b"flat")
        return {"logits": np.full((8, 1000), value)}

    monkeypatch.setattr(make_models, "MODELS", {"flat": ("flat.onnx", make_flat)})
    with pytest.raises(SystemExit, match=r"flat\.onnx: output logits hardly depends on the inputs"):
        _run(make_models, monkeypatch, "--only", "flat")
    assert list(make_models.DIRECTORY.iterdir()) == []


def test_what_a_framework_says_is_shown_only_when_it_fails(
    make_models: ModuleType, capfd: pytest.CaptureFixture[str]
) -> None:
    def load(outcome: str) -> None:
        # As TensorFlow does: to the file descriptor, behind Python's back.
        os.write(2, b"the reason\n")
        if outcome == "broken":
            raise ValueError(outcome)

    with make_models._quiet():
        load("fine")
    assert capfd.readouterr().err == ""

    with pytest.raises(ValueError, match="broken"), make_models._quiet():
        load("broken")
    assert capfd.readouterr().err == "the reason\n"
