"""This program's own files that decide what a worker computes.

They're in a conversion image, and part of every artifact's identity in the cache: a comment changed in
`render/` or `action/` neither rebuilds an image nor costs a conversion. Nor does a new version number alone: it's in
`navigator/__init__.py`, which isn't among them.
"""

from collections.abc import Iterable
from pathlib import Path

COMPUTING = (
    "disks.py",
    "errors.py",
    "plain_data.py",
    "ranges.py",
    "safe_files.py",
    "models",
    "records",
    "host",
    "samples",
    "frameworks",
    "converters",
    "runners",
    "workers",
)
"""What a worker imports to make something: modules and packages of `navigator`."""

IMPORTED = (*COMPUTING, "verify")
"""All that a worker imports: a search for disagreements also compares."""

# What else lies there, such as compiled modules, isn't read.
_SUFFIXES = (".py", ".yaml")

_PACKAGE = Path(__file__).resolve().parents[1]


def code_files(parts: Iterable[str] = COMPUTING) -> dict[str, Path]:
    """Return the files of modules and packages, with the data they read, by names such as `navigator/errors.py`."""
    found = [
        file
        for part in parts
        for file in ((_PACKAGE / part).rglob("*") if (_PACKAGE / part).is_dir() else [_PACKAGE / part])
        if file.suffix in _SUFFIXES
    ]
    return {str(file.relative_to(_PACKAGE.parent)): file for file in sorted(found)}
