"""Classes that a program of torch.export takes or returns its tensors in, which only the model's own code has.

A file says their names and fields (torch 2.13), and torch refuses to load it where nothing is registered under such a
name: dataclasses, named tuples, the outputs and caches of transformers. Whatever is in a stand-in is the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from navigator.models.structure import exported_program
from navigator.models.wire import DamagedError, UnreadableError
from navigator.records import Json

# What was registered here: torch has one register for the whole process.
_STAND_INS: set[str] = set()


@contextmanager
def examples_left_out() -> Iterator[None]:
    """Let torch load a file without the inputs that a program was exported with, which pickle has in such a class.

    Nothing needs them. Remove once torch itself doesn't.
    """
    from torch._export.serde import serialize

    unpickle = serialize.deserialize_torch_artifact

    def lenient(*arguments: Any) -> Any:
        try:
            return unpickle(*arguments)
        except (AttributeError, ImportError):
            return None

    serialize.deserialize_torch_artifact = lenient
    try:
        yield
    finally:
        serialize.deserialize_torch_artifact = unpickle


def register(path: Path) -> bool:
    """Register a stand-in for each class that the file at `path` names and torch doesn't know; return if it has any."""
    from torch.utils import _pytree

    found = False
    try:
        nodes = list(exported_program.containers(path))
    except (UnreadableError, DamagedError):
        return False
    for node in nodes:
        named = node["type"] == "collections.namedtuple"
        name = str(node["context"] if named else node["type"])
        if name in _pytree.SERIALIZED_TYPE_TO_PYTHON_TYPE:
            found |= name in _STAND_INS
            continue
        found = True
        _STAND_INS.add(name)
        if named:
            # The file has no names of fields, and positions can't be names.
            fields = [f"output__{index}" for index in range(len(node["children_spec"]))]
            tuples = NamedTuple("Fields", [(field, Any) for field in fields])  # type: ignore[misc]
            _pytree._register_namedtuple(tuples, serialized_type_name=name)
        else:
            _register(name)
    return found


def _register(name: str) -> None:
    from torch.utils import _pytree

    class Container(dict[str, Any]):
        """Its tensors by field, and what torch wrote about it."""

        context: Json

    def unflatten(values: Iterator[Any], context: Json) -> Container:
        leaves = list(values)
        fields = exported_program.fields(context, len(leaves)) or [str(index) for index in range(len(leaves))]
        made = Container(zip(fields, leaves, strict=True))
        made.context = context
        return made

    _pytree.register_pytree_node(
        Container,
        lambda made: (list(made.values()), made.context),
        unflatten,
        serialized_type_name=name,
        flatten_with_keys_fn=lambda made: (
            [(_pytree.MappingKey(key), value) for key, value in made.items()],
            made.context,
        ),
    )
