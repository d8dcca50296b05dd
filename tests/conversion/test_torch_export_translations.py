"""Operators that torch's exporter of programs writes wrongly by itself: what they compute after a conversion."""
# ruff: noqa: TID253 - the framework is what is tested
# mypy: allow-subclassing-any

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from navigator.converters import torch_export_to_onnx
from navigator.errors import StepError
from navigator.records import Signature
from navigator.runners import onnx as onnx_runner
from navigator.runners import torch_export
from tests.support.exports import Exports

F = torch.nn.functional
NOTHING = Signature(inputs=(), outputs=())


def exported(tmp_path: Path, module: torch.nn.Module, inputs: dict[str, np.ndarray], **options: Any) -> Exports:
    """Return a program, run on `inputs`."""
    source = tmp_path / "program.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = tuple(torch.from_numpy(each) for each in inputs.values())
        torch.export.save(torch.export.export(module, example, **options), source)
    return Exports(
        tmp_path,
        source,
        torch_export.load(source, declared=NOTHING),
        [("own", inputs)],
        converter="torch_export_to_onnx",
        options=lambda opset: torch_export_to_onnx.Options(opset=opset),
    )


def outputs_of(run: Exports, opset: int) -> list[Any]:
    """Return what the file at `opset` computes; it's what the program does."""
    path, _ = run.convert(opset)
    outputs = onnx_runner.load(path, declared=run.signature).infer(run.samples[0][1])
    for name, expected in run.expected[0][1].items():
        assert (outputs[name].dtype, outputs[name].shape) == (expected.dtype, expected.shape)
        if expected.dtype == np.uint8:
            difference = np.abs(outputs[name].astype(int) - expected.astype(int))
            assert difference.max() <= 1
            assert difference.mean() <= 0.03  # where torch's weights are rounded
        else:
            np.testing.assert_allclose(outputs[name], expected, rtol=1e-5, atol=1e-6)
    return [each.tolist() for each in outputs.values()]


