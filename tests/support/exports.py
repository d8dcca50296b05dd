"""A source model and its ONNX exports, as tests of the exporters make and judge them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from navigator.converters import CONVERTERS
from navigator.converters.protocol import Conversion
from navigator.records import Properties, Signature, StepOptions, Verdict
from navigator.runners import onnx as onnx_runner
from navigator.runners.protocol import LoadedModel
from navigator.samples import storage
from navigator.verify.compare import verify

Samples = Sequence[tuple[str, Mapping[str, np.ndarray]]]


def require_opset(opset: int) -> None:
    """Skip the test if the installed ONNX or ONNX Runtime doesn't know an opset."""
    import onnx
    import onnxruntime

    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    graph = onnx.helper.make_graph(
        [node], "graph", [value("x", onnx.TensorProto.FLOAT, [1])], [value("y", onnx.TensorProto.FLOAT, [1])]
    )
    opsets = [onnx.helper.make_opsetid("", opset)]
    try:
        model = onnx.helper.make_model_gen_version(graph, opset_imports=opsets)
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - each version has its own
        pytest.skip(f"opset {opset} with onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}: {error}")


class Exports:
    """A source model that was run on samples, and the files that a converter exports it to.

    Args:
        tmp_path: where everything goes.
        source: the source model's file.
        model: the same, loaded.
        samples: what it is run on.
        converter: the key of the converter in `CONVERTERS`.
        options: makes the converter's options for an opset.
    """

    def __init__(
        self,
        tmp_path: Path,
        source: Path,
        model: LoadedModel,
        samples: Samples,
        *,
        converter: str,
        options: Callable[[int], StepOptions],
    ) -> None:
        self.source, self.samples = source, samples
        self.expected = [(name, model.infer(inputs)) for name, inputs in samples]
        # A model may know its outputs only once it ran.
        self.signature = model.signature
        self._tmp_path, self._converter, self._options = tmp_path, converter, options
        storage.save(tmp_path / "samples", samples)

    def convert(self, opset: int, raise_from: Path | None = None) -> tuple[Path, Properties]:
        """Export at `opset`; return the file and what is known of it."""
        directory = self._tmp_path / f"op{opset}"
        directory.mkdir()
        conversion = Conversion(
            source=self.source,
            destination=directory / "model.onnx",
            options=self._options(opset),
            signature=self.signature,
            samples=self._tmp_path / "samples",
            raise_from=raise_from,
        )
        return conversion.destination, CONVERTERS[self._converter].convert(conversion)

    def verdict(self, path: Path) -> Verdict:
        """Compare the file at `path` with the source model."""
        model = onnx_runner.load(path, declared=self.signature)
        outputs = [(name, model.infer(inputs)) for name, inputs in self.samples]
        return verify(self.expected, outputs, atol={"": 1e-5}, rtol={"": 1e-5})


def of_torchscript(
    tmp_path: Path, source: Path, declared: Signature, samples: Samples, *, may_raise: bool = False
) -> Exports:
    """Return a TorchScript file as a source of exports, at the opset that is asked for or, if need be, a higher one."""
    from navigator.converters import torchscript_to_onnx
    from navigator.runners import torchscript

    return Exports(
        tmp_path,
        source,
        torchscript.load(source, declared=declared),
        samples,
        converter="torchscript_to_onnx",
        options=lambda opset: torchscript_to_onnx.Options(opset=opset, may_raise=may_raise),
    )


def floats(shape: tuple[int, ...], seed: int = 0, dtype: str = "float32") -> np.ndarray:
    """Return values from -1 to 1, the same for every call."""
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(dtype)


def change_a_weight(path: Path) -> None:
    """Multiply one element of the first float weight of an ONNX file by 1.05."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(path))
    floating = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    weight = next(each for each in model.graph.initializer if each.data_type in floating)
    values = numpy_helper.to_array(weight).copy()
    values.flat[np.abs(values).argmax()] *= 1.05
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(model, str(path))
