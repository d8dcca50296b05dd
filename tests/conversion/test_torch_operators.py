"""torch's own samples of its operators through the exporters: what differs silently is listed, and nothing else is.

Once an operator is mended, here or in a newer version, its line in `differing_operators.yaml` fails the test.
"""

import math
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.support.differences import difference
from tests.support.operator_exports import EXPORTERS, sweep
from tests.support.operators import operators

LISTED: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "differing_operators.yaml").read_text())


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
