"""The matrix formats x opsets x modes x precisions, before applicability. Pure."""

from collections.abc import Iterator, Sequence

from navigator.records import (
    Configuration,
    Format,
    ModelConfig,
    PrecisionMode,
)

# torch.onnx writes opset 18 whatever lower one it is asked for, so the design document's 14 is no default for it.
_TORCH_EXPORT_OPSETS = (18,)


# Engines of strongly typed networks: their precision is the ONNX graph's, made by a step of its own.
_TYPED = (Format.TRT, Format.TRT_RTX)


_ENGINES = (*_TYPED, Format.TORCH_TRT)


def configurations(model: ModelConfig, opsets: Sequence[int | None]) -> Iterator[Configuration]:
    """Yield the matrix of `model` in the order formats, opsets, modes, precisions, before applicability.

    TF-TRT knows no mode, and the pass-through formats know neither opset nor precision.
    """
    mode = model.tensorrt_precisions_mode
    modes = (PrecisionMode.HIERARCHY, PrecisionMode.SINGLE) if mode is PrecisionMode.MIXED else (mode,)
    for target in model.target_formats:
        if target is Format.ONNX:
            for opset in opsets:
                yield Configuration(target_format=target, onnx_opset=opset)
        elif target in _ENGINES:
            for opset in opsets:
                for each in modes:
                    for precision in model.tensorrt_precisions:
                        yield Configuration(
                            target_format=target, onnx_opset=opset, precision=precision, precision_mode=each
                        )
        elif target is Format.TF_TRT:
            for precision in model.tensorrt_precisions:
                yield Configuration(target_format=target, precision=precision)
        else:
            yield Configuration(target_format=target)


def opsets_of(model: ModelConfig) -> tuple[int | None, ...]:
    """Return the opsets to ask for; None keeps an ONNX source at its own opset unless the user named others."""
    if "onnx_opsets" not in model.given:
        if model.model_format is Format.ONNX:
            return (None,)
        if model.model_format is Format.TORCH_EXPORT:
            return _TORCH_EXPORT_OPSETS
    return model.onnx_opsets
