"""Builds a TensorRT or TensorRT for RTX engine from an ONNX file: parse, profile, configure, build, write, read back.

Polygraphy hides how the two differ; `navigator.frameworks.tensorrt.messages` makes sentences of their logs. Runs no
engine. Meant for a worker of its own: which of the two Polygraphy takes is decided once a process.
"""

import glob
import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from navigator.converters.protocol import Conversion
from navigator.errors import StepError
from navigator.frameworks.tensorrt import library
from navigator.frameworks.tensorrt.library import NAMES
from navigator.frameworks.tensorrt.messages import Collected, collected, explained
from navigator.records import Json, ShapeProfile
from navigator.samples import storage as arrays

# TensorRT's and Polygraphy's objects; no types of theirs hold for every version.
_Trt = Any


# What TensorRT for RTX builds for by its own choice, as its documentation has it (1.7): Turing needs to be named.
_RTX_DEFAULT_TARGETS = ("8.0", "8.6", "8.9", "12.0 and later")

# How a plan begins (seen in plans of TensorRT for RTX 1.7 and TensorRT 10): magic, then at these offsets the length
# of the whole file and the four parts of the version.
_MAGIC = {False: b"ftrt", True: b"vtrt"}
_LENGTH_OFFSET = 16
_VERSION_OFFSET = 24
_HEADER_BYTES = 32


def build(conversion: Conversion, *, rtx: bool) -> dict[str, Json]:
    """Build the engine of `conversion.source` into `conversion.destination`; return what is known of it.

    Args:
        conversion: with `shapes`, and `samples` for the inputs that are themselves shapes.
        rtx: TensorRT for RTX instead of TensorRT.

    Returns:
        `tensorrt_version`, `exporter`, `network_layers`, `tf32`, and `compute_capabilities` (RTX: the targets;
        TensorRT: that of the GPU it was built on, with its name under `gpu`).

    Raises:
        StepError: the file cannot be parsed, an axis has no range, or the builder refuses.
    """
    trt = library.load(rtx)
    options = conversion.options
    name = f"{NAMES[rtx]} {trt.__version__}"
    with collected() as log:
        library.load_plugins([Path(path) for path in options.get("plugins", ())])
        network = _parsed(conversion.source, name, log)
        profile = _profile(network[1], conversion)
        configure = _configuration(trt, options, profile, conversion, rtx=rtx)
        engine = _built(network, configure, _timing_cache(trt, conversion, rtx=rtx), name, log)
        conversion.destination.write_bytes(memoryview(engine))
    properties: dict[str, Json] = {
        "exporter": f"built by {name}",
        "tensorrt_version": read_back(conversion.destination, trt.__version__, rtx=rtx),
        "network_layers": int(network[1].num_layers),
        # The user's environment may forbid it whatever an engine says.
        "tf32": bool(options.get("tf32")) and os.environ.get("NVIDIA_TF32_OVERRIDE") != "0",
    }
    if rtx:
        properties["compute_capabilities"] = _targets(configure)
    elif conversion.gpu is not None:
        properties |= {"gpu": conversion.gpu.name, "compute_capabilities": [conversion.gpu.compute_capability]}
    if conversion.verbose and not rtx:
        properties["layers"] = layers(trt, conversion.destination)
    return properties


