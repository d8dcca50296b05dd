"""Lists and dictionaries of a TorchScript graph that change while it runs, read as what they hold.

torch's TorchScript exporter has no dictionaries, and loses some changes of lists, such as `extend` (2.13). Where a
container is made and changed in one block of the graph, what it holds is known. Others, such as a list that grows in a
loop, stay as they are.

Remove it once a scripted module that fills a dictionary, and one that calls `extend`, are exported right without it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from navigator.frameworks.torch.script_nodes import Graph, Node, Value, constant, insert, nodes

_LIST, _DICT = "prim::ListConstruct", "prim::DictConstruct"
_CHANGES = frozenset({
    *("aten::append", "aten::extend", "aten::add_", "aten::insert", "aten::pop", "aten::clear", "aten::reverse"),
    *("aten::Delete", "aten::_set_item", "aten::remove", "aten::sort", "aten::popitem", "aten::setdefault"),
    "aten::update",
})  # fmt: skip
_RETURN_IT = frozenset({"aten::append", "aten::add_"})
# What may be changed under another name: a list within a list, or one that leaves its block.
_HOLD_IT = frozenset({_LIST, _DICT, "prim::TupleConstruct", "prim::Return", "prim::Loop", "prim::If"})

# Each round resolves one container, and with it a condition, whose branch comes into the block.
_MOST_ROUNDS = 200


class _UnknownError(Exception):
    """What a container holds depends on the inputs."""


def resolve_containers(graph: Graph) -> None:
    """Resolve the containers of an inlined graph."""
    _construct(graph)
    if _list_chunks(graph):
        _simplify(graph)
    for _ in range(_MOST_ROUNDS):
        if not _resolved(graph):
            return
        _simplify(graph)


def _construct(graph: Graph) -> None:
    """Make dictionaries that begin empty, such as `OrderedDict()`, as others are made."""
    for node in [*nodes(graph)]:
        if node.kind() == "aten::dict" and not [*node.inputs()]:
            node.output().replaceAllUsesWith(insert(graph, node, _DICT, [], node.output().type()))
            node.destroy()


def _simplify(graph: Graph) -> None:
    """Let torch read what is known of lists."""
    import torch

    for _ in range(2):  # the first may give a loop the number of its turns, the second reads what they take
        torch._C._jit_pass_peephole_list_idioms(graph)
        _unpack(graph)
        torch._C._jit_pass_constant_propagation(graph)
        torch._C._jit_pass_constant_loop_unrolling(graph)
        torch._C._jit_pass_constant_propagation(graph)
    torch._C._jit_pass_dce(graph)


def _list_chunks(graph: Graph) -> bool:
    """List the parts of a tensor that a loop goes through: as many as are asked for, as the exporter takes them too."""
    found = False
    for node in [*nodes(graph)]:
        if node.kind() != "aten::chunk" or all(use.user.kind() == "prim::ListUnpack" for use in node.output().uses()):
            continue
        count, axis = (node.inputsAt(index).toIValue() for index in (1, 2))
        if count is None or axis is None:
            continue
        parts = graph.create("prim::ConstantChunk", [node.inputsAt(0)], count)
        parts.i_("chunks", count).i_("dim", axis)
        parts.insertBefore(node)
        node.output().replaceAllUsesWith(insert(graph, node, _LIST, [*parts.outputs()], node.output().type()))
        node.destroy()
        found = True
    return found


def _resolved(graph: Graph) -> bool:
    """Resolve one container, and return whether there was one."""
    known = [*nodes(graph)]
    changes = [node for node in known if node.kind() in _CHANGES and _is_container(node.inputsAt(0))]
    for node in changes:
        if node.kind() in _RETURN_IT:
            node.output().replaceAllUsesWith(node.inputsAt(0))
    aliased = any(node.inputsAt(0).node().kind() not in (_LIST, _DICT) for node in changes)
    for made in known:
        if made.kind() not in (_LIST, _DICT):
            continue
        users = [use.user for use in made.output().uses()]
        if not any(_changes(user, made.output()) or _is_dict_read(user, made) for user in users):
            continue
        if aliased and any(user.kind() in _HOLD_IT for user in users):
            continue
        contents = _Contents(graph=graph, made=made)
        try:
            contents.read()
        except _UnknownError:
            if contents.answers:
                return True
            continue
        _Contents(graph=graph, made=made, writes=True).read()
        return True
    return False


def _unpack(graph: Graph) -> None:
    """Read the items of tuples that the graph makes itself: the pairs of `items`."""
    for node in [*nodes(graph)]:
        if node.kind() == "prim::TupleUnpack" and node.inputsAt(0).node().kind() == "prim::TupleConstruct":
            for output, item in zip(node.outputs(), node.inputsAt(0).node().inputs(), strict=True):
                output.replaceAllUsesWith(item)


@dataclass(slots=True)
class _Contents:
    """What one container holds, from node to node of its block.

    Takes the container out of the graph if it `writes`; else, only what is asked of a dictionary before something is
    unknown: one of these `answers` may decide a branch.
    """

    graph: Graph
    made: Node
    writes: bool = False
    answers: int = 0
    items: list[Value] = field(default_factory=list)
    keys: list[Any] = field(default_factory=list)
    fresh: bool = True

    def read(self) -> None:
        """Go through its block.

        Raises:
            _UnknownError: something isn't known.
        """
        given = list(self.made.inputs())
        if self.is_dict:
            self.items, self.keys = given[1::2], [_known(key) for key in given[::2]]
        else:
            self.items = given
        block = self.made.owningBlock()
        later = [*block.nodes()]
        start = next(index for index, node in enumerate(later) if node is self.made)
        for node in (*later[start + 1 :], block.returnNode()):
            inner = [each for own in node.blocks() for each in (*nodes(own), own.returnNode())]
            for each in (*inner, node):
                if any(_same(value, self.value) for value in each.inputs()):
                    self._meet(each, node)

    @property
    def value(self) -> Value:
        return self.made.output()

    @property
    def is_dict(self) -> bool:
        return bool(self.made.kind() == _DICT)

    def _meet(self, node: Node, place: Node) -> None:
        """Let `node`, which is `place` or inside of it, change or read the container."""
        if _changes(node, self.value):
            if node is not place:
                raise _UnknownError
            self._change(node)
        elif not (self.is_dict and _is_dict_read(node, self.made) and self._answer(node)) and not self.fresh:
            self._put(node, place)

    def _put(self, node: Node, place: Node) -> None:
        """Let a node read a new container that holds the same."""
        if not self.writes:
            return
        given: list[Value] = []
        for index, item in enumerate(self.items):
            given += [constant(self.graph, place, self.keys[index]), item] if self.is_dict else [item]
        node.replaceInputWith(self.value, insert(self.graph, place, self.made.kind(), given, self.value.type()))

    def _answer(self, node: Node) -> bool:
        """Replace what a node reads of a dictionary if that's known, and return whether it is."""
        kind, inputs = node.kind(), list(node.inputs())
        if kind in ("aten::__getitem__", "aten::__contains__", "aten::get"):
            key = _known(inputs[1])
            if kind == "aten::__contains__":
                self._replace(node, constant(self.graph, node, key in self.keys))
            elif key in self.keys:
                self._replace(node, self.items[self.keys.index(key)])
            elif kind == "aten::get" and len(inputs) > 2:
                self._replace(node, inputs[2])
            else:
                return False
        elif kind == "aten::len":
            self._replace(node, constant(self.graph, node, len(self.items)))
        elif kind in ("aten::keys", "aten::values"):
            items = self.items if kind == "aten::values" else [constant(self.graph, node, key) for key in self.keys]
            self._replace(node, insert(self.graph, node, _LIST, items, node.output().type()))
        elif kind == "aten::items":
            each = node.output().type().getElementType()
            pairs = zip(self.keys, self.items, strict=True)
            tuples = [
                insert(self.graph, node, "prim::TupleConstruct", [constant(self.graph, node, key), item], each)
                for key, item in pairs
            ]
            self._replace(node, insert(self.graph, node, _LIST, tuples, node.output().type()))
        else:
            return False
        return True

    def _change(self, node: Node) -> None:
        """Do what a node does to the container."""
        change = (_DICT_CHANGES if self.is_dict else _LIST_CHANGES).get(node.kind().removeprefix("aten::"))
        if change is None:
            raise _UnknownError
        self.fresh = False
        gone = change(self, *list(node.inputs())[1:])
        if any(each.uses() for each in node.outputs()) and gone is None:
            raise _UnknownError
        if self.writes:
            if gone is not None:
                for output in node.outputs():
                    output.replaceAllUsesWith(gone)
            node.destroy()

    def _replace(self, node: Node, value: Value) -> None:
        self.answers += 1
        node.output().replaceAllUsesWith(value)
        node.destroy()

    def add(self, item: Value) -> None:
        self.items.append(item)

    def extend(self, other: Value) -> None:
        node = other.node()
        if node.kind() != _LIST or any(_changes(use.user, other) for use in other.uses()):
            raise _UnknownError
        self.items += node.inputs()

    def insert(self, place: Value, item: Value) -> None:
        self.items.insert(_known(place), item)

    def remove(self, place: Value | None = None) -> Value:
        """Remove what is at a place or has a key, by default the last, and return it."""
        known = -1 if place is None else _known(place)
        if self.is_dict:
            known = self.keys.index(known) if known in self.keys else len(self.items)
            del self.keys[known : known + 1]
        if not -len(self.items) <= known < len(self.items):
            raise _UnknownError
        return self.items.pop(known)

    def set(self, place: Value, item: Value) -> None:
        known = _known(place)
        if self.is_dict and known not in self.keys:
            self.keys.append(known)
            self.items.append(item)
            return
        known = self.keys.index(known) if self.is_dict else known
        if not -len(self.items) <= known < len(self.items):
            raise _UnknownError
        self.items[known] = item

    def update(self, other: Value) -> None:
        node = other.node()
        if node.kind() != _DICT or any(_changes(use.user, other) for use in other.uses()):
            raise _UnknownError
        given = list(node.inputs())
        for key, item in zip(given[::2], given[1::2], strict=True):
            self.set(key, item)

    def clear(self) -> None:
        self.items, self.keys = [], []

    def reverse(self) -> None:
        self.items.reverse()


