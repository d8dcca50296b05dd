"""What the matrices of an ONNX model are multiplied by, one step of its dtype away, instead of the matrices.

In a sum of products, a step of one factor does what a step of the other one does. So rounding shows as much, and
gigabytes of weights stay where they are: memory for others takes longer than dozens of runs.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from navigator.frameworks.onnx.file import DEFAULT_DOMAINS
from navigator.frameworks.onnx.weights import Proto, floats, graphs

# Of the step after 1. So much of any number takes it one step of its own away.
_PART = 0.7

# What multiplies its first input by a matrix, and may do so with matrices of weights.
_PRODUCTS = ("MatMul", "Gemm")


def step(model: Proto) -> frozenset[str]:
    """Have `model` step what it multiplies by matrices of weights; return the initializers that are to stay for that.

    All rows of a batch take the same steps, as they do if weights change. Matrices that are used otherwise too, or
    inside of branches, aren't among these.
    """
    products, free = _products(model), _free(model)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    stay = {each.name for each in products.values()}
    for number, node in enumerate(nodes):
        matrix = products.get(node.output[0]) if node.output else None
        if matrix is not None:
            names = [f"{free}{number}_{part}" for part in ("sizes", "steps", "stepped")]
            model.graph.initializer.append(_sizes(names[0], node, matrix, number))
            model.graph.node.extend(_stepping(node.input[0], names))
            node.input[0] = names[-1]
            stay.add(names[0])
        model.graph.node.append(node)
    return frozenset(stay)


def _products(model: Proto) -> Mapping[str, Proto]:
    """Return the matrices of weights that are used in products of the main graph alone, by what these make."""
    matrices = {
        each.name: each for each in model.graph.initializer if len(each.dims) >= 2 and each.data_type in floats()
    }
    products = [
        node
        for node in model.graph.node
        if node.op_type in _PRODUCTS and node.domain in DEFAULT_DOMAINS and node.input[1] in matrices
    ]
    uses = Counter(_used(model))
    in_products = Counter(node.input[1] for node in products)
    return {
        node.output[0]: matrices[node.input[1]]
        for node in products
        if in_products[node.input[1]] == uses[node.input[1]]
    }


def _used(model: Proto) -> Iterator[str]:
    for graph in graphs(model):
        yield from (name for node in graph.node for name in node.input)
        # Functions have the names of their outputs alone.
        yield from (each if isinstance(each, str) else each.name for each in graph.output)


def _free(model: Proto) -> str:
    """Return what no name in `model` begins with."""
    taken = {name for graph in graphs(model) for node in graph.node for name in (*node.input, *node.output)}
    taken |= {each.name for each in (*model.graph.input, *model.graph.initializer)}
    free = "stepped"
    while any(name.startswith(free) for name in taken):
        free += "_"
    return free


def _sizes(name: str, node: Proto, matrix: Proto, seed: int) -> Proto:
    """Return how much of each number is added to it, up or down, as a constant of the matrix's dtype."""
    from onnx import helper, numpy_helper

    given = {each.name: each.i for each in node.attribute}
    dtype = helper.tensor_dtype_to_np_dtype(matrix.data_type)
    count = matrix.dims[-1] if given.get("transB") else matrix.dims[-2]
    part = np.finfo(dtype).eps * _PART
    sizes = np.random.default_rng(seed).choice(np.array([-part, part], dtype), count)
    return numpy_helper.from_array(sizes.reshape(-1, 1) if given.get("transA") else sizes, name)


def _stepping(given: str, names: Sequence[str]) -> list[Any]:
    from onnx import helper

    sizes, steps, stepped = names
    return [helper.make_node("Mul", [given, sizes], [steps]), helper.make_node("Add", [given, steps], [stepped])]
