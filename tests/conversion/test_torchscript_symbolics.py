"""Operators that torch's TorchScript exporter writes wrongly by itself: what they compute after a conversion."""
# ruff: noqa: TID253 - the framework is what is tested
# mypy: allow-subclassing-any

import importlib
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from navigator.errors import StepError
from navigator.records import Signature, TensorSpec
from navigator.runners import onnx as onnx_runner
from tests.support.exports import floats, of_torchscript

F = torch.nn.functional
OPSETS = (17, pytest.param(9, marks=pytest.mark.nightly))


class Function(torch.nn.Module):
    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.function(*inputs)


def converted(
    tmp_path: Path, function: Callable[..., torch.Tensor], *inputs: Any, opset: int, dtype: str = "", off: float = 0
) -> np.ndarray:
    """Return what a traced function gives after a conversion; the source gives the same, up to rounding.

    A share `off` of whole numbers may be off by one.
    """
    example = [torch.from_numpy(np.asarray(each, dtype or None)) for each in inputs]
    example = [each.float() if each.dtype == torch.float64 else each for each in example]
    source = tmp_path / "function.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(Function(function), example, check_trace=False), str(source))
    declared = Signature(
        inputs=tuple(
            TensorSpec(name=f"x{index}", shape=tuple(-1 for _ in each.shape), dtype=str(each.dtype).split(".")[1])
            for index, each in enumerate(example)
        ),
        outputs=(),
    )
    run = of_torchscript(
        tmp_path, source, declared, [("own", {f"x{index}": each.numpy() for index, each in enumerate(example)})]
    )
    path, _ = run.convert(opset)
    (output,) = onnx_runner.load(path, declared=run.signature).infer(run.samples[0][1]).values()
    (expected,) = run.expected[0][1].values()
    assert (output.dtype, output.shape) == (expected.dtype, expected.shape)
    if off:
        difference = np.abs(output.astype(int) - expected.astype(int))
        assert difference.max() <= 1
        assert difference.mean() <= off
    else:
        np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-6)
    return output


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize(
    ("function", "inputs", "dtype", "expected"),
    [
        (lambda x: torch.floor_divide(x, 0.25), [[-1.1, -0.25, 0.3]], "", [-5, -1, 1]),
        (lambda x: x // 4, [[-9, -8, -1, 7]], "int64", [-3, -2, -1, 1]),
        (lambda x: x // -4, [[-9, -8, -1, 7]], "int32", [2, 2, 0, -2]),
        (lambda x, y: x // y, [[-9, 9], [[2], [-2]]], "int64", [[-5, 4], [4, -5]]),
        (lambda x: x // 4, [[7, 255]], "uint8", [1, 63]),
        (lambda x: x >> 2, [[-9, -8, -1, 7]], "int32", [-3, -2, -1, 1]),
        (lambda x: x >> 7, [[127, 128, 255]], "uint8", [0, 1, 1]),
        (lambda x, y: x >> y, [[-9, 9], [[1], [70]]], "int64", [[-5, 4], [-1, 0]]),
        (lambda x: (x >> 2) // 2**51, [[-(2**60) - 3]], "int64", [-129]),
        (lambda x: torch.tensor(-7) // x, [[2, -2]], "int64", [-4, 3]),
    ],
)
def test_division_rounds_down(
    tmp_path: Path, opset: int, function: Any, inputs: list[Any], dtype: str, expected: list[Any]
) -> None:
    assert converted(tmp_path, function, *inputs, opset=opset, dtype=dtype).tolist() == expected


@pytest.mark.parametrize("opset", OPSETS)
def test_angles_are_right_on_the_axes(tmp_path: Path, opset: int) -> None:
    y, x = [0.0, 0.0, 0.0, 1.0, -1.0, -1.0, 1.0], [0.0, 1.0, -1.0, 0.0, 0.0, -1.0, -1.0]
    quarters = converted(tmp_path, torch.atan2, y, x, opset=opset) / (math.pi / 4)
    np.testing.assert_allclose(quarters, [0, 0, 4, 2, -2, -3, 3], atol=1e-6)


@pytest.mark.parametrize("opset", OPSETS)
def test_a_log_sigmoid_does_not_overflow(tmp_path: Path, opset: int) -> None:
    values = converted(tmp_path, F.logsigmoid, [-300.0, 0.0, 300.0], opset=opset)
    np.testing.assert_allclose(values, [-300, -math.log(2), 0], rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [([math.nan, -math.inf, -0.0, 2.0], "", [0, -1, 0, 1]), ([-2, 0, 3], "int64", [-1, 0, 1])],
)
def test_nan_has_no_sign(tmp_path: Path, values: list[float], dtype: str, expected: list[int]) -> None:
    assert converted(tmp_path, torch.sign, values, opset=17, dtype=dtype).tolist() == expected


def test_the_logarithm_of_a_scalar_is_a_scalar(tmp_path: Path) -> None:
    assert converted(tmp_path, torch.log10, 1000.0, opset=17).shape == ()


@pytest.mark.parametrize("opset", [*OPSETS, 20])
@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (torch.any, True),
        (lambda x: x.any(1), [True, True, False]),
        (lambda x: torch.any(x, (0, 1), keepdim=True), [[True]]),
        (lambda x: ((x * 2).int() - 1).any(0), [True, True]),
        (lambda x: (x > 0).byte().any(), 1),  # stays a byte
    ],
)
def test_any_element_but_0_is_true(tmp_path: Path, opset: int, function: Any, expected: Any) -> None:
    elements = [[0.5, -0.5], [-1.0, 0.0], [0.0, 0.0]]
    assert converted(tmp_path, function, elements, opset=opset).tolist() == expected


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize(("power", "expected"), [(0.0, 2), (1.0, 7), (2.0, 5), (3.0, 91 ** (1 / 3)), (math.inf, 4)])
def test_distances_are_norms(tmp_path: Path, opset: int, power: float, expected: float) -> None:
    one, other = [[[1.0, 2.0]]], [[[4.0, -2.0]]]
    assert converted(tmp_path, lambda x, y: torch.cdist(x, y, power), one, other, opset=opset) == pytest.approx(
        expected
    )
    if power:
        (tmp_path / "pairs").mkdir()
        pairs = converted(
            tmp_path / "pairs", lambda x, y: F.pairwise_distance(x, y, power, 1e-6), one[0], other[0], opset=opset
        )
        assert pairs == pytest.approx(expected, rel=1e-5)


def test_the_similarity_of_short_vectors_is_their_angle(tmp_path: Path) -> None:
    one, other = [[3e-6, 0.0], [0.0, 0.0]], [[3e-6, 4e-6], [1.0, 0.0]]
    assert converted(tmp_path, F.cosine_similarity, one, other, opset=17).tolist() == pytest.approx([0.6, 0])


def test_the_similarity_of_vectors_in_two_directions_is_their_angle(tmp_path: Path) -> None:
    one, other = [[[3.0], [4.0]]], [[[1.0, 2.0]]]  # the second is repeated
    angles = converted(tmp_path, lambda x, y: F.cosine_similarity(x, y, 1), one, other, opset=17)
    assert angles.tolist() == [pytest.approx([0.7 * math.sqrt(2)] * 2)]


@pytest.mark.parametrize("opset", [11, 20])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [{"size": (14, 6)}, {"scale_factor": 2}])
def test_bytes_are_rounded_when_they_are_resized(tmp_path: Path, opset: int, mode: str, size: Any) -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 1, 7, 9))
    converted(tmp_path, lambda x: F.interpolate(x, mode=mode, **size), image, opset=opset, dtype="uint8", off=0.03)


@pytest.mark.parametrize("opset", [14, pytest.param(20, marks=pytest.mark.nightly)])
@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (lambda x: F.adaptive_avg_pool2d(x, (1, None)), (2, 3, 7, 11)),
        (lambda x: F.adaptive_avg_pool2d(x, (5, 3)), (2, 3, 7, 11)),
        (lambda x: F.adaptive_max_pool2d(x, 4), (3, 6, 2)),
        (lambda x: F.adaptive_avg_pool1d(x, 4), (2, 3, 9)),
    ],
    ids=["as wide", "windows of several sizes", "more windows than pixels", "one axis"],
)
def test_images_of_any_size_are_pooled_to_windows(
    tmp_path: Path, function: Callable[..., torch.Tensor], shape: tuple[int, ...], opset: int
) -> None:
    converted(tmp_path, function, np.random.default_rng(0).standard_normal(shape), opset=opset)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_quantized_image_is_pooled(tmp_path: Path) -> None:
    def pooled(x: torch.Tensor) -> torch.Tensor:
        pooled = F.adaptive_avg_pool2d(torch.quantize_per_tensor(x, 0.05, 128, torch.quint8), 1)
        return pooled.dequantize()

    image = np.broadcast_to(np.array([[[[-1.0]], [[2.0]]]]), (1, 2, 7, 9))
    assert converted(tmp_path, pooled, image, opset=14).squeeze() == pytest.approx([-1, 2])


