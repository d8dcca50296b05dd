"""Which operators of a torch graph are exported to something else for some values, as the list beside this file has it.

Pure but for the versions that are installed.
"""

import functools
from collections.abc import Collection, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from navigator.frameworks.torch.calls import Call
from navigator.records import TensorSpec

PATH = Path(__file__).with_name("differing_operators.yaml")

_WHOLE = ("int", "uint")


def notes(calls: Collection[Call], inputs: Collection[TensorSpec], exporter: str) -> tuple[str, ...]:
    """Return a sentence on the operators of a model whose export is known to differ in the installed versions.

    Those that differ only for values that the model's inputs rule out aren't told.

    Args:
        calls: the operations of the model.
        inputs: its inputs.
        exporter: `torchscript` or `torch-export`.
    """
    listed = _listed()
    if any(not _is_installed(name, known) for name, known in listed["versions"].items()):
        return ()
    found = {}
    for operator, what in listed[exporter].items():
        names = listed["operators"].get(operator, [f"aten::{operator}"])
        called = next((call for call in calls if _name(call) in names and _applies(operator, call)), None)
        if called is not None and _may_be(listed["only_for"].get(operator, ""), inputs):
            found[_name(called)] = what
    if not found:
        return ()
    told = "; ".join(f"{name} ({what})" for name, what in found.items())
    versions = ", ".join(f"{name} {known}" for name, known in listed["versions"].items() if name != "onnxruntime")
    return (
        f"exported to something else for some values, which only samples with such values show: {told}; {versions}",
    )


@functools.cache
def _listed() -> Mapping[str, Any]:
    found: Mapping[str, Any] = yaml.safe_load(PATH.read_text(encoding="utf-8"))
    return found


def _is_installed(name: str, known: str) -> bool:
    try:
        return ".".join(version(name).split("+")[0].split(".")[:2]) == known
    except PackageNotFoundError:
        return False


def _name(call: Call) -> str:
    """Return the name of an operator as TorchScript writes it: a program has `aten.pow.Tensor_Scalar`."""
    if "::" in call.name:
        return call.name
    namespace, _, name = call.name.partition(".")
    return f"{namespace}::{name.partition('.')[0]}"


def _applies(operator: str, call: Call) -> bool:
    """Return whether a call is of the kind that an entry is about, as far as its constants show."""
    if operator in ("pow", "__rpow__"):  # with a number that isn't whole, nor is what comes out
        return not call.floats and not any(isinstance(each, float) for each in call.arguments.values())
    if not operator.startswith("nn.functional.pad."):
        return True
    return call.arguments.get("mode") == operator.rpartition(".")[2] and any(_negative(call.arguments.get("pad")))


def _negative(sizes: Any) -> Iterator[bool]:
    for size in sizes if isinstance(sizes, list | tuple) else ():
        yield not isinstance(size, int) or size < 0


def _may_be(values: str, inputs: Collection[TensorSpec]) -> bool:
    """Return whether inputs may make such values: whole numbers come from whole numbers."""
    match values:
        case "integers":
            return any(spec.dtype.startswith(_WHOLE) for spec in inputs)
        case "uint8":
            return any(spec.dtype == "uint8" for spec in inputs)
        case "scalars":
            return any(spec.shape == () for spec in inputs)
        case _:
            return True
