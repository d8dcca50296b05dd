"""Converts a TensorFlow SavedModel to one with TensorRT engines, using TF-TRT (`TrtGraphConverterV2`).

Converts and keeps one signature, with its name and those of its outputs. Builds the engines immediately, for the GPU of
this machine and for all shapes between min and max; everything else still runs in TensorFlow.

TensorFlow 2.17 is the last version with TF-TRT.
"""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from navigator.converters.protocol import Container, Conversion, Variant, engine_segment, refuse_level, require_engines
from navigator.errors import StepError
from navigator.frameworks.availability import Unavailable, missing
from navigator.frameworks.gpu import is_out_of_gpu_memory, no_gpu, out_of_gpu_memory, together
from navigator.frameworks.tensorflow.signatures import choose_signature, reason
from navigator.records import (
    Configuration,
    EngineOptions,
    Format,
    Host,
    Json,
    ModelConfig,
    Precision,
    Properties,
    ShapeProfile,
)
from navigator.runners.tf_trt import REMEDY, require_tf_trt, too_new, use_gpu
from navigator.samples import storage as arrays

SOURCE = Format.TF_SAVEDMODEL
TARGET = Format.TF_TRT
DISTRIBUTIONS = ("tensorflow",)
PRELOAD = ("tensorflow",)
NEEDS_SAMPLES = True
NEEDS_GPU = True
LASTING = False
CONTAINER = Container.UNLESS_LOCAL
PREPARED_BY = ()

# Objects and functions of TensorFlow; its types differ between versions.
_Tf = Any