def read_back(path: Path, expected: str, *, rtx: bool) -> str:
    """Return the version in the header of the plan at `path`.

    Raises:
        StepError: it is not a whole plan of that kind and version.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    size = path.stat().st_size
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC[rtx]):
        raise StepError(f"{path.name} is not a plan of {NAMES[rtx]}: it begins with {header[:4]!r}")
    (length,) = struct.unpack_from("<Q", header, _LENGTH_OFFSET)
    if length != size:
        raise StepError(f"{path.name} is cut off: {size} bytes of {length}", "free space on that disk, then run again")
    version = ".".join(str(part) for part in header[_VERSION_OFFSET : _VERSION_OFFSET + 4])
    if not expected.startswith(version):
        raise StepError(f"{path.name} says that {NAMES[rtx]} {version} built it, not {expected}")
    return version


def layers(trt: _Trt, path: Path) -> list[str]:
    """Return what the engine at `path` says of its layers, one line each: name, and the types it computes in."""
    from polygraphy.backend.trt import engine_from_path

    inspector = engine_from_path(str(path)).create_engine_inspector()
    text = inspector.get_engine_information(trt.LayerInformationFormat.ONELINE)
    return [line.strip() for line in str(text).splitlines() if line.strip()]


def _parsed(source: Path, name: str, log: Collected) -> _Trt:
    """Return builder, network and parser of the ONNX file."""
    from polygraphy.backend.trt import network_from_onnx_path
    from polygraphy.exception import PolygraphyException

    try:
        return network_from_onnx_path(str(source), strongly_typed=True)
    except PolygraphyException as error:
        raise explained(f"{name} cannot take the ONNX file", log, error) from error


def _profile(network: _Trt, conversion: Conversion) -> _Trt:
    """Return the optimization profile: a range for every dynamic axis, exactly what the file fixes for the others.

    Raises:
        StepError: an axis without a range, or with one that the file does not allow.
    """
    from polygraphy.backend.trt import Profile

    assert conversion.shapes is not None
    profile = Profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        # Polygraphy takes names for patterns.
        key = glob.escape(tensor.name)
        if tensor.is_shape_tensor:
            profile.add(key, *_values(tensor.name, conversion.samples))
            continue
        ranges = _ranges(tensor.name, tuple(tensor.shape), conversion.shapes)
        profile.add(key, *ranges)
    return profile


def _ranges(name: str, own: tuple[int, ...], shapes: ShapeProfile) -> list[tuple[int, ...]]:
    """Return the smallest, usual and largest shape of an input whose shape in the file is `own` (-1: dynamic)."""
    if name not in shapes.max:
        if -1 not in own:
            return [own, own, own]
        raise StepError(
            f"input {name} of the ONNX file is {list(own)}, and nothing says how large its dynamic axes get",
            f"declare {name} under inputs, and give it max_shapes",
        )
    found = [shapes.min[name], shapes.opt[name], shapes.max[name]]
    for low, high in zip(found[0], found[2], strict=True):
        if low > high:
            raise StepError(f"input {name}: the smallest shape {list(found[0])} is above the largest {list(found[2])}")
    fits = len(own) == len(found[2]) and all(
        fixed in (-1, size) for shape in found for fixed, size in zip(own, shape, strict=True)
    )
    if not fits:
        raise StepError(
            f"the ONNX file fixes input {name} at {list(own)}, the shapes asked for go from {list(found[0])} to "
            f"{list(found[2])}",
            f"give {name} the file's shape in min_shapes, opt_shapes and max_shapes, or export it with dynamic axes",
        )
    return found


def _values(name: str, samples: Path | None) -> list[tuple[int, ...]]:
    """Return smallest, usual and largest values of an input that TensorRT reads as a shape, from the samples."""
    found = [sample[name] for _, sample in arrays.load(samples) if name in sample] if samples else []
    if not found or len({array.shape for array in found}) > 1:
        raise StepError(
            f"input {name} is read as a shape, and the samples do not say which values it takes",
            "give samples or value_ranges for it, of one shape",
        )
    stacked = np.stack([np.atleast_1d(array) for array in found])
    return [tuple(int(each) for each in row) for row in (stacked.min(axis=0), stacked[-1], stacked.max(axis=0))]


def _configuration(trt: _Trt, options: Mapping[str, Json], profile: _Trt, conversion: Conversion, *, rtx: bool) -> _Trt:
    """Return what makes the builder's configuration, called with builder and network."""
    from polygraphy.backend.trt import CreateConfig

    arguments: dict[str, Any] = {"profiles": [profile], "sparse_weights": bool(options.get("sparse_weights"))}
    if workspace := int(options.get("max_workspace_size") or 0):
        arguments["memory_pool_limits"] = {trt.MemoryPoolType.WORKSPACE: workspace}
    if rtx:
        from polygraphy.backend.tensorrt_rtx import CreateConfigRTX

        arguments["compute_capabilities"] = targets(trt, options.get("compute_capabilities", ())) or None
        create = CreateConfigRTX(**arguments)
    else:
        cache = _timing_cache(trt, conversion, rtx=rtx)
        create = CreateConfig(**arguments, load_timing_cache=cache if cache and Path(cache).exists() else None)
    return _Configured(trt, create, tf32=bool(options.get("tf32")))


class _Configured:
    """Creates the configuration and sets TF32, which is on in every new one; keeps it for what it says."""

    def __init__(self, trt: _Trt, create: _Trt, *, tf32: bool) -> None:
        self._trt = trt
        self._create = create
        self._tf32 = tf32
        self.made: _Trt = None

    def __call__(self, builder: _Trt, network: _Trt) -> _Trt:
        self.made = self._create(builder, network)
        change = self.made.set_flag if self._tf32 else self.made.clear_flag
        change(self._trt.BuilderFlag.TF32)
        return self.made


def targets(trt: _Trt, asked: Sequence[str]) -> list[tuple[int, int]]:
    """Return compute capabilities such as "8.9" as pairs.

    Raises:
        StepError: this version of TensorRT for RTX does not build for one of them.
    """
    known = sorted(int(name[2:]) for name in dir(trt.ComputeCapability) if name.startswith("SM"))
    wrong = [each for each in asked if int(each.replace(".", "")) not in known]
    if wrong:
        raise StepError(
            f"TensorRT for RTX {trt.__version__} does not build for compute capability {', '.join(wrong)}",
            f"it builds for {', '.join(f'{each // 10}.{each % 10}' for each in known)}",
        )
    return [(int(major), int(minor)) for major, _, minor in (each.partition(".") for each in asked)]


def _targets(configure: _Configured) -> list[str]:
    """Return the compute capabilities that the engine was built for."""
    made = configure.made
    numbers = [int(made.get_compute_capability(index)) for index in range(made.num_compute_capabilities)]
    return [f"{number // 10}.{number % 10}" for number in numbers if number >= 10] or list(_RTX_DEFAULT_TARGETS)


def _built(network: _Trt, configure: _Trt, timing_cache: str | None, name: str, log: Collected) -> _Trt:
    from polygraphy.backend.trt import engine_bytes_from_network
    from polygraphy.exception import PolygraphyException

    try:
        return engine_bytes_from_network(network, configure, save_timing_cache=timing_cache)
    except PolygraphyException as error:
        raise explained(f"{name} cannot build the engine", log, error) from error


def _timing_cache(trt: _Trt, conversion: Conversion, *, rtx: bool) -> str | None:
    """Return the file of measured timings: one a GPU model and version. RTX measures nothing when it builds."""
    gpu = conversion.gpu
    if rtx or conversion.timing_cache is None or gpu is None:
        return None
    conversion.timing_cache.mkdir(parents=True, exist_ok=True)
    words = f"{gpu.name}-{gpu.compute_capability}-tensorrt-{trt.__version__}"
    return str(
        conversion.timing_cache / f"{''.join(each if each.isalnum() or each in '.-' else '_' for each in words)}.cache"
    )
