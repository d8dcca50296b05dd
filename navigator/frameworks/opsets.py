"""The opset that a model is exported at if the user names none: the lowest that its operators need, from `DEFAULT` on.

Imports no framework: tests hold the tables against the installed exporters.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from navigator.errors import listed
from navigator.records import Format

DEFAULT = 14

# The lowest opset whose ScatterND and ScatterElements add. Below it, exports keep one of several values for one place.
ADDS = 16

# The operators that need more than the default: the exporters (torch 2.13, tf2onnx 1.17) refuse them below.
NEEDED: Mapping[Format, Mapping[str, int]] = {
    Format.TORCHSCRIPT: {
        "aten::scatter_add": ADDS,
        "aten::index_add": ADDS,
        "aten::grid_sampler": 16,
        "aten::scatter_reduce": 16,
        "aten::col2im": 18,
        "aten::affine_grid_generator": 20,
    },
    Format.TF_SAVEDMODEL: {
        "ScatterNd": ADDS,
        "TensorScatterAdd": 16,
        "TensorScatterMax": 16,
        "TensorScatterMin": 16,
        "TensorScatterSub": 16,
        "BitwiseAnd": 18,
        "BitwiseOr": 18,
        "BitwiseXor": 18,
        "Invert": 18,
    },
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Raised:
    """An opset above `instead_of`, and what needs it."""

    opset: int
    needed_by: tuple[str, ...]
    instead_of: int = DEFAULT

    def __str__(self) -> str:
        verb = "needs" if len(self.needed_by) == 1 else "need"
        return f"opset {self.opset} instead of {self.instead_of}: {listed(self.needed_by)} {verb} it"


def raised(source: Format, operators: Collection[str]) -> Raised | None:
    """Return the opset that these operators of a source model need, None if it's the default of its exporter."""
    table = NEEDED.get(source, {})
    needs = {name: table[name] for name in map(_out_of_place, operators) if name in table}
    if not needs:
        return None
    highest = max(needs.values())
    return Raised(opset=highest, needed_by=tuple(sorted(name for name, opset in needs.items() if opset == highest)))


def _out_of_place(operator: str) -> str:
    """Return the operator that computes the same as one of torch in place, whose name ends with "_"."""
    return operator if operator.endswith("__") else operator.removesuffix("_")
