"""The models of a visit and how they are converted: the examples, and trained models that packages ship.

Those that aren't in the directory of models are left out. Engines are built at optimization level 1: at TensorRT's own
level they would take longer than a visit.
"""

from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]

Model = dict[str, Any]

_DEFAULTS = {"launch_mode": "local", "random_seed": 0, "fail_on_unverified": False, "timeout_seconds": 300}
_FAST = {"tensorrt_optimization_level": 1}
_MOST = {"tensorrt_precisions": ["fp32", "fp16", "int8"]}
_ALL = {"tensorrt_precisions": ["fp32", "fp16", "int8"], "tensorrt_precisions_mode": "mixed"}


def _document(models: list[Model]) -> Model:
    # The examples are made on the machine, later.
    made = REPOSITORY / "examples" / "models"
    found = [each for each in models if made in Path(each["model_path"]).parents or Path(each["model_path"]).exists()]
    return {"defaults": _DEFAULTS, "models": found}


def _example(directory: Path, name: str, **keys: Any) -> Model:
    document = yaml.safe_load((REPOSITORY / "examples" / "navigator.yaml").read_text())
    (model,) = [each for each in document["models"] if each["model_name"] == name]
    file = Path(model["model_path"]).name
    staged = directory / "examples" / file
    path = staged if staged.exists() else REPOSITORY / "examples" / "models" / file
    tolerances = {key: document["defaults"][key] for key in ("atol", "rtol")}
    return {**tolerances, **model, "model_path": str(path), **keys}


def tensorrt(directory: Path) -> dict[str, Model]:
    """Return the configurations of runs, by name: a run builds one engine at a time, and several take turns."""
    keys = {**_MOST, "target_formats": ["onnx", "trt"], **_FAST}
    of_programs = {**_MOST, "target_formats": ["onnx", "trt", "torch-trt"], "onnx_opsets": [18], **_FAST}
    examples = {
        "conv": [_example(directory, "conv", **{**keys, **_ALL}, onnx_opsets=[13])],
        "mlp_mixer": [_example(directory, "mlp_mixer", **{**of_programs, **_ALL})],
        "bert_small": [_example(directory, "bert_small", **{**keys, **_ALL}, onnx_opsets=[17])],
        "mobilenetv2": [_example(directory, "mobilenetv2", **keys, onnx_opsets=[15])],
        "resnet50": [_example(directory, "resnet50", **keys, onnx_opsets=[13, 17])],
        "bert_program": [_bert_program(**of_programs)],
        "minilm_program": [_minilm(directory / "minilm.pt2", **{**of_programs, "target_formats": ["torch-trt"]})],
        # Its front end has no optimization levels.
        "torchscript": [
            _example(directory, name, **_MOST, target_formats=["torch-trt"]) for name in ("bert_small", "resnet50")
        ],
    }
    documents = {name: _document(models) for name, models in examples.items()}
    return {name: each for name, each in {**documents, **trained(directory)}.items() if each["models"]}


def _bert_program(**keys: Any) -> Model:
    sizes = {"min": [1, 8], "opt": [2, 32], "max": [4, 64]}
    return {
        "model_name": "bert_small_program",
        "model_path": str(REPOSITORY / "examples" / "models" / "bert_small.pt2"),
        "value_ranges": {"input_ids": [0, 8191], "attention_mask": [0, 1]},
        **{f"{name}_shapes": {"input_ids": size, "attention_mask": size} for name, size in sizes.items()},
        **keys,
    }


def _minilm(path: Path, **keys: Any) -> Model:
    sizes = {"min": [1, 8], "opt": [2, 32], "max": [4, 64]}
    return {
        "model_name": f"minilm-{path.suffix[1:]}",
        "model_path": str(path),
        "value_ranges": {"input_ids": [0, 30521], "attention_mask": [0, 1]},
        **{f"{name}_shapes": {"input_ids": size, "attention_mask": size} for name, size in sizes.items()},
        **keys,
    }


def trained(directory: Path) -> dict[str, Model]:
    """Return trained models as ONNX, which become TensorRT engines, each for a run of its own."""
    keys = {**_MOST, "target_formats": ["trt"], **_FAST}
    models: list[Model] = [
        {
            "model_name": "magika",
            "model_path": str(directory / "magika.onnx"),
            "max_batch_size": 4,
            "value_ranges": {"bytes": [0, 256]},
            **keys,
        },
        {
            "model_name": "silero-vad",
            "model_path": str(directory / "silero_vad.onnx"),
            "min_shapes": {"input": [1, 576], "state": [2, 1, 128]},
            "opt_shapes": {"input": [2, 576], "state": [2, 2, 128]},
            "max_shapes": {"input": [4, 576], "state": [2, 4, 128]},
            "value_ranges": {"input": [-1, 1], "state": [-1, 1], "sr": [16000, 16000]},
            **keys,
        },
        _minilm(directory / "minilm.onnx", **keys),
        {
            "model_name": "ppocr-cls",
            "model_path": str(directory / "ch_ppocr_mobile_v2.0_cls_infer.onnx"),
            "min_shapes": {"x": [1, 3, 48, 192]},
            "opt_shapes": {"x": [2, 3, 48, 192]},
            "max_shapes": {"x": [4, 3, 48, 192]},
            "value_ranges": {"x": [-1, 1]},
            **keys,
        },
        {
            "model_name": "ppocr-det",
            "model_path": str(directory / "ch_PP-OCRv4_det_infer.onnx"),
            "min_shapes": {"x": [1, 3, 160, 160]},
            "opt_shapes": {"x": [1, 3, 320, 320]},
            "max_shapes": {"x": [2, 3, 320, 320]},
            "value_ranges": {"x": [-1, 1]},
            **keys,
        },
        {
            "model_name": "ppocr-rec",
            "model_path": str(directory / "ch_PP-OCRv4_rec_infer.onnx"),
            "min_shapes": {"x": [1, 3, 48, 160]},
            "opt_shapes": {"x": [1, 3, 48, 320]},
            "max_shapes": {"x": [2, 3, 48, 320]},
            "value_ranges": {"x": [-1, 1]},
            **keys,
        },
    ]
    return {each["model_name"]: _document([each]) for each in models}


def tensorflow(directory: Path) -> dict[str, Model]:
    """Return the configuration of a run of a SavedModel, by name."""
    model = _example(directory, "mobilenetv2", **_MOST, target_formats=["tf-trt"])
    return {"tf-trt": _document([model])}
