"""A model's description as text and as JSON. Pure. Removes control characters from untrusted text."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from navigator.records import AxisSpec, Description, Json, TensorSpec, to_data
from navigator.render.columns import aligned, wrapped
from navigator.render.text import clean, shorten
from navigator.render.values import size

_OPERATORS = 12


def as_text(described: Description, path: Path, columns: int | None = None) -> str:
    """Return a description as lines of text of at most `columns`, as far as names allow that."""
    return "".join(f"{line}\n" for line in wrapped(_lines(described, path), columns))


def as_json(described: Description, path: Path) -> Json:
    """Return a description as plain data: sizes of shapes are numbers, names, or -1 for dynamic axes without a name."""
    data = to_data(described)
    axes = data.pop("axes")
    values = data.pop("values")
    for kind in ("inputs", "outputs"):
        for spec, tensor in zip(getattr(described, kind) or (), data[kind] or (), strict=True):
            tensor["shape"] = None if spec.shape is None else shape(spec, described.axes)
            tensor["ranges"] = _ranges(axes.get(spec.name, ()))
            if kind == "inputs":
                tensor["values"] = values.get(spec.name)
    return {"path": str(path), **data, "dynamic_axes": list(_dynamic(described))}


def shape(spec: TensorSpec, axes: Mapping[str, Sequence[AxisSpec]]) -> list[int | str]:
    """Return the sizes of a tensor whose rank is known: a number, a name, or -1."""
    named = [axis.size for axis in axes.get(spec.name, ())]
    names = named if len(named) == len(spec.shape or ()) else [""] * len(spec.shape or ())
    return [name if length == -1 and name else length for length, name in zip(spec.shape or (), names, strict=True)]


def limits(described: Description) -> dict[str, str]:
    """Return the range of each name that sizes are written with, as words."""
    ranges = {name: each for axes in described.axes.values() for axis in axes for name, each in axis.ranges.items()}
    return {
        clean(name): f"from {low:,}" if high is None else f"{low:,} to {high:,}" for name, (low, high) in ranges.items()
    }


def _lines(described: Description, path: Path) -> Iterator[str]:
    facts = [str(described.model_format), size(described.size_bytes)]
    facts += [f"opset {version} of {clean(domain)}" for domain, version in described.opsets.items()]
    facts += [f"written by {clean(described.producer)}"] if described.producer else []
    yield f"{clean(str(path))}: {', '.join(facts)}"
    if described.signature_name:
        others = [name for name in described.signature_names if name != described.signature_name]
        more = f" (others: {', '.join(map(clean, others))})" if others else ""
        yield f"signature: {clean(described.signature_name)}{more}"
    yield from _tensors("inputs", described.inputs, described)
    yield from _tensors("outputs", described.outputs, described)
    if ranges := limits(described):
        yield f"ranges: {'; '.join(f'{name} {text}' for name, text in ranges.items())}"
    for name, each in described.values.items():
        yield f"values of {clean(name)}: {each.low:g} to {each.high:g} ({clean(each.why)})"
    yield from _operators(described)
    for sentence in described.notes:
        yield f"note: {clean(sentence)}"
    for sentence in described.unknown:
        yield f"not known: {clean(sentence)}"


def _tensors(title: str, specs: Sequence[TensorSpec] | None, described: Description) -> Iterator[str]:
    if specs is None:
        return
    yield title if specs else f"{title}: none"
    rows = [(f"  {clean(spec.name)}", _type(spec), _shape(spec, described)) for spec in specs]
    yield from aligned(rows, texts=3) if rows else ()


def _type(spec: TensorSpec) -> str:
    return clean(spec.dtype) or "type not stored"


def _shape(spec: TensorSpec, described: Description) -> str:
    if spec.shape is None:
        return "shape not stored" if not spec.dtype else "any rank"
    return f"[{', '.join(clean(str(each)).replace('-1', '?') for each in shape(spec, described.axes))}]"


def _operators(described: Description) -> Iterator[str]:
    if described.operators:
        shown = [f"{clean(name)} {count:,}" for name, count in list(described.operators.items())[:_OPERATORS]]
        more = len(described.operators) - len(shown)
        yield f"operators: {', '.join(shown)}{f' and {more} more kinds' if more > 0 else ''}"
    if described.custom_operators:
        yield f"custom operators: {shorten(', '.join(map(clean, described.custom_operators)), 200)}"
    if described.quantized is not None:
        yield f"quantized: {'yes' if described.quantized else 'no'}"
    if described.training is not None:
        yield f"training mode: {'yes' if described.training else 'no'}"


def _ranges(axes: Sequence[Json]) -> Json:
    return {name: limits for axis in axes for name, limits in axis["ranges"].items()}


def _dynamic(described: Description) -> Iterator[Json]:
    for spec in described.inputs or ():
        for index, length in enumerate(shape(spec, described.axes) if spec.shape is not None else ()):
            if not isinstance(length, int) or length == -1:
                yield {"input": spec.name, "axis": index, "size": length}
