"""Runs engines of TensorRT and TensorRT for RTX with Polygraphy."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from navigator.errors import StepError, listed
from navigator.frameworks.declaration import shapes
from navigator.frameworks.tensorrt import engine_file, library, messages, profile
from navigator.frameworks.tensorrt.onnx_source import name_in_engine, name_in_file
from navigator.records import Device, EngineOptions, Format, Host, Properties, Signature, StepOptions, TensorSpec
from navigator.runners.protocol import ENGINE_AXES, Axis, Source

# GPUs that TensorRT for RTX supports if an engine has no compute capabilities (documentation of 1.7).
_RTX_DEFAULT = ("8.0", "8.6", "8.9")
_RTX_FROM = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class TrtOptions(EngineOptions):
    """The options of the step that builds an engine.

    `plugins` are libraries that are also needed to run it; `compute_capabilities` are those that TensorRT for RTX
    builds for, () for its default.
    """

    plugins: tuple[Path, ...] = ()
    compute_capabilities: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """The plugin libraries."""
        return self.plugins


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """A runner (see `navigator.runners.protocol`) of one of the two formats."""

    FORMAT: Format
    DISTRIBUTIONS: tuple[str, ...]
    PRELOAD: tuple[str, ...] = ()
    DEVICES: tuple[Device, ...] = (Device.CUDA,)
    ARTIFACT_NAME: str = "model.plan"
    AXES: frozenset[Axis] = ENGINE_AXES
    AS_SOURCE: Source | None = None
    CONTAINER_LIMITS: Mapping[Device, str] = field(default_factory=dict)
    Options: ClassVar[type[StepOptions]] = TrtOptions

    def unrunnable(self, device: Device, host: Host, options: TrtOptions) -> str:
        """Return why `host` can't run such an engine, or ""."""
        del device
        if not host.gpus:
            return "no NVIDIA GPU is visible"
        if self.FORMAT is Format.TRT:
            return ""
        built_for = options.compute_capabilities
        if any(_runs(gpu.compute_capability, built_for) for gpu in host.gpus):
            return ""
        here = ", ".join(sorted({f"{gpu.name} ({gpu.compute_capability})" for gpu in host.gpus}))
        return f"TensorRT for RTX can't run this engine on {here}"

    def load(
        self,
        path: Path,
        *,
        declared: Signature,
        signature_name: str | None = None,
        device: Device = Device.CUDA,
        options: TrtOptions | None = None,
    ) -> "LoadedEngine":
        """Load the plan at `path` onto the GPU; see `navigator.runners.protocol.Runner.load`."""
        del signature_name, device, declared
        trt = library.load(self.FORMAT is Format.TRT_RTX)
        from polygraphy.backend.trt import TrtRunner, engine_from_path
        from polygraphy.exception import PolygraphyException

        library.require_cuda()
        library.load_plugins(options.plugins if options else ())
        with messages.collected() as log:
            try:
                engine = engine_from_path(str(path))
                runner = TrtRunner(engine)
                runner.activate()
            except PolygraphyException as error:
                rtx = self.FORMAT is Format.TRT_RTX
                what = f"{library.NAMES[rtx]} {trt.__version__} can't load the engine"
                other = engine_file.another_version(path, str(trt.__version__), rtx=rtx)
                raise (other or messages.explained(what, log, error)) from error
        return LoadedEngine(runner=runner, signature=_signature(trt, engine), ranges=profile.ranges(trt, engine))


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedEngine:
    """An engine with its context on the GPU (see `navigator.runners.protocol.LoadedModel`).

    `ranges` are the smallest and the largest shape of each of its inputs, by their names in the engine.
    """

    runner: Any
    signature: Signature
    ranges: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)

    @property
    def properties(self) -> Properties:
        return Properties(layers=int(self.runner.engine.num_layers))

    def infer(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the engine once; ignores inputs that the engine doesn't have.

        Raises:
            StepError: an input is missing or has a shape that the engine wasn't built for, or TensorRT fails.
        """
        from polygraphy.exception import PolygraphyException

        names = [spec.name for spec in self.signature.inputs]
        absent = [name for name in names if name not in inputs]
        if absent:
            raise StepError(f"the engine has the inputs {listed(absent)}, but the samples only have {listed(inputs)}")
        outputs = [spec.name for spec in self.signature.outputs]
        feed = {name_in_engine(name, outputs): np.ascontiguousarray(inputs[name]) for name in names}
        profile.require_within({name: array.shape for name, array in feed.items()}, self.ranges)
        with messages.collected() as log, library.without_torch():
            try:
                values = self.runner.infer(feed)
            except PolygraphyException as error:
                given = shapes({name: array.shape for name, array in feed.items()})
                raise messages.explained(f"the engine fails on {given}", log, error) from error
        # Its arrays are views of buffers that the next call overwrites.
        return {spec.name: np.array(values[spec.name], copy=True) for spec in self.signature.outputs}


def _runs(compute_capability: str, built_for: tuple[str, ...]) -> bool:
    """Return whether a GPU with this compute capability can run an engine of TensorRT for RTX."""
    if built_for:
        return compute_capability in built_for
    major = compute_capability.partition(".")[0]
    return compute_capability in _RTX_DEFAULT or (major.isdigit() and int(major) >= _RTX_FROM)


def _signature(trt: Any, engine: Any) -> Signature:
    """Return the inputs and outputs of the engine, with their names in the ONNX file."""
    found: dict[bool, list[TensorSpec]] = {True: [], False: []}
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        spec = TensorSpec(
            name=name,
            shape=tuple(int(size) for size in engine.get_tensor_shape(name)),
            dtype=np.dtype(trt.nptype(engine.get_tensor_dtype(name))).name,
        )
        found[engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT].append(spec)
    outputs = [spec.name for spec in found[False]]
    inputs = (replace(spec, name=name_in_file(spec.name, outputs)) for spec in found[True])
    return Signature(inputs=tuple(inputs), outputs=tuple(found[False]))


TRT = Engine(FORMAT=Format.TRT, DISTRIBUTIONS=("tensorrt", "polygraphy"))
TRT_RTX = Engine(FORMAT=Format.TRT_RTX, DISTRIBUTIONS=("tensorrt-rtx-cu13", "polygraphy"))
