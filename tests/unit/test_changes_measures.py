"""What is measured of two runs: each limit, and what of two machines and two sets of inputs is comparable."""

from dataclasses import replace
from typing import Any

import pytest

from navigator.changes.machines import alike
from navigator.changes.measures import Comparability, differences
from navigator.changes.outcomes import judged
from navigator.records import (
    CellResult,
    Change,
    ConversionConfig,
    Device,
    Format,
    Latency,
    Measure,
    Precision,
    Report,
    SampleInfo,
    Selection,
    Source,
    State,
    Status,
    TensorRTConfig,
)
from tests.support.builders import a_comparison, a_converted_model, a_gpu, a_host
from tests.support.comparisons import HOST, a_run, cell, compared, given, passing

MIB = 2**20
GPU = a_host(gpus=(a_gpu("NVIDIA L4"),))


def engine(precision: Precision, error: float = 0.0, *, size: int = MIB, **changes: Any) -> CellResult:
    config = TensorRTConfig(
        precision=precision, precision_mode=None, explicit_precision=False, sparse_weights=False, max_workspace_size=0
    )
    conversion = ConversionConfig(target_format=Format.TRT, tensorrt_config=config)
    model = a_converted_model(format=Format.TRT, size_bytes=size)
    return passing("m/trt", error, conversion_config=conversion, output_model=model, **changes)


def changed(before: CellResult, after: CellResult) -> list[Measure]:
    """Return what differs between two conversions."""
    found = compared(a_run(before, host=GPU), a_run(after, host=GPU)).conversions[0].differences
    return [each.measure for each in found]


# An error before and after, what else is known of the output, and whether that counts.
ERRORS = [
    pytest.param(0.0, 4e-7, {"noise": 0.0, "atol": 0.0}, Precision.FP32, False, id="the last digits"),
    pytest.param(0.0, 6e-7, {"noise": 0.0, "atol": 0.0}, Precision.FP32, True, id="beyond the last digits"),
    pytest.param(0.0, 9e-6, {"atol": 0.0}, Precision.FP32, False, id="what auto allows"),
    pytest.param(0.0, 1.1e-5, {"atol": 0.0}, Precision.FP32, True, id="more than auto allows"),
    pytest.param(0.0, 4e-4, {"atol": 0.0}, Precision.FP16, False, id="half a step of fp16"),
    pytest.param(0.0, 6e-4, {"atol": 0.0}, Precision.FP16, True, id="more than half a step of fp16"),
    pytest.param(0.0, 3e-3, {"atol": 0.0}, Precision.INT8, False, id="half a step of int8"),
    pytest.param(0.0, 5e-3, {"atol": 0.0}, Precision.INT8, True, id="more than half a step of int8"),
    pytest.param(0.0, 9e-4, {"atol": 1e-2}, Precision.FP32, False, id="a tenth of the tolerance"),
    pytest.param(0.0, 1.1e-3, {"atol": 1e-2}, Precision.FP32, True, id="more than a tenth of the tolerance"),
    pytest.param(4e-3, 7.9e-3, {"atol": 1e-2}, Precision.FP32, False, id="less than twice as much"),
    pytest.param(4e-3, 8.1e-3, {"atol": 1e-2}, Precision.FP32, True, id="more than twice as much"),
]


@pytest.mark.parametrize(("before", "after", "known", "precision", "counts"), ERRORS)
def test_the_limits_of_errors(
    before: float, after: float, known: dict[str, Any], precision: Precision, counts: bool
) -> None:
    one, other = (engine(precision, error, **{"rtol": 0.0, **known}) for error in (before, after))
    assert changed(one, other) == changed(other, one) == ([Measure.ERROR] if counts else [])


def test_a_tolerance_that_grows_does_not_hide_an_error() -> None:
    one, other = (passing("m/onnx", error, atol=atol) for error, atol in ((1e-4, 1e-3), (4e-4, 1e-1)))
    assert changed(one, other) == [Measure.ERROR]


@pytest.mark.parametrize(
    ("before", "after", "counts"), [(100, 124, False), (100, 126, True), (100, 80.5, False), (100, 79, True)]
)
def test_the_limits_of_engines_sizes(before: float, after: float, counts: bool) -> None:
    one, other = (engine(Precision.FP32, size=int(each * MIB)) for each in (before, after))
    assert changed(one, other) == ([Measure.SIZE] if counts else [])


@pytest.mark.parametrize(
    "changes", [{"device": Device.CUDA}, {"steps": (1, 2)}, {"output": "z"}], ids=["device", "steps", "output"]
)
def test_only_comparisons_of_the_same_kind_are_compared(changes: dict[str, Any]) -> None:
    """Errors after more steps, or on another device, are others."""
    small, large = (a_comparison(**{"atol": 1e-2, "max_abs_error": error, **changes}) for error in (0.0, 9e-3))
    known = a_comparison("y", atol=1e-2)
    one, other = (cell("m/onnx", State.MISMATCHED, comparisons=(known, each)) for each in (small, large))

    (found,) = differences(one, other, Comparability())

    assert (found.of, found.device, found.after) == (small.output, small.device, 9e-3)
    alone = cell("m/onnx", State.MISMATCHED, comparisons=(known,))
    assert differences(alone, replace(other, comparisons=(large,)), Comparability()) == ()


