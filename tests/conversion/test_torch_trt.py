"""TorchScript to Torch-TensorRT, and its runner, without Torch-TensorRT: it needs TensorRT's libraries and a GPU.

Small fake modules `torch_tensorrt` and `tensorrt` in sys.modules record what they are given, and `compile` gives the
module back that a test has chosen; all else, torch above all, is real. Without a GPU everything runs on the CPU.
"""
# ruff: noqa: TID253 - the framework is what is tested
# mypy: allow-subclassing-any

import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from navigator.converters import torchscript_to_torch_trt as edge
from navigator.converters.protocol import Conversion
from navigator.errors import NotApplicableError, StepError
from navigator.frameworks.availability import how_to_install
from navigator.frameworks.gpu import no_gpu
from navigator.frameworks.torch import torch_tensorrt
from navigator.frameworks.torch.torch_tensorrt import FrontEnd
from navigator.records import (
    Device,
    Gpu,
    Host,
    Precision,
    PrecisionMode,
    Properties,
    ShapeProfile,
    Signature,
    StepOptions,
    TensorSpec,
)
from navigator.runners import torch_trt, torchscript
from navigator.samples import storage as arrays
from navigator.verify.compare import verify

GIB = 2**30
OPTIONS = edge.Options(precision=Precision.FP32, max_workspace_size=4 * GIB)
FP16 = replace(OPTIONS, precision=Precision.FP16, precision_mode=PrecisionMode.HIERARCHY, tf32=True)
INT8 = replace(FP16, precision=Precision.INT8)

FLAGS = FrontEnd(version="2.12.0", typed=False, calibrates=False)
CALIBRATING = FrontEnd(version="2.8.0", typed=False, calibrates=True)
TYPED = FrontEnd(version="2.14.0", typed=True, calibrates=False)

FLOAT = edge.Traits(floats=frozenset({"float32"}), quantized=False)
ONE_PRECISION = "with TensorRT 11, an engine has the precision of its model, which is"
HALVE = (
    "save the model in half precision (model.half(), float16 inputs), pip install 'torch-tensorrt<2.13', or "
    "set target_formats: [trt], which converts the ONNX graph to fp16"
)
QUANTIZE = (
    "quantize it with nvidia-modelopt and save that as TorchScript, pip install 'torch-tensorrt<2.9', which can "
    "calibrate, or remove int8 from tensorrt_precisions"
)
FREE = (
    "reduce max_batch_size, max_shapes or tensorrt_max_workspace_size, or stop other programs that use the GPU "
    "(nvidia-smi lists them)"
)
HALF = edge.Traits(floats=frozenset({"float16"}), quantized=False)
QUANTIZED = edge.Traits(floats=frozenset({"float32"}), quantized=True)


