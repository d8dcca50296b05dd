"""SavedModel to TF-TRT, and its runner: TF-TRT left TensorFlow after 2.17, and needs TensorRT's libraries and a GPU.

What TensorFlow itself does without them is tested on TensorFlow itself. Elsewhere small fakes of TensorFlow's binding
to TensorRT, of its list of GPUs and of its converter record what they are given; the converter's `save` copies a real
SavedModel, which the real runner then runs on the CPU.
"""

import importlib
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from navigator.converters import tf_savedmodel_to_tf_trt as edge
from navigator.converters.protocol import Conversion
from navigator.errors import NotApplicableError, StepError
from navigator.records import Device, Gpu, Host, Precision, Properties, ShapeProfile, Signature
from navigator.runners import tf_savedmodel, tf_trt
from navigator.samples import storage as arrays
from navigator.verify.compare import verify

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    tf = pytest.importorskip("tensorflow")

GIB = 2**30
BINDING = "tensorflow.compiler.tf2tensorrt._pywrap_py_utils"
NOTHING_DECLARED = Signature(inputs=(), outputs=())
OPTIONS = edge.Options(precision=Precision.FP16, max_workspace_size=GIB)

has_no_tf_trt = pytest.mark.skipif(not tf_trt.too_new(tf.__version__), reason="this TensorFlow may have TF-TRT")


def save(path: Path, *, bias: float = 0.0, quantized: bool = False) -> Path:
    """Save a model of two inputs with one signature, `score`."""
    module = tf.Module()
    module.weight = tf.Variable(np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32))
    specs = [tf.TensorSpec([None, 4], tf.float32, name="x"), tf.TensorSpec([None], tf.int64, name="ids")]

    @tf.function(input_signature=specs)  # type: ignore[untyped-decorator, unused-ignore]
    def score(x: Any, ids: Any) -> dict[str, Any]:
        if quantized:
            x = tf.quantization.fake_quant_with_min_max_args(x, -6, 6)
        return {"y": tf.nn.relu(x @ module.weight) + bias, "twice": ids * 2}

    tf.saved_model.save(module, str(path), signatures={"score": score})
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("models") / "model")


def sample(size: int) -> dict[str, np.ndarray]:
    x = np.random.default_rng(size).uniform(-1, 1, (size, 4)).astype(np.float32)
    return {"x": x, "ids": np.arange(size, dtype=np.int64) + 10}


def profile(low: int, opt: int, high: int) -> ShapeProfile:
    minimum, optimum, maximum = ({"x": (size, 4), "ids": (size,)} for size in (low, opt, high))
    return ShapeProfile(min=minimum, opt=optimum, max=maximum)


def conversion(
    directory: Path,
    source: Path,
    options: edge.Options = OPTIONS,
    shapes: ShapeProfile | None = None,
    sizes: tuple[int, ...] = (1, 4, 8),
) -> Conversion[edge.Options]:
    arrays.save(directory / "samples", [(f"{size}", sample(size)) for size in sizes])
    return Conversion(
        source=source,
        destination=directory / "model.savedmodel",
        options=options,
        samples=directory / "samples",
        shapes=shapes or profile(1, 4, 8),
    )


# What TensorFlow itself does.


@has_no_tf_trt
def test_the_real_converter_says_only_that_tensorflow_was_not_built_with_it(model: Path) -> None:
    with pytest.raises(RuntimeError, match="Tensorflow has not been built with TensorRT support"):
        tf.experimental.tensorrt.Converter(input_saved_model_dir=str(model))


@has_no_tf_trt
def test_the_conversion_says_what_to_do_about_it(model: Path, tmp_path: Path) -> None:
    with pytest.raises(StepError) as refusal:
        edge.convert(conversion(tmp_path, model))
    assert refusal.value.message == f"TensorFlow {tf.__version__} has no TF-TRT: 2.17 is the last version that has it"
    assert refusal.value.hint == (
        "convert in a container with TensorFlow 2.17 and its TensorRT, such as NVIDIA's (launch_mode: docker), or "
        "install TensorFlow 2.17 and the TensorRT that it is linked with"
    )
    with pytest.raises(StepError, match="is the last version that has it"):
        tf_trt.load(model, declared=NOTHING_DECLARED)


@pytest.mark.parametrize(
    ("version", "new"),
    [("2.17.1", False), ("2.16.2", False), ("2.17.0+nv25.2", False), ("2.18.0", True), ("3.0.0rc1", True), ("", False)],
)
def test_the_versions_that_have_it(version: str, new: bool) -> None:
    assert bool(tf_trt.too_new(version)) is new


