"""Whole runs that build engines of TensorRT for RTX on this CPU: the examples, and the onnx package's own models."""
# ruff: noqa: TID253 - the frameworks are what is tested

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_models
import pytest
import yaml
from onnx import numpy_helper, parser

# Of the onnx package's models three that are built and two that are not, each for its own reason.
FEW = (
    "pytorch-converted-test_Conv2d",
    "pytorch-converted-test_Embedding",
    "pytorch-converted-test_MaxPool1d_stride_padding_dilation",
    "pytorch-converted-test_Softmax",
    "simple-test_sequence_model4",
)


@pytest.mark.parametrize(
    ("names", "least"), [pytest.param(FEW, 3, id="few"), pytest.param((), 65, id="every", marks=pytest.mark.nightly)]
)
def test_onnx_models_are_built_or_refused_with_the_reason(tmp_path: Path, names: Sequence[str], least: int) -> None:
    models = {name: path for name, path in onnx_models.model_files().items() if name in names or not names}
    assert len(models) >= len(names)

    results = onnx_models.convert(tmp_path, models, {"target_formats": ["trt-rtx"], "tensorrt_precisions": "fp32"})

    assert {each["model_name"] for each in results} == set(models)
    states = Counter(each["status"]["state"] for each in results)
    # Sequences and text are no tensors; ONNX Runtime, which runs the source model, lacks operators below opset 7.
    assert set(states) <= {"unverified", "failed", "blocked"}
    assert states["unverified"] >= least
    assert all(each["status"]["message"] and "\n" not in each["status"]["message"] for each in results)
    built = [each for each in results if each["status"]["state"] == "unverified"]
    for each in built:
        assert each["output_model"]["properties"]["tensorrt_version"]
        assert Path(each["output_model"]["path"]).stat().st_size == each["output_model"]["size_bytes"]
        assert each["seconds"]["convert"] > 0
    refused = {each["model_name"]: each["status"]["message"] for each in results if each not in built}
    assert (
        "does not support dilations other than 1" in refused["pytorch-converted-test_MaxPool1d_stride_padding_dilation"]
    )
    assert "doesn't support the operators" in refused["simple-test_sequence_model4"]
    assert str(tmp_path) not in json.dumps(refused)


REPOSITORY = Path(__file__).parents[2]
EXAMPLES = ("resnet50", "mobilenetv2", "bert_small", "mlp_mixer", "conv")


def convert_examples(tmp_path: Path, *arguments: str) -> tuple[int, dict[str, dict[str, Any]], str]:
    """Convert the example models to engines in all precisions; return exit code, results by "model cell", and text."""
    subprocess.run([sys.executable, "examples/make_models.py"], cwd=REPOSITORY, check=True, capture_output=True)
    command = [sys.executable, "-m", "navigator", "convert", "--config-path", "examples/navigator.yaml"]
    command += ["--workspace-path", str(tmp_path / "ws"), "--cache-path", str(tmp_path / "cache")]
    command += ["--target-formats", "trt-rtx", "--tensorrt-precisions", "int8", "fp16", "fp32", *arguments]
    ended = subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True)
    report = yaml.safe_load((tmp_path / "ws" / "convert_results.yaml").read_text())
    cells = {f"{each['model_name']} {each['conversion']}": each for each in report["results"]}
    return ended.returncode, cells, ended.stdout + ended.stderr


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("models", "arguments"),
    [
        pytest.param(("resnet50", "conv"), ("--onnx-opsets", "18", "--models", "resnet50", "conv"), id="few"),
        pytest.param(EXAMPLES, (), id="every", marks=pytest.mark.nightly),
    ],
)
def test_the_examples_become_engines_in_every_precision(
    models: Sequence[str], arguments: Sequence[str], tmp_path: Path
) -> None:
    code, cells, printed = convert_examples(tmp_path, *arguments, "--no-fail-on-unverified")

    assert code == 0, printed
    engines = [each for each in cells.values() if each["conversion_config"]["target_format"] == "trt-rtx"]
    assert {each["model_name"] for each in engines} == {*models}
    for each in engines:
        engine = each["conversion_config"]["tensorrt_config"]
        assert each["status"]["state"] == "unverified"
        assert each["status"]["message"].startswith("built for compute capability 8.0, 8.6, 8.9, 12.0 and later")
        properties = each["output_model"]["properties"]
        assert properties["tensorrt_version"] in properties["exporter"]
        assert properties["network_layers"] >= 1
        assert properties["tf32"] is engine["tf32"] is (engine["precision"] != "fp32")
        plan = Path(each["output_model"]["path"]).read_bytes()
        assert f"tf32={int(engine['tf32'])}".encode() in plan
        assert each["seconds"]["convert"] > 0
        # It was built from a file that matches the source model, in its precision.
        parent = cells[f"{each['model_name']} {each['steps'][-2]}"]
        # Random inputs don't prove that int8 scales fit real ones.
        assert parent["status"]["state"] == ("unverified" if engine["precision"] == "int8" else "passed")
        assert all(each["passed"] for each in parent["comparisons"])
        assert parent["intermediate"]
        assert (parent["conversion_config"]["tensorrt_config"] or {"precision": "fp32"})["precision"] == engine[
            "precision"
        ]
    precisions = Counter(each["conversion_config"]["tensorrt_config"]["precision"] for each in engines)
    assert precisions["int8"] == precisions["fp16"] == precisions["fp32"] >= len(models)
    # fp16 and int8 are smaller, as their weights are.
    sizes = {
        each["conversion_config"]["tensorrt_config"]["precision"]: each["output_model"]["size_bytes"]
        for each in engines
        if each["model_name"] == "resnet50"
    }
    assert sizes["int8"] < sizes["fp16"] < 0.6 * sizes["fp32"]
    warned = [each for each in cells.values() if any("random samples" in warning for warning in each["warnings"])]
    assert {each["conversion_config"]["tensorrt_config"]["precision"] for each in warned} == {"int8"}

    again, cells, printed = convert_examples(tmp_path, *arguments)

    assert again == 1
    assert "UNVERIFIED" in printed
    assert "verify it on a machine that can run it, or set fail_on_unverified: false" in printed
    # An engine that nothing can run is kept all the same: building it is the dear part.
    assert all(each["cached"] for each in cells.values()), printed


