"""Tells how declared inputs and outputs contradict a model's own, and how to declare them. Pure."""

from collections.abc import Mapping, Sequence

from navigator.records import TensorSpec


def contradictions(
    kind: str, declared: Sequence[TensorSpec], own: Sequence[TensorSpec], owner: str = "the model"
) -> Mapping[str, str]:
    """Return what is wrong with declared tensors of a model that stores their names, by name.

    Args:
        kind: "inputs" or "outputs".
        declared: the user's declaration, may have fewer tensors.
        own: the model's signature; a dtype of "" isn't known.
        owner: whose they are, for the message.
    """
    known = {spec.name: spec for spec in own}
    found = {
        spec.name: difference(spec, known[spec.name].shape, known[spec.name].dtype or spec.dtype)
        if spec.name in known
        else f"{spec.name} is declared, but {owner} has no {kind.removesuffix('s')} of that name"
        for spec in declared
    }
    return {name: text for name, text in found.items() if text}


def difference(declared: TensorSpec, shape: Sequence[int] | None, dtype: str) -> str:
    """Return how `declared` contradicts a real tensor or the model's own signature (-1: dynamic), or "".

    A declared -1 agrees with any size; a declared size agrees with a dynamic axis.
    """
    if declared.dtype != dtype:
        return f"{declared.name} is declared as {declared.dtype}, but the model has {dtype}"
    if declared.shape is None or shape is None:
        return ""
    axes = zip(declared.shape, shape, strict=False)
    if len(declared.shape) == len(shape) and all(ours == theirs or -1 in {ours, theirs} for ours, theirs in axes):
        return ""
    return f"{declared.name} is declared as {list(declared.shape)}, but the model has {list(shape)}"


def written(specs: Sequence[TensorSpec]) -> str:
    """Return `specs` in the notation of navigator.yaml."""
    return "[" + ", ".join(f'"{spec.name}:{axes(spec.shape)}:{spec.dtype}"' for spec in specs) + "]"


def axes(shape: Sequence[int] | None) -> str:
    """Return a shape in the notation of navigator.yaml."""
    return ",".join(str(size) for size in shape or ())
