"""Writes the generated parts of the documentation: `python tools/reference.py`, or `make docs`.

The README or a page of docs/ says where a part goes and what it is, and keeps its own text around it:

    <!-- generated: options -->
    <!-- end -->

Sources are the schemas, action.yml, the command line's parsers, the workflow of `init`, the exit codes, the registries
of converters and runners, tests marked as those of a fault, the README's table of what was run on which hardware, and
the results of runs on GPUs.
A test compares.
"""

import argparse
import ast
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from fault_reference import faults
from gpu_results import gpu_results
from results_reference import results
from tables import code, codes, escaped, sentence, table

from navigator import errors
from navigator.commands.parsers import parsers
from navigator.config.schema import COMMAND_LINE_ONLY, Option, flag, flow, options
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
    "function": "path:function",
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
    "names": "output → input",
    "arguments": "values of arguments by name",
    "gates": "measure → number",
    "scores": "outputs, or output → axis",
    "tensors": "name → shape, dtype",
    "acceptances": "mapping of what you accept to the reason, or list of `WHAT MODEL/NAME: reason`",
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
        lines += [f"### `{option.key}`", "", escaped(option.description), "", *_facts(option), ""]
    return "\n".join(lines)


def _facts(option: Option) -> Iterator[str]:
    spellings = (option.flag, *(flag(alias) for alias in option.aliases), *option.flags)
    if option.notation == "flag":
        spellings = (*spellings, f"--no-{option.flag.removeprefix('--')}")
    yield f"- Command line: {codes(spellings)}" + (" (only there)" if option.scope == COMMAND_LINE_ONLY else "")
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
        return (
            "`auto`, `true` or `false`" if option.auto and option.notation == "flag" else auto + _TYPES[option.notation]
        )
    return auto + ("list of " if option.notation == "choices" else "") + codes(option.choices)


def inputs() -> str:
    """Return the action's inputs as a table."""
    return _inputs(_yaml("action.yml")["inputs"])


def outputs() -> str:
    """Return the action's outputs as a table."""
    return _outputs(_yaml("action.yml")["outputs"])


def workflow_inputs() -> str:
    """Return the inputs of the reusable workflow as a table."""
    return _inputs(_workflow()["inputs"])


def workflow_outputs() -> str:
    """Return the outputs of the reusable workflow as a table."""
    return _outputs(_workflow()["outputs"])


def _inputs(described: Mapping[str, Any]) -> str:
    rows = (
        (f"`{name}`", code(_text(about["default"])), escaped(sentence(about["description"])))
        for name, about in described.items()
    )
    return table(("Input", "Default", "Description"), rows)


def _outputs(described: Mapping[str, Any]) -> str:
    rows = ((f"`{name}`", escaped(sentence(about["description"]))) for name, about in described.items())
    return table(("Output", "Description"), rows)


def _workflow() -> Mapping[str, Any]:
    # YAML 1.1 reads the key `on` as true.
    called: Mapping[str, Any] = _yaml(".github/workflows/convert.yml")[True]["workflow_call"]
    return called


def _yaml(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def command_line() -> str:
    """Return every command with its arguments, but for the options of navigator.yaml."""
    _, commands = parsers()
    lines: list[str] = []
    for name, parser in commands.items():
        # argparse has no public list of what a parser takes.
        taken = [each for each in parser._actions if each.dest != "help" and each.help != argparse.SUPPRESS]
        if any(each.dest == "config_path" for each in taken):  # it takes all options, which have a page
            taken = [each for each in taken if each.dest not in options()]
        rows = ((_argument(each), escaped(sentence((each.help or "").replace("%%", "%")))) for each in taken)
        lines += [f"## `{name}`", "", f"{parser.description}", ""]
        lines += [table(("Argument", "Description"), rows), ""]
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
    return table(("Code", "Meaning"), rows)


def formats() -> str:
    """Return the formats as a table: what a model of each may become, and what verifies it."""
    rows = (
        (
            _name(each),
            f"`{each}`",
            codes(sorted({edge.TARGET for edge in CONVERTERS.values() if edge.SOURCE is each})) or "nothing",
            ", ".join("GPU" if device == "cuda" else "CPU" for device in RUNNERS[each].DEVICES),
        )
        for each in Format
    )
    return table(("Format", "Name", "Converts to", "Verified on"), rows)


def conversions() -> str:
    """Return the converters as a table: where they lead and what they need."""
    rows = (
        (
            f"{_name(each.SOURCE)} → {_name(each.TARGET)}" + (" in fp16 or int8" if "typed" in key else ""),
            codes(each.DISTRIBUTIONS),
            "yes" if each.NEEDS_GPU else "no",
            "yes" if each.NEEDS_SAMPLES else "no",
            _CONTAINERS[each.CONTAINER],
        )
        for key, each in CONVERTERS.items()
    )
    columns = ("Conversion", "Python packages", "Needs a GPU", "Needs samples", "Runs in a container")
    return table(columns, rows)


def _name(each: Format) -> str:
    return NAMES.get(each, str(each))


def support() -> str:
    """Return the README's table of what was run on which hardware, with links that work from elsewhere."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- support -->\n(.*?)<!-- end of support -->", readme, re.DOTALL)
    assert found, "the README marks its table with <!-- support -->"
    return re.sub(r"\]\((?!http|#)", f"]({REPOSITORY}/blob/main/", found[1])


def workflow() -> str:
    """Return the workflow that `model-navigator init --workflow` writes."""
    text = (ROOT / "navigator/commands/models.yml").read_text(encoding="utf-8")
    return f'```yaml title=".github/workflows/models.yml"\n{text}```'


PARTS: Mapping[str, Callable[[], str]] = {
    "options": options_reference,
    "inputs": inputs,
    "outputs": outputs,
    "workflow inputs": workflow_inputs,
    "workflow outputs": workflow_outputs,
    "command line": command_line,
    "exit codes": exit_codes,
    "results": results,
    "faults": faults,
    "formats": formats,
    "conversions": conversions,
    "support": support,
    "gpu results": gpu_results,
    "workflow": workflow,
}
_PART = re.compile(r"(<!-- generated: (.*?) -->\n).*?(<!-- end -->)", re.DOTALL)


def written(text: str) -> str:
    """Return the text of a page with its generated parts made anew."""
    return _PART.sub(lambda part: f"{part[1]}\n{PARTS[part[2]]().strip()}\n\n{part[3]}", text)


def main() -> None:
    """Write the parts of every page."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        text = page.read_text(encoding="utf-8")
        page.write_text(written(text), encoding="utf-8")


if __name__ == "__main__":
    main()