def test_heads_are_shared_and_rows_that_are_masked_whole_are_zeros(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    query, key = rng.standard_normal((2, 4, 3, 8)), rng.standard_normal((2, 2, 5, 8))
    mask = np.zeros((2, 1, 3, 5))
    mask[0, 0, 1, 2:] = mask[1] = -math.inf
    attended = converted(
        tmp_path,
        lambda q, k, m: F.scaled_dot_product_attention(q, k, k + 1, attn_mask=m, enable_gqa=True),
        *(query, key, mask),
        opset=14,
    )
    assert not attended[1].any()
    assert attended[0].all()


def test_padding_is_left_out_of_bags(tmp_path: Path) -> None:
    weight, bags = [[1.0], [2.0], [4.0]], [[0, 1, 1], [1, 1, 1], [2, 0, 1]]
    for mode, expected in (("mean", [[1.0], [0.0], [2.5]]), ("sum", [[1.0], [0.0], [5.0]])):
        (tmp_path / mode).mkdir()
        module = torch.nn.EmbeddingBag.from_pretrained(torch.tensor(weight), mode=mode, padding_idx=-2)
        assert converted(tmp_path / mode, module, bags, opset=14).tolist() == expected


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rows_are_divided_by_the_root_of_their_mean_square(tmp_path: Path, dtype: str) -> None:
    weight = torch.tensor([0.5, 2.0], dtype=getattr(torch, dtype))
    rows = np.array([[1e-3, 1e-3], [300.0, -400.0], [0.0, 0.0]], dtype)
    scaled = converted(tmp_path, lambda x: F.rms_norm(x, (2,), weight), rows, opset=14, dtype=dtype)
    assert scaled[1].tolist() == pytest.approx([0.6 / math.sqrt(2), -3.2 / math.sqrt(2)], rel=1e-3)


def computed(
    tmp_path: Path, function: Callable[..., torch.Tensor], *sizes: tuple[int, ...], dtype: str = "float32"
) -> None:
    """Compare a function, traced with the first size, or scripted if it has a name, for inputs of all sizes."""
    example = torch.zeros(sizes[0], dtype=getattr(torch, dtype))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        called = function if function.__name__ == "<lambda>" else torch.jit.script(function)
        traced = torch.jit.trace(Function(called), example, check_trace=False)
        torch.jit.save(traced, str(tmp_path / "function.pt"))
    declared = Signature(inputs=(TensorSpec(name="x", shape=(-1,) * len(sizes[0]), dtype=dtype),), outputs=())
    samples = [(str(size), {"x": floats(size, dtype=dtype)}) for size in sizes]
    run = of_torchscript(tmp_path, tmp_path / "function.pt", declared, samples)
    path, _ = run.convert(14)
    model = onnx_runner.load(path, declared=run.signature)
    for (_, inputs), (_, expected) in zip(run.samples, run.expected, strict=True):
        (output,), (wanted,) = model.infer(inputs).values(), expected.values()
        assert (output.dtype, output.shape) == (wanted.dtype, wanted.shape)
        np.testing.assert_allclose(output, wanted, rtol=1e-5 if dtype == "float32" else 2e-3, atol=1e-6)


def scripted_norm(x: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(x, x.shape[1:])


def scripted_mean(x: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(x, x.size(2))


def scripted_maximum(x: torch.Tensor) -> torch.Tensor:
    return F.max_pool1d(x.flatten(2), x.size(2) * 2)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.layer_norm(x, x.shape[-1:]),
        lambda x: F.layer_norm(x, (x.shape[2],), torch.arange(4.0).to(x), torch.ones(4).to(x), 1e-3),
        lambda x: F.rms_norm(x, x.shape[1:]),
        scripted_norm,
    ],
)
def test_axes_of_computed_sizes_are_normalized(
    tmp_path: Path, function: Callable[..., torch.Tensor], dtype: str
) -> None:
    computed(tmp_path, function, (2, 3, 4), (3, 5, 4), dtype=dtype)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.avg_pool2d(x, x.size()[2:]),
        lambda x: F.max_pool2d(x, (x.size(2), 2)),
        lambda x: F.avg_pool2d(x[0], (x.size(2) // 2, x.size(3) // 3)),
        scripted_mean,
        scripted_maximum,
    ],
)
def test_windows_of_computed_sizes_are_pooled(tmp_path: Path, function: Callable[..., torch.Tensor]) -> None:
    importlib.import_module("torch.onnx.symbolic_opset10")  # as torch does at times: it hides what is private
    computed(tmp_path, function, (1, 2, 4, 6), (2, 3, 5, 7))


def test_windows_of_computed_sizes_that_overlap_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="pooling by windows of a computed size with stride"):
        computed(tmp_path, lambda x: F.max_pool2d(x, (x.size(2), 2), 1), (1, 2, 4, 6))


