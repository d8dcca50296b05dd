"""What a probe found of a model's inputs: completes a configuration with it, and writes it for people. Pure."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from navigator.errors import listed
from navigator.records import FoundShapes, ModelConfig, TensorSpec
from navigator.samples.ladder import Kind, Ladder, Levels
from navigator.samples.shapes import yaml_key
from navigator.samples.symbols import Shape, short

KEEP = "to keep this, add to the model in navigator.yaml"

_LARGEST = {
    Kind.BATCH: "the default of max_batch_size",
    Kind.SIDE: "the largest that was tried",
    Kind.LENGTH: "the largest that was tried",
}


def completed(
    config: ModelConfig, asked: Ladder, low: Levels, high: Levels, step: Mapping[Kind, int], why: Sequence[str]
) -> FoundShapes:
    """Return the shapes of a model's dynamic inputs: the user's, and those that were found.

    Args:
        config: the user's shapes.
        asked: the sizes that were found.
        low: the smallest size of each kind.
        high: the largest one.
        step: how far apart sizes are that the model takes; unless it's 1, the opt shapes are sizes in between.
        why: a sentence for each size.
    """
    dynamic = [name for name, frame in asked.frames.items() if -1 in frame]
    found, most = asked.shapes(low), asked.shapes(high)
    largest = {name: config.max_shapes.get(name, most[name]) for name in dynamic}
    smallest = {
        name: config.min_shapes.get(name) or tuple(map(min, found[name], config.opt_shapes.get(name, largest[name])))
        for name in dynamic
    }
    middle = {kind: low[kind] + (high[kind] - low[kind]) // size // 2 * size for kind, size in step.items() if size > 1}
    usual = asked.shapes({**high, **middle})
    usual = {name: usual[name] for name in dynamic} if middle and not config.opt_shapes else dict(config.opt_shapes)
    return FoundShapes(
        model_name=config.model_name,
        min_shapes=smallest,
        opt_shapes=usual,
        max_shapes=largest,
        why=tuple(why),
    )


SMALLER_REFUSED, LARGER_REFUSED = "smaller ones are refused", "larger ones are refused"
"""Why a range ends where the model takes no more."""


def explained(
    asked: Ladder,
    low: Levels,
    high: Levels,
    step: Mapping[Kind, int],
    reasons: Mapping[tuple[Kind, str], str],
) -> tuple[str, ...]:
    """Return a sentence for each range of sizes: of which axes it is, and why it ends where it does.

    Args:
        asked: the sizes that were found.
        low: the smallest size of each kind.
        high: the largest one.
        step: how far apart sizes are that the model takes.
        reasons: why a kind's `low` and `high` are what they are, as far as running the model shows it.
    """
    groups: dict[str, list[str]] = {}
    smallest, largest = asked.shapes(low), asked.shapes(high)
    for size in asked.sizes:
        for name, axis in size.places:
            least, most = smallest[name][axis], largest[name][axis]
            kind = size.kind
            if size.limited and least <= size.low:
                continue  # the user's
            told = [reasons.get((kind, "low"), "") if least > size.low else "", reasons.get((kind, "high"), "")]
            if size.limited:
                told[1] = ""
            elif size.high == most:
                told[1] = "the model's file has no larger ones"
            elif not told[1]:
                told[1] = _LARGEST[kind]
            between = f" in steps of {step[kind]}" if step.get(kind, 1) > 1 and most - least > step[kind] else ""
            range_ = f"{least} to {most}{between}" if least < most else f"only {least}"
            refused = told == [SMALLER_REFUSED, LARGER_REFUSED]
            why = "others are refused" if refused and least == most else ", ".join(filter(None, told))
            groups.setdefault(f"{range_} ({why})" if why else range_, []).append(f"{listed([name])}[{axis}]")
    return tuple(f"{short(axes, ', ')}: {text}" for text, axes in groups.items())


def finding(found: FoundShapes) -> str:
    """Return what was found, for the notes of a report."""
    told = (*_signature(found), *found.why)
    return f"found by running the model: {'; '.join(told) or 'sizes within the limits that you set'}"


def block(found: FoundShapes) -> Iterator[str]:
    """Yield the lines of a navigator.yaml that keep what was found, so that it needn't be found again."""
    if found.inputs:
        yield f"inputs: [{', '.join(map(_written, found.inputs))}]"
    if found.arguments:
        values = (f"{yaml_key(name)}: {_text(value)}" for name, value in found.arguments.items())
        yield f"arguments: {{{', '.join(values)}}}"
    for key in ("min_shapes", "opt_shapes", "max_shapes"):
        shapes: Mapping[str, Shape] = getattr(found, key)
        if shapes:
            yield f"{key}: {{{', '.join(f'{yaml_key(name)}: {list(shape)}' for name, shape in shapes.items())}}}"


def _signature(found: FoundShapes) -> Iterator[str]:
    if found.arguments:
        yield ", ".join(f"{name} is {value or repr(value)}" for name, value in found.arguments.items())
    if found.inputs:
        yield ", ".join(f"{spec.name} is {spec.dtype} {list(spec.shape or ())}" for spec in found.inputs)


def _text(value: str) -> str:
    """Return the value of an argument as YAML: numbers as they are, other text in quotes."""
    return value if re.fullmatch(r"-?\d[\d.e+-]*|true|false", value) else json.dumps(value)


def _written(spec: TensorSpec) -> str:
    return json.dumps(f"{spec.name}:{','.join(map(str, spec.shape or ()))}:{spec.dtype}")


def with_found(config: ModelConfig, found: FoundShapes | None) -> ModelConfig:
    """Return the configuration as if the user had written what was found."""
    if found is None:
        return config
    given = replace(config, inputs=found.inputs or config.inputs, arguments={**config.arguments, **found.arguments})
    if not found.max_shapes:
        return given
    return replace(given, min_shapes=found.min_shapes, opt_shapes=found.opt_shapes, max_shapes=found.max_shapes)
