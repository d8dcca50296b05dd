"""Models in fp16 and int8 beside their sources: how the tests of `onnx_to_typed_onnx` make, read, run and compare them.

What is compared with the source model is the file as fp16 hardware computes it (`rounding`): ONNX Runtime's CPU
provider itself shows neither roundings nor overflows.
"""
# ruff: noqa: TID253 - the frameworks are what is tested

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from navigator.converters.onnx_to_typed_onnx import Options, convert
from navigator.converters.protocol import Conversion
from navigator.frameworks.onnx import graph as onnx_graph
from navigator.frameworks.onnx import rounding as onnx_rounding
from navigator.records import Format, Precision, PrecisionMode, Signature, Weights
from navigator.runners import onnx as onnx_runner
from navigator.samples import storage as arrays
from navigator.verify.compare import verify
from navigator.workers.weights import weights

Arrays = Mapping[str, np.ndarray]

FP16 = Options(precision=Precision.FP16)
SINGLE = Options(precision=Precision.INT8, precision_mode=PrecisionMode.SINGLE)
HIERARCHY = Options(precision=Precision.INT8, precision_mode=PrecisionMode.HIERARCHY)
PRECISIONS = pytest.mark.parametrize("options", [FP16, SINGLE, HIERARCHY], ids=["fp16", "single", "hierarchy"])

# Parts of the range of an output that an error may be.
TOLERANCES = {"fp16": 0.003, "int8": 0.05}


def floats(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-scale, scale, shape).astype("float32")


def written(path: Path, text: str, weights: Arrays | None = None, ir_version: int = 8) -> Path:
    """Write a model given as `onnx.parser` reads it, without its head, and with the given initializers."""
    opset, graph = text.strip().split("\n", 1)
    model = parser.parse_model(f"<ir_version: {ir_version}, opset_import: [{opset}]>\n{graph}")
    for name, values in (weights or {}).items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    return path


class Typed:
    """A source model and what was made of it."""

    def __init__(self, source: Path, options: Options, *samples: Arrays, name: str = "typed") -> None:
        self.source, self.samples = source, samples
        self.path = source.parent / name / "model.onnx"
        self.path.parent.mkdir()
        directory = source.parent / f"{name}_samples"
        arrays.save(directory, [(str(index), sample) for index, sample in enumerate(samples)])
        self.precision = str(options.precision)
        conversion = Conversion(source=source, destination=self.path, options=options, samples=directory)
        self.properties = convert(conversion)
        found = self.weights()
        assert found is not None
        assert not found.wrong
        self.model = onnx.load(str(self.path))
        self.graph = self.model.graph

    def weights(self) -> Weights | None:
        """Return what is said of the weights in the file, beside those of the source model."""
        return weights(
            {
                "source": str(self.source),
                "path": str(self.path),
                "source_format": Format.ONNX,
                "format": Format.ONNX,
                "precision": self.precision,
            }
        )

    def operators(self) -> list[str]:
        return [node.op_type for node in self.graph.node]

    def types(self) -> dict[str, str]:
        """Return the element type of every value of the main graph, as ONNX Runtime finds it."""
        model = onnx_graph.read(self.path)
        onnx_graph.infer_types(model)
        values = [*model.graph.inputs, *model.graph.initializers.values()]
        values += [value for node in model.graph for value in node.outputs]
        return {value.name: value.dtype.name for value in values}

    def node(self, operator: str) -> Any:
        (found,) = [node for node in self.graph.node if node.op_type == operator]
        return found

    def is_half(self, operator: str) -> bool:
        return self.types()[self.node(operator).output[0]] == "FLOAT16"

    def initializers(self) -> dict[str, np.ndarray]:
        return {tensor.name: numpy_helper.to_array(tensor) for tensor in self.graph.initializer}

    def outputs(self, *, rounding: bool = True) -> list[tuple[str, dict[str, np.ndarray]]]:
        """Run what was made, as the runner does or with every fp16 result rounded."""
        path = self.path
        rounded = onnx_rounding.rounded(path) if rounding else None
        if rounded is not None:
            path = self.path.parent / "rounded.onnx"
            path.write_bytes(rounded)
        return run(path, *self.samples)

    def matches(self, *, rounding: bool = True) -> bool:
        """Compare with the source model as a run does, with a part of each output's range as tolerance."""
        reference = run(self.source, *self.samples)
        atol = {}
        for name in reference[0][1]:
            values = np.concatenate([each[name].astype("float64").ravel() for _, each in reference])
            atol[name] = TOLERANCES[self.precision] * float(np.ptp(values))
        return verify(reference, self.outputs(rounding=rounding), atol=atol, rtol={"": 0.0}).passed

    def change_a_weight(self, name: str) -> None:
        (tensor,) = [each for each in self.graph.initializer if each.name.startswith(name)]
        values = numpy_helper.to_array(tensor).copy()
        values.flat[np.abs(values.astype("float32")).argmax()] *= -1
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        onnx.save(self.model, str(self.path))


def run(path: Path, *samples: Arrays) -> list[tuple[str, dict[str, np.ndarray]]]:
    model = onnx_runner.load(path, declared=Signature(inputs=(), outputs=()))
    return [(str(index), model.infer(sample)) for index, sample in enumerate(samples)]


NETWORK = """
"" : 17
network (float[batch, 3, height, width] image) => (float[batch, 5] scores, float[batch, 8, h, w] features) {
    a = Conv<pads = [1, 1, 1, 1]>(image, w1, b1)
    c = Relu(a)
    d = Conv<pads = [1, 1, 1, 1]>(c, w2, b2)
    features = Add(c, d)
    pooled = GlobalAveragePool(features)
    flat = Flatten(pooled)
    scores = Gemm<beta = 0.5, transB = 1>(flat, w3, b3)
}
"""
NETWORK_WEIGHTS = {
    "w1": floats(8, 3, 3, 3),
    "b1": floats(8, seed=1),
    "w2": floats(8, 8, 3, 3, seed=2, scale=0.3),
    "b2": floats(8, seed=3),
    "w3": floats(5, 8, seed=4),
    "b3": floats(5, seed=5, scale=4.0),
}
IMAGES = ({"image": floats(1, 3, 8, 8)}, {"image": floats(2, 3, 12, 6, seed=1)})
