from dataclasses import replace
from pathlib import Path

from navigator.engine.outcomes import Artifact, Failure, Reference, Verified
from navigator.engine.schedule import ModelState, Unit, UnitKind, startable
from navigator.plan.planner import plan
from navigator.records import (
    Device,
    Format,
    Gpu,
    Precision,
    Properties,
    RunConfig,
    ShapeProfile,
    Signature,
    State,
    TensorSpec,
    Verdict,
)
from tests.support.builders import FRAMEWORKS, TENSORRT, a_comparison, a_converted_model, a_gpu, a_host, a_model

HOST = a_host(FRAMEWORKS)
REFERENCE = Reference(
    signature=Signature(inputs=(), outputs=(TensorSpec(name="y", shape=(1,), dtype="float32"),)),
    samples=Path("/s"),
    calibration=Path("/c"),
    outputs=Path("/o"),
    infos=(),
    written=(),
    shapes=ShapeProfile(min={}, opt={}, max={}),
)


def state(source: Format = Format.TORCHSCRIPT, opsets: tuple[int, ...] = (13, 15, 17)) -> ModelState:
    config = a_model(source, target_formats=(Format.ONNX,), onnx_opsets=opsets)
    return ModelState(plan=plan(RunConfig(models=(config,)), HOST).models[0])


def start(model: ModelState) -> list[tuple[str, str, str | None]]:
    units = list(model.ready())
    for unit in units:
        model.started[unit.key] = unit
    return [(unit.label, unit.kind, unit.raise_from) for unit in units]


def artifact(label: str) -> Artifact:
    return Artifact(path=Path("/w") / label / "model.onnx", properties=Properties(), seconds=0.0, peak_memory_bytes=0)


def verified(label: str, *, passed: bool) -> Verified:
    made = a_converted_model(name=label, path=artifact(label).path)
    return Verified(
        output_model=made,
        expected_outputs=("y",),
        infos=(),
        verdict=Verdict(comparisons=(a_comparison(passed=passed),)),
    )


def test_an_export_that_needs_samples_waits_for_the_reference_and_a_savedmodel_does_not() -> None:
    assert start(state()) == [("source", "reference", None)]
    assert start(state(Format.TF_SAVEDMODEL)) == [("source", "reference", None), ("onnx_op13", "convert", None)]


def test_higher_opsets_wait_for_the_lowest_and_are_raised_from_it_once_it_passed() -> None:
    model = state()
    model.reference = REFERENCE
    start(model)
    assert start(model) == []

    model.decide("onnx_op13", artifact("onnx_op13"))
    assert start(model) == [("onnx_op13", "verify", None)]

    model.decide("onnx_op13", verified("onnx_op13", passed=True))
    assert start(model) == [("onnx_op15", "convert", "onnx_op13"), ("onnx_op17", "convert", "onnx_op13")]


def test_where_the_lowest_fails_the_next_exports_on_its_own() -> None:
    model = state()
    model.reference = REFERENCE
    start(model)

    model.decide("onnx_op13", Failure(state=State.FAILED, message="needs opset 14"))

    assert start(model) == [("onnx_op15", "convert", None)]


def test_a_raised_file_that_does_not_pass_is_exported_anew_once() -> None:
    model = state(opsets=(13, 17))
    model.reference = REFERENCE
    start(model)
    model.decide("onnx_op13", verified("onnx_op13", passed=True))
    assert start(model) == [("onnx_op17", "convert", "onnx_op13")]
    model.decide("onnx_op17", artifact("onnx_op17"))
    start(model)

    model.decide("onnx_op17", verified("onnx_op17", passed=False))
    assert start(model) == [("onnx_op17", "convert", None)]

    model.decide("onnx_op17", artifact("onnx_op17"))
    start(model)
    model.decide("onnx_op17", verified("onnx_op17", passed=False))
    assert start(model) == []
    assert model.pending == []


def test_what_needs_a_step_that_is_not_applicable_is_not_applicable_too() -> None:
    config = a_model(Format.ONNX, target_formats=(Format.TRT_RTX,), tensorrt_precisions=(Precision.FP16,))
    model = ModelState(plan=plan(RunConfig(models=(config,)), a_host((*FRAMEWORKS, *TENSORRT))).models[0])
    why = Failure(state=State.NOT_APPLICABLE, message="nothing became fp16", remedy="remove it")
    model.decide("onnx_fp16", why)
    model.block()
    assert model.outcomes == {"onnx_fp16": why, "onnx_fp16/trt-rtx_fp16_hierarchy": why}
    assert not model.pending


def test_without_a_reference_everything_undecided_is_blocked_for_good() -> None:
    model = state(Format.TF_SAVEDMODEL)
    start(model)
    model.reference = Failure(state=State.CRASHED, message="SIGSEGV")

    model.block()
    model.decide("onnx_op13", artifact("onnx_op13"))

    outcomes = [model.outcomes[label] for label in ("onnx_op13", "onnx_op15", "onnx_op17")]
    assert all(isinstance(outcome, Failure) and outcome.state is State.BLOCKED for outcome in outcomes)
    assert list(model.ready()) == []


def test_a_unit_is_started_once() -> None:
    model = state(Format.ONNX)

    assert Unit(model="m", label="source", kind=UnitKind.REFERENCE) in list(model.ready())
    start(model)
    assert start(model) == []


