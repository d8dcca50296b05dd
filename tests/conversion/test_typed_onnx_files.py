"""ONNX to fp16 and int8: files, opsets and samples, and what is said if they do not do."""
# ruff: noqa: TID253 - the frameworks are what is tested

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from navigator.converters.onnx_to_typed_onnx import Options, convert
from navigator.converters.protocol import Conversion
from navigator.errors import StepError
from navigator.frameworks.onnx import file as onnx_file
from navigator.frameworks.onnx import graph as onnx_graph
from navigator.records import Precision, PrecisionMode, Signature
from navigator.runners import onnx as onnx_runner
from navigator.samples import storage as arrays
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

WIDE = '"" : 19\nm (float[n, 512] x) => (float[n, 512] y) { y = MatMul(x, w) }'


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return written(tmp_path / "network.onnx", NETWORK, NETWORK_WEIGHTS)


@pytest.mark.parametrize(
    ("options", "opset"), [(FP16, 11), (SINGLE, 13), (HIERARCHY, 19)], ids=["fp16", "single", "hierarchy"]
)
def test_opsets_that_are_too_low_are_raised(tmp_path: Path, options: Options, opset: int) -> None:
    text = '"" : 9\nm (float[n, 8] x) => (float[n, 4] y) { a = MatMul(x, w) y = Softmax(a) }'
    typed = Typed(written(tmp_path / "m.onnx", text, {"w": floats(8, 4)}), options, {"x": floats(3, 8)})
    assert typed.properties.onnx_opset == onnx_file.opset(typed.path) == opset
    assert typed.properties.exporter.startswith("raised from opset 9 by onnx.version_converter, ")
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
        assert typed.properties.fp16_nodes == (0 if options is SINGLE else 3)
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
    assert refusal.value.message.startswith("fp16 needs opset 11 or higher: onnx.version_converter can't change")
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
def test_what_a_file_says_beside_its_nodes_stays(network: Path, options: Options) -> None:
    model = onnx.load(str(network))
    model.producer_name, model.producer_version, model.domain, model.model_version = "maker", "2.0", "org.maker", 7
    model.doc_string, model.graph.doc_string, model.graph.node[0].doc_string = "model", "graph", "node"
    # The opset that needs no raising: onnx.version_converter drops denotations.
    model.opset_import[0].version = 19
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    onnx.helper.set_model_props(model, {"labels": "cat,dog"})
    image, scores = model.graph.input[0], model.graph.output[0]
    image.doc_string, image.type.denotation = "an image", "IMAGE"
    image.type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    scores.metadata_props.add(key="unit", value="logits")
    onnx.save(model, str(network))
    made = Typed(network, options, *IMAGES).model
    for name in ("producer_name", "producer_version", "domain", "model_version", "doc_string", "metadata_props"):
        assert getattr(made, name) == getattr(model, name)
    assert {each.domain: each.version for each in made.opset_import}["com.microsoft"] == 1
    assert (made.graph.name, made.graph.doc_string) == ("network", "graph")
    assert "node" in {node.doc_string for node in made.graph.node}
    assert (list(made.graph.input), list(made.graph.output)) == (list(model.graph.input), list(model.graph.output))


@PRECISIONS
def test_sparse_weights_become_dense(tmp_path: Path, options: Options) -> None:
    """onnx-ir would drop them without a word."""
    text = '"" : 19\nm (float[n, 4] x) => (float[n, 3] y) { a = MatMul(x, w) y = Add(a, b) }'
    source = written(tmp_path / "m.onnx", text)
    dense = {"w": np.zeros((4, 3), "float32"), "b": np.zeros(3, "float32")}
    dense["w"][1, 2], dense["w"][3, 0], dense["b"][1] = 0.5, -1.5, 2.0
    model = onnx.load(str(source))
    for name, array in dense.items():
        at = np.argwhere(array) if name == "w" else np.flatnonzero(array)
        values = numpy_helper.from_array(array[array != 0], name)
        indices = numpy_helper.from_array(at, f"{name}_at")
        model.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, indices, array.shape))
    onnx.save(model, str(source))
    typed = Typed(source, options, {"x": floats(5, 4)})
    assert not typed.graph.sparse_initializer
    assert typed.matches()


def test_a_model_that_onnx_ir_lacks_types_for_is_refused(tmp_path: Path) -> None:
    text = '"" : 17\nm (float[n] x) => (float[n] y) { y = Neg(x) }'
    source = written(tmp_path / "m.onnx", text)
    model = onnx.load(str(source))
    kind = onnx.helper.make_map_type_proto(TensorProto.INT64, onnx.helper.make_tensor_type_proto(1, None))
    model.graph.value_info.append(onnx.helper.make_value_info("z", kind))
    node = model.graph.node.add(op_type="ZipMap", domain="ai.onnx.ml", input=["y"], output=["z"])
    node.attribute.append(onnx.helper.make_attribute("classlabels_int64s", [1]))
    onnx.save(model, str(source))
    with pytest.raises(StepError, match=r"^onnx-ir \S+ can't represent the model: Map types are not supported yet"):
        Typed(source, FP16, {"x": floats(3)})


@PRECISIONS
def test_weights_over_the_limit_are_saved_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: Options
) -> None:
    monkeypatch.setattr(onnx_file, "INLINE_LIMIT_BYTES", 1000)
    typed = Typed(written(tmp_path / "m.onnx", WIDE, {"w": floats(512, 512)}), options, {"x": floats(3, 512)})
    assert sorted(each.name for each in typed.path.parent.iterdir()) == ["model.onnx", "model.onnx.data"]
    assert typed.matches(rounding=False)


