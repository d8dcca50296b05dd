"""Turns every accepted notation of scores and of limits for them into their canonical form."""

from navigator.config.schema import nearest, schema
from navigator.config.tensors import named
from navigator.config.values import Reading, kind, pieces, read_integer, read_number
from navigator.config.yaml_nodes import Entries, Items, Node, Scalar
from navigator.errors import quote


def read_gates(reading: Reading, node: Node) -> dict[str, float] | None:
    """Return {measure: limit}; 1% is 0.01."""
    found = {}
    measures = list(schema()["$defs"]["gates"]["properties"])
    for name, value in named(reading, node, unnamed=False).items():
        if name not in measures:
            meant = nearest(name, measures)
            hint = f"did you mean '{meant}'?" if meant else f"the measures are {', '.join(measures)}"
            reading.wrong(reading.places[name,], f"unknown measure {quote(name)}", hint)
            continue
        part = value.text.strip() if isinstance(value, Scalar) else ""
        plain = Scalar(value.place, part.removesuffix("%"), "str") if part.endswith("%") else value
        number = read_number(reading, plain, name)
        if number is not None:
            found[name] = number / 100 if part.endswith("%") else number
    return found


def read_scores(reading: Reading, node: Node) -> dict[str, int] | None:
    """Return {output: axis}; -1 for names alone. Only `=` ends a name, since TensorFlow's contain colons."""
    if isinstance(node, Entries):
        axes = {name: read_integer(reading, value, name) for name, value in named(reading, node, unnamed=False).items()}
        return {name: axis for name, axis in axes.items() if axis is not None}
    found = {}
    for each in node.nodes if isinstance(node, Items) else (node,):
        if not isinstance(each, Scalar):
            reading.wrong(each.place, f"expected the name of an output, got {kind(each)}")
            continue
        for piece in pieces(each):
            name, _, text = piece.text.rpartition("=") if "=" in piece.text else (piece.text, "", "-1")
            axis = read_integer(reading, Scalar(piece.place, text, "str"), name)
            reading.places[name,] = piece.place
            if axis is not None:
                found[name] = axis
    return found
