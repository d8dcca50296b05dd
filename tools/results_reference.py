"""The reference of convert_results.yaml, made from its schema."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tables import codes, escaped, table

from navigator.config.schema import schema_path


def results() -> str:
    """Return convert_results.yaml's keys, one table for each kind of object in it."""
    schema = json.loads(schema_path("convert_results.schema.json").read_text(encoding="utf-8"))
    objects = {"": schema, **{name: each for name, each in schema["$defs"].items() if "properties" in each}}
    lines: list[str] = []
    for name, described in objects.items():
        if name:
            lines += [f"## {name}", ""]
        lines += [f"{described['description']}", ""] if "description" in described and name else []
        lines += [table(("Key", "Type", "Description"), _keys(described, schema, "")), ""]
    return "\n".join(lines)


def _keys(described: Mapping[str, Any], schema: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str, str]]:
    for key, each in described["properties"].items():
        target = schema["$defs"].get(each.get("$ref", "").removeprefix("#/$defs/"), {})
        text = escaped(each.get("description", target.get("description", "")))
        if "enum" in each and not text:
            text = f"One of {codes(str(choice) for choice in each['enum'] if choice is not None)}."
        yield f"`{prefix}{key}`", _kind(each, schema), text
        if "properties" in each:
            yield from _keys(each, schema, f"{prefix}{key}.")


def _kind(described: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if "$ref" in described:
        name = described["$ref"].removeprefix("#/$defs/")
        target = schema["$defs"][name]
        return f"[{name}](#{name})" if "properties" in target else _kind(target, schema)
    if "anyOf" in described:
        return ", or ".join(_kind(each, schema) for each in described["anyOf"])
    if "const" in described:
        return f"`{described['const']}`"
    if "enum" in described:
        return "text"
    kinds = described["type"] if isinstance(described["type"], list) else [described["type"]]
    if kinds == ["array"]:
        return f"list of {_kind(described['items'], schema)}"
    return ", or ".join("text" if kind == "string" else str(kind) for kind in kinds)
