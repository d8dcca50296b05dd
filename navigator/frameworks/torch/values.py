"""Converts inputs and outputs of torch models from and to named NumPy arrays, for TorchScript and torch.export."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from navigator.errors import ReturnedError, StepError
from navigator.frameworks.gpu import is_out_of_gpu_memory, out_of_gpu_memory
from navigator.records import Device

_RAISED = "RuntimeError: "

_NO_GPU = re.compile(r"Found no NVIDIA driver|No CUDA GPUs are available|not compiled with CUDA enabled")

# A torch object; the types of the package differ between supported versions.
_Torch = Any


def prepare(device: Device) -> None:
    """Make torch as exact on `device` as on a CPU: TF32 has 10 bits of mantissa instead of float32's 23.

    Raises:
        StepError: torch has no such device.
    """
    import torch

    if device is Device.CPU:
        return
    if not torch.cuda.is_available():
        raise StepError(
            f"torch {torch.__version__} can't use this machine's GPU",
            "install a torch that was built for the driver's CUDA version, or a newer driver (nvidia-smi shows both)",
        )
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def device_name(device: Device) -> str:
    """Return torch's name of a device, for the report."""
    import torch

    return str(torch.cuda.get_device_name()) if device is Device.CUDA else "cpu"


def refusal(failure: str, error: BaseException, device: Device) -> StepError:
    """Return the error for the user if torch fails; `failure` is the start of the message."""
    text = f"{failure}: {reason(error)}"
    if is_out_of_gpu_memory(error):
        return out_of_gpu_memory(f"{failure}: it")
    if device is Device.CUDA and "same device" in text:
        return StepError(
            text,
            "the model contains tensors that were created on the CPU: trace or script it on a GPU, or, if you serve it "
            "only on CPUs, set engine_count_per_device: {cpu: 1}",
        )
    if device is Device.CPU and _NO_GPU.search(text):
        return ReturnedError(
            text,
            "the model creates tensors on a GPU: trace or script it on the CPU, or create them where an input is",
        )
    return StepError(text)


def to_tensor(array: np.ndarray) -> _Torch:
    """Return a tensor with a copy of `array`: models may write to their inputs, and samples are reused."""
    import torch

    return torch.from_numpy(np.array(array, order="C", copy=True))


def to_array(name: str, value: _Torch) -> np.ndarray:
    """Return an output as an array; Python numbers become arrays without axes.

    Raises:
        ReturnedError: a string, or a dtype that NumPy doesn't support.
    """
    import torch

    if isinstance(value, bool | int | float):
        return np.asarray(value)
    if not isinstance(value, torch.Tensor):
        raise ReturnedError(
            f"output {name} is a {type(value).__name__}, not a tensor", "change the model to return only tensors"
        )
    if value.dtype is torch.bfloat16:
        raise ReturnedError(f"output {name} is bfloat16, which NumPy doesn't support", BFLOAT16_HINT)
    try:
        return np.array(value.detach().resolve_conj().resolve_neg().cpu().numpy(), copy=True)
    except (TypeError, RuntimeError) as error:
        raise ReturnedError(
            f"output {name} ({value.dtype}, {value.layout}) can't be a NumPy array: {reason(error)}"
        ) from error


BFLOAT16_HINT = "save the model in float32 or float16, e.g. with model.float() before tracing or exporting it"


def refuse_bfloat16(tensors: Iterable[tuple[str, _Torch]]) -> None:
    """Raise `StepError` if a weight is bfloat16: it can be exported, but ONNX Runtime can't run it on a CPU."""
    import torch

    for name, tensor in tensors:
        if tensor.dtype is torch.bfloat16:
            raise StepError(f"weight {name} is bfloat16, which ONNX Runtime can't run on a CPU", BFLOAT16_HINT)


def flatten(value: _Torch) -> list[tuple[str, _Torch]]:
    """Return the outputs in `value`, which may be nested, by name and in order; None is not an output.

    A key of a dictionary or a field of a named tuple is the name; a position in a list or tuple is `output__<index>`;
    nested ones are joined by `__`: `hidden__0`.

    Raises:
        ReturnedError: two outputs have the same name.
    """
    named = [
        ("__".join(path if path and not path[0].isdecimal() else ("output", *(path or ("0",)))), leaf)
        for path, leaf in _leaves(value, ())
    ]
    names = [name for name, _ in named]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ReturnedError(f"the model returns two outputs named {twice[0]}", "rename the keys that it returns")
    return named


def reason(error: BaseException) -> str:
    """Return the line of a torch error with the reason, without stack traces and dumped graphs."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    text = lines[0]
    if text.startswith("The following operation failed in the TorchScript interpreter"):
        text = next((line for line in reversed(lines) if line.startswith(_RAISED)), lines[-1])
    text = text.removeprefix(_RAISED).split("  [Caused by the value", 1)[0]
    return text[:400]


def _leaves(value: _Torch, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], _Torch]]:
    if value is None:
        return
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, (*path, str(key)))
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        for field in value._fields:
            yield from _leaves(getattr(value, field), (*path, field))
    elif isinstance(value, tuple | list):
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, str(index)))
    else:
        yield path, value
