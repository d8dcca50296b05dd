"""CONTRIBUTING.md's recipe, followed to the letter on a copy of the package, with a toy engine that nobody knows of.

The copy differs from the original in nothing but what the recipe says: two new files, and a line each in the two
registries, in `Format` and in the enumerations of the schemas. Then the real command converts with it.
"""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import navigator
from navigator.engine.cached_steps import keys
from navigator.plan.planner import plan
from navigator.records import Format, RunConfig
from tests.support.builders import a_host, a_model

CONVERTER = '''
    """ONNX to a toy engine: the ONNX file behind four letters."""

    from dataclasses import dataclass

    from navigator.converters.protocol import Container, Variant, engine_segment
    from navigator.frameworks.availability import missing
    from navigator.records import Format, Properties
    from navigator.runners import toy

    SOURCE = Format.ONNX
    TARGET = Format.TOY
    DISTRIBUTIONS = ("onnxruntime",)
    PRELOAD = ()
    NEEDS_SAMPLES = False
    NEEDS_GPU = False
    LASTING = False
    CONTAINER = Container.NEVER
    PREPARED_BY = ()


    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options(toy.Options):
        broken: bool


    def variant(model, configuration):
        options = Options(precision=configuration.precision, broken=model.tensorrt_sparse_weights)
        return Variant(segment=engine_segment(configuration), options=options, precision=options.precision)


    def unavailable(host):
        return missing(DISTRIBUTIONS, "onnx", host)


    def convert(conversion):
        head = b"OOPS" if conversion.options.broken else b"TOYS"
        conversion.destination.write_bytes(head + conversion.source.read_bytes())
        return Properties(exporter="toy")
'''

RUNNER = '''
    """Runs toy engines: rounds to what the step's precision can hold."""

    from dataclasses import dataclass

    from navigator.records import Device, Precision, Properties, StepOptions
    from navigator.runners.protocol import Axis

    DISTRIBUTIONS = ("onnxruntime",)
    PRELOAD = ("onnxruntime",)
    DEVICES = (Device.CPU,)
    ARTIFACT_NAME = "model.toy"
    AXES = frozenset({Axis.PRECISION})
    AS_SOURCE = None
    CONTAINER_LIMITS = {}


    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options(StepOptions):
        precision: Precision = Precision.FP32


    @dataclass(frozen=True, kw_only=True, slots=True)
    class ToyModel:
        session: object
        signature: object
        dtype: str
        offset: float
        properties: Properties

        def infer(self, inputs):
            names = [spec.name for spec in self.signature.outputs]
            values = [value + self.offset for value in self.session.run(names, inputs)]
            return {name: value.astype(self.dtype).astype("float32") for name, value in zip(names, values)}


    def unrunnable(device, host, options):
        return ""


    def load(path, *, declared, signature_name=None, device=Device.CPU, options=None):
        import onnxruntime

        data = path.read_bytes()
        return ToyModel(
            session=onnxruntime.InferenceSession(data[4:]),
            signature=declared,
            dtype="float16" if options.precision is Precision.FP16 else "float32",
            offset=float(data.startswith(b"OOPS")),
            properties=Properties(),
        )
'''

# The lines of the recipe: after which line of which file each goes.
LINES = {
    "navigator/converters/__init__.py": [
        ("from navigator.converters import (\n", "    onnx_to_toy,\n"),
        ("CONVERTERS: dict[str, Converter] = {\n", '    "onnx_to_toy": onnx_to_toy,\n'),
    ],
    "navigator/runners/__init__.py": [
        ("from navigator.runners import ", "toy, "),
        ("RUNNERS: dict[Format, Runner] = {\n", "    Format.TOY: toy,\n"),
    ],
    "navigator/records/model.py": [('    TF_SAVEDMODEL = "tf-savedmodel"\n', '    TOY = "toy"\n')],
    "schemas/navigator.schema.json": [('"enum": ["tf-savedmodel", ', '"toy", ')],
    "schemas/convert_results.schema.json": [('"enum": ["tf-savedmodel", ', '"toy", ')],
}


@dataclass(frozen=True)
class Toys:
    """The copy, and a directory with a model to convert."""

    package: Path
    project: Path

    def convert(self, *more: str) -> tuple[int, dict[str, Any]]:
        """Return the exit code of the copy's command, and its results by conversion."""
        command = [sys.executable, "-P", "-m", "navigator", "convert", "--cache-path", "cache", *more]
        environment = {**os.environ, "PYTHONPATH": str(self.package)}
        ran = subprocess.run(command, cwd=self.project, env=environment, capture_output=True, text=True, check=False)
        path = self.project / "navigator_workspace" / "convert_results.yaml"
        assert path.exists(), ran.stderr
        return ran.returncode, {each["conversion"]: each for each in yaml.safe_load(path.read_text())["results"]}