@PRECISIONS
def test_no_file_is_parsed_with_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: Options) -> None:
    source = written(tmp_path / "m.onnx", WIDE, {"w": floats(512, 512)})
    parsed: list[int] = []

    def load(path: str, **options: Any) -> Any:
        parsed.append(Path(path).stat().st_size)
        return loaded(path, **options)

    loaded = onnx.load
    monkeypatch.setattr(onnx, "load", load)
    made = tmp_path / "made" / "model.onnx"
    made.parent.mkdir()
    arrays.save(tmp_path / "samples", [("0", {"x": floats(3, 512)})])
    convert(Conversion(source=source, destination=made, options=options, samples=tmp_path / "samples"))
    declared = Signature(inputs=(), outputs=())
    onnx_runner.load(made, declared=declared, options=onnx_runner.Options(precision=options.precision))
    assert not [size for size in parsed if size > 512 * 512]


@PRECISIONS
def test_a_link_to_a_model_and_one_of_several_names_of_a_model_are_read(tmp_path: Path, options: Options) -> None:
    """onnx-ir reads no weights from such files."""
    source = written(tmp_path / "elsewhere" / "m.onnx", WIDE, {"w": floats(512, 512)})
    for name, link in (("soft", Path.symlink_to), ("hard", Path.hardlink_to)):
        (tmp_path / name).mkdir()
        link(tmp_path / name / "m.onnx", source)
        assert Typed(tmp_path / name / "m.onnx", options, {"x": floats(3, 512)}).matches(rounding=False)


def test_weights_that_were_read_keep_no_file_open(tmp_path: Path) -> None:
    """A process may have a thousand open."""
    model = onnx_graph.prepare(written(tmp_path / "m.onnx", WIDE, {"w": floats(512, 512)}))
    (weight,) = model.graph.initializers.values()
    before = sorted(Path("/proc/self/fd").iterdir())
    assert onnx_graph.stored(weight).shape == (512, 512)
    onnx_graph.save(model, tmp_path / "again.onnx")
    assert sorted(Path("/proc/self/fd").iterdir()) == before
    assert numpy_helper.to_array(onnx.load(str(tmp_path / "again.onnx")).graph.initializer[0]).tolist() == (
        floats(512, 512).tolist()
    )


def test_large_constants_among_the_nodes_keep_their_values(tmp_path: Path) -> None:
    """Of the main graph and of a branch, whole numbers too."""
    text = """
    "" : 17
    m (float[n, 512] x, bool c) => (float[n, 512] y) {
        a = MatMul(x, w)
        y = If(c) <then_branch = one () => (float[n, 512] p) { p = Add(a, x) },
                   else_branch = two () => (float[n, 512] q) { q = Identity(a) }>
    }
    """
    source = written(tmp_path / "m.onnx", text)
    model = onnx.load(str(source))
    w, k = floats(512, 512, scale=0.1), np.arange(512 * 512).reshape(512, 512) % 512
    constants = {
        name: onnx.helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))
        for name, value in (("w", w), ("k", k))
    }
    model.graph.node.insert(0, constants["w"])
    branch = model.graph.node[2].attribute[0].g
    del branch.node[:]
    branch.node.extend(
        [
            constants["k"],
            onnx.helper.make_node("Gather", ["k", "row"], ["picked"], axis=0),
            onnx.helper.make_node("Cast", ["picked"], ["cast"], to=TensorProto.FLOAT),
            onnx.helper.make_node("Add", ["a", "cast"], ["p"]),
        ]
    )
    branch.initializer.append(numpy_helper.from_array(np.array(3), "row"))
    onnx.save(model, str(source))
    for options, name in ((FP16, "a"), (SINGLE, "b")):
        samples = [{"x": floats(3, 512), "c": np.array(each)} for each in (True, False)]
        assert Typed(source, options, *samples, name=name).matches(rounding=False)


def test_external_data_that_is_missing_is_said(network: Path) -> None:
    source = network.parent / "external" / "model.onnx"
    source.parent.mkdir()
    onnx.save(onnx.load(str(network)), str(source), save_as_external_data=True, location="weights", size_threshold=0)
    (source.parent / "weights").unlink()
    for options in (FP16, SINGLE):
        with pytest.raises(StepError, match=r"ONNX Runtime can't load the model: |the weights '.*' can't be read: "):
            Typed(source, options, *IMAGES, name=str(options.precision))


def test_samples_that_do_not_fit_are_said(network: Path) -> None:
    with pytest.raises(StepError, match=r"^the model has the inputs image, but the samples only have picture$"):
        Typed(network, FP16, {"picture": floats(1, 3, 8, 8)}, name="other")
    with pytest.raises(StepError, match=r"^the model fails on sample '1': "):
        Typed(network, SINGLE, IMAGES[0], {"image": floats(1, 4, 8, 8)}, name="wrong")
    with pytest.raises(StepError, match="no samples to measure the model's values on"):
        convert(Conversion(source=network, destination=network.parent / "x.onnx", options=FP16))


def test_other_precisions_are_refused(network: Path) -> None:
    for options in (replace(FP16, precision=Precision.FP32), replace(SINGLE, precision_mode=PrecisionMode.MIXED)):
        with pytest.raises(StepError, match="an ONNX file can't be converted to"):
            convert(Conversion(source=network, destination=network.parent / "x.onnx", options=options))


def test_a_failure_leaves_nothing_behind(network: Path) -> None:
    with pytest.raises(StepError):
        Typed(network, HIERARCHY, {"image": floats(1, 4, 8, 8)})
    assert list((network.parent / "typed").iterdir()) == []
