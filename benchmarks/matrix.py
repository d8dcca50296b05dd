"""The matrix that all contestants convert: read from a navigator.yaml, without the code under test.

    python benchmarks/matrix.py FILE    a line each: model, path, format, target format, opset or "-", signature

Owns the reading of the few keys that the example files use. Samples are drawn by `navigator.samples.generate`, so that
every contestant runs the same inputs.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from navigator.records import Format, ModelConfig, TensorSpec

SUFFIXES = {
    ".pt": Format.TORCHSCRIPT,
    ".pt2": Format.TORCH_EXPORT,
    ".savedmodel": Format.TF_SAVEDMODEL,
    ".onnx": Format.ONNX,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One converted model to make and to verify; `opset` is None for a copy."""

    target: Format
    opset: int | None


def load(path: Path) -> dict[str, ModelConfig]:
    """Return the models of a navigator.yaml by name."""
    document = yaml.safe_load(path.read_text())
    models = [_model(document["defaults"] | entry, path.parent) for entry in document["models"]]
    return {model.model_name: model for model in models}


def cells(model: ModelConfig) -> Iterator[Cell]:
    """Yield the cells of a model, opsets in ascending order."""
    assert not isinstance(model.target_formats, str), "the file names its formats"
    assert not isinstance(model.onnx_opsets, str), "the file names its opsets"
    for target in model.target_formats:
        if target is Format.ONNX:
            yield from (Cell(target=target, opset=opset) for opset in sorted(model.onnx_opsets))
        else:
            yield Cell(target=target, opset=None)


def _model(entry: Mapping[str, Any], directory: Path) -> ModelConfig:
    path = (directory / entry["model_path"]).resolve()
    annotation = Path(f"{path}.yaml")
    signature = yaml.safe_load(annotation.read_text()) if annotation.is_file() else entry
    return ModelConfig(
        model_name=entry["model_name"],
        model_path=path,
        model_format=SUFFIXES[path.suffix],
        signature_name=entry.get("signature_name", "serving_default"),
        inputs=_specs(signature.get("inputs", {})),
        outputs=_specs(signature.get("outputs", {})),
        target_formats=tuple(Format(each) for each in entry["target_formats"]),
        onnx_opsets=tuple(entry["onnx_opsets"]),
        random_seed=entry["random_seed"],
        atol=_by_name(entry["atol"]),
        rtol=_by_name(entry["rtol"]),
        min_shapes=_shapes(entry, "min_shapes"),
        opt_shapes=_shapes(entry, "opt_shapes"),
        max_shapes=_shapes(entry, "max_shapes"),
        value_ranges={name: (low, high) for name, (low, high) in entry["value_ranges"].items()},
    )


def _specs(signature: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name=name, shape=tuple(spec["shape"]), dtype=spec["dtype"]) for name, spec in signature.items()
    )


def _shapes(entry: Mapping[str, Any], key: str) -> dict[str, tuple[int, ...]]:
    return {name: tuple(shape) for name, shape in entry.get(key, {}).items()}


def _by_name(tolerances: Mapping[str, Any] | str | float) -> dict[str, float]:
    """Return tolerances by output name; PyYAML reads 1e-4 as a string."""
    given = tolerances if isinstance(tolerances, Mapping) else {"": tolerances}
    return {name: float(value) for name, value in given.items()}


if __name__ == "__main__":
    for config in load(Path(sys.argv[1])).values():
        for cell in cells(config):
            source = (config.model_name, config.model_path, config.model_format)
            print(*source, cell.target, cell.opset or "-", config.signature_name, sep="\t")
