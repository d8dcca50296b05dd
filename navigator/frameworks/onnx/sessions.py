"""Opens ONNX Runtime sessions, which compute exactly what a file specifies."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from navigator.errors import StepError
from navigator.frameworks.availability import how_to_get
from navigator.frameworks.memory import require_memory
from navigator.frameworks.onnx import factors as onnx_factors
from navigator.frameworks.onnx import file as onnx_file
from navigator.frameworks.onnx import int8 as onnx_int8
from navigator.frameworks.onnx import rounding as onnx_rounding
from navigator.frameworks.onnx import steps as onnx_steps
from navigator.frameworks.onnx.settings import new_session, session_settings
from navigator.frameworks.onnx.weights import FOLDER, UNPACKED, Proto, graphs, size_bytes
from navigator.records import Device

_CUDA_PROVIDER = "CUDAExecutionProvider"

# Of so many weights, the matrices stay where they are: memory for others takes longer than dozens of runs.
_LARGE_BYTES = 2**30

# What others take, for a moment.
_MOVED_FACTOR = 2

# For lower opsets, ONNX Runtime (1.32) lacks operators.
_LOWEST_OPSET = 7


class Reopened:
    """A session that can make room for another one: once it's closed, it opens again when it's run.

    Args:
        reopen: opens the session.
        session: it's open already.
    """

    def __init__(self, reopen: Callable[[], Any], session: Any) -> None:
        self._reopen = reopen
        self._session = session

    def run(self, *arguments: Any) -> Any:
        """Run the session; see `onnxruntime.InferenceSession.run`."""
        self._session = self._session or self._reopen()
        return self._session.run(*arguments)

    def close(self) -> None:
        """Free the session's memory."""
        self._session = None


def open_session(
    path: Path, model: Proto, device: Device, *, typed: bool = False, mapped: bool = False
) -> tuple[Any, str]:
    """Open a session that computes exactly what the file specifies; return it with a warning, or "".

    Args:
        path: the file.
        model: its content.
        device: where to run.
        typed: whether the file was converted to fp16 or int8.
        mapped: whether external data is used where it lies, for a few runs: that opens at once, and takes no memory
            but the files' own.

    Raises:
        StepError: ONNX Runtime can't load it, or can't use the GPU.
    """
    import onnxruntime

    settings = session_settings()
    if mapped:
        settings.add_session_config_entry(*UNPACKED)
    if onnx_int8.is_quantized(model):
        # Exactly as in the graph, like the engines that are built from it. ONNX Runtime's own fusion of Q/DQ nodes
        # computes something else, and is wrong if their scales are fp16: an error of 7.1 for outputs of 5, 0.7 without
        # fusion (1.32).
        settings.add_session_config_entry("session.disable_quant_qdq", "1")
    source: str | bytes = str(path)
    if device is Device.CPU and typed:
        # The CPU must round like hardware with fp16, or errors would only show in an engine.
        rounded = onnx_rounding.rounded(path)
        if rounded is not None:
            settings.add_session_config_entry(FOLDER, str(path.parent))
            source = rounded
    try:
        session, warning = _opened(source, settings, device)
        if not warning and _breaks_when_run(model):
            settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
            session = new_session(source, settings, providers(device))
            warning = (
                "run with basic optimizations (ORT_ENABLE_BASIC): with all of them, ONNX Runtime can't run a Resize "
                "with mode cubic that's next to a Transpose and makes an image smaller"
            )
    except Exception as error:
        text = onnx_file.sentence(error)
        raise StepError(f"ONNX Runtime can't load {path.name}: {text}", _advice(text, model)) from error
    if device is Device.CUDA and session.get_providers()[0] != _CUDA_PROVIDER:
        # It falls back to the CPU silently.
        raise StepError(
            f"ONNX Runtime {onnxruntime.__version__} can't use the GPU: its CUDA provider did not load",
            f"it lacks the CUDA and cuDNN libraries it was built for: {how_to_get('onnxruntime-gpu[cuda,cudnn]')}",
        )
    return session, warning


def stepped(path: Path, settings: Any, own_bytes: int) -> tuple[bytes, list[Any]]:
    """Make the settings of a session those of the file with its weights one step away.

    In a large model, what matrices are multiplied by is one step away instead of these.

    Args:
        path: the file.
        settings: those to change.
        own_bytes: how much memory the session takes itself.

    Returns:
        What to open, and what must be kept as long as the session.

    Raises:
        StepError: there's no memory for other weights.
    """
    import onnxruntime

    model = onnx_file.light(path)
    is_large = sum(map(size_bytes, model.graph.initializer)) >= _LARGE_BYTES
    stay = onnx_factors.step(model) if is_large else frozenset()
    moved = sum(size_bytes(each) for each in model.graph.initializer if each.name not in stay)
    require_memory(own_bytes + _MOVED_FACTOR * moved, "weights one step away")
    weights = []
    for name, values in onnx_steps.stepped(model, path, stay):
        weights.append(onnxruntime.OrtValue.ortvalue_from_numpy(values))
        settings.add_initializer(name, weights[-1])
    settings.add_session_config_entry(FOLDER, str(path.parent))
    return model.SerializeToString(), weights


