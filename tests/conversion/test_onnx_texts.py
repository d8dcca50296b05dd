"""Text as an input of ONNX models: what it may be, how it's run, and that whole runs verify it.

What a graph knows is found where skl2onnx writes it: in encoders behind columns that are taken apart and put together.
"""

import locale
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx  # noqa: TID253 - makes the models
import pytest
import yaml
from onnx import TensorProto, helper  # noqa: TID253

from navigator.cli import main
from navigator.frameworks.onnx import lookups
from navigator.records import Signature, TensorSpec
from navigator.runners import onnx as runner
from navigator.samples.values import ANY_TEXTS
from tests.support.text_models import COLORS, SIZES, WORDS, columns, sentences, table, text

NOTHING = Signature(inputs=(), outputs=())

Changes = Sequence[Mapping[str, Any]]


def load(model: onnx.ModelProto, path: Path) -> runner.OnnxModel:
    onnx.save(model, path)
    return runner.load(path, declared=NOTHING)


def texts(model: onnx.ModelProto) -> dict[str, list[tuple[str, ...]]]:
    return {name: [*map(tuple, told.texts)] for name, told in lookups.told(model).items()}


def read_by(*nodes: onnx.NodeProto, size: int | str = 1, constants: Mapping[str, np.ndarray] | None = None) -> Any:
    """Return what a model of one input of `size` columns knows of it."""
    held = [onnx.numpy_helper.from_array(each, name) for name, each in (constants or {}).items()]
    graph = helper.make_graph([*nodes], "m", [text("x", "n", size)], [text("y")], held)
    return texts(helper.make_model(graph)).get("x")


def encoder(value: str, *known: str) -> onnx.NodeProto:
    return helper.make_node("OneHotEncoder", [value], [f"{value}_out"], domain="ai.onnx.ml", cats_strings=known)


def test_each_input_is_what_its_encoder_knows() -> None:
    assert texts(columns()) == {"color": [COLORS], "size": [SIZES]}
    assert lookups.told(columns())["color"].why == "from OneHotEncoder"


def test_each_column_is_what_its_own_encoder_knows() -> None:
    assert texts(table()) == {"x": [COLORS, SIZES]}


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([helper.make_node("Split", ["x"], ["a", "b"], axis=1)], {}),
        (
            [
                helper.make_node("Gather", ["x", "swapped"], ["z"], axis=1),
                helper.make_node("Gather", ["z", "at0"], ["b"], axis=1),
                helper.make_node("Gather", ["z", "at1"], ["a"], axis=1),
            ],
            {"swapped": np.array([1, 0]), "at0": np.array([0]), "at1": np.array([1])},
        ),
        (
            [
                helper.make_node("Split", ["x"], ["p", "q"], axis=1),
                helper.make_node("Concat", ["q", "p"], ["z"], axis=1),
                helper.make_node("ArrayFeatureExtractor", ["z", "at0"], ["b"], domain="ai.onnx.ml"),
                helper.make_node("ArrayFeatureExtractor", ["z", "at1"], ["a"], domain="ai.onnx.ml"),
            ],
            {"at0": np.array([0]), "at1": np.array([1])},
        ),
    ],
    ids=["split", "gathered twice", "put together"],
)
def test_columns_are_followed(nodes: Sequence[onnx.NodeProto], constants: Mapping[str, np.ndarray]) -> None:
    found = read_by(*nodes, encoder("a", "red"), encoder("b", "S", "M"), size=2, constants=constants)
    assert found == [("red",), ("S", "M")]


def test_columns_that_are_mixed_are_what_any_encoder_knows() -> None:
    mixed = helper.make_node("Reshape", ["x", "shape"], ["a"])
    found = read_by(mixed, encoder("a", "red"), size=2, constants={"shape": np.array([-1])})
    assert found == [("red",), ("red",)]
    assert read_by(helper.make_node("Split", ["x"], ["a", "b"], axis=1), encoder("a", "red"), size=2) == [
        ("red",),
        ANY_TEXTS,
    ]


