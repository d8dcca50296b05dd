"""Faults that only some values show: planted in a converted model, found without the user's help.

Each planted model is right for the ordinary samples, and its honest twin passes.
"""

import re
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import load, numpy_helper, parser, save  # noqa: TID253 - makes the models

from tests.run.conftest import Sabotage

# The mean of what a mask selects; of nothing it's 0, and in the second one the mean of all.
NOBODY = """
    one = Constant<value_float = 1.0>() m = Cast<to = 1>(mask) k = Mul(x, m) s = ReduceSum(k, axis)
    c = ReduceSum(m, axis) d = Max(c, one) y = Div(s, d)"""
NOBODY_LOST = """
    half = Constant<value_float = 0.5>() m = Cast<to = 1>(mask) c = ReduceSum(m, axis) empty = Less(c, half)
    e = Cast<to = 1>(empty) w = Add(m, e) k = Mul(x, w) s = ReduceSum(k, axis) d = ReduceSum(w, axis) y = Div(s, d)"""

# A model's inputs and output, its configuration, its graph, what a converter makes of it, and the sample that shows it.
FAULTS = {
    "negative_clipped": (
        "(float[n, 40] x) => (float[n, 40] y)",
        "",
        "one = Constant<value_float = 1.0>() y = Add(x, one)",
        "one = Constant<value_float = 1.0>() positive = Relu(x) y = Add(positive, one)",
        "normal",
    ),
    "negative_clipped_beside_nan": (
        "(float[n, 40] x) => (float[n, 80] y)",
        "",
        "log = Log(x) y = Concat<axis = 1>(log, x)",
        "log = Log(x) positive = Relu(x) y = Concat<axis = 1>(log, positive)",
        "normal",
    ),
    "end_left_out": (
        "(float[n, 40] x) => (float[n, 40] y)",
        "value_ranges: {x: [-2, 2]}",
        "y = Tanh(x)",
        "two = Constant<value_float = 2.0>() less = Less(x, two) i = Cast<to = 1>(less) t = Tanh(x) y = Mul(t, i)",
        "random",
    ),
    "epsilon_lost": (
        "(float[n, 40] x) => (float[n, 40] y)",
        "value_ranges: {x: [-2, 2]}",
        "eps = Constant<value_float = 1e-8>() s = ReduceL2<axes = [1]>(x) d = Add(s, eps) y = Div(x, d)",
        "s = ReduceL2<axes = [1]>(x) y = Div(x, s)",
        "zeros",
    ),
    "bytes_signed": (
        "(uint8[n, 40] x) => (float[n, 40] y)",
        "",
        "y = Cast<to = 1>(x)",
        "signed = Cast<to = 3>(x) y = Cast<to = 1>(signed)",
        "",
    ),
    "counts_saturated": (
        "(int64[n, 40] x) => (float[n, 40] y)",
        "",
        "y = Cast<to = 1>(x)",
        "some = Cast<to = 9>(x) y = Cast<to = 1>(some)",
        "counts",
    ),
    "last_row_lost": (
        "(int64[n, 4] ids) => (float[n, 4, 2] y)",
        "",
        "y = Gather(words, ids)",
        "last = Constant<value_int = 997>() known = Min(ids, last) y = Gather(words, known)",
        "ends",
    ),
    "nobody_masked": (
        "(float[n, 40] x, bool[n, 40] mask) => (float[n, 1] y)",
        "value_ranges: {x: [1, 2]}",
        NOBODY,
        NOBODY_LOST,
        "masked",
    ),
}

# Two branches, of which no ordinary sample takes the first one.
BRANCHES = """
    y = If(chosen) <then_branch = a () => (float[n, 4] t) {{ t = {} }},
                    else_branch = b () => (float[n, 4] e) {{ e = {} }}>"""
EQUAL = "rate = Constant<value = int64 {16000}>() chosen = Equal(sr, rate) "
ABOVE = "most = Constant<value = int64 {512}>() chosen = Greater(size, most) "
WARM = "limit = Constant<value_float = 37.5>() chosen = GreaterOrEqual(heat, limit) "
PADDED = (
    "pad = Constant<value = int64 {5000}>() is = Equal(ids, pad) f = Cast<to = 1>(ids) z = Neg(f) y = Where(is, %s, f)"
)
FAULTS |= {
    f"{name}_{branch}": (
        f"(float[n, 4] x, {given}) => (float[n, 4] y)",
        "",
        condition + BRANCHES.format("Neg(x)", "Sqrt(x)"),
        condition + BRANCHES.format(*wrong),
        sample if branch == "then" else "",
    )
    for name, given, condition, sample in (
        ("rate", "int64 sr", EQUAL, "compared"),
        ("size", "int64[1] size", ABOVE, "compared"),
        ("heat", "float heat", WARM, "compared"),
    )
    for branch, wrong in (("then", ("Sqrt(x)", "Sqrt(x)")), ("else", ("Neg(x)", "Neg(x)")))
} | {
    "padding": ("(int64[n, 40] ids) => (float[n, 40] y)", "", PADDED % "z", PADDED % "f", "compared"),
}

