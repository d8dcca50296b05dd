"""Operators as torch's exporter of torch.export programs should write them, which gets them wrong (torch 2.13).

`torch.onnx.export` takes them as its `custom_translation_table`. Each function says what is wrong with onnxscript's own
(0.7.2). Remove it once a program with its operator is exported right without it.
"""

import operator
from collections.abc import Callable
from typing import Any

from navigator.frameworks.torch.translations import adaptive, arithmetic, images, indexing, nearest, sequences, spectra


def right_translations() -> dict[Any, Callable[..., Any]]:
    """Return the functions of this package by torch's operator."""
    import torch

    aten = torch.ops.aten
    return {
        aten.logaddexp.default: arithmetic.logaddexp,
        aten.logaddexp2.default: arithmetic.logaddexp2,
        aten.logcumsumexp.default: arithmetic.logcumsumexp,
        aten.cumprod.default: arithmetic.cumprod,
        aten.stft.default: spectra.stft,
        aten.special_erfcx.default: arithmetic.erfcx,
        aten.log_sigmoid.default: arithmetic.log_sigmoid,
        aten.sign.default: arithmetic.sign,
        aten.atan2.default: arithmetic.atan2,
        aten.amax.default: arithmetic.extreme("amax"),
        aten.amin.default: arithmetic.extreme("amin"),
        aten._cdist_forward.default: arithmetic.distances,
        aten.angle.default: arithmetic.angle,
        aten.bitwise_right_shift.Tensor: arithmetic.shift("right"),
        aten.bitwise_right_shift.Tensor_Scalar: arithmetic.shift("right"),
        aten.__rshift__.Tensor: arithmetic.shift("right"),
        aten.__rshift__.Scalar: arithmetic.shift("right"),
        aten.bitwise_left_shift.Tensor: arithmetic.shift("left"),
        aten.bitwise_left_shift.Tensor_Scalar: arithmetic.shift("left"),
        aten.__lshift__.Tensor: arithmetic.shift("left"),
        aten.__lshift__.Scalar: arithmetic.shift("left"),
        aten.searchsorted.Tensor: indexing.searchsorted,
        aten.scatter_reduce.two: indexing.scatter_reduce,
        aten.index.Tensor: indexing.index,
        aten._unsafe_index.Tensor: indexing.index,
        aten.index_put.default: indexing.index_put,
        aten._unsafe_index_put.default: indexing.index_put,
        aten.adaptive_avg_pool1d.default: adaptive.average_pool(1),
        aten.adaptive_avg_pool2d.default: adaptive.average_pool(2),
        aten.adaptive_avg_pool3d.default: adaptive.average_pool(3),
        aten._adaptive_avg_pool2d.default: adaptive.average_pool(2),
        aten._adaptive_avg_pool3d.default: adaptive.average_pool(3),
        aten.avg_pool2d.default: images.average_pool(2),
        aten.avg_pool3d.default: images.average_pool(3),
        aten.upsample_linear1d.vec: images.upsample_vec("linear"),
        aten.upsample_trilinear3d.vec: images.upsample_vec("linear"),
        aten.upsample_bilinear2d.default: images.upsample("linear"),
        aten.upsample_bilinear2d.vec: images.upsample_vec("linear"),
        aten.upsample_bicubic2d.default: images.upsample("cubic"),
        aten.upsample_bicubic2d.vec: images.upsample_vec("cubic"),
        aten._upsample_bilinear2d_aa.default: images.antialiased("linear"),
        aten._upsample_bicubic2d_aa.default: images.antialiased("cubic"),
        aten.upsample_nearest1d.default: nearest.upsample1d,
        aten.upsample_nearest2d.default: nearest.upsample2d,
        aten.upsample_nearest3d.default: nearest.upsample3d,
        aten.upsample_nearest1d.vec: nearest.upsample_vec,
        aten.upsample_nearest2d.vec: nearest.upsample_vec,
        aten.upsample_nearest3d.vec: nearest.upsample_vec,
        aten.lstm.input: sequences.lstm,
        aten._native_batch_norm_legit_functional.default: images.batch_norm,
        aten.scaled_dot_product_attention.default: images.attention,
        operator.floordiv: arithmetic.floor_divide_sizes,
    }
