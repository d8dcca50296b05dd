"""Converts TorchScript to a TorchScript module with TensorRT engines, using `torch_tensorrt.ts.compile`.

Options that the installed Torch-TensorRT doesn't support are an error, never ignored:

| Torch-TensorRT | fp16 | int8 |
|---|---|---|
| up to 2.8 | a flag | from Q/DQ pairs, or else calibrated with the samples in the opt shapes |
| 2.9 to 2.12 | a flag | from Q/DQ pairs |
| from 2.13 (TensorRT 11) | the model's own: every network is strongly typed | from Q/DQ pairs |

According to the wheels of 2.6 to 2.14 and the messages of their libraries; 2.11 was run on an H200, in fp32 and fp16.
"""

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from navigator.converters.protocol import (
    Container,
    Conversion,
    Variant,
    engine_variant,
    refuse_level,
    require_engines,
)
from navigator.errors import StepError
from navigator.frameworks.availability import Unavailable, how_to_get
from navigator.frameworks.declaration import shapes
from navigator.frameworks.torch import torch_tensorrt
from navigator.frameworks.torch import values as torch_values
from navigator.frameworks.torch.arguments import bind, describe, parameters
from navigator.frameworks.torch.tensorrt_messages import refusal
from navigator.records import (
    Configuration,
    EngineOptions,
    Format,
    Host,
    Json,
    ModelConfig,
    Precision,
    PrecisionMode,
    Properties,
    ShapeProfile,
    Signature,
)
from navigator.runners import torch_trt
from navigator.runners.torchscript import load_module, quiet
from navigator.samples import storage as arrays

SOURCE = Format.TORCHSCRIPT
TARGET = Format.TORCH_TRT
DISTRIBUTIONS = ("torch", "torch-tensorrt", "tensorrt")
PRELOAD = torch_trt.PRELOAD
NEEDS_SAMPLES = True
NEEDS_GPU = True
LASTING = False
CONTAINER = Container.ON_REQUEST
PREPARED_BY = ()

# Objects of torch and Torch-TensorRT; their types differ between supported versions.
_Torch = Any

