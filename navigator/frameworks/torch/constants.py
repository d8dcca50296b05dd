"""Which weights a torch graph computes others from before it uses them."""

from collections.abc import Iterable, Mapping
from typing import Any

from navigator.frameworks.torch import lookups
from navigator.models.stored import Computed, Constants, Effect

# A torch object; the types of the package differ between supported versions.
_Torch = Any

# Numbers stay as they are.
_MOVING = frozenset(
    {
        *(f"aten::{name}" for name in ("alias", "broadcast_to", "chunk", "clone", "contiguous", "detach")),
        *(f"aten::{name}" for name in ("detach_", "expand", "expand_as", "flatten", "lift_fresh")),
        *(f"aten::{name}" for name in ("lift_fresh_copy", "movedim", "narrow", "numpy_T", "permute")),
        *(f"aten::{name}" for name in ("reshape", "select", "slice", "split", "split_with_sizes", "squeeze")),
        *(f"aten::{name}" for name in ("t", "transpose", "unbind", "unflatten", "unsqueeze", "view", "view_as")),
        *(f"prim::{name}" for name in ("ListConstruct", "ListUnpack", "TupleConstruct", "TupleUnpack", "TupleIndex")),
        *("aten::__getitem__", "prim::unchecked_cast", "prim::unchecked_unwrap_optional"),
    }
)


def of_script(module: _Torch) -> Computed:
    """Return the weights that a TorchScript module computes others from, by the paths of their attributes."""
    graph = module.inlined_graph
    constants = Constants()
    _note(graph, module, next(graph.inputs()), constants)
    return _with_aliases(constants, module.state_dict(keep_vars=True))


def of_program(program: _Torch) -> Computed:
    """Return the weights that a torch.export program computes others from, by their names in the program."""
    signature = program.graph_signature
    lifted = signature.inputs_to_lifted_tensor_constants
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers, **lifted}
    constants = Constants({node: frozenset({name}) for node, name in names.items()})
    for node in program.graph.nodes:
        if node.op in ("call_function", "get_attr"):
            constants.note(_effect_of_call(node), [each.name for each in node.all_input_nodes], [node.name])
    return _with_aliases(constants, {**program.state_dict, **program.constants})


def _effect_of_call(node: _Torch) -> Effect:
    schema = getattr(node.target, "_schema", None)
    # `getitem` takes a tensor out of several.
    if getattr(schema, "name", "") in _MOVING or getattr(node.target, "__name__", "") == "getitem":
        return Effect.MOVES
    made = node.meta.get("val")
    tensors = made if isinstance(made, list | tuple) else [made]
    return Effect.COMPUTES if any(hasattr(each, "dtype") for each in tensors) else Effect.TELLS


def _note(block: _Torch, module: _Torch, own: _Torch, constants: Constants) -> None:
    """Note the operations of a graph, or of a block in it."""
    for node in block.nodes():
        kind, outputs = node.kind(), [each.debugName() for each in node.outputs()]
        for inner in node.blocks():
            _note(inner, module, own, constants)
        if kind in ("prim::GetAttr", "prim::Constant"):
            constants.origins[outputs[0]] = frozenset(_origin(node, module, own))
        elif kind == "prim::If":
            for made in zip(outputs, *(inner.outputs() for inner in node.blocks()), strict=True):
                constants.note(Effect.MOVES, [each.debugName() for each in made[1:]], [made[0]])
        elif kind != "prim::Loop":
            constants.note(_effect(node), [each.debugName() for each in node.inputs()], outputs)


def _effect(node: _Torch) -> Effect:
    if node.kind() in _MOVING:
        return Effect.MOVES
    return Effect.COMPUTES if any("Tensor" in str(each.type()) for each in node.outputs()) else Effect.TELLS


def _origin(node: _Torch, module: _Torch, own: _Torch) -> Iterable[str | int]:
    """Return the name of a tensor, or the size of one in the code; nothing for what isn't one."""
    if node.kind() == "prim::Constant":
        value = node.output().toIValue()
        return [int(value.numel())] if hasattr(value, "numel") else []
    read = node.output()
    return [lookups.path(read, own)] if hasattr(lookups.attribute(read, own, module), "numel") else []


def _with_aliases(constants: Constants, tensors: Mapping[str, _Torch]) -> Computed:
    """Return what's computed with, under all names that these tensors have."""
    places = {name: each.data_ptr() for name, each in tensors.items() if hasattr(each, "data_ptr")}
    used = {places[name] for name in constants.used if isinstance(name, str) and name in places}
    constants.used |= {name for name, place in places.items() if place in used}
    return constants.computed()
