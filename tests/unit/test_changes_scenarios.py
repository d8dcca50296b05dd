"""What a reader is told of every kind of comparison: the wording, and whether `fail_on: regression` fails the run."""

from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from navigator.errors import ExitCode
from navigator.records import (
    CellResult,
    Change,
    ConversionConfig,
    Device,
    FailOn,
    Format,
    Latency,
    Precision,
    PrecisionMode,
    Report,
    Rules,
    SampleInfo,
    Selection,
    State,
    TensorRTConfig,
)
from navigator.render.changes import rows
from navigator.render.markdown import summary_markdown
from navigator.render.page.page import report_page
from navigator.report.summary import summarize
from tests.support.builders import a_comparison, a_gpu, a_host, a_source
from tests.support.comparisons import HOST, NEXT, a_run, cell, compared, given, passing, said

GOLDEN = Path(__file__).parents[1] / "cases" / "changes"
GPU = a_host({"onnx": "1.18", "onnxruntime": "1.22"}, gpus=(a_gpu("NVIDIA L4"),))
MIB = 2**20
GOOD = a_run(passing("m/onnx_op13"), passing("m/onnx_op17"))


def rules(**changes: Any) -> Rules:
    return Rules(**{"fail_on": FailOn.REGRESSION} | changes)


def mismatched(name: str, message: str = "logits: 3 of 10 values differ") -> CellResult:
    return cell(name, State.MISMATCHED, message=message)


def engine(name: str, precision: Precision, error: float) -> CellResult:
    config = TensorRTConfig(
        precision=precision,
        precision_mode=PrecisionMode.HIERARCHY,
        explicit_precision=False,
        sparse_weights=False,
        max_workspace_size=0,
    )
    conversion = ConversionConfig(target_format=Format.TRT, tensorrt_config=config)
    return passing(name, error, conversion_config=conversion, atol=0.02, rtol=0.01)


def of_two(error: float) -> CellResult:
    compared = (a_comparison("y"), a_comparison("z", atol=1e-2, max_abs_error=error))
    return passing("m/onnx", comparisons=compared, expected_outputs=("y", "z"))


def with_options(**options: Any) -> Report:
    """Return a run of which all outputs are in the default tolerance, with these options."""
    files = options.pop("files", {})
    return a_run(passing("m/onnx_op13", 1e-6), models=(given(files=files, **options),))


def slow(milliseconds: float) -> Report:
    latency = Latency(device=Device.CUDA, sample="opt", median_seconds=milliseconds / 1000, runs=50)
    return a_run(passing("m/trt", latencies=(latency,)), host=GPU)


