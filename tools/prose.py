"""Checks the English that users meet: `python tools/prose.py`, a part of `make lint`.

codespell finds misspelled words. The phrases below are forbidden in pages, in the descriptions of action.yml, workflows
and schemas, and in the sentences of the program. Code blocks and docstrings are left alone.
"""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]

# What to avoid, as a regular expression, and what to write instead.
FORBIDDEN = {
    r"\bcells?\b": "conversion",
    r"\bnot[- ]good\b|\b(is|are|was|were) (not )?(good|bad)\b": "passed, failed, or what is wrong",
    r"\bwhoever\b": "anyone who, or you",
    r"\bours\b": "our …, or name it",
    r"\bbut for\b": "except",
    r"\bbeside\b": "next to, or besides",
    r"\banew\b": "again",
    r"\bwhatever\b": "any, or regardless of",
    r"\b(lies|stands)\b|\b(which|that) (lie|stand|is told|are told)\b": "is, or has",
    r"\bas what it is\b": "unchanged, or as untrusted",
    r"(?<!there )\b(is|are) no (?!longer|more)\b": "isn't a",
    r"(^|[.,;:] )without (it|them)\b": "Defaults to …, or By default, …",
    r"\bso many\b": "a number, or maximum",
    r"\bmade from one another\b": "that depend on each other",
    r"\bfree space or correct\b": "say which of the two",
    r"\bfor ever\b": "indefinitely",
    r"\bbecame of\b": "the outcome",
    r"\blook at it\b": "check",
    r"\bgive(s|n)? (it|them|everything) back\b": "return, or restore",
    r"\bwhat is to be\b": "what to",
    r"\bwhere (no|nothing|nobody|none)\b": "if",
    r"\bnothing says\b|\b(does not|doesn't|do not|don't) say\b": "is unknown, or isn't set",
    r"\b(is|are) (expected|needed), not\b|\bmisshapen\b|\bwrongly typed\b": "expected …, got …",
    r"\bone an? (edge|format|input|machine|model|output|run|sample|step|task)\b": "one per …",
    r"\bkeep one of them\b": "remove one of them",
    r"\b(does|do) nothing with\b": "has no effect, or ignores",
    r"\basked for by name\b": "requested",
    r"\bwithout a word\b": "silently",
    r"\bputs? out\b": "returns",
    r"\bcut off\b": "truncated",
    r"\bmends?\b": "fixes",
}
_FORBIDDEN = {re.compile(pattern, re.IGNORECASE): instead for pattern, instead in FORBIDDEN.items()}

_CODE = re.compile(r"^( *)```.*?^\1```|`[^`\n]*`|\]\([^)]*\)|<!--.*?-->", re.MULTILINE | re.DOTALL)


def findings(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line and a sentence for each forbidden phrase in `text`."""
    for pattern, instead in _FORBIDDEN.items():
        for found in pattern.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            yield line, f"'{found[0].strip()}': write {instead}"


def page(text: str) -> str:
    """Return the prose of a Markdown page: code, links' targets and comments are blank, lines stay lines."""
    return _CODE.sub(lambda code: "\n" * code[0].count("\n"), text)


def sentences(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of the strings of a Python module that look like sentences, but for docstrings."""
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    strings = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docstrings)
    for node in strings:
        if isinstance(node.value, str) and " " in node.value.strip():
            yield node.lineno, node.value


def descriptions(document: Any) -> Iterator[str]:
    """Yield every `description` in a document, however deep."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key == "description" and isinstance(value, str):
                yield re.sub(r"`[^`]*`", "", value)
            else:
                yield from descriptions(value)
    elif isinstance(document, list):
        for each in document:
            yield from descriptions(each)


def problems() -> Iterator[str]:
    """Yield every problem as `path:line: what is wrong`."""
    for path in _files("*.md", ":!tests/"):
        for line, wrong in findings(page(path.read_text(encoding="utf-8"))):
            yield f"{path.relative_to(ROOT)}:{line}: {wrong}"
    for path in [*_files("action.yml", "*/action.yml", ".github/workflows/*.yml"), *_files("schemas/*.json")]:
        text = path.read_text(encoding="utf-8")
        for description in descriptions(json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)):
            for _, wrong in findings(description):
                yield f"{path.relative_to(ROOT)}: {wrong} in: {description}"
    for path in _files("navigator/*.py", "examples/*.py"):
        for line, text in sentences(path.read_text(encoding="utf-8")):
            for _, wrong in findings(text):
                yield f"{path.relative_to(ROOT)}:{line}: {wrong}"


def _files(*patterns: str) -> list[Path]:
    """Return the files of the repository that match."""
    command = ["git", "ls-files", "-z", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in sorted(filter(None, listed.stdout.split("\0")))]


def main() -> int:
    """Print all problems and return the exit code."""
    found = list(problems())
    print("\n".join(found), file=sys.stderr, end="\n" if found else "")  # noqa: T201
    files = [path.relative_to(ROOT) for path in _files("*")]
    spelled = subprocess.run([Path(sys.executable).with_name("codespell"), *files], cwd=ROOT, check=False)
    return 1 if found or spelled.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
