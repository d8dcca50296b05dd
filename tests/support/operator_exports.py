"""Exports torch's samples of its operators, and compares torch with ONNX Runtime.

`python -m tests.support.operator_exports EXPORTER NAME...` does it for some operators, in a process that may crash, and
prints lines of JSON. `sweep` starts such processes.
"""
# ruff: noqa: TID253 - the framework is what is tested

import contextlib
import copy
import functools
import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from navigator.converters import torch_export_to_onnx, torchscript_to_onnx
from navigator.errors import StepError
from navigator.records import Signature, TensorSpec
from navigator.runners import onnx as onnx_runner
from navigator.runners import torch_export, torchscript
from navigator.runners.abilities import TellsValues
from navigator.runners.protocol import SourceModel
from tests.support.differences import difference
from tests.support.exports import Exports
from tests.support.operators import VALUES, Operator, Together, modules, operators

Arrays = dict[str, np.ndarray]

DTYPES = (torch.float32, torch.int64, torch.uint8, torch.bool)

# Of processor time; an operator that takes longer has samples that are no use here.
_SECONDS = 60

# Starting a process takes as long as a few operators.
_AT_ONCE = 24


@dataclass(frozen=True)
class Exporter:
    """How a module is saved and exported.

    Args:
        suffix: of the file.
        opset: what it is exported to.
        samples: of an operator with float32, at most.
        others: of an operator with another type, at most.
        save: writes a module, given an example of its inputs.
        load: loads the file again.
        converter: its key in `navigator.converters.CONVERTERS`.
    """

    suffix: str
    opset: int
    samples: int
    others: int
    save: Callable[[torch.nn.Module, tuple[torch.Tensor, ...], Path], None]
    load: Callable[[Path, Signature], SourceModel]
    converter: str
    options: Callable[[int], Any]


def _save_script(module: torch.nn.Module, example: tuple[torch.Tensor, ...], path: Path) -> None:
    torch.jit.save(torch.jit.trace(module, example, check_trace=False), str(path))


def _save_program(module: torch.nn.Module, example: tuple[torch.Tensor, ...], path: Path) -> None:
    torch.export.save(torch.export.export(module, example), path)


EXPORTERS = {
    "torchscript": Exporter(
        suffix=".pt",
        opset=17,
        samples=12,
        others=3,
        save=_save_script,
        load=lambda path, declared: torchscript.load(path, declared=declared),
        converter="torchscript_to_onnx",
        options=lambda opset: torchscript_to_onnx.Options(opset=opset),
    ),
    "torch-export": Exporter(
        suffix=".pt2",
        opset=18,
        samples=6,
        others=1,
        save=_save_program,
        load=lambda path, declared: torch_export.load(path, declared=declared),
        converter="torch_export_to_onnx",
        options=lambda opset: torch_export_to_onnx.Options(opset=opset),
    ),
}


def _noise(model: SourceModel, inputs: Arrays, outputs: Arrays) -> Arrays:
    """Return how much each output changes if every input does by its last bit."""
    noise = {name: np.zeros(array.shape) for name, array in outputs.items()}
    for direction in (-np.inf, np.inf):
        moved = {
            name: np.nextafter(array, array.dtype.type(direction)) if array.dtype.kind == "f" else array
            for name, array in inputs.items()
        }
        for name, array in model.infer(moved).items():
            with np.errstate(all="ignore"):
                change = np.abs(array.astype(np.float64) - outputs[name].astype(np.float64))
            noise[name] = np.maximum(noise[name], change)
    return noise


def compared(modules: Sequence[Operator], exporter: Exporter) -> list[list[str]]:
    """Export modules as one, and return what becomes of each with each of its inputs: same, or how it differs.

    Raises:
        StepError: the product refuses the model, or ONNX Runtime does.
        Exception: torch can't save it.
    """
    with tempfile.TemporaryDirectory() as scratch:
        return _compared(modules, exporter, Path(scratch))


