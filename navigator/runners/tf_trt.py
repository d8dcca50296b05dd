"""Runs SavedModels with TensorRT engines in them (TF-TRT) on the GPU.

Owns what they need beyond a SavedModel: a TensorFlow that has TF-TRT and finds its TensorRT, and the GPU.
`navigator.runners.tf_savedmodel` loads, checks and runs them. The conversion asks here for the same.
"""

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from navigator.errors import StepError
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
            StepError: TensorFlow cannot, or the GPU's memory is not enough.
        """
        try:
            return self.model.infer(inputs)
        except StepError as error:
            if is_out_of_gpu_memory(error.__cause__):
                raise out_of_gpu_memory("running the TF-TRT model") from error
            raise


def unrunnable(device: Device, host: Host, options: EngineOptions) -> str:
    """Return why `host` cannot run such a model, or ""."""
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
    """Return that TensorFlow `version` has no TF-TRT any more, or ""."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    return f"TensorFlow {version} has no TF-TRT: it was taken out after 2.17" if numbers > _LAST else ""


def require_tf_trt() -> None:
    """Raise `StepError` if TF-TRT cannot work in this process.

    TensorFlow itself says of a TensorRT that it cannot find that it was built without (2.17), or aborts the process.
    """
    import tensorflow as tf

    binding = importlib.import_module("tensorflow.compiler.tf2tensorrt._pywrap_py_utils")
    linked = tuple(binding.get_linked_tensorrt_version())
    if not any(linked):
        raise StepError(
            too_new(tf.__version__)
            or f"TensorFlow {tf.__version__} here was built without TensorRT, so without TF-TRT",
            REMEDY,
        )
    if not binding.is_tensorrt_enabled():
        version = ".".join(map(str, linked))
        raise StepError(
            f"TensorFlow {tf.__version__} is linked with TensorRT {version} and finds no libnvinfer.so.{version}",
            f"install TensorRT {version} and name its directory in LD_LIBRARY_PATH, or {REMEDY.partition(', or ')[0]}",
        )


def use_gpu(precision: Precision) -> None:
    """Let TensorFlow use the GPU in this process, its memory as needed; TF32 only below float32.

    TF-TRT builds engines with or without TF32 as TensorFlow's own setting says (2.17).

    Raises:
        StepError: TensorFlow sees no GPU.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        raise StepError(
            f"TensorFlow {tf.__version__} can't use this machine's GPU",
            "the log names the CUDA libraries that it misses: pip install 'tensorflow[and-cuda]' of this version",
        )
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    tf.config.experimental.enable_tensor_float_32_execution(precision is not Precision.FP32)
    # Devices are final from now on: what loads SavedModels would keep TensorFlow off the GPU otherwise.
    tf.config.list_logical_devices("GPU")
