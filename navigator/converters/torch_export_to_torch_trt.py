"""Converts a torch.export program to one with TensorRT engines, using `torch_tensorrt.dynamo.compile`.

What TensorRT doesn't support stays in torch. The result is a torch.export program again, which a process with torch and
Torch-TensorRT loads. Its engines are for the shapes of the profile.

Options that the installed Torch-TensorRT doesn't support are an error, never ignored:

| Torch-TensorRT | fp16 | int8 |
|---|---|---|
| up to 2.12 | a flag, unless precision is explicit | from the operators of nvidia-modelopt |
| from 2.13 (TensorRT 11) | by autocast, or the model's own | from the operators of nvidia-modelopt |
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from navigator.converters.protocol import (
    Container,
    Conversion,
    Variant,
    engine_variant,
    require_engines,
)
from navigator.errors import StepError
from navigator.frameworks.availability import Unavailable, how_to_get
from navigator.frameworks.tensorrt import timing
from navigator.frameworks.torch import torch_tensorrt
from navigator.frameworks.torch.narrowing import Narrowed, narrowed
from navigator.frameworks.torch.tensorrt_messages import refusal
from navigator.records import (
    Configuration,
    EngineOptions,
    Format,
    Host,
    Json,
    ModelConfig,
    Precision,
    Properties,
)
from navigator.runners import torch_export, torch_trt

SOURCE = Format.TORCH_EXPORT
TARGET = Format.TORCH_TRT
DISTRIBUTIONS = ("torch", "torch-tensorrt", "tensorrt")
PRELOAD = torch_export.PRELOAD
NEEDS_SAMPLES = True
NEEDS_GPU = True
LASTING = False
CONTAINER = Container.ON_REQUEST
PREPARED_BY = ()

# Objects of torch and Torch-TensorRT; their types differ between supported versions.
_Torch = Any

_ENGINES = ("TorchTensorRTModule", "PythonTorchTensorRTModule")


@dataclass(frozen=True, kw_only=True, slots=True)
class Options(EngineOptions):
    """`explicit_precision`: every layer computes in the dtypes that the program has."""

    explicit_precision: bool = False


def variant(model: ModelConfig, configuration: Configuration) -> Variant:
    """Return the step for the configuration's precision and mode."""
    explicit = model.tensorrt_explicit_precision
    return engine_variant(
        Options, model, configuration, artifact_name=torch_trt.PROGRAM_NAME, explicit_precision=explicit
    )


def unavailable(host: Host) -> Unavailable | None:
    """Return why `host` can't run it, or None."""
    return torch_tensorrt.unavailable(DISTRIBUTIONS, host)


def convert(conversion: Conversion[Options]) -> Properties:
    """Compile the program for this machine's GPU.

    Returns:
        `exporter`; `trt_engines`: the number of engines in the program; `warnings` if there is no engine.

    Raises:
        StepError: the conversion failed, with a message for the user.
    """
    assert conversion.signature is not None
    assert conversion.shapes is not None
    library = torch_tensorrt.imported()
    front_end = torch_tensorrt.for_programs(library)
    source = torch_export.load(conversion.source, declared=conversion.signature)
    settings = compile_settings(conversion.options, front_end, _floats(source.program))
    names = [spec.name for spec in source.signature.inputs]
    program = narrowed(source.program, source.slots, names, conversion.shapes)
    if any(program.dynamic_shapes) and not front_end.saves_ranges:
        raise StepError(
            f"Torch-TensorRT {front_end.version} can't save programs with dynamic shapes",
            f"{how_to_get('torch-tensorrt>=2.11')}, or set one shape in min_shapes, opt_shapes and max_shapes",
        )
    with timing.borrowed(conversion.timing_cache, conversion.gpu, f"torch-tensorrt-{front_end.version}") as measured:
        given = {**settings, "timing_cache_path": str(measured)} if measured is not None else settings
        compiled = _compiled(library, program, given)
    engines = sum(type(each).__name__ in _ENGINES for each in compiled.modules())
    require_engines(engines, conversion.options.precision, "Torch-TensorRT")
    _save(library, compiled, program, conversion.destination)
    nothing = "Torch-TensorRT found no part of the program for TensorRT: all of it runs in torch, as fast as before"
    return Properties(
        exporter=f"Torch-TensorRT {front_end.version} torch.export",
        trt_engines=engines,
        warnings=() if engines else (nothing,),
    )