def binding(monkeypatch: pytest.MonkeyPatch, linked: tuple[int, int, int], *, missing: str = "") -> None:
    """Put a fake of TensorFlow's binding to TensorRT in sys.modules: what it is linked with, and what is `missing`.

    As in TensorFlow 2.17.1 with TensorRT 8.6.1 (tests/support/gpu_libraries.yaml): it is enabled if both libraries can
    be opened by their whole names, of which one needs CUDA's, which TensorFlow opens when it looks for GPUs. It ends
    the process where somebody asks for the version and there is none.
    """
    module = ModuleType(BINDING)
    version = ".".join(map(str, linked))
    looked: list[str] = []

    def load(name: str) -> None:
        if name not in (f"libnvinfer.so.{version}", f"libnvinfer_plugin.so.{version}") or name == missing:
            raise OSError(f"{name}: cannot open shared object file")
        if "plugin" in name and not looked:
            raise OSError("libcublas.so.12: cannot open shared object file")

    def enabled() -> bool:
        return bool(looked) and not missing

    before = tf.config.list_physical_devices

    def look(kind: str) -> Any:
        looked.append(kind)
        return before(kind)

    vars(module).update(get_linked_tensorrt_version=lambda: linked, is_tensorrt_enabled=enabled)
    monkeypatch.setitem(sys.modules, BINDING, module)
    monkeypatch.setattr("ctypes.CDLL", load)
    monkeypatch.setattr(tf.config, "list_physical_devices", look)


def test_a_tensorrt_that_is_there_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    binding(monkeypatch, (8, 6, 1))
    tf_trt.require_tf_trt()


def test_the_binding_is_what_the_fake_stands_for() -> None:
    real = importlib.import_module(BINDING)
    assert len(real.get_linked_tensorrt_version()) == 3
    assert real.is_tensorrt_enabled() in (True, False)


@pytest.mark.parametrize("library", ["libnvinfer", "libnvinfer_plugin"])
def test_a_tensorrt_that_is_not_found_is_named(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    binding(monkeypatch, (8, 6, 1), missing=f"{library}.so.8.6.1")
    with pytest.raises(StepError) as refusal:
        tf_trt.require_tf_trt()
    assert refusal.value.message == (
        f"TensorFlow {tf.__version__} is linked with TensorRT 8.6.1, but can't load {library}.so.8.6.1: "
        f"{library}.so.8.6.1: cannot open shared object file"
    )
    assert refusal.value.hint == (
        f"install TensorRT 8.6.1, add its directory to LD_LIBRARY_PATH and link its {library}.so.8 to that whole name, "
        "or convert in a container with TensorFlow 2.17 and its TensorRT, such as NVIDIA's (launch_mode: docker)"
    )


def test_an_old_tensorflow_may_be_built_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    binding(monkeypatch, (0, 0, 0))
    monkeypatch.setattr(tf, "__version__", "2.17.1")
    with pytest.raises(StepError, match=r"TensorFlow 2\.17\.1 was built without TensorRT"):
        tf_trt.require_tf_trt()


# The GPU.


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """Fake TensorFlow's list of GPUs; what is set is recorded."""
    calls: list[tuple[str, Any]] = []

    def physical(kind: str) -> list[str]:
        return [f"{kind}:0"]

    def logical(kind: str) -> list[str]:
        calls.append(("opened", kind))
        return [f"{kind}:0"]

    monkeypatch.setattr(tf.config, "list_physical_devices", physical)
    monkeypatch.setattr(tf.config, "list_logical_devices", logical)
    experimental = tf.config.experimental
    monkeypatch.setattr(experimental, "set_memory_growth", lambda gpu, on: calls.append((gpu, on)))
    monkeypatch.setattr(experimental, "enable_tensor_float_32_execution", lambda on: calls.append(("tf32", on)))
    return calls


@pytest.mark.parametrize(("precision", "tf32"), [("fp32", False), ("fp16", True), ("int8", True)])
def test_the_gpu_is_opened_with_growing_memory_and_tf32_below_float32(
    gpu: list[tuple[str, Any]], precision: str, tf32: bool
) -> None:
    tf_trt.use_gpu(Precision(precision))
    assert gpu == [("GPU:0", True), ("tf32", tf32), ("opened", "GPU")]


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="this machine has a GPU")
def test_a_tensorflow_that_sees_no_gpu_is_refused() -> None:
    with pytest.raises(StepError) as refusal:
        tf_trt.use_gpu(Precision.FP32)
    assert refusal.value.message == f"TensorFlow {tf.__version__} can't use this machine's GPU"
    assert "tensorflow[and-cuda]" in refusal.value.hint


