"""Compares the inputs and outputs that the user declared with those of the model.

Pure: knows no framework and no file. Matches by name if the names agree, and otherwise by position.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from navigator.errors import ReturnedError, StepError
from navigator.models.declared import contradictions, difference, written
from navigator.records import TensorSpec

_INDEX = re.compile(r"__(\d+)$")


def in_model_order(declared: Sequence[TensorSpec], names: Sequence[str]) -> tuple[TensorSpec, ...]:
    """Return the declared tensors in the order in which the model takes or returns them.

    By name if the declared names are the model's own; otherwise by index if all names follow the convention
    `<name>__<index>`; otherwise as declared.

    Args:
        declared: the user's declaration.
        names: the model's own names, in its order.
    """
    by_name = {spec.name: spec for spec in declared}
    if len(by_name) == len(declared) and set(by_name) == set(names):
        return tuple(by_name[name] for name in names)
    indices = [int(found[1]) for spec in declared if (found := _INDEX.search(spec.name))]
    if sorted(indices) == list(range(len(declared))):
        return tuple(spec for _, spec in sorted(zip(indices, declared, strict=True), key=lambda pair: pair[0]))
    return tuple(declared)


def named_apart(outputs: Sequence[str], inputs: Collection[str]) -> list[str]:
    """Return the names of a model's outputs, with `_out` behind those that inputs have: ONNX needs different names."""
    names: list[str] = []
    for name in outputs:
        own = name
        while name in inputs or (name != own and name in outputs):
            name += "_out"
        names.append(name)
    return names


def doubled(specs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    """Return inputs or outputs as they're in float64."""
    return tuple(replace(each, dtype="float64") if each.dtype == "float32" else each for each in specs)


def adopted(kind: str, declared: Sequence[TensorSpec], own: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """Return the model's own tensors under the declared names, with the sizes that are static on either side.

    Args:
        kind: "inputs" or "outputs", for the message.
        declared: the user's declaration, may be empty.
        own: the model's signature, in its order.

    Raises:
        StepError: another number of tensors, another dtype, or another shape.
    """
    if not declared:
        return tuple(own)
    if len(declared) != len(own):
        raise StepError(
            f"{kind}: {len(declared)} declared, but the model has {len(own)}",
            f"set `{kind}: {written(own)}`",
        )
    ordered = in_model_order(declared, [spec.name for spec in own])
    wrong = [
        text
        for ours, theirs in zip(ordered, own, strict=True)
        if (text := difference(ours, theirs.shape, theirs.dtype))
    ]
    if wrong:
        raise StepError(f"{kind}: {'; '.join(wrong)}", f"set `{kind}: {written(own)}`")
    return tuple(
        TensorSpec(name=ours.name, shape=_narrower(ours, theirs), dtype=theirs.dtype)
        for ours, theirs in zip(ordered, own, strict=True)
    )


def agreed(
    kind: str, declared: Sequence[TensorSpec], own: Sequence[TensorSpec], owner: str = "the model"
) -> tuple[TensorSpec, ...]:
    """Return the tensors of a model that stores their names, with static sizes from `declared` too.

    Args:
        kind: "inputs" or "outputs", for the message.
        declared: the user's declaration, may have fewer tensors.
        own: the model's signature, in its order.
        owner: whose they are, for the message.

    Raises:
        StepError: a name that the model does not have, another dtype, or another shape.
    """
    wrong = list(contradictions(kind, declared, own, owner).values())
    if wrong:
        raise StepError(f"{kind}: {'; '.join(wrong)}", f"remove {kind}, or set `{kind}: {written(own)}`")
    wanted = {spec.name: spec for spec in declared}
    return tuple(
        TensorSpec(name=spec.name, shape=_narrower(wanted.get(spec.name, spec), spec), dtype=spec.dtype) for spec in own
    )


def returned(declared: tuple[TensorSpec, ...], seen: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    """Return the declared outputs in the order in which the model returns them.

    Raises:
        ReturnedError: the model returns other outputs.
    """
    if len(declared) != len(seen):
        raise ReturnedError(
            f"outputs: {len(declared)} declared ({', '.join(spec.name for spec in declared)}), "
            f"but the model returns {len(seen)}",
            f"set outputs to what it returns, with -1 for a dynamic axis: `outputs: {written(seen)}`",
        )
    ordered = in_model_order(declared, [spec.name for spec in seen])
    pairs = zip(ordered, seen, strict=True)
    wrong = [text for ours, theirs in pairs if (text := difference(ours, theirs.shape, theirs.dtype))]
    if wrong:
        raise ReturnedError(
            f"outputs: {'; '.join(wrong)}",
            f"set outputs to what it returns, with -1 for a dynamic axis: `outputs: {written(seen)}`",
        )
    return ordered


def widened(before: tuple[TensorSpec, ...], seen: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    """Return outputs that cover earlier and current ones: -1 for axes that differ."""
    known = {spec.name: spec.shape for spec in before}
    return tuple(
        TensorSpec(name=spec.name, shape=_covering(known.get(spec.name, spec.shape), spec.shape), dtype=spec.dtype)
        for spec in seen
    )


def shapes(tensors: Mapping[str, tuple[int, ...]]) -> str:
    """Return named shapes for a message: `x [3, 4], mask [3]`."""
    return ", ".join(f"{name} {list(shape)}" for name, shape in tensors.items())


def _narrower(declared: TensorSpec, own: TensorSpec) -> tuple[int, ...] | None:
    if declared.shape is None or own.shape is None:
        return own.shape or declared.shape
    return tuple(ours if theirs == -1 else theirs for ours, theirs in zip(declared.shape, own.shape, strict=True))


def _covering(one: tuple[int, ...] | None, other: tuple[int, ...] | None) -> tuple[int, ...] | None:
    if one is None or other is None or len(one) != len(other):
        return None
    return tuple(ours if ours == theirs else -1 for ours, theirs in zip(one, other, strict=True))
