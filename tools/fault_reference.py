"""The table of faults, made from the tests that cause them: `@pytest.mark.fault(fault, outcome)`."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tables import escaped, table

_ROOT = Path(__file__).resolve().parents[1]
_SOURCE = "https://github.com/org/model-navigator/blob/main"

# The folders of tests/ with faults, in the order of the page.
_HEADINGS = {
    "unit": "Configuration, models and other files",
    "conversion": "Converters and runners",
    "worker": "Workers and containers",
    "run": "A run",
    "action": "The action, GitHub and its runner",
    "gpu": "GPUs",
}


def faults() -> str:
    """Return a table of faults for each folder of tests: the fault, what happens, and the test."""
    lines: list[str] = []
    for folder, heading in _HEADINGS.items():
        rows = [row for file in sorted((_ROOT / "tests" / folder).rglob("test_*.py")) for row in _rows(file)]
        if rows:
            lines += [f"## {heading}", "", table(("Fault", "What happens", "Test"), rows), ""]
    return "\n".join(lines)


def _rows(file: Path) -> Iterator[tuple[str, str, str]]:
    name = file.relative_to(_ROOT).as_posix()
    for test in ast.parse(file.read_text(encoding="utf-8")).body:
        if not isinstance(test, ast.FunctionDef):
            continue
        for mark in test.decorator_list:
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.fault":
                fault, outcome = (str(ast.literal_eval(argument)) for argument in mark.args)
                link = f"[`{test.name}`]({_SOURCE}/{name})"
                yield escaped(fault), escaped(outcome), link
