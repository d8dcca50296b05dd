"""An ONNX model whose sums are exact, or off by as much as ONNX Runtime's may be, to tell rounding from a wrong file.

ONNX Runtime adds many numbers one after the other. Where these are alike, each step rounds to the same side: the mean
of 65,536 equal numbers is off by thousands of their last digits (1.32), and a normalization makes values of it that
are as large as any. PyTorch and TensorFlow add pairs, and hardly round.
"""

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from navigator.errors import StepError
from navigator.frameworks.onnx import graph as onnx_graph
from navigator.frameworks.onnx.file import DEFAULT_DOMAINS

if TYPE_CHECKING:
    import onnx_ir as ir

# By how much a sum of n numbers is off: n times this part of their magnitudes. Those of ONNX Runtime were off by up to
# a quarter of half a step (2 ** -24) for each; `navigator.verify.noise.FACTOR` times as much is allowed.
_OFF = 2.0**-24 / 16

# Since this opset, reductions have their axes as an input.
_AXES_INPUT = 18


class Sums:
    """A session whose sums are exact, or `off`, in another way at each run."""

    def __init__(self, session: Any, switch: str, *, off: bool) -> None:
        self._session = session
        self._given = {switch: np.array(float(off))}

    def run(self, outputs: Any, inputs: dict[str, np.ndarray]) -> Any:
        """Run the session; see `onnxruntime.InferenceSession.run`."""
        return self._session.run(outputs, {**inputs, **self._given})


def open_sessions(path: Path) -> tuple[Sums, Sums]:
    """Open the model at `path` with sums in float64, and with sums that are off.

    All other nodes stay, and so do sums inside of If, Loop and Scan, and products of matrices, whose sums are short or
    in blocks.

    Raises:
        StepError: it has no such sums in float32, or onnx-ir or ONNX Runtime can't load it.
    """
    model = onnx_graph.prepare(path)
    onnx_graph.infer_types(model)
    switch = "off" + onnx_graph.free_suffix(model.graph, "_of_sums")
    if not _rewrite(model, switch):
        raise StepError(f"{path.name} adds nothing in float32")
    session = onnx_graph.session(model)
    # Graphs of onnx-ir are cyclic: their weights would be held on beside those that ONNX Runtime has.
    del model
    gc.collect()
    return Sums(session, switch, off=False), Sums(session, switch, off=True)


def _rewrite(model: "ir.Model", switch: str) -> bool:
    """Compute the sums of a model in float64, off by `switch` times what a runtime may be; return if it has any."""
    import onnx_ir as ir

    graph, opset = model.graph, onnx_graph.opset(model, "")
    suffix = onnx_graph.free_suffix(graph, "_rounded")
    off = ir.Value(name=switch, type=ir.TensorType(ir.DataType.DOUBLE), shape=ir.Shape([]))
    found = False
    for node in list(graph):
        write = _WRITERS.get(node.op_type) if node.domain in DEFAULT_DOMAINS else None
        value: Any = node.outputs[0] if node.outputs else None
        if write is None or not onnx_graph.is_tensor(value, ir.DataType.FLOAT) or any(map(_is_used, node.outputs[1:])):
            continue
        writer = _Writer(node, off, opset)
        result = onnx_graph.twin(value, ir.DataType.FLOAT, value.name)
        value.replace_all_uses_with(result, replace_graph_outputs=True)
        value.name = value.name + suffix
        exact = write(writer)  # may ask for the shape of what was there
        node.append([*writer.nodes, ir.node("Cast", [exact], {"to": ir.DataType.FLOAT}, outputs=[result])])
        found = True
    if found:
        graph.inputs.append(off)
    return found


def _is_used(value: "ir.Value") -> bool:
    return bool(value.uses()) or value.is_graph_output()


class _Writer:
    """Writes nodes in float64 beside a node that adds in float32."""

    def __init__(self, node: "ir.Node", off: "ir.Value", opset: int) -> None:
        self.node = node
        self.nodes: list[ir.Node] = []
        self._off = off
        self._opset = opset

    def op(self, kind: str, *inputs: Any, **attributes: Any) -> "ir.Value":
        """Write a node; arrays become constants."""
        import onnx_ir as ir

        values = [self._constant(each) if isinstance(each, np.ndarray) else each for each in inputs]
        self.nodes.append(ir.node(kind, values, attributes))
        return self.nodes[-1].outputs[0]

    def _constant(self, array: np.ndarray) -> "ir.Value":
        import onnx_ir as ir

        self.nodes.append(ir.node("Constant", [], {"value": ir.tensor(array)}))
        return self.nodes[-1].outputs[0]

    def number(self, name: str, default: float) -> Any:
        """Return an attribute of the node."""
        attribute = self.node.attributes.get(name)
        return default if attribute is None else attribute.value

    def double(self, value: "ir.Value") -> "ir.Value":
        import onnx_ir as ir

        return self.op("Cast", value, to=ir.DataType.DOUBLE)

    def given(self) -> "ir.Value":
        """Return the first input."""
        return self.double(self.node.inputs[0])

    def mean_of_rows(self, rows: "ir.Value") -> "ir.Value":
        """Return the mean along the last axis, which stays as one of size 1."""
        axes = {"axes": [-1]} if self._opset < _AXES_INPUT else {}
        more = [] if axes else [np.array([-1])]
        return self.near(rows, lambda each: self.op("ReduceMean", each, *more, **axes))

    def count(self, value: "ir.Value", reduced: "ir.Value") -> "ir.Value":
        """Return how many numbers of `value` each of `reduced` is made of."""
        return self.op("Div", *(self.double(self.op("Size", each)) for each in (value, reduced)))

    def near(self, value: "ir.Value", reduce: Any) -> "ir.Value":
        """Return what `reduce` makes of a value, off by what is added to its magnitudes."""
        exact = reduce(value)
        return self.moved(exact, self.count(value, exact), reduce(self.op("Abs", value)))

    def moved(self, exact: "ir.Value", count: "ir.Value", magnitudes: "ir.Value") -> "ir.Value":
        """Return a sum of so many numbers, off by what the switch says to one side or the other."""
        random = self.op("RandomUniformLike", exact, low=-1.0, high=1.0, seed=float(len(self.nodes)))
        far = self.op("Mul", self.op("Sign", random), self.op("Mul", self._off, np.array(_OFF)))
        return self.op("Add", exact, self.op("Mul", far, self.op("Mul", count, magnitudes)))

    def normalized(self, rows: "ir.Value") -> "ir.Value":
        """Return rows without their mean, divided by what they spread."""
        away = self.op("Sub", rows, self.mean_of_rows(rows))
        spread = self.mean_of_rows(self.op("Mul", away, away))
        return self.op("Div", away, self.op("Sqrt", self.op("Add", spread, np.array(self.number("epsilon", 1e-5)))))

    def like(self, value: "ir.Value", shaped: "ir.Value") -> "ir.Value":
        """Return a value in the shape of another."""
        return self.op("Reshape", value, self.op("Shape", shaped))


