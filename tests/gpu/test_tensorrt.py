"""ONNX to TensorRT on a real GPU: values, precision, shapes, and what is refused. Each engine in its own worker."""

import re
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from navigator.records import Properties, from_data
from navigator.runners.trt import TrtOptions
from navigator.workers.local.pool import TaskResult, TaskStatus
from tests.gpu.engines import CHANNELS, IMAGES, Engines, convolutions, exact, images, off, quantized

BATCHES = (1, 3, 4, 8)
"""From the smallest to the largest batch of `IMAGES`, with its usual one."""


def properties(result: TaskResult) -> Properties:
    assert result.status is TaskStatus.FINISHED, f"{result.message} ({result.remedy})"
    return from_data(Properties, result.value)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convolutions(tmp_path_factory.mktemp("source") / "m.onnx")


@pytest.fixture(scope="module")
def plan(module_engines: Engines, source: Path) -> Path:
    """An engine in float32, as a run builds it."""
    result, plan = module_engines.build(source, IMAGES)
    made = properties(result)
    assert made.gpu == module_engines.gpu.name
    assert made.compute_capabilities == (module_engines.gpu.compute_capability,)
    assert made.tf32 is False
    return plan


def test_an_engine_is_right_at_every_batch_of_its_profile(module_engines: Engines, source: Path, plan: Path) -> None:
    samples = [(str(batch), images(batch)) for batch in BATCHES]

    result, outputs = module_engines.infer(plan, samples)

    assert result.status is TaskStatus.FINISHED, result.message
    assert off(outputs, exact(source, [sample for _, sample in samples])) < 1e-5


def test_a_batch_outside_of_its_profile_is_refused_with_the_range(module_engines: Engines, plan: Path) -> None:
    for batch in (9, 1000):
        result, _ = module_engines.infer(plan, [("large", images(batch))])
        assert (result.status, result.message) == (
            TaskStatus.FAILED,
            f"input x: axis 0 is {batch}, but the engine was built for 1 to 8",
        )
    wrong = {"x": np.zeros((1, CHANNELS, 16, 17), "float32")}
    result, _ = module_engines.infer(plan, [("wide", wrong)])
    assert result.message == "input x: axis 3 is 17, but the engine was built for 16"


def test_float32_is_exact_unless_tf32_is_allowed(module_engines: Engines, source: Path, plan: Path) -> None:
    samples = [("one", images(4))]
    result, allowed = module_engines.build(source, IMAGES, TrtOptions(tf32=True))
    assert properties(result).tf32 is True

    errors = [off(module_engines.infer(each, samples)[1], exact(source, [samples[0][1]])) for each in (plan, allowed)]

    print(f"{errors[0]:.2g} without TF32, {errors[1]:.2g} with it")
    assert errors[0] < 1e-5
    assert 10 * errors[0] < errors[1] < 1e-2


def test_a_typed_file_is_computed_in_its_types(module_engines: Engines, source: Path, tmp_path: Path) -> None:
    """According to TensorRT's own information about the layers, not to the options."""
    half = convolutions(tmp_path / "half.onnx", dtype="float16")
    sample = {"x": images(4)["x"].astype("float16")}
    layers = {}
    for name, path in (("float32", source), ("float16", half)):
        result, made = module_engines.build(path, IMAGES, verbose=True)
        layers[name] = properties(result).layer_information
        if name == "float16":
            ended, outputs = module_engines.infer(made, [("one", sample)])
            assert ended.status is TaskStatus.FINISHED, ended.message
    print(layers)

    assert off(outputs, exact(source, [{"x": sample["x"].astype("float32")}])) < 5e-3
    assert any(re.search(r"Half|FP16", layer) for layer in layers["float16"])
    assert not any(re.search(r"Half|FP16|Int8", layer) for layer in layers["float32"])
    assert any(re.search(r"Float|FP32", layer) for layer in layers["float32"])