# A branch that nothing else takes, and that needs more of its input than the other.
LONGER = (
    EQUAL
    + """
    three = Constant<value_ints = [1, 1, 3]>() many = Constant<value_ints = [1, 1, 24]>()
    short = ConstantOfShape<value = float[1] {0.5}>(three) long = ConstantOfShape<value = float[1] {0.5}>(many)
    y = If(chosen) <then_branch = a () => (float[n, 1, p] t) { c = Conv(x, long) t = %s(c) },
                    else_branch = b () => (float[n, 1, q] e) { e = Conv(x, short) }>"""
)
FAULTS["rate_of_longer"] = (
    "(float[n, 1, k] x, int64 sr) => (float[n, 1, m] y)",
    "",
    LONGER % "Neg",
    LONGER % "Identity",
    "compared",
)

SABOTAGE = """
import pathlib
import onnx.version_converter

convert_version = onnx.version_converter.convert_version

def sabotaged(model, opset):
    return onnx.load(pathlib.Path(__file__).with_name(f"{model.graph.name}.onnx")) if opset == 17 else (
        convert_version(model, opset))

onnx.version_converter.convert_version = sabotaged
"""


def write(path: Path, opset: int, signature: str, body: str) -> None:
    axis = " <int64[1] axis = {1}>" if "axis)" in body else ""
    graph = f"{path.stem} {signature}{axis} {{ {body} }}"
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {graph}')
    if "words" in body:
        model.graph.initializer.append(
            numpy_helper.from_array(np.arange(1998, dtype=np.float32).reshape(999, 2), "words")
        )
    save(model, path)


def test_faults_of_some_values_are_found_without_ranges_or_samples(
    convert: Any, project: Path, sabotage: Sabotage
) -> None:
    directory = sabotage(SABOTAGE)
    models = []
    for name, (signature, options, right, wrong, _) in FAULTS.items():
        write(project / f"{name}.onnx", 15, signature, right)
        write(directory / f"{name}.onnx", 17, signature, wrong)
        models.append(f"  - {{model_name: {name}, model_path: {name}.onnx{', ' * bool(options)}{options}}}\n")
    defaults = "target_formats: onnx\nonnx_opsets: [16, 17]\nmax_batch_size: 8\n"

    code, results = convert(f"defaults:\n{textwrap.indent(defaults, '  ')}models:\n{''.join(models)}")

    assert code == 1
    cells = {(each["model_name"], each["conversion"]): each for each in results["results"]}
    assert {key: each["status"]["state"] for key, each in cells.items()} == {
        (name, f"onnx_op{opset}"): state for name in FAULTS for opset, state in ((16, "passed"), (17, "mismatched"))
    }
    samples = {each["name"]: each["values"] for each in cells["last_row_lost", "onnx_op16"]["samples"]}
    assert samples["opt"] == {"ids": "0 to 998 (rows of words)"}
    assert "counts" not in samples
    for name, (*_, sample) in FAULTS.items():
        (comparison,) = cells[name, "onnx_op17"]["comparisons"]
        assert comparison["worst"]["sample"].startswith(sample), name


