"""A navigator.yaml to start from, with comments that say what is known of the models. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap

import yaml

from navigator.converters import CONVERTERS
from navigator.models.texts import text_for_engines
from navigator.records import TEXT, Description, Format, TensorSpec
from navigator.render.description import limits, shape
from navigator.render.text import clean
from navigator.render.values import size

_WIDTH = 100
_HEAD = """\
# yaml-language-server: $schema={schema}
# What to convert, and how to verify it. Paths are relative to this file.
# `model-navigator convert --help` lists all options.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Starter:
    """A model to begin with: its name, its path as the file shall have it, and what is known of it.

    `found` are lines of YAML with what was found by running it, and `why` the sentences on them.
    """

    name: str
    path: str
    description: Description
    found: tuple[str, ...] = ()
    why: tuple[str, ...] = ()


def starter(models: Sequence[Starter], *, schema: str) -> str:
    """Return the text of a navigator.yaml: one model with its options at the top level, or several in a list."""
    head = _HEAD.format(schema=clean(schema))
    if len(models) == 1:
        return f"{head}\n" + "".join(f"{line}\n".lstrip(" ") for line in _model(models[0]))
    blocks = ["".join(f"    {line}".rstrip() + "\n" for line in _model(each)) for each in models]
    return f"{head}\nmodels:\n" + "\n".join(block.replace("    model_name", "  - model_name", 1) for block in blocks)


def _model(model: Starter) -> Iterator[str]:
    described = model.description
    yield f"model_name: {_scalar(model.name)}"
    yield f"model_path: {_scalar(model.path)}"
    yield from _comment(f"{described.model_format}, {size(described.size_bytes)}", *_facts(described))
    yield ""
    others = "" if text_for_engines(described) else f" Also possible: {', '.join(_others(described.model_format))}"
    yield from _comment(f"The formats that must pass.{others}")
    yield from _comment(*described.notes)
    yield f"target_formats: [{Format.ONNX}]"
    yield ""
    if model.found:
        yield from _comment("Found by running the model; change what you know better.", *model.why)
        yield from model.found
        yield ""
    elif model.why:
        yield from _comment("Shapes:", *model.why)
        yield ""
    if described.signature_names and len(described.signature_names) > 1:
        yield f"signature_name: {_scalar(described.signature_name)}"
        yield ""
    drawn = "random: floats from 0 to 1, integers as the model's graph suggests"
    if {spec.dtype for spec in described.inputs or ()} == {TEXT}:
        drawn = "texts that the model knows"
    yield from _comment(f"By default, inputs are {drawn}. Your own prove more:")
    floats = [spec for spec in described.inputs or () if spec.dtype.startswith("float")]
    if floats:
        yield f"# value_ranges: {{{_scalar(floats[0].name)}: [-2, 2]}}"
    yield "# samples: [samples/one.npz]"


def _others(source: Format) -> list[Format]:
    """Return the formats that a model can become beside ONNX, itself or by way of ONNX."""
    own, through = (
        {edge.TARGET for edge in CONVERTERS.values() if edge.SOURCE is each} for each in (source, Format.ONNX)
    )
    return sorted((own | through) - {Format.ONNX})


def _facts(described: Description) -> Iterator[str]:
    for kind, specs in (("input", described.inputs), ("output", described.outputs)):
        for spec in (each for each in specs or () if each.dtype):
            yield f"{kind} {clean(spec.name)}: {_type(spec, described)}"
    for name, each in described.values.items():
        yield f"values of {clean(name)}: {each.low:g} to {each.high:g} ({clean(each.why)})"
    for name, text in limits(described).items():
        yield f"{name}: {text}"


def _type(spec: TensorSpec, described: Description) -> str:
    if spec.shape is None:
        return f"{clean(spec.dtype)} of any rank"
    sizes = ", ".join("?" if each == -1 else clean(str(each)) for each in shape(spec, described.axes))
    return f"{clean(spec.dtype)} [{sizes}]"


def _comment(*sentences: str) -> Iterator[str]:
    for sentence in dict.fromkeys(sentences):
        yield from (f"# {line}" for line in wrap(sentence, _WIDTH, break_on_hyphens=False) or [""])


def _scalar(text: str) -> str:
    """Return a text as YAML that is read as this text again, in flow mappings too."""
    plain = all(each.isalnum() or each in "_./-" for each in text) and yaml.safe_load(f"[{text}]") == [text]
    if plain and not text.startswith("-"):
        return text
    return str(yaml.safe_dump(text, default_style='"', width=2**31)).strip()
