"""What an ONNX graph tells about the numbers that it's given."""

import math

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper, parser  # noqa: TID253 - makes the models

from navigator.frameworks.lookups import Lookups
from navigator.frameworks.onnx.lookups import read, told
from navigator.samples.constants import Constant, Special
from navigator.samples.values import bounds_of

ZERO = "zero = Constant<value = int64 {0}>()"
PICKED = "i = ai.onnx.ml.ArrayFeatureExtractor(ids, five)"
KEYS = "ai.onnx.ml.LabelEncoder<keys_floats = [0.5], values_floats = [1.0]>"
COUNT = "count = Constant<value = int64[3] {0, 1, 2}>()"


def model(body: str, inputs: str = "int64[n, 4] ids, int64[n, 4] more", **tables: tuple[int, ...]) -> ModelProto:
    made = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> m ({inputs}) => (float[n] y) {{ {body} }}')
    for name, shape in tables.items():
        made.graph.initializer.append(numpy_helper.from_array(np.zeros(shape, np.float32), name))
    return made


def found(made: ModelProto) -> dict[str, tuple[float, float, str]]:
    return {name: (each.low, each.high, each.why) for name, each in told(made).items()}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("y = Gather(words, ids)", {"ids": (0, 99, "rows of words")}),
        ("y = Gather<axis = 1>(words, ids)", {"ids": (0, 7, "rows of words")}),
        ("y = Gather<axis = -1>(words, ids)", {"ids": (0, 7, "rows of words")}),
        ("y = GatherElements(words, ids)", {"ids": (0, 99, "rows of words")}),
        ("w = Cast<to = 10>(words) y = Gather(w, ids)", {"ids": (0, 99, "rows of w")}),
        ("i = Cast<to = 6>(ids) j = Unsqueeze(i, axes) y = Gather(words, j)", {"ids": (0, 99, "rows of words")}),
        # Negative indices are counted from the end.
        (
            f"{ZERO} less = Less(ids, zero) end = Add(ids, ids) i = Where(less, end, ids) y = Gather(words, i)",
            {"ids": (0, 99, "rows of words")},
        ),
        ("a = Gather(words, ids) b = Gather(few, ids) y = Add(a, b)", {"ids": (0, 2, "rows of few")}),
        (
            "a = Gather(words, ids) b = Gather(few, more) y = Add(a, b)",
            {"ids": (0, 99, "rows of words"), "more": (0, 2, "rows of few")},
        ),
        ("depth = Constant<value = int64 {10}>() y = OneHot(ids, depth, few)", {"ids": (0, 9, "depth of OneHot")}),
        # JAX compares with all numbers at once.
        (
            f"{COUNT} i = Unsqueeze(ids, axes) e = Equal(i, count) y = Cast<to = 1>(e)",
            {"ids": (0, 2, "numbers in Equal")},
        ),
        (f"{COUNT} e = Equal(count, ids) y = Cast<to = 1>(e)", {"ids": (0, 2, "numbers in Equal")}),
        # Special tokens are found by comparing too.
        (f"{COUNT} e = Equal(ids, count) y = Gather(words, ids)", {"ids": (0, 99, "rows of words")}),
        (f"{ZERO} e = Equal(ids, zero) y = Cast<to = 1>(e)", {}),
        ("others = Constant<value = int64[2] {5, 7}>() e = Equal(ids, others) y = Cast<to = 1>(e)", {}),
        (
            f"{ZERO} one = Constant<value = int64 {{1}}>() y = Range(zero, ids, one)",
            {"ids": (1, 8, "a size for Range")},
        ),
        ('y = Resize(words, "", "", ids)', {"ids": (1, 8, "a size for Resize")}),
        ("y = Expand(words, ids)", {"ids": (1, 8, "a size for Expand")}),
        # Sizes of the image itself come before those that are wanted.
        (
            'kept = Shape(words) a = Squeeze(ids) s = Concat<axis = 0>(kept, a, more) y = Resize(words, "", "", s)',
            {"ids": (1, 8, "a size for Resize"), "more": (1, 8, "a size for Resize")},
        ),
        # An offset is not followed: RoBERTa's positions begin at 2.
        ("two = Constant<value = int64 {2}>() i = Add(ids, two) y = Gather(words, i)", {}),
        ("b = Cast<to = 9>(ids) n = Not(b) y = Cast<to = 1>(n)", {"ids": (0, 1, "read as true and false")}),
        # Padding is found by reading ids as true and false.
        ("b = Cast<to = 9>(ids) y = Gather(words, ids)", {"ids": (0, 99, "rows of words")}),
        ("y = Gather(ids, more)", {}),
        ("y = Cast<to = 1>(ids)", {}),
    ],
)
def test_what_is_looked_up_is_told(body: str, expected: dict[str, tuple[int, int, str]]) -> None:
    assert found(model(body, words=(100, 8), few=(3, 8))) == expected


