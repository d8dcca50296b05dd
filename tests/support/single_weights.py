"""Judges conversions of an example to ONNX that are right, and with one weight off by a thousandth.

    python -m tests.support.single_weights MODEL DIRECTORY COUNT

Each example needs a framework, and no two may share a process. Prints JSON: the `right` conversions that don't pass,
and of the `COUNT` wrong ones those that no output shows (`unseen`), and of these the ones whose weights show it neither
(`missed`).
"""

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx  # noqa: TID253 - makes the models
import onnxruntime  # noqa: TID253 - runs them
import yaml

from navigator.config.load import load
from navigator.converters import CONVERTERS
from navigator.converters.protocol import Conversion
from navigator.frameworks.declaration import agreed
from navigator.records import Configuration, Format, Precision, Signature
from navigator.runners import RUNNERS
from navigator.samples import storage
from navigator.verify.compare import verify
from navigator.verify.noise import measured
from navigator.verify.outputs import Outputs
from navigator.verify.tolerances import tolerances
from navigator.workers.noise import probes
from navigator.workers.source_runs import run
from navigator.workers.weights import weights

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
OFF = 1e-3


def make(name: str, directory: Path) -> None:
    """Write an example model and its configuration."""
    sys.path.insert(0, str(EXAMPLES))
    spec = importlib.util.spec_from_file_location("make_models", EXAMPLES / "make_models.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    directory.mkdir()
    module.DIRECTORY = directory / "models"  # type: ignore[attr-defined]
    sys.argv = ["make_models.py", "--only", name]
    module.main()
    document = yaml.safe_load((EXAMPLES / "navigator.yaml").read_text())
    document["models"] = [each for each in document["models"] if each["model_name"] == name]
    (directory / "navigator.yaml").write_text(yaml.safe_dump(document))


def run_onnx(model: Any, samples: Any, *, optimized: bool = True) -> Outputs:
    settings = onnxruntime.SessionOptions()
    if not optimized:
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    inputs = [each.name for each in session.get_inputs()]
    return [
        (sample, dict(zip(names, session.run(names, {key: arrays[key] for key in inputs}), strict=True)))
        for sample, arrays in samples
    ]


def off(model: Any, weight: Any, at: int, by: float) -> Any:
    """Return a copy of the model with one element of a weight changed."""
    values = onnx.numpy_helper.to_array(weight).copy()
    values.flat[at] += np.float32(by)
    changed = type(model).FromString(model.SerializeToString())
    found = next(each for each in changed.graph.initializer if each.name == weight.name)
    found.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    return changed


def main(name: str, directory: Path, count: int) -> dict[str, list[str]]:
    make(name, directory)
    found = load(directory / "navigator.yaml", {}, working_directory=directory, allow_outside=True)
    config = replace(found.models[0], atol="auto", rtol="auto")
    assert config.model_format is not None
    declared = Signature(inputs=config.inputs, outputs=config.outputs)
    source = RUNNERS[config.model_format].load(
        config.model_path, declared=declared, signature_name=config.signature_name
    )
    inputs = agreed("inputs", declared.inputs, source.signature.inputs)
    runs = run(source, inputs, config, 2**30)
    expected = runs.outputs
    probed = probes(source, runs.samples, expected)
    noise = measured(expected, probed.rounded, {}, probed.batches)
    allowed = tolerances(config, Precision.FP32, expected, noise)
    storage.save(directory / "samples", runs.samples)
    signature = Signature(inputs=inputs, outputs=agreed("outputs", declared.outputs, source.signature.outputs))

    def passes(outputs: Outputs) -> bool:
        return verify(expected, outputs, atol=allowed.atol, rtol=allowed.rtol, noise=noise).passed

    converter = next(
        each
        for each in CONVERTERS.values()
        if each.SOURCE is config.model_format and each.TARGET is Format.ONNX and not each.PREPARED_BY
    )

    def wrong(path: Path) -> bool:
        arguments = {"source": str(config.model_path), "source_format": config.model_format}
        found = weights({**arguments, "path": str(path), "format": "onnx", "precision": Precision.FP32})
        assert found is not None
        return bool(found.wrong)

    right = []
    for opset in config.onnx_opsets:
        variant = converter.variant(config, Configuration(target_format=Format.ONNX, onnx_opset=int(opset)))
        assert variant is not None
        path = directory / str(opset) / "model.onnx"
        path.parent.mkdir()
        converter.convert(
            Conversion(
                source=config.model_path,
                destination=path,
                options=variant.options,
                signature=signature,
                samples=directory / "samples",
            )
        )
        model = onnx.load(str(path))
        right += [
            f"opset {opset}, {optimized=}"
            for optimized in (True, False)
            if not passes(run_onnx(model, runs.samples, optimized=optimized))
        ]
        right += [f"opset {opset}, weights"] if wrong(path) else []
    tensors = [each for each in model.graph.initializer if each.data_type == 1 and np.prod(each.dims) > 1]
    rng = np.random.default_rng(0)
    unseen, missed = [], []
    for _ in range(count):
        weight = tensors[int(rng.integers(len(tensors)))]
        at = int(rng.integers(np.prod(weight.dims)))
        changed = off(model, weight, at, OFF)
        if not passes(run_onnx(changed, runs.samples)):
            continue
        unseen.append(f"{weight.name}[{at}]")
        onnx.save(changed, str(directory / "wrong.onnx"))
        if not wrong(directory / "wrong.onnx"):
            missed.append(unseen[-1])
    return {"right": right, "unseen": unseen, "missed": missed}


if __name__ == "__main__":
    model, place, number = sys.argv[1:]
    sys.stdout.write(f"\n{json.dumps(main(model, Path(place), int(number)))}\n")
