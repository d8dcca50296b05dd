"""Runs ONNX files on ONNX Runtime's CPU or CUDA provider.

Uses the names in the file unchanged: if they differ from the source model's, verification fails.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from navigator.errors import StepError, listed
from navigator.frameworks.declaration import shapes
from navigator.frameworks.gpu import out_of_gpu_memory
from navigator.frameworks.lookups import Lookups
from navigator.frameworks.memory import require_memory
from navigator.frameworks.onnx import branches, lookups, reduced, stored, sums, texts
from navigator.frameworks.onnx import file as onnx_file
from navigator.frameworks.onnx import sessions as onnx_sessions
from navigator.frameworks.onnx import weights as onnx_weights
from navigator.frameworks.onnx.randomness import random_operations
from navigator.frameworks.onnx.settings import new_session, session_settings
from navigator.frameworks.onnx.training import training_operations
from navigator.frameworks.onnx.weights import UNPACKED, Proto
from navigator.models.files import model_files
from navigator.models.stored import Computed, Reduced, Stored
from navigator.records import TEXT, AxisSpec, Device, Host, Precision, Properties, Signature, StepOptions, TensorSpec
from navigator.runners.protocol import ONNX, Axis
from navigator.samples.values import Told

# Not onnx-ir: only fp16 and int8 files need it, whose converter says so; TensorFlow up to 2.17 excludes it.
DISTRIBUTIONS = ("onnx", "onnxruntime")
PRELOAD = ("onnx", "onnxruntime")
DEVICES = (Device.CPU, Device.CUDA)
ARTIFACT_NAME = "model.onnx"
AXES: frozenset[Axis] = frozenset({Axis.OPSET})
AS_SOURCE = ONNX
CONTAINER_LIMITS = {
    # Packages added to an image have to work with its CUDA version: ONNX Runtime's GPU build needs its own.
    Device.CUDA: "the container's ONNX Runtime has no CUDA provider"
}

# Messages of ONNX Runtime 1.31 if its CUDA provider can't allocate memory.
_OUT_OF_MEMORY = re.compile(
    r"Failed to allocate memory|CUDA.*out of memory|CUDNN_STATUS_ALLOC_FAILED|CUBLAS_STATUS_ALLOC"
)
# Weights, and the copies of them that kernels lay out for themselves.
_SESSION_FACTOR = 2.5

# External data from here on stays where it is; see `_is_mapped`.
_MAPPED_BYTES = 2**30

# What skl2onnx writes for the probabilities of a classifier, unless it's told otherwise.
_ZIPPED = tuple(f"seq(map({key},tensor(float)))" for key in ("int64", "string"))
_TEXT = "tensor(string)"
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(bool)": "bool",
    **{f"tensor({sign}int{bits})": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Options(StepOptions):
    """`precision` is the precision that a file was converted to; None for the source model's."""

    precision: Precision | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class OnnxModel:
    """An ONNX Runtime session (see `navigator.runners.protocol.SourceModel`)."""

    session: Any
    signature: Signature
    properties: Properties
    path: Path
    random_operations: tuple[str, ...] = ()
    axes: Mapping[str, tuple[AxisSpec, ...]] = field(default_factory=dict)
    sorting_operations: tuple[str, ...] = ()
    training_operations: tuple[str, ...] = ()
    told: Mapping[str, Told] = field(default_factory=dict)
    reads: Lookups = field(default_factory=lambda: Lookups.of(()))

    @contextmanager
    def perturbed(self) -> Iterator["OnnxModel"]:
        """Open a second session without optimization, on half of the threads, and with weights one step away.

        See `SourceModel.perturbed`. Weights stay if there's no memory for others.
        """
        import onnxruntime

        mapped = isinstance(self.session, onnx_sessions.Reopened)
        size = 0 if mapped else sum(file.stat().st_size for file in model_files(self.path))
        require_memory(int(size * _SESSION_FACTOR), "a second session for the model's own rounding")
        settings = session_settings()
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        settings.intra_op_num_threads = max(1, len(os.sched_getaffinity(0)) // 2)
        settings.add_session_config_entry(*UNPACKED)
        if mapped:
            self.session.close()
        source: str | bytes = str(self.path)
        weights: list[Any] = []  # the session uses them, but doesn't keep them
        with suppress(StepError):
            source, weights = onnx_sessions.stepped(self.path, settings, int(size * _SESSION_FACTOR))
        try:
            session = new_session(source, settings, onnx_sessions.providers(Device.CPU))
        except Exception as error:
            raise StepError(f"ONNX Runtime can't load {self.path.name}: {onnx_file.sentence(error)}") from error
        del source  # it may be as large as the model
        yield replace(self, session=session)
        del weights

    def untaken(self, samples: Iterable[Mapping[str, np.ndarray]]) -> Iterator[tuple[str, str]]:
        """See `navigator.runners.abilities.Branches`."""
        return branches.untaken(self.path, samples)

    @contextmanager
    def shaken(self, seed: int) -> Iterator["OnnxModel"]:
        """Open a second session of a file in fp16; see `navigator.runners.abilities.Shaken`."""
        size = sum(file.stat().st_size for file in model_files(self.path))
        require_memory(int(size * (_SESSION_FACTOR + 2)), "a second session for the rounding of fp16")
        session, weights = onnx_sessions.open_shaken(self.path, seed)
        yield replace(self, session=session)
        del weights

    def summed(self) -> tuple["OnnxModel", "OnnxModel"]:
        """Open a session of the file with other sums; see `navigator.runners.abilities.AddsExactly`."""
        size = sum(file.stat().st_size for file in model_files(self.path))
        require_memory(int(size * _SESSION_FACTOR), "a second session with exact sums")
        exact, off = sums.open_sessions(self.path)
        return replace(self, session=exact), replace(self, session=off)

    def infer(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the session once; ignores inputs that the file doesn't have (an exporter removed them as unused).

        Raises:
            StepError: an input is missing, or ONNX Runtime fails.
        """
        names = [spec.name for spec in self.signature.inputs]
        absent = [name for name in names if name not in inputs]
        if absent:
            raise StepError(
                f"the ONNX model has the inputs {listed(absent)}, but the samples only have {listed(inputs)}"
            )
        outputs = [spec.name for spec in self.signature.outputs]
        # ONNX Runtime reads the buffer directly, so mapped and strided arrays are copied.
        feed = {name: np.ascontiguousarray(inputs[name]).reshape(inputs[name].shape) for name in names}
        try:
            values = self.session.run(outputs, feed)
        except Exception as error:
            given = shapes({name: array.shape for name, array in feed.items()})
            text = onnx_file.sentence(error)
            if _OUT_OF_MEMORY.search(str(error)):
                raise out_of_gpu_memory(f"running {given} on ONNX Runtime") from error
            raise StepError(f"ONNX Runtime fails on {given}: {text}") from error
        return {name: _array(name, value) for name, value in zip(outputs, values, strict=True)}


def unrunnable(device: Device, host: Host, options: Options) -> str:
    """Return why `host` can't run ONNX files on `device`, or ""."""
    del options
    if device is Device.CPU:
        return ""
    if not host.gpus:
        return "no NVIDIA GPU is visible"
    return "" if "onnxruntime-gpu" in host.versions else "onnxruntime has no CUDA provider; onnxruntime-gpu has one"


def weights(path: Path) -> list[Stored]:
    """See `navigator.runners.abilities.StoresWeights`."""
    return stored.weights(path)


def computed(path: Path) -> Computed:
    """See `navigator.runners.abilities.StoresWeights`."""
    return stored.computed(path)


def reduced_weights(path: Path) -> list[Reduced]:
    """See `navigator.runners.abilities.StoresReduced`."""
    return reduced.weights(path)


def load(
    path: Path,
    *,
    declared: Signature,
    signature_name: str | None = None,
    device: Device = Device.CPU,
    options: Options | None = None,
) -> OnnxModel:
    """Load the ONNX file at `path`; see `navigator.runners.protocol.Runner.load`.

    The property `unused_inputs` lists declared inputs that the file doesn't have.
    """
    del signature_name  # only SavedModels have several
    model = onnx_file.structure(path)
    typed = options is not None and options.precision is not None
    mapped = not typed and device is Device.CPU and _is_mapped(path, model)
    open_session = partial(onnx_sessions.open_session, path, model, device, typed=typed, mapped=mapped)
    session, warning = open_session()
    # The session returns [] for a scalar and for an unknown rank; only the file distinguishes them.
    unranked = {
        value.name
        for value in (*model.graph.input, *model.graph.output)
        if not value.type.tensor_type.HasField("shape")
    }
    signature = Signature(
        inputs=tuple(_spec(value, "input", unranked) for value in session.get_inputs()),
        outputs=tuple(_spec(value, "output", unranked) for value in session.get_outputs()),
    )
    own = {spec.name for spec in signature.inputs}
    reads = lookups.read(model)
    unused = tuple(spec.name for spec in declared.inputs if spec.name not in own)
    told = tuple(texts.note(value.name) for value in session.get_outputs() if value.type == _TEXT)
    return OnnxModel(
        session=onnx_sessions.Reopened(lambda: open_session()[0], session) if mapped else session,
        signature=signature,
        properties=Properties(
            onnx_opset=onnx_file.opset_of(model), unused_inputs=unused, warnings=(*filter(None, [warning]), *told)
        ),
        path=path,
        random_operations=random_operations(model),
        axes={
            value.name: tuple(AxisSpec(size=size if isinstance(size, str) else "") for size in value.shape)
            for value in session.get_inputs()
        },
        sorting_operations=lookups.sorting_operations(model),
        training_operations=training_operations(model),
        told=reads.told(),
        reads=reads,
    )


def _is_mapped(path: Path, model: Proto) -> bool:
    """Return whether a model has so many weights beside its file that no kernel should lay them out.

    That takes as long as dozens of runs. A source model and one made from it are so run by the same kernels. Those of
    other domains may not run otherwise.
    """
    own = all(node.domain in onnx_file.DEFAULT_DOMAINS for graph in onnx_weights.graphs(model) for node in graph.node)
    beside = (each for each in onnx_weights.tensors(model) if each.external_data and not onnx_weights.is_in(each, path))
    return own and sum(map(onnx_weights.size_bytes, beside)) >= _MAPPED_BYTES


def _array(name: str, value: Any) -> np.ndarray:
    """Return an output as an array of numbers: text as bits, a ZipMap's probabilities as a row for each sample."""
    if not isinstance(value, list):
        array = np.asarray(value)
        return texts.bits(array) if array.dtype.kind in "OU" else array
    classes = sorted({key for row in value for key in row})
    if any(row.keys() != set(classes) for row in value):
        raise StepError(f"output {name} has other classes in some rows than in others")
    return np.array([[row[key] for key in classes] for row in value], np.float32).reshape(len(value), len(classes))


def _spec(value: Any, kind: str, unranked: set[str]) -> TensorSpec:
    if value.type in _ZIPPED and kind == "output":
        return TensorSpec(name=value.name, shape=(-1, -1), dtype="float32")
    shape = tuple(size if isinstance(size, int) and size >= 0 else -1 for size in value.shape)
    dtype = _DTYPES.get(value.type)
    if value.type == _TEXT:
        shape, dtype = ((*shape, texts.BITS), "bool") if kind == "output" else (shape, TEXT)
    if dtype is None:
        raise StepError(
            f"{kind} {value.name} is {value.type}, but only tensors of numbers, bools and text can be compared",
            "remove sequences and maps from the model, e.g. with onnx.utils.extract_model",
        )
    return TensorSpec(name=value.name, shape=None if value.name in unranked else shape, dtype=dtype)