OVERFLOWING = """
<ir_version: 8, opset_import: ["" : 17]>
overflowing (float[batch, 8] x) => (float[batch, 8] y) {
    h = MatMul(x, large)
    squared = Mul(h, h)
    scaled = Mul(squared, small)
    y = Tanh(scaled)
}
"""


def test_a_model_whose_fp16_overflows_is_caught_and_named(tmp_path: Path) -> None:
    """Values of 1e6 on the way, which float16 does not have and ONNX Runtime's CPU provider would not show."""
    model = parser.parse_model(OVERFLOWING)
    weights = {"large": np.full((8, 8), 125.0, "float32"), "small": np.array(1e-6, "float32")}
    model.graph.initializer.extend(numpy_helper.from_array(each, name) for name, each in weights.items())
    onnx.save(model, tmp_path / "overflowing.onnx")

    keys = {"target_formats": ["trt-rtx"], "tensorrt_precisions": "fp16", "value_ranges": {"": [0.5, 1]}}
    results = onnx_models.convert(tmp_path, {"overflowing": tmp_path / "overflowing.onnx"}, keys)

    typed = next(each for each in results if each["conversion"].endswith("onnx_fp16"))
    told = " ".join([typed["status"]["message"], *typed["warnings"]])
    assert "squared" in told or "Mul" in told
    assert "65504" in told


BRANCHES = """
<ir_version: 8, opset_import: ["" : 17]>
branches (float[batch, 4] x) => (float[batch, 4] y) {
    sum = ReduceSum <keepdims = 0> (x)
    zero = Constant <value = float {0.0}> ()
    one = Constant <value = float {1.0}> ()
    positive = Greater(sum, zero)
    large = Greater(sum, one)
    y = If (positive) <
        then_branch = then () => (float[batch, 4] a) { INNER },
        else_branch = otherwise () => (float[batch, 4] b) { b = Neg(x) }
    >
}
"""
NESTED = """a = If (large) <
    then_branch = deeper () => (float[batch, 4] c) { c = Relu(x) },
    else_branch = other () => (float[batch, 4] d) { d = Abs(x) }
>"""


def test_branches_in_branches_are_told_and_without_them_the_model_is_built(tmp_path: Path) -> None:
    models = {}
    for name, inner in (("nested", NESTED), ("plain", "a = Relu(x)")):
        models[name] = tmp_path / f"{name}.onnx"
        onnx.save(parser.parse_model(BRANCHES.replace("INNER", inner)), models[name])

    results = onnx_models.convert(tmp_path, models, {"target_formats": ["trt-rtx"], "tensorrt_precisions": "fp32"})

    found = {each["model_name"]: each for each in results if each["conversion"].endswith("trt-rtx_fp32")}
    assert found["plain"]["status"]["state"] == "unverified"
    assert found["nested"]["status"]["state"] == "failed"
    assert found["nested"]["remedy"].startswith("the model has If inside of branches or loops")


def test_precisions_that_nothing_in_the_model_takes_are_not_applicable(tmp_path: Path) -> None:
    """A copy of a model of integers is no fp16 model, and an engine of it no fp16 engine."""
    text = "<ir_version: 9, opset_import: ['' : 17]> m (int64[n] x) => (int64[n] y) { y = Add(x, x) }"
    onnx.save(parser.parse_model(text.replace("'", '"')), str(tmp_path / "integers.onnx"))
    arguments = ["--model-name", "integers", "--model-path", "integers.onnx", "--target-formats", "trt-rtx"]
    arguments += ["--tensorrt-precisions", "int8", "fp16", "--max-shapes", "x=3", "--min-shapes", "x=1"]
    arguments += ["--tensorrt-rtx-compute-capabilities", "8.9"]
    run = subprocess.run(
        [sys.executable, "-m", "navigator", "convert", *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 3, run.stdout + run.stderr
    report = yaml.safe_load((tmp_path / "navigator_workspace" / "convert_results.yaml").read_text())
    assert report["summary"] == {
        "total": 4,
        "requested": 4,
        "failures": 0,
        "cached": 0,
        "warned": 0,
        "not_applicable": 4,
    }
    assert {each["conversion"]: (each["status"]["message"], each["remedy"]) for each in report["results"]} == {
        label: (f"nothing became {precision}: {why}", f"remove {precision} from this model's tensorrt_precisions")
        for precision, name, why in (
            (
                "int8",
                "int8_hierarchy",
                "no Conv, ConvTranspose, Gemm or MatMul outside subgraphs has constant float32 weights",
            ),
            ("fp16", "fp16", "the model has no float32 operators"),
        )
        for label in (f"onnx_{name}", f"onnx_{name}/trt-rtx_{precision}_hierarchy")
    }
    assert "Nothing was converted: no conversion applies to its model: 4 not applicable" in run.stdout
    assert not any(each.get("output_model") for each in report["results"])
