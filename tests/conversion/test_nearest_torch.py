"""Resizes to the nearest pixels take those that torch takes, and stay a Resize where that does."""
# ruff: noqa: TID253 - the framework is what is tested
# mypy: allow-subclassing-any

import itertools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from navigator.converters import torch_export_to_onnx
from navigator.frameworks.torch.nearest import is_same
from navigator.records import Signature, TensorSpec
from navigator.runners import onnx as onnx_runner
from navigator.runners import torch_export
from tests.support.exports import Exports, of_torchscript

# torch says it of each scripted call that it runs.
pytestmark = pytest.mark.filterwarnings("ignore:The default behavior for interpolate")

F = torch.nn.functional
NOTHING = Signature(inputs=(), outputs=())
IMAGE = np.arange(2 * 3 * 64 * 90, dtype=np.float32).reshape(2, 3, 64, 90)
RESIZE = """<ir_version: 8, opset_import: ["" : 17]> m (float[w] x, {of}) => (float[v] y)
{{ y = Resize<mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor">(x, , {given}) }}"""


class ByFactor(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, scale_factor=2.3)


class ByFactors(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.upsample = torch.nn.Upsample(scale_factor=(0.6, 2.9))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        resized: torch.Tensor = self.upsample(x)
        return resized


class BySizes(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, size=(74, 12))


class BySize(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, size=82)


class AsLarge(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x[:, :, ::5, ::3], size=[x.shape[2] + 18, x.shape[3]])


class Recomputed(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, scale_factor=2.3, recompute_scale_factor=True)


class OneAxis(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x[:, 0], scale_factor=0.3)


class ThreeAxes(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x[:, None], scale_factor=(2.0, 0.6, 2.3))


class Centred(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        by_factor = F.interpolate(x, scale_factor=0.6, mode="nearest-exact")
        return by_factor, F.interpolate(x, size=(74, 12), mode="nearest-exact")


class Computed(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, scale_factor=128.0 / x.shape[2])


class Bytes(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x.to(torch.uint8), scale_factor=0.6)


MODULES = (ByFactor, ByFactors, BySizes, BySize, AsLarge, Recomputed, OneAxis, ThreeAxes, Centred, Bytes)


class Twice(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(F.interpolate(x, scale_factor=0.5), scale_factor=4.0)


def of_script(tmp_path: Path, module: torch.nn.Module, *, scripted: bool) -> Exports:
    source = tmp_path / "m.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.jit.script(module) if scripted else torch.jit.trace(module, torch.from_numpy(IMAGE))
        torch.jit.save(made, str(source))
    declared = Signature(inputs=(TensorSpec(name="x", shape=(-1, 3, -1, -1), dtype="float32"),), outputs=())
    return of_torchscript(tmp_path, source, declared, [("own", {"x": IMAGE}), ("other", {"x": IMAGE[:1, :, :42, :80]})])


def of_program(tmp_path: Path, module: torch.nn.Module, *, dynamic: bool) -> Exports:
    source = tmp_path / "m.pt2"
    sizes = ({2: torch.export.Dim("height", min=41, max=99), 3: torch.export.Dim("width", min=41, max=99)},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(module, (torch.from_numpy(IMAGE),), dynamic_shapes=sizes if dynamic else None)
        torch.export.save(program, source)
    return Exports(
        tmp_path,
        source,
        torch_export.load(source, declared=NOTHING),
        [("own", {"x": IMAGE}), *([("other", {"x": IMAGE[:, :, :42, :80]})] if dynamic else [])],
        converter="torch_export_to_onnx",
        options=lambda opset: torch_export_to_onnx.Options(opset=opset),
    )


def operators(run: Exports, opset: int) -> set[str]:
    """Return the operators of a conversion that takes the pixels that torch takes."""
    path, _ = run.convert(opset)
    model = onnx_runner.load(path, declared=run.signature)
    for (_, sample), (_, expected) in zip(run.samples, run.expected, strict=True):
        outputs = model.infer(sample)
        for name, value in expected.items():
            np.testing.assert_array_equal(outputs[name], value, strict=True)
    return {node.op_type for node in onnx.load(path).graph.node}


@pytest.mark.parametrize("opset", [17, pytest.param(11, marks=pytest.mark.nightly)])
@pytest.mark.parametrize(
    ("module", "scripted"),
    # torch's exporter runs scripted modules in a way that doesn't know the mode of one of them.
    [(module, scripted) for module in MODULES for scripted in (False, True) if not (scripted and module is Centred)],
)
def test_torchscript_takes_the_pixels_of_torch(
    tmp_path: Path, module: type[torch.nn.Module], scripted: bool, opset: int
) -> None:
    assert "Resize" not in operators(of_script(tmp_path, module(), scripted=scripted), opset)


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("module", [each for each in MODULES if each is not Recomputed])
def test_a_program_takes_the_pixels_of_torch(tmp_path: Path, module: type[torch.nn.Module], dynamic: bool) -> None:
    operators(of_program(tmp_path, module(), dynamic=dynamic), 18)


@pytest.mark.parametrize("scripted", [False, True])
def test_a_resize_that_is_right_stays_one(tmp_path: Path, scripted: bool) -> None:
    found = operators(of_script(tmp_path, Twice(), scripted=scripted), 17)
    assert "Resize" in found
    assert "Gather" not in found


class Sized(torch.nn.Module):
    """Sizes that aren't written one by one, and those that factors lead to, in other modes."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        larger = F.interpolate(x[:, :, ::3, ::2], size=x.shape[-2:], mode="bilinear", align_corners=True)
        # 100 * 0.57 is less than 57.
        wide = F.interpolate(x, size=(41, 100), mode="bicubic", align_corners=False)
        return larger, F.interpolate(
            wide, scale_factor=0.57, mode="bilinear", align_corners=False, recompute_scale_factor=True
        )


def test_a_scripted_resize_has_the_sizes_of_torch(tmp_path: Path) -> None:
    run = of_script(tmp_path, Sized(), scripted=True)
    path, _ = run.convert(14)
    model = onnx_runner.load(path, declared=run.signature)
    for (_, sample), (_, expected) in zip(run.samples, run.expected, strict=True):
        outputs = model.infer(sample)
        for name, value in expected.items():
            np.testing.assert_allclose(outputs[name], value, rtol=1e-5)


def test_a_computed_factor_is_left_to_the_exporter(tmp_path: Path) -> None:
    run = of_script(tmp_path, Computed(), scripted=True)
    path, _ = run.convert(17)
    assert "Resize" in {node.op_type for node in onnx.load(path).graph.node}


def test_a_resize_of_a_program_that_is_right_stays_one(tmp_path: Path) -> None:
    found = operators(of_program(tmp_path, Twice(), dynamic=True), 18)
    assert "Resize" in found
    assert "Gather" not in found


def resized(text: str, **inputs: Any) -> np.ndarray:
    model = onnx.parser.parse_model(text)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, inputs)
    return np.asarray(found)


def test_both_take_the_same_where_that_is_said() -> None:
    told = {True: 0, False: 0}
    for own, (size, factor) in itertools.product(
        (5, 6, 41), [(each, None) for each in (7, 10, 74, 82, 123)] + [(None, each) for each in (0.5, 0.6, 2.0, 2.3)]
    ):
        row = np.arange(own, dtype=np.float32)
        expected = F.interpolate(torch.from_numpy(row)[None, None], size, factor)[0, 0].numpy()
        if factor is None:
            text, given = RESIZE.format(of="int64[1] s", given=", s"), np.array([size])
        else:
            text, given = RESIZE.format(of="float[1] s", given="s"), np.array([factor], np.float32)
        same = is_same(own, size, factor)
        told[same] += 1
        assert not same or np.array_equal(resized(text, x=row, s=given), expected), (own, size, factor)
    assert told[True] > told[False] > 0
    assert not is_same(None, 82, None)
    assert is_same(None, None, 2.0)
    assert not is_same(None, None, 2.3)
