"""ONNX: the runner, the edge to itself, and the functions on files that every edge to ONNX uses."""
# ruff: noqa: TID253 - the frameworks are what is tested

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper, parser

from navigator.converters import CONVERTERS
from navigator.converters.onnx_to_onnx import Options
from navigator.converters.protocol import Conversion
from navigator.errors import StepError
from navigator.frameworks.onnx import file as onnx_file
from navigator.records import Json, Properties, Signature, TensorSpec, to_data
from navigator.runners import onnx as onnx_runner
from navigator.verify.compare import verify
from tests.support.exports import change_a_weight, floats, require_opset

NOTHING = Signature(inputs=(), outputs=())


def written(path: Path, text: str, weights: Mapping[str, np.ndarray] | None = None, ir_version: int = 8) -> Path:
    """Write a model given as `onnx.parser` reads it, without its head, and with the given initializers."""
    opset, graph = text.strip().split("\n", 1)
    model = parser.parse_model(f"<ir_version: {ir_version}, opset_import: [{opset}]>\n{graph}")
    for name, values in (weights or {}).items():
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    return path


CLASSIFIER = """
"" : 11, "ai.onnx.ml" : 2
classifier (float[batch, 4] x, bool flag) => (float[batch, 3] y, int64[batch] best) {
    z = MatMul(x, w)
    y = If(flag) <
        then_branch = one () => (float[batch, 3] a) { a = Softmax(z) },
        else_branch = two () => (float[batch, 3] b) { b = Relu(z) }
    >
    best = ArgMax<axis = 1, keepdims = 0>(y)
}
"""

# Its weights are over 64 KiB, so they do not pass through the version converter.
WIDE = """
"" : 13
wide (float16[batch, 256] x) => (float16[batch, 256] y) {
    y = MatMul(x, w)
}
"""


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    return written(tmp_path / "source" / "c.onnx", CLASSIFIER, {"w": floats((4, 3))})


@pytest.fixture
def external(tmp_path: Path) -> Path:
    path = written(tmp_path / "source" / "wide.onnx", WIDE, {"w": floats((256, 256), dtype="float16")})
    model = onnx.load(str(path))
    onnx.save(model, str(path), save_as_external_data=True, location="wide.weights")
    return path


def convert(source: Path, tmp_path: Path, options: Options) -> tuple[Path, Mapping[str, Json]]:
    destination = tmp_path / "converted" / "model.onnx"
    destination.parent.mkdir()
    conversion = Conversion(source=source, destination=destination, options=options)
    return destination, to_data(CONVERTERS["onnx_to_onnx"].convert(conversion))


def outputs(path: Path, *samples: Mapping[str, np.ndarray]) -> list[tuple[str, dict[str, np.ndarray]]]:
    model = onnx_runner.load(path, declared=NOTHING)
    return [(str(index), model.infer(sample)) for index, sample in enumerate(samples)]


def same(source: Path, artifact: Path, *samples: Mapping[str, np.ndarray]) -> bool:
    tolerance = {"": 1e-6}
    return verify(outputs(source, *samples), outputs(artifact, *samples), atol=tolerance, rtol=tolerance).passed


CLASSIFIER_SAMPLES = (
    {"x": floats((1, 4)), "flag": np.array(True)},
    {"x": floats((5, 4), 1), "flag": np.array(False)},
)


def test_the_signature_is_the_files_own(classifier: Path) -> None:
    model = onnx_runner.load(classifier, declared=NOTHING)
    assert model.signature == Signature(
        inputs=(
            TensorSpec(name="x", shape=(-1, 4), dtype="float32"),
            TensorSpec(name="flag", shape=(), dtype="bool"),
        ),
        outputs=(
            TensorSpec(name="y", shape=(-1, 3), dtype="float32"),
            TensorSpec(name="best", shape=(-1,), dtype="int64"),
        ),
    )
    assert model.properties == Properties(onnx_opset=11)


def test_initializers_listed_as_inputs_are_no_inputs(tmp_path: Path) -> None:
    text = '"" : 8\nold (float[n, 4] x, float[4, 3] w) => (float[n, 3] y) { y = MatMul(x, w) }'
    path = written(tmp_path / "old.onnx", text, {"w": floats((4, 3))}, ir_version=3)
    assert [each.name for each in onnx_runner.load(path, declared=NOTHING).signature.inputs] == ["x"]
    raised, _ = convert(path, tmp_path, Options(opset=17))
    assert same(path, raised, {"x": floats((2, 4))})


