"""Operators as torch's TorchScript exporter should write them, which gets them wrong (2.13).

Each function says what is wrong with the exporter's own. Remove it once a module of its operator is exported right
without it.
"""

import contextlib
from collections.abc import Iterator

from navigator.frameworks.torch.symbolics import (
    adaptive,
    antialiased,
    arithmetic,
    attention,
    bits,
    images,
    indexing,
    nearest,
    norms,
    pooling,
    sequences,
    shapes,
    spectra,
)
from navigator.frameworks.torch.symbolics.factors import by_factors, plain
from navigator.frameworks.torch.symbolics.values import Symbolic

# The lowest opset with all operators that a function writes; below, the exporter's own stay.
_ANY, _POOL, _RANGE, _UNFLATTEN, _TRIANGLE, _GRID, _COLUMNS = 0, 10, 11, 13, 14, 16, 18


@contextlib.contextmanager
def right_operators(opset: int) -> Iterator[None]:
    """Let the exporter write the operators of this package at `opset`."""
    import torch

    chosen = [(name, symbolic) for name, (lowest, symbolic) in _symbolics().items() if opset >= lowest]
    for name, symbolic in chosen:
        torch.onnx.register_custom_op_symbolic(name, symbolic, opset)
    try:
        yield
    finally:
        for name, _ in chosen:
            torch.onnx.unregister_custom_op_symbolic(name, opset)


def _symbolics() -> dict[str, tuple[int, Symbolic]]:
    return {
        "aten::floor_divide": (_ANY, arithmetic.floor_divide),
        "aten::floordiv": (_ANY, arithmetic.floor_divide),
        # A name that ends with "_" is taken for that of an operation in place, and loses it.
        "aten::__rshift_": (_ANY, arithmetic.right_shift),
        "aten::bitwise_right_shift": (_ANY, arithmetic.right_shift),
        **{name: (_ANY, symbolic) for name, symbolic in bits.symbolics().items()},
        "aten::atan2": (_ANY, arithmetic.atan2),
        "aten::log_sigmoid": (_ANY, arithmetic.log_sigmoid),
        "aten::sign": (_ANY, arithmetic.sign),
        "aten::softplus": (_ANY, arithmetic.softplus),
        "aten::logit": (_ANY, arithmetic.logit),
        "aten::log10": (_ANY, arithmetic.log10),
        "aten::any": (_ANY, arithmetic.any_true),
        "aten::cumprod": (_RANGE, arithmetic.cumprod),
        "aten::pairwise_distance": (_ANY, arithmetic.pairwise_distance),
        "aten::cosine_similarity": (_ANY, arithmetic.cosine_similarity),
        "aten::cdist": (_ANY, arithmetic.cdist),
        "aten::var": (_ANY, arithmetic.var),
        "aten::std": (_ANY, arithmetic.std),
        "aten::var_mean": (_ANY, arithmetic.var_mean),
        "aten::std_mean": (_ANY, arithmetic.std_mean),
        "aten::binary_cross_entropy_with_logits": (_ANY, arithmetic.cross_entropy_of_logits),
        "aten::index_add": (_RANGE, indexing.index_add),
        "aten::index_put": (_RANGE, indexing.index_put),
        "aten::scatter_reduce": (_GRID, indexing.scatter_reduce),
        "aten::embedding_bag": (_RANGE, indexing.embedding_bag),
        "aten::searchsorted": (_ANY, indexing.searchsorted),
        "aten::unfold": (_RANGE, indexing.unfold),
        "aten::vdot": (_ANY, lambda graph, one, other: graph.op("MatMul", one, other)),
        "aten::rms_norm": (_RANGE, norms.rms_norm),
        "aten::layer_norm": (_ANY, norms.layer_norm),
        "aten::batch_norm": (_ANY, norms.batch_norm),
        **{f"aten::avg_pool{axes}d": (_POOL, pooling.average_pool(axes)) for axes in (1, 2, 3)},
        **{f"aten::max_pool{axes}d": (_POOL, pooling.max_pool(axes)) for axes in (1, 2, 3)},
        **{
            f"aten::adaptive_{kind}_pool{axes}d": (_POOL, adaptive.adaptive_pool(kind, axes))
            for kind in ("avg", "max")
            for axes in (1, 2, 3)
        },
        "aten::upsample_linear1d": (_RANGE, by_factors(plain("upsample_linear1d", 3))),
        "aten::upsample_bilinear2d": (_RANGE, by_factors(images.resize("upsample_bilinear2d", "linear"))),
        "aten::upsample_bicubic2d": (_RANGE, by_factors(images.resize("upsample_bicubic2d", "cubic"))),
        "aten::upsample_trilinear3d": (_RANGE, by_factors(plain("upsample_trilinear3d", 5))),
        "aten::upsample_nearest1d": (_RANGE, nearest.upsample("upsample_nearest1d")),
        "aten::upsample_nearest2d": (_RANGE, nearest.upsample("upsample_nearest2d")),
        "aten::upsample_nearest3d": (_RANGE, nearest.upsample("upsample_nearest3d")),
        "aten::_upsample_nearest_exact1d": (_RANGE, nearest.upsample("", centred=True)),
        "aten::_upsample_nearest_exact2d": (_RANGE, nearest.upsample("", centred=True)),
        "aten::_upsample_nearest_exact3d": (_RANGE, nearest.upsample("", centred=True)),
        "aten::_upsample_bilinear2d_aa": (_ANY, antialiased.upsample("linear")),
        "aten::_upsample_bicubic2d_aa": (_ANY, antialiased.upsample("cubic")),
        "aten::__interpolate": (_RANGE, nearest.interpolate()),
        "aten::unflatten": (_UNFLATTEN, shapes.unflatten()),
        "aten::mT": (_ANY, shapes.matrix_transpose),
        "aten::mH": (_ANY, shapes.matrix_transpose),
        "aten::view": (_ANY, shapes.reshape()),
        "aten::reshape": (_ANY, shapes.reshape()),
        "aten::scaled_dot_product_attention": (_TRIANGLE, attention.attention),
        "aten::stft": (_ANY, spectra.stft),
        "aten::lstm": (_RANGE, sequences.lstm),
        "aten::cpu": (_ANY, lambda _, tensor: tensor),
        "aten::diagonal": (_RANGE, images.diagonal),
        "aten::im2col": (_RANGE, images.in_batches("im2col", 11, rank=4)),
        "aten::col2im": (_COLUMNS, images.in_batches("col2im", 18, rank=3)),
        "aten::grid_sampler": (_GRID, images.grid_sampler),
    }