@pytest.mark.parametrize("opset", OPSETS)
def test_places_among_sorted_rows_are_found(tmp_path: Path, opset: int) -> None:
    rows, values = [[1.0, 3.0, 3.0], [0.0, 2.0, 9.0]], [[3.0, 0.0], [2.5, 10.0]]
    places = converted(tmp_path, torch.searchsorted, rows, values, opset=opset)
    assert places.tolist() == [[1, 0], [2, 3]]
    (tmp_path / "right").mkdir()
    places = converted(
        tmp_path / "right",
        lambda r, v: torch.searchsorted(r[0], v, side="right", out_int32=True),
        rows,
        values,
        opset=14,
    )
    assert places.tolist() == [[3, 0], [1, 3]]


@pytest.mark.parametrize(("axis", "expected"), [(1, [[[0, 1], [3, 4]]]), (0, [])])
def test_windows_are_taken_of_an_axis_of_any_size(tmp_path: Path, axis: int, expected: list[Any]) -> None:
    windows = converted(tmp_path, lambda x: x.unfold(axis, 2, 3), [[0.0, 1, 2, 3, 4, 5]] * (2 - axis), opset=14)
    assert windows.tolist() == (expected or [[[each, each] for each in range(6)]])


def test_a_divisor_of_a_mean_is_kept(tmp_path: Path) -> None:
    mean = converted(tmp_path, lambda x: F.avg_pool2d(x, 2, divisor_override=3), [[[[1.0, 2.0], [3.0, 6.0]]]], opset=17)
    assert mean.tolist() == [[[[4.0]]]]