def _compared(modules: Sequence[Operator], exporter: Exporter, directory: Path) -> list[list[str]]:
    together = Together(modules)
    source = directory / f"model{exporter.suffix}"
    exporter.save(together, together.example, source)
    inputs = tuple(
        TensorSpec(name=f"x{index}", shape=tuple(x.shape), dtype=str(x.dtype).removeprefix("torch."))
        for index, x in enumerate(together.example)
    )
    model = exporter.load(source, Signature(inputs=inputs, outputs=()))
    kinds = list(VALUES)
    if isinstance(model, TellsValues) and model.sorting_operations:  # equal values come in any order
        if len(modules) > 1:
            raise ValueError("each by itself")
        kinds = ["own", "negative", "large"] if all(x.is_floating_point() for x in together.example) else []
    samples = {}
    for kind in kinds:
        tensors = [x for module in modules for x in VALUES[kind](module.example)]
        arrays = {spec.name: x.numpy() for spec, x in zip(inputs, tensors, strict=True)}
        with contextlib.suppress(StepError):  # not a value that the operator takes
            once, again = model.infer(arrays), model.infer(arrays)
            if all(np.array_equal(array, again[name], equal_nan=True) for name, array in once.items()):
                samples[kind] = arrays
    if "own" not in samples:
        return [[] for _ in modules]
    run = Exports(directory, source, model, [*samples.items()], converter=exporter.converter, options=exporter.options)
    path, _ = run.convert(exporter.opset)
    converted = onnx_runner.load(path, declared=run.signature)
    results: list[list[str]] = [[] for _ in modules]
    for (kind, arrays), (_, expected) in zip(samples.items(), run.expected, strict=True):
        try:
            actual = converted.infer(arrays)
        except StepError as error:
            if kind == "own":
                raise
            for each in results:
                each.append(f"refused at {kind}: {error}")
            continue
        noise = _noise(model, arrays, expected)
        names = iter(expected)
        for module, each in zip(modules, results, strict=True):
            own = list(itertools.islice(names, module.outputs))
            found = [text for text in (difference(expected[name], actual[name], noise[name]) for name in own) if text]
            each.append(f"{kind}: {found[0]}" if found else "same")
    return results


def examined(operator: Any, exporter: Exporter) -> dict[str, Any]:
    """Return how many samples of an operator came out the same, were refused or differ, and how, by dtype."""
    counts: Counter[str] = Counter()
    differences: list[str] = []
    found = [
        (dtype, each)
        for dtype in DTYPES
        if dtype in operator.dtypes
        for each in modules(operator, dtype, exporter.samples if dtype is torch.float32 else exporter.others)
    ]
    try:
        results = compared([module for _, module in found], exporter) if found else []
    except Exception:  # noqa: BLE001 - each by itself
        results = [_alone(module, exporter) for _, module in found]
    for (dtype, module), each in zip(found, results, strict=True):
        for result in each:
            what = result.partition(":")[0].partition(" at ")[0]
            counts[what if what in ("same", "refused", "not a model") else "differs"] += 1
            if what not in ("same", "refused", "not a model"):
                shapes = [list(x.shape) for x in module.example]
                differences.append(f"{str(dtype)[6:]} {shapes} {module.constants} {result}")
    return {"counts": dict(counts), "differences": differences}


def _alone(module: Operator, exporter: Exporter) -> list[str]:
    try:
        return compared([module], exporter)[0]
    except StepError as error:
        return [f"refused: {error}"]
    except Exception as error:  # noqa: BLE001 - torch can't save it, or loads something else
        return [f"not a model: {error}"]


def sweep(exporter: str, names: Sequence[str], processes: int) -> dict[str, dict[str, Any]]:
    """Return what `examined` returns for each operator, by name; one that ends its process counts as crashed."""
    found: dict[str, dict[str, Any]] = {}

    def work(left: Sequence[str]) -> None:
        while left:
            result = subprocess.run(
                [sys.executable, "-m", __name__, exporter, *left],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            lines = [json.loads(line) for line in result.stdout.splitlines()]
            for each in lines:
                found[each.pop("operator")] = each or {"counts": {"crashed": 1}, "differences": []}
            begun = {name for name in left if name in found}
            assert begun, f"{exporter}: a process for {left[0]} ended with {result.returncode} before it began"
            left = [name for name in left if name not in begun]

    with ThreadPoolExecutor(processes) as pool:
        list(pool.map(work, (names[first : first + _AT_ONCE] for first in range(0, len(names), _AT_ONCE))))
    return found


def _read_functions_once() -> None:
    """Let exports share what they read of onnxscript's functions, which takes half of their time."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    read = functools.cache(ONNXRegistry.from_torchlib)

    def copied(*arguments: Any, **options: Any) -> ONNXRegistry:
        registry = copy.copy(read(*arguments, **options))
        registry.functions = {target: [*found] for target, found in registry.functions.items()}
        return registry

    ONNXRegistry.from_torchlib = staticmethod(copied)


class _TooLongError(BaseException):
    """Not an Exception, which converters turn into a refusal."""


def _stop(*_: object) -> None:
    raise _TooLongError


def main(arguments: Sequence[str]) -> None:
    """Print what `examined` returns for some operators: a line when one begins, and one when it ends."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    signal.signal(signal.SIGPROF, _stop)
    # The exporters print, some of them in C++.
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    exporter = EXPORTERS[arguments[0]]
    _read_functions_once()
    for name in arguments[1:]:
        torch.manual_seed(0)
        np.random.seed(0)
        print(json.dumps({"operator": name}), file=report, flush=True)
        found: dict[str, Any] = {"counts": {"too long": 1}, "differences": []}
        signal.setitimer(signal.ITIMER_PROF, _SECONDS)
        with contextlib.suppress(_TooLongError):
            found = examined(operators()[name], exporter)
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps({"operator": name, **found}), file=report, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
