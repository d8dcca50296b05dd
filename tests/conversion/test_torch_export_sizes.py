"""Programs whose operators depend on the size of an image, which the exporter reads off its example."""
# ruff: noqa: TID253 - the framework is what is tested
# mypy: allow-subclassing-any

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.export import Dim

from navigator.converters import torch_export_to_onnx
from navigator.records import Signature
from navigator.runners import onnx as onnx_runner
from navigator.runners import torch_export
from tests.support.exports import Exports, floats

F = torch.nn.functional
H, W = Dim("h", min=8, max=256), Dim("w", min=8, max=256)


class Pools(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (
            F.adaptive_avg_pool2d(image, (7, 5)),
            F.adaptive_avg_pool2d(image, (None, 1)),
            F.adaptive_avg_pool2d(image, (image.shape[2] // 3, 4)),
            F.adaptive_avg_pool2d(image[0], 1),
            F.adaptive_avg_pool1d(image[0, 0], 3),
        )


class Resizes(torch.nn.Module):
    """By factors whose products with a size are nearly whole."""

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        bilinear = {"mode": "bilinear", "scale_factor": 0.57}
        return (
            F.interpolate(image, **bilinear),
            F.interpolate(image, **bilinear, align_corners=True),
            F.interpolate(image, scale_factor=(2.0, 0.29), mode="bicubic"),
            F.interpolate(image[0], scale_factor=0.57, mode="linear"),
            F.interpolate(image[None], scale_factor=(1.0, 0.57, 0.29), mode="trilinear"),
        )


def compared(tmp_path: Path, module: torch.nn.Module, sizes: list[tuple[int, int]], *, dynamic: bool) -> None:
    """Compare a program with its conversion for images of each size; the first is the example."""
    images = [floats((1, 2, *size)) for size in sizes]
    source = tmp_path / "program.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shapes = ({2: H, 3: W},) if dynamic else None
        torch.export.save(torch.export.export(module, (torch.from_numpy(images[0]),), dynamic_shapes=shapes), source)
    run = Exports(
        tmp_path,
        source,
        torch_export.load(source, declared=Signature(inputs=(), outputs=())),
        [(str(image.shape), {"image": image}) for image in images],
        converter="torch_export_to_onnx",
        options=lambda opset: torch_export_to_onnx.Options(opset=opset),
    )
    path, _ = run.convert(18)
    converted = onnx_runner.load(path, declared=run.signature)
    for (_, inputs), (_, expected) in zip(run.samples, run.expected, strict=True):
        for name, output in converted.infer(inputs).items():
            # By how much ONNX Runtime rounds the places of pixels.
            np.testing.assert_allclose(output, expected[name], rtol=1e-5, atol=5e-5)


@pytest.mark.parametrize("dynamic", [True, False])
def test_windows_follow_the_size_of_the_image(tmp_path: Path, dynamic: bool) -> None:
    compared(tmp_path, Pools(), [(40, 40), (56, 20), (17, 93)] if dynamic else [(40, 41)], dynamic=dynamic)


@pytest.mark.parametrize("dynamic", [True, False])
def test_a_size_that_is_nearly_whole_is_rounded_as_torch_does(tmp_path: Path, dynamic: bool) -> None:
    compared(tmp_path, Resizes(), [(100, 100), (50, 200), (33, 29)] if dynamic else [(100, 100)], dynamic=dynamic)
