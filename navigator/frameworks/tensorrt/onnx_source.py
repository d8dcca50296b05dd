"""How TensorRT's parser reads ONNX files (10, 11 and TensorRT for RTX 1.7), where that isn't what they say.

It takes axes of one name for equal, which exporters' names need not be, such as `?`. It renames an input that is an
output too, since an engine can't have both.
"""

import contextlib
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from navigator.frameworks.onnx import file as onnx_file
from navigator.frameworks.onnx import weights as onnx_weights
from navigator.frameworks.onnx.weights import Proto
from navigator.records import ShapeProfile

_RENAMED = "__"
_NAME = re.compile(r"[^\W\d]\w*")


def name_in_file(name: str, outputs: Collection[str]) -> str:
    """Return what an input of a network or engine is called in the ONNX file; `outputs` are the engine's."""
    original = name.removeprefix(_RENAMED)
    return original if original in outputs else name


def name_in_engine(name: str, outputs: Collection[str]) -> str:
    """Return what an input of an ONNX file is called in the network or engine made of it."""
    return f"{_RENAMED}{name}" if name in outputs else name


@contextlib.contextmanager
def parseable(source: Path, scratch: Path, shapes: ShapeProfile) -> Iterator[Path]:
    """Yield `source`, or a copy below the directory `scratch` without the names of axes that aren't equal.

    Args:
        source: an ONNX file.
        scratch: a directory on the disk of the converted model.
        shapes: of its inputs.

    Raises:
        StepError: it isn't an ONNX file, or its external data is missing.
    """
    model = onnx_file.load(source)
    unequal = list(_unequal(model.graph, shapes))
    if not unequal:
        yield source
        return
    for dimension in unequal:
        dimension.ClearField("dim_param")
    with TemporaryDirectory(dir=scratch) as directory:
        path = Path(directory) / source.name
        onnx_weights.copy_external(model, source, path)
        onnx_file.save(model, path)
        yield path


def _unequal(graph: Proto, shapes: ShapeProfile) -> Iterator[Proto]:
    """Yield the axes whose name is none, or belongs to axes of different sizes."""
    named = [
        (value.name, axis, dimension)
        for value in (*graph.input, *graph.output, *graph.value_info)
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim)
        if dimension.HasField("dim_param")
    ]
    sizes: dict[str, set[tuple[int, ...]]] = {}
    for name, axis, dimension in named:
        if name in shapes.max and axis < len(shapes.max[name]):
            size = tuple(each[name][axis] for each in (shapes.min, shapes.opt, shapes.max))
            sizes.setdefault(dimension.dim_param, set()).add(size)
    for _, _, dimension in named:
        name = dimension.dim_param
        if not _NAME.fullmatch(name) or len(sizes.get(name, ())) > 1:
            yield dimension


def branches_within(path: Path) -> list[str]:
    """Return the operators with subgraphs that are within others': an If within an If."""
    return sorted({node.op_type for node in _nested(onnx_file.structure(path).graph.node, 0)})


def _nested(nodes: Iterable[Proto], depth: int) -> Iterator[Proto]:
    for node in nodes:
        graphs = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
        if graphs and depth:
            yield node
        for graph in graphs:
            yield from _nested(graph.node, depth + 1)