def test_quantize_and_dequantize_nodes_become_int8(module_engines: Engines, tmp_path: Path) -> None:
    source = quantized(tmp_path / "m.onnx")
    result, plan = module_engines.build(source, IMAGES, verbose=True)

    made = properties(result)
    samples = [(str(batch), {"x": np.clip(images(batch)["x"], -4, 4)}) for batch in (1, 8)]
    ended, outputs = module_engines.infer(plan, samples)

    print(made.layer_information)
    assert ended.status is TaskStatus.FINISHED, ended.message
    # ONNX Runtime adds the same whole numbers, and rounds as TensorRT does.
    assert off(outputs, exact(source, [sample for _, sample in samples])) < 1e-2
    assert any("Int8" in layer for layer in made.layer_information)


def test_sparse_weights_are_right_and_leave_dense_ones_right(
    module_engines: Engines, source: Path, tmp_path: Path
) -> None:
    sparse = convolutions(tmp_path / "sparse.onnx", dtype="float16", sparse=True)
    reference = convolutions(tmp_path / "reference.onnx", sparse=True)
    sample = {"x": images(4)["x"].astype("float16")}
    result, plan = module_engines.build(sparse, IMAGES, TrtOptions(sparse_weights=True), verbose=True)
    print(properties(result).layer_information)
    ended, outputs = module_engines.infer(plan, [("one", sample)])
    assert ended.status is TaskStatus.FINISHED, ended.message
    assert off(outputs, exact(reference, [{"x": sample["x"].astype("float32")}])) < 5e-3
    result, plan = module_engines.build(source, IMAGES, TrtOptions(sparse_weights=True))
    _, outputs = module_engines.infer(plan, [("one", images(4))])
    assert off(outputs, exact(source, [images(4)])) < 1e-5


def test_a_workspace_that_is_too_small_is_said_with_its_option(module_engines: Engines, tmp_path: Path) -> None:
    from onnx import TensorProto, helper, numpy_helper

    from tests.gpu.engines import ranged, written

    graph = helper.make_graph(
        [helper.make_node("TopK", ["x", "k"], ["values", "indices"], axis=-1)],
        "m",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1_000_000])],
        [helper.make_tensor_value_info("values", TensorProto.FLOAT, ["n", 1000])],
        [numpy_helper.from_array(np.array([1000], "int64"), "k")],
    )
    source = written(tmp_path / "m.onnx", graph, 17)
    shapes = ranged(x=((1, 1_000_000), (8, 1_000_000), (8, 1_000_000)))
    enough, _ = module_engines.build(source, shapes, TrtOptions(max_workspace_size=2**32))

    result, _ = module_engines.build(source, shapes, TrtOptions(max_workspace_size=1024))

    print(enough.message, result.message, module_engines.log()[-3000:], sep="\n")
    assert enough.status is TaskStatus.FINISHED, enough.message
    assert result.status is TaskStatus.FAILED
    assert "tensorrt_max_workspace_size" in result.remedy


def test_two_processes_build_and_run_on_one_gpu(engines: Engines, source: Path) -> None:
    others = Engines(workers=engines.workers, directory=engines.directory.with_name("others"), gpu=engines.gpu)

    def work(pair: Engines) -> float:
        result, plan = pair.build(source, IMAGES)
        assert result.status is TaskStatus.FINISHED, result.message
        result, outputs = pair.infer(plan, [("one", images(8))])
        assert result.status is TaskStatus.FINISHED, result.message
        return off(outputs, exact(source, [images(8)]))

    with ThreadPoolExecutor(2) as threads:
        errors = list(threads.map(work, (engines, others)))

    assert max(errors) < 1e-5


def test_an_engine_of_another_version_is_named_or_right(
    module_engines: Engines, source: Path, plan: Path, tmp_path: Path
) -> None:
    """A real engine whose header says another version: TensorRT 10.6 loads it, since all else is its own."""
    content = bytearray(plan.read_bytes())
    (tmp_path / "other").mkdir()
    for place, version in ((24, 9), (25, 99)):
        changed = bytearray(content)
        changed[place] = version
        other = tmp_path / "other" / "model.plan"
        other.write_bytes(changed)
        result, outputs = module_engines.infer(other, [("one", images(1))])
        print(result.status, result.message, result.remedy)
        if result.status is TaskStatus.FINISHED:
            assert off(outputs, exact(source, [images(1)])) < 1e-5
        else:
            assert result.status is TaskStatus.FAILED
            assert re.search(r"can't load model\.plan, an engine of (9|10)\.(\d+)\.", result.message)
            assert "build the engine again" in result.remedy
    other.write_bytes(content)
    assert module_engines.infer(other, [("one", images(1))])[0].status is TaskStatus.FINISHED


