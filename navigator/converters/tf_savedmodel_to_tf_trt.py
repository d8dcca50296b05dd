"""TensorFlow SavedModel to a SavedModel with TensorRT engines in it, by TF-TRT (`TrtGraphConverterV2`).

One signature is converted and kept, under its name and with its outputs' names. Engines are built now, for the GPU of
this machine and for all shapes between min and max; what no engine takes stays TensorFlow's.

TF-TRT left TensorFlow after 2.17. Graphs were converted with TensorFlow 2.17.1; no engine was built on hardware yet.
"""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from navigator.converters.protocol import Container, Conversion, Variant, engine_segment
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
CONTAINER = Container.UNLESS_LOCAL
PREPARED_BY = ()

# TensorFlow's objects and functions; the package ships no types that hold for every version.
_Tf = Any

_ENGINE = "TRTEngineOp"
_ENGINE_FILES = "assets/trt-serialized-engine.*"
# TF-TRT's own default: the operations that make an engine worth its while.
_MINIMUM_SEGMENT_SIZE = 3
# What TF-TRT takes quantization ranges from (2.17); tf.quantization writes a V4, too, which it leaves to TensorFlow.
_QUANTIZED = {
    "FakeQuantWithMinMaxArgs",
    "FakeQuantWithMinMaxVars",
    "QuantizeAndDequantizeV2",
    "QuantizeAndDequantizeV3",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Options(EngineOptions):
    """TF-TRT knows no modes, TF32 is TensorFlow's own setting; `signature_name` None lets `choose_signature` choose."""

    signature_name: str | None = None


def variant(model: ModelConfig, configuration: Configuration) -> Variant:
    """Return the step of the configuration's precision."""
    precision = configuration.precision or Precision.FP32
    options = Options(
        precision=precision,
        max_workspace_size=model.tensorrt_max_workspace_size,
        signature_name=model.signature_name,
    )
    return Variant(segment=engine_segment(configuration), options=options, precision=precision)


def unavailable(host: Host) -> Unavailable | None:
    """Return why `host` cannot run it in this interpreter, or None."""
    new = too_new(host.versions.get("tensorflow", ""))
    return together(
        missing(DISTRIBUTIONS, "tf-trt", host), Unavailable(reason=new, remedy=REMEDY) if new else None, no_gpu(host)
    )


def convert(conversion: Conversion[Options]) -> Properties:
    """Convert one signature.

    Returns:
        `exporter`; `signature_name`; `trt_engines`: how many parts of the graph are given to TensorRT; `calibrated`,
        in int8: whether ranges come from the samples; `warnings` where TensorRT took nothing, or built less than that.

    Raises:
        StepError: it cannot, with a sentence for the user.
    """
    import tensorflow as tf

    assert conversion.samples is not None
    assert conversion.shapes is not None
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
            raise out_of_gpu_memory(f"converting the signature {name!r} with TF-TRT") from error
        raise StepError(
            f"TF-TRT of TensorFlow {tf.__version__} cannot convert the signature {name!r}: {reason(error)}",
            "the whole error is in the log; another way to an engine is target_formats: [trt]",
        ) from error
    engines = count_engines(function.graph.as_graph_def())
    return Properties(
        exporter=f"TF-TRT of TensorFlow {tf.__version__}",
        signature_name=name,
        trt_engines=engines,
        warnings=tuple(engine_warnings(engines, conversion.destination)),
        calibrated=calibrate if precision is Precision.INT8 else None,
    )


def converter_settings(options: Options, shapes: ShapeProfile, *, calibrate: bool) -> dict[str, Json]:
    """Return the arguments of `TrtGraphConverterV2` but for those that say which graph.

    One profile covers all shapes, and TF-TRT tunes it for the largest; opt shapes that are others get one of their own.
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
    """Return inputs in the min, opt and max shapes: TF-TRT makes its profiles of the shapes that it is shown.

    Samples that have these shapes; else, where there was no memory for one or the user gave others, the first sample
    cut off or repeated.
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
    """Return the samples that have the opt shapes, else all, cut off or repeated: calibration takes one shape only."""
    exact = [sample for sample in samples if _has(sample, opt)]
    return [fitted(sample, opt) for sample in exact or samples]


def fitted(sample: arrays.Arrays, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Return `sample` in `shapes`, each axis cut off or repeated from its beginning: values stay valid values."""
    made = {}
    for name, shape in shapes.items():
        array = np.asarray(sample[name])
        for axis, size in enumerate(shape):
            if array.shape[axis] != size:
                array = np.take(array, np.arange(size) % array.shape[axis], axis)
        made[name] = array
    return made


def operations(path: Path) -> set[str]:
    """Return the names of the operations in a SavedModel's graphs and functions."""
    loader = importlib.import_module("tensorflow.python.saved_model.loader_impl")
    graphs = [graph.graph_def for graph in loader.parse_saved_model(str(path)).meta_graphs]
    return {node.op for graph in graphs for node in _nodes(graph)}


def count_engines(graph: _Tf) -> int:
    """Return how many operations of a GraphDef are TensorRT engines, those in its functions too."""
    return sum(node.op == _ENGINE for node in _nodes(graph))


def engine_warnings(engines: int, path: Path) -> list[str]:
    """Return what to say of a SavedModel at `path` whose graph has `engines`; an engine that was built left a file."""
    if engines == 0:
        return ["TF-TRT gave no part of the model to TensorRT: it runs in TensorFlow, no faster than before"]
    built = sum(file.stat().st_size > 0 for file in path.glob(_ENGINE_FILES))
    if built < engines:
        return [f"TensorRT built {built} of {engines} engines: the rest of the model runs in TensorFlow, see the log"]
    return []


def _converted(converter: _Tf, calibration: Sequence[Mapping[str, np.ndarray]]) -> _Tf:
    """Return the converted function; TF-TRT takes no calibration inputs where it has not to calibrate."""
    if calibration:
        return converter.convert(calibration_input_fn=_generator(calibration))
    return converter.convert()


def _generator(inputs: Sequence[Mapping[str, np.ndarray]]) -> Any:
    """Return a function that yields `inputs`, as TF-TRT takes them."""

    def generate() -> Iterator[dict[str, np.ndarray]]:
        yield from (dict(each) for each in inputs)

    return generate


def _has(sample: arrays.Arrays, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    return all(sample[name].shape == tuple(shape) for name, shape in shapes.items())


def _nodes(graph: _Tf) -> Iterator[_Tf]:
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def