def test_a_divisor_without_whole_windows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="avg_pool with divisor_override and ceil_mode has no operator in ONNX"):
        converted(
            tmp_path,
            lambda x: F.avg_pool2d(x, 2, ceil_mode=True, divisor_override=3),
            np.ones((1, 1, 3, 3)),
            opset=17,
        )


@pytest.mark.parametrize("opset", OPSETS)
def test_a_batch_is_normalized_by_itself(tmp_path: Path, opset: int) -> None:
    def normalized(x: torch.Tensor) -> torch.Tensor:
        return F.batch_norm(x, torch.zeros(2), torch.ones(2), training=True, eps=1e-8)

    normal = converted(tmp_path, normalized, [[1.0, 10.0], [3.0, 30.0]], opset=opset)
    np.testing.assert_allclose(normal, [[-1, -1], [1, 1]], rtol=1e-6)


@pytest.mark.parametrize("offset", [0, 2, -1, 5])
def test_a_diagonal_is_taken_as_it_is(tmp_path: Path, offset: int) -> None:
    matrix = np.arange(12).reshape(3, 4) + 2**40
    taken = converted(tmp_path, lambda x: torch.diagonal(x, offset), matrix, opset=17)
    assert taken.tolist() == np.diagonal(matrix, offset).tolist()
    (tmp_path / "infinite").mkdir()
    infinite = np.where(np.eye(3), 1, -np.inf)
    assert converted(tmp_path / "infinite", torch.diagonal, infinite, opset=17).tolist() == [1, 1, 1]