def test_an_unknown_rank_is_not_a_scalar(tmp_path: Path) -> None:
    path = written(tmp_path / "m.onnx", '"" : 17\nm (float x) => (float y) { y = Identity(x) }')
    model = onnx.load(str(path))
    model.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(model, str(path))
    signature = onnx_runner.load(path, declared=NOTHING).signature
    assert (signature.inputs[0].shape, signature.outputs[0].shape) == ((), None)


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "uint8", "int16", "uint32", "int64", "bool"])
def test_every_dtype_keeps_its_name(tmp_path: Path, dtype: str) -> None:
    name = {"float64": "double"}.get(dtype, dtype)
    text = f'"" : 17\nm ({name}[n] x) => ({name}[n] y) {{ y = Identity(x) }}'
    model = onnx_runner.load(written(tmp_path / "m.onnx", text), declared=NOTHING)
    assert model.signature.inputs[0].dtype == model.signature.outputs[0].dtype == dtype
    assert model.infer({"x": np.array([1, 0], dtype)})["y"].dtype == dtype


@pytest.mark.parametrize(
    ("graph", "sentence"),
    [
        (
            "m (float[4] x) => (seq(float[2]) y) { y = SplitToSequence(x) }",
            r"output y is seq\(tensor\(float\)\), but only tensors of numbers",
        ),
        (
            "m (bfloat16[n] x) => (bfloat16[n] y) { y = Identity(x) }",
            r"input x is tensor\(bfloat16\), but only tensors",
        ),
        (
            "m (bfloat16[n] x) => (bfloat16[n] y) { y = Add(x, x) }",
            r"^ONNX Runtime can't load m.onnx: Could not find an implementation for Add\(14\)",
        ),
    ],
)
def test_what_cannot_be_compared_or_run_is_refused(tmp_path: Path, graph: str, sentence: str) -> None:
    with pytest.raises(StepError, match=sentence):
        onnx_runner.load(written(tmp_path / "m.onnx", f'"" : 17\n{graph}'), declared=NOTHING)


def test_files_that_are_no_model_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("hello, this is no protobuf message")
    for name in ("text.onnx", "absent.onnx"):
        with pytest.raises(StepError, match=f"{name} isn't a readable ONNX file: "):
            onnx_runner.load(tmp_path / name, declared=NOTHING)


def test_missing_inputs_and_wrong_shapes_are_one_sentence(classifier: Path) -> None:
    model = onnx_runner.load(classifier, declared=NOTHING)
    with pytest.raises(StepError, match="the ONNX model has the inputs flag, but the samples only have x"):
        model.infer({"x": floats((2, 4))})
    with pytest.raises(StepError) as refusal:
        model.infer({"x": floats((2, 5)), "flag": np.array(True)})
    assert refusal.value.message.startswith("ONNX Runtime fails on x [2, 5], flag []: ")
    assert "ONNXRuntimeError" not in refusal.value.message


def test_a_failing_node_is_named_without_where_in_c_plus_plus(tmp_path: Path) -> None:
    path = written(tmp_path / "m.onnx", '"" : 17\nm (float[n] x, float[k] z) => (float[l] y) { [sum] y = Add(x, z) }')
    model = onnx_runner.load(path, declared=NOTHING)
    with pytest.raises(StepError) as refusal:
        model.infer({"x": floats((2,)), "z": floats((3,))})
    assert refusal.value.message.startswith("ONNX Runtime fails on x [2], z [3]: Add node 'sum': axis == 1 || ")
    assert "2 by 3" in refusal.value.message


def test_a_model_older_than_what_onnx_runtime_has_says_what_to_do(tmp_path: Path) -> None:
    path = written(tmp_path / "m.onnx", '"" : 6\nm (float[n] x, float[n] z) => (float[n] y) { y = Add(x, z) }')
    with pytest.raises(StepError, match=r"Could not find an implementation for Add\(6\)") as refusal:
        onnx_runner.load(path, declared=NOTHING)
    assert refusal.value.hint.startswith("ONNX Runtime supports opset 7 and higher: export the model at such an opset")

    path = written(
        tmp_path / "n.onnx",
        '"" : 17\nn (float[n] x) => (float[n] y) { b = Cast<to = 16>(x) c = Add(b, b) y = Cast<to = 1>(c) }',
    )
    with pytest.raises(StepError) as refusal:
        onnx_runner.load(path, declared=NOTHING)
    assert refusal.value.hint.startswith("ONNX Runtime doesn't support it at opset 17 or for these types")


