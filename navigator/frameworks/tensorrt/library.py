"""Loads TensorRT, TensorRT for RTX and their plugins."""

import contextlib
import ctypes
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from navigator.errors import StepError
from navigator.frameworks.gpu import out_of_gpu_memory

# TensorRT's objects; its types differ between versions.
_Trt = Any

_builders: list[_Trt] = []
_MODULES = {False: "tensorrt", True: "tensorrt_rtx"}
NAMES = {False: "TensorRT", True: "TensorRT for RTX"}
# CUDA_ERROR_OUT_OF_MEMORY of the driver API.
_CUDA_OUT_OF_MEMORY = 2
_DRIVER = "update the NVIDIA driver, and check that nvidia-smi lists the GPU"


def load(rtx: bool) -> _Trt:
    """Import TensorRT, or TensorRT for RTX, and point Polygraphy to it.

    Raises:
        StepError: its libraries can't be loaded, or the process already uses the other one.
    """
    os.environ["POLYGRAPHY_USE_TENSORRT_RTX"] = "1" if rtx else "0"
    from polygraphy import config

    if config.USE_TENSORRT_RTX is not rtx:
        raise StepError("this process already uses the other TensorRT", "this is an internal error: please report it")
    try:
        return importlib.import_module(_MODULES[rtx])
    except (ImportError, OSError, RuntimeError) as error:
        raise StepError(
            f"{NAMES[rtx]} can't be imported: {error}",
            "install the build for this machine's CUDA version; see docs/how-to/precisions.md of model-navigator",
        ) from error


def require_cuda() -> None:
    """Raise `StepError` if CUDA doesn't start in this process, which TensorRT (10.6) ends then instead of failing.

    Makes the context of the first GPU, which TensorRT uses: on a GPU without free memory, this is what fails.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise StepError(f"CUDA's driver library can't be loaded: {error}", _DRIVER) from error
    code = int(driver.cuInit(0))
    count = ctypes.c_int()
    if code == 0:
        code = int(driver.cuDeviceGetCount(ctypes.byref(count)))
    if code == 0 and count.value:
        code = int(driver.cuDevicePrimaryCtxRetain(ctypes.byref(ctypes.c_void_p()), 0))
    if code == _CUDA_OUT_OF_MEMORY:
        raise out_of_gpu_memory("CUDA's context")
    if code or not count.value:
        raise StepError(f"CUDA doesn't start: {f'error {code}' if code else 'it sees no GPU'}", _DRIVER)


def keep_kernels(builder: _Trt) -> None:
    """Keep TensorRT's kernels loaded for later builds of this process: they are as long as one builder exists.

    TensorRT (10.6) takes 3 to 7 s to load them.
    """
    if not _builders:
        _builders.append(builder)


@contextlib.contextmanager
def without_torch() -> Iterator[None]:
    """Keep Polygraphy (0.53) from importing torch, for seconds, to find that an array isn't one of torch's.

    If the process has imported it already, this changes nothing.
    """
    modules: dict[str, Any] = sys.modules
    modules.setdefault("torch", None)  # Python refuses to import what is None
    try:
        yield
    finally:
        if modules["torch"] is None:
            del modules["torch"]


def load_plugins(paths: Sequence[Path]) -> None:
    """Load plugin libraries into this process, so that parser and runtime know their operators.

    Raises:
        StepError: one can't be loaded.
    """
    from polygraphy.backend.trt import load_plugins as load_libraries

    for path in paths:
        try:
            load_libraries(plugins=[str(path)])
        except OSError as error:
            raise StepError(
                f"plugin library {path} can't be loaded: {error}",
                "build it for this machine's CUDA and TensorRT versions, or correct tensorrt_plugins",
            ) from error
