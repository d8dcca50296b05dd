"""Writes the generated parts of the documentation: `python tools/reference.py`, or `make docs`.

A page of docs/ says where a part goes and what it is, and keeps its own text around it:

    <!-- generated: options -->
    <!-- end -->

Sources are the schemas, action.yml, the command line's parsers, the exit codes, the registries of converters and
runners, and the README's table of what was run on which hardware. A test compares.
"""

import argparse
import ast
import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from navigator import cli, errors
from navigator.config.schema import COMMAND_LINE_ONLY, Option, flag, flow, options, schema_path
from navigator.converters import CONVERTERS
from navigator.converters.protocol import Container
from navigator.records import Format
from navigator.runners import RUNNERS

ROOT = Path(__file__).resolve().parents[1]
REPOSITORY = "https://github.com/org/model-navigator"

NAMES: Mapping[Format, str] = {
    Format.TF_SAVEDMODEL: "TensorFlow SavedModel",
    Format.TORCHSCRIPT: "TorchScript",
    Format.TORCH_EXPORT: "torch.export",
    Format.ONNX: "ONNX",
    Format.TRT: "TensorRT",
    Format.TRT_RTX: "TensorRT for RTX",
    Format.TORCH_TRT: "Torch-TensorRT",
    Format.TF_TRT: "TF-TRT",
}

_TYPES: Mapping[str, str] = {
    "text": "text",
    "path": "path",
    "paths": "list of paths",
    "flag": "`true` or `false`",
    "integer": "integer",
    "integers": "list of integers",
    "number": "number",
    "texts": "list of texts",
    "tolerances": "number, or output → number",
    "shapes": "input → shape",
    "ranges": "input → [lowest, highest]",
    "dtypes": "NumPy dtype, or input → dtype",
    "tensors": "name → shape, dtype",
    "counts": "`cpu` or `gpu` → integer",
}

_CONTAINERS: Mapping[Container, str] = {
    Container.NEVER: "never",
    Container.ON_REQUEST: "with `launch_mode: docker`",
    Container.UNLESS_LOCAL: "unless `launch_mode: local`",
}


def options_reference() -> str:
    """Return every option with its spellings, type, default and an example, by group."""
    lines: list[str] = []
    group = ""
    for option in options().values():
        if option.group != group:
            group = option.group
            lines += [f"## {group}", ""]
        lines += [f"### `{option.key}`", "", _escaped(option.description), "", *_facts(option), ""]
    return "\n".join(lines)


def _facts(option: Option) -> Iterator[str]:
    spellings = (option.flag, *(flag(alias) for alias in option.aliases), *option.flags)
    yield f"- Command line: {_codes(spellings)}" + (" (only there)" if option.scope == COMMAND_LINE_ONLY else "")
    yield f"- Type: {_type(option)}"
    if option.choice_aliases:
        yield f"- Also accepted: {', '.join(f'`{old}` for `{new}`' for old, new in option.choice_aliases.items())}"
    if option.default not in (None, [], {}):
        yield f"- Default: `{flow(option.default)}`"
    if option.scope != COMMAND_LINE_ONLY:
        yield f"- Example: `{option.key}: {flow(option.example)}`"


def _type(option: Option) -> str:
    auto = "`auto`, or " if option.auto else ""
    if not option.choices:
        return auto + _TYPES[option.notation]
    return auto + ("list of " if option.notation == "choices" else "") + _codes(option.choices)


def inputs() -> str:
    """Return the action's inputs as a table."""
    rows = (
        (f"`{name}`", _code(about["default"]), _escaped(about["description"]))
        for name, about in _action("inputs").items()
    )
    return _table(("Input", "Default", "Description"), rows)


def outputs() -> str:
    """Return the action's outputs as a table."""
    rows = ((f"`{name}`", _escaped(about["description"])) for name, about in _action("outputs").items())
    return _table(("Output", "Description"), rows)


def _action(block: str) -> Mapping[str, Any]:
    described: Mapping[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))[block]
    return described


def command_line() -> str:
    """Return every command with its arguments, but for the options of navigator.yaml."""
    _, commands = cli.parsers()
    lines: list[str] = []
    for name, parser in commands.items():
        # argparse has no public list of what a parser takes.
        taken = [each for each in parser._actions if each.dest != "help" and each.dest not in options()]
        rows = ((_argument(each), _escaped(_sentence((each.help or "").replace("%%", "%")))) for each in taken)
        lines += [f"## `{name}`", "", f"{parser.description}", ""]
        lines += [_table(("Argument", "Description"), rows), ""]
    return "\n".join(lines)


