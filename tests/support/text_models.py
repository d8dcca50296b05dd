"""ONNX models that take text, as skl2onnx writes them (1.20): encoders of columns, and a classifier of sentences."""

from collections.abc import Sequence

import numpy as np
import onnx  # noqa: TID253 - makes the models
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253

COLORS = ("blue", "green", "red")
SIZES = ("L", "M", "S", "XL")
WORDS = ("awful", "bad", "fine", "film", "good", "great")
PAIRS = ("bad", "film", "good", "film", "fine", "great")


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: Sequence[onnx.TensorProto],
    opset: int,
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "model", inputs, outputs, [*constants])
    opsets = [helper.make_opsetid(*each) for each in (("", opset), ("ai.onnx.ml", 2), ("com.microsoft", 1))]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def text(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.STRING, shape)


def number(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _constant(name: str, values: object) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values), name)


def _encoder(value: str, result: str, known: Sequence[str], unknown: bool) -> onnx.NodeProto:
    name = f"{result}_encoder"
    return helper.make_node(
        "OneHotEncoder", [value], [result], name, domain="ai.onnx.ml", cats_strings=known, zeros=int(unknown)
    )


def columns(
    colors: Sequence[str] = COLORS, scale: float = 1.0, *, unknown: bool = False, opset: int = 13
) -> onnx.ModelProto:
    """Return a model of two columns of text and one of numbers; `unknown` is whether it takes other texts."""
    weights = np.array([[0.5], [-1.0], [2.0], [0.25], [1.5], [-0.75], [3.0]], np.float32)
    nodes = [
        _encoder("color", "colors", colors, unknown),
        _encoder("size", "sizes", SIZES, unknown),
        helper.make_node("Concat", ["colors", "sizes"], ["all"], axis=-1),
        helper.make_node("Reshape", ["all", "shape"], ["rows"]),
        helper.make_node("MatMul", ["rows", "weights"], ["sum"]),
        helper.make_node("Mul", ["weight", "scale"], ["scaled"]),
        helper.make_node("Add", ["sum", "scaled"], ["y"]),
    ]
    constants = [
        _constant("shape", np.array([-1, 7])),
        _constant("weights", weights),
        _constant("scale", np.array([scale], np.float32)),
    ]
    inputs = [text("color", "n", 1), text("size", "n", 1), number("weight", "n", 1)]
    return _model(nodes, inputs, [number("y", "n", 1)], constants, opset)


def table(values: Sequence[int] = (0, 1, 2), default: int = -1, *, opset: int = 13) -> onnx.ModelProto:
    """Return a model that looks both columns of a matrix up, as an OrdinalEncoder does."""
    nodes = [
        helper.make_node("Gather", ["x", "first"], ["colors"], axis=1),
        helper.make_node("ArrayFeatureExtractor", ["x", "second"], ["sizes"], domain="ai.onnx.ml"),
        *(
            helper.make_node(
                "LabelEncoder",
                [value],
                [f"{value}_number"],
                domain="ai.onnx.ml",
                keys_strings=known,
                values_int64s=numbers,
                default_int64=default,
            )
            for value, known, numbers in (("colors", COLORS, values), ("sizes", SIZES, (0, 1, 2, 3)))
        ),
        helper.make_node("Concat", ["colors_number", "sizes_number"], ["y"], axis=1),
    ]
    constants = [_constant("first", np.array([0])), _constant("second", np.array([1]))]
    y = helper.make_tensor_value_info("y", TensorProto.INT64, ["n", 2])
    return _model(nodes, [text("x", "n", 2)], [y], constants, opset)


def sentences(
    words: Sequence[str] = WORDS,
    case: str = "LOWER",
    token: str = "[a-zA-Z0-9_]+",
    scale: float = 1.0,
    *,
    opset: int = 13,
) -> onnx.ModelProto:
    """Return a model that counts words and pairs of words, and adds them with weights."""
    counted = len(WORDS) + len(PAIRS) // 2
    nodes = [
        helper.make_node("Reshape", ["text", "flat"], ["texts"]),
        helper.make_node("StringNormalizer", ["texts"], ["lower"], case_change_action=case, is_case_sensitive=0),
        helper.make_node(
            "Tokenizer",
            ["lower"],
            ["tokens"],
            domain="com.microsoft",
            mark=0,
            mincharnum=1,
            pad_value="#",
            tokenexp=token,
        ),
        helper.make_node(
            "TfIdfVectorizer",
            ["tokens"],
            ["counts"],
            max_gram_length=2,
            max_skip_count=0,
            min_gram_length=1,
            mode="TF",
            ngram_counts=[0, len(WORDS)],
            ngram_indexes=[*range(counted)],
            pool_strings=[*words, *PAIRS],
        ),
        helper.make_node("MatMul", ["counts", "weights"], ["y"]),
    ]
    weights = np.linspace(-1, 1, counted, dtype=np.float32).reshape(-1, 1)
    weights[3] *= scale
    constants = [_constant("flat", np.array([-1])), _constant("weights", weights)]
    return _model(nodes, [text("text", "n", 1)], [number("y", "n", 1)], constants, opset)