def test_probes_that_the_source_model_does_not_take_are_left_out_and_told(
    convert: Any, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(project / "logarithm.onnx", 15, "(float[n, 40] x) => (float[n, 40] y)", "y = Log(x)")
    write(
        project / "places.onnx",
        15,
        "(float[n, 40] x) => (int64[n, 40] y)",
        "three = Constant<value_float = 3.0>() four = Constant<value_ints = [7, 8, 9, 6]>() t = Mul(x, three)"
        " i = Cast<to = 7>(t) y = Gather(four, i)",
    )
    code, results = convert(
        """\
        defaults: {target_formats: onnx, onnx_opsets: 17, max_batch_size: 8}
        models:
          - {model_name: logarithm, model_path: logarithm.onnx}
          - {model_name: places, model_path: places.onnx}
        """
    )

    assert code == 0
    logarithm, places = results["results"]
    left_out = {each["name"]: each["unusable"] for each in logarithm["samples"]}
    assert left_out["min"] == left_out["opt"] == ""
    assert left_out["zeros"] == "infinity for 40 of 80 values of y"
    assert "infinity for" in left_out["ends"]
    assert left_out["normal"] == ""
    assert logarithm["comparisons"][0]["samples"] == sum(not each for each in left_out.values())
    told = capsys.readouterr().out
    assert "sample zeros was skipped: the source model returns infinity for 40 of 80 values of y" in told
    assert re.search(r"in sample normal, .* NaN for \d+ of 80 values of y, which aren't compared; set", told)
    refused = {each["name"]: each["refused"] for each in places["samples"]}
    assert "indices element out of data bounds" in refused["normal"]
    assert not any(text for name, text in refused.items() if name != "normal")


def test_probes_that_hang_on_the_order_of_equal_values_are_left_out(convert: Any, project: Path) -> None:
    """What topk returns for equal values isn't defined, and a row of zeros has nothing else."""
    top = "k = Constant<value_ints = [3]>() v, y = TopK(x, k)"
    write(project / "top.onnx", 15, "(float[n, 40] x) => (int64[n, 3] y)", top)
    # Nothing hangs on it here, neither at the zeros nor at the ends.
    write(project / "largest.onnx", 15, "(float[n, 40] x) => (float[n, 3] y)", top.replace("v, y", "y, i"))
    defaults = "{target_formats: onnx, onnx_opsets: 17, max_batch_size: 8}"
    models = "[{model_name: top, model_path: top.onnx}, {model_name: largest, model_path: largest.onnx}]"

    code, results = convert(f"defaults: {defaults}\nmodels: {models}\n")

    assert code == 0
    top_samples, largest_samples = (
        {each["name"]: each["unusable"] for each in result["samples"]} for result in results["results"]
    )
    said = "a value of y that depends on the order of equal ones (TopK)"
    assert {name: text for name, text in top_samples.items() if text} == {"ends": said, "zeros": said}
    assert not any(largest_samples.values())


def test_a_guessed_range_that_the_source_model_refuses_gives_way_to_0_and_1(
    convert: Any, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Classes, ten of them; what adds 0 isn't followed, so that only the dtype says something of the input.
    body = "zero = Constant<value = uint8 {0}>() c = Add(x, zero) i = Cast<to = 7>(c) y = Gather(digits, i)"
    digits = "digits = Constant<value_ints = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]>()"
    write(project / "classes.onnx", 15, "(uint8[n, 40] x) => (int64[n, 40] y)", f"{digits} {body}")
    text = "{model_name: classes, model_path: classes.onnx, target_formats: onnx, onnx_opsets: 17}"

    code, results = convert(text)

    assert code == 0
    told = "0 to 1 (not 0 to 255, which the source model can't run)"
    assert results["results"][0]["samples"][0]["values"] == {"x": told}
    assert f"classes: x: sampled from {told}; set value_ranges" in capsys.readouterr().out


def test_infinities_that_a_model_means_leave_no_sample_out(convert: Any, project: Path) -> None:
    write(
        project / "policy.onnx",
        15,
        "(float[n, 40] x, bool[n, 40] allowed) => (float[n, 40] y)",
        "zero = Constant<value_float = 0.0>() never = Log(zero) y = Where(allowed, x, never)",
    )
    _, results = convert("{model_name: policy, model_path: policy.onnx, target_formats: onnx, onnx_opsets: 17}")

    samples = results["results"][0]["samples"]
    assert {"ends", "zeros", "normal", "masked"} <= {each["name"] for each in samples}
    assert not any(each["unusable"] or each["refused"] for each in samples)


def test_a_source_model_that_gives_nan_alone_is_told_as_before(convert: Any, project: Path) -> None:
    write(project / "nothing.onnx", 15, "(float[n, 40] x) => (float[n, 40] y)", "z = Sub(x, x) y = Div(z, z)")
    code, results = convert("{model_name: nothing, model_path: nothing.onnx, target_formats: onnx, onnx_opsets: 17}")

    assert code == 1
    assert results["results"][0]["status"]["state"] == "mismatched"
    assert "the source model returns NaN" in results["results"][0]["comparisons"][0]["problem"]


def test_a_single_number_is_one_that_the_model_compares_it_with_if_it_refuses_others(
    convert: Any, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rate that belongs to one size, as in silero-vad: another one doesn't fit, and a branch stays unverified."""
    body = EQUAL + BRANCHES.format("Add(x, four)", "Add(x, three)").replace("n, 4", "n, m")
    write(project / "rates.onnx", 15, "(float[n, m] x, int64 sr) => (float[n, m] y)", body)
    model = load(project / "rates.onnx")
    for name, size in (("four", 4), ("three", 3)):
        model.graph.initializer.append(numpy_helper.from_array(np.ones((1, size), np.float32), name))
    save(model, project / "rates.onnx")

    code, results = convert(
        """\
        defaults: {target_formats: onnx, onnx_opsets: 17, min_shapes: {x: [1, 4]}, max_shapes: {x: [8, 4]}}
        models: [{model_name: rates, model_path: rates.onnx}]
        """
    )

    assert code == 0
    (result,) = results["results"]
    assert result["status"]["state"] == "passed"
    samples = {each["name"]: each["values"]["sr"] for each in result["samples"] if not each["refused"]}
    assert samples["opt"].startswith("16000 (with which it compares this input")
    (warning,) = result["warnings"]
    assert "no sample takes the else_branch of " in warning
    assert "sr: sampled from 16000" in capsys.readouterr().out


def test_a_column_is_a_category_that_its_encoder_knows_if_it_refuses_others(convert: Any, project: Path) -> None:
    """scikit-learn's OneHotEncoder knows no others by default."""
    model = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 3]> m (int64[n, 1] store) => (float[n, 1, 3] y)'
        " { y = ai.onnx.ml.OneHotEncoder<cats_int64s = [10, 20, 45], zeros = 0>(store) }"
    )
    save(model, project / "stores.onnx")

    code, results = convert("{model_name: stores, model_path: stores.onnx, target_formats: onnx}")

    assert code == 0
    (result,) = results["results"]
    samples = {each["name"]: each["values"]["store"] for each in result["samples"] if not each["refused"]}
    assert samples["opt"].startswith("10 (with which it compares this input")
    assert samples["compared"].startswith("20, 45, with which ")
    assert result["warnings"] == []


def test_columns_of_a_table_are_categories_that_their_encoders_know_if_it_refuses_others(
    convert: Any, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 3]>
        m (int64[n, 3] codes) => (float[n, 6] y) <int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}> {
            a = Gather<axis = 1>(codes, zero) b = Gather<axis = 1>(codes, two) c = Gather<axis = 1>(codes, one)
            d = ai.onnx.ml.OneHotEncoder<cats_int64s = [10, 20, 45], zeros = 0>(a)
            e = ai.onnx.ml.OneHotEncoder<cats_int64s = [7, 1000], zeros = 0>(b)
            f = Cast<to = 1>(c) g = Squeeze(d, one) h = Squeeze(e, one) y = Concat<axis = 1>(f, g, h)
        }"""
    )
    save(model, project / "codes.onnx")

    code, results = convert("{model_name: codes, model_path: codes.onnx, target_formats: onnx}")

    assert code == 0
    (result,) = results["results"]
    assert result["status"]["state"] == "passed"
    assert [each["name"] for each in result["samples"] if each["refused"]] == []
    assert result["warnings"] == []
    told = "but in columns 0, 2 numbers that the model looks up; the source model can't run others"
    assert told in capsys.readouterr().out


@pytest.mark.parametrize(("rate", "warned"), [(8000, ["then_branch"]), (16000, ["else_branch"])])
def test_a_branch_that_the_user_s_samples_do_not_take_is_named(
    convert: Any, project: Path, rate: int, warned: list[str]
) -> None:
    write(
        project / "rates.onnx",
        15,
        "(float[n, 4] x, int64 sr) => (float[n, 4] y)",
        EQUAL + BRANCHES.format("Neg(x)", "Sqrt(x)"),
    )
    for number in range(2):
        np.savez(project / f"{number}.npz", x=np.full((2, 4), number + 1, np.float32), sr=np.array(rate))
    _, results = convert(
        """\
        defaults: {target_formats: onnx, onnx_opsets: 17, samples: [0.npz, 1.npz]}
        models: [{model_name: rates, model_path: rates.onnx}]
        """
    )
    (result,) = results["results"]
    assert [each.split(" of ")[0].removeprefix("no sample takes the ") for each in result["warnings"]] == warned
