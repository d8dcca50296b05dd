"""The table of planted errors says how many there are."""

import re
from pathlib import Path

from tests.run.test_planted import MODELS, variants
from tests.run.test_planted_precisions import ERRORS
from tests.run.test_planted_sources import EDGES

PAGE = Path(__file__).parents[2] / "docs/explanation/verification.md"


def row(name: str) -> list[int]:
    """Return the numbers in a row of the table: of ONNX, the other source formats, and fp16 and int8."""
    (line,) = re.findall(rf"^\| {re.escape(name)} \|(.*)\|$", PAGE.read_text(), re.MULTILINE)
    return [int(each.strip(" *") or 0) for each in line.split("|")]


def test_the_table_says_how_many_errors_are_planted_and_how_many_rewrites_pass() -> None:
    honest = [len(model.honest) for model in MODELS.values()]
    planted = [len(variants(model)) - count for model, count in zip(MODELS.values(), honest, strict=True)]
    models = [list(edge.models.values()) for edge in EDGES.values()]
    errors = [sum(planted), *(sum(len(each.errors) for each in some) for some in models)]
    assert row("**All**") == [*errors, sum(map(len, ERRORS.values()))]
    rewrites = [sum(honest), *(sum(len(each.honest) for each in some) for some in models)]
    assert row("Rewrites that mean the same") == [*rewrites, len(ERRORS)]


def test_the_kinds_add_up() -> None:
    lines = PAGE.read_text().partition("| What's wrong |")[2].splitlines()[2:]
    kinds = [line.split("|")[1].strip() for line in lines[: lines.index(next(each for each in lines if "All" in each))]]
    assert [sum(each) for each in zip(*map(row, kinds), strict=True)] == row("**All**")
