"""The README's table of options, made from the schema; `make readme` writes it there."""

import re
from collections.abc import Mapping
from pathlib import Path

from navigator.config.schema import COMMAND_LINE_ONLY, Option, flag, flow, options

_TYPES: Mapping[str, str] = {
    "text": "text",
    "path": "path",
    "paths": "list of paths",
    "flag": "true or false",
    "integer": "integer",
    "integers": "list of integers",
    "number": "number",
    "texts": "list of texts",
    "tolerances": "number, or output → number",
    "shapes": "input → shape",
    "ranges": "input → [lowest, highest]",
    "dtypes": "NumPy dtype, or input → dtype",
    "tensors": "name → shape, dtype",
    "counts": "cpu or gpu → integer",
}


def option_table() -> str:
    """Return a markdown table of every option: name, type, default, description; it ends with a newline."""
    rows = ["| key and option | type | default | meaning |", "|---|---|---|---|"]
    rows += [
        f"| {_names(option)} | {_type(option)} | {_default(option)} | {_cell(option.description)} |"
        for option in options().values()
    ]
    return "\n".join(rows) + "\n"


def _names(option: Option) -> str:
    spellings = (option.flag, *(flag(alias) for alias in option.aliases), *option.flags)
    also = ", ".join(f"`{name}`" for name in spellings)
    return also if option.scope == COMMAND_LINE_ONLY else f"`{option.key}` {also}"


def _type(option: Option) -> str:
    auto = "`auto`, or " if option.auto else ""
    if not option.choices:
        return auto + _TYPES[option.notation]
    one_of = ", ".join(f"`{choice}`" for choice in option.choices)
    return auto + ("list of " if option.notation == "choices" else "") + one_of


def _default(option: Option) -> str:
    return "" if option.default in (None, [], {}) else f"`{_cell(flow(option.default))}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def update(path: Path) -> None:
    """Replace the table between the two comments of the file at `path`."""
    text = path.read_text(encoding="utf-8")
    between = re.compile(r"(<!-- options: .*? -->\n).*?(<!-- end of options -->)", re.DOTALL)
    path.write_text(between.sub(lambda found: f"{found[1]}\n{option_table()}\n{found[2]}", text), encoding="utf-8")


if __name__ == "__main__":
    update(Path("README.md"))
