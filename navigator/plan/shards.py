"""Splits a run over several machines: which cells stay together, and the job matrix. Pure.

All cells of a model with the same first step are one unit, since they depend on each other. A machine without a GPU
that plans and GPU machines that convert must split a plan equally. They differ in states, intermediate cells and order,
so that only the steps of requested cells count.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from navigator.errors import ConfigurationError, NothingToDoError
from navigator.plan.select import part
from navigator.records import Cell, InvalidRecordError, Json, Plan, from_data

# The maximum number of jobs that GitHub starts from one matrix.
MOST_SHARDS = 256

# The matrix is an input of `report`, so an environment variable, which Linux limits to 128 KiB.
_MATRIX_CHARS = 120_000

_Unit = tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One job of the matrix. `conversions` are "<model>/<label>", None if the matrix was too long for them."""

    shard: str
    count: int
    name: str = ""
    conversions: tuple[str, ...] | None = None


def parse(shard: str) -> tuple[int, int]:
    """Return (3, 7) for "3/7".

    Raises:
        ConfigurationError: it is not a shard of at most 256.
    """
    found = re.fullmatch(r"([1-9][0-9]{0,2})/([1-9][0-9]{0,2})", shard)
    if not found or not int(found[1]) <= int(found[2]) <= MOST_SHARDS:
        raise ConfigurationError(
            f"shard {shard!r} is invalid",
            f"write, for example, 3/7 for the third of seven shards; there can be at most {MOST_SHARDS}",
        )
    return int(found[1]), int(found[2])


def shards(plan: Plan, count: int) -> tuple[Plan, ...]:
    """Return `plan` in `count` parts, the last ones empty if it has fewer units.

    Assigns units, the heaviest first, to the part with the least weight so far (longest processing time first: the
    heaviest part has at most 4/3 of the optimum). The weight of a unit is its number of different steps.
    """
    assigned = _assigned(plan, count)
    # The last one that is written counts: the first unit of each model.
    homes = {model: assigned[model, first] for model, first in sorted(assigned, reverse=True)}
    cut = []
    for index in range(count):
        kept = []
        for model in plan.models:
            name = model.config.model_name
            cells = tuple(each for each in model.conversions if _place(name, each, assigned, homes) == index)
            if cells:
                kept.append(part(model, cells))
        cut.append(Plan(models=tuple(kept)))
    return tuple(cut)


def choose(plan: Plan, shard: str) -> Plan:
    """Return the part of `plan` for `shard`; it has no models if there are fewer units than shards.

    Raises:
        ConfigurationError: `shard` is not of the form "3/7".
    """
    index, count = parse(shard)
    return shards(plan, count)[index - 1]


def part_of(plan: Plan, shard: str) -> Plan:
    """Return the part of `plan` for `shard`, as `choose`.

    Raises:
        ConfigurationError: `shard` is not of the form "3/7".
        NothingToDoError: the shard is empty.
    """
    chosen = choose(plan, shard)
    if not chosen.models:
        raise NothingToDoError(
            f"shard {shard} is empty: conversions that depend on each other stay in one shard",
            "use the shards that `model-navigator plan --matrix` prints for the same filters",
        )
    return chosen


def matrix(plan: Plan, max_shards: int) -> Json:
    """Return `plan` as the value of a job's `strategy.matrix` on GitHub.

    {"include": [{"shard": "1/3", "name": "resnet50, bert +1", "count": 12, "conversions": ["bert/onnx", ...]}]}.
    `conversions`, the requested ones, are omitted everywhere if the matrix would be too long.

    Raises:
        ConfigurationError: `max_shards` is not from 1 to 256.
    """
    if not 1 <= max_shards <= MOST_SHARDS:
        raise ConfigurationError(
            f"the maximum number of shards must be from 1 to {MOST_SHARDS}, not {max_shards}",
            "GitHub starts at most 256 jobs from one matrix",
        )
    count = max(1, min(len(_weights(plan)), max_shards))
    include = []
    for index, each in enumerate(shards(plan, count), 1):
        cells = [
            f"{model.config.model_name}/{cell.label}"
            for model in each.models
            for cell in model.conversions
            if not cell.intermediate
        ]
        include.append({"shard": f"{index}/{count}", "name": _name(each), "count": len(cells), "conversions": cells})
    if len(json.dumps({"include": include})) > _MATRIX_CHARS:
        include = [{key: value for key, value in each.items() if key != "conversions"} for each in include]
    return {"include": include}


def read_matrix(matrix: Json) -> tuple[Shard, ...]:
    """Return the jobs of a matrix from `matrix`, in order; ignores unknown keys.

    Raises:
        ConfigurationError: it is not such a matrix.
    """
    hint = "pass the output of `model-navigator plan --matrix`"
    if not isinstance(matrix, dict) or "include" not in matrix:
        raise ConfigurationError("not a job matrix: it has no `include`", hint)
    try:
        found = from_data(dict[str, tuple[Shard, ...]], {"include": matrix["include"]})["include"]
    except InvalidRecordError as error:
        raise ConfigurationError(f"not a job matrix: {error}", hint) from error
    if not found:
        raise ConfigurationError("not a job matrix: `include` is empty", hint)
    for each in found:
        parse(each.shard)
        for cell in each.conversions or ():
            if "/" not in cell:
                raise ConfigurationError(f"not a job matrix: conversion {cell!r} has no model name", hint)
    return tuple(sorted(found, key=lambda each: parse(each.shard)))


def _weights(plan: Plan) -> Mapping[_Unit, int]:
    """Return the number of different steps of each requested unit.

    Intermediate cells add no steps, so that it doesn't matter on which machines they are shown.
    """
    steps: dict[_Unit, set[str]] = {}
    for model in plan.models:
        for cell in model.conversions:
            if cell.steps and not cell.intermediate:
                steps.setdefault((model.config.model_name, cell.steps[0]), set()).update(cell.steps)
    return {unit: len(labels) for unit, labels in steps.items()}


def _assigned(plan: Plan, count: int) -> Mapping[_Unit, int]:
    """Return the part, from 0, of each unit."""
    weights = _weights(plan)
    loads = [0] * count
    assigned = {}
    for unit in sorted(weights, key=lambda each: (-weights[each], each)):
        assigned[unit] = min(range(count), key=lambda index: loads[index])
        loads[assigned[unit]] += weights[unit]
    return assigned


def _place(model: str, cell: Cell, assigned: Mapping[_Unit, int], homes: Mapping[str, int]) -> int:
    """Return the part of a cell. Cells without steps, or only on some machines, are with their model's first unit."""
    home = homes.get(model, 0)
    return assigned.get((model, cell.steps[0]), home) if cell.steps else home


def _name(plan: Plan) -> str:
    names = [model.config.model_name for model in plan.models]
    more = f" +{len(names) - 2}" if len(names) > 2 else ""
    return f"{', '.join(names[:2])}{more}"
