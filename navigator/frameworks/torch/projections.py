"""LSTMs with projections (proj_size), for which ONNX has no operator, as LSTMs without, for both of torch's exporters.

Each step of a projected LSTM sees `state = projection · hidden`. So does one without, whose weights for the step before
are `own · projection`. The state before the first step isn't projected from anything: it enters as a part of the first
step's input.
"""

from collections.abc import Callable, Sequence
from typing import Any

# A value in the graph.
Value = Any
Operator = Callable[..., Value]
"""Adds an operator of opset 11 to the graph: its name, inputs, and attributes."""
Lstm = Callable[[Value, Value, Sequence[Value]], tuple[Value, Value, Value]]
"""Adds one layer in one direction, without projections and with zeros as its hidden state: the steps, the cell before
them, and the weights. Returns each step's hidden values, and the last ones and the last cell."""


def projected(
    op: Operator,
    number: Callable[[Sequence[int]], Value],
    lstm: Lstm,
    x: Value,
    states: Sequence[Value],
    weights: Sequence[Value],
    layers: int,
    directions: int,
    *,
    batch_first: bool,
) -> tuple[Value, Value, Value]:
    """Return what torch's `lstm` returns. `number` makes a constant vector."""
    x = op("Transpose", x, perm=[1, 0, 2]) if batch_first else x
    count = op("Gather", op("Shape", x), number([0]))
    later = op("Concat", number([0] * 3), op("Sub", count, number([1])), number([0] * 2), axis=0)
    each = len(weights) // (layers * directions)
    last: list[Value] = []
    cells: list[Value] = []
    for layer in range(layers):
        found: list[Value] = []
        for direction in range(directions):
            index = layer * directions + direction
            given, own, *biases, projection = weights[index * each : (index + 1) * each]
            state, cell = (op("Slice", value, number([index]), number([index + 1]), number([0])) for value in states)
            steps = _backwards(op, number, x) if direction else x
            hidden, last_hidden, last_cell = lstm(
                op("Concat", steps, op("Pad", state, later), axis=2),
                cell,
                [op("Concat", given, own, axis=1), op("MatMul", own, projection), *biases],
            )
            turned = op("Transpose", projection, perm=[1, 0])
            seen = op("MatMul", hidden, turned)
            found.append(_backwards(op, number, seen) if direction else seen)
            last.append(op("MatMul", last_hidden, turned))
            cells.append(last_cell)
        x = op("Concat", *found, axis=2)
    x = op("Transpose", x, perm=[1, 0, 2]) if batch_first else x
    return x, op("Concat", *last, axis=0), op("Concat", *cells, axis=0)


def _backwards(op: Operator, number: Callable[[Sequence[int]], Value], steps: Value) -> Value:
    return op("Slice", steps, number([-1]), number([-(2**63) + 1]), number([0]), number([-1]))
