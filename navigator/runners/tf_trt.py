"""Runs SavedModels with TensorRT engines in them (TF-TRT) on the GPU.

Checks what they need in addition to a SavedModel: a TensorFlow with TF-TRT that finds its TensorRT, and the GPU.
`navigator.runners.tf_savedmodel` loads, checks and runs them. The conversion uses the same checks.
"""

import ctypes
import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from navigator.errors import StepError
from navigator.frameworks.availability import how_to_get
from navigator.frameworks.gpu import is_out_of_gpu_memory, no_gpu, out_of_gpu_memory
from navigator.records import Device, EngineOptions, Host, Precision, Properties, Signature
from navigator.runners import tf_savedmodel
from navigator.runners.protocol import Axis, LoadedModel, Source

DISTRIBUTIONS = ("tensorflow",)
PRELOAD = ("tensorflow",)
DEVICES = (Device.CUDA,)
ARTIFACT_NAME = "model.savedmodel"
AXES: frozenset[Axis] = frozenset({Axis.PRECISION})
AS_SOURCE: Source | None = None
CONTAINER_LIMITS: Mapping[Device, str] = {}
Options = EngineOptions

# The last TensorFlow with TF-TRT.
_LAST = (2, 17)
# Those that TF-TRT opens by their names with the whole version.
_LIBRARIES = ("libnvinfer", "libnvinfer_plugin")

REMEDY = (
    "convert in a container with TensorFlow 2.17 and its TensorRT, such as NVIDIA's (launch_mode: docker), or install "
    "TensorFlow 2.17 and the TensorRT that it is linked with"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _LoadedTfTrt:
    """A SavedModel on the GPU, see `navigator.runners.protocol.LoadedModel`."""

    model: LoadedModel

    @property
    def signature(self) -> Signature:
        return self.model.signature

    @property
    def properties(self) -> Properties:
        return self.model.properties

    def infer(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the signature once.

        Raises:
            StepError: TensorFlow fails, or the GPU is out of memory.
        """
        try:
            return self.model.infer(inputs)
        except StepError as error:
            if is_out_of_gpu_memory(error.__cause__):
                raise out_of_gpu_memory("running the TF-TRT model") from error
            raise


def unrunnable(device: Device, host: Host, options: EngineOptions) -> str:
    """Return why `host` can't run such a model, or ""."""
    del device, options
    found = no_gpu(host)
    return found.reason if found else too_new(host.versions.get("tensorflow", ""))


def load(
    path: Path,
    *,
    declared: Signature,
    signature_name: str | None = None,
    device: Device = Device.CUDA,
    options: EngineOptions | None = None,
) -> _LoadedTfTrt:
    """Load one signature onto the GPU, see `navigator.runners.protocol.Runner`."""
    del device
    require_tf_trt()
    use_gpu((options or Options()).precision)
    return _LoadedTfTrt(model=tf_savedmodel.load(path, declared=declared, signature_name=signature_name))


def too_new(version: str) -> str:
    """Return that TensorFlow `version` no longer has TF-TRT, or ""."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    return f"TensorFlow {version} has no TF-TRT: 2.17 is the last version that has it" if numbers > _LAST else ""


def require_tf_trt() -> None:
    """Raise `StepError` if TF-TRT can't work in this process.

    If TensorFlow can't find TensorRT, it says that it was built without TensorRT (2.17), or aborts the process.
    """
    import tensorflow as tf

    binding = importlib.import_module("tensorflow.compiler.tf2tensorrt._pywrap_py_utils")
    linked = tuple(binding.get_linked_tensorrt_version())
    if not any(linked):
        raise StepError(
            too_new(tf.__version__) or f"TensorFlow {tf.__version__} was built without TensorRT, so it has no TF-TRT",
            REMEDY,
        )
    version = ".".join(map(str, linked))
    # Loads CUDA's libraries, which TensorRT's plugin library needs: before that, TF-TRT counts as not there.
    tf.config.list_physical_devices("GPU")
    for name in _LIBRARIES:
        library = f"{name}.so.{version}"
        try:
            ctypes.CDLL(library)
        except OSError as error:
            raise StepError(
                f"TensorFlow {tf.__version__} is linked with TensorRT {version}, but can't load {library}: {error}",
                f"install TensorRT {version}, add its directory to LD_LIBRARY_PATH and link its {name}.so.{linked[0]} "
                f"to that whole name, or {REMEDY.partition(', or ')[0]}",
            ) from error
    if not binding.is_tensorrt_enabled():
        raise StepError(f"TensorFlow {tf.__version__} can't use the TensorRT {version} that it loaded", REMEDY)


def use_gpu(precision: Precision) -> None:
    """Let TensorFlow use the GPU in this process, with memory as needed, and TF32 only for lower precisions.

    TF-TRT builds engines with or without TF32 according to TensorFlow's setting (2.17).

    Raises:
        StepError: TensorFlow can't use the GPU.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        raise StepError(
            f"TensorFlow {tf.__version__} can't use this machine's GPU",
            f"it lacks CUDA libraries: {how_to_get(f'tensorflow[and-cuda]=={tf.__version__}')}",
        )
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    tf.config.experimental.enable_tensor_float_32_execution(precision is not Precision.FP32)
    # Fixes the devices; otherwise, loading a SavedModel would hide the GPU from TensorFlow.
    tf.config.list_logical_devices("GPU")