# The dtypes that torch_tensorrt.dtype has in its TorchScript front end (2.14).
_INPUT_DTYPES = ("bool", "int8", "int32", "int64", "float16", "float32", "float64")
# The operators that its front end converts to Q/DQ layers (2.14).
_FAKE_QUANTIZE = ("aten::fake_quantize_per_tensor_affine", "aten::fake_quantize_per_channel_affine")
_ENGINE = "tensorrt::execute_engine"
# Each precision, and those that its layers may fall back to.
_HIERARCHY = {
    Precision.FP32: ("float32",),
    Precision.FP16: ("float16", "float32"),
    Precision.INT8: ("int8", "float16", "float32"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Options(EngineOptions):
    """`explicit_precision` is whether the user declared that the model has Q/DQ pairs."""

    explicit_precision: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Traits:
    """What determines precision: the float dtypes of weights and inputs, and whether the model has Q/DQ pairs."""

    floats: frozenset[str]
    quantized: bool


def variant(model: ModelConfig, configuration: Configuration) -> Variant:
    """Return the step for the configuration's precision and mode."""
    return engine_variant(Options, model, configuration, explicit_precision=model.tensorrt_explicit_precision)


def unavailable(host: Host) -> Unavailable | None:
    """Return why `host` can't run it, or None."""
    return torch_tensorrt.unavailable(DISTRIBUTIONS, host)


def convert(conversion: Conversion[Options]) -> Properties:
    """Compile the module for this machine's GPU.

    Returns:
        `exporter`; `trt_engines`: the number of engines in the module; `calibrated`, for int8: whether ranges come from
        the samples; `warnings` if there is no engine.

    Raises:
        StepError: the conversion failed, with a message for the user.
    """
    import torch

    assert conversion.signature is not None
    assert conversion.shapes is not None
    refuse_level(conversion.options, "Torch-TensorRT's front end for TorchScript")
    library = torch_tensorrt.imported()
    front_end = torch_tensorrt.for_torchscript(library)
    module = load_module(conversion.source, torch_tensorrt.DEVICE)
    names = argument_names(module, conversion.signature)
    traits = _traits(module, conversion.signature)
    settings = compile_settings(conversion.options, front_end, traits)
    inputs = input_settings(names, conversion.signature, conversion.shapes)
    calibrated = calibrates(conversion.options, traits)
    if calibrated:
        settings["calibrator"] = _calibrator(conversion, names)
    compiled = _compiled(library, module, inputs, settings)
    with quiet():
        torch.jit.save(compiled, str(conversion.destination))
    engines = len(compiled.inlined_graph.findAllNodes(_ENGINE))
    require_engines(engines, conversion.options.precision, "Torch-TensorRT")
    nothing = "Torch-TensorRT found no part of the model for TensorRT: all of it runs in torch, as fast as before"
    return Properties(
        exporter=f"Torch-TensorRT {front_end.version}",
        trt_engines=engines,
        calibrated=calibrated or None,
        warnings=() if engines else (nothing,),
    )


def argument_names(module: _Torch, signature: Signature) -> tuple[str, ...]:
    """Return the names of the inputs in the order of `forward`'s arguments.

    Raises:
        StepError: an argument is not a tensor.
    """
    takes = parameters(module)
    arguments = bind(takes, signature.inputs)
    if len(arguments) != len(takes) or any(each.parameter.kind != "tensor" or not each.inputs for each in arguments):
        raise StepError(
            f"Torch-TensorRT needs a forward whose arguments are all required tensors, but this one takes "
            f"{describe(takes)}",
            "script a wrapper whose forward takes only tensors, each as its own argument",
        )
    return tuple(each.inputs[0] for each in arguments)


def input_settings(names: Iterable[str], signature: Signature, profile: ShapeProfile) -> list[dict[str, Json]]:
    """Return the arguments of `torch_tensorrt.Input` for each input: one shape if static, or else three; the dtype.

    Raises:
        StepError: Torch-TensorRT doesn't support the dtype.
    """
    dtypes = {spec.name: spec.dtype for spec in signature.inputs}
    settings: list[dict[str, Json]] = []
    for name in names:
        if dtypes[name] not in _INPUT_DTYPES:
            raise StepError(
                f"input {name} is {dtypes[name]}, which Torch-TensorRT doesn't support",
                f"use one of {', '.join(_INPUT_DTYPES)}, and cast it inside the model",
            )
        low, usual, high = profile.min[name], profile.opt[name], profile.max[name]
        shape = {"shape": low} if low == high else {"min_shape": low, "opt_shape": usual, "max_shape": high}
        settings.append({**shape, "dtype": dtypes[name]})
    return settings


def compile_settings(options: Options, front_end: torch_tensorrt.FrontEnd, traits: Traits) -> dict[str, Json]:
    """Return the keyword arguments of `torch_tensorrt.ts.compile` except the inputs; precisions are dtype names.

    In a hierarchy, a layer may fall back to higher precisions and finally to TF32; otherwise only to full float32. A
    strongly typed network supports neither: only TF32 can be set there.

    Raises:
        StepError: this Torch-TensorRT doesn't support the options for such a model.
    """
    precision = options.precision
    _refuse_precision(precision, front_end, traits)
    explicit = front_end.typed or (precision is Precision.INT8 and traits.quantized)
    if options.explicit_precision and not explicit:
        raise StepError(
            f"Torch-TensorRT {front_end.version} supports explicit precision only for int8 and models with Q/DQ pairs",
            f"set tensorrt_explicit_precision: false, or {how_to_get('torch-tensorrt>=2.13')}, which always uses it",
        )
    hierarchy = options.precision_mode is PrecisionMode.HIERARCHY
    enabled = _HIERARCHY[precision] if hierarchy else _HIERARCHY[precision][:1]
    return {
        "enabled_precisions": enabled,
        "disable_tf32": not options.tf32,
        "sparse_weights": options.sparse_weights,
        "workspace_size": options.max_workspace_size,
        # TensorRT's TorchScript converters don't support int64 and float64; verification shows what truncation loses.
        "truncate_long_and_double": True,
    }


def calibrates(options: Options, traits: Traits) -> bool:
    """Return whether int8 needs calibration, since the model has no ranges."""
    return options.precision is Precision.INT8 and not traits.quantized


def _refuse_precision(precision: Precision, front_end: torch_tensorrt.FrontEnd, traits: Traits) -> None:
    what = f"Torch-TensorRT {front_end.version}"
    if precision is Precision.INT8 and not traits.quantized and not front_end.calibrates:
        raise StepError(
            f"{what} needs a model with quantize and dequantize pairs for int8, but this one has none",
            f"quantize it with nvidia-modelopt and save that as TorchScript, {how_to_get('torch-tensorrt<2.9')}, which "
            "can calibrate, or remove int8 from tensorrt_precisions",
        )
    if not front_end.typed or precision is Precision.INT8:
        return
    half = "float16" in traits.floats
    if precision is Precision.FP16 and not half:
        raise StepError(
            f"{what} can't convert to fp16: with TensorRT 11, an engine has the precision of its model, which is "
            f"{' and '.join(sorted(traits.floats)) or 'without floats'}",
            f"save the model in half precision (model.half(), float16 inputs), {how_to_get('torch-tensorrt<2.13')}, or "
            "set target_formats: [trt], which converts the ONNX graph to fp16",
        )
    if precision is Precision.FP32 and half:
        raise StepError(
            f"{what} can't convert to fp32: with TensorRT 11, an engine has the precision of its model, which is "
            f"{' and '.join(sorted(traits.floats))}",
            "set tensorrt_precisions: [fp16], or save the model in float32 with model.float()",
        )


def _traits(module: _Torch, signature: Signature) -> Traits:
    weights = [str(each.dtype).removeprefix("torch.") for each in (*module.parameters(), *module.buffers())]
    floats = frozenset(name for name in (*weights, *(spec.dtype for spec in signature.inputs)) if "float" in name)
    graph = module.inlined_graph
    return Traits(floats=floats, quantized=any(graph.findAllNodes(kind) for kind in _FAKE_QUANTIZE))


def _calibrator(conversion: Conversion[Options], names: Sequence[str]) -> _Torch:
    """Return a calibrator for the samples with the opt shapes, the only ones that TensorRT supports.

    Raises:
        StepError: no sample has these shapes.
    """
    import torch

    assert conversion.samples is not None
    assert conversion.shapes is not None
    opt = {name: tuple(conversion.shapes.opt[name]) for name in names}
    samples = [sample for _, sample in arrays.load(conversion.samples, mapped=True)]
    fitting = [sample for sample in samples if all(sample[name].shape == opt[name] for name in names)]
    if not fitting:
        raise StepError(
            f"int8 calibration needs a sample in the opt shapes, but none has {shapes(opt)}",
            "set opt_shapes to the shapes of one of your calibration samples",
        )
    device = torch.device(str(torch_tensorrt.DEVICE), 0)
    # On the GPU as long as the calibrator exists: tensors that its get_batch moves there are freed before TensorRT
    # reads them (Torch-TensorRT 2.8 only keeps addresses).
    batches = [[torch_values.to_tensor(sample[name]).to(device) for name in names] for sample in fitting]
    loader = torch.utils.data.DataLoader(batches, batch_size=1, collate_fn=_single)
    with quiet(), torch_tensorrt.quiet():
        return importlib.import_module("torch_tensorrt.ts.ptq").DataLoaderCalibrator(loader, device=device)


def _single(batch: Sequence[_Torch]) -> _Torch:
    return batch[0]


def _compiled(
    library: _Torch, module: _Torch, inputs: Sequence[Mapping[str, Json]], settings: Mapping[str, Json]
) -> _Torch:
    """Return the module compiled with `settings` and `inputs`, with dtype names replaced by torch's dtypes."""
    import torch

    given = {
        **settings,
        "inputs": [library.Input(**{**each, "dtype": getattr(torch, each["dtype"])}) for each in inputs],
        "enabled_precisions": {getattr(torch, name) for name in settings["enabled_precisions"]},
    }
    try:
        with quiet(), torch_tensorrt.quiet(), torch.no_grad():
            return library.ts.compile(module, **given)
    except Exception as error:
        raise refusal(error, str(library.__version__)) from error