@pytest.fixture
def toys(tmp_path: Path, tiny_onnx: Path) -> Toys:
    root = Path(navigator.__file__).parents[1]
    package, project = tmp_path / "package", tmp_path / "project"
    for name in ("navigator", "schemas"):
        shutil.copytree(root / name, package / name, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "navigator" / "converters" / "onnx_to_toy.py").write_text(textwrap.dedent(CONVERTER))
    (package / "navigator" / "runners" / "toy.py").write_text(textwrap.dedent(RUNNER))
    for name, lines in LINES.items():
        text = (package / name).read_text()
        for after, line in lines:
            assert text.count(after) == 1, (name, after)
            text = text.replace(after, after + line)
        (package / name).write_text(text)
    project.mkdir()
    (project / "tiny.onnx").write_bytes(tiny_onnx.read_bytes())
    (project / "navigator.yaml").write_text("model_name: tiny\nmodel_path: tiny.onnx\ntarget_formats: [toy]\n")
    return Toys(package, project)


def test_a_new_engine_is_planned_converted_verified_reported_and_cached(toys: Toys) -> None:
    code, results = toys.convert()

    assert {label: each["status"]["state"] for label, each in results.items()} == {
        "toy_fp16": "passed",
        "toy_fp32": "passed",
    }
    assert code == 0
    half, single = results["toy_fp16"], results["toy_fp32"]
    assert half["output_model"]["path"].endswith("converted/tiny/toy_fp16/model.toy")
    assert half["conversion_config"]["tensorrt_config"]["precision"] == "fp16"
    # The runner got the precision of the step, and verification the tolerances of that precision.
    errors = [max(each["max_abs_error"] for each in result["comparisons"]) for result in (half, single)]
    assert errors[0] > errors[1] == 0

    code, again = toys.convert()
    assert (code, [each["cached"] for each in again.values()]) == (0, [True, True])

    # Another value of its own option is another artifact, and a wrong one does not pass.
    code, broken = toys.convert("--tensorrt-sparse-weights")
    assert (code, {each["status"]["state"] for each in broken.values()}) == (1, {"mismatched"})
    assert not any(each["cached"] for each in broken.values())


def test_engines_for_a_gpu_are_built_in_one_process_unless_memory_is_short(
    toys: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    converter = toys.package / "navigator" / "converters" / "onnx_to_toy.py"
    needs, lasting = "NEEDS_GPU = False", "LASTING = False"
    text = converter.read_text()
    assert needs in text
    assert lasting in text
    converter.write_text(text.replace(needs, "NEEDS_GPU = True").replace(lasting, "LASTING = True"))
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho '0, GPU-1, NVIDIA H200, 9.0, 143771, 580.95'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def workers(gibibytes: int) -> set[str]:
        limit = ("--override-workspace", "--memory-limit-bytes", str(gibibytes << 30))
        code, results = toys.convert(*limit, "--cache-path", f"cache-{gibibytes}")
        assert (code, {each["status"]["state"] for each in results.values()}) == (0, {"passed"}), results
        workspace = toys.project / "navigator_workspace"
        assert not (workspace / ".scratch").exists()
        logs = [path.read_text() for path in (workspace / "logs" / "tiny").glob("toy_*.convert.log")]
        assert len(logs) == 2
        return {pid for log in logs for pid in re.findall(r"=== convert, .*, process (\d+)", log)}

    assert len(workers(32)) == 1
    assert len(workers(8)) == 2


def test_the_versions_of_a_converter_s_packages_are_part_of_the_identity(tmp_path: Path) -> None:
    source = tmp_path / "toy.onnx"
    source.write_text("model")
    run = RunConfig(models=(a_model(Format.ONNX, model_path=source),))

    def identities(version: str) -> list[str]:
        versions = {"onnx": version, "onnx-ir": "1", "onnxruntime": "1"}
        host = a_host(versions)
        return [key.artifact for key in keys(plan(run, host).models[0], host, "0" * 64)[0].values()]

    assert identities("1.0") == identities("1.0")
    assert identities("1.0") != identities("2.0")
