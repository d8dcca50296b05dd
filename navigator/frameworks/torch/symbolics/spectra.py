"""Fourier transforms of pieces of a signal."""

import math

from navigator.frameworks.torch.symbolics.values import Graph, Value, constant, dtype_of, is_none, known, rank_of
from navigator.frameworks.torch.waves import waves


def stft(
    graph: Graph,
    signal: Value,
    n_fft: Value,
    hop_length: Value,
    win_length: Value,
    window: Value,
    normalized: Value,
    onesided: Value,
    return_complex: Value,
    align_to_window: Value | None = None,  # noqa: ARG001 - how torch pads, which it did before
) -> Value:
    """Convolve with cosines and sines under the window: STFT is an operator from opset 17 on, which TensorRT has not.

    The exporter's own also wants the size of the window, and refuses `align_to_window`.
    """
    import torch
    from torch.onnx import errors, symbolic_helper

    if known(return_complex, "b"):
        raise errors.UnsupportedOperatorError("aten::stft", graph.opset, None)
    size = known(n_fft, "i")
    step = size // 4 if is_none(hop_length) else known(hop_length, "i")
    length = size if is_none(win_length) else known(win_length, "i")
    bins = size // 2 + 1 if is_none(onesided) or known(onesided, "b") else size
    dtype = dtype_of(signal) or torch.float32
    kernels = waves(size, bins) / (math.sqrt(size) if known(normalized, "b") else 1)
    left = (size - length) // 2
    sides = left, size - length - left
    if is_none(window):
        kernels[..., :left] = kernels[..., size - sides[1] :] = 0
    kernel = graph.op("Constant", value_t=kernels.reshape(2 * bins, 1, size).to(dtype))
    if not is_none(window):
        if length < size:
            zeros = [graph.op("Constant", value_t=torch.zeros(side, dtype=dtype)) for side in sides]
            window = graph.op("Concat", zeros[0], window, zeros[1], axis_i=0)
        kernel = graph.op("Mul", kernel, window)
    single = rank_of(signal) == 1
    pieces = symbolic_helper._unsqueeze_helper(graph, signal, [0, 1] if single else [1])
    found = graph.op("Conv", pieces, kernel, strides_i=[step], kernel_shape_i=[size])
    found = graph.op("Reshape", found, constant(graph, [0, 2, bins, -1], torch.int64))
    pairs = graph.op("Transpose", found, perm_i=[0, 2, 3, 1])
    return symbolic_helper._squeeze_helper(graph, pairs, [0]) if single else pairs
