"""The command line: every sample of the design document, and what argparse alone would get wrong."""

import argparse
import shlex
from pathlib import Path
from typing import Any

import pytest

from navigator import config
from navigator.records import ModelConfig, TensorSpec

PROFILE = "--min-shapes image__0=1,3,300,300 --opt-shapes image__0=64,3,320,320 --max-shapes image__0=128,3,600,800"
FASTPITCH = (
    "--inputs input__0:-1,-1:int64 input__1:-1,1:int64 "
    "--outputs output__0:-1,80,-1:float16 output__1:-1,1:int64 output__2:-1,-1:float16 output__3:-1,-1:float16 "
    "--max-shapes input__0=8,128"
)
RESNET = (
    "--target-formats onnx --inputs image__0=-1,3,-1,-1:float32 --outputs output__0=-1,1000:float32 "
    "--value-ranges image__0=0,1 --dtypes image__0=float32 --max-shapes image__0=128,3,600,800"
)


def parse(line: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    config.add_options(parser)
    return config.overrides(parser.parse_args(shlex.split(line)))


def load(line: str, directory: Path) -> ModelConfig:
    (directory / "m.onnx").write_bytes(b"\x08\x08\x3a\x00")
    typed = parse(f"--model-name m --model-path m.onnx {line}")
    return config.load(None, typed, working_directory=directory).models[0]


def problems(line: str, directory: Path) -> list[str]:
    with pytest.raises(config.InvalidConfigurationError) as raised:
        load(line, directory)
    return [str(problem) for problem in raised.value.problems]


def test_only_what_was_typed_is_an_override() -> None:
    assert parse("") == {}
    assert parse("--verbose --no-tensorrt-sparse-weights --jobs 2") == {
        "verbose": True,
        "tensorrt_sparse_weights": False,
        "jobs": "2",
    }
    assert parse("--config-path navigator.yaml") == {"config_path": "navigator.yaml"}


def test_efficientnet(tmp_path: Path) -> None:
    model = load(
        "--output-path efficientnet_tf2_fp16.plan --min-shapes input_1=1,32,32,3 --opt-shapes input_1=16,116,116,3 "
        "--max-shapes input_1=32,224,224,3 --target-precisions fp16",
        tmp_path,
    )
    assert model.output_path == tmp_path / "efficientnet_tf2_fp16.plan"
    assert model.min_shapes == {"input_1": (1, 32, 32, 3)}
    assert model.opt_shapes == {"input_1": (16, 116, 116, 3)}
    assert model.max_shapes == {"input_1": (32, 224, 224, 3)}
    assert model.tensorrt_precisions == ("fp16",)
    assert model.line is None
    assert model.config_path is None


def test_resnet_without_suffix(tmp_path: Path) -> None:
    (tmp_path / "rn50_tf1_fp32").write_bytes(b"\x08\x08\x3a\x00")
    typed = parse("--model-name ResNet50 --model-path rn50_tf1_fp32 --model-format onnx --max-batch-size 32")
    model = config.load(None, typed, working_directory=tmp_path).models[0]
    assert (model.model_format, model.max_batch_size) == ("onnx", 32)


def test_signature_with_equal_signs(tmp_path: Path) -> None:
    model = load(RESNET, tmp_path)
    assert model.inputs == (TensorSpec(name="image__0", shape=(-1, 3, -1, -1), dtype="float32"),)
    assert model.outputs == (TensorSpec(name="output__0", shape=(-1, 1000), dtype="float32"),)
    assert model.value_ranges == {"image__0": (0.0, 1.0)}
    assert model.dtypes == {"image__0": "float32"}


def test_signature_with_colons(tmp_path: Path) -> None:
    model = load(FASTPITCH, tmp_path)
    assert [spec.name for spec in model.outputs] == ["output__0", "output__1", "output__2", "output__3"]
    assert model.inputs[0] == TensorSpec(name="input__0", shape=(-1, -1), dtype="int64")
    assert model.max_shapes == {"input__0": (8, 128)}


def test_profile(tmp_path: Path) -> None:
    assert load(PROFILE, tmp_path).opt_shapes == {"image__0": (64, 3, 320, 320)}


@pytest.mark.parametrize(
    ("line", "rtol", "atol"),
    [
        ("--rtol probabilities:1e-4 1e-5 --atol 1e-5", {"probabilities": 1e-4, "": 1e-5}, {"": 1e-5}),
        ("--atol 1e-5 out0=1e-4 out1=1e-3", "auto", {"": 1e-5, "out0": 1e-4, "out1": 1e-3}),
        ("--rtol 1e-5 out0=1e-4 out1=1e-3", {"": 1e-5, "out0": 1e-4, "out1": 1e-3}, "auto"),
        ("--rtol a=1 --rtol b=2", {"": 1e-5, "a": 1.0, "b": 2.0}, "auto"),
        ("--rtol auto --atol auto", "auto", "auto"),
    ],
)
def test_tolerances(line: str, rtol: dict[str, float] | str, atol: dict[str, float] | str, tmp_path: Path) -> None:
    model = load(line, tmp_path)
    assert (model.rtol, model.atol) == (rtol, atol)


def test_values_that_start_with_a_minus(tmp_path: Path) -> None:
    assert load("--value-ranges -1,1 x=-2,-1", tmp_path).value_ranges == {"": (-1.0, 1.0), "x": (-2.0, -1.0)}
    assert load("--value-ranges -.5,.5", tmp_path).value_ranges == {"": (-0.5, 0.5)}
    assert problems("--max-shapes -1,3", tmp_path) == [
        "--max-shapes: expected NAME=VALUE, got '-1,3'; write e.g. --max-shapes image__0=32,3,224,224"
    ]
    assert problems("--atol -1", tmp_path) == [
        "--atol: must be at least 0, got -1; write e.g. --atol output__0=0.01 1e-5"
    ]


def test_aliases(tmp_path: Path) -> None:
    model = load("--target-precisions-mode single --max-workspace-size 5 -o out.plan", tmp_path)
    assert model.tensorrt_precisions_mode == "single"
    assert model.tensorrt_max_workspace_size == 5
    assert model.output_path == tmp_path / "out.plan"


def test_all_problems_at_once_in_the_words_of_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\x08\x08\x3a\x00")
    typed = parse("--model-path m.onnx --onnx-opsets abc --target-formats onxx --inputs x --jobs -2")
    with pytest.raises(config.InvalidConfigurationError) as raised:
        config.load(None, typed, working_directory=tmp_path)
    formats = "tf-savedmodel, torchscript, torch-export, onnx, tf-trt, torch-trt, trt or trt-rtx"
    assert str(raised.value).splitlines() == [
        "--inputs: expected name:shape:dtype, got 'x'; write e.g. --inputs image__0:-1,3,224,224:float32",
        f"--target-formats: expected {formats}, got 'onxx'; did you mean 'onnx'?",
        "--onnx-opsets: expected an integer, got 'abc'; write e.g. --onnx-opsets 13 17",
        "--jobs: must be at least 0, got -2; write e.g. --jobs 2",
    ]
    assert all(problem.path is None for problem in raised.value.problems)


@pytest.mark.parametrize(
    ("name", "what"),
    [("x\udcff.npz", "'x\\udcff.npz' is not UTF-8"), ("x\n.npz", "'x\\n.npz' contains a control character")],
)
def test_a_name_that_no_report_can_show(name: str, what: str, tmp_path: Path) -> None:
    assert problems(f"--samples {shlex.quote(name)}", tmp_path) == [f"--samples: {what}; rename it"]


def test_help_names_choices_defaults_and_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")  # argparse breaks lines at hyphens
    parser = argparse.ArgumentParser()
    config.add_options(parser)
    text = " ".join(parser.format_help().split())
    assert "--target-precisions PRECISION [PRECISION ...]" in text
    assert "One of: int8, fp16, fp32. Default: fp16 fp32. Example: --tensorrt-precisions fp16 fp32" in text
    assert "--verbose, --no-verbose" in text
    assert "Default: auto. Example: --rtol output__0=0.1 1e-5" in text


def test_help_breaks_no_name_in_two(monkeypatch: pytest.MonkeyPatch) -> None:
    for columns in range(40, 140, 7):
        monkeypatch.setenv("COLUMNS", str(columns))
        parser = argparse.ArgumentParser(formatter_class=config.HelpFormatter)
        config.add_options(parser)
        shown = parser.format_help()
        assert "<framework>:<container_version>-<framework_and_python_version>" in shown
        assert not [line for line in shown.splitlines() if line.endswith(("tf-", "torch-", "trt-"))]


@pytest.mark.parametrize(
    ("typed", "reproduced"),
    [
        ("convert --models a 'b*' --verbose --conversions c --atol 1e-3", "convert --atol 1e-3"),
        ("convert --models=a m.onnx", "convert m.onnx"),
        ("convert --shard 1/2 m.onnx --baseline base.yaml --jobs 2", "convert m.onnx --jobs 2"),
        ("convert --json --value-ranges x=-1,1 --override-workspace", "convert --value-ranges x=-1,1"),
    ],
)
def test_a_conversion_is_reproduced_without_what_chose_others(typed: str, reproduced: str) -> None:
    assert shlex.join(config.reproducing(shlex.split(typed))) == reproduced


def test_filters_may_be_repeated() -> None:
    parser = argparse.ArgumentParser()
    config.add_filters(parser)

    found = parser.parse_args(shlex.split("--models a --conversions c --models b"))

    assert (found.models, found.conversions) == (["a", "b"], ["c"])
