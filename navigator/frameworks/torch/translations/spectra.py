"""Fourier transforms of pieces of a signal."""

from typing import Any

import numpy as np

from navigator.frameworks.torch.waves import waves

# A value in the graph, or a number.
_Value = Any

# The waves of a longer transform would make the file large.
_LONGEST = 2048


def stft(
    signal: _Value,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: _Value = None,
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,  # noqa: ARG001 - how torch pads, which it did before
) -> _Value:
    """Convolve with cosines and sines if the size isn't a power of 2, for which ONNX Runtime (1.32) loses digits.

    Its STFT of 400 samples is off by 4e-5 of the spectrum, and a convolution by 6e-7.
    """
    import onnx_ir
    from onnxscript import opset18 as op
    from onnxscript.function_libs.torch_lib.ops import core

    length = n_fft if win_length is None else win_length
    if n_fft & (n_fft - 1) == 0 or n_fft > _LONGEST or window is None or list(window.shape) != [length]:
        return core.aten_stft(
            signal, n_fft, hop_length, win_length, window, normalized, onesided, return_complex=return_complex
        )
    bins = n_fft if onesided is False else n_fft // 2 + 1
    kernels = waves(n_fft, bins) / (n_fft**0.5 if normalized else 1)
    dtype = np.float64 if signal.dtype is onnx_ir.DataType.DOUBLE else np.float32
    written = onnx_ir.tensor(kernels.reshape(2 * bins, 1, n_fft).numpy().astype(dtype))
    left = (n_fft - length) // 2
    padded = op.Pad(window, [left, n_fft - length - left]) if length < n_fft else window
    kernel = op.Mul(op.CastLike(op.Constant(value=written), signal), op.CastLike(padded, signal))
    single = len(signal.shape) == 1
    pieces = op.Unsqueeze(signal, [0, 1] if single else [1])
    found = op.Conv(pieces, kernel, strides=[hop_length or n_fft // 4], kernel_shape=[n_fft])
    pairs = op.Transpose(op.Reshape(found, [0, 2, bins, -1]), perm=[0, 2, 3, 1])
    return op.Squeeze(pairs, [0]) if single else pairs
