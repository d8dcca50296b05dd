"""torch's own samples of its operators through the exporters: what differs silently is listed, and nothing else is.

Once an operator is mended, here or in a newer version, its line in `differing_operators.yaml` fails the test.
"""

import math
import os
import warnings
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
import torch  # noqa: TID253 - makes the models
import torch.nn.functional as F  # noqa: N812, TID253
import yaml

from navigator.frameworks.torch import calls, differing
from navigator.records import TensorSpec
from tests.support.differences import difference
from tests.support.operator_exports import EXPORTERS, sweep
from tests.support.operators import operators

LISTED: dict[str, Any] = yaml.safe_load(differing.PATH.read_text())


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("exporter", EXPORTERS)
def test_operators_differ_only_where_that_is_known(exporter: str) -> None:
    installed = {name: ".".join(version(name).split("+")[0].split(".")[:2]) for name in LISTED["versions"]}
    names = LISTED["compared"].get(exporter) or [*operators()]
    found = sweep(exporter, names, len(os.sched_getaffinity(0)))
    differing = {name: each["differences"][0] for name, each in found.items() if each["differences"]}
    same = {name for name, each in found.items() if each["counts"].get("same")}
    listed = LISTED[exporter].keys()
    assert len(same) > len(found) / 3
    assert installed == LISTED["versions"]
    assert {name: text for name, text in differing.items() if name not in listed} == {}
    assert [name for name in listed if name not in differing] == []


def test_a_few_operators_differ_only_where_that_is_known() -> None:
    pytest.importorskip("expecttest", reason="torch's samples of operators need expecttest")
    found = sweep("torchscript", ["floor_divide", "atan2", "addcmul"], 1)
    assert [name for name, each in found.items() if each["differences"]] == ["addcmul"]
    assert found["addcmul"]["differences"][0].endswith("own: float32[1] instead of float32[]")
    assert all(each["counts"]["same"] > 20 for each in found.values())


@pytest.mark.parametrize(
    ("dtype", "expected", "actual", "text"),
    [
        ("float32", [1, 2], [1, 2.001], ""),
        ("float32", [1, 2], [1, 2.5], "1 of 2 differ, such as 2.5 instead of 2.0"),
        ("float32", [math.nan, math.inf], [0, math.inf], ""),
        ("float32", [1, -math.inf], [1, math.inf], "1 of 2 differ, such as inf instead of -inf"),
        ("float32", [1], [math.nan], "1 of 1 differ, such as nan instead of 1.0"),
        ("int64", [7], [8], "1 of 1 differ, such as 8 instead of 7"),
        ("float32", 7, [7], "float32[1] instead of float32[]"),
    ],
)
def test_differences_are_told(dtype: str, expected: Any, actual: Any, text: str) -> None:
    one, other = np.array(expected, dtype), np.array(actual, dtype)
    assert difference(one, other, np.zeros(one.shape)) == text


def test_another_type_is_a_difference() -> None:
    assert difference(np.zeros(1, np.int64), np.zeros(1), np.zeros(1)) == "float64[1] instead of int64[1]"


def test_what_the_last_bit_of_an_input_changes_is_none() -> None:
    assert difference(np.full(1, 3.0), np.full(1, 2.0), np.ones(1)) == ""


def noted(function: Any, inputs: list[torch.Tensor], exporter: str) -> tuple[str, ...]:
    """Return what is noted on a function that is traced or exported."""
    specs = [
        TensorSpec(name=f"x{index}", shape=tuple(each.shape), dtype=str(each.dtype).removeprefix("torch."))
        for index, each in enumerate(inputs)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if exporter == "torchscript":
            return differing.notes([*calls.of_script(torch.jit.trace(function, inputs))], specs, exporter)

        class Module(torch.nn.Module):  # type: ignore[misc] # torch is untyped here
            def forward(self, *given: torch.Tensor) -> torch.Tensor:
                return function(*given)

        return differing.notes([*calls.of_program(torch.export.export(Module(), tuple(inputs)))], specs, exporter)


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize(
    ("function", "dtype", "listed"),
    [
        (lambda x: x**3, "float32", ""),
        (lambda x: x**3, "int32", "aten::pow (whole numbers that overflow)"),
        (lambda x: x**3.0, "int32", ""),
        (lambda x: 2.0**x, "int32", ""),
        (lambda x: x + 3, "int64", ""),
    ],
)
def test_models_with_a_differing_operator_are_noted_where_their_inputs_may_show_it(
    exporter: str, function: Any, dtype: str, listed: str
) -> None:
    notes = noted(function, [torch.ones(2, 3, dtype=getattr(torch, dtype))], exporter)
    assert len(notes) == bool(listed)
    assert all(listed in note and "torch 2.13" in note for note in notes)


def test_only_the_kind_of_call_that_differs_is_noted() -> None:
    x = torch.ones(1, 2, 8)
    plain = noted(lambda x: F.pad(x, (1, 1), mode="circular"), [x], "torchscript")
    assert plain == ()
    (negative,) = noted(lambda x: F.pad(x, (2, -1), mode="circular"), [x], "torchscript")
    assert "aten::pad (negative padding takes more than it should)" in negative
    scalar = noted(lambda x: torch.addcmul(x, x, x), [torch.tensor(2.0)], "torchscript")
    assert "a scalar becomes a vector" in scalar[0]


def test_a_power_of_floats_is_not_noted_where_the_graph_tells_types() -> None:
    """Inputs of whole numbers, as those of language models, say nothing of what is computed from them."""
    assert noted(lambda ids: (ids / 2) ** 2, [torch.ones(2, 3, dtype=torch.int64)], "torch-export") == ()


def test_other_versions_are_not_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(differing, "version", lambda _: "1.0")
    assert noted(lambda x: x**3, [torch.ones(2, dtype=torch.int32)], "torchscript") == ()


def test_every_listed_operator_is_one_of_a_graph() -> None:
    for exporter in EXPORTERS:
        for name in LISTED[exporter]:
            for each in LISTED["operators"].get(name, [f"aten::{name}"]):
                assert hasattr(torch.ops.aten, each.removeprefix("aten::")), name
    listed = {*LISTED["torchscript"], *LISTED["torch-export"]}
    assert {*LISTED["operators"], *LISTED["only_for"]} <= listed