def _argument(action: argparse.Action) -> str:
    value = f" {action.metavar}" if action.metavar else ""
    more = " ..." if action.nargs == "+" else ""
    return f"`{', '.join(action.option_strings)}{value}{more}`".replace("` ", "`").replace("|", "\\|")


def exit_codes() -> str:
    """Return the exit codes as a table; their descriptions are the texts below them in the source."""
    tree = ast.parse(inspect.getsource(errors.ExitCode)).body[0]
    assert isinstance(tree, ast.ClassDef)
    rows = [
        (str(member.value.value), inspect.cleandoc(about.value.value))
        for member, about in zip(tree.body, tree.body[1:], strict=False)
        if isinstance(member, ast.Assign)
        and isinstance(member.value, ast.Constant)
        and isinstance(about, ast.Expr)
        and isinstance(about.value, ast.Constant)
        and isinstance(about.value.value, str)
    ]
    return _table(("Code", "Meaning"), rows)


def results() -> str:
    """Return convert_results.yaml's keys, one table for each kind of object in it."""
    schema = json.loads(schema_path("convert_results.schema.json").read_text(encoding="utf-8"))
    objects = {"": schema, **{name: each for name, each in schema["$defs"].items() if "properties" in each}}
    lines: list[str] = []
    for name, described in objects.items():
        if name:
            lines += [f"## {name}", ""]
        lines += [f"{described['description']}", ""] if "description" in described and name else []
        lines += [_table(("Key", "Type", "Description"), _keys(described, schema, "")), ""]
    return "\n".join(lines)


def _keys(described: Mapping[str, Any], schema: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str, str]]:
    for key, each in described["properties"].items():
        target = schema["$defs"].get(each.get("$ref", "").removeprefix("#/$defs/"), {})
        text = _escaped(each.get("description", target.get("description", "")))
        if "enum" in each and not text:
            text = f"One of {_codes(str(choice) for choice in each['enum'] if choice is not None)}."
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


def formats() -> str:
    """Return the formats as a table: what a model of each may become, and what verifies it."""
    rows = (
        (
            _name(each),
            f"`{each}`",
            _codes(sorted({edge.TARGET for edge in CONVERTERS.values() if edge.SOURCE is each})) or "nothing",
            ", ".join("GPU" if device == "cuda" else "CPU" for device in RUNNERS[each].DEVICES),
        )
        for each in Format
    )
    return _table(("Format", "Name", "Converts to", "Verified on"), rows)


def conversions() -> str:
    """Return the converters as a table: where they lead and what they need."""
    rows = (
        (
            f"{_name(each.SOURCE)} → {_name(each.TARGET)}" + (" in fp16 or int8" if "typed" in key else ""),
            _codes(each.DISTRIBUTIONS),
            "yes" if each.NEEDS_GPU else "no",
            "yes" if each.NEEDS_SAMPLES else "no",
            _CONTAINERS[each.CONTAINER],
        )
        for key, each in CONVERTERS.items()
    )
    columns = ("Conversion", "Python packages", "Needs a GPU", "Needs samples", "Runs in a container")
    return _table(columns, rows)


def _name(each: Format) -> str:
    return NAMES.get(each, str(each))


def support() -> str:
    """Return the README's table of what was run on which hardware, with links that work from elsewhere."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- support -->\n(.*?)<!-- end of support -->", readme, re.DOTALL)
    assert found, "the README marks its table with <!-- support -->"
    return re.sub(r"\]\((?!http|#)", f"]({REPOSITORY}/blob/main/", found[1])


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text and not text.endswith(".") else text


PARTS: Mapping[str, Callable[[], str]] = {
    "options": options_reference,
    "inputs": inputs,
    "outputs": outputs,
    "command line": command_line,
    "exit codes": exit_codes,
    "results": results,
    "formats": formats,
    "conversions": conversions,
    "support": support,
}
_PART = re.compile(r"(<!-- generated: (.*?) -->\n).*?(<!-- end -->)", re.DOTALL)


def written(text: str) -> str:
    """Return the text of a page with its generated parts made anew."""
    return _PART.sub(lambda part: f"{part[1]}\n{PARTS[part[2]]().strip()}\n\n{part[3]}", text)


def main() -> None:
    """Write the parts of every page."""
    for page in sorted((ROOT / "docs").rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        page.write_text(written(text), encoding="utf-8")


if __name__ == "__main__":
    main()
