"""Reads the operators of a TorchScript file from the code in it, without compiling or unpickling anything.

See torch/csrc/jit/serialization/python_print.cpp (torch 2.13). A function of several modules counts once, and what the
model never calls counts too.
"""

import re
import zipfile
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

from navigator.models.wire import DamagedError, UnreadableError
from navigator.records import Description, Format

_MOST_BYTES = 2**26
UNKNOWN = "the shapes and types of its inputs and outputs, which TorchScript files don't store"
# Text, which may name anything; `torch.conv2d(…)`; `ops.quantized.conv2d(…)`.
_OPERATOR = re.compile(r'"(?:[^"\\]|\\.)*"|\btorch\.(\w+)\(|\bops\.(?!prim\.)(\w+)\.(\w+)\(')


def read(path: Path, _signature_name: str | None, operators: bool) -> Description:
    """See `navigator.models.structure.read`."""
    described = Description(model_format=Format.TORCHSCRIPT, unknown=(UNKNOWN,))
    return replace(described, operators=_operators(path)) if operators else described


def _operators(path: Path) -> dict[str, int]:
    found = Counter[str]()
    left = _MOST_BYTES
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if "/code/" not in name or not name.endswith(".py"):
                    continue
                with archive.open(name) as file:
                    # What it says of its own size may be wrong.
                    code = file.read(left + 1)
                left -= len(code)
                if left < 0:
                    raise UnreadableError(f"its code has more than {_MOST_BYTES // 2**20} MiB")
                for own, namespace, other in _OPERATOR.findall(code.decode(errors="replace")):
                    if own or other:
                        found[f"aten::{own}" if own else f"{namespace}::{other}"] += 1
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DamagedError(str(error)) from error
    except (NotImplementedError, RuntimeError, ValueError) as error:  # compressed or encrypted as zipfile can't read
        raise UnreadableError(str(error)) from error
    return dict(found.most_common())