_ENGINE = "TRTEngineOp"
_ENGINE_FILES = "assets/trt-serialized-engine.*"
# TF-TRT's own default: the minimum number of operations in an engine.
_MINIMUM_SEGMENT_SIZE = 3
# The operations from which TF-TRT reads quantization ranges (2.17); it leaves V4, of tf.quantization, to TensorFlow.
_QUANTIZED = {
    "FakeQuantWithMinMaxArgs",
    "FakeQuantWithMinMaxVars",
    "QuantizeAndDequantizeV2",
    "QuantizeAndDequantizeV3",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Options(EngineOptions):
    """TF-TRT has no modes, TF32 is set in TensorFlow; `signature_name` None for the choice of `choose_signature`."""

    signature_name: str | None = None


def variant(model: ModelConfig, configuration: Configuration) -> Variant:
    """Return the step for the configuration's precision."""
    precision = configuration.precision or Precision.FP32
    options = Options(
        precision=precision,
        max_workspace_size=model.tensorrt_max_workspace_size,
        optimization_level=model.tensorrt_optimization_level,
        signature_name=model.signature_name,
    )
    return Variant(segment=engine_segment(configuration), options=options, precision=precision)


def unavailable(host: Host) -> Unavailable | None:
    """Return why `host` can't run it in this interpreter, or None."""
    new = too_new(host.versions.get("tensorflow", ""))
    return together(
        missing(DISTRIBUTIONS, "tf-trt", host), Unavailable(reason=new, remedy=REMEDY) if new else None, no_gpu(host)
    )


def convert(conversion: Conversion[Options]) -> Properties:
    """Convert one signature.

    Returns:
        `exporter`; `signature_name`; `trt_engines`: number of parts of the graph that TensorRT runs; `calibrated`, for
        int8: whether ranges come from the samples; `warnings` if TensorRT runs nothing, or built fewer engines.

    Raises:
        StepError: the conversion failed, with a message for the user.
    """
    import tensorflow as tf

    assert conversion.samples is not None
    assert conversion.shapes is not None
    refuse_level(conversion.options, "TF-TRT")
    require_tf_trt()
    precision = conversion.options.precision
    use_gpu(precision)
    name = choose_signature(conversion.source, conversion.options.signature_name)
    samples = [sample for _, sample in arrays.load(conversion.samples, mapped=True)]
    calibrate = precision is Precision.INT8 and not operations(conversion.source) & _QUANTIZED
    try:
        converter = tf.experimental.tensorrt.Converter(
            input_saved_model_dir=str(conversion.source),
            input_saved_model_tags=["serve"],
            input_saved_model_signature_key=name,
            **converter_settings(conversion.options, conversion.shapes, calibrate=calibrate),
        )
        function = _converted(converter, calibration_inputs(samples, conversion.shapes.opt) if calibrate else ())
        converter.build(input_fn=_generator(build_inputs(samples, conversion.shapes)))
        converter.save(str(conversion.destination))
    except Exception as error:
        if is_out_of_gpu_memory(error):
            raise out_of_gpu_memory(f"converting signature {name!r} with TF-TRT") from error
        raise StepError(
            f"TF-TRT of TensorFlow {tf.__version__} can't convert signature {name!r}: {reason(error)}",
            "see the log for the full error, or build a TensorRT engine with target_formats: [trt]",
        ) from error
    engines = count_engines(function.graph.as_graph_def())
    require_engines(min(engines, count_built(conversion.destination)), precision, "TF-TRT")
    return Properties(
        exporter=f"TF-TRT of TensorFlow {tf.__version__}",
        signature_name=name,
        trt_engines=engines,
        warnings=tuple(engine_warnings(engines, conversion.destination)),
        calibrated=calibrate if precision is Precision.INT8 else None,
    )


def converter_settings(options: Options, shapes: ShapeProfile, *, calibrate: bool) -> dict[str, Json]:
    """Return the arguments of `TrtGraphConverterV2`, except for those of the graph.

    One profile covers all shapes, tuned for the largest; different opt shapes get their own profile.
    """
    return {
        "precision_mode": options.precision.upper(),
        "max_workspace_size_bytes": options.max_workspace_size,
        "minimum_segment_size": _MINIMUM_SEGMENT_SIZE,
        "use_calibration": calibrate,
        "use_dynamic_shape": True,
        "dynamic_shape_profile_strategy": "Range" if shapes.opt == shapes.max else "Range+Optimal",
    }


def build_inputs(samples: Sequence[arrays.Arrays], shapes: ShapeProfile) -> list[dict[str, np.ndarray]]:
    """Return inputs in the min, opt and max shapes, from which TF-TRT creates its profiles.

    Returns samples with these shapes. If there is none, because of memory or the user's own samples, crops or repeats
    the first sample.
    """
    inputs: list[dict[str, np.ndarray]] = []
    seen: list[Mapping[str, tuple[int, ...]]] = []
    for wanted in (shapes.min, shapes.opt, shapes.max):
        if wanted not in seen:
            seen.append(wanted)
            exact = (sample for sample in samples if _has(sample, wanted))
            inputs.append(fitted(next(exact, samples[0]), wanted))
    return inputs


def calibration_inputs(
    samples: Sequence[arrays.Arrays], opt: Mapping[str, tuple[int, ...]]
) -> list[dict[str, np.ndarray]]:
    """Return the samples with the opt shapes, or else all, cropped or repeated, since calibration needs one shape."""
    exact = [sample for sample in samples if _has(sample, opt)]
    return [fitted(sample, opt) for sample in exact or samples]


def fitted(sample: arrays.Arrays, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Return `sample` in `shapes`, with each axis cropped or repeated, so that values stay valid."""
    made = {}
    for name, shape in shapes.items():
        array = np.asarray(sample[name])
        for axis, size in enumerate(shape):
            if array.shape[axis] != size:
                array = np.take(array, np.arange(size) % array.shape[axis], axis)
        made[name] = array
    return made


def operations(path: Path) -> set[str]:
    """Return the names of the operations in the graphs and functions of a SavedModel."""
    loader = importlib.import_module("tensorflow.python.saved_model.loader_impl")
    graphs = [graph.graph_def for graph in loader.parse_saved_model(str(path)).meta_graphs]
    return {node.op for graph in graphs for node in _nodes(graph)}


def count_engines(graph: _Tf) -> int:
    """Return the number of TensorRT engines in a GraphDef and its functions."""
    return sum(node.op == _ENGINE for node in _nodes(graph))


def count_built(path: Path) -> int:
    """Return the number of engines in a SavedModel that TensorRT built; every one has a file."""
    return sum(file.stat().st_size > 0 for file in path.glob(_ENGINE_FILES))


def engine_warnings(engines: int, path: Path) -> list[str]:
    """Return the warnings about a SavedModel whose graph has `engines`."""
    if not engines:
        return ["TF-TRT found no part of the model for TensorRT: all of it runs in TensorFlow, as fast as before"]
    built = count_built(path)
    if built < engines:
        return [f"TensorRT built {built} of {engines} engines: the rest of the model runs in TensorFlow, see the log"]
    return []


def _converted(converter: _Tf, calibration: Sequence[Mapping[str, np.ndarray]]) -> _Tf:
    """Return the converted function; TF-TRT only accepts calibration inputs if it needs to calibrate."""
    if calibration:
        return converter.convert(calibration_input_fn=_generator(calibration))
    return converter.convert()


def _generator(inputs: Sequence[Mapping[str, np.ndarray]]) -> Any:
    """Return a function that yields `inputs`, as TF-TRT expects it."""

    def generate() -> Iterator[dict[str, np.ndarray]]:
        yield from (dict(each) for each in inputs)

    return generate


def _has(sample: arrays.Arrays, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    return all(sample[name].shape == tuple(shape) for name, shape in shapes.items())


def _nodes(graph: _Tf) -> Iterator[_Tf]:
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def
