"""ONNX to fp16 and int8: files, opsets and samples, and what is said if they do not do."""
# ruff: noqa: TID253 - the frameworks are what is tested

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from navigator.converters.onnx_to_typed_onnx import Options, convert
from navigator.converters.protocol import Conversion
from navigator.errors import StepError
from navigator.frameworks.onnx import file as onnx_file
from navigator.records import Precision, PrecisionMode
from tests.conversion.typed_onnx import (
    FP16,
    HIERARCHY,
    IMAGES,
    NETWORK,
    NETWORK_WEIGHTS,
    PRECISIONS,
    SINGLE,
    Typed,
    floats,
    written,
)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return written(tmp_path / "network.onnx", NETWORK, NETWORK_WEIGHTS)


@pytest.mark.parametrize(
    ("options", "opset"), [(FP16, 11), (SINGLE, 13), (HIERARCHY, 19)], ids=["fp16", "single", "hierarchy"]
)
def test_opsets_that_are_too_low_are_raised(tmp_path: Path, options: Options, opset: int) -> None:
    text = '"" : 9\nm (float[n, 8] x) => (float[n, 4] y) { a = MatMul(x, w) y = Softmax(a) }'
    typed = Typed(written(tmp_path / "m.onnx", text, {"w": floats(8, 4)}), options, {"x": floats(3, 8)})
    assert typed.properties["onnx_opset"] == onnx_file.opset(typed.path) == opset
    assert typed.properties["exporter"].startswith("raised from opset 9 by onnx.version_converter, ")
    assert typed.matches()


@pytest.mark.parametrize("opset", [11, 13, 17, 19, 21, 23, 24])
def test_every_opset_works(tmp_path: Path, opset: int) -> None:
    text = f"""
    "" : {opset}
    m (float[n, 8] x) => (float[n, 4] y) {{ a = MatMul(x, w) b = Relu(a) y = Div(b, k) }}
    """
    source = written(tmp_path / "m.onnx", text, {"w": floats(8, 4), "k": np.array(3, "float32")}, 10)
    for options, name in ((FP16, "a"), (SINGLE, "b"), (HIERARCHY, "c")):
        typed = Typed(source, options, {"x": floats(3, 8)}, name=name)
        assert typed.matches()
        assert typed.properties["fp16_nodes"] == (0 if options is SINGLE else 3)
        kinds = {each.dtype.name for each in typed.initializers().values()}
        assert kinds == {"a": {"float16"}, "b": {"int8", "float32"}, "c": {"int8", "float16"}}[name]


def test_an_opset_that_cannot_be_raised_is_refused(tmp_path: Path) -> None:
    text = """
    "" : 8
    m (float[1, 3, 2] x) => (float[1, 3, 2] y) {
        y = Scan<num_scan_inputs = 1, body = b (float[2] e) => (float[2] s) { s = Neg(e) }>(lengths, x)
    }
    """
    with pytest.raises(StepError) as refusal:
        Typed(written(tmp_path / "m.onnx", text, {"lengths": np.array([3])}), FP16, {"x": floats(1, 3, 2)})
    assert refusal.value.message.startswith("fp16 needs opset 11 or higher: onnx.version_converter cannot change")
    assert refusal.value.hint == "export the model at opset 11 or higher, or set onnx_opsets to it"


@PRECISIONS
def test_external_data_comes_along(network: Path, options: Options) -> None:
    source = network.parent / "external" / "model.onnx"
    source.parent.mkdir()
    model = onnx.load(str(network))
    onnx.save(model, str(source), save_as_external_data=True, location="weights", size_threshold=16)
    listing = {each.name: each.read_bytes() for each in source.parent.iterdir()}
    typed = Typed(source, options, *IMAGES)
    assert {each.name: each.read_bytes() for each in source.parent.iterdir() if each.is_file()} == listing
    assert [each.name for each in typed.path.parent.iterdir()] == ["model.onnx"]
    assert typed.matches()
    assert typed.initializers().keys() == Typed(network, options, *IMAGES, name="inline").initializers().keys()


@PRECISIONS
def test_weights_over_the_limit_are_saved_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: Options
) -> None:
    monkeypatch.setattr(onnx_file, "INLINE_LIMIT_BYTES", 1000)
    text = '"" : 17\nm (float[n, 64] x) => (float[n, 64] y) { y = MatMul(x, w) }'
    typed = Typed(written(tmp_path / "m.onnx", text, {"w": floats(64, 64)}), options, {"x": floats(3, 64)})
    assert sorted(each.name for each in typed.path.parent.iterdir()) == ["model.onnx", "model.onnx.data"]
    assert typed.matches(rounding=False)


def test_external_data_that_is_missing_is_said(network: Path) -> None:
    source = network.parent / "external" / "model.onnx"
    source.parent.mkdir()
    onnx.save(onnx.load(str(network)), str(source), save_as_external_data=True, location="weights", size_threshold=0)
    (source.parent / "weights").unlink()
    for options in (FP16, SINGLE):
        with pytest.raises(StepError, match=r"ONNX Runtime can't load the model: |the weights '.*' can't be read: "):
            Typed(source, options, *IMAGES, name=str(options.precision))


def test_samples_that_do_not_fit_are_said(network: Path) -> None:
    with pytest.raises(StepError, match=r"^the model needs image, the samples have picture$"):
        Typed(network, FP16, {"picture": floats(1, 3, 8, 8)}, name="other")
    with pytest.raises(StepError, match=r"^the model fails on the sample '1': "):
        Typed(network, SINGLE, IMAGES[0], {"image": floats(1, 4, 8, 8)}, name="wrong")
    with pytest.raises(StepError, match="there are no samples to measure the model's values on"):
        convert(Conversion(source=network, destination=network.parent / "x.onnx", options=FP16))


def test_other_precisions_are_refused(network: Path) -> None:
    for options in (replace(FP16, precision=Precision.FP32), replace(SINGLE, precision_mode=PrecisionMode.MIXED)):
        with pytest.raises(StepError, match="an ONNX file can't be converted to"):
            convert(Conversion(source=network, destination=network.parent / "x.onnx", options=options))


def test_a_failure_leaves_nothing_behind(network: Path) -> None:
    with pytest.raises(StepError):
        Typed(network, HIERARCHY, {"image": floats(1, 4, 8, 8)})
    assert list((network.parent / "typed").iterdir()) == []
