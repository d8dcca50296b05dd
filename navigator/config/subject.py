"""Tells configurations and models apart, where either may be given, and names models. Reads a few kilobytes."""

import os
import re
from pathlib import Path

from navigator.config.model_format import SUFFIXES, is_saved_model

CONFIGURATION = "navigator.yaml"
CONFIGURATIONS = (".yaml", ".yml", ".json")
# What the schema allows in a model's name.
_UNNAMEABLE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_NAME = 100
_HEAD_BYTES = 4096
_ARCHIVES = (b"PK\x03\x04", b"ftrt")
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a]")


def is_model(path: Path) -> bool:
    """Return whether a path is, or by its name would be, a model rather than a configuration.

    A directory is a model, unless a configuration is what it holds. A file's suffix decides where it has one of either;
    otherwise its content does: text is a configuration. A model remains one under the suffix of a configuration.
    """
    try:
        if path.is_dir():
            return is_saved_model(path) or not (path / CONFIGURATION).is_file()
        if has_model_suffix(path):
            return True
        if not path.is_file():
            return False
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except (OSError, ValueError):
        return False
    if path.suffix.lower() in CONFIGURATIONS:
        return head.startswith(_ARCHIVES)
    return head.startswith(_ARCHIVES) or _BINARY.search(head) is not None


def is_configuration(path: Path) -> bool:
    """Return whether an existing path is a text file with the suffix of a configuration."""
    try:
        return path.suffix.lower() in CONFIGURATIONS and path.is_file() and not is_model(path)
    except (OSError, ValueError):
        return False


def has_model_suffix(path: Path) -> bool:
    """Return whether a path has the suffix of a model's format."""
    return path.suffix.lower() in SUFFIXES


def model_name(path: Path) -> str:
    """Return the name of a model that nobody named: that of its file, as far as it's allowed."""
    stem = Path(os.path.abspath(path)).stem  # noqa: PTH100 - links stay as they are
    return _UNNAMEABLE.sub("_", stem).lstrip("._-")[:_LONGEST_NAME] or "model"