SCENARIOS: dict[str, tuple[Report, Report]] = {
    "nothing": (GOOD, GOOD),
    "still failing": (a_run(mismatched("m/onnx_op13")), a_run(mismatched("m/onnx_op13", "logits: 4 differ"))),
    "broken": (GOOD, a_run(mismatched("m/onnx_op13"), passing("m/onnx_op17"))),
    "broken for one reason": (GOOD, a_run(mismatched("m/onnx_op13"), mismatched("m/onnx_op17"))),
    "broken for two reasons": (
        GOOD,
        a_run(mismatched("m/onnx_op13"), cell("m/onnx_op17", State.CRASHED, message="killed by SIGSEGV")),
    ),
    "broken in two models": (
        a_run(passing("m/onnx"), passing("n/onnx"), models=(given(), given("n", "b"))),
        a_run(
            cell("m/onnx", State.FAILED, message="no Erf in opset 8"),
            cell("n/onnx", State.FAILED, message="no Erf in opset 8"),
            models=(given(sha256="c"), given("n", "b")),
        ),
    ),
    "timed out": (GOOD, a_run(cell("m/onnx_op13", State.TIMED_OUT, message="after 60 s"), passing("m/onnx_op17"))),
    "fixed": (a_run(mismatched("m/onnx_op13"), passing("m/onnx_op17")), GOOD),
    "fixed and broken": (
        a_run(mismatched("m/onnx_op13"), passing("m/onnx_op17")),
        a_run(passing("m/onnx_op13"), mismatched("m/onnx_op17")),
    ),
    "a larger error": (
        a_run(passing("m/onnx", 2e-6, atol=1e-3, rtol=0.0)),
        a_run(passing("m/onnx", 6e-4, atol=1e-3, rtol=0.0)),
    ),
    "a smaller error": (
        a_run(passing("m/onnx", 6e-4, atol=1e-3, rtol=0.0)),
        a_run(passing("m/onnx", 2e-6, atol=1e-3, rtol=0.0)),
    ),
    "an error like rounding": (
        a_run(passing("m/onnx", 2e-6, atol=5e-5, noise=1e-5)),
        a_run(passing("m/onnx", 3.4e-5, atol=5e-5, noise=1e-5)),
    ),
    "an error beyond rounding": (
        a_run(passing("m/onnx", 2e-6, atol=5e-5, noise=1e-5)),
        a_run(passing("m/onnx", 4.5e-5, atol=5e-5, noise=1e-5)),
    ),
    "a larger error in fp16": (
        a_run(engine("m/trt-fp16", Precision.FP16, 0.001)),
        a_run(engine("m/trt-fp16", Precision.FP16, 0.009)),
    ),
    "another last digit in fp16": (
        a_run(engine("m/trt-fp16", Precision.FP16, 0.001)),
        a_run(engine("m/trt-fp16", Precision.FP16, 0.0024)),
    ),
    "larger": (a_run(passing("m/onnx", size=10 * MIB)), a_run(passing("m/onnx", size=11 * MIB))),
    "smaller and less exact": (
        a_run(passing("m/onnx", 1e-6, atol=1e-3, size=20 * MIB)),
        a_run(passing("m/onnx", 9e-4, atol=1e-3, size=10 * MIB)),
    ),
    "larger like its source": (
        a_run(passing("m/onnx", size=10 * MIB, source_model_config=a_source(size_bytes=10 * MIB))),
        a_run(
            passing("m/onnx", size=12 * MIB, source_model_config=a_source(size_bytes=12 * MIB)),
            models=(given(sha256="b"),),
        ),
    ),
    "more memory": (
        a_run(passing("m/onnx", peak_memory_bytes=600 * MIB)),
        a_run(passing("m/onnx", peak_memory_bytes=1200 * MIB)),
    ),
    "more memory on another machine": (
        a_run(passing("m/onnx", peak_memory_bytes=600 * MIB)),
        a_run(passing("m/onnx", peak_memory_bytes=1200 * MIB), host=replace(HOST, cpu_count=64)),
    ),
    "other shapes": (
        a_run(passing("m/onnx", 1e-6, atol=1e-3, samples=(SampleInfo(name="max", shapes={"x": (8, 3)}),))),
        a_run(passing("m/onnx", 9e-4, atol=1e-3, samples=(SampleInfo(name="max", shapes={"x": (64, 3)}),))),
    ),
    "slower": (slow(2.0), slow(3.0)),
    "removed": (GOOD, a_run(passing("m/onnx_op17"), models=(given(onnx_opsets=[17]),))),
    "a failing one removed": (
        a_run(mismatched("m/onnx_op13"), passing("m/onnx_op17")),
        a_run(passing("m/onnx_op17")),
    ),
    "a model removed": (
        a_run(passing("m/onnx"), passing("n/onnx"), models=(given(), given("n", "b"))),
        a_run(passing("m/onnx")),
    ),
    "a model renamed": (
        a_run(passing("m/onnx"), passing("m/onnx_op17")),
        a_run(passing("large/onnx"), mismatched("large/onnx_op17"), models=(given("large"),)),
    ),
    "a new model": (
        a_run(passing("m/onnx")),
        a_run(passing("m/onnx"), passing("n/onnx"), models=(given(), given("n", "b"))),
    ),
    "a new one fails": (a_run(passing("m/onnx")), a_run(passing("m/onnx"), mismatched("m/onnx_op7"))),
    "looser": (with_options(), with_options(atol={"": 1e-3, "y": 1e-2})),
    "stricter": (with_options(atol={"": 1e-3}), with_options(atol={"": 1e-4})),
    "looser in many ways": (
        with_options(
            samples=["a.npz", "b.npz"],
            metric="metric.py:accuracy",
            quality="99.9%",
            fp16_gates={"cosine": 0.999, "top1_flips": 0.01},
            value_ranges={"x": [-10.0, 10.0]},
            max_shapes={"x": [8, 3, 224, 224]},
            target_formats=["onnx"],
        ),
        with_options(
            samples=["a.npz"],
            fp16_gates={"cosine": 0.99},
            value_ranges={"x": [0.0, 1.0]},
            max_shapes={"x": [1, 3, 224, 224]},
            probe=False,
            search_seconds=0,
        ),
    ),
    "the metric changed": (
        with_options(metric="metric.py:accuracy", files={"metric": "1" * 64}),
        with_options(metric="metric.py:accuracy", files={"metric": "2" * 64}),
    ),
    "the source changed": (
        a_run(passing("m/onnx", 1e-6), models=(given(sha256="a"),)),
        a_run(passing("m/onnx", 2e-6, source_model_config=a_source(size_bytes=5000)), models=(given(sha256="b"),)),
    ),
    "other versions": (
        GOOD,
        replace(GOOD, environment=replace(HOST, python="3.12", versions={"onnx": "1.19", "torch": "2.9"})),
    ),
    "no GPU": (
        a_run(passing("m/trt"), passing("m/onnx"), host=GPU),
        a_run(cell("m/trt", State.UNAVAILABLE, message="no GPU", requested=False), passing("m/onnx")),
    ),
    "no GPU for a requested one": (
        a_run(passing("m/trt"), host=GPU),
        a_run(cell("m/trt", State.UNAVAILABLE, message="no GPU")),
    ),
    "a package is gone": (
        a_run(passing("m/tf"), passing("m/onnx")),
        a_run(
            cell("m/tf", State.UNAVAILABLE, message="tensorflow isn't installed", requested=False), passing("m/onnx")
        ),
    ),
    "filtered": (GOOD, a_run(passing("m/onnx_op13"), selection=Selection(left_out={"m": ("onnx_op17",)}))),
    "a partial base": (a_run(passing("m/onnx_op13"), selection=Selection(left_out={"m": ("onnx_op17",)})), GOOD),
    "a base that was cancelled": (
        a_run(passing("m/onnx_op13"), cell("m/onnx_op17", State.CANCELLED, message="interrupted"), complete=False),
        a_run(passing("m/onnx_op13"), mismatched("m/onnx_op17")),
    ),
    "an old base": (replace(GOOD, models=(), rules=None, origin=None), with_options(atol={"": 1e-3})),
    "accepted": (
        GOOD,
        a_run(
            mismatched("m/onnx_op17"),
            models=(given(atol={"": 1.0}),),
            origin=NEXT,
            rules=rules(
                accept={
                    "broken m/onnx_*": "fixed upstream in 1.19",
                    "removed m/onnx_op13": "nobody runs it",
                    "loosened m/atol": "the new head has larger logits",
                    "worse m": "it never was",
                }
            ),
        ),
    ),
    "accepted before": (
        a_run(passing("m/onnx_op13"), passing("m/onnx_op17"), rules=rules(accept={"removed m": "long ago"})),
        a_run(passing("m/onnx_op17"), origin=NEXT, rules=rules(accept={"removed m": "long ago"})),
    ),
    "less strict rules": (
        a_run(passing("m/onnx"), rules=rules(fail_on_unverified=True)),
        a_run(passing("m/onnx"), rules=rules(fail_on_unverified="auto")),
    ),
    "not applicable": (
        a_run(passing("m/onnx"), cell("m/tf-trt", State.NOT_APPLICABLE)),
        a_run(cell("m/onnx", State.NOT_APPLICABLE, message="nothing in it became fp16"), passing("m/onnx_op17")),
    ),
    "other rules": (a_run(passing("m/onnx"), rules=Rules(fail_on_unverified=False)), a_run(passing("m/onnx"))),
    "two outputs": (
        a_run(of_two(1e-4)),
        a_run(of_two(5e-3)),
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_is_said(name: str) -> None:
    base, run = SCENARIOS[name]

    code = summarize(run, compared(base, run)).exit_code
    text = f"{said(base, run)}exit code {int(code)}\n"
    assert text == (GOLDEN / f"{name.replace(' ', '_')}.txt").read_text()
    assert code in (ExitCode.OK, ExitCode.FAILURE)


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_is_not_compared_is_said_to_every_reader(name: str) -> None:
    base, run = SCENARIOS[name]
    changes = compared(base, run)
    expected = [row.what for row in rows(changes, Change.NOT_COMPARED)] + [changes.baseline.note, *changes.notes]
    summary = summarize(run, changes)
    for shown in (said(base, run), summary_markdown(summary).replace("\\", ""), unescape(report_page(summary))):
        assert not [each for each in expected if each not in shown]


def test_every_file_is_read() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == {name.replace(" ", "_") for name in SCENARIOS}
