"""Imports Torch-TensorRT, for both of its front ends and their runners, and tells what the installed one supports."""

import importlib
import inspect
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from navigator.errors import StepError
from navigator.frameworks.availability import Unavailable, how_to_install, missing
from navigator.frameworks.gpu import no_gpu, together
from navigator.frameworks.torch import values as torch_values
from navigator.records import Device, Host

# The device of the module, its inputs and the conversion. Tests on a machine without a GPU change it.
DEVICE = Device.CUDA

# Of every use of the front end for TorchScript (2.6 to 2.14), and of every use of the other (2.11).
_KNOWN_WARNINGS = (
    r"The torchscript frontend for Torch-TensorRT has been deprecated",
    r"Int8 PTQ Calibrator has been deprecated",
    r"`use_explicit_typing` is deprecated",
)

# A module whose types differ between versions.
_Module = Any


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontEnd:
    """What the installed Torch-TensorRT supports.

    Args:
        version: its version.
        typed: whether its TensorRT only supports the precision of the network (TensorRT 11).
        calibrates: whether it calibrates int8.
        autocasts: whether it can change a program to fp16 itself.
        saves_ranges: whether it saves programs with dynamic shapes.
        lacks_attention: whether its converter of attention needs a layer that the installed TensorRT doesn't have.
    """

    version: str
    typed: bool
    calibrates: bool = False
    autocasts: bool = False
    saves_ranges: bool = True
    lacks_attention: bool = False


def imported() -> _Module:
    """Return the module `torch_tensorrt`, which registers the operators that a compiled file calls.

    Raises:
        StepError: torch can't use a GPU, or Torch-TensorRT can't be imported.
    """
    torch_values.prepare(DEVICE)  # before the import, which fails without a GPU but doesn't say so
    try:
        return importlib.import_module("torch_tensorrt")
    except Exception as error:
        raise StepError(
            f"Torch-TensorRT can't be imported: {torch_values.reason(error)}",
            "install it with the versions of torch and TensorRT that it was built for: "
            + how_to_install(("torch-tensorrt",), "torch-trt"),
        ) from error


def for_torchscript(library: _Module) -> FrontEnd:
    """Return what the front end for TorchScript supports.

    Raises:
        StepError: there is none.
    """
    version = str(library.__version__)
    if not hasattr(library, "ts"):
        raise StepError(
            f"Torch-TensorRT {version} was built without its TorchScript front end",
            "save the model with torch.export.save, which its other front end reads, or build TensorRT engines "
            "instead: target_formats: [trt]",
        )
    calibrates = "calibrator" in inspect.signature(library.ts.compile).parameters
    return FrontEnd(version=version, typed=_typed(), calibrates=calibrates)


def for_programs(library: _Module) -> FrontEnd:
    """Return what the front end for programs of torch.export supports."""
    takes = inspect.signature(library.dynamo.compile).parameters
    network = importlib.import_module("tensorrt").INetworkDefinition
    return FrontEnd(
        version=str(library.__version__),
        typed=_typed(),
        autocasts="enable_autocast" in takes,
        lacks_attention="decompose_attention" in takes and not hasattr(network, "add_attention"),
        saves_ranges="dynamic_shapes" in inspect.signature(library.save).parameters,
    )


def _typed() -> bool:
    return not hasattr(importlib.import_module("tensorrt").BuilderFlag, "FP16")


def cpu_build(host: Host) -> str:
    """Return that the torch of `host` was built without CUDA, or ""."""
    return "torch is a CPU build" if host.versions.get("torch", "").endswith("+cpu") else ""


def unavailable(distributions: tuple[str, ...], host: Host) -> Unavailable | None:
    """Return why `host` can't build engines with Torch-TensorRT, or None."""
    cpu = cpu_build(host)
    built = Unavailable(reason=cpu, remedy="install torch from PyPI, which is built for CUDA") if cpu else None
    return together(missing(distributions, "torch-trt", host), built, no_gpu(host))


@contextmanager
def quiet() -> Iterator[None]:
    """Hide what Torch-TensorRT warns about whenever one of its front ends is used."""
    with warnings.catch_warnings():
        for message in _KNOWN_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        yield