def test_texts_in_constants_and_numbers_are_known_too() -> None:
    compared = helper.make_node("Equal", ["x", "yes"], ["y"])
    assert read_by(compared, constants={"yes": np.array(["yes"], object)}) == [("yes",)]
    assert "2.5" in read_by(helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT))[0]
    assert read_by(helper.make_node("Cast", ["x"], ["y"], to=TensorProto.STRING)) is None


def test_all_words_and_pairs_are_in_texts_that_are_split() -> None:
    (found,) = texts(sentences())["text"]
    assert {word for each in found for word in each.split() if word in WORDS} == set(WORDS)
    for pair in ("bad film", "good film", "fine great"):
        assert any(pair in each for each in found)
    assert min(map(len, found)) < 12 < max(map(len, found))


def test_texts_of_many_words_are_few_and_long() -> None:
    words = [f"w{number}" for number in range(20_000)]
    nodes = [
        helper.make_node("Tokenizer", ["x"], ["z"], domain="com.microsoft", separators=[" "]),
        helper.make_node("TfIdfVectorizer", ["z"], ["y"], ngram_counts=[0], pool_strings=words),
    ]
    (found,) = read_by(*nodes)
    assert len({word for each in found for word in each.replace(",", "").split()} & set(words)) > 19_900
    assert len(found) < 150


def test_characters_are_joined_without_blanks() -> None:
    nodes = [
        helper.make_node("Tokenizer", ["x"], ["z"], domain="com.microsoft", tokenexp="."),
        helper.make_node("TfIdfVectorizer", ["z"], ["y"], ngram_counts=[0, 0], pool_strings=["a", "b", "b", "c"]),
    ]
    (found,) = read_by(*nodes)
    assert set("".join(found)) == set("abc")
    assert any("ab" in each for each in found)


def test_text_is_taken_in_fixed_width(tmp_path: Path) -> None:
    model = load(table(), tmp_path / "m.onnx")
    assert model.signature.inputs == (TensorSpec(name="x", shape=(-1, 2), dtype="string"),)
    found = model.infer({"x": np.array([["red", "XL"], ["", "Ü"], ["blue", "L"]])})["y"]
    assert found.tolist() == [[2, 3], [-1, -1], [0, 0]]


def _has(name: str) -> bool:
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, name)
    except locale.Error:
        return False
    finally:
        locale.setlocale(locale.LC_CTYPE, before)
    return True


def test_case_is_changed_where_a_language_is_not_installed(tmp_path: Path) -> None:
    assert not _has("xx_YY.UTF-8")
    made = sentences()
    made.graph.node[1].attribute.append(helper.make_attribute("locale", "xx_YY.UTF-8"))
    model = load(made, tmp_path / "m.onnx")
    one, other = model.infer({"text": np.array([["good film"], ["GOOD Film"]])})["y"]
    assert one == other != 0
    with model.perturbed() as again:
        assert np.allclose(again.infer({"text": np.array([["GOOD Film"]])})["y"], one, rtol=1e-5)
    (warning,) = model.properties.warnings
    assert warning.startswith("StringNormalizer needs the locale xx_YY.UTF-8, which isn't installed here")


# Whole runs

SABOTAGE = """
import pathlib
import onnx, onnx.version_converter

def sabotaged(model, opset):
    return onnx.load(pathlib.Path(__file__).with_name(f"{opset}.onnx"))

onnx.version_converter.convert_version = sabotaged
"""