def test_devices_that_are_open_stay_when_a_savedmodel_is_loaded() -> None:
    """What the runner counts on: TensorFlow changes no devices once it has opened them, here those of the CPU."""
    tf.config.list_logical_devices("CPU")
    with pytest.raises(RuntimeError, match="cannot be modified after being initialized"):
        tf.config.set_visible_devices([], "CPU")


# What the converter is given, and what is kept of what it makes.


def graph(engines: int, engines_in_functions: int = 0) -> Any:
    made = tf.compat.v1.GraphDef()
    for index in range(engines):
        made.node.add(name=f"TRTEngineOp_000_{index:03}", op="TRTEngineOp")
    made.node.add(name="rest", op="MatMul")
    function = made.library.function.add()
    for index in range(engines_in_functions):
        function.node_def.add(name=f"TRTEngineOp_001_{index:03}", op="TRTEngineOp")
    function.node_def.add(name="rest", op="Mul")
    return made


@dataclass
class Library:
    """What the fake converter was given, and what it makes."""

    graph: Any = field(default_factory=lambda: graph(1))
    built: tuple[int, ...] = (7,)
    """Sizes of the files of engines that `save` leaves."""
    saved: Path | None = None
    """The SavedModel that `save` copies; the source if None."""
    error: Exception | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    calibration: list[dict[str, np.ndarray]] | None = None
    profiles: list[dict[str, np.ndarray]] = field(default_factory=list)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch, gpu: list[tuple[str, Any]]) -> Library:
    """Put a fake in the place of TF-TRT's converter and of what it needs; see this module's docstring."""
    library = Library()

    class Converter:
        def __init__(self, **settings: Any) -> None:
            if library.error is not None:
                raise library.error
            library.settings = settings

        def convert(self, calibration_input_fn: Callable[[], Iterator[Any]] | None = None) -> Any:
            # TF-TRT refuses the one without the other.
            assert (calibration_input_fn is not None) is library.settings["use_calibration"]
            library.calibration = list(calibration_input_fn()) if calibration_input_fn else None
            return SimpleNamespace(graph=SimpleNamespace(as_graph_def=lambda: library.graph))

        def build(self, input_fn: Callable[[], Iterator[Any]]) -> None:
            library.profiles = list(input_fn())

        def save(self, directory: str) -> None:
            shutil.copytree(library.saved or library.settings["input_saved_model_dir"], directory)
            for index, size in enumerate(library.built):
                engine = Path(directory) / "assets" / f"trt-serialized-engine.TRTEngineOp_000_{index:03}"
                engine.parent.mkdir(exist_ok=True)
                engine.write_bytes(b"x" * size)

    binding(monkeypatch, (8, 6, 1))
    monkeypatch.setattr(tf.experimental.tensorrt, "Converter", Converter)
    return library


def test_the_converter_is_given_the_signature_and_settings_in_its_own_words(
    model: Path, tmp_path: Path, library: Library
) -> None:
    made = edge.convert(conversion(tmp_path, model))
    assert library.settings == {
        "input_saved_model_dir": str(model),
        "input_saved_model_tags": ["serve"],
        "input_saved_model_signature_key": "score",
        "precision_mode": "FP16",
        "max_workspace_size_bytes": GIB,
        "minimum_segment_size": 3,
        "use_calibration": False,
        "use_dynamic_shape": True,
        "dynamic_shape_profile_strategy": "Range+Optimal",
    }
    assert [each["x"].shape for each in library.profiles] == [(1, 4), (4, 4), (8, 4)]
    assert np.array_equal(library.profiles[2]["x"], sample(8)["x"])
    assert library.calibration is None
    exporter = f"TF-TRT of TensorFlow {tf.__version__}"
    assert made == Properties(exporter=exporter, signature_name="score", trt_engines=1)


def test_the_settings_are_what_the_real_converter_takes(model: Path, tmp_path: Path) -> None:
    """Its parameters are the same in TensorFlow 2.17, the last with TF-TRT, and in 2.21, which keeps the class."""
    settings = edge.converter_settings(OPTIONS, profile(1, 4, 8), calibrate=True)
    trt_convert = importlib.import_module("tensorflow.python.compiler.tensorrt.trt_convert")
    assert settings["precision_mode"] in trt_convert.TrtPrecisionMode.supported_precision_modes()
    assert settings["dynamic_shape_profile_strategy"] in trt_convert.supported_profile_strategies()
    with pytest.raises(TypeError, match="unexpected keyword argument 'no_such_setting'"):
        trt_convert.TrtGraphConverterV2(**settings, no_such_setting=1)
    if tf_trt.too_new(tf.__version__):
        with pytest.raises(RuntimeError, match="not been built with TensorRT"):  # and no TypeError
            trt_convert.TrtGraphConverterV2(**settings)


