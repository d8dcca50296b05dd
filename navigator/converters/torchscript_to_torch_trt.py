"""TorchScript to a TorchScript module with TensorRT engines in it, by `torch_tensorrt.ts.compile`.

What the installed Torch-TensorRT cannot do with the options is refused, never left out:

| Torch-TensorRT | fp16 | int8 |
|---|---|---|
| up to 2.8 | a flag | of Q/DQ pairs, else calibrated with the samples in the opt shapes |
| 2.9 to 2.12 | a flag | of Q/DQ pairs |
| from 2.13 (TensorRT 11) | the model's own: every network is strongly typed | of Q/DQ pairs |

Read in the wheels 2.6 to 2.14 and in what their libraries say; not yet run on hardware.
"""

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from navigator.converters.protocol import (
    Container,
    Conversion,
    Variant,
    engine_segment,
    falls_back_to_tf32,
)
from navigator.errors import StepError
from navigator.frameworks.availability import Unavailable, missing
from navigator.frameworks.declaration import shapes
from navigator.frameworks.gpu import no_gpu, together
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
CONTAINER = Container.ON_REQUEST
PREPARED_BY = ()

# Objects of torch and Torch-TensorRT; their types differ between the versions we support.
_Torch = Any

# What torch_tensorrt.dtype turns into a type of its TorchScript front end (2.14).
_INPUT_DTYPES = ("bool", "int8", "int32", "int64", "float16", "float32", "float64")
# What its front end makes Q/DQ layers of (2.14).
_FAKE_QUANTIZE = ("aten::fake_quantize_per_tensor_affine", "aten::fake_quantize_per_channel_affine")
_ENGINE = "tensorrt::execute_engine"
# From the precision asked for down to what layers may fall back to.
_HIERARCHY = {
    Precision.FP32: ("float32",),
    Precision.FP16: ("float16", "float32"),
    Precision.INT8: ("int8", "float16", "float32"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Options(EngineOptions):
    """`explicit_precision` is whether the user says that the model has Q/DQ pairs."""

    explicit_precision: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Traits:
    """What decides about precision: the floats among a model's weights and inputs, and whether it has Q/DQ pairs."""

    floats: frozenset[str]
    quantized: bool


def variant(model: ModelConfig, configuration: Configuration) -> Variant:
    """Return the step of the configuration's precision and mode."""
    precision = configuration.precision or Precision.FP32
    options = Options(
        precision=precision,
        precision_mode=None if precision is Precision.FP32 else configuration.precision_mode,
        max_workspace_size=model.tensorrt_max_workspace_size,
        tf32=falls_back_to_tf32(configuration),
        sparse_weights=model.tensorrt_sparse_weights,
        explicit_precision=model.tensorrt_explicit_precision,
    )
    return Variant(segment=engine_segment(configuration), options=options, precision=precision)


def unavailable(host: Host) -> Unavailable | None:
    """Return why `host` cannot run it, or None."""
    cpu = torch_trt.cpu_build(host)
    built = Unavailable(reason=cpu, remedy="install torch from PyPI, which is built for CUDA") if cpu else None
    return together(missing(DISTRIBUTIONS, "torch-trt", host), built, no_gpu(host))


def convert(conversion: Conversion[Options]) -> Properties:
    """Compile the module for this machine's GPU.

    Returns:
        `exporter`, and `trt_engines`: how many engines the module calls; `warnings` where there is none.

    Raises:
        StepError: it cannot, with a sentence for the user.
    """
    import torch

    assert conversion.signature is not None
    assert conversion.shapes is not None
    library = torch_trt.imported()
    front_end = torch_trt.installed(library)
    module = load_module(conversion.source, torch_trt.DEVICE)
    names = argument_names(module, conversion.signature)
    traits = _traits(module, conversion.signature)
    settings = compile_settings(conversion.options, front_end, traits)
    inputs = input_settings(names, conversion.signature, conversion.shapes)
    if calibrates(conversion.options, traits):
        settings["calibrator"] = _calibrator(conversion, names)
    compiled = _compiled(library, module, inputs, settings)
    with quiet():
        torch.jit.save(compiled, str(conversion.destination))
    engines = len(compiled.inlined_graph.findAllNodes(_ENGINE))
    nothing = "Torch-TensorRT gave no part of the model to TensorRT: it runs in torch, no faster than before"
    return Properties(
        exporter=f"Torch-TensorRT {front_end.version}",
        trt_engines=engines,
        warnings=() if engines else (nothing,),
    )


def argument_names(module: _Torch, signature: Signature) -> tuple[str, ...]:
    """Return the names of the inputs in the order of `forward`'s arguments.

    Raises:
        StepError: an argument is not one tensor.
    """
    takes = parameters(module)
    arguments = bind(takes, signature.inputs)
    if len(arguments) != len(takes) or any(each.parameter.kind != "tensor" or not each.inputs for each in arguments):
        raise StepError(
            f"Torch-TensorRT compiles a forward whose every argument is a given tensor; this one takes "
            f"{describe(takes)}",
            "script a wrapper whose forward takes each tensor as an argument of its own, and nothing else",
        )
    return tuple(each.inputs[0] for each in arguments)


def input_settings(names: Iterable[str], signature: Signature, profile: ShapeProfile) -> list[dict[str, Json]]:
    """Return the arguments of `torch_tensorrt.Input` for each input: one shape if it is static, else three; the dtype.

    Raises:
        StepError: Torch-TensorRT has no such dtype.
    """
    dtypes = {spec.name: spec.dtype for spec in signature.inputs}
    settings: list[dict[str, Json]] = []
    for name in names:
        if dtypes[name] not in _INPUT_DTYPES:
            raise StepError(
                f"the input {name} is {dtypes[name]}, which Torch-TensorRT does not take",
                f"it takes {', '.join(_INPUT_DTYPES)}: cast inside of the model",
            )
        low, usual, high = profile.min[name], profile.opt[name], profile.max[name]
        shape = {"shape": low} if low == high else {"min_shape": low, "opt_shape": usual, "max_shape": high}
        settings.append({**shape, "dtype": dtypes[name]})
    return settings


def compile_settings(options: Options, front_end: torch_trt.FrontEnd, traits: Traits) -> dict[str, Json]:
    """Return the keyword arguments of `torch_tensorrt.ts.compile` but for the inputs; precisions are dtype names.

    In a hierarchy a layer may fall back to the higher precisions, in the end to TF32; alone, a precision has TensorRT's
    own float32 beside it, in full. A strongly typed network takes neither: only TF32 is left to choose there.

    Raises:
        StepError: this Torch-TensorRT cannot do what the options say with such a model.
    """
    precision = options.precision
    _refuse_precision(precision, front_end, traits)
    explicit = front_end.typed or (precision is Precision.INT8 and traits.quantized)
    if options.explicit_precision and not explicit:
        raise StepError(
            f"Torch-TensorRT {front_end.version} has no explicit precision but in a model with Q/DQ pairs and int8",
            "set tensorrt_explicit_precision: false, or pip install 'torch-tensorrt>=2.13', where all is explicit",
        )
    hierarchy = options.precision_mode is PrecisionMode.HIERARCHY
    enabled = _HIERARCHY[precision] if hierarchy else _HIERARCHY[precision][:1]
    return {
        "enabled_precisions": enabled,
        "disable_tf32": not options.tf32,
        "sparse_weights": options.sparse_weights,
        "workspace_size": options.max_workspace_size,
        # TensorRT's TorchScript converters know no int64 and float64; what is lost by that the verdict shows.
        "truncate_long_and_double": True,
    }


def calibrates(options: Options, traits: Traits) -> bool:
    """Tell whether int8 has to be calibrated, since the model says nothing of its ranges."""
    return options.precision is Precision.INT8 and not traits.quantized


def _refuse_precision(precision: Precision, front_end: torch_trt.FrontEnd, traits: Traits) -> None:
    what = f"Torch-TensorRT {front_end.version}"
    if precision is Precision.INT8 and not traits.quantized and not front_end.calibrates:
        raise StepError(
            f"{what} makes int8 only of a model with quantize and dequantize pairs, this one has none",
            "quantize it with nvidia-modelopt and save that as TorchScript, or pip install 'torch-tensorrt<2.9', the "
            "last to calibrate, or leave int8 out of tensorrt_precisions",
        )
    if not front_end.typed or precision is Precision.INT8:
        return
    half = "float16" in traits.floats
    if precision is Precision.FP16 and not half:
        raise StepError(
            f"{what} has no flag for fp16: with TensorRT 11 an engine has the precision of its model, and this one is "
            f"{' and '.join(sorted(traits.floats)) or 'without floats'}",
            "save the model in half precision (model.half(), float16 inputs), pip install 'torch-tensorrt<2.13', or "
            "target_formats: [trt], where the ONNX graph is made fp16",
        )
    if precision is Precision.FP32 and half:
        raise StepError(
            f"{what} has no flag for fp32: with TensorRT 11 an engine has the precision of its model, and this one is "
            f"{' and '.join(sorted(traits.floats))}",
            "ask for what it is, tensorrt_precisions: [fp16], or save it with model.float()",
        )


def _traits(module: _Torch, signature: Signature) -> Traits:
    weights = [str(each.dtype).removeprefix("torch.") for each in (*module.parameters(), *module.buffers())]
    floats = frozenset(name for name in (*weights, *(spec.dtype for spec in signature.inputs)) if "float" in name)
    graph = module.inlined_graph
    return Traits(floats=floats, quantized=any(graph.findAllNodes(kind) for kind in _FAKE_QUANTIZE))


def _calibrator(conversion: Conversion[Options], names: Sequence[str]) -> _Torch:
    """Return a calibrator over the samples that have the opt shapes: TensorRT calibrates with no other.

    Raises:
        StepError: no sample has them.
    """
    import torch

    assert conversion.samples is not None
    assert conversion.shapes is not None
    opt = {name: tuple(conversion.shapes.opt[name]) for name in names}
    samples = [sample for _, sample in arrays.load(conversion.samples, mapped=True)]
    fitting = [sample for sample in samples if all(sample[name].shape == opt[name] for name in names)]
    if not fitting:
        raise StepError(
            f"int8 is calibrated with samples in the opt shapes, and none has {shapes(opt)}",
            "set opt_shapes to the shapes of a sample of yours",
        )
    device = torch.device(str(torch_trt.DEVICE), 0)
    # On the GPU for as long as the calibrator lives: what its get_batch moves there itself is freed before TensorRT
    # reads it (Torch-TensorRT 2.8 keeps addresses only).
    batches = [[torch_values.to_tensor(sample[name]).to(device) for name in names] for sample in fitting]
    loader = torch.utils.data.DataLoader(batches, batch_size=1, collate_fn=_single)
    with torch_trt.quiet_front_end():
        return importlib.import_module("torch_tensorrt.ts.ptq").DataLoaderCalibrator(loader, device=device)


def _single(batch: Sequence[_Torch]) -> _Torch:
    return batch[0]


def _compiled(
    library: _Torch, module: _Torch, inputs: Sequence[Mapping[str, Json]], settings: Mapping[str, Json]
) -> _Torch:
    """Return the module compiled with `settings` and `inputs`, whose dtype names become torch's dtypes."""
    import torch

    given = {
        **settings,
        "inputs": [library.Input(**{**each, "dtype": getattr(torch, each["dtype"])}) for each in inputs],
        "enabled_precisions": {getattr(torch, name) for name in settings["enabled_precisions"]},
    }
    try:
        with torch_trt.quiet_front_end(), torch.no_grad():
            return library.ts.compile(module, **given)
    except Exception as error:
        raise refusal(error, str(library.__version__)) from error
