"""Makes wheels that pip takes without a network: packages in versions that nobody has released."""

import base64
import hashlib
import zipfile
from pathlib import Path

# A package that is the installed one, found further down on the path, with a change.
LIKE_INSTALLED = """\
import pathlib, sys
_own = pathlib.Path(__file__).parent
_found = (pathlib.Path(each, _own.name) for each in sys.path)
_real = next(each for each in _found if each != _own and (each / "__init__.py").is_file())
__path__ = [str(_real)]
exec(compile((_real / "__init__.py").read_text(), str(_real / "__init__.py"), "exec"))
"""

# Converts to another opset, and gets the weights wrong.
WRONG_WEIGHTS = (
    LIKE_INSTALLED
    + """
from onnx import numpy_helper as _helper, version_converter as _converter
_convert = _converter.convert_version

def _wrong(model, opset):
    made = _convert(model, opset)
    for each in made.graph.initializer:
        each.CopyFrom(_helper.from_array(_helper.to_array(each) * 2, each.name))
    return made

_converter.convert_version = _wrong
"""
)


def wheel(directory: Path, name: str, version: str, code: str, *requires: str) -> Path:
    """Write a wheel of a package with one module, and return it."""
    info = f"{name}-{version}.dist-info"
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    files = {
        f"{name}/__init__.py": code,
        f"{info}/METADATA": "\n".join([*metadata, *(f"Requires-Dist: {each}" for each in requires), ""]),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},{_digest(text)},{len(text)}\n" for path, text in files.items())
    made = directory / f"{name}-{version}-py3-none-any.whl"
    directory.mkdir(exist_ok=True)
    with zipfile.ZipFile(made, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return made


def _digest(text: str) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
