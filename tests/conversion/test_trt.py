"""ONNX to TensorRT for RTX: real engines, built on this CPU; and what TensorRT shares with it.

Nothing here can run an engine. TensorRT itself cannot be had from a package index, so that for it the library of
TensorRT for RTX stands in under its name: the two have one API, and one implementation here.
"""
# ruff: noqa: TID253 - the frameworks are what is tested

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from navigator.converters.onnx_to_trt import ONNX_TO_TRT, ONNX_TO_TRT_RTX
from navigator.converters.protocol import Conversion
from navigator.errors import StepError
from navigator.frameworks.tensorrt import engine_file, onnx_source, profile
from navigator.frameworks.tensorrt.messages import Collected, explained, sentence
from navigator.records import Gpu, Host, ShapeProfile, to_data
from navigator.runners.trt import TrtOptions
from navigator.samples import storage as arrays
from navigator.workers.local.pool import ForkServer, Task, TaskResult, TaskStatus

GPU = Gpu(index=0, uuid="GPU-1", name="NVIDIA L4", compute_capability="8.9", memory_bytes=2**34, driver_version="580")

MLP = """
"" : 17
mlp (float[batch, 8] x) => (float[batch, 16] y) {
    h = MatMul(x, w)
    y = Relu(h)
}
"""


def written(path: Path, text: str, weights: Mapping[str, np.ndarray] | None = None) -> Path:
    """Write a model given as `onnx.parser` reads it, without its head, and with the given initializers."""
    opset, graph = text.strip().split("\n", 1)
    model = parser.parse_model(f"<ir_version: 8, opset_import: [{opset}]>\n{graph}")
    for name, values in (weights or {}).items():
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    onnx.save(model, str(path))
    return path


def ranged(**inputs: tuple[tuple[int, ...], tuple[int, ...]]) -> ShapeProfile:
    """Return a profile of (smallest, largest) shapes; the largest is the usual one."""
    low, high = ({name: pair[place] for name, pair in inputs.items()} for place in (0, 1))
    return ShapeProfile(min=low, opt=high, max=high)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    with ForkServer(preload=(), directory=tmp_path_factory.mktemp("server")) as workers:
        yield workers


@pytest.fixture
def mlp(tmp_path: Path) -> Path:
    return written(tmp_path / "mlp.onnx", MLP, {"w": np.random.default_rng(0).normal(size=(8, 16)).astype("float32")})


def build(
    server: ForkServer,
    source: Path,
    shapes: ShapeProfile,
    options: TrtOptions | None = None,
    converter: str = "onnx_to_trt_rtx",
    samples: Path | None = None,
    gpu: Gpu | None = None,
) -> tuple[TaskResult, Path]:
    """Build an engine in a worker, as a run does."""
    plan = source.with_suffix(".plan")
    conversion = Conversion(
        source=source,
        destination=plan,
        options=options or TrtOptions(),
        shapes=shapes,
        samples=samples,
        timing_cache=source.parent / "timing",
        gpu=gpu,
        progress=source.parent / "progress",
    )
    task = Task(
        name="convert",
        arguments={"converter": converter, "conversion": to_data(conversion)},
        directory=source.parent / "task",
        log_path=source.parent / "convert.log",
        timeout_seconds=120,
        memory_limit_bytes=8 * 2**30,
        writes=(source.parent,),
    )
    return server.run(task), plan


def test_an_engine_with_a_dynamic_batch_is_built_and_read_back(server: ForkServer, mlp: Path) -> None:
    result, plan = build(server, mlp, ranged(x=((1, 8), (16, 8))))

    assert result.status is TaskStatus.FINISHED, result.message
    assert result.value == {
        "exporter": "built by TensorRT for RTX 1.7.1.116",
        "tensorrt_version": "1.7.1.116",
        "network_layers": 3,
        "tf32": False,
        "compute_capabilities": ["8.0", "8.6", "8.9", "12.0 and later"],
    }
    assert engine_file.read_back(plan, "1.7.1.116", rtx=True) == "1.7.1.116"
    # The plan's own words: float32 means float32.
    assert b"tf32=0" in plan.read_bytes()