@pytest.mark.parametrize(
    "body",
    [
        "y = Mod(ids, more)",
        "i = Cast<to = 6>(ids) y = Div(i, more)",
        "y = Abs(ids)",
        "prime = Constant<value = int64 {31}>() i = Mul(ids, prime) j = Add(i, prime) y = Mod(j, more)",
    ],
)
def test_what_minds_the_sign_is_told_where_nothing_else_is(body: str) -> None:
    signed = {name: each.signed for name, each in told(model(body)).items() if name == "ids"}
    assert signed == {"ids": True}
    looked_up = told(model(f"{body} z = Gather(words, ids)", words=(100, 8)))
    assert (looked_up["ids"].high, looked_up["ids"].signed) == (99, False)


def test_tables_beside_the_file_constants_and_branches_are_read_by_their_shapes() -> None:
    apart = model("y = Gather(words, ids)", words=(100, 8))
    tensor = apart.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="nowhere")
    assert found(apart)["ids"][1] == 99

    branch = model("c = Constant<value = float[3, 2] {0, 0, 0, 0, 0, 0}>() y = Gather(c, ids)").graph
    del branch.input[:]
    chosen = model("y = If(flag)", inputs="int64[n, 4] ids, bool flag")
    for name in ("then_branch", "else_branch"):
        chosen.graph.node[0].attribute.append(helper.make_attribute(name, branch))
    assert found(chosen) == {"ids": (0, 2, "rows of c")}


def test_floats_may_be_sizes() -> None:
    made = model("i = Cast<to = 7>(size) y = Expand(words, i)", inputs="float[2] size", words=(1, 1))
    bounds = bounds_of("size", np.dtype("float32"), {}, told=told(made)["size"])
    assert (bounds.low, bounds.high) == (1, 8)


def test_functions_are_followed() -> None:
    made = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17, "own" : 1]> m (int64[n, 4] ids) => (float[n] y) {'
        " table = Constant<value = float[3, 2] {0, 0, 0, 0, 0, 0}>() y = own.look(table, ids) }"
        ' <domain: "own", opset_import: ["" : 17]> look (a, b) => (c) { c = Gather(a, b) }'
    )
    assert [(name, each.high) for name, each in told(made).items()] == [("ids", 2)]


def test_the_embeddings_that_onnx_runtime_fuses() -> None:
    fused = helper.make_node(
        "EmbedLayerNormalization", ["ids", "more", "words", "places", "kinds", "g", "b"], ["y"], domain="com.microsoft"
    )
    made = model("y = Cast<to = 1>(ids)", words=(100, 8), places=(64, 8), kinds=(2, 8))
    made.graph.node[0].CopyFrom(fused)
    assert found(made) == {"ids": (0, 99, "rows of words"), "more": (0, 1, "rows of kinds")}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("y = Div(more, ids)", {"ids": (1, 8, "numbers are divided by it")}),
        ("i = Cast<to = 6>(ids) y = Mod(more, i)", {"ids": (1, 8, "numbers are divided by it")}),
        ("a = Gather(words, ids) y = Div(more, ids)", {"ids": (0, 99, "rows of words")}),
        ("i = Clip(ids, one) y = Div(more, i)", {}),
    ],
)
def test_a_divisor_is_not_0(body: str, expected: dict[str, tuple[float, float, str]]) -> None:
    told_of = {name: each for name, each in found(model(body, words=(100, 8))).items() if name == "ids"}
    assert told_of == expected