@pytest.mark.parametrize("opset", OPSETS)
def test_a_loss_of_large_logits_is_finite(tmp_path: Path, opset: int) -> None:
    def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        each = F.binary_cross_entropy_with_logits(x, y, torch.full_like(x, 2), reduction="none", pos_weight=x * 0 + 3)
        means = [F.binary_cross_entropy_with_logits(x, y, reduction=reduction) for reduction in ("mean", "sum")]
        return torch.cat([each, torch.stack(means)])

    logits, target = [-200.0, 200.0, 0.0, 200.0], [1.0, 0.0, 0.5, 1.0]
    half = math.log(2)
    assert converted(tmp_path, loss, logits, target, opset=opset) == pytest.approx(
        [1200, 400, 4 * half, 0, 100 + half / 4, 400 + half]
    )


@pytest.mark.parametrize("opset", [*OPSETS, pytest.param(18, marks=pytest.mark.nightly)])
def test_a_fraction_corrects_a_variance(tmp_path: Path, opset: int) -> None:
    def spreads(x: torch.Tensor) -> torch.Tensor:
        both = (*torch.var_mean(x, (0, 1), correction=1.5), *torch.std_mean(x, correction=0.5))
        kept = x.var(correction=0.5, keepdim=True).reshape(1)
        return torch.cat([torch.stack([*both, x.var(), x.std(unbiased=False)]), x.var(1, correction=0.5), kept])

    values = converted(tmp_path, spreads, [[1.0, 3.0], [5.0, 7.0]], opset=opset)
    expected = [8, 4, math.sqrt(20 / 3.5), 4, 20 / 3, math.sqrt(5), 2 / 1.5, 2 / 1.5, 20 / 3.5]
    np.testing.assert_allclose(values, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("places", "values", "expected"),
    [
        (lambda x: [torch.tensor([0, 2, 0])], [[6, 6], [4, 4], [7, 7]], [[13, 13], [2, 2], [8, 8]]),
        (lambda x: [torch.tensor([0, 0, 2]), torch.tensor([1, 1, 0])], [5, 6, 7], [[0, 11], [2, 2], [11, 4]]),
        (lambda x: [x[:, 0] > 1], [[1, 1], [4, 4]], [[0, 0], [3, 3], [8, 8]]),
        (lambda x: [x > 1], 5, [[0, 0], [7, 7], [9, 9]]),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", pytest.param("int64", marks=pytest.mark.nightly)])
def test_values_for_one_place_are_added_up(tmp_path: Path, places: Any, values: Any, expected: Any, dtype: str) -> None:
    def put(x: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        return x.index_put(places(x), values, accumulate=True)

    target = [[0, 0], [2, 2], [4, 4]]
    assert converted(tmp_path, put, target, values, opset=17, dtype=dtype).tolist() == expected


@pytest.mark.parametrize("function", [lambda x: x.mT, lambda x: x.mH, lambda x: x.adjoint() @ x])
def test_matrices_are_transposed(tmp_path: Path, function: Callable[..., torch.Tensor]) -> None:
    converted(tmp_path, function, np.random.default_rng(0).standard_normal((2, 5, 3, 4)), opset=14)


@pytest.mark.parametrize("accumulate", [True, False])
def test_values_are_put_by_indices_in_int32(tmp_path: Path, accumulate: bool) -> None:
    places = torch.tensor([0, 2], dtype=torch.int32), torch.tensor([1, 0], dtype=torch.int32)

    def put(x: torch.Tensor) -> torch.Tensor:
        return x.index_put(places, x[0], accumulate=accumulate)

    expected = [[1, 3], [2, 2], [6, 4]] if accumulate else [[1, 1], [2, 2], [2, 4]]
    assert converted(tmp_path, put, [[1, 2], [2, 2], [4, 4]], opset=16, dtype="float32").tolist() == expected


@pytest.mark.parametrize("opset", [16, pytest.param(18, marks=pytest.mark.nightly)])
@pytest.mark.parametrize(
    ("axis", "source", "alpha", "expected"),
    [
        (0, [[1, 1], [2, 2], [4, 4]], 1, [[5, 5], [2, 2], [6, 6]]),
        (-1, [[1, 2, 4]] * 3, 2, [[10, 4], [12, 6], [14, 8]]),
    ],
)
def test_rows_for_one_place_are_added_up(
    tmp_path: Path, axis: int, source: Any, alpha: int, expected: Any, opset: int
) -> None:
    places = torch.tensor([0, 2, 0] if axis == 0 else [0, 1, 0])

    def add(x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return x.index_add(axis, places, rows, alpha=alpha)

    target = [[0, 0], [2, 2], [4, 4]]
    assert converted(tmp_path, add, target, source, opset=opset, dtype="float32").tolist() == expected


def test_a_padding_of_bags_is_refused_and_bags_are_not(tmp_path: Path) -> None:
    def bags(weight: torch.Tensor, padding: int | None = None) -> torch.Tensor:
        return F.embedding_bag(torch.tensor([[0, 2]]), weight, mode="sum", padding_idx=padding)

    weight = [[1.0], [2.0], [4.0]]
    assert converted(tmp_path, bags, weight, opset=17).tolist() == [[5]]
    (tmp_path / "padded").mkdir()
    with pytest.raises(StepError, match="embedding_bag with padding_idx"):
        converted(tmp_path / "padded", lambda x: bags(x, -1), weight, opset=17)


@pytest.mark.parametrize("opset", OPSETS)
def test_a_threshold_ends_a_softplus(tmp_path: Path, opset: int) -> None:
    values = converted(tmp_path, lambda x: F.softplus(x, beta=2, threshold=3), [-1.0, 1.5, 2.0], opset=opset)
    np.testing.assert_allclose(values, [math.log1p(math.exp(-2)) / 2, math.log1p(math.exp(3)) / 2, 2], rtol=1e-6)


def test_whole_numbers_have_logits(tmp_path: Path) -> None:
    logits = converted(tmp_path, lambda x: torch.logit(x, 0.2), [-5, 0, 1], opset=17, dtype="int64")
    np.testing.assert_allclose(logits, [-math.log(4), -math.log(4), math.log(4)], rtol=1e-6)


@pytest.mark.parametrize("opset", OPSETS)
def test_an_image_without_a_batch_is_pooled(tmp_path: Path, opset: int) -> None:
    def pooled(image: torch.Tensor) -> torch.Tensor:
        return torch.cat([F.adaptive_avg_pool2d(image, 1), F.adaptive_max_pool2d(image, 1)]).flatten()

    image = [[[1.0, 3.0], [5.0, 7.0]], [[0.0, 0.0], [0.0, 4.0]]]
    assert converted(tmp_path, pooled, image, opset=opset).tolist() == [4, 1, 7, 4]


@pytest.mark.parametrize(("opset", "added"), [(14, False), (16, True)])
def test_sums_that_a_low_opset_loses_are_told(tmp_path: Path, opset: int, added: bool) -> None:
    def sums(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        places = torch.tensor([0, 0, 1])
        put = x.index_put([places], y)  # adds nothing
        return x.scatter_add(0, places, y), x.index_put([places], y, accumulate=True), put[2:]

    source = tmp_path / "sums.pt"
    inputs = {"x": np.zeros(3, np.float32), "y": np.ones(3, np.float32)}
    example = tuple(map(torch.from_numpy, inputs.values()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(Function(sums), example), str(source))
    declared = Signature(
        inputs=tuple(TensorSpec(name=name, shape=(3,), dtype="float32") for name in inputs), outputs=()
    )
    run = of_torchscript(tmp_path, source, declared, [("own", inputs)])
    path, properties = run.convert(opset)
    assert run.verdict(path).passed is added
    assert [each.split(":")[0] for each in properties.warnings] == (
        [] if added else ["index_put at opset 14", "scatter_add at opset 14"]
    )


@pytest.mark.parametrize("dtype", ["float32", "int64"])
@pytest.mark.parametrize("includes", [True, False])
@pytest.mark.parametrize("kind", ["sum", "prod", "mean", "amax", "amin"])
def test_values_are_scattered_to_few_places(tmp_path: Path, kind: str, includes: bool, dtype: str) -> None:
    target, places = [[5, 5, 5, 5]], [[0, 0, 2]]
    known: dict[tuple[str, bool], list[float]] = {
        ("sum", True): [-1, 5, 10, 5],
        ("sum", False): [-6, 5, 5, 5],
        ("prod", True): [-35, 5, 25, 5],
        ("prod", False): [-7, 5, 5, 5],
        ("mean", True): [-1 / 3, 5, 5, 5],
        ("mean", False): [-3, 5, 5, 5],
        ("amax", True): [5, 5, 5, 5],
        ("amax", False): [1, 5, 5, 5],
        ("amin", True): [-7, 5, 5, 5],
        ("amin", False): [-7, 5, 5, 5],
    }
    expected = known[kind, includes]

    def reduced(x: torch.Tensor, values: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        return x.scatter_reduce(1, index.long(), values, kind, include_self=includes)

    found = converted(tmp_path, reduced, target, [[1, -7, 5, 9, 9]], places, opset=18, dtype=dtype)
    np.testing.assert_allclose(found[0], np.floor(expected) if dtype == "int64" else expected, rtol=1e-6)


@pytest.mark.parametrize("batch", [0, 1])
def test_columns_without_a_batch_are_put_together(tmp_path: Path, batch: int) -> None:
    def again(image: torch.Tensor) -> torch.Tensor:
        return F.fold(F.unfold(image, 2), (3, 3), 2)

    image = np.ones((1, 3, 3))
    found = converted(tmp_path, again, image[None] if batch else image, opset=18)
    assert found.reshape(3, 3).tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]


@pytest.mark.parametrize("opset", [14, pytest.param(11, marks=pytest.mark.nightly)])
@pytest.mark.parametrize(
    ("mode", "size"),
    [("linear", (100,)), ("bilinear", (100, 100)), ("bicubic", (50, 200)), ("trilinear", (2, 100, 50))],
)
@pytest.mark.parametrize("align_corners", [False, True])
def test_a_size_that_is_nearly_whole_is_rounded_as_torch_does(
    tmp_path: Path, mode: str, size: tuple[int, ...], opset: int, align_corners: bool
) -> None:
    def resized(image: torch.Tensor) -> torch.Tensor:
        return F.interpolate(image, scale_factor=0.57, mode=mode, align_corners=align_corners)

    # Smooth, since places of pixels are rounded in float32.
    image = np.sin(sum(np.indices((1, 2, *size))) / 100)
    assert converted(tmp_path, resized, image, opset=opset).shape[2:] == tuple(int(each * 0.57) for each in size)


WINDOW = torch.hann_window(12)


@pytest.mark.filterwarnings("ignore:Constant folding")
@pytest.mark.parametrize("opset", [14, pytest.param(9, marks=pytest.mark.nightly)])
@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.stft(x, 16, 4, 12, WINDOW, return_complex=True).abs(),
        lambda x: torch.view_as_real(torch.stft(x[0], 12, 5, window=WINDOW, normalized=True, return_complex=True)),
        lambda x: (
            torch.stft(x, 9, 4, 6, center=False, onesided=False, return_complex=True).transpose(1, -1)[..., -2].imag
        ),
        lambda x: torch.stft(x.view(-1, 40), 8, return_complex=True).view(2, 3, 5, -1).unsqueeze(-1).real,
        lambda x: torch.stft(x + 1, 8, pad_mode="constant", return_complex=True)[:, 1:3, 3:].angle(),
    ],
    ids=["magnitude", "pairs", "moved", "reshaped", "angle"],
)
def test_spectra_are_real_numbers(tmp_path: Path, opset: int, function: Any) -> None:
    converted(tmp_path, function, np.sin(np.arange(240) ** 1.3).reshape(6, 40), opset=opset)


@pytest.mark.filterwarnings("ignore:Constant folding")
def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    def power(x: torch.Tensor) -> torch.Tensor:
        spectrum = torch.stft(x, 8, return_complex=True)
        return (spectrum * spectrum.conj()).real

    with pytest.raises(StepError, match="doesn't support operator aten::stft at any opset"):
        converted(tmp_path, power, np.ones((2, 40)), opset=17)


@pytest.mark.parametrize(
    ("function", "dtype"),
    [
        (lambda x: F.interpolate(x, size=(4, 5), mode="bilinear", antialias=True), ""),
        (lambda x: F.interpolate(x, size=(4, 5), mode="bicubic", antialias=True), ""),
        (lambda x: F.interpolate(x, scale_factor=(0.6, 1.7), mode="bilinear", antialias=True), ""),
        (lambda x: F.interpolate(x, size=(4, 5), mode="bilinear", antialias=True), "uint8"),
        (lambda x: F.interpolate(x, size=(x.shape[3], x.shape[2] // 2), mode="bilinear", antialias=True), ""),
    ],
)
def test_resizes_are_antialiased(tmp_path: Path, function: Any, dtype: str) -> None:
    image = np.random.default_rng(0).uniform(0, 255, (2, 3, 9, 11)).astype(dtype or np.float32)
    converted(tmp_path, function, image, opset=18, dtype=dtype, off=0.03 if dtype else 0)


class Antialiased(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        return [
            F.interpolate(image, size=[4, 5], mode="bilinear", antialias=True),
            F.interpolate(image, scale_factor=0.6, mode="bicubic", antialias=True),
            F.interpolate(image, scale_factor=0.6, mode="bilinear", antialias=True, recompute_scale_factor=True),
            F.interpolate(image, size=image.shape[3], mode="bilinear", antialias=True),
        ]


def test_resizes_of_scripted_modules_are_antialiased(tmp_path: Path) -> None:
    source, image = tmp_path / "m.pt", np.random.default_rng(0).uniform(-1, 1, (2, 3, 9, 11)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Antialiased()).save(str(source))
    declared = Signature(inputs=(TensorSpec(name="image", shape=(-1, 3, -1, -1), dtype="float32"),), outputs=())
    run = of_torchscript(tmp_path, source, declared, [("own", {"image": image})], may_raise=True)
    path, properties = run.convert(14)
    assert run.verdict(path).passed
    assert properties.onnx_opset == 18


def test_an_antialiased_resize_with_aligned_corners_is_refused(tmp_path: Path) -> None:
    def resized(image: torch.Tensor) -> torch.Tensor:
        return F.interpolate(image, size=(2, 2), mode="bilinear", align_corners=True, antialias=True)

    with pytest.raises(StepError, match="interpolate with antialias and align_corners has no right operator"):
        converted(tmp_path, resized, np.ones((1, 1, 3, 3), np.float32), opset=18)


@pytest.mark.parametrize("opset", [*OPSETS, 14])
@pytest.mark.parametrize(
    ("function", "values", "dtype"),
    [
        (lambda x: torch.cumprod(x, 1), [[0.5, -2.0, 0.0, 3.0, 4.0], [1.5, 2.0, 2.5, 3.0, 3.5]], ""),
        (lambda x: torch.cumprod(x, 0), [[2, 3], [4, 5], [6, 7]], "int32"),
        (lambda x: torch.cumprod(x, -1, dtype=torch.float32), [[2, 3, 4]], "int64"),
        (lambda x: torch.cumprod(x, 0), [[2.0, 3.0]], ""),
    ],
)
def test_products_of_all_before_are_computed(
    tmp_path: Path, opset: int, function: Any, values: list[Any], dtype: str
) -> None:
    converted(tmp_path, function, values, opset=opset, dtype=dtype)


def test_a_mask_of_float16_hides_whole_rows(tmp_path: Path) -> None:
    def attended(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(x, x, x, attn_mask=mask)

    mask = np.array([[0, -np.inf], [-np.inf, -np.inf]], np.float16)
    (output,) = converted(tmp_path, attended, np.ones((1, 2, 4)), mask, opset=14, dtype="float16")
    assert output.tolist() == [[1] * 4, [0] * 4]


def written_and_scaled(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    x[:, 0] = 7.0
    x.mul_(y)
    return x + 1


def joined_and_raised(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    x[1:, 1:] = y[1:, 1:]
    x += y
    x.clamp_(max=2.0)
    return x * 1


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("function", [written_and_scaled, joined_and_raised])
def test_inputs_are_changed_in_place_one_change_after_the_other(tmp_path: Path, opset: int, function: Any) -> None:
    x, y = np.arange(6).reshape(2, 3) / 4, np.arange(6).reshape(2, 3) / 2 - 1
    converted(tmp_path, function, x, y, opset=opset)
