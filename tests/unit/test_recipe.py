"""CONTRIBUTING.md's recipe for a converter, followed with a toy: one module, one registry line."""

import textwrap
from pathlib import Path
from types import ModuleType

import pytest

from navigator.converters import CONVERTERS
from navigator.engine.reuse import keys
from navigator.plan.planner import plan
from navigator.records import Format, Host, ModelConfig, Precision, RunConfig, State
from navigator.workers import tasks

TOY = '''
    """ONNX to TensorRT, a toy: shouts the file's name."""

    from navigator.frameworks.availability import missing
    from navigator.errors import StepError
    from navigator.converters.protocol import Container, Variant, engine_segment
    from navigator.records import Format, StepOptions

    SOURCE = Format.ONNX
    TARGET = Format.TRT
    DISTRIBUTIONS = ("shout",)
    PRELOAD = ()
    NEEDS_SAMPLES = False
    NEEDS_GPU = False
    CONTAINER = Container.NEVER
    PREPARED_BY = ()
    Options = StepOptions


    def variant(model, configuration):
        return Variant(segment=engine_segment(configuration), options=StepOptions())


    def unavailable(host):
        return missing(DISTRIBUTIONS, "shout", host)


    def convert(conversion):
        if not conversion.source.name.islower():
            raise StepError(f"{conversion.source.name}: cannot shout it any louder")
        conversion.destination.write_text(conversion.source.name.upper())
        return {"volume": 11}
'''


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("onnx_to_trt")
    exec(textwrap.dedent(TOY), module.__dict__)
    monkeypatch.setitem(CONVERTERS, "onnx_to_trt", module)
    return module


def host(**versions: str) -> Host:
    # What runs the engine is there; the toy is not.
    installed = {"onnx": "1", "onnxruntime": "1", "tensorrt": "1", "polygraphy": "1", **versions}
    return Host(python="3.11", system="Linux", cpu="cpu", cpu_count=2, memory_bytes=2**34, versions=installed)


def config(path: Path) -> ModelConfig:
    return ModelConfig(
        model_name="toy",
        model_path=path,
        model_format=Format.ONNX,
        target_formats=(Format.TRT,),
        tensorrt_precisions=(Precision.FP32,),
    )


@pytest.mark.usefixtures("toy")
def test_a_registered_converter_is_planned_converts_and_is_part_of_the_identity(tmp_path: Path) -> None:
    source = tmp_path / "toy.onnx"
    source.write_text("model")
    run = RunConfig(models=(config(source),))

    planned = plan(run, host(shout="1.0")).models[0]

    assert [(step.label, step.converter) for step in planned.steps] == [
        ("trt_fp32", "onnx_to_trt"),
    ]
    arguments = {
        "converter": "onnx_to_trt",
        "conversion": {"source": str(source), "destination": str(tmp_path / "out.plan"), "options": {}},
    }
    assert tasks.convert(arguments) == {"volume": 11}
    assert (tmp_path / "out.plan").read_text() == "TOY.ONNX"


@pytest.mark.usefixtures("toy")
def test_without_its_package_its_cells_say_how_to_get_it(tmp_path: Path) -> None:
    cell = plan(RunConfig(models=(config(tmp_path / "toy.onnx"),)), host()).models[0].cells[0]

    assert (cell.state, cell.reason) == (State.UNAVAILABLE, "not installed: shout")
    assert cell.remedy == "pip install shout"


def test_the_versions_of_its_packages_are_part_of_the_identity(tmp_path: Path) -> None:
    source = tmp_path / "toy.onnx"
    source.write_text("model")
    run = RunConfig(models=(ModelConfig(model_name="m", model_path=source, model_format=Format.ONNX),))

    def identities(version: str) -> list[str]:
        machine = host(onnx=version)
        return [key.artifact for key in keys(plan(run, machine).models[0], machine).values()]

    assert identities("1.0") == identities("1.0")
    assert identities("1.0") != identities("2.0")
