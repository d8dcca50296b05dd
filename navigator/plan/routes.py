"""The paths through the graph of formats, and their steps. Pure."""

from navigator.converters import CONVERTERS
from navigator.records import Configuration, Format, ModelConfig, Step


def steps_to(model: ModelConfig, source: Format, configuration: Configuration) -> tuple[Step, ...] | None:
    """Return the steps from the source to the configuration's target format, or None if no conversion leads there."""
    keys = _shortest(source, configuration.target_format)
    if keys is None:
        return None
    steps: list[Step] = []
    for key in (part for last in keys for part in (*CONVERTERS[last].PREPARED_BY, last)):
        converter = CONVERTERS[key]
        variant = converter.variant(model, configuration)
        if variant is None:
            continue
        parent = steps[-1].label if steps else None
        steps.append(
            Step(
                label=variant.segment if parent is None else f"{parent}/{variant.segment}",
                converter=key,
                source_format=converter.SOURCE,
                target_format=converter.TARGET,
                parent=parent,
                options=variant.options,
                precision=variant.precision,
                opset=variant.opset,
                is_copy=variant.is_copy,
                artifact_name=variant.artifact_name,
            )
        )
    return tuple(steps)


def reachable(source: Format) -> tuple[Format, ...]:
    """Return the target formats that `source` can be converted to."""
    return tuple(target for target in Format if _shortest(source, target) is not None)


def _shortest(source: Format, target: Format) -> tuple[str, ...] | None:
    """Return the converters on the shortest path from `source` to `target`; every path has at least one."""
    ways: list[tuple[Format, tuple[str, ...]]] = [(source, ())]
    seen: set[Format] = set()
    for at, way in ways:
        for key, converter in CONVERTERS.items():
            if converter.SOURCE is not at:
                continue
            if converter.TARGET is target:
                return (*way, key)
            if converter.TARGET not in seen:
                seen.add(converter.TARGET)
                ways.append((converter.TARGET, (*way, key)))
    return None
