"""Errors planted on the way from PyTorch and TensorFlow to ONNX, and rewrites that mean the same: whole runs.

A converter reads another model than the one that its result is compared with: everything else is what users run, with
the samples that the tool makes by itself.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.run.planted.faults import Planted
from tests.run.planted.tensorflow_faults import TENSORFLOW
from tests.run.planted.torch_faults import TORCH

ROOT = Path(__file__).parents[2]

SABOTAGE = """
import json, pathlib
directory = pathlib.Path(__file__).parent
planted = json.loads((directory / "planted.json").read_text())

def path():
    # A worker's directory is .scratch/<model>/<conversion>/convert.
    model, conversion, what = pathlib.Path.cwd().parts[-3:]
    found = planted.get(f"{model} {conversion}") if what == "convert" else None
    return str(directory / found) if found else None

def instead(load):
    return lambda given, *more, **options: load(path() or given, *more, **options)
"""

TORCH_LOADS = """
import torch, torch.export
torch.jit.load, torch.export.load = instead(torch.jit.load), instead(torch.export.load)
"""
TENSORFLOW_LOADS = """
import tensorflow
tensorflow.saved_model.load = instead(tensorflow.saved_model.load)
"""


class Edge(NamedTuple):
    models: Mapping[str, Planted]
    suffix: str
    opsets: range  # one variant each
    module: str
    loads: str


EDGES = {
    "torchscript": Edge(TORCH, ".pt", range(14, 21), "torch_models", TORCH_LOADS),
    # torch.export takes no branches on values.
    "torch-export": Edge(
        {name: each for name, each in TORCH.items() if name != "Branches"},
        ".pt2",
        range(18, 22),
        "torch_models",
        TORCH_LOADS,
    ),
    "tf-savedmodel": Edge(TENSORFLOW, ".savedmodel", range(13, 19), "tensorflow_models", TENSORFLOW_LOADS),
}


def chunks(edge: Edge, model: str, wanted: list[str]) -> list[list[str]]:
    """Return variants to convert from one source: at most one honest one and last, since higher opsets may follow it.

    A file that passed is what higher opsets are raised from.
    """
    honest = [name for name in wanted if name in edge.models[model].honest]
    errors = [name for name in wanted if name not in honest]
    room = len(edge.opsets) - 1
    number = max(len(honest), -(-len(errors) // room))
    return [[*errors[i * room : (i + 1) * room], *honest[i : i + 1]] for i in range(number)]


def results(
    convert: Any, project: Path, monkeypatch: pytest.MonkeyPatch, name: str, wanted: Mapping[str, list[str]]
) -> dict[tuple[str, str], dict[str, Any]]:
    """Convert models to ONNX, each conversion from a variant of what it's compared with; return results by variant."""
    edge = EDGES[name]
    directory = project / "sabotage"
    directory.mkdir()
    orders: list[tuple[str, str, tuple[str, ...]]] = []
    planted, cells, lines = {}, {}, []
    for model, names in wanted.items():
        known = edge.models[model]
        source = f"{model}{edge.suffix}"
        orders.append((str(project / source), model, ()))
        for number, chunk in enumerate(chunks(edge, model, names)):
            key = f"{model}_{number}"
            for opset, variant in zip(edge.opsets, chunk, strict=False):
                file = f"{model}_{names.index(variant)}{edge.suffix}"
                orders.append((str(directory / file), model, (known.honest | known.errors)[variant]))
                planted[f"{key} onnx_op{opset}"] = file
                cells[key, f"onnx_op{opset}"] = (model, variant)
            inputs = f", inputs: {json.dumps(known.inputs.split())}" if name == "torchscript" else ""
            opsets = list(edge.opsets)[: len(chunk)]
            lines.append(
                f"  - {{model_name: {key}, model_path: {source}, onnx_opsets: {opsets}, {known.options}{inputs}}}\n"
            )
    made = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", f"tests.run.planted.{edge.module}"],
        input=json.dumps(orders),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    (directory / "planted.json").write_text(json.dumps(planted))
    (directory / "sitecustomize.py").write_text(SABOTAGE + edge.loads)
    monkeypatch.setenv("PYTHONPATH", str(directory))

    _, report = convert(f"defaults: {{target_formats: onnx}}\nmodels:\n{''.join(lines)}")

    found = {(each["model_name"], each["conversion"]): each for each in report["results"]}
    assert found.keys() == cells.keys()
    return {cells[key]: each for key, each in found.items()}


def check(found: Mapping[tuple[str, str], dict[str, Any]], edge: Edge) -> None:
    wrong = []
    for (model, name), result in found.items():
        expected = ("passed" if name in edge.models[model].honest else "mismatched"), ""
        if name in REFUSED:
            expected = "failed", REFUSED[name]
        status = result["status"]
        if status["state"] != expected[0] or expected[1] not in status["message"]:
            wrong.append(f"{model}, {name}: {status}")
    assert not wrong, "\n".join(wrong)


def every(edge: Edge) -> dict[str, list[str]]:
    return {model: [*known.honest, *known.errors] for model, known in edge.models.items()}


# What is a failure, since it runs in one batch size only.
REFUSED = {"batch of the example": "converted, but can't be run"}

# A few for every pull request. torch.export takes seconds for each.
QUICK = {
    "torchscript": {
        "Branches": ["batch of seven", "large batches forgotten"],
        "Missing": ["missing numbers kept", "nothing is missing", "halves up", "chosen the other way"],
        "Tabular": [
            "batch norm by hand",
            "batch norm in training",
            "another epsilon of batch norm",
            "one weight",
            "last class lost",
            "NaN at (0, 0)",
            "last row",
        ],
        "Sensitive": ["halves added up", "one level", "one weight", "another epsilon"],
    },
    "tf-savedmodel": {
        "Counts": ["quotient by the remainder", "trunc for floor", "sign of the dividend", "int32 overflows"]
    },
}


@pytest.mark.fault("An exporter of PyTorch or TensorFlow computes something else", "The conversion is a mismatch.")
@pytest.mark.parametrize("name", QUICK)
def test_errors_of_every_framework_are_found(
    convert: Any, project: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    check(results(convert, project, monkeypatch, name, QUICK[name]), EDGES[name])


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "model"), [(name, model) for name, edge in EDGES.items() for model in edge.models])
def test_planted_errors_are_found_and_honest_rewrites_pass(
    convert: Any, project: Path, monkeypatch: pytest.MonkeyPatch, name: str, model: str
) -> None:
    edge = EDGES[name]
    check(results(convert, project, monkeypatch, name, {model: every(edge)[model]}), edge)


def test_enough_errors_are_planted() -> None:
    for edge in EDGES.values():
        assert sum(len(known.errors) for known in edge.models.values()) >= 100
