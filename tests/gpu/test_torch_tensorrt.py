"""Torch-TensorRT on a real GPU, by both of its front ends; each conversion in its own worker."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from navigator.converters import torch_export_to_torch_trt, torchscript_to_torch_trt
from navigator.records import EngineOptions, Precision, PrecisionMode, Properties, ShapeProfile, Signature, from_data
from navigator.workers.local.pool import TaskResult, TaskStatus
from tests.gpu.conftest import REPOSITORY
from tests.gpu.engines import Engines, off, ranged, spec
from tests.gpu.programs import MAKE

FP32 = {"precision": Precision.FP32, "max_workspace_size": 2**32}
FP16 = {
    "precision": Precision.FP16,
    "precision_mode": PrecisionMode.HIERARCHY,
    "tf32": True,
    "max_workspace_size": 2**32,
}

IDS, MASK = spec("input_ids", (-1, -1), "int64"), spec("attention_mask", (-1, -1), "int64")
BERT = Signature(
    inputs=(IDS, MASK),
    outputs=(spec("last_hidden_state", (-1, -1, 256)), spec("pooled", (-1, 256))),
)
IMAGE = Signature(inputs=(spec("image", (-1, 3, 128, 128)),), outputs=(spec("logits", (-1, 1000)),))
TEXTS = ranged(input_ids=((1, 8), (2, 32), (4, 64)), attention_mask=((1, 8), (2, 32), (4, 64)))
PICTURES = ranged(image=((1, 3, 128, 128), (2, 3, 128, 128), (4, 3, 128, 128)))


def texts(batch: int, length: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(batch * length)
    mask = np.ones((batch, length), "int64")
    mask[-1, length // 2 :] = 0
    return {"input_ids": rng.integers(0, 8192, (batch, length)), "attention_mask": mask}


def pictures(batch: int) -> dict[str, np.ndarray]:
    return {"image": np.random.default_rng(batch).uniform(-1, 1, (batch, 3, 128, 128)).astype("float32")}


CASES = {
    "bert_small": (BERT, TEXTS, [texts(1, 8), texts(2, 32), texts(4, 64), texts(3, 17)], texts(5, 32)),
    "mlp_mixer": (IMAGE, PICTURES, [pictures(1), pictures(2), pictures(4)], pictures(5)),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models")
    script = MAKE.format(examples=str(REPOSITORY / "examples"), only=())
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], cwd=directory, check=True)
    return directory


def reference(path: Path, signature: Signature, samples: list[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    from navigator.runners import torch_export, torchscript

    runner: Any = torch_export if path.suffix == ".pt2" else torchscript
    model = runner.load(path, declared=signature)
    return [model.infer(sample) for sample in samples]


def converted(
    engines: Engines,
    source: Path,
    signature: Signature,
    shapes: ShapeProfile,
    settings: dict[str, Any],
) -> tuple[TaskResult, Path]:
    program = source.suffix == ".pt2"
    edge = torch_export_to_torch_trt if program else torchscript_to_torch_trt
    options: EngineOptions = edge.Options(**settings)
    converter = "torch_export_to_torch_trt" if program else "torchscript_to_torch_trt"
    name = "model.pt2" if program else "model.pt"
    return engines.build(source, shapes, options, converter=converter, name=name, signature=signature)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("fp16", 3e-2)])
@pytest.mark.parametrize("model", ["mlp_mixer", "bert_small"])
def test_a_program_is_right_within_its_shapes_and_refuses_others(
    module_engines: Engines, models: Path, model: str, precision: str, tolerance: float
) -> None:
    source = models / f"{model}.pt2"
    signature, shapes, samples, outside = CASES[model]
    result, made = converted(module_engines, source, signature, shapes, FP16 if precision == "fp16" else FP32)
    assert result.status is TaskStatus.FINISHED, f"{result.message} ({result.remedy})\n{module_engines.log()[-4000:]}"
    properties = from_data(Properties, result.value)
    assert properties.trt_engines

    named = [(str(number), sample) for number, sample in enumerate(samples)]
    result, outputs = module_engines.infer(made, named, declared=signature, target="torch-trt")

    assert result.status is TaskStatus.FINISHED, f"{result.message}\n{module_engines.log()[-4000:]}"
    error = off(outputs, reference(source, signature, samples))
    print(f"{model} {precision}: {properties.trt_engines} engines, {error:.2g}")
    assert error < tolerance
    assert precision == "fp32" or error > 1e-5, "nothing was computed in fp16"
    refused, _ = module_engines.infer(made, [("large", outside)], declared=signature, target="torch-trt")
    assert refused.status is TaskStatus.FAILED
    assert "axis 0 is 5, but the program was exported for 1 to 4" in refused.message


def test_a_program_loads_with_torch_and_torch_tensorrt_alone(module_engines: Engines, models: Path) -> None:
    source = models / "mlp_mixer.pt2"
    result, made = converted(module_engines, source, IMAGE, PICTURES, FP32)
    assert result.status is TaskStatus.FINISHED, result.message
    np.save(made.parent / "x.npy", pictures(3)["image"])
    script = (
        "import sys, numpy, torch, torch_tensorrt\n"
        f"model = torch.export.load({str(made)!r}).module()\n"
        f"x = torch.from_numpy(numpy.load({str(made.parent / 'x.npy')!r})).cuda()\n"
        f"numpy.save({str(made.parent / 'y.npy')!r}, model(x).cpu().numpy())\n"
        "assert 'navigator' not in sys.modules\n"
    )
    ended = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=False, cwd="/")
    assert ended.returncode == 0, ended.stderr[-3000:]
    made_by_hand = [{"logits": np.load(made.parent / "y.npy")}]
    assert off(made_by_hand, reference(source, IMAGE, [pictures(3)])) < 1e-5


def test_a_program_with_static_shapes_and_arguments_by_name(module_engines: Engines, models: Path) -> None:
    source = models / "named.pt2"
    shapes = ranged(input_ids=((2, 24),) * 3, attention_mask=((2, 24),) * 3)
    result, made = converted(module_engines, source, BERT, shapes, FP32)
    assert result.status is TaskStatus.FINISHED, f"{result.message}\n{module_engines.log()[-4000:]}"
    result, outputs = module_engines.infer(made, [("one", texts(2, 24))], declared=BERT, target="torch-trt")
    assert result.status is TaskStatus.FINISHED, f"{result.message}\n{module_engines.log()[-4000:]}"
    assert off(outputs, reference(source, BERT, [texts(2, 24)])) < 1e-5


def test_int8_of_a_program_is_refused_in_a_sentence(module_engines: Engines, models: Path) -> None:
    result, _ = converted(module_engines, models / "mlp_mixer.pt2", IMAGE, PICTURES, {**FP16, "precision": "int8"})
    assert result.status is TaskStatus.FAILED
    assert "doesn't calibrate programs of torch.export" in result.message


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("fp16", 5e-2)])
def test_torchscript_is_right_within_its_shapes(
    module_engines: Engines, models: Path, precision: str, tolerance: float
) -> None:
    source = models / "resnet50.pt"
    settings = FP16 if precision == "fp16" else FP32
    result, made = converted(module_engines, source, IMAGE, PICTURES, settings)
    assert result.status is TaskStatus.FINISHED, f"{result.message}\n{module_engines.log()[-4000:]}"
    assert from_data(Properties, result.value).trt_engines
    samples = [pictures(1), pictures(2), pictures(4)]
    named = [(str(number), sample) for number, sample in enumerate(samples)]

    result, outputs = module_engines.infer(made, named, declared=IMAGE, target="torch-trt")

    assert result.status is TaskStatus.FINISHED, result.message
    error = off(outputs, reference(source, IMAGE, samples))
    print(f"resnet50 {precision}: {error:.2g}")
    assert error < tolerance
    refused, _ = module_engines.infer(made, [("large", pictures(5))], declared=IMAGE, target="torch-trt")
    print(refused.status, refused.message)
    assert refused.status is TaskStatus.FAILED


def test_torchscript_that_the_front_end_cannot_read_leads_to_the_other(module_engines: Engines, models: Path) -> None:
    result, _ = converted(module_engines, models / "bert_small.pt", BERT, TEXTS, FP32)

    print(result.status, result.message)
    assert result.status is TaskStatus.FAILED
    assert "torch.export.save" in result.remedy


def test_the_precision_of_a_programs_engines_is_what_was_asked_for(models: Path, tmp_path: Path) -> None:
    """According to TensorRT's own information, which Torch-TensorRT keeps in detail only when it is asked to."""
    script = f"""
import sys
from dataclasses import replace
from pathlib import Path
import tensorrt, torch, torch_tensorrt
from torch_tensorrt.dynamo.conversion._TRTInterpreter import TRTInterpreter
from navigator.converters import torch_export_to_torch_trt as edge
from navigator.converters.protocol import Conversion
from navigator.records import Precision, PrecisionMode, ShapeProfile, Signature, TensorSpec
configured = TRTInterpreter._populate_trt_builder_config
def detailed(self, *given, **more):
    made = configured(self, *given, **more)
    made.profiling_verbosity = tensorrt.ProfilingVerbosity.DETAILED
    return made
TRTInterpreter._populate_trt_builder_config = detailed
layers = []
compiled = edge._compiled
def kept(*given):
    made = compiled(*given)
    layers.extend(each.get_layer_info() for each in made.modules() if hasattr(each, "get_layer_info"))
    return made
edge._compiled = kept
shapes = {{"image": (1, 3, 128, 128)}}
for precision in (Precision.FP32, Precision.FP16):
    layers.clear()
    edge.convert(Conversion(
        source=Path({str(models / "mlp_mixer.pt2")!r}), destination=Path(f"{{precision}}.pt2"),
        options=edge.Options(precision=precision), shapes=ShapeProfile(min=shapes, opt=shapes, max=shapes),
        signature=Signature(inputs=(TensorSpec(name="image", shape=(-1, 3, 128, 128), dtype="float32"),),
                            outputs=(TensorSpec(name="logits", shape=(-1, 1000), dtype="float32"),))))
    Path(f"{{precision}}.json").write_text("\\n".join(layers))
"""
    (tmp_path / "layers.py").write_text(script)
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "layers.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}:{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    full, half = ((tmp_path / f"{precision}.json").read_text() for precision in ("fp32", "fp16"))
    print(half[:4000])
    assert "Half" in half or "FP16" in half
    assert "Half" not in full
    assert "FP16" not in full