def _reduced(writer: _Writer, value: "ir.Value", kind: str = "ReduceMean") -> "ir.Value":
    node = writer.node
    attributes = {name: each.value for name, each in node.attributes.items()}
    return writer.near(value, lambda each: writer.op(kind, each, *node.inputs[1:], **attributes))


def _sum(writer: _Writer, value: "ir.Value") -> "ir.Value":
    """Return a sum over the axes of the node. ReduceSum alone has had them as an input since opset 13."""
    mean = _reduced(writer, value)
    return writer.op("Mul", mean, writer.count(value, mean))


def _running(writer: _Writer) -> "ir.Value":
    given, axis = writer.node.inputs
    reverse, exclusive = (writer.number(name, 0) for name in ("reverse", "exclusive"))
    value, place = writer.given(), writer.op("Reshape", axis, np.array([1]))
    both = (value, writer.op("Abs", value))
    exact, magnitudes = (writer.op("CumSum", each, axis, reverse=reverse, exclusive=exclusive) for each in both)
    count = writer.double(writer.op("Gather", writer.op("Shape", given), place))
    return writer.moved(exact, count, magnitudes)


def _exponentials(writer: _Writer) -> "ir.Value":
    """Write ReduceLogSumExp: what its sum is off by in parts is what its logarithm is off by."""
    attributes = {name: each.value for name, each in writer.node.attributes.items()}
    value = writer.given()
    exact = writer.op("ReduceLogSumExp", value, *writer.node.inputs[1:], **attributes)
    return writer.moved(exact, writer.count(value, exact), np.array(1.0))


def _squares(writer: _Writer) -> "ir.Value":
    value = writer.given()
    return _sum(writer, writer.op("Mul", value, value))


def _of_channels(writer: _Writer) -> "ir.Value":
    """Write InstanceNormalization and GroupNormalization, whose factors are for channels, or groups up to opset 20."""
    given, factors, summands = writer.node.inputs
    groups = writer.number("num_groups", 0)  # 0 keeps the axis
    rows = writer.op("Reshape", writer.given(), np.array([0, groups, -1]))
    shape = writer.op("Concat", np.array([0]), writer.op("Shape", factors), np.array([-1]), axis=0)
    value = writer.op("Reshape", writer.normalized(rows), shape)
    factors, summands = (writer.op("Reshape", writer.double(each), np.array([-1, 1])) for each in (factors, summands))
    return writer.like(writer.op("Add", writer.op("Mul", value, factors), summands), given)


def _of_layers(writer: _Writer) -> "ir.Value":
    given, factors, *summands = writer.node.inputs
    rows = writer.op("Flatten", writer.given(), axis=writer.number("axis", -1))
    value = writer.op("Mul", writer.like(writer.normalized(rows), given), writer.double(factors))
    return writer.op("Add", value, writer.double(summands[0])) if summands and summands[0] else value


def _pooled(writer: _Writer) -> "ir.Value":
    rows = writer.op("Reshape", writer.given(), np.array([0, 0, -1]))
    return writer.like(writer.mean_of_rows(rows), writer.node.outputs[0])


_WRITERS: dict[str, Any] = {
    "ReduceMean": lambda writer: _reduced(writer, writer.given()),
    "ReduceSum": lambda writer: _reduced(writer, writer.given(), "ReduceSum"),
    "ReduceL1": lambda writer: _sum(writer, writer.op("Abs", writer.given())),
    "ReduceL2": lambda writer: writer.op("Sqrt", _squares(writer)),
    "ReduceSumSquare": _squares,
    "ReduceLogSum": lambda writer: writer.op("Log", _sum(writer, writer.given())),
    "ReduceLogSumExp": _exponentials,
    "CumSum": _running,
    "GlobalAveragePool": _pooled,
    "InstanceNormalization": _of_channels,
    "GroupNormalization": _of_channels,
    "LayerNormalization": _of_layers,
}
