"""ONNX and TorchScript cells verified on a real GPU: devices, TF32, isolation, memory that is not enough."""

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from navigator import config
from navigator.engine.execute import Execution
from navigator.engine.listener import Listener
from navigator.engine.schedule import Unit
from navigator.engine.workspace import Workspace
from navigator.errors import StepError
from navigator.host.describe import describe
from navigator.plan.planner import plan
from navigator.records import Device, Gpu, Signature, TensorSpec, to_data
from navigator.runners import onnx as onnx_runner
from navigator.runners.torchscript import quiet
from navigator.samples import storage as arrays
from navigator.workers.local.pool import ForkServer, Task, TaskStatus
from tests.gpu.conftest import GPUS

REPOSITORY = Path(__file__).parents[2]
NOTHING = Signature(inputs=(), outputs=())


def _lacks_cuda_provider() -> bool:
    import onnxruntime

    return "CUDAExecutionProvider" not in onnxruntime.get_available_providers()


on_cuda = pytest.mark.skipif(
    bool(GPUS) and _lacks_cuda_provider(), reason="this onnxruntime has no CUDA provider: onnxruntime-gpu has one"
)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the repository's example models that need no TensorFlow."""
    subprocess.run(
        [sys.executable, "examples/make_models.py", "--only", "resnet50", "bert_small", "mlp_mixer", "conv"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    return REPOSITORY / "examples"


def the_examples(examples: Path, **keys: Any) -> dict[str, Any]:
    """Return the examples' navigator.yaml without TensorFlow's, with `keys` in every model."""
    document = yaml.safe_load((examples / "navigator.yaml").read_text())
    models = [each for each in document["models"] if (examples / each["model_path"]).exists()]
    models = [{**each, "model_path": str(examples / each["model_path"]), **keys} for each in models]
    drop = ("cache_path", "workspace_path")
    defaults = {key: each for key, each in document["defaults"].items() if key not in drop}
    return {"defaults": defaults, "models": [each for each in models if "savedmodel" not in each["model_path"]]}


@on_cuda
def test_the_examples_pass_on_the_cpu_and_on_the_gpu_with_tf32_off(examples: Path, convert: Any, gpu: Gpu) -> None:
    code, cells, printed = convert(the_examples(examples))

    assert code == 0, printed
    both = [each for each in cells.values() if each["output_model"]["format"] in ("onnx", "torchscript")]
    assert len(both) >= 9
    for each in both:
        devices = [comparison["device"] for comparison in each["comparisons"]]
        assert sorted(set(devices)) == ["cpu", "cuda"]
        assert devices.count("cpu") == devices.count("cuda") == len(each["expected_outputs"])
        for comparison in each["comparisons"]:
            scale = max(abs(comparison["reference_min"]), abs(comparison["reference_max"]))
            assert comparison["max_abs_error"] <= 1e-3 * scale
        assert {latency["device"] for latency in each["latencies"]} == {"cuda"}
        assert all(0 < latency["median_seconds"] < 1 for latency in each["latencies"])
        names = [(latency["sample"], f"{1000 * latency['median_seconds']:.2f} ms") for latency in each["latencies"]]
        worst = max(comparison["max_abs_error"] for comparison in each["comparisons"] if comparison["device"] == "cuda")
        print(f"{gpu.name}: {each['model_name']} {each['conversion']}: max abs {worst:.2g}, {dict(names)}")


@on_cuda
def test_typed_onnx_passes_on_both(examples: Path, convert: Any, gpu: Gpu) -> None:
    """The engines themselves are built for TensorRT for RTX where it is installed; their ONNX files run everywhere."""
    keys = {"target_formats": ["trt-rtx"], "tensorrt_precisions": ["int8", "fp16"], "onnx_opsets": [18]}

    code, cells, printed = convert(the_examples(examples, **keys), "--no-fail-on-unverified")

    typed = [each for each in cells.values() if each["conversion"].endswith(("onnx_fp16", "onnx_int8_hierarchy"))]
    if not typed:
        pytest.skip("TensorRT for RTX is not installed here")
    assert code == 0, printed
    for each in typed:
        # Random inputs don't prove that int8 scales fit real ones.
        expected = "unverified" if "int8" in each["conversion"] else "passed"
        assert each["status"]["state"] == expected, each["status"]["message"]
        assert {comparison["device"] for comparison in each["comparisons"]} == {"cpu", "cuda"}
        worst = max(comparison["max_abs_error"] for comparison in each["comparisons"] if comparison["device"] == "cuda")
        print(f"{gpu.name}: {each['model_name']} {each['conversion']}: max abs {worst:.2g}")


def test_gpus_work_side_by_side_and_each_on_one_thing_at_a_time(examples: Path, tmp_path: Path) -> None:
    if len(GPUS) < 2:
        pytest.skip("one GPU here")
    (tmp_path / "navigator.yaml").write_text(yaml.safe_dump(the_examples(examples)))
    run = config.load(tmp_path / "navigator.yaml", {}, working_directory=tmp_path, allow_outside=True)
    host = describe()
    began: dict[tuple[str, Unit], float] = {}
    spans: list[tuple[str, float, float]] = []

    def on_end(unit: Unit) -> None:
        if unit.gpu:
            spans.append((unit.gpu, began[unit.gpu, unit], time.monotonic()))

    with Workspace(tmp_path / "ws", clean=False) as workspace:
        execution = Execution(
            plan(run, host),
            run,
            host,
            workspace=workspace,
            cache=None,
            memory_bytes=2**36,
            command="",
            started=time.monotonic(),
            listener=Listener(
                on_start=lambda unit: began.update({(unit.gpu, unit): time.monotonic()}),
                on_end=on_end,
            ),
        )
        execution.run()

    assert {each.status.state for each in execution.results()} == {"passed"}
    assert len({gpu for gpu, _, _ in spans}) > 1
    pairs = list(itertools.combinations(spans, 2))
    overlapping = [(one[0], other[0]) for one, other in pairs if one[1] < other[2] and other[1] < one[2]]
    assert any(one != other for one, other in overlapping)
    assert not any(one == other for one, other in overlapping)
    print(f"{len(spans)} units on {len(GPUS)} GPUs, {len(overlapping)} pairs of them at the same time")


def convolution(path: Path) -> tuple[Path, np.ndarray]:
    """Write a convolution whose outputs reach some hundreds, where TF32's short mantissa shows."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weight = rng.normal(size=(64, 256, 3, 3)).astype("float32")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])],
        "m",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 256, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 64, 16, 16])],
        [numpy_helper.from_array(weight, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path, rng.normal(size=(2, 256, 16, 16)).astype("float32")


@on_cuda
def test_tf32_is_off_where_onnx_runtime_has_it_on(tmp_path: Path) -> None:
    import onnxruntime

    path, x = convolution(tmp_path / "m.onnx")
    exact = onnx_runner.load(path, declared=NOTHING).infer({"x": x})["y"]
    ours = onnx_runner.load(path, declared=NOTHING, device=Device.CUDA).infer({"x": x})["y"]
    theirs = onnxruntime.InferenceSession(str(path), providers=["CUDAExecutionProvider"]).run(["y"], {"x": x})[0]

    scale = np.abs(exact).max()
    errors = [float(np.abs(each - exact).max() / scale) for each in (ours, theirs)]
    print(f"of a scale of {scale:.0f}: {errors[0]:.2g} without TF32, {errors[1]:.2g} with it")
    assert errors[0] < 1e-5
    assert errors[1] > 10 * errors[0]


def test_an_artifact_that_is_wrong_on_the_gpu_only_is_a_mismatch(tmp_path: Path, convert: Any) -> None:
    import torch

    class Liar(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.is_cuda:
                return x * 1.25
            return x * 2.0

    with quiet():
        torch.jit.save(torch.jit.script(Liar()), str(tmp_path / "liar.pt"))
    model = {
        "model_name": "liar",
        "model_path": "liar.pt",
        "inputs": "x:-1,4:float32",
        "outputs": "y:-1,4:float32",
        "target_formats": ["torchscript"],
    }

    code, cells, printed = convert(model)

    cell = cells["liar torchscript"]
    assert (code, cell["status"]["state"]) == (1, "mismatched"), printed
    assert cell["status"]["message"].startswith("output 'y' on the GPU: ")
    assert [(each["device"], each["passed"]) for each in cell["comparisons"]] == [("cpu", True), ("cuda", False)]
    only_cpu, cells, _ = convert({**model, "engine_count_per_device": {"cpu": 1}}, "--override-workspace")
    assert (only_cpu, cells["liar torchscript"]["status"]["state"]) == (0, "passed")


@on_cuda
def test_memory_that_is_not_enough_is_a_sentence(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [
            helper.make_node("Expand", ["x", "shape"], ["large"]),
            helper.make_node("ReduceSum", ["large"], ["y"], keepdims=0),
        ],
        "m",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1]),
            helper.make_tensor_value_info("shape", TensorProto.INT64, [1]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "m.onnx")
    model = onnx_runner.load(tmp_path / "m.onnx", declared=NOTHING, device=Device.CUDA)

    with pytest.raises(StepError) as raised:
        model.infer({"x": np.ones(1, "float32"), "shape": np.array([2**40], "int64")})

    assert raised.value.message.endswith("needs more memory than is free on the GPU")
    assert "max_batch_size" in raised.value.hint


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[ForkServer]:
    with ForkServer(preload=("torch",), directory=tmp_path / "server") as server:
        yield server


def test_a_worker_sees_the_gpu_that_it_was_given_and_no_other(workers: ForkServer, tmp_path: Path, gpu: Gpu) -> None:
    import torch

    with quiet():
        torch.jit.save(torch.jit.trace(torch.nn.ReLU(), torch.zeros(1, 4)), str(tmp_path / "m.pt"))
    arrays.save(tmp_path / "samples", [("min", {"x": np.zeros((1, 4), "float32")})])
    spec = TensorSpec(name="x", shape=(-1, 4), dtype="float32")
    declared = Signature(inputs=(spec,), outputs=(TensorSpec(name="y", shape=(-1, 4), dtype="float32"),))

    def infer(visible: str) -> Any:
        arguments = {
            "format": "torchscript",
            "path": str(tmp_path / "m.pt"),
            "declared": to_data(declared),
            "signature_name": None,
            "device": "cuda",
            "options": {},
            "samples": str(tmp_path / "samples"),
            "outputs": str(tmp_path / f"outputs{visible}"),
        }
        task = Task(
            name="infer",
            arguments=arguments,
            directory=tmp_path / f"task{visible}",
            log_path=tmp_path / "log",
            timeout_seconds=120,
            memory_limit_bytes=2**36,
            variables={"CUDA_VISIBLE_DEVICES": visible},
            reads=(tmp_path,),
            writes=(tmp_path,),
            gpu=visible,
        )
        return workers.run(task)

    given, hidden = infer(gpu.uuid), infer("")

    assert given.status is TaskStatus.FINISHED, given.message
    assert given.value["properties"]["torch_device"] == gpu.name
    assert hidden.status is TaskStatus.FAILED
    assert "can't use this machine's GPU" in hidden.message


def test_a_gpu_that_is_not_there_is_named_with_those_that_are(convert: Any, tmp_path: Path, gpu: Gpu) -> None:
    path, _ = convolution(tmp_path / "m.onnx")

    code, cells, printed = convert({"model_name": "m", "model_path": str(path), "gpus": ["63"]})

    assert (code, cells) == (2, {}), printed
    assert "m: gpus lists 63, but no such GPU is visible" in printed
    assert gpu.uuid in printed