def test_a_divisor_that_is_cut_off_may_be_0() -> None:
    lookups = Lookups.of(["n", "m"])
    lookups.same("n", "some", limited=True)
    lookups.same("some", "wide")
    lookups.divisor("wide")
    lookups.divisor("m")
    assert list(lookups.told()) == ["m"]


@pytest.mark.parametrize(
    ("kind", "activations", "expected"),
    [
        ("LSTM", None, {"h": 1.0, "c": 8.0}),
        ("LSTM", ["Sigmoid", "Tanh", "tanh"], {"h": 1.0, "c": 8.0}),
        ("LSTM", ["Sigmoid", "Relu", "Tanh"], {}),
        ("GRU", None, {"h": 1.0}),
    ],
)
def test_what_a_recurrent_layer_begins_with(
    kind: str, activations: list[str] | None, expected: dict[str, float]
) -> None:
    made = model("y = Identity(x)", inputs="float[t, n, 4] x, float[1, n, 6] h, float[1, n, 6] c")
    states = ["h", "c"] if kind == "LSTM" else ["h"]
    given = {"activations": activations} if activations else {}
    made.graph.node[0].CopyFrom(helper.make_node(kind, ["x", "w", "r", "", "", *states], ["y"], **given))
    why = "states of a recurrent layer"
    assert found(made) == {name: (-most, most, why) for name, most in expected.items()}


def test_a_table_of_unknown_or_no_rows_tells_nothing() -> None:
    lookups = Lookups.of(["ids"])
    lookups.row("ids", 0, "rows of nothing")
    lookups.row("others", 5, "rows of words")
    assert lookups.told() == {}


TREE = {"nodes_modes": ["BRANCH_LEQ", "LEAF", "BRANCH_LEQ", "LEAF", "LEAF"]}


@pytest.mark.parametrize(
    ("kind", "held"),
    [
        ("TreeEnsembleClassifier", {**TREE, "nodes_values": [3.0, 90.0, 13.0, 0.0, 0.0]}),
        ("TreeEnsembleRegressor", {**TREE, "nodes_values_as_tensor": np.array([3.0, 90.0, 13.0, 0.0, 0.0])}),
        ("TreeEnsemble", {"nodes_splits": np.array([3.0, 13.0, 3e38, np.nan], np.float32)}),
    ],
)
def test_floats_are_told_from_the_thresholds_of_trees(kind: str, held: dict[str, object]) -> None:
    made = model("y = Identity(x)", inputs="float[n, 4] x, int64[n] ids")
    held = {key: numpy_helper.from_array(each) if isinstance(each, np.ndarray) else each for key, each in held.items()}
    made.graph.node[0].CopyFrom(helper.make_node(kind, ["x"], ["y"], domain="ai.onnx.ml", **held))
    assert found(made) == {"x": (2.0, 14.0, "thresholds of its trees")}
    assert read(made).special().numbers == {"x": (3.0, 13.0)}
    assert read(made).compared() == {}
    assert bounds_of("x", np.dtype("float32"), {}, told(made)["x"]).holds(13.9)
    assert bounds_of("x", np.dtype("int64"), {}, told(made)["x"]).high == 14