def compile_settings(options: Options, front_end: torch_tensorrt.FrontEnd, floats: frozenset[str]) -> dict[str, Json]:
    """Return the keyword arguments of `torch_tensorrt.dynamo.compile` except the inputs; dtypes are names.

    Raises:
        StepError: this Torch-TensorRT doesn't support the options for such a program.
    """
    typed = front_end.typed or options.explicit_precision
    _refuse(options, front_end, floats, typed=typed)
    half = options.precision is Precision.FP16
    autocast = half and typed and "float16" not in floats
    # Where TensorRT has no flags for precisions, there are no such arguments, and unknown ones are ignored.
    flags = {
        "enabled_precisions": ("float16", "float32") if half and not typed else ("float32",),
        "use_explicit_typing": typed,
    }
    return {
        **({} if front_end.typed else flags),
        **({"enable_autocast": True, "autocast_low_precision_type": "float16"} if autocast else {}),
        **({"decompose_attention": True} if front_end.lacks_attention else {}),
        "disable_tf32": not options.tf32,
        "sparse_weights": options.sparse_weights,
        "workspace_size": options.max_workspace_size,
        "optimization_level": options.optimization_level,
        # TensorRT has no float64; verification shows what truncation loses.
        "truncate_double": True,
    }


def _refuse(options: Options, front_end: torch_tensorrt.FrontEnd, floats: frozenset[str], *, typed: bool) -> None:
    what = f"Torch-TensorRT {front_end.version}"
    if options.precision is Precision.INT8:
        raise StepError(
            f"{what} doesn't calibrate programs of torch.export, and needs one that nvidia-modelopt quantized for int8",
            "remove int8 from tensorrt_precisions, or set target_formats: [trt], whose int8 is calibrated",
        )
    half = "float16" in floats
    own = " and ".join(sorted(floats)) or "without floats"
    explicit = options.explicit_precision or not front_end.autocasts
    if options.precision is Precision.FP16 and typed and explicit and not half:
        raise StepError(
            f"{what} can't convert to fp16: an engine has the precision of its program, which is {own}",
            "export the model in half precision (model.half()), set tensorrt_explicit_precision: false, or set "
            "target_formats: [trt], which converts the ONNX graph to fp16",
        )
    if options.precision is Precision.FP32 and typed and half:
        raise StepError(
            f"{what} can't convert to fp32: an engine has the precision of its program, which is {own}",
            "set tensorrt_precisions: [fp16], or export the model in float32 with model.float()",
        )


def _floats(program: _Torch) -> frozenset[str]:
    """Return the float dtypes of the program's weights and inputs."""
    values = [node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"]
    dtypes = [str(each.dtype).removeprefix("torch.") for each in values if hasattr(each, "dtype")]
    return frozenset(name for name in dtypes if "float" in name)


def _compiled(library: _Torch, program: Narrowed, settings: Mapping[str, Json]) -> _Torch:
    """Return the program compiled with `settings`, with dtype names replaced by torch's dtypes."""
    import torch
    from torch.export.passes import move_to_device_pass
    from torch.utils import _pytree

    given = dict(settings)
    if "enabled_precisions" in given:
        given["enabled_precisions"] = {getattr(torch, name) for name in settings["enabled_precisions"]}
    if "autocast_low_precision_type" in given:
        given["autocast_low_precision_type"] = getattr(torch, given["autocast_low_precision_type"])

    def described(tensor: _Torch) -> _Torch:
        return library.Input(shape=tuple(tensor.shape), dtype=tensor.dtype)

    arguments, named = _pytree.tree_map_only(torch.Tensor, described, (program.arguments, program.named))
    try:
        with torch_export.quiet(), torch_tensorrt.quiet(), torch.no_grad():
            moved = move_to_device_pass(program.program, str(torch_tensorrt.DEVICE))
            return library.dynamo.compile(moved, arg_inputs=arguments, kwarg_inputs=named, **given)
    except Exception as error:
        raise refusal(error, str(library.__version__)) from error


def _save(library: _Torch, compiled: _Torch, program: Narrowed, destination: Path) -> None:
    import torch
    from torch.utils import _pytree

    def moved(tensor: _Torch) -> _Torch:
        return tensor.to(str(torch_tensorrt.DEVICE))

    arguments, named = _pytree.tree_map_only(torch.Tensor, moved, (program.arguments, program.named))
    try:
        with torch_export.quiet(), torch_tensorrt.quiet(), torch.no_grad():
            library.save(
                compiled,
                str(destination),
                output_format="exported_program",
                arg_inputs=arguments,
                kwarg_inputs=named,
                dynamic_shapes=program.dynamic_shapes,
            )
    except Exception as error:
        raise refusal(error, str(library.__version__), "can't save the program") from error
