"""The names of values in an ONNX graph and its subgraphs, where a name inside may not be one that's visible there."""

from collections.abc import Collection, Iterator, Mapping

from navigator.frameworks.onnx.weights import Proto, graphs


def separate(model: Proto, known: Collection[str]) -> None:
    """Rename what subgraphs of `model` compute under the name of a value around them, but for `known` names.

    onnx.version_converter (1.23) gives new values in a branch the names of new values outside of it.
    """
    taken = {name for graph in graphs(model) for name in _defined(graph)}
    _separate(model.graph, {}, frozenset(), frozenset(known), taken)


def _separate(
    graph: Proto, renamed: Mapping[str, str], outside: frozenset[str], known: frozenset[str], taken: set[str]
) -> None:
    own = frozenset(_defined(graph))
    renamed = {name: fresh for name, fresh in renamed.items() if name not in own}
    for name in sorted((own & outside) - known):
        renamed[name] = _free(name, taken)
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [renamed.get(name, name) for name in names]
        for inner in _subgraphs(node):
            _separate(inner, renamed, outside | own, known, taken)
    for value in (*graph.input, *graph.initializer, *graph.output, *graph.value_info):
        value.name = renamed.get(value.name, value.name)


def _defined(graph: Proto) -> Iterator[str]:
    for node in graph.node:
        yield from (name for name in node.output if name)
    # Functions have the names of their inputs alone.
    yield from (each if isinstance(each, str) else each.name for each in graph.input)
    yield from (tensor.name for tensor in getattr(graph, "initializer", ()))


def _subgraphs(node: Proto) -> Iterator[Proto]:
    for attribute in node.attribute:
        yield from (attribute.g,) if attribute.HasField("g") else ()
        yield from attribute.graphs


def _free(name: str, taken: set[str]) -> str:
    number = next(number for number in range(len(taken) + 1) if f"{name}_{number}" not in taken)
    taken.add(f"{name}_{number}")
    return f"{name}_{number}"
