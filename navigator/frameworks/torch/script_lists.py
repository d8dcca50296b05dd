"""Lists of a TorchScript graph that grow in its loops, as torch's exporter takes them: of tensors, and never reversed.

It refuses lists of tuples, and forgets to reverse a list (2.13). Remove it once a scripted module is exported right
that collects pairs in a loop, and one that reverses what it collected.
"""

from navigator.frameworks.torch.script_nodes import Graph, Node, Value, constant, insert, nodes

_LIST, _TUPLE = "prim::ListConstruct", "prim::TupleConstruct"
_APPEND, _ITEM, _LENGTH = "aten::append", "aten::__getitem__", "aten::len"


def split_tuples(graph: Graph) -> None:
    """Make a list of tuples of tensors that grows several lists."""
    for made in [node for node in nodes(graph) if node.kind() == _LIST and _holds_tuples(node.output())]:
        users = [use.user for use in made.output().uses()]
        added = [user.inputsAt(1) for user in users if user.kind() == _APPEND]
        plain = all(user.kind() in (_ITEM, _LENGTH) or _only_appends(user) for user in users)
        if plain and added and all(each.node().kind() == _TUPLE for each in (*made.inputs(), *added)):
            _split(graph, made, users)


def turn_lists(graph: Graph) -> None:
    """Copy each list that is reversed, from its end to its beginning."""
    for node in [*nodes(graph)]:
        if node.kind() == "aten::reverse" and node.inputsAt(0).node().kind() == _LIST:
            _turn(graph, node)


def _holds_tuples(value: Value) -> bool:
    held = value.type().getElementType()
    return held.kind() == "TupleType" and all(each.kind() == "TensorType" for each in held.elements())


def _only_appends(node: Node) -> bool:
    return node.kind() == _APPEND and not node.output().uses()


def _split(graph: Graph, made: Node, users: list[Node]) -> None:
    import torch

    pair = made.output().type().getElementType()
    kinds = pair.elements()
    given = [[each.node().inputsAt(place) for each in made.inputs()] for place in range(len(kinds))]
    lists = [
        insert(graph, made, _LIST, items, torch._C.ListType(kind)) for kind, items in zip(kinds, given, strict=True)
    ]
    for user in users:
        if user.kind() == _APPEND:
            for each, item in zip(lists, user.inputsAt(1).node().inputs(), strict=True):
                insert(graph, user, _APPEND, [each, item], each.type())
        elif user.kind() == _LENGTH:
            user.output().replaceAllUsesWith(insert(graph, user, _LENGTH, lists[:1], user.output().type()))
        else:
            items = [
                insert(graph, user, _ITEM, [each, user.inputsAt(1)], kind)
                for each, kind in zip(lists, kinds, strict=True)
            ]
            user.output().replaceAllUsesWith(insert(graph, user, _TUPLE, items, pair))
        user.destroy()
    made.destroy()


def _turn(graph: Graph, node: Node) -> None:
    """Let all that comes after read a copy, if the list was made in the same block."""
    import torch

    given = node.inputsAt(0)
    block = [*given.node().owningBlock().nodes()]
    place = next((index for index, each in enumerate(block) if each == node), None)
    if place is None:
        return
    whole = torch._C.IntType.get()
    copy = insert(graph, node, _LIST, [], given.type())
    length = insert(graph, node, _LENGTH, [given], whole)
    true, one = constant(graph, node, True), constant(graph, node, 1)
    loop = graph.create("prim::Loop", [length, true], 0)
    loop.insertBefore(node)
    turn = loop.addBlock()
    index = turn.addInputToBlock()
    index.setType(whole)

    def add(kind: str, inputs: list[Value], type_: object) -> Value:
        made = turn.addNode(kind, inputs)
        made.output().setType(type_)
        return made.output()

    left = add("aten::sub", [length, index], whole)
    item = add(_ITEM, [given, add("aten::sub", [left, one], whole)], given.type().getElementType())
    add(_APPEND, [copy, item], given.type())
    turn.registerOutput(true)
    for later in (*block[place + 1 :], given.node().owningBlock().returnNode()):
        inner = [each for own in later.blocks() for each in (*nodes(own), own.returnNode())]
        for each in (*inner, later):
            each.replaceInputWith(given, copy)
    node.destroy()
