"""The operators of TorchScript files that other packages register when they're imported."""

import importlib
import re
import sys
from importlib.util import find_spec

from navigator.errors import listed

# Named like the namespaces of their operators. Nothing else that a file names is imported.
PACKAGES = ("torch_cluster", "torch_scatter", "torch_sparse", "torch_spline_conv", "torchaudio", "torchvision")

_UNKNOWN = re.compile(r"Unknown builtin op: ((\w+)::\w+)")


def imported(message: str) -> bool:
    """Import the package of the operator that a file can't be loaded for; return whether there was one to import."""
    unknown = _UNKNOWN.search(message)
    if not unknown or unknown[2] not in PACKAGES or unknown[2] in sys.modules or not find_spec(unknown[2]):
        return False
    importlib.import_module(unknown[2])
    return True


def advice(message: str) -> tuple[str, str] | None:
    """Return what a file can't be loaded for, and what to do; None if it isn't an operator."""
    unknown = _UNKNOWN.search(message)
    if not unknown:
        return None
    what = f"it calls {unknown[1]}, which isn't an operator of PyTorch"
    if unknown[2] in PACKAGES:
        return what, f"install {unknown[2]}"
    return (
        what,
        f"leave it out of the model; besides PyTorch's operators, only those of {listed(PACKAGES)} can be loaded",
    )
