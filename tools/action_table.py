"""The README's tables of the action's inputs and outputs, made from action.yml; `make readme` writes them there."""

import re
from collections.abc import Mapping
from pathlib import Path

import yaml

from navigator.records import Json


def tables(action: Path) -> str:
    """Return the inputs and the outputs of the file at `action` as two markdown tables; they end with a newline."""
    described = yaml.safe_load(action.read_text(encoding="utf-8"))
    rows = ["| input | default | meaning |", "|---|---|---|"]
    rows += [f"| `{name}` | {_default(each)} | {_cell(each)} |" for name, each in described["inputs"].items()]
    rows += ["", "| output | meaning |", "|---|---|"]
    rows += [f"| `{name}` | {_cell(each)} |" for name, each in described["outputs"].items()]
    return "\n".join(rows) + "\n"


def _default(described: Mapping[str, Json]) -> str:
    return f"`{described['default']}`" if described["default"] else ""


def _cell(described: Mapping[str, Json]) -> str:
    return str(described["description"]).replace("|", "\\|").replace("<", "&lt;")


def update(readme: Path, action: Path) -> None:
    """Replace what is between the two comments of the file at `readme`."""
    text = readme.read_text(encoding="utf-8")
    between = re.compile(r"(<!-- action: .*? -->\n).*?(<!-- end of action -->)", re.DOTALL)
    readme.write_text(between.sub(lambda found: f"{found[1]}\n{tables(action)}\n{found[2]}", text), encoding="utf-8")


if __name__ == "__main__":
    update(Path("README.md"), Path("action.yml"))