def test_arrays_are_fed_as_they_are_however_they_lie_in_memory(classifier: Path) -> None:
    model = onnx_runner.load(classifier, declared=NOTHING)
    x = floats((5, 4))
    flag = np.array(False)
    expected = model.infer({"x": x, "flag": flag})["y"]
    backwards = np.asfortranarray(x)[::-1]
    np.testing.assert_array_equal(model.infer({"x": backwards, "flag": flag})["y"], expected[::-1])


def test_inputs_that_the_file_does_not_have_are_listed(classifier: Path) -> None:
    declared = Signature(inputs=(TensorSpec(name="mask", shape=(-1,), dtype="bool"),), outputs=())
    assert onnx_runner.load(classifier, declared=declared).properties.unused_inputs == ("mask",)


def test_without_an_opset_the_file_is_copied(classifier: Path, tmp_path: Path) -> None:
    copied, properties = convert(classifier, tmp_path, Options())
    assert copied.read_bytes() == classifier.read_bytes()
    assert properties == {"onnx_opset": 11, "exporter": "copied"}


@pytest.mark.parametrize("opset", [13, 17, 18, 20, 23])
def test_raising_keeps_interface_metadata_and_numbers(classifier: Path, tmp_path: Path, opset: int) -> None:
    require_opset(opset)
    model = onnx.load(str(classifier))
    model.metadata_props.add(key="author", value="somebody")
    onnx.save(model, str(classifier))
    raised, properties = convert(classifier, tmp_path, Options(opset=opset))
    assert properties == {"onnx_opset": opset, "exporter": "raised from opset 11 by onnx.version_converter"}
    model = onnx.load(str(raised))
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": opset, "ai.onnx.ml": 2}
    assert model.metadata_props[0].value == "somebody"
    before = onnx_runner.load(classifier, declared=NOTHING)
    assert onnx_runner.load(raised, declared=NOTHING).signature == before.signature
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert same(classifier, raised, *CLASSIFIER_SAMPLES)
    assert [each.name for each in raised.parent.iterdir()] == ["model.onnx"]


def test_a_wrong_weight_is_a_mismatch(classifier: Path, tmp_path: Path) -> None:
    raised, _ = convert(classifier, tmp_path, Options(opset=17))
    change_a_weight(raised)
    assert not same(classifier, raised, *CLASSIFIER_SAMPLES)


def test_swapped_outputs_are_a_mismatch(tmp_path: Path) -> None:
    text = '"" : 13\npair (float[n] x) => (float[n] a, float[n] b) {{ {} = Relu(x) {} = Neg(x) }}'
    source = written(tmp_path / "source" / "m.onnx", text.format("a", "b"))
    swapped = written(tmp_path / "swapped" / "m.onnx", text.format("b", "a"))
    assert same(source, source, {"x": floats((5,))})
    assert not same(source, swapped, {"x": floats((5,))})


def test_large_weights_come_through_raising(tmp_path: Path) -> None:
    weights = {"w": floats((256, 256), dtype="float16")}
    source = written(tmp_path / "source" / "wide.onnx", WIDE, weights)
    raised, _ = convert(source, tmp_path, Options(opset=19))
    (weight,) = onnx.load(str(raised)).graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(weight), weights["w"])
    assert weight.data_location == TensorProto.DEFAULT
    assert same(source, raised, {"x": floats((2, 256), dtype="float16")})
    change_a_weight(raised)
    assert not same(source, raised, {"x": np.ones((2, 256), np.float16)})


@pytest.mark.parametrize("options", [Options(), Options(opset=13), Options(opset=18)])
def test_external_data_goes_along(external: Path, tmp_path: Path, options: Options) -> None:
    artifact, properties = convert(external, tmp_path, options)
    assert sorted(each.name for each in artifact.parent.iterdir()) == ["model.onnx", "wide.weights"]
    assert properties["onnx_opset"] == (options.opset or 13)
    sample = {"x": floats((2, 256), dtype="float16")}
    assert same(external, artifact, sample)
    weights = bytearray((artifact.parent / "wide.weights").read_bytes())
    weights[1] ^= 0x40
    (artifact.parent / "wide.weights").write_bytes(weights)
    assert not same(external, artifact, {"x": np.ones((2, 256), np.float16)})


