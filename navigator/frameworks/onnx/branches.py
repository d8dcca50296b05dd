"""Which branches of an ONNX graph's If operators samples take."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from navigator.frameworks.onnx import file as onnx_file
from navigator.frameworks.onnx.settings import new_session, session_settings
from navigator.frameworks.onnx.weights import FOLDER, Proto

# What decides on a branch is a small part of a graph, as a rule: a larger one isn't run again.
_MOST_NODES = 100


def untaken(path: Path, samples: Iterable[Mapping[str, np.ndarray]]) -> Iterator[tuple[str, str]]:
    """Yield the If operators of a graph of which no sample takes one branch, by their names, and that branch.

    Those inside other branches and loops aren't looked at, nor are those that many nodes decide on.

    Args:
        path: the ONNX file.
        samples: inputs that the model takes.
    """
    model = onnx_file.structure(path)
    choices = {node.input[0]: node for node in model.graph.node if node.op_type == "If"}
    if not choices or not _reduce(model, list(choices)):
        return
    seen: dict[str, set[bool]] = {name: set() for name in choices}
    for values in _values(model, path, samples):
        for name, value in values.items():
            seen[name].add(value)
    for name, node in choices.items():
        if len(seen[name]) == 1:
            yield node.name or node.output[0], "else_branch" if seen[name].pop() else "then_branch"


def _values(model: Proto, path: Path, samples: Iterable[Mapping[str, np.ndarray]]) -> Iterator[dict[str, bool]]:
    settings = session_settings()
    settings.add_session_config_entry(FOLDER, str(path.parent))
    session = new_session(model.SerializeToString(), settings, ["CPUExecutionProvider"])
    names, inputs = [each.name for each in session.get_outputs()], [each.name for each in session.get_inputs()]
    for arrays in samples:
        feed = {name: np.ascontiguousarray(arrays[name]).reshape(arrays[name].shape) for name in inputs}
        yield {name: bool(value.item()) for name, value in zip(names, session.run(names, feed), strict=True)}


def _reduce(model: Proto, wanted: list[str]) -> bool:
    """Leave what computes some values, which are the only outputs then; return whether that's few nodes."""
    from onnx import TensorProto, helper

    graph = model.graph
    producers = {name: number for number, node in enumerate(graph.node) for name in node.output if name}
    needed: set[int] = set()
    waiting = list(wanted)
    values = set(wanted)
    while waiting and len(needed) <= _MOST_NODES:
        number = producers.get(waiting.pop())
        if number is not None and number not in needed:
            needed.add(number)
            read = set(_read(graph.node[number]))
            waiting += read - values
            values |= read
    if len(needed) > _MOST_NODES:
        return False
    nodes = [graph.node[number] for number in sorted(needed)]
    weights = [tensor for tensor in graph.initializer if tensor.name in values]
    inputs = [value for value in graph.input if value.name in values]
    outputs = [helper.make_tensor_value_info(name, TensorProto.BOOL, None) for name in wanted]
    reduced = helper.make_graph(nodes, graph.name, inputs, outputs, initializer=weights)
    graph.CopyFrom(reduced)
    return True


def _read(node: Proto) -> Iterator[str]:
    """Yield the values that a node reads, those inside its own graphs among them."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            for inner in graph.node:
                yield from _read(inner)