_LIST_CHANGES: Mapping[str, Callable[..., Value | None]] = {
    "append": _Contents.add,
    "extend": _Contents.extend,
    "add_": _Contents.extend,
    "insert": _Contents.insert,
    "pop": _Contents.remove,
    "Delete": _Contents.remove,
    "_set_item": _Contents.set,
    "clear": _Contents.clear,
    "reverse": _Contents.reverse,
}
_DICT_CHANGES: Mapping[str, Callable[..., Value | None]] = {
    "_set_item": _Contents.set,
    "pop": _Contents.remove,
    "Delete": _Contents.remove,
    "update": _Contents.update,
    "clear": _Contents.clear,
}


def _is_container(value: Value) -> bool:
    return value.type().kind() in ("ListType", "DictType")


def _same(one: Value, other: Value) -> bool:
    return bool(one.debugName() == other.debugName())


def _changes(node: Node, value: Value) -> bool:
    return node.kind() in _CHANGES and _same(node.inputsAt(0), value)


def _is_dict_read(node: Node, made: Node) -> bool:
    reads = ("__getitem__", "__contains__", "get", "len", "keys", "values", "items")
    return bool(
        made.kind() == _DICT and node.kind().removeprefix("aten::") in reads and _same(node.inputsAt(0), made.output())
    )


def _known(value: Value) -> Any:
    """Return a constant.

    Raises:
        _UnknownError: the model computes it.
    """
    held = value.toIValue()
    if held is None:
        raise _UnknownError
    return held