def move_weights(path: Path, location: str) -> None:
    model = onnx.load(str(path), load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
    onnx.save(model, str(path))


def test_external_data_outside_the_models_directory_is_refused(external: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"0" * 131072)
    (external.parent / "link").symlink_to(tmp_path / "secret")
    for location in ("../secret", str(tmp_path / "secret"), "link"):
        move_weights(external, location)
        for options in (Options(), Options(opset=18)):
            with pytest.raises(StepError, match="outside its own directory"):
                onnx_to_onnx(external, tmp_path / "out" / f"{len(location)}{options.opset}", options)


def onnx_to_onnx(source: Path, directory: Path, options: Options) -> None:
    directory.mkdir(parents=True)
    CONVERTERS["onnx_to_onnx"].convert(Conversion(source=source, destination=directory / "model.onnx", options=options))


def test_external_data_that_is_missing_or_collides_is_refused(external: Path, tmp_path: Path) -> None:
    move_weights(external, "gone.bin")
    with pytest.raises(StepError, match=r"stores weights in 'gone\.bin', which doesn't exist"):
        onnx_to_onnx(external, tmp_path / "one", Options())
    (external.parent / "wide.weights").rename(external.parent / "model.onnx")
    move_weights(external, "model.onnx")
    with pytest.raises(StepError, match=r"stores weights in 'model\.onnx', the name of the converted file"):
        onnx_to_onnx(external, tmp_path / "two", Options())


def test_functions_of_the_model_itself_survive_raising(tmp_path: Path) -> None:
    text = """
    "" : 13, "mine" : 1
    m (float[n] x) => (float[n] y) { y = mine.Twice(x) }
    <domain: "mine", opset_import: ["" : 13]>
    Twice (a) => (b) { b = Add(a, a) }
    """
    source = written(tmp_path / "source" / "m.onnx", text)
    raised, _ = convert(source, tmp_path, Options(opset=18))
    assert same(source, raised, {"x": floats((3,))})


def test_operators_of_onnx_runtime_are_accepted_and_unknown_ones_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = '"" : 17, "{0}" : 1\nm (float[n] x) => (float[n] y) {{ y = {0}.{1}(x) }}'
    onnx_file.check(written(tmp_path / "a.onnx", text.format("com.microsoft", "Gelu")))
    assert "operators unknown to onnx" in caplog.text
    foreign = written(tmp_path / "b.onnx", text.format("com.acme", "Rocket"))
    with pytest.raises(StepError, match=r"invalid: operators unknown to onnx [\d.]+: com\.acme\.Rocket; ONNX Runtime"):
        onnx_file.check(foreign)


def test_an_operator_newer_than_the_opset_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "m.onnx", '"" : 17\nm (float[n] x) => (float[n] y) { y = Gelu(x) }')
    with pytest.raises(StepError, match="the ONNX file is invalid: No Op registered for Gelu"):
        onnx_file.check(path)


def test_shapes_that_contradict_are_refused(tmp_path: Path) -> None:
    text = '"" : 17\nm (float[2, 3] x) => (float[2, 4] y) { y = MatMul(x, w) }'
    path = written(tmp_path / "m.onnx", text, {"w": floats((5, 4))})
    with pytest.raises(StepError, match=r"the ONNX file is invalid: shape inference: .*ONNX Runtime says: "):
        onnx_file.check(path)


def test_an_opset_other_than_asked_is_refused(classifier: Path) -> None:
    with pytest.raises(StepError, match="it wrote opset 11 instead of 14") as refusal:
        onnx_file.require_opset(classifier, 14, "it")
    assert refusal.value.hint == "set onnx_opsets: [11]"


def test_weights_over_the_limit_are_saved_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "INLINE_LIMIT_BYTES", 100_000)
    source = written(tmp_path / "source" / "wide.onnx", WIDE, {"w": floats((256, 256), dtype="float16")})
    raised, _ = convert(source, tmp_path, Options(opset=18))
    assert sorted(each.name for each in raised.parent.iterdir()) == ["model.onnx", "model.onnx.data"]
    assert (raised.parent / "model.onnx").stat().st_size < 1000
    assert same(source, raised, {"x": floats((2, 256), dtype="float16")})


def test_one_file_for_each_weight_becomes_one_file(tmp_path: Path) -> None:
    text = '"" : 13\nm (float[n, 64] x) => (float[n, 64] y) { a = MatMul(x, one) y = MatMul(a, two) }'
    weights = {"one": floats((64, 64)), "two": floats((64, 64), 1)}
    source = written(tmp_path / "source" / "m.onnx", text, weights)
    scattered = tmp_path / "scattered" / "m.onnx"
    scattered.parent.mkdir()
    onnx.save(onnx.load(str(source)), str(scattered), save_as_external_data=True, all_tensors_to_one_file=False)
    assert len(list(scattered.parent.iterdir())) == 3
    onnx_file.gather(scattered)
    assert sorted(each.name for each in scattered.parent.iterdir()) == ["m.onnx", "m.onnx.data"]
    assert same(source, scattered, {"x": floats((3, 64))})
