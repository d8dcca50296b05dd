"""What is planted in the models of `torch_models` and `tensorflow_models`: pieces of source, and what they become.

`honest` rewrites mean the same, and must pass.
"""

from typing import NamedTuple

Pieces = tuple[str, ...]


class Planted(NamedTuple):
    """A model's rewrites and errors; `options` are what its users set, `inputs` what a TorchScript file doesn't say."""

    honest: dict[str, Pieces]
    errors: dict[str, Pieces]
    options: str = "max_batch_size: 8"
    inputs: str = ""


# Every model's first output goes wrong for some rows, batches or elements.
ROWS = {
    "last row": "added(y, ranks(y) == size(y))",
    "first row": "added(y, ranks(y) == 1)",
    "batch 1": "added(y, size(y) == 1)",
    "max batch": "added(y, size(y) == 8)",
    "batches between": "added(y, (size(y) > 1) & (size(y) < 8))",
}
FLOATS = {"NaN at (0, 0)": "spoiled(y)", "one channel": "channel(y)"}


def ends(pairs: dict[str, str], old: str = "return y") -> dict[str, Pieces]:
    return {name: (old, f"y = {text}\n        {old}") for name, text in pairs.items()}


def heads(pairs: dict[str, str]) -> dict[str, Pieces]:
    return {name: ("h = x\n", f"h = {text}\n") for name, text in pairs.items()}


LENGTHS = {
    "shortest": "added(y, size(y, 1) == SHORT)",
    "longest": "added(y, size(y, 1) == LONG)",
    "max batch of the longest": "added(y, (size(y, 1) == LONG) & (size(y) == 8))",
    "max batch of the shortest": "added(y, (size(y, 1) == SHORT) & (size(y) == 8))",
    "one row of the longest": "added(y, (size(y, 1) == LONG) & (size(y) == 1))",
}


def lengths(short: int, long: int) -> dict[str, Pieces]:
    return ends({name: text.replace("SHORT", str(short)).replace("LONG", str(long)) for name, text in LENGTHS.items()})
