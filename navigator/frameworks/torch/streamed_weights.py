"""Lets torch's TorchScript exporter (2.13) write large weights from a module's memory into the file.

It copies all of them into a message, serializes that, parses it again and writes it: four times their memory, and over
2 GiB it writes a file for each. Here it gets a graph whose large weights are inputs, which become initializers in the
file. To infer shapes, it copies them into another message and keeps one more copy: here, it gets what may be shapes,
and the types of all. Remove once the exporter copies no more than one weight at a time.
"""

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from navigator.frameworks.onnx import streamed

# A torch object; the types of the package differ between supported versions.
_Torch = Any

# What is shorter stays in the graph, where the exporter and others read it.
_LARGE_BYTES = 65536

_INFERENCE = "_jit_pass_onnx_graph_shape_type_inference"

# Before this version, initializers have to be inputs too.
_IR_WITHOUT_INPUTS = 4


@contextlib.contextmanager
def streamed_weights() -> Iterator[None]:
    """Write files so, within the block."""
    import torch

    try:
        from torch.onnx._internal.torchscript_exporter import onnx_proto_utils
    except ImportError:  # torch before 2.9
        yield
        return
    if list(inspect.signature(onnx_proto_utils._export_file).parameters) != ["model_bytes", "f", "export_map"]:
        yield  # another version's
        return
    apart: dict[str, _Torch] = {}
    export, write = torch._C.Graph._export_onnx, onnx_proto_utils._export_file
    infer = getattr(torch._C, _INFERENCE)

    def exported(graph: _Torch, weights: Mapping[str, _Torch], *arguments: Any) -> Any:
        apart.clear()
        apart.update({name: each for name, each in weights.items() if _is_large(each)})
        return export(graph, {name: each for name, each in weights.items() if name not in apart}, *arguments)

    def written(model_bytes: bytes, f: Any, export_map: Mapping[str, bytes]) -> None:
        if apart:
            _write(model_bytes, apart, Path(f))
        else:
            write(model_bytes, f, export_map)

    def inferred(graph: _Torch, weights: Mapping[str, _Torch], opset: int) -> Any:
        return infer(graph, {name: each for name, each in weights.items() if not _is_large(each)}, opset)

    with contextlib.ExitStack() as stack:
        stack.enter_context(_instead(torch._C.Graph, "_export_onnx", exported))
        stack.enter_context(_instead(onnx_proto_utils, "_export_file", written))
        stack.enter_context(_instead(torch._C, _INFERENCE, inferred))
        yield


@contextlib.contextmanager
def _instead(owner: Any, name: str, function: Callable[..., Any]) -> Iterator[None]:
    """Let `function` take the place of another one, within the block."""
    own = getattr(owner, name)
    setattr(owner, name, function)
    try:
        yield
    finally:
        setattr(owner, name, own)


def _write(model_bytes: bytes, apart: Mapping[str, _Torch], destination: Path) -> None:
    import onnx

    model = onnx.load_model_from_string(model_bytes)
    used = [value.name for value in model.graph.input if value.name in apart]
    if model.ir_version >= _IR_WITHOUT_INPUTS:
        inputs = [value for value in model.graph.input if value.name not in apart]
        del model.graph.input[:]
        model.graph.input.extend(inputs)
    streamed.save(model, [_weight(name, apart[name]) for name in used], destination)


def _weight(name: str, tensor: _Torch) -> streamed.Weight:
    import onnx

    kind = onnx.TensorProto.DataType.Value(_types()[tensor.dtype])
    return streamed.Weight(
        tensor=onnx.TensorProto(name=name, data_type=kind, dims=tensor.shape),
        size_bytes=tensor.numel() * tensor.element_size(),
        values=lambda: _values(tensor),
    )


def _values(tensor: _Torch) -> memoryview:
    import torch

    return memoryview(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy())


def _is_large(tensor: _Torch) -> bool:
    import torch

    if not isinstance(tensor, torch.Tensor):  # what is packed or a number
        return False
    plain = tensor.layout is torch.strided and tensor.device.type == "cpu" and tensor.dtype in _types()
    return plain and tensor.numel() * tensor.element_size() > _LARGE_BYTES


def _types() -> dict[_Torch, str]:
    """Return ONNX's names of the types of weights."""
    import torch

    return {
        torch.float32: "FLOAT",
        torch.float16: "FLOAT16",
        torch.float64: "DOUBLE",
        torch.bfloat16: "BFLOAT16",
        torch.int8: "INT8",
        torch.uint8: "UINT8",
        torch.int16: "INT16",
        torch.int32: "INT32",
        torch.int64: "INT64",
        torch.bool: "BOOL",
    }