def open_shaken(path: Path, seed: int) -> tuple[Any, list[Any]]:
    """Open a session of a file that was converted to fp16, with half of its float16 weights a step away, on the CPU.

    Returns:
        The session, and what must be kept as long as it.

    Raises:
        StepError: nothing in the file computes in fp16, or ONNX Runtime can't load it.
    """
    import onnx
    import onnxruntime

    content = onnx_rounding.rounded(path)
    if content is None:
        raise StepError(f"nothing in {path.name} computes in fp16")
    model = onnx.load_model_from_string(content)
    settings = session_settings()
    settings.add_session_config_entry(*UNPACKED)
    settings.add_session_config_entry(FOLDER, str(path.parent))
    # Otherwise, what is computed from weights alone is computed from those in the file (1.32).
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    weights = []
    for name, values in onnx_steps.shaken(model, path, seed):
        weights.append(onnxruntime.OrtValue.ortvalue_from_numpy(values))
        settings.add_initializer(name, weights[-1])
    try:
        session = new_session(model.SerializeToString(), settings, providers(Device.CPU))
    except Exception as error:
        raise StepError(f"ONNX Runtime can't load {path.name}: {onnx_file.sentence(error)}") from error
    return session, weights


def _opened(source: str | bytes, settings: Any, device: Device) -> tuple[Any, str]:
    """Open a session with as many optimizations as ONNX Runtime can apply, and return it with a warning, or "".

    Its optimizer may change nodes into some that it has no kernel for, such as a Resize with mode cubic (1.32).
    """
    import onnxruntime

    levels = onnxruntime.GraphOptimizationLevel
    refused: Exception | None = None
    notes: list[str] = []
    for level, allows in (
        (levels.ORT_ENABLE_ALL, ""),
        (levels.ORT_ENABLE_BASIC, "with basic optimizations (ORT_ENABLE_BASIC)"),
        (levels.ORT_DISABLE_ALL, "without optimizations (ORT_DISABLE_ALL)"),
    ):
        settings.graph_optimization_level = level
        try:
            session = new_session(source, settings, providers(device), notes)
        except Exception as error:  # noqa: BLE001 - ONNX Runtime has a dozen exception types without a common one
            refused = refused or error
            continue
        why = f"ONNX Runtime loads the file only {allows}: {onnx_file.sentence(refused)}" if refused else ""
        return session, "; ".join(filter(None, (why, *notes)))
    assert refused is not None
    raise refused


def _breaks_when_run(model: Proto) -> bool:
    """Return whether ONNX Runtime's optimizer may break a Resize with mode cubic unnoticed until it runs.

    It moves a Transpose past the Resize, and what's left has no kernel if an image gets smaller (1.32). Where constants
    say by how much, it notices when it loads `model`.
    """
    for graph in graphs(model):
        known = {tensor.name for tensor in getattr(graph, "initializer", ())}
        known |= {node.output[0] for node in graph.node if node.op_type == "Constant"}
        transposed = {
            name for node in graph.node if node.op_type == "Transpose" for name in (*node.input, *node.output)
        }
        for node in graph.node:
            if (
                node.op_type == "Resize"
                and any(each.name == "mode" and each.s == b"cubic" for each in node.attribute)
                and not transposed.isdisjoint((node.input[0], node.output[0]))
                and not known.issuperset(filter(None, node.input[2:]))
            ):
                return True
    return False


def _advice(text: str, model: Proto) -> str:
    """Return what the user can do if ONNX Runtime lacks an operator, or is older than the file, or ""."""
    if newest := re.search(r"max supported IR version: (\d+)", text):
        return f"set ir_version of the ONNX file to {newest[1]} or lower, or install a newer onnxruntime"
    if newest := re.search(r"support for domain ai\.onnx is till opset (\d+)", text):
        return f"export the model at opset {newest[1]} or lower, or install a newer onnxruntime"
    opset = onnx_file.opset_of(model)
    if unknown := re.search(r"No Op registered for (\w+)", text):
        return f"opset {opset} of ONNX has no operator {unknown[1]}: export the model at an opset that has it"
    if custom := re.search(r"([\w.]+):(\w+)\(-?\d+\) is not a registered function/op", text):
        return f"{custom[2]} is an operator of {custom[1]}, not of ONNX: export the model without it"
    if "two nodes with same node name" in text:
        return "export the model again so that each node has a name of its own, or none"
    if "Could not find an implementation" not in text:
        return ""
    if opset is not None and opset < _LOWEST_OPSET:
        has = f"ONNX Runtime supports opset {_LOWEST_OPSET} and higher"
        return f"{has}: export the model at such an opset, or convert it with onnx.version_converter"
    at = f"at opset {opset} or " if opset is not None else ""
    return f"ONNX Runtime doesn't support it {at}for these types: use another opset or other types"


def providers(device: Device) -> list[str | tuple[str, dict[str, Any]]]:
    """Return where a session runs.

    By default CUDA's provider uses TF32, which has only 10 bits of mantissa, and has cuDNN try all of its convolutions
    on every new shape, which takes longer than a few runs of a few shapes.
    """
    if device is Device.CPU:
        return ["CPUExecutionProvider"]
    import onnxruntime

    # It also finds CUDA's libraries in NVIDIA's Python packages, which torch installs.
    onnxruntime.preload_dlls()
    return [(_CUDA_PROVIDER, {"use_tf32": 0, "cudnn_conv_algo_search": "HEURISTIC"}), "CPUExecutionProvider"]