def gpu(number: int) -> Gpu:
    return a_gpu(index=number, uuid=f"GPU-{number}")


def engines(*gpus: Gpu, formats: tuple[Format, ...] = (Format.TRT,)) -> ModelState:
    """Return an ONNX model with two engines, fp16 and fp32, on a machine with these GPUs."""
    config = a_model(Format.ONNX, target_formats=formats)
    host = a_host((*FRAMEWORKS, *TENSORRT), gpus=gpus)
    model = ModelState(plan=plan(RunConfig(models=(config,)), host).models[0])
    model.reference = REFERENCE
    return model


def launch(model: ModelState, busy: set[str], room: int = 9) -> list[tuple[str, str, str]]:
    units = startable([model], room=room, busy=busy)
    for unit in units:
        model.started[unit.key] = unit
    return [(unit.label, unit.kind, unit.gpu) for unit in units]


def on(device: Device, label: str, *, passed: bool = True) -> Verified:
    outcome = verified(label, passed=passed)
    comparisons = tuple(replace(each, device=device) for each in outcome.verdict.comparisons)
    return replace(outcome, verdict=Verdict(comparisons=comparisons))


def test_one_engine_is_built_on_a_gpu_at_a_time_and_what_needs_none_runs_beside_it() -> None:
    model = engines(gpu(0), formats=(Format.TRT, Format.ONNX))

    started = launch(model, set())
    assert ("trt_fp32", "convert", "GPU-0") in started
    assert {("onnx_fp16", "convert", ""), ("onnx", "convert", "")} < set(started)
    model.decide("onnx_fp16", artifact("onnx_fp16"))
    assert launch(model, {"GPU-0"}) == [("onnx_fp16", "verify", "")]
    model.check("onnx_fp16", Device.CPU, on(Device.CPU, "onnx_fp16"))
    # On the GPU it waits for the engine.
    assert launch(model, {"GPU-0"}) == []
    assert launch(model, set()) == [("onnx_fp16", "verify", "GPU-0")]


def test_a_gpu_does_not_wait_for_work_that_can_be_done_beside_its_own() -> None:
    model = engines(gpu(0), formats=(Format.ONNX, Format.TRT))

    assert launch(model, set(), room=2) == [("source", "reference", ""), ("trt_fp32", "convert", "GPU-0")]
    assert launch(model, {"GPU-0"}, room=1) == [("onnx", "convert", "")]


def test_different_gpus_build_in_parallel_and_verify_where_they_built() -> None:
    model = engines(gpu(0), gpu(1))
    for device in (Device.CPU, Device.CUDA):
        model.outcomes["onnx_fp16"] = artifact("onnx_fp16")
        model.check("onnx_fp16", device, on(device, "onnx_fp16"))
    engine = "onnx_fp16/trt_fp16_hierarchy"

    started = [unit for unit in launch(model, set()) if unit[1] == "convert"]
    assert started == [("trt_fp32", "convert", "GPU-0"), (engine, "convert", "GPU-1")]
    model.decide("trt_fp32", artifact("trt_fp32"))
    # GPU-1 is free, and not where the engine was built.
    assert launch(model, {"GPU-0"}) == []
    assert launch(model, {"GPU-1"}) == [("trt_fp32", "verify", "GPU-0")]


def test_an_artifact_passes_on_all_its_devices_or_not_at_all() -> None:
    model = engines(gpu(0), formats=(Format.ONNX,))
    launch(model, set())
    model.decide("onnx", artifact("onnx"))
    assert launch(model, set()) == [("onnx", "verify", "")]

    model.check("onnx", Device.CPU, on(Device.CPU, "onnx"))
    # Not decided: a run that ends now has not verified it.
    assert type(model.outcomes["onnx"]) is Artifact
    assert launch(model, set()) == [("onnx", "verify", "GPU-0")]

    model.check("onnx", Device.CUDA, on(Device.CUDA, "onnx", passed=False))
    outcome = dict(model.outcomes)["onnx"]
    assert isinstance(outcome, Verified)
    assert not outcome.passed
    assert [(each.device, each.passed) for each in outcome.verdict.comparisons] == [("cpu", True), ("cuda", False)]
    assert model.pending == []


def test_what_fails_on_the_cpu_is_not_run_on_the_gpu() -> None:
    model = engines(gpu(0), formats=(Format.ONNX,))
    launch(model, set())
    model.decide("onnx", artifact("onnx"))
    launch(model, set())

    model.check("onnx", Device.CPU, on(Device.CPU, "onnx", passed=False))

    assert (launch(model, set()), model.pending) == ([], [])


def test_nothing_is_built_from_what_did_not_pass() -> None:
    model = engines(gpu(0))
    launch(model, set())
    model.decide("onnx_fp16", artifact("onnx_fp16"))
    launch(model, set())

    model.check("onnx_fp16", Device.CPU, on(Device.CPU, "onnx_fp16", passed=False))
    model.block()

    outcome = model.outcomes["onnx_fp16/trt_fp16_hierarchy"]
    assert isinstance(outcome, Failure)
    assert outcome.state is State.BLOCKED
    assert [step.label for step in model.pending] == ["trt_fp32"]