def test_opt_shapes_of_their_own_get_a_profile_of_their_own() -> None:
    strategy = "dynamic_shape_profile_strategy"
    assert edge.converter_settings(OPTIONS, profile(1, 8, 8), calibrate=False)[strategy] == "Range"
    assert edge.converter_settings(OPTIONS, profile(1, 1, 8), calibrate=False)[strategy] == "Range+Optimal"


def test_profiles_cover_what_no_sample_has() -> None:
    made = edge.build_inputs([sample(3)], profile(1, 5, 5))
    assert [each["ids"].tolist() for each in made] == [[10], [10, 11, 12, 10, 11]]
    assert made[1]["x"].shape == (5, 4)
    assert np.array_equal(made[1]["x"][3:], sample(3)["x"][:2])
    static = edge.build_inputs([sample(2)], profile(2, 2, 2))
    assert len(static) == 1
    assert np.array_equal(static[0]["x"], sample(2)["x"])


def test_every_axis_is_fitted_and_numbers_without_axes_stay() -> None:
    made = edge.fitted({"x": np.arange(6).reshape(2, 3), "n": np.array(5)}, {"x": (3, 2), "n": ()})
    assert made["x"].tolist() == [[0, 1], [3, 4], [0, 1]]
    assert made["n"].tolist() == 5


def test_int8_is_calibrated_with_samples_in_the_opt_shapes(model: Path, tmp_path: Path, library: Library) -> None:
    made = edge.convert(conversion(tmp_path, model, replace(OPTIONS, precision=Precision.INT8), sizes=(1, 4, 8, 4)))
    assert library.settings["precision_mode"] == "INT8"
    assert library.calibration is not None
    assert [each["x"].shape for each in library.calibration] == [(4, 4), (4, 4)]
    assert made.calibrated is True


def test_samples_of_other_shapes_are_fitted_for_calibration() -> None:
    made = edge.calibration_inputs([sample(1), sample(3)], profile(1, 2, 8).opt)
    assert [each["ids"].tolist() for each in made] == [[10, 10], [10, 11]]


def test_a_quantized_model_is_not_calibrated(tmp_path: Path, library: Library) -> None:
    source = save(tmp_path / "quantized", quantized=True)
    made = edge.convert(conversion(tmp_path, source, replace(OPTIONS, precision=Precision.INT8)))
    assert library.settings["use_calibration"] is False
    assert library.calibration is None
    assert made.calibrated is False


def test_operations_are_read_from_functions_too(model: Path) -> None:
    assert {"MatMul", "Relu"} <= edge.operations(model)
    assert not edge.operations(model) & {"FakeQuantWithMinMaxArgs"}


def test_a_graph_without_an_engine_is_told(model: Path, tmp_path: Path, library: Library) -> None:
    library.graph, library.built = graph(0), ()
    made = edge.convert(conversion(tmp_path, model, replace(OPTIONS, precision=Precision.FP32)))
    assert made.trt_engines == 0
    assert made.warnings == (
        "TF-TRT found no part of the model for TensorRT: all of it runs in TensorFlow, as fast as before",
    )


@pytest.mark.parametrize(("engines", "built"), [(0, ()), (2, (0, 0))])
@pytest.mark.parametrize("precision", [Precision.FP16, Precision.INT8])
def test_without_an_engine_no_reduced_precision_applies(
    model: Path, tmp_path: Path, library: Library, precision: Precision, engines: int, built: tuple[int, ...]
) -> None:
    library.graph, library.built = graph(engines), built
    with pytest.raises(NotApplicableError) as found:
        edge.convert(conversion(tmp_path, model, replace(OPTIONS, precision=precision)))
    assert (
        found.value.message
        == f"nothing became {precision}: TF-TRT found no part of the model for TensorRT, or built none"
    )


def test_engines_that_were_not_built_are_told(model: Path, tmp_path: Path, library: Library) -> None:
    library.graph, library.built = graph(2, 1), (7, 0)
    made = edge.convert(conversion(tmp_path, model))
    assert made.trt_engines == 3
    assert made.warnings == ("TensorRT built 1 of 3 engines: the rest of the model runs in TensorFlow, see the log",)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"),
            "converting signature 'score' with TF-TRT needs more memory than is free on the GPU",
        ),
        (
            tf.errors.InternalError(None, None, "Failed to build an engine"),
            f"TF-TRT of TensorFlow {tf.__version__} can't convert signature 'score': Failed to build an engine",
        ),
    ],
)
def test_what_tensorflow_says_is_one_sentence(
    model: Path, tmp_path: Path, library: Library, error: Exception, message: str
) -> None:
    library.error = error
    with pytest.raises(StepError) as refusal:
        edge.convert(conversion(tmp_path, model))
    assert refusal.value.message == message
    assert refusal.value.hint


