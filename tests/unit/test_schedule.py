from pathlib import Path

from navigator.plan import plan
from navigator.records import (
    Comparison,
    Format,
    Host,
    ModelConfig,
    OutputModel,
    RunConfig,
    Signature,
    State,
    TensorSpec,
    Verdict,
)
from navigator.schedule import ModelState, Unit
from navigator.steps import Artifact, Failure, Reference, Verified

HOST = Host(
    python="3.11",
    system="Linux",
    cpu="cpu",
    cpu_count=2,
    memory_bytes=2**34,
    versions=dict.fromkeys(("torch", "onnx", "onnxruntime", "tensorflow", "tf2onnx"), "1"),
)
REFERENCE = Reference(
    signature=Signature(inputs=(), outputs=(TensorSpec(name="y", shape=(1,), dtype="float32"),)),
    samples=Path("/s"),
    outputs=Path("/o"),
    infos=(),
    written=(),
)


def state(source: Format = Format.TORCHSCRIPT, opsets: tuple[int, ...] = (13, 15, 17)) -> ModelState:
    config = ModelConfig(
        model_name="m",
        model_path=Path("/m"),
        model_format=source,
        target_formats=(Format.ONNX,),
        onnx_opsets=opsets,
        given=("target_formats", "onnx_opsets"),
    )
    return ModelState(plan=plan(RunConfig(models=(config,)), HOST).models[0])


def start(model: ModelState) -> list[tuple[str, str, str | None]]:
    units = list(model.ready())
    for unit in units:
        model.started[unit.label, unit.what] = unit
    return [(unit.label, unit.what, unit.raise_from) for unit in units]


def artifact(label: str) -> Artifact:
    return Artifact(path=Path("/w") / label / "model.onnx", properties={}, seconds=0.0, peak_memory_bytes=0)


def verified(label: str, *, passed: bool) -> Verified:
    comparison = Comparison(output="y", passed=passed, atol=0, rtol=0, samples=1, total=1, mismatched=int(not passed))
    made = OutputModel(name=label, path=artifact(label).path, format=Format.ONNX, size_bytes=1, sha256="0")
    return Verified(output_model=made, expected_outputs=("y",), infos=(), verdict=Verdict(comparisons=(comparison,)))


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

    assert Unit(model="m", label="source", what="reference") in list(model.ready())
    start(model)
    assert start(model) == []