def test_a_build_says_how_far_it_is(server: ForkServer, mlp: Path) -> None:
    result, _ = build(server, mlp, ranged(x=((1, 8), (16, 8))))

    assert result.status is TaskStatus.FINISHED, result.message
    told = re.findall(r"^TensorRT: .+, (\d+) %$", (mlp.parent / "convert.log").read_text(), re.MULTILINE)
    assert len(told) > 1
    assert [int(each) for each in told] == sorted(int(each) for each in told)
    assert re.fullmatch(r".+, 100 %", (mlp.parent / "progress").read_text())


@pytest.mark.parametrize("level", [0, 5])
def test_the_optimization_level_reaches_the_builder(server: ForkServer, mlp: Path, level: int) -> None:
    result, plan = build(server, mlp, ranged(x=((1, 8), (16, 8))), TrtOptions(optimization_level=level))

    assert result.status is TaskStatus.FINISHED, result.message
    assert plan.exists()


def test_options_reach_the_builder(server: ForkServer, mlp: Path) -> None:
    options = TrtOptions(tf32=True, compute_capabilities=("8.9",), sparse_weights=True, max_workspace_size=2**30)
    result, plan = build(server, mlp, ranged(x=((1, 8), (16, 8))), options)

    assert result.status is TaskStatus.FINISHED, result.message
    assert result.value is not None
    assert (result.value["tf32"], result.value["compute_capabilities"]) == (True, ["8.9"])
    text = plan.read_bytes()
    assert b"tf32=1" in text
    # One bit a compute capability, from 7.5 on.
    assert text[32] == 0b1000
    log = (mlp.parent / "convert.log").read_text()
    assert "memory_budget = " not in log  # a page of log is not what a user wants to read


def test_too_little_workspace_is_said_with_its_option(server: ForkServer, mlp: Path) -> None:
    result, _ = build(server, mlp, ranged(x=((1, 8), (16, 8))), TrtOptions(max_workspace_size=2**20))

    assert "no tactics to implement the operation within workspace limit" in result.message
    assert result.remedy == "increase tensorrt_max_workspace_size"


@pytest.mark.parametrize(
    ("capabilities", "message", "hint"),
    [
        (["9.0"], "TensorRT for RTX 1.7.1.116 doesn't support compute capability 9.0", "use one of: 7.5, 8.0,"),
        (
            ["7.5"],
            (
                "TensorRT for RTX 1.7.1.116 can't build the engine: Cannot compile operation 'node_of_h' for "
                "Turing (SM75): FP32 GEMM is not supported"
            ),
            "",
        ),
    ],
)
def test_a_gpu_that_cannot_run_it_is_refused_in_a_sentence(
    server: ForkServer, mlp: Path, capabilities: list[str], message: str, hint: str
) -> None:
    result, plan = build(server, mlp, ranged(x=((1, 8), (16, 8))), TrtOptions(compute_capabilities=tuple(capabilities)))

    assert (result.status, result.message) == (TaskStatus.FAILED, message)
    assert result.remedy.startswith(hint)
    assert not plan.exists()


