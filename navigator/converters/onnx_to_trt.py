"""Converts ONNX to TensorRT and TensorRT for RTX with Polygraphy: one implementation, since they share an API.

Parses, profiles, configures, builds, writes and reads back. The network is strongly typed: its precision is that of the
ONNX file, which `onnx_to_typed_onnx` creates. TensorRT builds on the GPU that the engine is for; TensorRT for RTX
builds anywhere, for the configured compute capabilities. Polygraphy hides the differences, but can use only one of them
in a process, so no worker builds for both: engines of TensorRT share one, and each of TensorRT for RTX has its own.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from navigator.converters.protocol import Container, Conversion, Variant, engine_variant
from navigator.errors import StepError
from navigator.frameworks.availability import Unavailable, missing
from navigator.frameworks.gpu import no_gpu
from navigator.frameworks.tensorrt import engine_file, library, progress, timing
from navigator.frameworks.tensorrt.library import NAMES
from navigator.frameworks.tensorrt.messages import Collected, collected, explained
from navigator.frameworks.tensorrt.onnx_source import branches_within, parseable
from navigator.frameworks.tensorrt.profile import profile
from navigator.records import Configuration, Format, Host, ModelConfig, Properties, StepOptions
from navigator.runners.trt import TrtOptions

# Objects of TensorRT and Polygraphy; their types differ between versions.
_Trt = Any

# The default of TensorRT for RTX, according to its documentation (1.7), which excludes Turing.
_RTX_DEFAULT_TARGETS = ("8.0", "8.6", "8.9", "12.0 and later")


@dataclass(frozen=True, kw_only=True, slots=True)
class OnnxToTrt:
    """A converter (see `navigator.converters.protocol`) to one of the two engines."""

    TARGET: Format
    DISTRIBUTIONS: tuple[str, ...]
    EXTRA: str
    NEEDS_GPU: bool
    LASTING: bool
    CONTAINER: Container
    SOURCE: Format = Format.ONNX
    PRELOAD: tuple[str, ...] = ()
    NEEDS_SAMPLES: bool = True
    PREPARED_BY: tuple[str, ...] = ("onnx_to_onnx", "onnx_to_typed_onnx")
    Options: ClassVar[type[StepOptions]] = TrtOptions

    def variant(self, model: ModelConfig, configuration: Configuration) -> Variant:
        """Return the step for the configuration's precision and mode."""
        rtx = self.TARGET is Format.TRT_RTX
        return engine_variant(
            TrtOptions,
            model,
            configuration,
            plugins=model.tensorrt_plugins,
            compute_capabilities=model.tensorrt_rtx_compute_capabilities if rtx else (),
        )

    def unavailable(self, host: Host) -> Unavailable | None:
        """Return why `host` can't build engines, or None."""
        return (no_gpu(host) if self.NEEDS_GPU else None) or missing(self.DISTRIBUTIONS, self.EXTRA, host)

    def convert(self, conversion: Conversion[TrtOptions]) -> Properties:
        """Build the engine; see `navigator.converters.protocol`."""
        return build(conversion, rtx=self.TARGET is Format.TRT_RTX)


_BRANCHES_ADVICE = (
    "the model has {} inside of branches or loops, where the builder fails (TensorRT 10.6 and for RTX 1.7): export it "
    "without them, such as traced instead of scripted"
)

ONNX_TO_TRT = OnnxToTrt(
    TARGET=Format.TRT,
    DISTRIBUTIONS=("tensorrt", "polygraphy"),
    EXTRA="tensorrt",
    NEEDS_GPU=True,
    LASTING=True,
    CONTAINER=Container.ON_REQUEST,
)
ONNX_TO_TRT_RTX = OnnxToTrt(
    TARGET=Format.TRT_RTX,
    DISTRIBUTIONS=("tensorrt-rtx-cu13", "polygraphy"),
    EXTRA="tensorrt-rtx",
    NEEDS_GPU=False,
    LASTING=False,
    CONTAINER=Container.NEVER,
)