def test_a_signature_that_is_not_there_is_named(model: Path, tmp_path: Path, library: Library) -> None:
    with pytest.raises(StepError, match="has no signature 'other'\n  set signature_name to one of: score"):
        edge.convert(conversion(tmp_path, model, replace(OPTIONS, signature_name="other")))


# The runner.


@pytest.mark.parametrize("wrong", [False, True])
def test_an_artifact_is_held_against_its_source(model: Path, tmp_path: Path, library: Library, wrong: bool) -> None:
    """One weight that is wrong must come out as a mismatch; the artifact is what the fake converter saved."""
    library.saved = save(tmp_path / "wrong", bias=0.1) if wrong else None
    edge.convert(conversion(tmp_path, model))
    source = tf_savedmodel.load(model, declared=NOTHING_DECLARED)
    artifact = tf_trt.load(tmp_path / "model.savedmodel", declared=source.signature, options=OPTIONS)
    assert artifact.signature == source.signature
    assert artifact.properties == Properties(signature_name="score")
    samples = [(f"{size}", sample(size)) for size in (1, 5)]
    expected = [(name, source.infer(inputs)) for name, inputs in samples]
    outputs = [(name, artifact.infer(inputs)) for name, inputs in samples]
    assert verify(expected, outputs, atol={"": 1e-5}, rtol={"": 1e-5}).passed is not wrong


def test_the_runner_keeps_the_precision_of_its_step(model: Path, library: Library, gpu: list[tuple[str, Any]]) -> None:
    tf_trt.load(model, declared=NOTHING_DECLARED, options=OPTIONS)
    tf_trt.load(model, declared=NOTHING_DECLARED, options=replace(OPTIONS, precision=Precision.FP32))
    assert [call for call in gpu if call[0] == "tf32"] == [("tf32", True), ("tf32", False)]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"),
            "running the TF-TRT model needs more memory than is free on the GPU",
        ),
        (
            tf.errors.InternalError(None, None, "engine failed"),
            "TensorFlow can't run signature 'score' with x: [2, 4], ids: [2]: engine failed",
        ),
    ],
)
def test_what_fails_on_the_gpu_is_an_outcome(
    model: Path, library: Library, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    loaded = tf_trt.load(model, declared=NOTHING_DECLARED, options=OPTIONS)

    def failing(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(tf, "constant", failing)
    with pytest.raises(StepError) as refusal:
        loaded.infer(sample(2))
    assert refusal.value.message == message


# What a machine lacks.


def host(*, gpu: bool, **versions: str) -> Host:
    one = Gpu(index=0, uuid="GPU-1", name="GPU", compute_capability="9.0", memory_bytes=GIB, driver_version="580")
    return Host(
        python="3.11",
        system="Linux",
        cpu="cpu",
        cpu_count=2,
        memory_bytes=GIB,
        gpus=(one,) if gpu else (),
        versions=versions,
    )


def test_all_that_is_missing_is_named_at_once() -> None:
    found = edge.unavailable(host(gpu=False, tensorflow="2.21.0"))
    assert found is not None
    assert found.reason == (
        "TensorFlow 2.21.0 has no TF-TRT: 2.17 is the last version that has it; no NVIDIA GPU is visible"
    )
    assert found.remedy.startswith("convert in a container with TensorFlow 2.17")
    assert "; then install the NVIDIA driver" in found.remedy
    absent = edge.unavailable(host(gpu=True))
    assert absent is not None
    assert (absent.reason, absent.remedy) == ("not installed: tensorflow", "pip install 'tensorflow<2.18,>=2.16'")
    assert edge.unavailable(host(gpu=True, tensorflow="2.17.1")) is None


def test_a_machine_that_cannot_run_it_says_why() -> None:
    assert tf_trt.unrunnable(Device.CUDA, host(gpu=False), OPTIONS) == "no NVIDIA GPU is visible"
    assert tf_trt.unrunnable(Device.CUDA, host(gpu=True, tensorflow="2.21.0"), OPTIONS).endswith(
        "2.17 is the last version that has it"
    )
    assert tf_trt.unrunnable(Device.CUDA, host(gpu=True, tensorflow="2.17.1"), OPTIONS) == ""