class Elements(torch.nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        # A size that is rounded up, through a negative one.
        chunks = torch.ones(-(-x.shape[0] // 2))
        return (
            F.logsigmoid(x),
            torch.logaddexp(x, y),
            torch.logaddexp2(x, y),
            torch.atan2(torch.zeros_like(x), x),
            chunks,
        )


@pytest.mark.parametrize("opset", [18, pytest.param(20, marks=pytest.mark.nightly)])
def test_values_of_some_hundred_and_angles_are_right(tmp_path: Path, opset: int) -> None:
    x = np.array([-500, 500, 0, -math.inf, 1], np.float32)
    y = np.array([-500, 499, -1e4, -math.inf, 1], np.float32)
    sizes = {0: torch.export.Dim("length", min=3, max=8)}

    run = exported(tmp_path, Elements(), {"x": x, "y": y}, dynamic_shapes=(sizes, sizes))
    sigmoids, natural, binary, angles, chunks = outputs_of(run, opset)

    two, rest = math.log(2), math.log(1 + 1 / math.e)
    assert sigmoids == pytest.approx([-500, 0, -two, -math.inf, -rest])
    assert natural == pytest.approx([-500 + two, 500 + rest, 0, -math.inf, 1 + two])
    assert binary == pytest.approx([-499, 499 + math.log2(3), 0, -math.inf, 2])
    assert angles == pytest.approx([math.pi, 0, 0, math.pi, 0])
    assert chunks == [1, 1, 1]


class Signs(torch.nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.sign(x), torch.sign(y)


def test_nan_has_no_sign(tmp_path: Path) -> None:
    numbers = {"x": np.array([math.nan, -math.inf, -0.0, 2], np.float32), "y": np.array([-2, 0, 3])}
    assert outputs_of(exported(tmp_path, Signs(), numbers), 18) == [[0, -1, 0, 1], [-1, 0, 1]]


class Tails(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.logcumsumexp(x, 0), torch.logcumsumexp(x[0], 0), torch.special.log_ndtr(x), torch.special.erfcx(x)


def test_sums_and_tails_that_vanish_have_logarithms(tmp_path: Path) -> None:
    x = np.array([-500, -math.inf, -20, 1, 1], np.float32)
    sums, _, tails, scaled = outputs_of(exported(tmp_path, Tails(), {"x": x}), 18)

    two = math.log(2)
    assert sums == pytest.approx([-500, -500, -20, 1 + math.log1p(math.exp(-21)), 1 + two])
    # -x * x / 2 - log(-x * sqrt(2 pi)) + log(1 - 1 / x**2 + 3 / x**4 ...)
    assert tails[2:4] == pytest.approx([-203.917155, math.log(0.841344746)])
    assert scaled[1:] == pytest.approx([math.inf, math.inf, 0.427583576, 0.427583576])


class Distances(torch.nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(torch.cdist(x, y, p) for p in (0.0, 1.0, 2.0, 3.0, math.inf))


def test_distances_of_rows_are_right(tmp_path: Path) -> None:
    x = np.array([[[0, 0], [1, 2]]] * 2, np.float32)
    y = np.array([[[0, 0], [4, -2], [1, 3]]] * 2, np.float32)
    sizes = {0: torch.export.Dim("batch", max=8)}

    run = exported(tmp_path, Distances(), {"x": x, "y": y}, dynamic_shapes=(sizes, sizes))
    counts, sums, lengths, cubes, largest = (each[1] for each in outputs_of(run, 18))

    assert counts == [[0, 2, 2], [2, 2, 1]]
    assert sums == [[0, 6, 4], [3, 7, 1]]
    assert lengths[1] == pytest.approx([math.sqrt(5), 5, 1])
    assert cubes[1] == pytest.approx([9 ** (1 / 3), 91 ** (1 / 3), 1])
    assert largest == [[0, 4, 3], [2, 4, 1]]


class Shifted(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return x >> 1, x >> torch.ones_like(x), (x.int() - 128) >> 1, x << 1, x << torch.ones_like(x), x.int() << 1


class Angles(torch.nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (*map(torch.angle, (x, y, z, b)), torch.angle(torch.view_as_complex(x.reshape(-1, 2))))


def test_angles_of_whole_numbers_are_floats(tmp_path: Path) -> None:
    numbers: dict[str, np.ndarray] = {
        "x": np.array([-2, 1, 3, -0.5], np.float32),
        "y": np.array([-2, 0, 3], np.int64),
        "z": np.array([0, 200], np.uint8),
        "b": np.array([True, False]),
    }
    outputs_of(exported(tmp_path, Angles(), numbers), 18)


class Extremes(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return x.amax(), x.amin(), x.amax(1, keepdim=True)


def test_extremes_are_those_of_all_axes(tmp_path: Path) -> None:
    run = exported(tmp_path, Extremes(), {"x": np.array([[1.0, -2.0], [3.0, 0.0]], "float32")})
    assert outputs_of(run, 18) == [3, -2, [[1], [3]]]


class Places(torch.nn.Module):
    def forward(self, rows: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.searchsorted(rows, values), torch.searchsorted(rows[0], values, right=True, out_int32=True)


def test_places_among_sorted_rows_are_found(tmp_path: Path) -> None:
    rows = np.array([[1.0, 3.0, 3.0], [0.0, 2.0, 9.0]], "float32")
    values = np.array([[3.0, 0.0], [2.5, 10.0]], "float32")
    run = exported(tmp_path, Places(), {"rows": rows, "values": values})
    assert outputs_of(run, 18) == [[[1, 0], [2, 3]], [[3, 0], [1, 3]]]


def test_bytes_stay_bytes_when_they_are_shifted(tmp_path: Path) -> None:
    run = exported(tmp_path, Shifted(), {"x": np.array([200, 7, 0], np.uint8)})
    assert outputs_of(run, 18) == [
        *([100, 3, 0], [100, 3, 0], [36, -61, -64]),
        *([144, 14, 0], [144, 14, 0], [400, 14, 0]),
    ]


class Means(torch.nn.Module):
    def forward(self, x: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, ...]:
        means = [
            each[:3].scatter_reduce(0, places, each, "mean", include_self=own)
            for each in (x, x.long())
            for own in (True, False)
        ]
        return *means, x[:3].scatter_reduce(0, places, x, "amax")


def test_values_for_one_place_have_a_mean(tmp_path: Path) -> None:
    inputs = {"x": np.array([1, -4, 2, 5], np.float32), "places": np.array([0, 1, 1, 1])}
    floats, floats_alone, whole, whole_alone, largest = outputs_of(exported(tmp_path, Means(), inputs), 18)
    assert floats == [1, -0.25, 2]
    assert floats_alone == [1, 1, 2]
    assert whole == [1, -1, 2]
    assert whole_alone == [1, 1, 2]
    assert largest == [1, 5, 2]


class Images(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        pooled = F.avg_pool2d(image.float(), 2, divisor_override=3)
        resized = [F.interpolate(image, size=(40, 20), mode=mode) for mode in ("bilinear", "bicubic")]
        return pooled, *resized, F.interpolate(image, scale_factor=2, mode="bilinear")


def test_bytes_are_rounded_when_they_are_resized_and_a_divisor_is_kept(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 3, 19, 27), np.uint8)
    image[0, 0, :2, :2] = [[1, 2], [3, 6]]
    pooled, *_ = outputs_of(exported(tmp_path, Images(), {"image": image}), 18)
    assert pooled[0][0][0][0] == 4


class Attention(torch.nn.Module):
    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        added = torch.where(mask, 0.0, -math.inf)
        return tuple(F.scaled_dot_product_attention(x, x, x, attn_mask=each) for each in (mask, added))


@pytest.mark.parametrize("opset", [18, 23])
def test_a_row_that_is_masked_whole_gives_zeros(tmp_path: Path, opset: int) -> None:
    x = np.random.default_rng(0).normal(size=(2, 1, 3, 4)).astype(np.float32)
    mask = np.array([[True, True, False], [False, False, False]])[:, None, None]  # one row for all of a sequence
    for output in outputs_of(exported(tmp_path, Attention(), {"x": x, "mask": mask}), opset):
        assert not np.any(output[1])
        assert np.all(output[0])


class Plain(torch.nn.Module):
    """Attention without heads, and without a batch."""

    def forward(self, x: torch.Tensor, other: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        attend = F.scaled_dot_product_attention
        return (
            attend(x, other, other),
            attend(x, other, other, attn_mask=mask),
            attend(x, x, x, is_causal=True, scale=0.3),
            attend(x[0], other[0], other[0], attn_mask=mask[0]),
        )


def test_attention_without_heads_is_converted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    given = {
        "x": rng.normal(size=(2, 5, 4)).astype(np.float32),
        "other": rng.normal(size=(2, 3, 4)).astype(np.float32),
        "mask": rng.random((2, 5, 3)) < 0.7,
    }
    expected = Plain()(*map(torch.from_numpy, given.values()))
    for output, right in zip(outputs_of(exported(tmp_path, Plain(), given), 18), expected, strict=True):
        np.testing.assert_allclose(output, right.numpy(), rtol=1e-5, atol=1e-6)


class Blocks(torch.nn.Module):
    """Attention with more axes than a batch and heads."""

    def forward(self, x: torch.Tensor, other: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        attend = F.scaled_dot_product_attention
        return (
            attend(x, other, other),
            attend(x, other, other, attn_mask=mask),
            attend(x, other, other, attn_mask=torch.where(mask, 0.5, -1.0)),
            attend(x, x, x, is_causal=True, scale=0.3),
        )


def test_attention_in_blocks_is_converted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    given = {
        "x": rng.normal(size=(2, 3, 2, 5, 4)).astype(np.float32),
        "other": rng.normal(size=(2, 3, 2, 6, 4)).astype(np.float32),
        "mask": rng.random((2, 1, 1, 5, 6)) < 0.7,
    }
    given["mask"][0, 0, 0, 0] = False  # hides all
    outputs_of(exported(tmp_path, Blocks(), given), 18)


class Normalized(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        running = F.batch_norm(x, torch.zeros(2), torch.ones(2), training=True, eps=1e-8)
        return running, F.batch_norm(x, None, None, training=True, eps=1e-8)


def test_a_batch_is_normalized_by_itself(tmp_path: Path) -> None:
    batch = np.array([[1, 10], [3, 30]], np.float32)
    for normal in outputs_of(exported(tmp_path, Normalized(), {"x": batch}), 18):
        np.testing.assert_allclose(normal, [[-1, -1], [1, 1]], rtol=1e-6)


class Factors(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return F.interpolate(image, scale_factor=(1.7, 0.6), mode="bilinear", antialias=True)


def test_an_antialiased_resize_takes_the_factors_that_torch_is_given(tmp_path: Path) -> None:
    image = np.arange(35, dtype=np.float32).reshape(1, 1, 5, 7)
    (resized,) = outputs_of(exported(tmp_path, Factors(), {"image": image}), 18)
    assert np.shape(resized) == (1, 1, 8, 4)
    np.testing.assert_allclose(resized, Factors()(torch.from_numpy(image)).numpy(), rtol=1e-5)


class Products(torch.nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.cumprod(x, 1), torch.cumprod(x, 0), torch.cumprod(y, 0), x[0, 0].cumprod(0)


def test_products_of_all_before_are_computed(tmp_path: Path) -> None:
    inputs = {
        "x": np.array([[0.5, -2, 0, 3, 4], [1.5, 2, 2.5, 3, 3.5]], np.float32),
        "y": np.array([2, 3, 4], np.int32),
    }
    dynamic = {"x": {0: torch.export.Dim.DYNAMIC}, "y": {0: torch.export.Dim.DYNAMIC}}
    *_, whole, _ = outputs_of(exported(tmp_path, Products(), inputs, dynamic_shapes=dynamic), 18)
    assert whole == [2, 6, 24]


class Spectrum(torch.nn.Module):
    def __init__(self, size: int, *, window: int, normalized: bool = False) -> None:
        super().__init__()
        self.size, self.normalized = size, normalized
        self.register_buffer("window", torch.hann_window(window))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spectrum = torch.stft(
            x, self.size, 160, len(self.window), self.window, normalized=self.normalized, return_complex=True
        )
        return spectrum.abs()


@pytest.mark.parametrize(
    ("module", "rank"),
    [
        (Spectrum(400, window=400), 2),
        (Spectrum(512, window=400), 2),
        (Spectrum(600, window=401, normalized=True), 1),
    ],
)
def test_spectra_keep_their_digits(tmp_path: Path, module: torch.nn.Module, rank: int) -> None:
    # Quiet frequencies beside a loud one.
    wave = np.random.default_rng(0).normal(-4, 1e-2, (2, 3200)[2 - rank :]).astype(np.float32)
    run = exported(tmp_path, module, {"x": wave})
    path, _ = run.convert(18)
    (spectrum,) = onnx_runner.load(path, declared=run.signature).infer({"x": wave}).values()
    (expected,) = run.expected[0][1].values()
    assert np.abs(spectrum - expected).max() < 1e-6 * np.abs(expected).max()


class Masked(torch.nn.Module):
    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(x, x, x, attn_mask=mask)


def test_a_mask_of_float16_hides_whole_rows(tmp_path: Path) -> None:
    mask = np.array([[0, -np.inf], [-np.inf, -np.inf]], np.float16)
    inputs = {"x": np.ones((1, 1, 2, 4), np.float16), "mask": mask}
    assert outputs_of(exported(tmp_path, Masked(), inputs), 18) == [[[[[1] * 4, [0] * 4]]]]


class Phases(torch.nn.Module):
    def forward(self, real: torch.Tensor, imaginary: torch.Tensor) -> torch.Tensor:
        return torch.angle(torch.complex(real, imaginary))


def test_the_angle_of_a_negative_real_number_is_pi(tmp_path: Path) -> None:
    parts = np.array([[-1, 1, 0, 0], [0, 0, 2, 0]], np.float32)
    (angles,) = outputs_of(exported(tmp_path, Phases(), {"real": parts[0], "imaginary": parts[1]}), 18)
    np.testing.assert_allclose(angles, [np.pi, 0, np.pi / 2, 0], rtol=1e-6)


class Windows(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(image, 2, ceil_mode=True, divisor_override=3)


class Corners(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return F.interpolate(image, size=(2, 2), mode="bilinear", align_corners=True, antialias=True)


class Sizes(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.ops.aten._upsample_bilinear2d_aa(image, (2, 2), False, 1.7, 0.9)


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        (Sizes(), "interpolate with antialias has no operator in ONNX for a size and other factors"),
        (Windows(), "avg_pool with divisor_override and ceil_mode has no operator in ONNX"),
        (Corners(), "interpolate with antialias and align_corners has no right operator in ONNX Runtime"),
    ],
)
def test_what_onnx_cannot_compute_is_refused(tmp_path: Path, module: torch.nn.Module, sentence: str) -> None:
    run = exported(tmp_path, module, {"image": np.ones((1, 1, 3, 3), np.float32)})
    with pytest.raises(StepError, match=sentence):
        run.convert(18)


class Indexed(torch.nn.Module):
    def forward(self, x: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> tuple[torch.Tensor, ...]:
        put = x.index_put((rows, columns), x[rows, 0] + 1, accumulate=True)
        return x[rows], x[:, columns], x[rows, columns], put, x.index_add(0, rows, x[:3])


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_indices_may_be_in_int32(tmp_path: Path, dtype: type) -> None:
    x = np.arange(20, dtype=np.float32).reshape(5, 4)
    places: dict[str, np.ndarray] = {"rows": np.array([0, 2, 2], dtype), "columns": np.array([1, 3, 3], dtype)}
    outputs_of(exported(tmp_path, Indexed(), {"x": x, **places}), 18)
