"""Builds and runs single engines as a run does: in workers with their sandbox, on the first GPU."""
# ruff: noqa: TID253 - the models are ONNX

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from navigator.converters.protocol import Conversion
from navigator.records import Gpu, ShapeProfile, Signature, StepOptions, TensorSpec, to_data
from navigator.runners.trt import TrtOptions
from navigator.samples import storage as arrays
from navigator.workers.local.pool import ForkServer, Task, TaskResult, TaskStatus

Arrays = Mapping[str, np.ndarray]

CHANNELS = 64


@dataclass(kw_only=True, slots=True)
class Engines:
    """Builds and runs engines below `directory`."""

    workers: ForkServer
    directory: Path
    gpu: Gpu
    _count: int = field(default=0)

    def build(
        self,
        source: Path,
        shapes: ShapeProfile,
        options: StepOptions | None = None,
        *,
        converter: str = "onnx_to_trt",
        name: str = "model.plan",
        signature: Signature | None = None,
        samples: Sequence[tuple[str, Arrays]] = (),
        timeout_seconds: float = 400,
        verbose: bool = False,
        timing: Path | None = None,
        visible: str | None = None,
    ) -> tuple[TaskResult, Path]:
        """Build an engine; return what became of it, and where it is."""
        where = self._own("build")
        (where / "made").mkdir()
        timing = timing or where / "timing"
        timing.mkdir(exist_ok=True)
        arrays.save(where / "samples", [(each, dict(values)) for each, values in samples])
        conversion = Conversion(
            source=source,
            destination=where / "made" / name,
            options=options or TrtOptions(),
            signature=signature,
            samples=where / "samples",
            shapes=shapes,
            timing_cache=timing,
            gpu=self.gpu,
            verbose=verbose,
            progress=where / "task" / "progress",
        )
        task = Task(
            name="convert",
            arguments={"converter": converter, "conversion": to_data(conversion)},
            directory=where / "task",
            log_path=where / "worker.log",
            timeout_seconds=timeout_seconds,
            memory_limit_bytes=2**36,
            variables={"CUDA_VISIBLE_DEVICES": self.gpu.uuid if visible is None else visible},
            reads=(source.parent, where / "samples", *(options.files if options else ())),
            writes=(where / "made", timing),
            gpu=self.gpu.uuid,
        )
        return self.workers.run(task), where / "made" / name

    def infer(
        self,
        plan: Path,
        samples: Sequence[tuple[str, Arrays]],
        *,
        declared: Signature | None = None,
        options: StepOptions | None = None,
        target: str = "trt",
    ) -> tuple[TaskResult, list[dict[str, np.ndarray]]]:
        """Run an engine on samples; return what became of it, and the outputs of each."""
        where = self._own("infer")
        arrays.save(where / "samples", [(each, dict(values)) for each, values in samples])
        arguments: dict[str, Any] = {
            "format": target,
            "path": str(plan),
            "declared": to_data(declared or Signature(inputs=(), outputs=())),
            "signature_name": None,
            "device": "cuda",
            "options": to_data(options) if options else {},
            "samples": str(where / "samples"),
            "outputs": str(where / "outputs"),
        }
        task = Task(
            name="infer",
            arguments=arguments,
            directory=where / "task",
            log_path=where / "worker.log",
            timeout_seconds=120,
            memory_limit_bytes=2**36,
            variables={"CUDA_VISIBLE_DEVICES": self.gpu.uuid},
            reads=(plan.parent, where / "samples", *(options.files if options else ())),
            writes=(where / "outputs",),
            gpu=self.gpu.uuid,
        )
        result = self.workers.run(task)
        finished = result.status is TaskStatus.FINISHED
        return result, [values for _, values in arrays.load(where / "outputs")] if finished else []

    def log(self) -> str:
        """Return the log of the last worker."""
        return (
            sorted(self.directory.glob("*-*"), key=lambda path: int(path.name.split("-")[0]))[-1] / "worker.log"
        ).read_text()

    def _own(self, what: str) -> Path:
        self._count += 1
        where = self.directory / f"{self._count}-{what}"
        where.mkdir(parents=True)
        return where