def build(conversion: Conversion[TrtOptions], *, rtx: bool) -> Properties:
    """Build an engine from `conversion.source` in `conversion.destination`, and return its properties.

    Args:
        conversion: with `shapes`, and with `samples` for inputs that are shapes themselves.
        rtx: TensorRT for RTX instead of TensorRT.

    Raises:
        StepError: the file can't be parsed, an axis has no range, or the builder fails.
    """
    assert conversion.shapes is not None
    trt = library.load(rtx)
    options = conversion.options
    name = f"{NAMES[rtx]} {trt.__version__}"
    directory = conversion.destination.parent
    if not rtx:
        library.require_cuda()
    with collected() as log, parseable(conversion.source, directory, conversion.shapes) as source:
        library.load_plugins(options.plugins)
        network = _parsed(source, name, log)
        if not rtx:
            library.keep_kernels(network[0])
        shapes = profile(network[1], conversion.shapes, conversion.samples)
        measured = (
            None if rtx else timing.file_of(conversion.timing_cache, conversion.gpu, f"tensorrt-{trt.__version__}")
        )
        configure = _configuration(trt, shapes, conversion, measured, rtx=rtx)
        try:
            engine = _built(network, configure, name, log)
        except StepError as error:
            within = "" if error.hint else ", ".join(branches_within(source))
            raise StepError(error.message, error.hint or (within and _BRANCHES_ADVICE.format(within))) from error
        conversion.destination.write_bytes(memoryview(engine))
        timing.keep(configure.made, measured)
    gpu = None if rtx else conversion.gpu
    built_for = (gpu.compute_capability,) if gpu is not None else ()
    return Properties(
        exporter=f"built by {name}",
        tensorrt_version=engine_file.read_back(conversion.destination, trt.__version__, rtx=rtx),
        network_layers=int(network[1].num_layers),
        # This variable of the user's environment would override the setting of an engine.
        tf32=options.tf32 and os.environ.get("NVIDIA_TF32_OVERRIDE") != "0",
        gpu=gpu.name if gpu is not None else "",
        compute_capabilities=tuple(_targets(configure)) if rtx else built_for,
        layer_information=engine_file.layers(trt, conversion.destination) if conversion.verbose and not rtx else (),
    )


def _parsed(source: Path, name: str, log: Collected) -> _Trt:
    """Return builder, network and parser of the ONNX file."""
    from polygraphy.backend.trt import network_from_onnx_path
    from polygraphy.exception import PolygraphyException

    try:
        return network_from_onnx_path(str(source), strongly_typed=True)
    except PolygraphyException as error:
        raise explained(f"{name} can't parse the ONNX file", log, error) from error


def _configuration(
    trt: _Trt, shapes: _Trt, conversion: Conversion[TrtOptions], measured: Path | None, *, rtx: bool
) -> "_Configured":
    """Return a function that creates the builder's configuration from builder and network.

    `measured` is the file of TensorRT's measurements. TensorRT for RTX doesn't measure when it builds.
    """
    from polygraphy.backend.trt import CreateConfig

    options = conversion.options
    arguments: dict[str, Any] = {
        "profiles": [shapes],
        "sparse_weights": options.sparse_weights,
    }
    if options.max_workspace_size:
        arguments["memory_pool_limits"] = {trt.MemoryPoolType.WORKSPACE: options.max_workspace_size}
    if rtx:
        from polygraphy.backend.tensorrt_rtx import CreateConfigRTX

        arguments["compute_capabilities"] = targets(trt, options.compute_capabilities) or None
        return _Configured(trt, CreateConfigRTX(**arguments), conversion)
    if conversion.verbose:
        arguments["profiling_verbosity"] = trt.ProfilingVerbosity.DETAILED
    if measured is not None and measured.exists():
        arguments["load_timing_cache"] = str(measured)
    return _Configured(trt, CreateConfig(**arguments), conversion)


class _Configured:
    """Creates the configuration, sets what not every Polygraphy can set, and keeps it to read its properties."""

    def __init__(self, trt: _Trt, create: _Trt, conversion: Conversion[TrtOptions]) -> None:
        self._trt = trt
        self._create = create
        self._options = conversion.options
        self._monitor = progress.monitor(trt, conversion.progress)
        self.made: _Trt = None

    def __call__(self, builder: _Trt, network: _Trt) -> _Trt:
        self.made = self._create(builder, network)
        # TF32 is on by default.
        change = self.made.set_flag if self._options.tf32 else self.made.clear_flag
        change(self._trt.BuilderFlag.TF32)
        if self._options.optimization_level is not None:
            self.made.builder_optimization_level = self._options.optimization_level
        if self._monitor is not None:
            self.made.progress_monitor = self._monitor
        return self.made


def targets(trt: _Trt, asked: Sequence[str]) -> list[tuple[int, int]]:
    """Return compute capabilities such as "8.9" as pairs.

    Raises:
        StepError: this version of TensorRT for RTX doesn't support one of them.
    """
    known = sorted(int(name[2:]) for name in dir(trt.ComputeCapability) if name.startswith("SM"))
    wrong = [each for each in asked if int(each.replace(".", "")) not in known]
    if wrong:
        raise StepError(
            f"TensorRT for RTX {trt.__version__} doesn't support compute capability {', '.join(wrong)}",
            f"use one of: {', '.join(f'{each // 10}.{each % 10}' for each in known)}",
        )
    return [(int(major), int(minor)) for major, _, minor in (each.partition(".") for each in asked)]


def _targets(configure: _Configured) -> list[str]:
    """Return the compute capabilities that the engine was built for."""
    made = configure.made
    numbers = [int(made.get_compute_capability(index)) for index in range(made.num_compute_capabilities)]
    return [f"{number // 10}.{number % 10}" for number in numbers if number >= 10] or list(_RTX_DEFAULT_TARGETS)


def _built(network: _Trt, configure: _Trt, name: str, log: Collected) -> _Trt:
    from polygraphy.backend.trt import engine_bytes_from_network
    from polygraphy.exception import PolygraphyException

    try:
        return engine_bytes_from_network(network, configure)
    except PolygraphyException as error:
        raise explained(f"{name} can't build the engine", log, error) from error
