"""Recurrent state: which outputs of a model are fed back as inputs, by their names or as the user declares them.

A model has a state if an output feeds an input of the same dtype and rank: `h` and `hn`, `state` and `new_state`,
`past_key_values.0.key` and `present.0.key`. Pure; knows signatures and shapes, and no values.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from navigator.errors import StepError, listed
from navigator.records import Auto, Signature, TensorSpec

Feeds = Mapping[str, str]
"""The input that each fed-back output feeds."""

# What marks one name of a pair. `new` and the like mean a step in time, `out` any output.
_BEFORE = frozenset({"prev", "previous", "old", "past"})
_AFTER = frozenset({"new", "next", "present", "updated"})
_IN = frozenset({"in", "input", "init", "initial", "i", "cur", "current"})
_OUT = frozenset({"out", "output", "o", "n", "t", "final", "last"})
_MARKS = _BEFORE | _AFTER | _IN | _OUT

# What only states are called.
_STATES = re.compile(
    "accumulator|buffers?|c|cached?|caches|carry|cells?|context|count(er)?|cx|ema|gru|h|hidden|history|hx|kv|lstm|mem|"
    "memory|memories|recurrent|rnn|s|states?"
)

# Hugging Face's name for the output of a layer stack, whose input `hidden_states` isn't its state.
_NO_STATES = frozenset({"last_hidden_state", "encoder_hidden_states", "decoder_hidden_states"})

# `past_key_values` is `present` on the other side.
_CACHES = re.compile(r"(past|present)_(key_values?|kv)(?=$|[^a-z])", re.IGNORECASE)


def feeds(states: Feeds | Auto, signature: Signature) -> Feeds:
    """Return the states that the user declares, or else those that the names show.

    Args:
        states: the inputs by the outputs that feed them, or `auto`.
        signature: of the source model, after it has run.

    Raises:
        StepError: a declared name isn't in the signature, or the two can't be one state.
    """
    if states == "auto":
        return _found(signature)
    inputs = {spec.name: spec for spec in signature.inputs}
    outputs = {spec.name: spec for spec in signature.outputs}
    for output, fed in states.items():
        for kind, name, known in (("output", output, outputs), ("input", fed, inputs)):
            if name not in known:
                raise StepError(f"states: the model has no {kind} {name!r}", f"the model's {kind}s are {listed(known)}")
        if not _fits(outputs[output], inputs[fed]):
            raise StepError(
                f"states: output {output!r} ({_shown(outputs[output])}) can't feed input {fed!r} "
                f"({_shown(inputs[fed])})",
                "name an output of the same shape and dtype, as output: input",
            )
    doubled = [name for name in inputs if list(states.values()).count(name) > 1]
    if doubled:
        raise StepError(f"states: two outputs feed input {doubled[0]!r}", "leave one of them out")
    return states


def growing(before: Sequence[int], after: Sequence[int], spec: TensorSpec) -> int | None:
    """Return the axis along which a state grows from `before` to `after`, as a key-value cache does, or None."""
    axes = [axis for axis, (one, other) in enumerate(zip(before, after, strict=True)) if one != other]
    if len(before) != len(after) or len(axes) != 1 or before[axes[0]] > after[axes[0]]:
        return None
    return axes[0] if spec.shape is None or spec.shape[axes[0]] == -1 else None


def _found(signature: Signature) -> Feeds:
    inputs = {spec.name: _parted(spec.name) for spec in signature.inputs}
    pairs = [
        (output.name, spec.name)
        for output in signature.outputs
        for spec in signature.inputs
        if _fits(output, spec) and _are_a_pair(spec.name, inputs[spec.name], output.name, _parted(output.name))
    ]
    sure = {
        output: fed
        for output, fed in pairs
        if _times(fed for _, fed in pairs)[fed] == 1 and _times(name for name, _ in pairs)[output] == 1
    }
    # `image_in` and `image_out` may be all that a model has. What isn't called a state has other tensors beside it.
    inputs_beside, outputs_beside = len(sure) < len(signature.inputs), len(sure) < len(signature.outputs)
    return {
        output: fed
        for output, fed in sure.items()
        if _is_called_a_state(inputs[fed])
        or (inputs_beside and outputs_beside)
        or (_is_a_step(inputs[fed], _parted(output)) and (inputs_beside or outputs_beside))
    }


def _times(names: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        found[name] = found.get(name, 0) + 1
    return found


def _fits(output: TensorSpec, fed: TensorSpec) -> bool:
    """Return whether an output may feed an input as far as the signature says: dynamic axes may be any size."""
    if output.dtype != fed.dtype:
        return False
    if output.shape is None or fed.shape is None:
        return True
    sizes = zip(output.shape, fed.shape, strict=False)
    return len(output.shape) == len(fed.shape) and all(one == other or -1 in (one, other) for one, other in sizes)


def _are_a_pair(fed: str, before: Sequence[str], output: str, after: Sequence[str]) -> bool:
    """Return whether names mean the same state before and after a step."""
    if _NO_STATES & {fed.lower(), output.lower()}:
        return False
    stem = _stem(before)
    if stem != _stem(after):
        # `h0` and `hn`, as PyTorch's documentation calls them: the initial state and the last.
        if not (before[-1:] == ["0"] and after[-1:] == ["n"] and stem[:-1] == _stem(after)):
            return False
        stem = stem[:-1]
    if not stem:
        # `past` and `present` alone
        return bool(_BEFORE & {*before}) and bool(_AFTER & {*after})
    marked_in, marked_out = {*before} & _MARKS, {*after} & _MARKS
    if marked_in & (_AFTER | {"out", "output"}) or marked_out & (_BEFORE | {"in", "input"}):
        return False
    if _is_a_step(before, after):
        return True
    return bool(marked_in & _IN and marked_out & _OUT) or (
        _is_called_a_state(before) and (fed == output or bool(marked_in or marked_out))
    )


def _is_a_step(before: Iterable[str], after: Iterable[str]) -> bool:
    """Return whether names say that time passes between them."""
    return bool(_BEFORE & {*before} or _AFTER & {*after})


def _is_called_a_state(words: Iterable[str]) -> bool:
    return any(_STATES.fullmatch(word) for word in words)


def _stem(words: Sequence[str]) -> list[str]:
    return [word for word in words if word not in _MARKS]


def _parted(name: str) -> list[str]:
    """Return the words of a name in lower case: `past_key_values.0.key`, `newState2`, `hn` and `r1i` are several."""
    plain = _CACHES.sub(lambda found: found[1], name.split(":")[0])
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", plain)
    words = re.findall(r"[a-z]+|[0-9]+", plain.lower())
    # The letter after a short name or a number: `hn`, `cn`, `r1o`.
    split: list[str] = []
    for word in words:
        short = len(word) == 2 and word[0] in "hcs" and word[1] in "nio"
        split += [*word] if short else [word]
    return split


def _shown(spec: TensorSpec) -> str:
    return f"{spec.dtype}, shape {'unknown' if spec.shape is None else list(spec.shape)}"