def ranged(**inputs: tuple[tuple[int, ...], ...]) -> ShapeProfile:
    """Return a profile of the (smallest, usual, largest) shape of each input."""
    low, usual, high = ({name: shapes[place] for name, shapes in inputs.items()} for place in (0, 1, 2))
    return ShapeProfile(min=low, opt=usual, max=high)


IMAGES = ranged(x=((1, CHANNELS, 16, 16), (4, CHANNELS, 16, 16), (8, CHANNELS, 16, 16)))


def images(batch: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Return inputs of `convolutions`."""
    return {"x": np.random.default_rng(seed).normal(size=(batch, CHANNELS, 16, 16)).astype("float32")}


def convolutions(
    path: Path, *, opset: int = 17, dtype: str = "float32", sparse: bool = False, layers: int = 2, grow: int = 0
) -> Path:
    """Write some convolutions, whose outputs reach some hundreds: there TF32's short mantissa shows.

    Each has `grow` channels more than the one before, so that TensorRT measures each: equal ones it measures once.
    `sparse`: of each four weights along the input channels two are zero, as sparse tensor cores need it.
    """
    rng = np.random.default_rng(0)
    nodes, weights, name = [], [], "x"
    for index in range(layers):
        last = index == layers - 1
        given, kept = CHANNELS + grow * index, CHANNELS if last else CHANNELS + grow * (index + 1)
        weight = rng.normal(size=(kept, given, 3, 3)) * (1.0 if last else 0.05)
        if sparse:
            weight[:, ::4] = 0.0
            weight[:, 1::4] = 0.0
        weights.append(numpy_helper.from_array(weight.astype(dtype), f"w{index}"))
        made = "y" if last else f"h{index}"
        nodes.append(helper.make_node("Conv", [name, f"w{index}"], [made], pads=[1, 1, 1, 1], name=f"conv{index}"))
        name = made
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    shape = ["n", CHANNELS, 16, 16]
    graph = helper.make_graph(
        nodes,
        "m",
        [helper.make_tensor_value_info("x", element, shape)],
        [helper.make_tensor_value_info("y", element, shape)],
        weights,
    )
    return written(path, graph, opset)


def quantized(path: Path) -> Path:
    """Write a convolution between quantize and dequantize nodes, as quantization-aware training leaves them."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(CHANNELS, CHANNELS, 3, 3)).astype("float32") * 0.05
    scale = np.abs(weight).max(axis=(1, 2, 3)) / 127
    whole = np.clip(np.rint(weight / scale[:, None, None, None]), -127, 127).astype("int8")
    constants = {
        "w": whole,
        "w_scale": scale.astype("float32"),
        "w_zero": np.zeros(CHANNELS, "int8"),
        "scale": np.float32(4.0 / 127),
        "zero": np.int8(0),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["dw"], axis=0),
        helper.make_node("Conv", ["d", "dw"], ["c"], pads=[1, 1, 1, 1], name="conv"),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    shape = ["n", CHANNELS, 16, 16]
    graph = helper.make_graph(
        nodes,
        "m",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items()],
    )
    return written(path, graph, 17)


def written(path: Path, graph: onnx.GraphProto, opset: int) -> Path:
    """Write a graph as a model of this opset."""
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9), path)
    return path


def exact(path: Path, samples: Sequence[Arrays]) -> list[dict[str, np.ndarray]]:
    """Return what ONNX Runtime computes on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return [dict(zip(names, session.run(names, dict(sample)), strict=True)) for sample in samples]


def off(made: Sequence[Arrays], expected: Sequence[Arrays]) -> float:
    """Return the largest error of any output, relative to the largest value of that output."""
    pairs = [(one[name], other[name]) for one, other in zip(made, expected, strict=True) for name in other]
    return max(float(np.abs(one.astype("float64") - other).max() / np.abs(other).max()) for one, other in pairs)


def spec(name: str, shape: tuple[int, ...], dtype: str = "float32") -> TensorSpec:
    """Return a tensor's description."""
    return TensorSpec(name=name, shape=shape, dtype=dtype)
