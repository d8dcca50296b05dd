"""NumPy's names for the dtypes that can be verified, and that of text, without importing NumPy.

A test compares the table with NumPy itself.
"""

import re

from navigator.config.schema import nearest
from navigator.errors import quote
from navigator.records import TEXT

_SPELLINGS = {
    "bool": "bool bool_ ? b1",
    "int8": "int8 byte b i1",
    "int16": "int16 short h i2",
    "int32": "int32 intc i i4",
    "int64": "int64 int int_ long l longlong q intp p i8",
    "uint8": "uint8 ubyte B u1",
    "uint16": "uint16 ushort H u2",
    "uint32": "uint32 uintc I u4",
    "uint64": "uint64 uint ulong L ulonglong Q uintp P u8",
    "float16": "float16 half e f2",
    "float32": "float32 single f f4",
    "float64": "float64 double float d f8",
}
NAMES = {spelling: name for name, spellings in _SPELLINGS.items() for spelling in spellings.split()}

_TEXTS = frozenset({"str", "str_", TEXT, "unicode", "U"})
_OBJECTS = frozenset({"bytes", "bytes_", "object", "object_", "O", "S", "void", "V"})
_BYTE_ORDER = re.compile(r"[<>=|](?=[a-zA-Z?][0-9]*$)")
_SIZED_TEXT = re.compile(r"^U[0-9]+$")
_SIZED_BYTES = re.compile(r"^[SV][0-9]+$")
# Names of the same types in other tools: not NumPy's, but unambiguous.
_FOREIGN_PREFIX = re.compile(r"^(np\.|numpy\.|torch\.|tf\.|jnp\.|type_)")
_FOREIGN = {
    **{f"{short}{bits}": f"float{bits}" for short in ("f", "fp") for bits in (16, 32, 64)},
    **{f"i{bits}": f"int{bits}" for bits in (16, 32, 64)},
    "boolean": "bool",
}
# PyTorch's `float` isn't NumPy's.
_TORCH = {
    "byte": "uint8",
    "char": "int8",
    "short": "int16",
    "int": "int32",
    "long": "int64",
    "half": "float16",
    "float": "float32",
    "double": "float64",
}
_TORCH_NAME = re.compile(r"torch\.(\w+)|(?:torch\.)?(?:cuda\.)?(\w+)tensor")


def canonical_dtype(text: str) -> str | None:
    """Return NumPy's name for the dtype `text`, `TEXT` for text, or None if that can't be verified."""
    bare = _BYTE_ORDER.sub("", text, count=1)
    return TEXT if bare in _TEXTS or _SIZED_TEXT.match(bare) else NAMES.get(bare)


def dtype_problem(text: str) -> tuple[str, str]:
    """Return the message and the hint for a dtype that `canonical_dtype` does not know."""
    if _BYTE_ORDER.sub("", text, count=1) in _OBJECTS or _SIZED_BYTES.match(_BYTE_ORDER.sub("", text, count=1)):
        return (
            f"dtype {quote(text)} can't be verified: bytes and objects can't be compared numerically",
            f"write {TEXT} for inputs of ONNX models that are text; of others, convert only the part behind them",
        )
    if text in ("bfloat16", "bf16", "float8_e4m3fn", "float8_e5m2", "int4", "uint4"):
        return (
            f"{quote(text)} is not a NumPy dtype",
            "use one for the model's inputs and outputs, e.g. float32",
        )
    if text.startswith(("complex", "longdouble", "float128", "datetime64", "timedelta64")):
        return f"dtype {quote(text)} can't be verified", "use a float, int, uint or bool dtype, e.g. float32"
    torch = _TORCH_NAME.fullmatch(text.lower())
    bare = _FOREIGN_PREFIX.sub("", text.lower())
    meant = (torch and _TORCH.get(torch[1] or torch[2])) or NAMES.get(_FOREIGN.get(bare, bare))
    meant = meant or nearest(bare, list(_SPELLINGS))
    hint = f"did you mean '{meant}'?" if meant else "write e.g. float32, float16, int64, int32, uint8 or bool"
    return f"{quote(text)} is not a NumPy dtype", hint
