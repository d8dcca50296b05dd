"""Whole runs that build engines of TensorRT for RTX on this CPU: the examples, and the onnx package's own models."""

import json
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import onnx_models


def test_every_onnx_model_is_built_or_refused_with_the_reason(tmp_path: Path) -> None:
    models = onnx_models.model_files()

    results = onnx_models.convert(tmp_path, models, {"target_formats": ["trt-rtx"], "tensorrt_precisions": "fp32"})

    assert {each["model_name"] for each in results} == set(models)
    states = Counter(each["status"]["state"] for each in results)
    # Sequences and text are no tensors; ONNX Runtime, which runs the source model, lacks operators below opset 7.
    assert set(states) <= {"unverified", "failed", "blocked"}
    assert states["unverified"] >= 65
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
    assert "does not have the operators" in refused["simple-test_sequence_model4"]
    assert str(tmp_path) not in json.dumps(refused)