def test_a_tree_with_one_threshold_and_one_without() -> None:
    lookups = Lookups.of(["x", "n", "z"])
    lookups.split("x", np.array([5.0]))
    lookups.split("n", np.array([2.45]))
    lookups.split("z", np.array([]))
    told_of = lookups.told()
    assert {name: (each.low, each.high) for name, each in told_of.items()} == {
        "x": (4.5, 5.5),
        "n": (2.205, 2.6950000000000003),
    }
    assert str(bounds_of("n", np.dtype("uint8"), {}, told_of["n"])) == "2 to 3 (thresholds of its trees)"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("e = Equal(ids, five)", [Constant(5)]),
        ("e = Equal(five, ids)", [Constant(5)]),
        ("i = Cast<to = 6>(ids) e = Less(i, five)", [Constant(5, ordered=True)]),
        ("e = GreaterOrEqual(five, ids)", [Constant(5, ordered=True)]),
        ("some = Constant<value_ints = [3, 4]>() e = Equal(ids, some)", [Constant(3), Constant(4)]),
        ("i = Add(ids, five) e = Equal(i, five)", [Constant(0)]),
        ("e = ai.onnx.ml.OneHotEncoder<cats_int64s = [10, 20]>(ids)", [Constant(10), Constant(20)]),
        (
            f"{PICKED} f = Cast<to = 1>(i) e = {KEYS}(f)",
            [Constant(0.5)],
        ),
        ('e = ai.onnx.ml.LabelEncoder<keys_strings = ["a"], values_int64s = [1]>(ids)', []),
        ("i = Mul(ids, more) e = Equal(i, five)", []),
        # Neither a choice of the model's, nor infinity, nor what is computed from another input, too.
        ("many = Constant<value = int64[17] {0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,17}>() e = Equal(ids, many)", []),
        ("none = Constant<value_float = 3e38>() f = Cast<to = 1>(ids) e = Less(f, none)", []),
        ("e = Equal(ids, more)", []),
    ],
)
def test_what_an_input_is_compared_with_is_read(body: str, expected: list[Constant]) -> None:
    found = read(model(f"five = Constant<value = int64 {{5}}>() {body} y = Cast<to = 1>(e)")).compared()
    assert list(found.get("ids", ())) == expected


def constant(name: str, value: float, kind: str = "float") -> str:
    return f"{name} = Constant<value = {kind} {{{value}}}>()"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("m = Mul(a, x) e = Less(m, b)", {0.5: True}),
        ("s = Sub(a, x) n = Neg(s) e = Equal(n, b)", {6.0: True}),
        ("m = Div(x, b) e = Greater(m, a)", {8.0: True}),
        # Rounding decides on which side it is.
        ("m = Mul(x, third) e = Less(m, a)", {4 / float(np.float32(0.3)): False}),
        ("m = ReduceMax(x) y = Min(m, a)", {4.0: True}),
        ("y = Mod<fmod = 1>(x, a)", {4.0: True}),
        ("m = Mul(x, b) y = Round(m)", {each / 2: True for each in (0.5, 1.5, 2.5, -0.5, -1.5)}),
        ("m = Mul(x, third) y = Round(m)", {}),
        ("y = Floor(x)", {1.0: True, 2.0: True, -1.0: True}),
        ("s = Abs(x) m = ReduceMean(s) e = Less(m, a)", {4.0: False}),
        ("s = Mul(x, x) m = ReduceMean(s) r = Sqrt(m) d = Mul(r, b) e = Less(d, a)", {2.0: False}),
        ("s = Pow(x, b) t = Sub(s, b) e = Less(t, a)", {math.sqrt(6): False}),
        ("s = Pow(x, a) e = Less(s, b)", {}),
        ("s = Sigmoid(x) e = Less(s, third)", {math.log(float(np.float32(0.3)) / (1 - float(np.float32(0.3)))): False}),
        ("s = Sigmoid(x) e = Less(s, a)", {}),
        ("s = Exp(x) n = Neg(s) e = Less(n, a)", {}),
        ("s = Tanh(x) y = Round(s)", {}),
        ("s = Log(x) e = Less(s, a)", {math.exp(4): False}),
        ("s = Log(x) t = Log(s) e = Less(t, a)", {math.exp(math.exp(4)): False}),
        ("s = Log(x) t = Log(s) u = Log(t) e = Less(u, a)", {}),
    ],
)
def test_numbers_that_decide_on_what_is_computed_from_an_input_are_read(body: str, expected: dict[float, bool]) -> None:
    given = f"{constant('a', 4)} {constant('b', 2)} {constant('third', 0.3)} {body}"
    found = read(model(given if "y =" in body else f"{given} y = Cast<to = 1>(e)", "float[n, 4] x")).compared()
    assert {each.number: each.exact for each in found.get("x", ())} == expected


