"""Records for tests: each builder returns a valid one, and keywords say what a test is about."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from navigator.records import (
    Cell,
    CellResult,
    Comparison,
    Configuration,
    ConversionConfig,
    Format,
    Gpu,
    Host,
    ModelConfig,
    ModelPlan,
    OutputModel,
    Report,
    SourceModel,
    State,
    Status,
    Step,
    Tolerances,
)
from navigator.report.report import build

PATHS = {
    Format.TF_SAVEDMODEL: Path("/r/m.savedmodel"),
    Format.TORCHSCRIPT: Path("/r/m.pt"),
    Format.TORCH_EXPORT: Path("/r/m.pt2"),
    Format.ONNX: Path("/r/m.onnx"),
}


def saved_model(*signatures: str, tag: str = "serve", restores: bool = False) -> bytes:
    """Return the saved_model.pb of a SavedModel whose signatures have neither inputs nor outputs.

    If it `restores` variables, it has a saver.
    """

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    entries = b"".join(field(5, field(1, name.encode()) + field(2, b"")) for name in signatures)
    saver = field(3, field(1, b"save/Const:0")) if restores else b""
    return field(2, field(1, field(4, tag.encode())) + saver + entries)


SAVED_MODEL = saved_model("serving_default")
"""The saved_model.pb of a SavedModel with a signature for serving, which has neither inputs nor outputs."""

FRAMEWORKS = ("torch", "tensorflow", "tf-keras", "tf2onnx", "onnx", "onnx-ir", "onnxruntime", "onnxscript", "numpy")
"""The packages of a machine without a GPU that makes everything but engines."""

TENSORRT = ("onnxruntime-gpu", "tensorrt", "tensorrt-rtx-cu13", "polygraphy", "torch-tensorrt")
"""The packages that a machine has beside these to make engines."""


def a_gpu(name: str = "NVIDIA L4", **changes: Any) -> Gpu:
    known: dict[str, Any] = {"index": 0, "uuid": "GPU-1", "compute_capability": "8.9", "memory_bytes": 2**34}
    return Gpu(name=name, driver_version="580", **known | changes)


def a_host(packages: Mapping[str, str] | Iterable[str] = (), **changes: Any) -> Host:
    """Return a machine with `packages`: versions by name, or names whose versions do not matter."""
    versions = dict(packages) if isinstance(packages, Mapping) else dict.fromkeys(packages, "11.0")
    known: dict[str, Any] = {"python": "3.11", "system": "Linux", "cpu": "cpu", "cpu_count": 2, "memory_bytes": 2**34}
    return Host(versions=versions, **known | changes)


def a_model(source: Format = Format.TORCHSCRIPT, **changes: Any) -> ModelConfig:
    known: dict[str, Any] = {"model_name": "m", "model_path": PATHS[source], "model_format": source}
    return ModelConfig(**known | changes)


def a_step(label: str, *, target: Format = Format.ONNX, **changes: Any) -> Step:
    known: dict[str, Any] = {"converter": "torchscript_to_onnx", "source_format": Format.TORCHSCRIPT}
    return Step(label=label, target_format=target, **known | changes)


def a_cell(label: str, *, target: Format = Format.ONNX, opset: int | None = None, **changes: Any) -> Cell:
    """Return a conversion that every part of its label is a step to, unless it cannot be made."""
    parts = label.split("/")
    steps = tuple("/".join(parts[: index + 1]) for index in range(len(parts)))
    known = {"steps": () if changes.get("state") is State.NOT_APPLICABLE else steps}
    return Cell(label=label, configuration=Configuration(target_format=target, onnx_opset=opset), **known | changes)


def a_plan(*cells: Cell, config: ModelConfig | None = None, **changes: Any) -> ModelPlan:
    config = config if config is not None else a_model()
    known: dict[str, Any] = {"source_format": config.model_format, "steps": ()}
    return ModelPlan(config=config, conversions=cells, **known | changes)


def a_source(**changes: Any) -> SourceModel:
    known: dict[str, Any] = {
        "model_name": "m",
        "model_path": Path("/m.pt"),
        "model_format": Format.TORCHSCRIPT,
        "model_version": "1",
        "size_bytes": 1000,
    }
    return SourceModel(**known | changes)


def a_converted_model(**changes: Any) -> OutputModel:
    known: dict[str, Any] = {"name": "m.onnx", "path": Path("/w/model.onnx"), "format": Format.ONNX, "size_bytes": 1}
    return OutputModel(**known | {"sha256": "0" * 64} | changes)


def a_comparison(output: str = "y", *, passed: bool = True, **changes: Any) -> Comparison:
    measured = {"mismatched": 0, "max_abs_error": 0.0} if passed else {"mismatched": 3, "max_abs_error": 0.25}
    known: dict[str, Any] = {"atol": 1e-5, "rtol": 1e-5, "samples": 1, "total": 10, **measured}
    return Comparison(output=output, passed=passed, **known | changes)


def a_result(state: State = State.PASSED, **changes: Any) -> CellResult:
    """Return a result in `state`, with the evidence that a pass needs."""
    known: dict[str, Any] = {
        "model_name": "m",
        "conversion": "onnx_op13",
        "status": Status(state=state, message=f"it {state}"),
        "source_model_config": a_source(),
        "conversion_config": ConversionConfig(target_format=Format.ONNX, onnx_opset=13),
        "comparator_config": Tolerances(atol={"": 1e-5}, rtol={"": 1e-5}),
    }
    if state is State.PASSED:
        known |= {"expected_outputs": ("y",), "comparisons": (a_comparison(),), "output_model": a_converted_model()}
    return CellResult(**known | changes)


def a_report(*results: CellResult, host: Host | None = None, complete: bool = True, **changes: Any) -> Report:
    return build(host if host is not None else a_host(), results, complete=complete, **changes)


def write_gelu(path: Path) -> None:
    """Write an ONNX file at opset 20, which Gelu came with: onnx lowers it to no other."""
    from onnx import parser, save

    save(
        parser.parse_model('<ir_version: 9, opset_import: ["": 20]> m (float[2] x) => (float[2] y) { y = Gelu(x) }'),
        path,
    )