REFUSED = {
    "dilations": (
        '"" : 11\nm (float[1, 1, 8] x) => (float[1, 1, 4] y) { y = MaxPool<kernel_shape = [3], dilations = [2]>(x) }',
        "can't parse the ONNX file: node 0 (MaxPool): This version of TensorRT does not support dilations other than 1",
    ),
    "sequences": (
        (
            '"" : 11\nm (float[2, 3] x, float[2, 3] z) => (float[4, 3] y) {\n'
            "s = SequenceConstruct(x, z)\ny = ConcatFromSequence<axis = 0>(s) }"
        ),
        "can't parse the ONNX file: it doesn't support the operators ConcatFromSequence, SequenceConstruct",
    ),
    "unknown": (
        '"" : 17, "example" : 1\nm (float[2, 3] x) => (float[2, 3] y) { y = example.EfficientNMS(x) }',
        "can't parse the ONNX file: node 0 (EfficientNMS): ",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_operator_is_named(server: ForkServer, tmp_path: Path, name: str) -> None:
    text, message = REFUSED[name]
    source = written(tmp_path / "m.onnx", text)
    inputs = {
        each.name: tuple(axis.dim_value for axis in each.type.tensor_type.shape.dim)
        for each in onnx.load(source).graph.input
    }

    result, _ = build(server, source, ShapeProfile(min=inputs, opt=inputs, max=inputs))

    assert result.status is TaskStatus.FAILED
    assert message in result.message


ASYMMETRIC = """(float[2, 3] x) => (uint8[2, 3] y) {
    s = Constant<value = float {1}>() z = Constant<value = uint8 {8}>() y = QuantizeLinear(x, s, z) }"""


@pytest.mark.parametrize(
    ("opsets", "graph", "advice"),
    [
        (
            '"" : 17',
            "(uint8[2, 3] x) => (float[3, 2] y) { t = Transpose<perm = [1, 0]>(x) y = Cast<to = 1>(t) }",
            "a Cast",
        ),
        (
            '"" : 9',
            "(uint8[2, 3] x) => (float[1, 3] y) { t = Slice<starts = [0], ends = [1]>(x) y = Cast<to = 1>(t) }",
            "a Cast",
        ),
        (
            '"" : 17',
            ASYMMETRIC,
            "symmetrically",
        ),
        (
            '"" : 17, "com.microsoft" : 1',
            "(float[2, 3] x, float[3, 2] z) => (float[2, 2] y) { y = com.microsoft.FusedMatMul(x, z) }",
            "as exported, not as ONNX Runtime optimized it",
        ),
        (
            '"" : 17',
            """(uint8[2, 2] x) => (uint8[2, 2] y) {
                s = Constant<value = float {1}>() z = Constant<value = uint8 {8}>()
                y = QLinearMatMul(x, s, z, x, s, z, s, z) }""",
            "QuantizeLinear and DequantizeLinear nodes",
        ),
        (
            '"ai.onnx.ml" : 1',
            '(float[2, 3] x) => (float[2, 3] y) { y = ai.onnx.ml.Normalizer<norm = "L2">(x) }',
            "classical machine learning",
        ),
        (
            '"" : 17, "ai.onnx.ml" : 1',
            """(float[2, 3] x) => (float[2, 1] y) {
                i = Constant<value = int64[1] {1}>() y = ai.onnx.ml.ArrayFeatureExtractor(x, i) }""",
            "classical machine learning",
        ),
    ],
)
def test_what_can_be_written_otherwise_is_advised(
    server: ForkServer, tmp_path: Path, opsets: str, graph: str, advice: str
) -> None:
    source = written(tmp_path / "m.onnx", f"{opsets}\nm {graph}")

    result, _ = build(server, source, ranged(x=((2, 3), (2, 3)), z=((3, 2), (3, 2))))

    assert result.status is TaskStatus.FAILED
    assert advice in result.remedy


@pytest.mark.parametrize(
    ("shapes", "message", "hint"),
    [
        (
            ranged(other=((1,), (1,))),
            "input x [-1, 8] of the ONNX file has no maximum size for its dynamic axes",
            "declare x in inputs, and set max_shapes for it",
        ),
        (
            ranged(x=((1, 4), (16, 8))),
            "input x is [-1, 8] in the ONNX file, but the configured shapes are [1, 4] to [16, 8]",
            "change min_shapes, opt_shapes and max_shapes of x to match the file, or export it with dynamic axes",
        ),
        (
            ranged(x=((4, 8), (1, 8))),
            "input x: the minimum shape [4, 8] is larger than the maximum [1, 8]",
            "",
        ),
    ],
)
def test_an_axis_without_a_fitting_range_is_an_error_before_anything_is_built(
    server: ForkServer, mlp: Path, shapes: ShapeProfile, message: str, hint: str
) -> None:
    result, plan = build(server, mlp, shapes)

    assert (result.status, result.message, result.remedy) == (TaskStatus.FAILED, message, hint)
    assert not plan.exists()


def test_an_input_that_is_read_as_a_shape_gets_its_values_from_the_samples(server: ForkServer, tmp_path: Path) -> None:
    text = '"" : 17\nm (float[2, 12] x, int64[2] shape) => (float[a, b] y) { y = Reshape(x, shape) }'
    source = written(tmp_path / "m.onnx", text)
    x = np.zeros((2, 12), "float32")
    values = [np.array(each, "int64") for each in ([4, 6], [8, 3])]
    arrays.save(tmp_path / "samples", [(str(n), {"x": x, "shape": each}) for n, each in enumerate(values)])
    shapes = ranged(x=((2, 12), (2, 12)), shape=((2,), (2,)))

    without, _ = build(server, source, shapes)
    result, _ = build(server, source, shapes, samples=tmp_path / "samples")

    assert without.message == "input shape is a shape, but the samples have no values for it"
    assert result.status is TaskStatus.FINISHED, result.message


def test_the_optimum_of_a_shape_is_that_of_the_typical_sample(tmp_path: Path) -> None:
    values = {"min": [1, 24], "opt": [4, 6], "max": [24, 1], "zeros": [2, 12]}
    arrays.save(tmp_path, [(name, {"shape": np.array(each, "int64")}) for name, each in values.items()])
    tensor = SimpleNamespace(name="shape", is_shape_tensor=True, shape=(2,))
    network = SimpleNamespace(num_inputs=1, num_outputs=0, get_input=lambda _index: tensor)

    made = profile.profile(network, ranged(), tmp_path)

    ranges = made["shape"]
    assert [*map(tuple, (ranges.min, ranges.opt, ranges.max))] == [(1, 1), (4, 6), (24, 24)]


def test_an_input_that_is_an_output_too_is_built(server: ForkServer, tmp_path: Path) -> None:
    text = '"" : 17\nm (float[n, 8] x) => (float[n, 8] y, float[n, 8] x) { y = Relu(x) }'
    source = written(tmp_path / "m.onnx", text)

    result, plan = build(server, source, ranged(x=((1, 8), (4, 8))))

    assert result.status is TaskStatus.FINISHED, result.message
    # The engine has the names that the runner maps back.
    inputs, outputs = ("x",), ("y", "x")
    assert [onnx_source.name_in_engine(name, outputs) for name in inputs] == ["__x"]
    assert b"__x" in plan.read_bytes()
    assert [onnx_source.name_in_file(name, outputs) for name in ("__x", "__z", "y")] == ["x", "__z", "y"]


@pytest.mark.parametrize(("batch", "side"), [("?", "?"), ("n", "n"), ("", "?")])
def test_axes_of_one_name_may_have_different_sizes(server: ForkServer, tmp_path: Path, batch: str, side: str) -> None:
    text = '"" : 17\nm (float[n, 3, h, w] x) => (float[n, 3] y) { p = GlobalAveragePool(x) y = Flatten(p) }'
    source = written(tmp_path / "m.onnx", text)
    model = onnx.load(source)
    for axis, name in ((0, batch), (2, side), (3, side)):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    onnx.save(model, source)

    result, _ = build(server, source, ranged(x=((1, 3, 8, 16), (4, 3, 32, 64))))

    assert result.status is TaskStatus.FINISHED, result.message
    assert onnx.load(source) == model


def test_names_that_are_patterns_are_taken_literally(server: ForkServer, tmp_path: Path, mlp: Path) -> None:
    model = onnx.load(mlp)
    model.graph.input[0].name = model.graph.node[0].input[0] = "x[0]*"
    onnx.save(model, tmp_path / "brackets.onnx")

    result, _ = build(server, tmp_path / "brackets.onnx", ranged(**{"x[0]*": ((1, 8), (4, 8))}))

    assert result.status is TaskStatus.FINISHED, result.message


def test_a_plugin_library_that_cannot_be_loaded_is_named(server: ForkServer, mlp: Path) -> None:
    library = mlp.parent / "plugin.so"
    library.write_text("not a library")

    result, _ = build(server, mlp, ranged(x=((1, 8), (4, 8))), TrtOptions(plugins=(library,)))

    assert result.message.startswith(f"plugin library {library} can't be loaded: ")
    assert "tensorrt_plugins" in result.remedy


def test_a_plan_that_is_cut_off_or_another_one_is_noticed(server: ForkServer, mlp: Path) -> None:
    _, plan = build(server, mlp, ranged(x=((1, 8), (4, 8))))
    whole = plan.read_bytes()

    with pytest.raises(StepError, match=r"is not an engine of TensorRT: it starts with b'vtrt'"):
        engine_file.read_back(plan, "1.7.1.116", rtx=False)
    with pytest.raises(StepError, match=r"expected an engine of TensorRT for RTX 2\.0\.0, got one of 1\.7\.1\.116"):
        engine_file.read_back(plan, "2.0.0", rtx=True)
    for other in ("1.7.1.11", "1.7.1.1160", "1.7.2", "1.70", "1.6", "", "unknown"):
        with pytest.raises(StepError, match=r"got one of 1\.7\.1\.116"):
            engine_file.read_back(plan, other, rtx=True)
    for same in ("1.7", "1.7.1", "1.7.1.post1", "1.7.1.116", "1.7.1.116.post2", "1.7.1.116.0"):
        assert engine_file.read_back(plan, same, rtx=True) == "1.7.1.116"
    plan.write_bytes(whole[:-1])
    with pytest.raises(StepError, match=rf"truncated: expected {len(whole)} bytes, got {len(whole) - 1}"):
        engine_file.read_back(plan, "1.7.1.116", rtx=True)


@pytest.fixture
def as_tensorrt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ForkServer]:
    """Return workers in which TensorRT for RTX answers to the name `tensorrt`, version 11."""
    (tmp_path / "stand_in").mkdir()
    (tmp_path / "stand_in" / "sitecustomize.py").write_text(
        "import importlib.abc, importlib.machinery, importlib.util, sys, types\n"
        "class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        return importlib.machinery.ModuleSpec(name, self) if name == 'tensorrt' else None\n"
        "    def create_module(self, spec):\n"
        "        import tensorrt_rtx\n"
        "        module = types.ModuleType('tensorrt')\n"
        "        module.__dict__.update({k: v for k, v in vars(tensorrt_rtx).items() if not k.startswith('__')})\n"
        "        module.__version__ = '11.4.0.106'\n"
        "        return module\n"
        "    def exec_module(self, module): pass\n"
        "sys.meta_path.insert(0, Finder())\n"
        # The driver, which TensorRT for RTX builds without.
        "import ctypes\n"
        "class Libraries(ctypes.CDLL):\n"
        "    def __init__(self, name, *rest, **more):\n"
        "        if name != 'libcuda.so.1':\n"
        "            super().__init__(name, *rest, **more)\n"
        "    def cuInit(self, flags): return 0\n"
        "    def cuDeviceGetCount(self, count): count._obj.value = 1; return 0\n"
        "    def cuDevicePrimaryCtxRetain(self, context, device): return 0\n"
        "ctypes.CDLL = Libraries\n"
    )
    environment = {
        "PYTHONPATH": str(tmp_path / "stand_in"),
        "HOME": str(tmp_path),
    }
    with ForkServer(preload=(), directory=tmp_path / "server", environment=environment) as workers:
        yield workers


def test_tensorrt_goes_the_same_way_up_to_the_serialized_engine(as_tensorrt: ForkServer, mlp: Path) -> None:
    """What comes out is a plan of TensorRT for RTX, and is recognised as such: the one step that stays unproven."""
    options = TrtOptions(tf32=True, sparse_weights=True, max_workspace_size=2**30)

    result, plan = build(as_tensorrt, mlp, ranged(x=((1, 8), (16, 8))), options, "onnx_to_trt", gpu=GPU)

    assert result.message == "mlp.plan is not an engine of TensorRT: it starts with b'vtrt'"
    assert b"tf32=1" in plan.read_bytes()
    assert [path.name for path in (mlp.parent / "timing").glob("*.cache")] == [
        "NVIDIA_L4-8.9-580-tensorrt-11.4.0.106.cache"
    ]


def test_a_machine_where_cuda_does_not_start_is_refused_before_tensorrt_ends_the_process(
    as_tensorrt: ForkServer, mlp: Path, tmp_path: Path
) -> None:
    stand_in = tmp_path / "stand_in" / "sitecustomize.py"
    stand_in.write_text(stand_in.read_text().replace("(self, flags): return 0", "(self, flags): return 100"))
    with ForkServer(
        preload=(), directory=tmp_path / "server-2", environment={"PYTHONPATH": str(stand_in.parent), "HOME": "/"}
    ) as workers:
        result, _ = build(workers, mlp, ranged(x=((1, 8), (16, 8))), TrtOptions(), "onnx_to_trt", gpu=GPU)

    assert (result.status, result.message) == (TaskStatus.FAILED, "CUDA doesn't start: error 100")
    assert "nvidia-smi" in result.remedy


def test_without_the_library_the_remedy_is_named(server: ForkServer, mlp: Path) -> None:
    if "tensorrt" in sys.modules or _has("tensorrt"):
        pytest.skip("TensorRT is installed here")

    result, _ = build(server, mlp, ranged(x=((1, 8), (4, 8))), converter="onnx_to_trt")

    assert result.message == "TensorRT can't be imported: No module named 'tensorrt'"
    assert "precisions.md" in result.remedy


def _has(module: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(module) is not None


def host(*gpus: Gpu, **versions: str) -> Host:
    named = {name.replace("_", "-"): version for name, version in versions.items()}
    return Host(python="3", system="", cpu="", cpu_count=1, memory_bytes=1, gpus=gpus, versions=named)


def test_what_a_machine_lacks_is_said_with_its_remedy() -> None:
    no_gpu = ONNX_TO_TRT.unavailable(host(tensorrt="11", polygraphy="1"))
    no_package = ONNX_TO_TRT.unavailable(host(GPU, polygraphy="1"))
    rtx = ONNX_TO_TRT_RTX.unavailable(host(polygraphy="1"))

    assert no_gpu is not None
    assert no_gpu.reason == "no NVIDIA GPU is visible"
    assert all(word in no_gpu.remedy for word in ("driver", "runtime", "GPU variant of the action"))
    assert no_package is not None
    assert (no_package.reason, no_package.remedy) == (
        "not installed: tensorrt",
        "pip install 'tensorrt>=10.0'",
    )
    assert rtx is not None
    assert rtx.remedy == "pip install 'tensorrt-rtx-cu13>=1.4'"
    assert ONNX_TO_TRT.unavailable(host(GPU, tensorrt="11", polygraphy="1")) is None
    # It needs no GPU to build.
    assert ONNX_TO_TRT_RTX.unavailable(host(tensorrt_rtx_cu13="1", polygraphy="1")) is None


@pytest.mark.parametrize(
    ("logged", "said"),
    [
        (
            (
                "[E] IBuilder::buildSerializedNetwork: Error Code 1: Myelin ([pass.cpp:337: check_turing] "
                "Cannot compile operation 'h' for Turing (SM75): FP32 GEMM is not supported. In compileGraph at "
                "/_src/optimizer/myelin/codeGenerator.cpp:2012)"
            ),
            "Cannot compile operation 'h' for Turing (SM75): FP32 GEMM is not supported",
        ),
        (
            (
                "[E] IBuilder::buildSerializedNetwork: Error Code 4: API Usage Error (x: optimization profile is "
                "missing values for shape input)"
            ),
            "x: optimization profile is missing values for shape input",
        ),
        ("[E] something that nobody has seen", "something that nobody has seen"),
    ],
)
def test_of_a_page_of_log_one_sentence_matters(logged: str, said: str) -> None:
    log = Collected()
    log.errors = [logged]

    assert str(explained("it cannot build", log, ValueError("Invalid Engine"))) == f"it cannot build: {said}"
    assert str(explained("it cannot build", Collected(), ValueError("Invalid Engine"))).endswith(": Invalid Engine")


@pytest.mark.parametrize(
    "said",
    [
        "Could not find any implementation for node node_of_values due to insufficient workspace. See verbose log",
        "no tactics to implement the operation within workspace limit",
    ],
)
def test_a_workspace_that_is_too_small_leads_to_its_option(said: str) -> None:
    """As TensorRT 10.6 and TensorRT for RTX 1.7 say it (tests/support/gpu_libraries.yaml)."""
    log = Collected()
    log.errors = [f"[E] IBuilder::buildSerializedNetwork: Error Code 10: Internal Error ({said})"]

    error: Any = explained("TensorRT can't build the engine", log, ValueError("Invalid Engine"))

    assert error.hint == "increase tensorrt_max_workspace_size"


def test_gpu_memory_that_is_not_enough_is_a_sentence_with_a_remedy() -> None:
    log = Collected()
    log.errors = ["[E] IBuilder::buildSerializedNetwork: Error Code 2: OutOfMemory (Requested size was 9 bytes.)"]

    error: Any = explained("TensorRT 11 can't build the engine", log, ValueError("Invalid Engine"))

    assert error.message.endswith("needs more memory than is free on the GPU")
    assert "tensorrt_max_workspace_size" in error.hint
    assert sentence("Assertion failed: a >= 7: Pre-opset 7 broadcasting is unsupported") == (
        "Pre-opset 7 broadcasting is unsupported"
    )


def test_polygraphy_finds_no_array_of_torchs_without_importing_it_and_torch_can_be_imported_afterwards() -> None:
    script = """
import importlib.util, sys
import numpy as np
from polygraphy import util
from navigator.frameworks.tensorrt import library

assert importlib.util.find_spec("torch") is not None
with library.without_torch():
    assert not util.array.is_torch(np.zeros(1))
assert "torch" not in sys.modules
import torch
with library.without_torch():
    assert util.array.is_torch(torch.zeros(1))
assert sys.modules["torch"] is torch
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
