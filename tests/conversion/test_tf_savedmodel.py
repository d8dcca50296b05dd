import gc
import importlib
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from navigator.cli import main
from navigator.converters import tf_savedmodel_to_onnx
from navigator.converters.protocol import Conversion
from navigator.errors import StepError
from navigator.frameworks.onnx import file as onnx_file
from navigator.frameworks.tensorflow import lookups
from navigator.records import Json, ModelConfig, Properties, Signature, TensorSpec, Verdict, to_data
from navigator.runners import onnx as onnx_runner
from navigator.runners import tf_savedmodel
from navigator.samples.constants import Constant, candidates
from navigator.samples.generate import drawn_from
from navigator.verify.compare import verify

Arrays = dict[str, np.ndarray]

NOTHING_DECLARED = Signature(inputs=(), outputs=())


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("savedmodels")
    script = Path(__file__).parent / "tf_savedmodels.py"
    made = subprocess.run([sys.executable, script, directory], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr[-3000:]
    return directory


@pytest.fixture(scope="module", autouse=True)
def frameworks() -> None:
    """Import TensorFlow and tf2onnx, whose modules warn about each other while they are imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in (*tf_savedmodel_to_onnx.PRELOAD, *tf_savedmodel.PRELOAD, *onnx_runner.PRELOAD):
            importlib.import_module(module)


def inputs_for(signature: Signature, batch: int) -> Arrays:
    rng = np.random.default_rng(batch)
    arrays: Arrays = {}
    for spec in signature.inputs:
        assert spec.shape is not None
        shape = [batch if size == -1 else size for size in spec.shape]
        dtype = np.dtype(spec.dtype)
        if dtype.kind == "f":
            arrays[spec.name] = rng.standard_normal(shape).astype(dtype)
        else:
            arrays[spec.name] = rng.integers(0, 2 if dtype.kind == "b" else 5, shape).astype(dtype)
    return arrays


def convert(
    source: Path, directory: Path, opset: int, name: str | None = None, raise_from: Path | None = None
) -> tuple[Path, Mapping[str, Json]]:
    directory.mkdir(parents=True, exist_ok=True)
    destination = directory / "model.onnx"
    options = tf_savedmodel_to_onnx.Options(opset=opset, signature_name=name)
    conversion = Conversion(source=source, destination=destination, options=options, raise_from=raise_from)
    return destination, to_data(tf_savedmodel_to_onnx.convert(conversion))


def compare(source: Path, artifact: Path, tolerance: float = 1e-5, name: str | None = None) -> Verdict:
    """Compare at batch sizes 1 and 3."""
    model = tf_savedmodel.load(source, declared=NOTHING_DECLARED, signature_name=name)
    loaded = onnx_runner.load(artifact, declared=model.signature)
    samples = [(f"batch {batch}", inputs_for(model.signature, batch)) for batch in (1, 3)]
    reference = [(label, model.infer(inputs)) for label, inputs in samples]
    outputs = [(label, loaded.infer(inputs)) for label, inputs in samples]
    return verify(reference, outputs, atol={"": tolerance}, rtol={"": tolerance})


def spec(name: str, shape: tuple[int, ...] | None, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name=name, shape=shape, dtype=dtype)


@pytest.mark.parametrize(
    ("model", "opset"),
    [
        ("exported", 9),
        ("exported", 13),
        ("exported", 15),
        ("exported", 18),
        ("exported", 21),
        ("saved", 17),
        ("several", 17),
        ("several", 7),
        ("lstm", 13),
        ("lstm", 21),
        ("gelu", 17),
        ("gelu", 21),
        ("float16", 17),
        ("odd", 17),
        ("loop", 17),
        ("tables", 17),
        ("tf1", 17),
        ("keras_2", 17),
    ],
)
def test_conversion_matches_its_source(models: Path, tmp_path: Path, model: str, opset: int) -> None:
    artifact, properties = convert(models / model, tmp_path, opset)
    assert onnx_file.opset(artifact) == properties["onnx_opset"] == opset
    assert properties["signature_name"] == "serving_default"
    assert str(properties["exporter"]).startswith("tf2onnx 1.")
    assert ("raised from opset 18" in str(properties["exporter"])) is (opset > 18)
    assert "dropped_updates" not in properties
    verdict = compare(models / model, artifact, tolerance=2e-3 if model == "float16" else 1e-5)
    assert verdict.passed, verdict.comparisons


@pytest.mark.parametrize("opset", [13, 17])
def test_whole_numbers_are_rounded_down(models: Path, tmp_path: Path, opset: int) -> None:
    import onnx

    artifact, _ = convert(models / "rounding", tmp_path, opset)
    model = tf_savedmodel.load(models / "rounding", declared=NOTHING_DECLARED)
    numbers = np.arange(-8, 8).reshape(4, 4)
    inputs = {"i": numbers, "j": numbers.astype("int32"), "x": numbers.astype("float32") / 2}
    right = model.infer(inputs)
    assert (right["quotients"][:4] == numbers // 3).all()
    assert right["sizes"].tolist() == [-2, -2, -3]
    made = onnx_runner.load(artifact, declared=model.signature).infer(inputs)
    for name, array in right.items():
        np.testing.assert_array_equal(made[name], array)
    # A quotient and its rest share one. A size is never negative, and needs none, unless it's made so.
    assert [node.op_type for node in onnx.load(artifact).graph.node].count("Mod") == 6


@pytest.mark.parametrize("opset", [11, 13, 17])
def test_numbers_are_sorted_into_buckets_and_looked_up_in_tables(models: Path, tmp_path: Path, opset: int) -> None:
    artifact, _ = convert(models / "discrete", tmp_path, opset)
    model = tf_savedmodel.load(models / "discrete", declared=NOTHING_DECLARED)
    ends = np.array([-1, 0, 0.1, 2], np.float32)
    # Smaller numbers than 1e-30 are zeros to TensorFlow.
    step = np.maximum(np.spacing(np.abs(ends)), np.float32(1e-30))
    around = np.concatenate([ends, ends + step, ends - step])
    inputs = {
        "x": around.reshape(-1, 2),
        "wide": np.concatenate([[0.1], around.astype("float64")]),
        "n": np.array([[10, 20, -7], [5, 9, 0], [2, -1, -2]]),
    }
    right = model.infer(inputs)
    assert right["found"].tolist() == [[1, 2, 3], [-1, -1, -1], [-1, -1, -1]]
    assert right["n_bucket"].tolist() == [[4, 4, 0], [4, 4, 2], [4, 1, 0]]
    made = onnx_runner.load(artifact, declared=model.signature).infer(inputs)
    assert {name: array.dtype for name, array in made.items()} == {name: each.dtype for name, each in right.items()}
    for name, array in right.items():
        np.testing.assert_array_equal(made[name], array)


@pytest.mark.parametrize("opset", [11, 13, 17])
@pytest.mark.parametrize("single", [-1, 2, 4])
def test_indices_of_no_class_are_encoded_as_zeros(models: Path, tmp_path: Path, opset: int, single: int) -> None:
    artifact, _ = convert(models / "encoded", tmp_path, opset)
    model = tf_savedmodel.load(models / "encoded", declared=NOTHING_DECLARED)
    numbers = np.array([[0, 3, -1], [-4, 4, 9], [1, 2, -9]])
    inputs = {"n": numbers, "m": np.array(single, np.int32), "b": np.array([0, 3, 4, 255], np.uint8)}
    right = model.infer(inputs)
    assert not right["last"][0, 2].any()
    made = onnx_runner.load(artifact, declared=model.signature).infer(inputs)
    for name, array in right.items():
        np.testing.assert_array_equal(made[name], array)


def test_numbers_outside_of_a_depth_are_told(models: Path) -> None:
    model = tf_savedmodel.load(models / "encoded", declared=NOTHING_DECLARED)
    told = drawn_from(model.signature.inputs, ModelConfig(model_name="m", model_path=Path("/m")), model.told)
    numbers = {name: candidates(told[name], each) for name, each in model.reads.compared().items()}
    assert numbers == {"n": (-1, 4), "m": (-1, 4), "b": (4,)}


def test_keys_and_the_ends_of_buckets_are_told(models: Path) -> None:
    compared = tf_savedmodel.load(models / "discrete", declared=NOTHING_DECLARED).reads.compared()
    ends = [Constant(float(np.float32(end)), ordered=True) for end in (-1, 0, 0.1, 2)]
    assert compared["x"] == compared["wide"] == tuple(ends)
    assert {each.number for each in compared["n"] if not each.ordered} == {10, 20, -7, 5, 9}
    # Keys that are texts aren't compared with numbers.
    assert {
        each.number for each in tf_savedmodel.load(models / "tables", declared=NOTHING_DECLARED).reads.compared()["x"]
    } == {1, 2, 3}


def test_thresholds_of_magnitudes_squares_and_probabilities_are_those_of_the_inputs() -> None:
    import tensorflow as tf

    def loud(x: Any) -> Any:
        mean = tf.reduce_mean(tf.square(x))
        return (tf.sqrt(mean) > 0.5) & (tf.abs(x) > 0.25) & (x * x > 16.0) & (tf.sigmoid(x - 2.0) > 0.5)

    signature = [tf.TensorSpec([None, 3], name="x")]
    found = lookups.read(tf.function(loud).get_concrete_function(*signature), ["x"]).compared()
    assert [each.number for each in found["x"]] == [0.5, 0.25, 4, 2]


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_numbers_are_ranked_and_added_in_their_own_type(models: Path, tmp_path: Path, opset: int) -> None:
    artifact, _ = convert(models / "ranks", tmp_path, opset)
    model = tf_savedmodel.load(models / "ranks", declared=NOTHING_DECLARED)
    # As float32, 16777217 is 16777216.
    near = np.array([[2**24, 2**24 + 1, 2**24 - 1, 2**24 + 3], [-5, -(2**24) - 1, -(2**24), 7]])
    inputs = {
        "i": near.astype("int32"),
        "j": near + 2**60,
        "x": 1 + near * 2.0**-50,
        "b": (near % 256).astype("uint8"),
    }
    right = model.infer(inputs)
    assert right["largest"].tolist() == [[2**24 + 3, 2**24 + 1], [7, -5]]
    made = onnx_runner.load(artifact, declared=model.signature).infer(inputs)
    for name, array in right.items():
        np.testing.assert_array_equal(made[name], array, strict=True)


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_a_bicubic_resize_has_tensorflows_weights(models: Path, tmp_path: Path, opset: int) -> None:
    artifact, _ = convert(models / "bicubic", tmp_path, opset)
    model = tf_savedmodel.load(models / "bicubic", declared=NOTHING_DECLARED)
    loaded = onnx_runner.load(artifact, declared=model.signature)
    assert not loaded.properties.warnings
    rng = np.random.default_rng(0)
    inputs = {
        "image": rng.standard_normal((2, 9, 8, 2)).astype(np.float32),
        "bytes": rng.integers(0, 256, (3, 5, 7, 1), np.uint8),
    }
    made = loaded.infer(inputs)
    for name, right in model.infer(inputs).items():
        np.testing.assert_allclose(made[name], right, rtol=1e-5, atol=1e-6 * np.abs(right).max(), err_msg=name)
    # What doesn't vary stays as it is, at the edges too.
    flat = {name: np.full_like(array, 3) for name, array in inputs.items()}
    for name, array in loaded.infer(flat).items():
        np.testing.assert_allclose(array, 3, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_a_bicubic_resize_of_pictures_of_any_size_has_tensorflows_weights(
    models: Path, tmp_path: Path, opset: int
) -> None:
    artifact, _ = convert(models / "bicubic_open", tmp_path, opset)
    model = tf_savedmodel.load(models / "bicubic_open", declared=NOTHING_DECLARED)
    loaded = onnx_runner.load(artifact, declared=model.signature)
    for size in ((9, 8), (3, 17)):
        inputs = {"image": np.random.default_rng(0).standard_normal((2, *size, 2)).astype(np.float32)}
        made = loaded.infer(inputs)
        for name, right in model.infer(inputs).items():
            np.testing.assert_allclose(made[name], right, rtol=1e-5, atol=1e-6 * np.abs(right).max(), err_msg=name)


def test_names_types_and_dynamic_axes_are_the_signatures(models: Path, tmp_path: Path) -> None:
    artifact, _ = convert(models / "several", tmp_path, 15)
    source = tf_savedmodel.load(models / "several", declared=NOTHING_DECLARED).signature
    assert source.inputs == (spec("extra", (-1, 3)), spec("ids", (-1, -1), "int32"))
    assert source.outputs == (spec("first", (-1, 4)), spec("second", (-1, 2)))
    made = onnx_runner.load(artifact, declared=NOTHING_DECLARED).signature
    assert sorted(made.inputs, key=lambda each: each.name) == list(source.inputs)
    assert sorted(made.outputs, key=lambda each: each.name) == list(source.outputs)


def test_inputs_that_are_not_used_stay(models: Path, tmp_path: Path) -> None:
    artifact, _ = convert(models / "odd", tmp_path, 17)
    made = onnx_runner.load(artifact, declared=NOTHING_DECLARED).signature
    assert {each.name for each in made.inputs} == {"x", "unused", "flag"}


def test_weights_are_no_inputs_at_opsets_below_9(models: Path, tmp_path: Path) -> None:
    import onnx

    artifact, _ = convert(models / "exported", tmp_path, 8)
    assert [value.name for value in onnx.load(artifact).graph.input] == ["image"]


@pytest.mark.parametrize("model", ["exported", "gelu"])
def test_one_wrong_weight_is_a_mismatch(models: Path, tmp_path: Path, model: str) -> None:
    import onnx

    artifact, _ = convert(models / model, tmp_path, 17)
    proto = onnx.load(artifact)
    weight = next(tensor for tensor in proto.graph.initializer if len(tensor.dims) == 2)
    values = onnx.numpy_helper.to_array(weight).copy()
    values[0, 0] += 0.1
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(proto, artifact)
    assert not compare(models / model, artifact).passed


def test_signature_by_name(models: Path, tmp_path: Path) -> None:
    artifact, properties = convert(models / "two_signatures", tmp_path, 17, "probability")
    assert properties["signature_name"] == "probability"
    assert compare(models / "two_signatures", artifact, name="probability").passed
    loaded = tf_savedmodel.load(models / "two_signatures", declared=NOTHING_DECLARED, signature_name="probability")
    assert loaded.properties == Properties(signature_name="probability")


def test_opset_is_raised_from_a_lower_one(models: Path, tmp_path: Path) -> None:
    lower, _ = convert(models / "lstm", tmp_path / "lower", 13)
    artifact, properties = convert(models / "lstm", tmp_path / "higher", 16, raise_from=lower)
    assert properties == {
        "onnx_opset": 16,
        "exporter": "raised from opset 13 by onnx.version_converter",
        "signature_name": "serving_default",
    }
    assert onnx_file.opset(artifact) == 16
    assert compare(models / "lstm", artifact).passed


def test_conversion_from_the_source_where_raising_fails(models: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    artifact, properties = convert(models / "exported", tmp_path / "made", 16, raise_from=broken)
    assert str(properties["exporter"]).startswith("tf2onnx")
    assert compare(models / "exported", artifact).passed


@pytest.mark.parametrize("model", ["exported", "gelu"])
def test_conversion_without_the_optimizer_that_fails(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, model: str
) -> None:
    from tf2onnx import optimizer

    class Failing:
        def optimize(self, *_: Any) -> None:
            raise ValueError("this optimizer fails")

    monkeypatch.setitem(optimizer._optimizers, "remove_identity", Failing)
    artifact, _ = convert(models / model, tmp_path, 17)
    assert "tf2onnx's optimizer failed" in caplog.text
    assert compare(models / model, artifact).passed


def test_weights_over_the_limit_lie_beside_the_file(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "INLINE_LIMIT_BYTES", 10_000)
    artifact, _ = convert(models / "gelu", tmp_path, 21)
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "model.onnx.data"}
    assert artifact.stat().st_size < 20_000
    assert compare(models / "gelu", artifact).passed


def test_updates_of_variables_are_named_and_mismatch(models: Path, tmp_path: Path) -> None:
    artifact, properties = convert(models / "counter", tmp_path, 17)
    (update,) = properties["dropped_updates"]
    assert "AssignAddVariableOp" in update
    verdict = compare(models / "counter", artifact)
    assert {each.output: each.passed for each in verdict.comparisons} == {"y": True, "z": False}


def test_tests_for_missing_numbers_are_told(models: Path) -> None:
    (found,) = tf_savedmodel.load(models / "missing", declared=NOTHING_DECLARED).reads.compared().values()
    assert np.array_equal([each.number for each in found], [np.nan], equal_nan=True)


def test_operations_that_draw_random_numbers_are_named(models: Path) -> None:
    found = {name: tf_savedmodel.load(models / name, declared=NOTHING_DECLARED) for name in ("random", "lstm")}
    assert found["random"].random_operations == ("RandomStandardNormal", "RandomUniform in dropout")
    assert found["lstm"].random_operations == ()


def test_tables_that_inputs_are_looked_up_in_are_told(models: Path) -> None:
    told = tf_savedmodel.load(models / "looked_up", declared=NOTHING_DECLARED).told
    assert {name: (each.low, each.high, each.why) for name, each in told.items()} == {
        "ids": (0, 99, "rows of a table"),
        "column": (0, 2, "rows of a table"),
        "digit": (0, 9, "depth of OneHot"),
        "n": (1, 8, "a size for Range"),
        "valid": (0, 1, "read as true and false"),
    }
    told = tf_savedmodel.load(models / "resized_to", declared=NOTHING_DECLARED).told
    assert {name: (each.low, each.high, each.why) for name, each in told.items()} == {
        "size": (1, 8, "a size for ResizeBilinear"),
        "rows": (1, 8, "a size for Fill"),
        "columns": (1, 8, "a size for Fill"),
    }
    # Keras adds the rows to negative indices before it looks them up.
    told = tf_savedmodel.load(models / "several", declared=NOTHING_DECLARED).told
    assert {name: (each.low, each.high) for name, each in told.items()} == {"ids": (0, 49)}
    lstm = tf_savedmodel.load(models / "lstm", declared=NOTHING_DECLARED)
    assert lstm.told == {}
    assert lstm.sorting_operations == ()


@pytest.mark.parametrize("name", ["saved", "lstm", "float16", "mixed"])
def test_a_perturbed_model_rounds_otherwise_and_is_then_as_before(models: Path, name: str) -> None:
    half = name in ("float16", "mixed")
    model = tf_savedmodel.load(models / name, declared=NOTHING_DECLARED)
    inputs = inputs_for(model.signature, 3)
    before, variables = model.infer(inputs), [each.numpy() for each in model.opened.function.variables]
    assert model.casts_to_half == half
    with model.perturbed() as other:
        changed = other.infer(inputs)
    for output, array in before.items():
        assert not np.array_equal(changed[output], array)
        np.testing.assert_allclose(changed[output], array, rtol=0, atol=0.02 if half else 1e-5)
        assert np.abs(changed[output] - array).max() > (1e-4 if half else 0)
        assert np.array_equal(model.infer(inputs)[output], array)
    for sign in (1, -1):
        with model.nudged(0, sign) as other:
            assert not np.array_equal(other.infer(inputs)[output], before[output])
    after = [each.numpy() for each in model.opened.function.variables]
    assert variables
    assert all(np.array_equal(one, other) for one, other in zip(variables, after, strict=True))


@pytest.mark.parametrize(
    ("model", "opset", "message"),
    [
        ("lgamma", 17, "can't convert these TensorFlow operations to opset 17: Lgamma (in "),
        ("lgamma", 17, "replace them in the model with operations that ONNX supports"),
        ("keras_hashing", 17, "look numbers up or take them modulo"),
        ("einsum", 11, "they need opset 12 or higher: set onnx_opsets: [12]"),
        ("erfc", 8, "they need opset 9 or higher: set onnx_opsets: [9]"),
        ("text_inside", 17, "save a signature that starts after the text processing"),
        ("text", 17, "input 'x' of signature 'serving_default' is text (tf.string)"),
        ("bfloat16", 17, "tf2onnx doesn't support bfloat16: save the model in float32 or float16 instead"),
        ("ragged", 17, "output 'y' of signature 'serving_default' is a RaggedTensor, not a dense tensor"),
        ("any_rank", 17, "the rank of x in signature 'serving_default' is unknown, so tf2onnx would write a scalar"),
        ("any_rank_out", 17, "the rank of output 'y' is unknown, but ONNX needs it"),
        ("same_name", 17, "has an input and an output with the same name: x"),
        ("no_signature", 17, "no_signature has no signature"),
        ("two_signatures", 17, "has 2 signatures, but none is named serving_default"),
        ("tf1_gpu", 17, "has no graph with exactly the tag 'serve', only: gpu, serve"),
        ("exported", 6, "tf2onnx can't write opset 6: it supports 7 and higher"),
        ("exported", 99, "doesn't support opset 99"),
        ("", 17, "is not a SavedModel: it doesn't contain saved_model.pb"),
    ],
)
def test_what_cannot_be_exported_is_refused_with_advice_and_leaves_no_file(
    models: Path, tmp_path: Path, model: str, opset: int, message: str
) -> None:
    with pytest.raises(StepError) as refused:
        convert(models / model, tmp_path, opset)
    assert message in str(refused.value)
    assert refused.value.hint
    assert not (tmp_path / "model.onnx").exists()


def test_text_is_told_before_anything_runs(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, plain = str(models / "text"), str(models / "exported")
    why = "input 'x' of signature 'serving_default' is text (tf.string)"

    assert main(["validate", text]) == 0
    assert f"can't be converted:\n  text: {why}" in capsys.readouterr().out
    assert main(["validate", plain]) == 0
    assert "can't be converted" not in capsys.readouterr().out

    assert main(["plan", text, "--target-formats", "onnx"]) == 0
    planned = capsys.readouterr().out
    assert (
        f"1 conversion can't be planned\n    onnx_op14  tf-savedmodel → onnx_op14  (requested)\n      reason: {why}"
        in planned
    )
    assert "how to fix: keep text processing out of the model" in planned


def test_a_file_that_is_invalid_for_its_bfloat16_says_what_to_do(models: Path, tmp_path: Path) -> None:
    with pytest.raises(StepError, match="the ONNX file is invalid") as refused:
        convert(models / "bfloat16_weights", tmp_path, 17)
    assert refused.value.hint == "tf2onnx doesn't support bfloat16: save the model in float32 or float16 instead"


def test_random_numbers_that_onnx_does_not_have_are_for_training(models: Path, tmp_path: Path) -> None:
    with pytest.raises(StepError, match="StatelessRandomUniform") as refused:
        convert(models / "augmented", tmp_path, 17)
    assert refused.value.hint.startswith("random numbers are for training: save the model with training=False")


def test_an_unknown_signature_is_refused_with_those_that_there_are(models: Path, tmp_path: Path) -> None:
    with pytest.raises(
        StepError, match="has no signature 'other'\n  set signature_name to one of: logits, probability"
    ):
        convert(models / "two_signatures", tmp_path, 17, "other")


def test_a_damaged_savedmodel_is_refused_with_the_reason(models: Path, tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"nonsense")
    with pytest.raises(StepError, match="is not a SavedModel: Cannot parse file"):
        tf_savedmodel.load(tmp_path, declared=NOTHING_DECLARED)
    (tmp_path / "saved_model.pb").write_bytes((models / "exported" / "saved_model.pb").read_bytes())
    with pytest.raises(StepError, match=r"TensorFlow 2\..* can't load .*"):
        tf_savedmodel.load(tmp_path, declared=NOTHING_DECLARED)


def test_memory_is_asked_for_before_it_runs_out(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=100_000_000))
    with pytest.raises(
        StepError,
        match=r"converting gelu to ONNX \(0\.0 GB of weights\) needs about 0\.3 GB of memory, but only 0\.1 GB is",
    ):
        convert(models / "gelu", tmp_path, 17)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=1000))
    with pytest.raises(StepError, match=r"loading gelu \(0\.0 GB of variables\) needs about"):
        tf_savedmodel.load(models / "gelu", declared=NOTHING_DECLARED)


def test_the_model_lives_as_long_as_it_is_used(models: Path) -> None:
    loaded = tf_savedmodel.load(models / "several", declared=NOTHING_DECLARED)
    gc.collect()
    outputs = loaded.infer(inputs_for(loaded.signature, 2))
    assert list(outputs) == ["first", "second"]
    assert [value.shape for value in outputs.values()] == [(2, 4), (2, 2)]


def test_unknown_rank_runs_with_a_declared_shape(models: Path) -> None:
    declared = Signature(inputs=(spec("x", (-1, 2)),), outputs=())
    loaded = tf_savedmodel.load(models / "any_rank", declared=declared)
    assert loaded.signature == Signature(inputs=declared.inputs, outputs=(spec("y", None),))
    np.testing.assert_array_equal(loaded.infer({"x": np.zeros((3, 2), np.float32)})["y"], np.ones((3, 2)))


def test_declared_sizes_narrow_dynamic_axes(models: Path) -> None:
    declared = Signature(inputs=(spec("ids", (2, 7), "int32"),), outputs=(spec("first", (-1, -1)),))
    signature = tf_savedmodel.load(models / "several", declared=declared).signature
    assert signature.inputs == (spec("extra", (-1, 3)), spec("ids", (2, 7), "int32"))
    assert signature.outputs == (spec("first", (-1, 4)), spec("second", (-1, 2)))


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (spec("image", (-1, 5)), "image is declared as [-1, 5], but the model has [-1, 4]"),
        (spec("image", (-1, 4, 1)), "image is declared as [-1, 4, 1], but the model has [-1, 4]"),
        (spec("image", (-1, 4), "float16"), "image is declared as float16, but the model has float32"),
        (spec("picture", (-1, 4)), "picture is declared, but signature 'serving_default' has no input of that name"),
    ],
)
def test_declared_inputs_that_contradict(models: Path, declared: TensorSpec, message: str) -> None:
    with pytest.raises(StepError) as refused:
        tf_savedmodel.load(models / "exported", declared=Signature(inputs=(declared,), outputs=()))
    assert message in refused.value.message
    assert refused.value.hint == 'remove inputs, or set `inputs: ["image:-1,4:float32"]`'


def test_inputs_that_do_not_fit(models: Path) -> None:
    loaded = tf_savedmodel.load(models / "loop", declared=NOTHING_DECLARED)
    n = np.array(1, np.int32)
    with pytest.raises(StepError, match="has the inputs n, x, but got n, y"):
        loaded.infer({"y": np.zeros((1, 160), np.float32), "n": n})
    with pytest.raises(StepError) as refused:
        loaded.infer({"x": np.ones((2, 7), np.float32), "n": n})
    assert "can't run signature 'serving_default' with x: [2, 7], n: []: " in refused.value.message
    assert "Graph execution error" not in refused.value.message


FORKED = """
import importlib, os, sys
from pathlib import Path
from navigator.converters import tf_savedmodel_to_onnx as converter
from navigator.converters.protocol import Conversion
from navigator.records import Signature
from navigator.runners import tf_savedmodel as runner

models, made = Path(sys.argv[1]), Path(sys.argv[2])
for module in (*converter.PRELOAD, *runner.PRELOAD):
    importlib.import_module(module)
known = set(sys.modules)

def convert():
    options = converter.Options(opset=13)
    converter.convert(Conversion(source=models / "lstm", destination=made / "model.onnx", options=options))
    late = {name.partition(".")[0] for name in set(sys.modules) - known} & {"tensorflow", "tf2onnx", "onnx", "keras"}
    assert not late, late

def run():
    import numpy as np
    loaded = runner.load(models / "lstm", declared=Signature(inputs=(), outputs=()))
    assert loaded.infer({"steps": np.ones((2, 3, 5), np.float32)})["output_0"].shape == (2, 6)

def without_tf_keras():
    sys.modules["tf_keras"] = None
    runner.load(models / "keras_2", declared=Signature(inputs=(), outputs=()))

for task in (convert, run, without_tf_keras):
    child = os.fork()
    if child == 0:
        try:
            task()
        except BaseException as error:
            print(f"{task.__name__}: {type(error).__name__}: {error}", flush=True)
            os._exit(1)
        os._exit(0)
    print(task.__name__, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_forked_children_of_a_process_that_only_imported(models: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", FORKED, str(models), str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert "convert 0\nrun 0\n" in ran.stdout, ran.stdout + ran.stderr[-3000:]
    assert "was saved by Keras 2 with its optimizer" in ran.stdout
    assert "pip install tf-keras" in ran.stdout
    assert compare(models / "lstm", tmp_path / "model.onnx").passed
