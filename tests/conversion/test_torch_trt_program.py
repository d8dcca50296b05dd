"""torch.export programs to Torch-TensorRT, and their runner, without Torch-TensorRT: that needs a GPU (tests/gpu).

A small fake module `torch_tensorrt` takes what 2.11 takes, by the same names, and gives the program back as a module;
exporting, narrowing, saving, loading and running it is torch's. Without a GPU everything runs on the CPU.
"""
# ruff: noqa: TID253 - the framework is what is tested
# mypy: allow-subclassing-any

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.export import Dim

from navigator.converters import torch_export_to_torch_trt as edge
from navigator.converters.protocol import Conversion
from navigator.errors import NotApplicableError, StepError
from navigator.frameworks.torch import torch_tensorrt
from navigator.frameworks.torch.torch_tensorrt import FrontEnd
from navigator.records import Configuration, Device, Format, Gpu, Precision, PrecisionMode, ShapeProfile, Signature
from navigator.runners import torch_export, torch_trt
from tests.support.builders import a_gpu, a_model

OPTIONS = edge.Options(precision=Precision.FP32, max_workspace_size=2**30)
FP16 = replace(OPTIONS, precision=Precision.FP16, precision_mode=PrecisionMode.HIERARCHY, tf32=True)
WEAK = FrontEnd(version="2.11.0", typed=False, autocasts=True)
TYPED = FrontEnd(version="2.13.0", typed=True, autocasts=True)
FLOAT = frozenset({"float32"})
HALF = frozenset({"float16"})


