"""Models that take and return float32 and compute in float16: their rounding is measured in steps of float16."""
# ruff: noqa: TID253 - the frameworks are what is tested
# mypy: allow-subclassing-any

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from navigator.converters import torch_export_to_onnx, torchscript_to_onnx
from navigator.records import Format, Precision, Signature, TensorSpec
from navigator.runners import onnx as onnx_runner
from navigator.runners import torch_export, torchscript
from navigator.samples import storage
from navigator.verify.compare import verify
from navigator.verify.noise import measured
from navigator.verify.tolerances import tolerances
from navigator.workers.noise import probes
from navigator.workers.search import DIRECTORY, prepare
from tests.support.builders import a_model
from tests.support.exports import Exports, floats

DECLARED = Signature(inputs=(TensorSpec(name="x", shape=(-1, 16), dtype="float32"),), outputs=())
SAMPLES = [(str(rows), {"x": floats((rows, 16), rows)}) for rows in (1, 5, 40)]


class Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = torch.nn.Linear(16, 64), torch.nn.Linear(64, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.first(x)))


class Autocast(Network):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.float16):
            return super().forward(x).float()


class Casting(Network):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.nn.functional.linear(x.half(), self.first.weight.half(), self.first.bias.half())
        return torch.nn.functional.linear(torch.relu(hidden), self.last.weight.half()).float()


def program(path: Path, module: torch.nn.Module) -> Any:
    with torch_export.quiet():
        batch = {0: torch.export.Dim("batch", max=64)}
        torch.export.save(torch.export.export(module.eval(), (torch.ones(2, 16),), dynamic_shapes=(batch,)), path)
    return torch_export.load(path, declared=DECLARED)


def script(path: Path, module: torch.nn.Module) -> Any:
    with torchscript.quiet():
        torch.jit.save(torch.jit.trace(module.eval(), torch.ones(2, 16)), str(path))
    return torchscript.load(path, declared=DECLARED)


def scale_the_weights(path: Path) -> None:
    """Multiply the largest weight of an ONNX file by 1.03."""
    model = onnx.load(str(path))
    weight = max(model.graph.initializer, key=lambda each: math.prod(each.dims))
    values = onnx.numpy_helper.to_array(weight)
    weight.CopyFrom(onnx.numpy_helper.from_array((values * 1.03).astype(values.dtype), weight.name))
    onnx.save(model, str(path))


@pytest.mark.parametrize(
    ("save", "module", "converter"),
    [
        (program, Autocast, torch_export_to_onnx),
        (script, Casting, torchscript_to_onnx),
    ],
    ids=["autocast", "script"],
)
def test_a_right_conversion_passes_and_wrong_weights_do_not(
    tmp_path: Path, save: Callable[[Path, torch.nn.Module], Any], module: type[torch.nn.Module], converter: Any
) -> None:
    source = tmp_path / "model.pt2"
    model = save(source, module())
    assert model.casts_to_half
    key = converter.__name__.rpartition(".")[2]
    options = lambda opset: converter.Options(opset=opset)  # noqa: E731
    exports = Exports(tmp_path, source, model, SAMPLES, converter=key, options=options)
    path, _ = exports.convert(18)
    found = probes(model, SAMPLES, exports.expected)
    noise = measured(exports.expected, found.rounded, {"": 1e-5}, found.batches)
    allowed = tolerances(a_model(), Precision.FP32, exports.expected, noise)
    assert all(1e-4 < atol < 1e-2 for name, atol in allowed.atol.items() if name)

    def passes() -> bool:
        converted = onnx_runner.load(path, declared=exports.signature)
        outputs = [(name, converted.infer(inputs)) for name, inputs in SAMPLES]
        return verify(exports.expected, outputs, atol=allowed.atol, rtol=allowed.rtol).passed

    assert passes()
    scale_the_weights(path)
    assert not passes()


@pytest.mark.parametrize("save", [program, script])
def test_other_models_are_measured_in_their_own_steps(
    tmp_path: Path, save: Callable[[Path, torch.nn.Module], Any]
) -> None:
    model = save(tmp_path / "model.pt2", Network())
    assert not model.casts_to_half
    outputs = [(name, model.infer(inputs)) for name, inputs in SAMPLES]
    found = probes(model, SAMPLES, outputs)
    assert all(each.atol == 1e-5 for each in measured(outputs, found.rounded, {}, found.batches).values())


@pytest.mark.parametrize(("module", "enlarged"), [(Autocast, False), (Network, True)])
def test_a_search_keeps_to_usual_sizes(tmp_path: Path, module: type[torch.nn.Module], enlarged: bool) -> None:
    model = program(tmp_path / "model.pt2", module())
    samples, outputs = tmp_path / "samples", tmp_path / "outputs"
    samples.mkdir()
    outputs.mkdir()
    config = a_model(Format.TORCH_EXPORT)
    prepare(model, model.signature.inputs, config, SAMPLES, took=5.0, into=(samples, outputs))
    tried = storage.unstacked(storage.load(samples / DIRECTORY))
    assert len(tried) > 20
    assert any(np.abs(inputs["x"]).max() > 2 for inputs in tried.values()) == enlarged


def test_weights_are_as_before_to_the_last_bit(tmp_path: Path) -> None:
    model = script(tmp_path / "model.pt2", Casting())
    before = [each.clone() for each in model.module.parameters()]
    with model.perturbed():
        away = [
            float((one - two).abs().max() / two.abs().max())
            for one, two in zip(model.module.parameters(), before, strict=True)
        ]
    assert all(1e-4 < each < 1e-3 for each in away)
    assert all(map(torch.equal, model.module.parameters(), before))
    assert np.array_equal(
        model.infer(SAMPLES[0][1])["output__0"], Casting()(torch.from_numpy(SAMPLES[0][1]["x"])).detach()
    )
