"""Recognises files that are no configuration at all, so that nobody is sent to correct their syntax or their keys."""

import re
from collections.abc import Sequence
from pathlib import Path

from navigator.config.model_format import detect_format
from navigator.config.problems import Problem, Problems
from navigator.config.schema import nearest, options, spellings
from navigator.config.sections import FORMS
from navigator.config.subject import CONFIGURATIONS
from navigator.config.yaml_nodes import MAX_BYTES, Entries, Items, Node
from navigator.errors import ConfigurationError, listed

_NO_KEYS = "it has no 'key: value' lines"
_KEY = re.compile(r"(?:^|[\s{,\[])[\"']?([A-Za-z][\w-]{1,40})[\"']?\s*:", re.MULTILINE)
# To find what a key was meant to be takes some time.
_MOST_KEYS = 20
_SHOWN_KEYS = 3


def why_foreign(path: Path, node: Node | None, problems: Problems) -> str:
    """Return why a file can't be meant as a configuration, "" if it may be.

    Args:
        path: the file.
        node: what was read of it, None if it can't be read as YAML.
        problems: what was found while it was read.
    """
    if node is None:
        return _unreadable(path, problems.found[0])
    if isinstance(node, Items) and node.nodes:  # perhaps a list of models
        node = node.nodes[0]
    return _foreign_keys([entry.key for entry in node.entries]) if isinstance(node, Entries) else _NO_KEYS


def is_readable_model(path: Path) -> bool:
    """Return whether a path is a model in a known format."""
    try:
        detect_format(path, None)
    except ConfigurationError:
        return False
    return True


def _foreign_keys(keys: Sequence[str]) -> str:
    """Return that most keys of a mapping aren't options, unless they seem to be misspelt."""
    unknown = [key for key in keys if key not in spellings() and key not in FORMS]
    if 2 * len(unknown) <= len(keys):
        return ""
    meant = [nearest(key, [*options(), *FORMS, *spellings()]) for key in keys[:_MOST_KEYS]]
    if None not in meant or "model_path" in (spellings().get(each or "") for each in meant):
        return ""
    return f"its keys are {listed(unknown[:_SHOWN_KEYS])}{' and others' if len(unknown) > _SHOWN_KEYS else ''}"


def _unreadable(path: Path, problem: Problem) -> str:
    """Return what keeps a file from being YAML, unless it has the name of a configuration and names an option."""
    if problem.line is None:  # it isn't there, is empty, or the like
        return ""
    if path.suffix.lower() in CONFIGURATIONS:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES).replace(b"\0", b"").decode("utf-8", "ignore")
        if any(key in spellings() or key in FORMS for key in _KEY.findall(text)):
            return ""
    return f"line {problem.line} can't be read as YAML"
