"""Makes variants of classes: the same source but for some pieces, in a file of its own, since TorchScript reads it."""

import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def make(file: str, save: Callable[[Path, Any], None]) -> None:
    """Save what the orders on standard input ask for.

    Args:
        file: the module with the classes.
        save: called with the path to write and with the class. The orders are JSON, a list of
            [path, class, [old, new, ...]].
    """
    with tempfile.TemporaryDirectory() as scratch:
        for number, (path, owner, pairs) in enumerate(json.load(sys.stdin)):
            save(Path(path), _variant(Path(file), Path(scratch) / f"variant_{number}.py", owner, pairs))


def _variant(file: Path, made: Path, owner: str, pairs: Sequence[str]) -> Any:
    text = file.read_text()
    start = text.index(f"class {owner}(")
    end = text.index("\n\n\n", start)
    body = text[start:end]
    for old, new in zip(pairs[::2], pairs[1::2], strict=True):
        if old not in body:
            raise ValueError(f"{owner} has no {old!r}")
        body = body.replace(old, new)
    made.write_text(text[:start] + body + text[end:])
    spec = importlib.util.spec_from_file_location(made.stem, made)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[made.stem] = module
    spec.loader.exec_module(module)
    return getattr(module, owner)
