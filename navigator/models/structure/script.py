"""Reads the operators of a TorchScript file from the code in it, without compiling or unpickling anything.

See torch/csrc/jit/serialization/python_print.cpp (torch 2.13). A function of several modules counts once, and what the
model never calls counts too.
"""

import re
from collections import Counter
from dataclasses import replace
from io import BufferedReader
from pathlib import Path

from navigator.models.archive import Archive
from navigator.models.reading import open_regular
from navigator.models.wire import UnreadableError
from navigator.records import Description, Format

_MOST_BYTES = 2**26
UNKNOWN = "the shapes and types of its inputs and outputs, which TorchScript files don't store"
# Text may name anything.
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
# `torch.conv2d(…)` and `ops.quantized.conv2d(…)`. What starts with letters is found fifty times as fast.
_OWN = re.compile(rb"torch\.(?<!\wtorch\.)(\w+)\(")
_OTHERS = re.compile(rb"ops\.(?<!\wops\.)(?!prim\.)(\w+\.\w+)\(")


def read(path: Path, _signature_name: str | None, operators: bool) -> Description:
    """See `navigator.models.structure.read`."""
    described = Description(model_format=Format.TORCHSCRIPT, unknown=(UNKNOWN,))
    return replace(described, operators=_operators(path)) if operators else described


def _operators(path: Path) -> dict[str, int]:
    plain = _TEXT.sub(b"", _code(path))
    found = Counter(b"aten." + name for name in _OWN.findall(plain)) + Counter(_OTHERS.findall(plain))
    return {name.decode().replace(".", "::"): count for name, count in found.most_common()}


def _code(path: Path) -> bytes:
    found, left = [], _MOST_BYTES
    with BufferedReader(open_regular(path)) as file:
        archive = Archive(file)
        for name in archive.names:
            if "/code/" in name and name.endswith(".py"):
                found.append(archive.read(name, _MOST_BYTES))
                left -= len(found[-1])
                if left < 0:
                    raise UnreadableError(f"its code has more than {_MOST_BYTES // 2**20} MiB")
    return b"\n".join(found)