@pytest.mark.parametrize("damage", ["cut off", "length", "zeros in the middle", "empty"])
def test_a_damaged_engine_never_passes(module_engines: Engines, plan: Path, tmp_path: Path, damage: str) -> None:
    content = bytearray(plan.read_bytes())
    if damage == "cut off":
        content = content[: len(content) // 2]
    elif damage == "length":
        struct.pack_into("<Q", content, 16, len(content) + 1)
    elif damage == "zeros in the middle":
        middle = len(content) // 2
        content[middle - 4096 : middle + 4096] = bytes(8192)
    else:
        content = bytearray()
    (tmp_path / "model.plan").write_bytes(content)

    result, outputs = module_engines.infer(tmp_path / "model.plan", [("one", images(1))])

    print(result.status, result.message)
    assert result.status in (TaskStatus.FAILED, TaskStatus.CRASHED) or off(outputs, outputs) == 0
    if damage != "zeros in the middle":  # weights have no checksum: the values are for verification to judge
        assert result.status is TaskStatus.FAILED
        assert "can't load the engine" in result.message


def test_measurements_are_used_again(engines: Engines, tmp_path: Path) -> None:
    """By another opset of the same network, which measures nothing: what it computes is the same."""
    timing = tmp_path / "timing"
    sizes = []
    for opset in (13, 17):
        source = convolutions(tmp_path / f"{opset}.onnx", opset=opset, layers=12)
        result, _ = engines.build(source, IMAGES, timing=timing)
        assert result.status is TaskStatus.FINISHED, result.message
        (kept,) = timing.glob("*.cache")
        sizes.append(kept.stat().st_size)
        print(f"opset {opset}: {result.seconds:.1f} s, {sizes[-1]} bytes")

    assert engines.gpu.driver_version in kept.name
    assert sizes[0] == sizes[1] > 0


def test_a_damaged_measurement_file_costs_time_only(engines: Engines, source: Path, tmp_path: Path) -> None:
    timing = tmp_path / "timing"
    result, _ = engines.build(source, IMAGES, timing=timing)
    (kept,) = timing.glob("*.cache")
    whole = kept.read_bytes()
    for content in (b"", b"\0" * 100, whole[: len(whole) // 2]):
        kept.write_bytes(content)
        result, _ = engines.build(source, IMAGES, TrtOptions(optimization_level=0), timing=timing)
        print(result.status, result.message)
        assert result.status is TaskStatus.FINISHED, result.message


def test_a_lower_level_measures_less_and_is_as_right(engines: Engines, tmp_path: Path) -> None:
    source = convolutions(tmp_path / "m.onnx", layers=12)
    sizes = {}
    for level in (0, 3):
        timing = tmp_path / str(level)
        result, plan = engines.build(source, IMAGES, TrtOptions(optimization_level=level), timing=timing)
        assert result.status is TaskStatus.FINISHED, result.message
        _, outputs = engines.infer(plan, [("one", images(4))])
        assert off(outputs, exact(source, [images(4)])) < 1e-4
        (kept,) = timing.glob("*.cache")
        sizes[level] = kept.stat().st_size
        print(f"level {level}: {result.seconds:.1f} s, {sizes[level]} bytes")
    assert sizes[0] < sizes[3]


def test_a_build_says_how_far_it_is(module_engines: Engines, source: Path) -> None:
    result, _ = module_engines.build(source, IMAGES)
    assert result.status is TaskStatus.FINISHED, result.message
    told = [int(each) for each in re.findall(r"^TensorRT: .+, (\d+) %$", module_engines.log(), re.MULTILINE)]
    print(re.findall(r"^TensorRT: .+ %$", module_engines.log(), re.MULTILINE))
    assert len(told) >= 3
    assert told == sorted(told)
    assert told[-1] > 80


def test_a_gpu_that_the_process_does_not_see_is_refused_in_a_sentence(module_engines: Engines, source: Path) -> None:
    """TensorRT itself ends the process where CUDA doesn't start."""
    result, _ = module_engines.build(source, IMAGES, visible="")

    assert (result.status, result.message[:19]) == (TaskStatus.FAILED, "CUDA doesn't start:")