class Mlp(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one = torch.nn.Linear(4, 8)
        self.two = torch.nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(torch.relu(self.one(x)))


class Difference(torch.nn.Module):
    """Two inputs that must not be exchanged."""

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return left - right, left * 2


class Named(torch.nn.Module):
    def forward(self, left: torch.Tensor, right: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"zero": left - right, "double": left * 2}


class Quantized(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fake_quantize_per_tensor_affine(x, 0.1, 0, -128, 127) + 1


def scripted(module: torch.nn.Module) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(module.eval())


def saved(path: Path, module: torch.nn.Module) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(scripted(module), path)
    return path


def spec(name: str, shape: tuple[int, ...], dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name=name, shape=shape, dtype=dtype)


def profile(**shapes: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]) -> ShapeProfile:
    low, opt, high = ({name: each[index] for name, each in shapes.items()} for index in range(3))
    return ShapeProfile(min=low, opt=opt, max=high)


@dataclass
class Library:
    """What the fake modules were given, and what they answer."""

    answer: Callable[[Any], Any] = lambda module: module
    given: list[dict[str, Any]] = field(default_factory=list)
    calibrators: list[dict[str, Any]] = field(default_factory=list)


def fake(monkeypatch: pytest.MonkeyPatch, version: str, *, flags: bool = True, calibrates: bool = False) -> Library:
    """Put a fake `torch_tensorrt` and `tensorrt` in sys.modules; see this module's docstring."""
    library = Library()

    def compiled(module: Any, **settings: Any) -> Any:
        warnings.warn("The torchscript frontend for Torch-TensorRT has been deprecated", DeprecationWarning, 2)
        library.given.append(settings)
        return library.answer(module)

    def calibrating(module: Any, *, calibrator: object = None, **settings: Any) -> Any:
        return compiled(module, calibrator=calibrator, **settings)

    def data_loader_calibrator(*args: Any, **settings: Any) -> object:
        warnings.warn("Int8 PTQ Calibrator has been deprecated by TensorRT", DeprecationWarning, 2)
        library.calibrators.append({"batches": list(args[0]), "length": len(args[0].dataset), **settings})
        return library

    def described(**settings: Any) -> dict[str, Any]:
        return settings

    front_end = ModuleType("torch_tensorrt.ts")
    vars(front_end).update(compile=calibrating if calibrates else compiled)
    module = ModuleType("torch_tensorrt")
    vars(module).update(__version__=version, ts=front_end, Input=described)
    ptq = ModuleType("torch_tensorrt.ts.ptq")
    vars(ptq).update(DataLoaderCalibrator=data_loader_calibrator)
    tensorrt = ModuleType("tensorrt")
    vars(tensorrt).update(BuilderFlag=SimpleNamespace(FP16=1) if flags else SimpleNamespace())
    for each in (module, front_end, tensorrt, *([ptq] if calibrates else [])):
        monkeypatch.setitem(sys.modules, each.__name__, each)
    return library


@pytest.fixture(autouse=True)
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    """Run on the GPU where there is one: what is fake here does not mind."""
    device = Device.CUDA if torch.cuda.is_available() else Device.CPU
    monkeypatch.setattr(torch_tensorrt, "DEVICE", device)
    return device


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    return fake(monkeypatch, "2.12.0")


def conversion(
    directory: Path,
    module: torch.nn.Module,
    inputs: tuple[TensorSpec, ...],
    shapes: ShapeProfile,
    options: edge.Options = OPTIONS,
    samples: list[tuple[str, dict[str, np.ndarray]]] | None = None,
) -> Conversion[edge.Options]:
    if samples is not None:
        arrays.save(directory / "samples", samples)
    return Conversion(
        source=saved(directory / "source.pt", module),
        destination=directory / "model.pt",
        options=options,
        signature=Signature(inputs=inputs, outputs=()),
        samples=directory / "samples",
        shapes=shapes,
    )


MLP_INPUTS = (spec("x", (-1, 4)),)
MLP_SHAPES = profile(x=((1, 4), (4, 4), (8, 4)))


# What the options become.


@pytest.mark.parametrize(
    ("precision", "mode", "enabled"),
    [
        (Precision.FP32, None, ("float32",)),
        (Precision.FP32, PrecisionMode.HIERARCHY, ("float32",)),
        (Precision.FP32, PrecisionMode.SINGLE, ("float32",)),
        (Precision.FP16, PrecisionMode.HIERARCHY, ("float16", "float32")),
        (Precision.FP16, PrecisionMode.SINGLE, ("float16",)),
        (Precision.INT8, PrecisionMode.HIERARCHY, ("int8", "float16", "float32")),
        (Precision.INT8, PrecisionMode.SINGLE, ("int8",)),
    ],
)
def test_a_hierarchy_enables_what_a_layer_may_fall_back_to(
    precision: Precision, mode: PrecisionMode | None, enabled: tuple[str, ...]
) -> None:
    options = edge.Options(precision=precision, precision_mode=mode, max_workspace_size=7)
    settings = edge.compile_settings(options, FLAGS, QUANTIZED)
    assert settings["enabled_precisions"] == enabled
    assert settings["disable_tf32"]
    assert not edge.compile_settings(replace(options, tf32=True), FLAGS, QUANTIZED)["disable_tf32"]


def test_the_other_options_are_handed_on() -> None:
    settings = edge.compile_settings(replace(FP16, sparse_weights=True, max_workspace_size=GIB), FLAGS, FLOAT)
    assert settings == {
        "enabled_precisions": ("float16", "float32"),
        "disable_tf32": False,
        "sparse_weights": True,
        "workspace_size": GIB,
        "truncate_long_and_double": True,
    }


@pytest.mark.parametrize(
    ("options", "front_end", "traits", "message", "hint"),
    [
        (
            FP16,
            TYPED,
            FLOAT,
            f"Torch-TensorRT 2.14.0 can't convert to fp16: {ONE_PRECISION} float32",
            HALVE,
        ),
        (
            OPTIONS,
            TYPED,
            HALF,
            f"Torch-TensorRT 2.14.0 can't convert to fp32: {ONE_PRECISION} float16",
            "set tensorrt_precisions: [fp16], or save the model in float32 with model.float()",
        ),
        (
            INT8,
            FLAGS,
            FLOAT,
            "Torch-TensorRT 2.12.0 needs a model with quantize and dequantize pairs for int8, but this one has none",
            QUANTIZE,
        ),
        (
            replace(FP16, explicit_precision=True),
            FLAGS,
            FLOAT,
            "Torch-TensorRT 2.12.0 supports explicit precision only for int8 and models with Q/DQ pairs",
            "set tensorrt_explicit_precision: false, or pip install 'torch-tensorrt>=2.13', which always uses it",
        ),
    ],
)
def test_what_a_version_cannot_do_is_refused(
    options: edge.Options, front_end: FrontEnd, traits: edge.Traits, message: str, hint: str
) -> None:
    with pytest.raises(StepError) as refusal:
        edge.compile_settings(options, front_end, traits)
    assert (refusal.value.message, refusal.value.hint) == (message, hint)


@pytest.mark.parametrize(
    ("options", "front_end", "traits"),
    [
        (FP16, TYPED, HALF),
        (OPTIONS, TYPED, FLOAT),
        (INT8, TYPED, QUANTIZED),
        (INT8, FLAGS, QUANTIZED),
        (INT8, CALIBRATING, FLOAT),
        (replace(FP16, explicit_precision=True), TYPED, HALF),
        (replace(INT8, explicit_precision=True), FLAGS, QUANTIZED),
    ],
)
def test_what_a_version_can_do_is_not_refused(options: edge.Options, front_end: FrontEnd, traits: edge.Traits) -> None:
    assert edge.compile_settings(options, front_end, traits)["workspace_size"] == 4 * GIB


def test_only_int8_without_ranges_in_the_model_is_calibrated() -> None:
    assert edge.calibrates(INT8, FLOAT)
    assert not edge.calibrates(INT8, QUANTIZED)
    assert not edge.calibrates(FP16, FLOAT)


def test_inputs_are_ranges_where_they_are_dynamic() -> None:
    signature = Signature(inputs=(spec("x", (-1, 4), "float16"), spec("n", (2,), "int64")), outputs=())
    shapes = profile(x=((1, 4), (4, 4), (8, 4)), n=((2,), (2,), (2,)))
    assert edge.input_settings(("n", "x"), signature, shapes) == [
        {"shape": (2,), "dtype": "int64"},
        {"min_shape": (1, 4), "opt_shape": (4, 4), "max_shape": (8, 4), "dtype": "float16"},
    ]


def test_a_dtype_that_it_does_not_take_is_refused() -> None:
    signature = Signature(inputs=(spec("image", (1,), "uint8"),), outputs=())
    with pytest.raises(StepError, match="input image is uint8, which Torch-TensorRT doesn't support") as refusal:
        edge.input_settings(("image",), signature, profile(image=((1,), (1,), (1,))))
    assert refusal.value.hint.startswith("use one of bool, int8, int32")


# What the library is given, and what is kept of what it makes.


def convert_nothing(given: Conversion[edge.Options]) -> None:
    """Convert a module that the fake library hands back as it was: without an engine no reduced precision applies."""
    with pytest.raises(
        NotApplicableError, match=r"nothing became (fp16|int8): Torch-TensorRT found no part of the model"
    ):
        edge.convert(given)


def test_the_library_is_given_inputs_and_settings_in_its_own_words(tmp_path: Path, library: Library) -> None:
    inputs = (spec("right", (-1, 4)), spec("left", (-1, 4)))  # not in the order of forward
    shapes = profile(left=((1, 4), (4, 4), (8, 4)), right=((2, 4), (2, 4), (2, 4)))
    convert_nothing(conversion(tmp_path, Difference(), inputs, shapes, replace(FP16, sparse_weights=True)))
    assert library.given == [
        {
            "inputs": [
                {"min_shape": (1, 4), "opt_shape": (4, 4), "max_shape": (8, 4), "dtype": torch.float32},
                {"shape": (2, 4), "dtype": torch.float32},
            ],
            "enabled_precisions": {torch.float16, torch.float32},
            "disable_tf32": False,
            "sparse_weights": True,
            "workspace_size": 4 * GIB,
            "truncate_long_and_double": True,
        }
    ]


def test_a_module_without_an_engine_is_told_in_fp32_and_not_applicable_below(tmp_path: Path, library: Library) -> None:
    made = edge.convert(conversion(tmp_path, Mlp(), MLP_INPUTS, MLP_SHAPES))
    assert made == Properties(
        exporter="Torch-TensorRT 2.12.0",
        trt_engines=0,
        warnings=(
            "Torch-TensorRT found no part of the model for TensorRT: all of it runs in torch, as fast as before",
        ),
    )
    (tmp_path / "model.pt").unlink()
    convert_nothing(conversion(tmp_path, Mlp(), MLP_INPUTS, MLP_SHAPES, FP16))


def test_settings_are_what_the_real_compile_takes(tmp_path: Path, library: Library) -> None:
    """The parameters of torch_tensorrt.ts.compile, the same in 2.6 and 2.14 but for `calibrator`, up to 2.8."""
    takes = {
        *("inputs", "input_signature", "device", "disable_tf32", "sparse_weights", "enabled_precisions", "refit"),
        *("debug", "capability", "num_avg_timing_iters", "workspace_size", "dla_sram_size", "dla_local_dram_size"),
        *("dla_global_dram_size", "truncate_long_and_double", "require_full_compilation", "min_block_size"),
        *("torch_executed_ops", "torch_executed_modules", "allow_shape_tensors"),
    }
    edge.convert(conversion(tmp_path, Mlp(), MLP_INPUTS, MLP_SHAPES))
    assert set(library.given[0]) < takes


@pytest.fixture
def engine_operator() -> Iterator[None]:
    """Register a fake of the operator that a compiled module calls its engines by."""
    fragment = torch.library.Library("tensorrt", "FRAGMENT")
    fragment.define("execute_engine(Tensor[] inputs, Tensor engine) -> Tensor[]")
    fragment.impl("execute_engine", lambda inputs, engine: [inputs[0] @ engine], "CompositeExplicitAutograd")
    yield
    fragment._destroy()


class WithEngines(torch.nn.Module):
    """As Torch-TensorRT leaves a module: one engine always called, one in a branch."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = torch.nn.Parameter(torch.eye(4))

    def forward(self, input_0: torch.Tensor) -> torch.Tensor:
        made = torch.ops.tensorrt.execute_engine([input_0], self.engine)[0]
        if bool(made.sum() > 0):
            made = torch.ops.tensorrt.execute_engine([made], self.engine)[0]
        return made


@pytest.mark.usefixtures("engine_operator")
def test_engines_are_counted_in_branches_too(tmp_path: Path, library: Library, device: Device) -> None:
    library.answer = lambda _: scripted(WithEngines()).to(str(device))
    made = edge.convert(conversion(tmp_path, Mlp(), MLP_INPUTS, MLP_SHAPES))
    assert made == Properties(exporter="Torch-TensorRT 2.12.0", trt_engines=2)
    signature = Signature(inputs=MLP_INPUTS, outputs=(spec("y", (-1, 4)),))
    model = torch_trt.load(tmp_path / "model.pt", declared=signature)
    assert model.infer({"x": np.ones((2, 4), np.float32)})["y"].tolist() == np.ones((2, 4)).tolist()


def test_half_models_are_recognised_on_strongly_typed_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = fake(monkeypatch, "2.14.0", flags=False)
    half = (spec("x", (-1, 4), "float16"),)
    convert_nothing(conversion(tmp_path, Mlp().half(), half, MLP_SHAPES, FP16))
    assert library.given[0]["inputs"][0]["dtype"] is torch.float16
    with pytest.raises(StepError, match=r"can't convert to fp16.* which is float32"):
        edge.convert(conversion(tmp_path, Mlp(), MLP_INPUTS, MLP_SHAPES, FP16))


def test_quantize_and_dequantize_pairs_are_recognised(tmp_path: Path, library: Library) -> None:
    inputs = (spec("x", (-1, 4)),)
    convert_nothing(conversion(tmp_path, Quantized(), inputs, MLP_SHAPES, INT8))
    assert library.given[0]["enabled_precisions"] == {torch.int8, torch.float16, torch.float32}
    with pytest.raises(StepError, match="needs a model with quantize and dequantize pairs"):
        edge.convert(conversion(tmp_path, Mlp(), inputs, MLP_SHAPES, INT8))


def test_int8_is_calibrated_with_the_samples_in_the_opt_shapes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: Device
) -> None:
    library = fake(monkeypatch, "2.8.0", calibrates=True)
    samples = [(f"{size}", {"x": np.full((size, 4), size, np.float32)}) for size in (1, 4, 8, 4)]
    convert_nothing(conversion(tmp_path, Mlp(), MLP_INPUTS, MLP_SHAPES, INT8, samples))
    (made,) = library.calibrators
    assert [[tensor.shape for tensor in batch] for batch in made["batches"]] == [[(4, 4)], [(4, 4)]]
    assert {tensor.device.type for batch in made["batches"] for tensor in batch} == {str(device)}
    assert made["length"] == 2
    assert made["device"] == torch.device(str(device), 0)
    assert library.given[0]["calibrator"] is library


def test_calibration_without_a_fitting_sample_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, "2.8.0", calibrates=True)
    samples = [("mine", {"x": np.ones((3, 4), np.float32)})]
    with pytest.raises(StepError) as refusal:
        edge.convert(conversion(tmp_path, Mlp(), MLP_INPUTS, MLP_SHAPES, INT8, samples))
    assert refusal.value.message == "int8 calibration needs a sample in the opt shapes, but none has x [4, 4]"
    assert refusal.value.hint == "set opt_shapes to the shapes of one of your calibration samples"


def test_arguments_that_are_no_single_tensor_are_refused(tmp_path: Path, library: Library) -> None:
    class Stack(torch.nn.Module):
        def forward(self, frames: list[torch.Tensor], times: int = 2) -> torch.Tensor:
            return frames[0] * times

    with pytest.raises(StepError) as refusal:
        edge.convert(conversion(tmp_path, Stack(), MLP_INPUTS, MLP_SHAPES))
    assert refusal.value.message == (
        "Torch-TensorRT needs a forward whose arguments are all required tensors, but this one takes "
        "frames: List[Tensor], times: int"
    )
    assert not library.given


# What goes wrong in the library.


def failing(error: Exception) -> Callable[[Any], Any]:
    def answer(module: Any) -> Any:
        raise error

    return answer


FAILED_CHECK = (
    "[Error thrown at core/compiler.cpp:410] Expected {} to be true but got false\n{}\n"
    "[Error thrown at core/other.cpp:1] more\n"
)


@pytest.mark.parametrize(
    ("error", "message", "hint"),
    [
        (
            RuntimeError(FAILED_CHECK.format("inserted", "Unable to build the engine")),
            "Torch-TensorRT 2.12.0 can't compile the model: Unable to build the engine",
            "see TensorRT's messages in the log, or build a TensorRT engine with target_formats: [trt]",
        ),
        (
            RuntimeError("Building serialized network failed in TensorRT"),
            "Torch-TensorRT 2.12.0 can't compile the model: Building serialized network failed in TensorRT",
            "see TensorRT's messages in the log, or build a TensorRT engine with target_formats: [trt]",
        ),
        (
            RuntimeError(FAILED_CHECK.format("x", "Cannot specify Int64 input for a model fully compiled in TRT")),
            "Torch-TensorRT 2.12.0 built a single engine, and its engines don't support int64 inputs",
            "declare these inputs as int32 if the model accepts that",
        ),
        (
            RuntimeError("pop() called on empty stack"),
            (
                "Torch-TensorRT 2.12.0 can't compile the model: its front end for TorchScript, which is deprecated, "
                "doesn't support this graph (pop() called on empty stack)"
            ),
            (
                "save the model with torch.export.save (.pt2), which its other front end reads, or build a TensorRT "
                "engine with target_formats: [trt]"
            ),
        ),
        (
            torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
            "compiling the module with Torch-TensorRT needs more memory than is free on the GPU",
            FREE,
        ),
    ],
)
def test_what_the_library_says_is_one_sentence(
    tmp_path: Path, library: Library, error: Exception, message: str, hint: str
) -> None:
    library.answer = failing(error)
    with pytest.raises(StepError) as refusal:
        edge.convert(conversion(tmp_path, Mlp(), MLP_INPUTS, MLP_SHAPES))
    assert (refusal.value.message, refusal.value.hint) == (message, hint)


def test_a_build_without_the_front_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("torch_tensorrt")
    vars(module).update(__version__="2.14.0")
    monkeypatch.setitem(sys.modules, "torch_tensorrt", module)
    with pytest.raises(StepError, match=r"Torch-TensorRT 2\.14\.0 was built without its TorchScript front end"):
        edge.convert(conversion(tmp_path, Mlp(), MLP_INPUTS, MLP_SHAPES))


def test_a_library_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_tensorrt", None)
    with pytest.raises(StepError, match="Torch-TensorRT can't be imported: ") as refusal:
        edge.convert(conversion(tmp_path, Mlp(), MLP_INPUTS, MLP_SHAPES))
    assert refusal.value.hint.endswith(how_to_install(("torch-tensorrt",), "torch-trt"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_torch_without_a_gpu_is_named_before_the_library_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_tensorrt, "DEVICE", Device.CUDA)
    monkeypatch.setitem(sys.modules, "torch_tensorrt", None)
    with pytest.raises(StepError, match="can't use this machine's GPU"):
        edge.convert(conversion(tmp_path, Mlp(), MLP_INPUTS, MLP_SHAPES))


# The runner.


@pytest.mark.parametrize("wrong", [False, True])
def test_an_artifact_is_held_against_its_source(tmp_path: Path, library: Library, device: Device, wrong: bool) -> None:
    """One weight that is wrong must come out as a mismatch; the module is what the fake library gave back."""

    def answer(module: Any) -> Any:
        with torch.no_grad():
            module.two.bias[1] += 0.5 if wrong else 0.0
        return module

    library.answer = answer
    edge.convert(conversion(tmp_path, Mlp(), MLP_INPUTS, MLP_SHAPES))
    rng = np.random.default_rng(0)
    samples = [(f"{n}", {"x": rng.uniform(-1, 1, (n, 4)).astype(np.float32)}) for n in (1, 5)]
    source = torchscript.load(tmp_path / "source.pt", declared=Signature(inputs=MLP_INPUTS, outputs=()))
    expected = [(name, source.infer(inputs)) for name, inputs in samples]
    model = torch_trt.load(tmp_path / "model.pt", declared=source.signature)
    outputs = [(name, model.infer(inputs)) for name, inputs in samples]
    assert verify(expected, outputs, atol={"": 1e-5}, rtol={"": 1e-5}).passed is not wrong
    assert model.signature == source.signature
    assert model.properties == Properties(torch_device="cpu", torch_tensorrt="2.12.0") or device is Device.CUDA


def test_inputs_and_outputs_are_the_sources_by_position(tmp_path: Path, library: Library) -> None:
    """Compiled, a module takes `input_0`, `input_1` and returns a tuple where its source returned a dictionary."""

    class Compiled(torch.nn.Module):
        def forward(self, input_0: torch.Tensor, input_1: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return input_0 - input_1, input_0 * 2

    source = torchscript.load(
        saved(tmp_path / "source.pt", Named()),
        declared=Signature(inputs=(spec("left", (-1,)), spec("right", (-1,))), outputs=()),
    )
    sample = {"right": np.array([1, 2], np.float32), "left": np.array([5, 5], np.float32)}
    expected = source.infer(sample)
    model = torch_trt.load(saved(tmp_path / "model.pt", Compiled()), declared=source.signature)
    outputs = model.infer(sample)
    assert {name: value.tolist() for name, value in outputs.items()} == {"zero": [4, 3], "double": [10, 10]}
    assert list(outputs) == list(expected)
    assert model.signature == source.signature


def test_another_number_of_outputs_keeps_its_own_names(tmp_path: Path, library: Library) -> None:
    """The verdict then says which output is missing."""
    declared = Signature(inputs=MLP_INPUTS, outputs=(spec("a", (-1, 3)), spec("b", (-1, 3))))
    model = torch_trt.load(saved(tmp_path / "model.pt", Mlp()), declared=declared)
    assert list(model.infer({"x": np.ones((2, 4), np.float32)})) == ["output__0"]


def test_another_number_of_inputs_is_refused(tmp_path: Path, library: Library) -> None:
    with pytest.raises(StepError) as refusal:
        torch_trt.load(saved(tmp_path / "model.pt", Difference()), declared=Signature(inputs=MLP_INPUTS, outputs=()))
    assert refusal.value.message == (
        f"{tmp_path}/model.pt has 2 inputs (left: Tensor, right: Tensor), but the source model has 1 (x)"
    )


@pytest.mark.parametrize("error", [torch.cuda.OutOfMemoryError("no"), RuntimeError("CUDA out of memory.")])
def test_a_full_gpu_is_an_outcome_with_a_remedy(
    tmp_path: Path, library: Library, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    model = torch_trt.load(saved(tmp_path / "model.pt", Mlp()), declared=Signature(inputs=MLP_INPUTS, outputs=()))
    assert isinstance(model, torch_trt.TorchTrtModel)
    model.module.module = failing(error)
    monkeypatch.setattr(torchscript, "call", lambda module, arguments, tensors: module(tensors))
    with pytest.raises(StepError) as refusal:
        model.infer({"x": np.ones((2, 4), np.float32)})
    assert refusal.value.message == "running the Torch-TensorRT module needs more memory than is free on the GPU"
    assert refusal.value.hint.startswith("reduce max_batch_size, max_shapes")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU whose memory could be used up")
@pytest.mark.usefixtures("library")
def test_a_gpu_that_is_really_full_is_recognised(tmp_path: Path) -> None:
    class Greedy(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.ones(1099511627776, device=x.device).sum()

    model = torch_trt.load(saved(tmp_path / "model.pt", Greedy()), declared=Signature(inputs=MLP_INPUTS, outputs=()))
    with pytest.raises(StepError, match="needs more memory than is free on the GPU"):
        model.infer({"x": np.ones((2, 4), np.float32)})


def test_another_failure_stays_what_it_is(tmp_path: Path, library: Library) -> None:
    model = torch_trt.load(saved(tmp_path / "model.pt", Mlp()), declared=Signature(inputs=MLP_INPUTS, outputs=()))
    with pytest.raises(StepError, match=r"the TorchScript model fails on x \[2, 5\]: mat1 and mat2"):
        model.infer({"x": np.ones((2, 5), np.float32)})


# What a machine lacks.


def host(*, gpu: bool, notes: tuple[str, ...] = (), **versions: str) -> Host:
    one = Gpu(index=0, uuid="GPU-1", name="GPU", compute_capability="9.0", memory_bytes=GIB, driver_version="580")
    return Host(
        python="3.11",
        system="Linux",
        cpu="cpu",
        cpu_count=2,
        memory_bytes=GIB,
        gpus=(one,) if gpu else (),
        versions={name.replace("_", "-"): version for name, version in versions.items()},
        notes=notes,
    )


def test_all_that_is_missing_is_named_at_once() -> None:
    found = edge.unavailable(host(gpu=False, torch="2.13.0+cpu"))
    assert found is not None
    assert found.reason == ("not installed: torch-tensorrt, tensorrt; torch is a CPU build; no NVIDIA GPU is visible")
    assert found.remedy == (
        f"{how_to_install(('torch-tensorrt', 'tensorrt'), 'torch-trt')}; then install torch from PyPI, which is built "
        "for CUDA; then install the NVIDIA driver, so that nvidia-smi lists the GPU; start a container with --gpus "
        "all, or make the NVIDIA runtime Docker's default; in a workflow, use the GPU variant of the action on a "
        "runner with a GPU"
    )
    assert edge.unavailable(host(gpu=True, torch="2.12.0", torch_tensorrt="2.12.0", tensorrt="10.16.1")) is None


def test_why_no_gpu_is_used_is_told() -> None:
    found = no_gpu(host(gpu=False, notes=("nvidia-smi failed (driver mismatch): running without GPUs",)))
    assert found is not None
    assert found.reason == "no NVIDIA GPU is visible (nvidia-smi failed (driver mismatch): running without GPUs)"


def test_a_machine_without_a_gpu_cannot_run_it() -> None:
    assert torch_trt.unrunnable(Device.CUDA, host(gpu=False), StepOptions()) == "no NVIDIA GPU is visible"
    assert (
        torch_trt.unrunnable(Device.CUDA, host(gpu=True, torch="2.13.0+cpu"), StepOptions()) == "torch is a CPU build"
    )
    assert torch_trt.unrunnable(Device.CUDA, host(gpu=True, torch="2.13.0"), StepOptions()) == ""