def measured(size: int, **changes: Any) -> CellResult:
    """Return a conversion that took more memory and time for larger inputs."""
    latency = Latency(device=Device.CUDA, sample="max", median_seconds=size / 1000, runs=50)
    samples = (SampleInfo(name="max", shapes={"x": (size, 3)}), *changes.pop("samples", ()))
    return passing("m/onnx", peak_memory_bytes=size * 500 * MIB, latencies=(latency,), samples=samples, **changes)


def test_memory_and_latency_depend_on_the_inputs() -> None:
    assert changed(measured(1), measured(1)) == changed(measured(1), measured(4)) == []
    same = replace(measured(4), samples=measured(1).samples)
    assert changed(measured(1), same) == [Measure.PEAK_MEMORY, Measure.LATENCY]


def test_latency_is_compared_on_the_same_gpu_only() -> None:
    other = a_host(gpus=(a_gpu("NVIDIA H200"),))
    run = a_run(replace(measured(4), samples=measured(1).samples), host=other)
    (change,) = compared(a_run(measured(1), host=GPU), run).conversions
    assert change.differences == ()


@pytest.mark.parametrize("why", [{"refused": "too large"}, {"unusable": "NaN"}])
def test_a_sample_that_was_skipped_is_none(why: dict[str, str]) -> None:
    skipped = SampleInfo(name="odd", shapes={"x": (9, 9)}, **why)  # type: ignore[arg-type] # texts
    same = replace(measured(4), samples=measured(1, samples=(skipped,)).samples)
    assert changed(measured(1), same) == [Measure.PEAK_MEMORY, Measure.LATENCY]


def test_memory_is_compared_on_alike_machines_only() -> None:
    assert alike(HOST, replace(HOST, memory_bytes=int(HOST.memory_bytes * 0.95), system="Linux 7"))
    for changes in ({"memory_bytes": HOST.memory_bytes // 2}, {"cpu": "other"}, {"cpu_count": 3}, {"gpus": GPU.gpus}):
        assert not alike(HOST, replace(HOST, **changes))


# What comes of two outcomes on machines with the same GPUs, and on others.
OUTCOMES = [
    (State.PASSED, State.UNAVAILABLE, Change.BROKEN, Change.NOT_COMPARED),
    (State.PASSED, State.UNVERIFIED, Change.BROKEN, Change.NOT_COMPARED),
    (State.UNAVAILABLE, State.PASSED, Change.FIXED, Change.NOT_COMPARED),
    (State.UNVERIFIED, State.PASSED, Change.FIXED, Change.NOT_COMPARED),
    (State.UNAVAILABLE, State.FAILED, Change.NOT_COMPARED, Change.NOT_COMPARED),
    (State.UNVERIFIED, State.MISMATCHED, Change.BROKEN, Change.NOT_COMPARED),
    (State.FAILED, State.UNVERIFIED, Change.STILL_FAILING, Change.NOT_COMPARED),
    (State.UNAVAILABLE, State.UNVERIFIED, Change.UNCHANGED, Change.UNCHANGED),
    (State.CANCELLED, State.PASSED, Change.NOT_COMPARED, Change.NOT_COMPARED),
    (State.PASSED, State.CANCELLED, Change.NOT_COMPARED, Change.NOT_COMPARED),
    (State.PASSED, State.BLOCKED, Change.BROKEN, Change.BROKEN),
    (State.CRASHED, State.TIMED_OUT, Change.STILL_FAILING, Change.STILL_FAILING),
]


@pytest.mark.parametrize(("before", "after", "same", "other"), OUTCOMES)
def test_outcomes(before: State, after: State, same: Change, other: Change) -> None:
    found = [judged(Status(state=before), Status(state=after), same_gpus=each) for each in (True, False)]
    assert [change for change, _ in found] == [same, other]
    assert all(bool(reason) == (change is Change.NOT_COMPARED) for change, reason in found)


# Models


def test_a_model_that_the_filters_leave_out_is_not_gone() -> None:
    base = a_run(passing("m/onnx"), passing("n/onnx"), models=(given(), given("n", "b")))
    run = a_run(passing("m/onnx"), selection=Selection(left_out={"n": ("onnx",)}))
    assert [each.name for each in compared(base, run).models] == ["m"]


def test_a_shard_that_does_not_say_what_it_leaves_out_leaves_nothing_new() -> None:
    base = a_run(passing("m/onnx"), shard="1/2")
    run = a_run(passing("m/onnx"), passing("m/onnx_op17"))
    assert [each.change for each in compared(base, run).conversions] == [Change.UNCHANGED, Change.NOT_COMPARED]


def renamed(base: Report, run: Report) -> dict[str, str]:
    return {each.name: each.previous_name for each in compared(base, run).models if each.source is not Source.REMOVED}


def test_renamed_models_with_the_same_files_are_told_apart_by_their_options() -> None:
    base = a_run(
        passing("a/onnx"), passing("b/onnx"), models=(given("a", atol={"": 1e-3}), given("b", atol={"": 1e-2}))
    )
    run = a_run(passing("x/onnx"), passing("y/onnx"), models=(given("x", atol={"": 1e-2}), given("y", atol={"": 1e-3})))
    assert renamed(base, run) == {"x": "b", "y": "a"}


def test_one_model_has_one_previous_name() -> None:
    base = a_run(passing("a/onnx"), passing("b/onnx"), models=(given("a"), given("b")))
    assert renamed(base, a_run(passing("x/onnx"), models=(given("x"),))) == {"x": "a"}
    assert renamed(a_run(passing("x/onnx"), models=(given("x"),)), base) == {"a": "x", "b": ""}
