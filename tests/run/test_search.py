"""The search for a disagreement, in whole runs: it finds what no sample shows, and nothing where all is right."""

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.run.conftest import Sabotage
from tests.run.rare_errors import rare
from tests.run.test_planted import MODELS, SABOTAGE, SOURCE_OPSET, variants, write

# The opsets from the source's own in which the errors can be written.
OPSETS = (14, 15, 16, 17)

Results = dict[str, dict[str, Any]]


@pytest.fixture
def states(convert: Any, project: Path, sabotage: Sabotage) -> Any:
    """Return a function that converts a model whose conversions are some bodies, and returns the results by name."""

    def run(name: str, bodies: dict[str, str], search_seconds: float | str) -> Results:
        model = rare()[name, next(iter(bodies))][0] if (name, next(iter(bodies))) in rare() else MODELS[name]
        directory = sabotage(SABOTAGE)
        write(project / "model.onnx", SOURCE_OPSET, "model", model, f"{model.body} y = Identity(y0)")
        opsets = dict(zip(OPSETS, bodies, strict=False))
        for opset, body in zip(OPSETS, bodies.values(), strict=False):
            write(directory / f"model.{opset}.onnx", opset, "model", model, body)
        _, results = convert(
            f"""\
            defaults: {{target_formats: onnx, search_seconds: {search_seconds}}}
            models:
              - {{model_name: model, model_path: model.onnx, onnx_opsets: {list(opsets)}, {model.options}}}
            """
        )
        return {opsets[int(each["conversion"].removeprefix("onnx_op"))]: each for each in results["results"]}

    return run


def planted(name: str, *errors: str) -> dict[str, str]:
    return {error: rare()[name, error][2] for error in errors}


@pytest.mark.fault(
    "A conversion is wrong for values, sizes or combinations that no sample has",
    "The conversion is a mismatch if the search for one finds such inputs in its time (`search_seconds`).",
)
def test_errors_that_no_sample_shows_are_found(states: Any, project: Path) -> None:
    errors = ("one element above 0", "one element that isn't 0", "high mean", "two rows alike")
    bodies = planted("mlp", *errors)

    for error, found in states("mlp", bodies, 10).items():
        assert found["status"]["state"] == "mismatched", (error, found["status"])
        assert found["searched"]["sample"] == "found"
        assert found["searched"]["largest_error"] > 1
        assert found["samples"][-1]["name"] == "found"
        (comparison,) = found["comparisons"]
        assert comparison["worst"]["sample"] == "found", "all other samples match"
        assert any("no other sample shows this" in each for each in found["warnings"])
        (dump,) = project.rglob(f"*{found['conversion']}.comparator_inputs.json")
        saved = [base64.b64decode(each["x"]["array"]) for each in json.loads(dump.read_text())]
        assert list(np.load(io.BytesIO(saved[0])).shape) == found["samples"][-1]["shapes"]["x"]
        assert len(saved) == comparison["samples"]


def test_by_default_all_conversions_are_tried_on_other_inputs(states: Any) -> None:
    bodies = planted("mlp", "high mean", "low mean") | {"the same": f"{MODELS['mlp'].body} y = Identity(y0)"}

    found = states("mlp", bodies, "auto")

    assert {name: each["status"]["state"] for name, each in found.items()} == {
        "high mean": "mismatched",
        "low mean": "mismatched",
        "the same": "passed",
    }
    assert len({each["searched"]["inputs"] for each in found.values()}) == 1
    assert found["high mean"]["searched"]["sample"] == found["low mean"]["searched"]["sample"] == "found"
    assert found["the same"]["searched"]["largest_error"] <= 1


def test_numbers_that_only_a_conversion_compares_with_are_tried(states: Any) -> None:
    for error, found in states("mlp", planted("mlp", "one number", "one number of a sum"), "auto").items():
        assert found["status"]["state"] == "mismatched", error
        assert found["searched"]["sample"] == "found"


def test_nothing_is_searched_with_0_seconds(states: Any) -> None:
    (found,) = states("mlp", planted("mlp", "high mean"), 0).values()

    assert found["status"]["state"] == "passed", "no sample shows this"
    assert found["searched"] is None


def test_an_end_that_other_ends_hide_is_found(states: Any) -> None:
    (found,) = states("classifier", {"upper end": variants(MODELS["classifier"])["upper end"]}, 10).values()

    assert found["status"]["state"] == "mismatched"


def all_honest(states: Any, name: str, changes: Sequence[str], seconds: float) -> None:
    for found in states(name, {change: variants(MODELS[name])[change] for change in changes}, seconds).values():
        assert found["status"]["state"] == "passed"
        assert found["searched"]["inputs"] > 10
        assert found["searched"]["largest_error"] <= 1


def test_honest_rewrites_stay_without_an_alarm(states: Any) -> None:
    all_honest(states, "classifier", list(MODELS["classifier"].honest)[:2], 1)


@pytest.mark.nightly
@pytest.mark.parametrize("name", MODELS)
def test_no_honest_rewrite_is_an_alarm_in_a_long_search(states: Any, name: str) -> None:
    all_honest(states, name, list(MODELS[name].honest), 30)