class Scores(torch.nn.Module):
    """Two inputs that share their first axis; a dictionary comes out."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = torch.nn.Linear(4, 3)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
        made = torch.relu(self.linear(x)) * mask
        return {"scores": made, "sum": made.sum(-1)}


class TorchTensorRTModule(torch.nn.Module):
    """Named as what Torch-TensorRT leaves for each engine."""


@dataclass
class Library:
    """What the fake module was given, and what it answers."""

    engines: int = 1
    answer: Callable[[Any], Any] = lambda module: module
    given: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture(autouse=True)
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    device = Device.CUDA if torch.cuda.is_available() else Device.CPU
    monkeypatch.setattr(torch_tensorrt, "DEVICE", device)
    return device


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    fake = Library()

    def compiled(
        exported_program: Any,
        inputs: Any = None,
        *,
        arg_inputs: Any = None,
        kwarg_inputs: Any = None,
        disable_tf32: bool = False,
        sparse_weights: bool = False,
        enabled_precisions: Any = (),
        workspace_size: int = 0,
        optimization_level: int | None = None,
        truncate_double: bool = False,
        timing_cache_path: str = "",
        use_explicit_typing: bool = True,
        enable_autocast: bool = False,
        autocast_low_precision_type: Any = None,
        decompose_attention: bool = False,
    ) -> Any:
        warnings.warn("`use_explicit_typing` is deprecated. It is on by default", DeprecationWarning, 2)
        fake.given.append({key: value for key, value in locals().items() if key not in ("fake", "inputs")})
        if timing_cache_path:
            Path(timing_cache_path).write_bytes(b"measured")
        module = fake.answer(exported_program.module())
        for number in range(fake.engines):
            module.add_module(f"_run_on_acc_{number}", TorchTensorRTModule())
        return module

    def save(module: Any, file_path: str, *, output_format: str, dynamic_shapes: Any, **given: Any) -> None:
        assert output_format == "exported_program"
        arguments, named = given["arg_inputs"], given["kwarg_inputs"]
        program = torch.export.export(module, arguments, kwargs=named, dynamic_shapes=dynamic_shapes)
        torch.export.save(program, file_path)

    module = module_from_spec(ModuleSpec("torch_tensorrt", None))
    vars(module).update(
        __version__="2.11.0",
        dynamo=SimpleNamespace(compile=compiled),
        Input=lambda **settings: settings,
        save=save,
    )
    tensorrt = module_from_spec(ModuleSpec("tensorrt", None))
    vars(tensorrt).update(BuilderFlag=SimpleNamespace(FP16=1), INetworkDefinition=SimpleNamespace())
    monkeypatch.setitem(sys.modules, "torch_tensorrt", module)
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt)
    return fake


def saved(path: Path, *, by_name: bool = False) -> Path:
    batch = Dim("batch", min=1, max=1024)
    x, mask = torch.zeros(2, 4), torch.ones(2, 1)
    arguments, named = ((x,), {"mask": mask}) if by_name else ((x, mask), {})
    program = torch.export.export(
        Scores().eval(), arguments, kwargs=named, dynamic_shapes={"x": {0: batch}, "mask": {0: batch}}
    )
    torch.export.save(program, path)
    return path


def conversion(
    directory: Path, options: edge.Options = OPTIONS, gpu: Gpu | None = None, **changes: Any
) -> Conversion[edge.Options]:
    source = saved(directory / "source.pt2", **changes)
    shapes = {"x": (1, 4), "mask": (1, 1)}, {"x": (3, 4), "mask": (3, 1)}, {"x": (8, 4), "mask": (8, 1)}
    return Conversion(
        source=source,
        destination=directory / "model.pt2",
        options=options,
        signature=torch_export.load(source, declared=Signature(inputs=(), outputs=())).signature,
        shapes=ShapeProfile(min=shapes[0], opt=shapes[1], max=shapes[2]),
        timing_cache=directory / "timing",
        gpu=gpu,
    )


# What the options become.


@pytest.mark.parametrize(
    ("options", "front_end", "floats", "enabled", "typed", "autocast"),
    [
        (OPTIONS, WEAK, FLOAT, ("float32",), False, False),
        (FP16, WEAK, FLOAT, ("float16", "float32"), False, False),
        (replace(FP16, explicit_precision=True), WEAK, HALF, ("float32",), True, False),
        (OPTIONS, TYPED, FLOAT, None, None, False),
        (FP16, TYPED, FLOAT, None, None, True),
        (FP16, TYPED, HALF, None, None, False),
    ],
)
def test_a_precision_becomes_what_the_version_has_for_it(
    options: edge.Options,
    front_end: FrontEnd,
    floats: frozenset[str],
    enabled: tuple[str, ...] | None,
    typed: bool | None,
    autocast: bool,
) -> None:
    made = edge.compile_settings(options, front_end, floats)

    assert (made.get("enabled_precisions"), made.get("use_explicit_typing")) == (enabled, typed)
    assert made.get("enable_autocast", False) is autocast
    assert made["disable_tf32"] is not options.tf32


@pytest.mark.parametrize(
    ("options", "front_end", "floats", "message"),
    [
        (replace(FP16, precision=Precision.INT8), WEAK, FLOAT, "Torch-TensorRT 2.11.0 doesn't calibrate programs"),
        (
            replace(FP16, explicit_precision=True),
            WEAK,
            FLOAT,
            "can't convert to fp16: .*, which is float32",
        ),
        (FP16, replace(TYPED, autocasts=False), FLOAT, "can't convert to fp16: .*, which is float32"),
        (OPTIONS, TYPED, HALF, "can't convert to fp32: .* its program, which is float16"),
    ],
)
def test_what_it_cannot_do_is_refused(
    options: edge.Options, front_end: FrontEnd, floats: frozenset[str], message: str
) -> None:
    with pytest.raises(StepError, match=message) as refusal:
        edge.compile_settings(options, front_end, floats)
    assert refusal.value.hint


# What the library is given, and what is kept of what it makes.


@pytest.mark.parametrize("by_name", [False, True])
def test_an_engine_is_for_the_profile_and_its_program_says_so(
    tmp_path: Path, library: Library, by_name: bool, device: Device
) -> None:
    given = conversion(tmp_path, by_name=by_name)

    made = edge.convert(given)

    assert (made.exporter, made.trt_engines, made.warnings) == ("Torch-TensorRT 2.11.0 torch.export", 1, ())
    (call,) = library.given
    program = call["exported_program"]
    assert [(int(each.lower), int(each.upper)) for each in program.range_constraints.values()] == [(1, 8)]
    x = {"shape": (3, 4), "dtype": torch.float32}
    mask = {"shape": (3, 1), "dtype": torch.float32}
    assert (call["arg_inputs"], call["kwarg_inputs"]) == (((x,), {"mask": mask}) if by_name else ((x, mask), {}))
    assert call["enabled_precisions"] == {torch.float32}
    assert call["decompose_attention"]  # this TensorRT has no layer for it
    assert given.signature is not None
    model = torch_trt.load(given.destination, declared=given.signature)
    source = torch_export.load(given.source, declared=given.signature)
    for batch in (1, 3, 8):
        sample = {"x": np.full((batch, 4), 0.5, "float32"), "mask": np.ones((batch, 1), "float32")}
        for name, values in source.infer(sample).items():
            np.testing.assert_allclose(model.infer(sample)[name], values, rtol=1e-5)
    with pytest.raises(StepError, match=r"input x: axis 0 is 9, but the program was exported for 1 to 8"):
        model.infer({"x": np.zeros((9, 4), "float32"), "mask": np.ones((9, 1), "float32")})
    assert model.properties.torch_tensorrt == "2.11.0"


def test_outputs_that_lost_their_names_get_them_back(tmp_path: Path, library: Library) -> None:
    class Bare(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(self.inner(x, mask).values())

    library.answer = Bare
    given = conversion(tmp_path)
    edge.convert(given)

    assert given.signature is not None
    model = torch_trt.load(given.destination, declared=given.signature)

    assert [spec.name for spec in model.signature.outputs] == ["scores", "sum"]


def test_another_number_of_inputs_is_refused(tmp_path: Path, library: Library) -> None:
    given = conversion(tmp_path)
    edge.convert(given)
    assert given.signature is not None
    declared = replace(given.signature, inputs=given.signature.inputs[:1])

    with pytest.raises(StepError, match=r"model.pt2 has 2 inputs, but the source model has 1 \(x\)"):
        torch_trt.load(given.destination, declared=declared)


def test_static_sizes_stay_as_they_are(tmp_path: Path, library: Library) -> None:
    given = conversion(tmp_path)
    torch.export.save(torch.export.export(Scores().eval(), (torch.zeros(3, 4), torch.ones(3, 1))), given.source)

    edge.convert(given)

    assert library.given[0]["exported_program"].range_constraints == {}


def test_measurements_are_kept_for_the_gpu_and_the_version(tmp_path: Path, library: Library) -> None:
    given = conversion(tmp_path, gpu=a_gpu("NVIDIA H200"))
    (tmp_path / "timing").mkdir()

    edge.convert(given)

    (kept,) = (tmp_path / "timing").glob("*.cache")
    assert kept.name == "NVIDIA_H200-8.9-580-torch-tensorrt-2.11.0.cache"
    assert kept.read_bytes() == b"measured"


def test_without_an_engine_fp32_is_told_and_fp16_does_not_apply(tmp_path: Path, library: Library) -> None:
    library.engines = 0
    assert edge.convert(conversion(tmp_path)).warnings == (
        "Torch-TensorRT found no part of the program for TensorRT: all of it runs in torch, as fast as before",
    )
    with pytest.raises(NotApplicableError, match="nothing became fp16"):
        edge.convert(conversion(tmp_path, FP16))


def test_a_failure_is_one_sentence(tmp_path: Path, library: Library) -> None:
    def fail(module: Any) -> Any:
        raise RuntimeError("Failed to convert\n  a page of graph")

    library.answer = fail
    with pytest.raises(StepError) as refusal:
        edge.convert(conversion(tmp_path))
    assert refusal.value.message == "Torch-TensorRT 2.11.0 can't compile the model: Failed to convert"


def test_the_artifact_has_the_suffix_that_torch_loads() -> None:
    configuration = Configuration(target_format=Format.TORCH_TRT, precision=Precision.FP32)

    made = edge.variant(a_model(Format.TORCH_EXPORT), configuration)

    assert made.artifact_name == "model.pt2"
