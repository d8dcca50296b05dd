"""The matrix formats x opsets x modes x precisions, before applicability. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from navigator.records import (
    Configuration,
    Format,
    ModelConfig,
    PrecisionMode,
)

# What `target_formats: auto` and `onnx_opsets: auto` stand for.
_FORMATS = (
    Format.TF_TRT,
    Format.TF_SAVEDMODEL,
    Format.ONNX,
    Format.TRT,
    Format.TORCHSCRIPT,
    Format.TORCH_TRT,
)
# torch.onnx writes opset 18 whatever lower one it is asked for; an ONNX file keeps its own (None).
_OPSETS: Mapping[Format, int | None] = {Format.ONNX: None, Format.TORCH_EXPORT: 18}
_OPSET = 14


# Engines of strongly typed networks: their precision is the ONNX graph's, made by a step of its own.
_TYPED = (Format.TRT, Format.TRT_RTX)


_ENGINES = (*_TYPED, Format.TORCH_TRT)


def configurations(model: ModelConfig, opsets: Sequence[int | None]) -> Iterator[Configuration]:
    """Yield the matrix of `model` in the order formats, opsets, modes, precisions, before applicability.

    TF-TRT knows no mode, and the pass-through formats know neither opset nor precision.
    """
    mode = model.tensorrt_precisions_mode
    modes = (PrecisionMode.HIERARCHY, PrecisionMode.SINGLE) if mode is PrecisionMode.MIXED else (mode,)
    for target in formats_of(model):
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


def formats_of(model: ModelConfig) -> tuple[Format, ...]:
    """Return the target formats of `model`."""
    return _FORMATS if isinstance(model.target_formats, str) else model.target_formats


def opsets_of(model: ModelConfig) -> tuple[int | None, ...]:
    """Return the opsets of `model`; None keeps an ONNX source at its own."""
    if not isinstance(model.onnx_opsets, str):
        return model.onnx_opsets
    source = model.model_format
    return (_OPSETS.get(source, _OPSET) if source is not None else _OPSET,)