@pytest.fixture
def states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that converts a model, whose conversions are others, and returns the results."""

    def run(source: onnx.ModelProto, *conversions: onnx.ModelProto) -> list[dict[str, Any]]:
        monkeypatch.chdir(tmp_path)
        onnx.save(source, tmp_path / "model.onnx")
        directory = tmp_path / "sabotage"
        directory.mkdir()
        (directory / "sitecustomize.py").write_text(textwrap.dedent(SABOTAGE))
        monkeypatch.setenv("PYTHONPATH", str(directory))
        opsets = [*range(14, 14 + len(conversions))]
        for opset, conversion in zip(opsets, conversions, strict=True):
            onnx.save(conversion, directory / f"{opset}.onnx")
        main(["convert", "model.onnx", "--target-formats", "onnx", "--onnx-opsets", *map(str, opsets)])
        report = yaml.safe_load((tmp_path / "navigator_workspace" / "convert_results.yaml").read_text())
        return list(report["results"])

    return run


def state(result: Mapping[str, Any]) -> str:
    return str(result["status"]["state"])


def at(make: Any, *changes: Mapping[str, Any]) -> list[onnx.ModelProto]:
    return [make(**{"opset": opset, **change}) for opset, change in enumerate(changes, 14)]


def test_columns_are_verified(states: Any) -> None:
    changes: Changes = (
        {},
        {"colors": ("blue", "red", "green")},
        {"scale": 1.001},
        {"colors": ("blue", "green", "redd")},
    )
    right, swapped, scaled, misspelt = states(columns(), *at(columns, *changes))

    assert state(right) == "passed"
    assert {each["name"]: each["values"]["color"] for each in right["samples"]}["opt"] == "3 texts (from OneHotEncoder)"
    # Other texts than those that it knows end a model that refuses them.
    refused = {each["name"]: each["refused"] for each in right["samples"] if each["refused"]}
    assert [*refused] == ["unknown"]
    assert "Unknown Category" in refused["unknown"]
    assert (state(swapped), state(scaled), state(misspelt)) == ("mismatched", "mismatched", "failed")


def test_texts_that_are_not_known_are_verified(states: Any) -> None:
    right, default, value = states(table(), *at(table, {}, {"default": -2}, {"values": (0, 1, 3)}))

    assert (state(right), state(default), state(value)) == ("passed", "mismatched", "mismatched")
    assert default["comparisons"][0]["worst"]["sample"] == "unknown"


def test_sentences_are_verified(states: Any) -> None:
    swapped = ("bad", "awful", *WORDS[2:])
    changes: Changes = (
        {},
        {"words": swapped},
        {"scale": 1.01},
        {"case": "NONE"},
        {"token": "[a-z]+"},
        {"token": "[a-z0-9]{2,}"},
    )
    right, *wrong = states(sentences(), *at(sentences, *changes))

    assert state(right) == "passed"
    assert [state(each) for each in wrong] == ["mismatched"] * len(wrong)


def test_own_samples_of_text_are_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(table(), tmp_path / "model.onnx")
    np.savez("one.npz", x=np.array([["red", "M"], ["pink", "S"]]))
    np.save("two.npy", np.array([["green", "XL"]]))

    main(["convert", "model.onnx", "--target-formats", "onnx", "--samples", "one.npz", "two.npy"])

    (result,) = yaml.safe_load((tmp_path / "navigator_workspace" / "convert_results.yaml").read_text())["results"]
    assert state(result) == "passed"
    assert [each["shapes"]["x"] for each in result["samples"]] == [[2, 2], [1, 2]]
    assert result["output_model"]["signature"]["inputs"] == [{"name": "x", "shape": [-1, 2], "dtype": "string"}]


def test_engines_are_made_of_the_part_behind_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(columns(), "model.onnx")

    main(["plan", "model.onnx", "--target-formats", "trt-rtx", "onnx", "--tensorrt-precisions", "fp32"])
    before = capsys.readouterr().out
    assert "reason: TensorRT computes with numbers only, and input color is text" in before
    assert "onnx.utils.extract_model" in before
    assert "1 conversion planned\n    onnx " in before

    onnx.utils.extract_model("model.onnx", "behind.onnx", ["colors", "sizes", "weight"], ["y"])
    main(["plan", "behind.onnx", "--target-formats", "trt-rtx", "onnx", "--tensorrt-precisions", "fp32"])
    assert "2 conversions planned" in capsys.readouterr().out