@pytest.mark.parametrize(
    ("body", "sizes"),
    [
        ("e = Equal(n, c)", (63, 64, 65)),
        ("m = Sub(n, two) e = Less(m, c)", (65, 66, 67)),
        ("h = Div(n, two) y = Min(h, c)", (127, 128, 129)),
        ("many = Mul(n, n) e = Equal(many, c)", ()),
    ],
)
def test_sizes_that_decide_are_read(body: str, sizes: tuple[int, ...]) -> None:
    given = f"{constant('c', 64, 'int64')} {constant('two', 2, 'int64')} {constant('first', 0, 'int64')} s = Shape(x)"
    found = read(model(f"{given} n = Gather(s, first) {body}", "float[n, 4] x"))
    assert found.special().sizes == sizes
    assert not found.special().numbers


def test_numbers_that_a_type_does_not_hold_are_special_but_not_compared() -> None:
    found = read(model("i = Cast<to = 6>(ids) y = Cast<to = 1>(more)"))
    assert found.special().numbers == {"ids": (2**31, -(2**31) - 1), "more": (2**24 + 1,)}
    assert not found.compared()


def test_what_only_one_graph_compares_with_is_beyond_the_other() -> None:
    one = Special(numbers={"x": (0.1, 3.0), "z": (1.0,)}, sizes=(63, 64))
    other = Special(numbers={"x": (float(np.float32(0.1)),), "y": (3.0,), "z": (1.0,)}, sizes=(64,))
    halfway = (3 + float(np.float32(0.1))) / 2
    assert one.beyond(other) == Special(numbers={"x": (3.0, halfway)}, sizes=(63,))
    assert one.beyond(Special()) == Special.of(one.numbers, one.sizes)
    assert not one.beyond(one)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("y = IsNaN(x)", [math.nan]),
        ("g = Identity(x) y = IsInf(g)", [math.inf, -math.inf]),
        ("g = Add(x, x) y = IsNaN(g)", []),
    ],
)
def test_tests_for_what_is_no_number_are_read(body: str, expected: list[float]) -> None:
    found = read(model(body, "float[n, 4] x")).compared()
    assert list(found.get("x", ())) == [Constant(number) for number in expected]


@pytest.mark.parametrize(("tracks", "expected"), [([0, 0, 0], False), ([1, 0, 0], True)])
def test_trees_that_send_missing_features_somewhere_test_for_them(tracks: list[int], expected: bool) -> None:
    made = model("y = IsNaN(x)", "float[n, 4] x")
    del made.graph.node[:]
    made.graph.node.append(
        helper.make_node(
            "TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", nodes_missing_value_tracks_true=tracks
        )
    )
    assert (Constant(math.nan) in read(made).compared().get("x", ())) is expected


@pytest.mark.parametrize("held", [{"replaced_value_float": math.nan}, {"replaced_value_int64": -9}, {}])
def test_what_an_imputer_replaces_is_tried(held: dict[str, float]) -> None:
    node = helper.make_node("Imputer", ["x"], ["y"], domain="ai.onnx.ml", **held)
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
    tried = read(helper.make_model(helper.make_graph([node], "g", [value], [result]))).compared().get("x", ())
    assert np.array_equal([each.number for each in tried], list(held.values()), equal_nan=True)
