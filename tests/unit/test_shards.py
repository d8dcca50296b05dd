"""How a run is cut: completely, alike on every machine, in balance; and the job matrix as GitHub reads it."""

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navigator.errors import ConfigurationError, NothingToDoError
from navigator.plan.planner import plan
from navigator.plan.select import select
from navigator.plan.shards import choose, matrix, parse, part_of, read_matrix, shards
from navigator.records import (
    Format,
    ModelConfig,
    ModelPlan,
    Plan,
    Precision,
    PrecisionMode,
    RunConfig,
    State,
)
from tests.support.builders import FRAMEWORKS, TENSORRT, a_cell, a_gpu, a_host, a_model, a_plan

BARE = a_host()
WITH_GPU = a_host((*FRAMEWORKS, *TENSORRT), gpus=(a_gpu(),))
SOURCES = {Format.TORCHSCRIPT: "m.pt", Format.ONNX: "m.onnx", Format.TF_SAVEDMODEL: "m", Format.TORCH_EXPORT: "m.pt2"}


def branching(name: str, units: list[int], *, without_steps: int = 0) -> ModelPlan:
    """Return a model with so many cells below each first step: a/..., b/... Each is made from the one before."""
    cells = [
        a_cell("/".join((letter, *map(str, range(1, level + 1)))))
        for letter, depth in zip("abcdefgh", units, strict=False)
        for level in range(depth)
    ]
    cells += [a_cell(f"none{each}", target=Format.TRT, state=State.NOT_APPLICABLE) for each in range(without_steps)]
    return a_plan(*cells, config=a_model(Format.ONNX, model_name=name))


def keys(plan: Plan) -> list[tuple[str, str]]:
    return [(model.config.model_name, cell.label) for model in plan.models for cell in model.conversions]


def units(plan: Plan) -> set[tuple[str, str]]:
    return {
        (model.config.model_name, cell.steps[0]) for model in plan.models for cell in model.conversions if cell.steps
    }


MODELS = st.lists(st.tuples(st.lists(st.integers(1, 5), max_size=5), st.integers(0, 3)), min_size=1, max_size=4).map(
    lambda drawn: Plan(
        models=tuple(branching(f"m{index}", units, without_steps=rest) for index, (units, rest) in enumerate(drawn))
    )
)


@given(MODELS, st.integers(1, 12))
def test_shards_are_a_partition_in_the_plan_s_order(plan: Plan, count: int) -> None:
    cut = shards(plan, count)

    assert len(cut) == count
    assert sorted(key for each in cut for key in keys(each)) == sorted(keys(plan))
    for each in cut:
        assert keys(each) == [key for key in keys(plan) if key in set(keys(each))]
        assert all(model.conversions for model in each.models)


@given(MODELS, st.integers(1, 12))
def test_what_begins_with_the_same_step_stays_together(plan: Plan, count: int) -> None:
    cut = shards(plan, count)

    assert sum(len(units(each)) for each in cut) == len(units(plan))
    for model in plan.models:
        homes = [index for index, each in enumerate(cut) for name, _ in keys(each) if name == model.config.model_name]
        first = next((cell.steps[0] for cell in model.conversions if cell.steps), None)
        expected = next((index for index, each in enumerate(cut) if (model.config.model_name, first) in units(each)), 0)
        stepless = {
            index
            for index, each in enumerate(cut)
            for name, label in keys(each)
            if name == model.config.model_name and label.startswith("none")
        }
        assert stepless <= {expected}
        assert bool(homes) == bool(model.conversions)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=7), st.integers(1, 3))
def test_the_heaviest_shard_is_within_the_bound_of_the_best_possible(weights: list[int], count: int) -> None:
    """Graham 1969: longest processing time first is within 4/3 - 1/(3 m) of the optimum of m machines."""
    plan = Plan(models=tuple(branching(f"m{index}", [weight]) for index, weight in enumerate(weights)))

    heaviest = max(len(keys(each)) for each in shards(plan, count))

    best = min(
        max(sum(weight for weight, at in zip(weights, places, strict=True) if at == each) for each in range(count))
        for places in product(range(count), repeat=len(weights))
    )
    assert heaviest <= (4 / 3 - 1 / (3 * count)) * best + 1e-9


def test_shards_are_the_same_every_time_and_whatever_the_order_of_cells() -> None:
    plan = Plan(models=(branching("x", [2, 2, 2, 1]), branching("y", [2, 2], without_steps=2)))
    turned = Plan(models=tuple(replace(model, conversions=model.conversions[::-1]) for model in plan.models))

    assert [set(keys(each)) for each in shards(plan, 3)] == [set(keys(each)) for each in shards(turned, 3)]
    assert shards(plan, 3) == shards(plan, 3)


def config(name: str, source: Format, targets: tuple[Format, ...], mode: PrecisionMode) -> ModelConfig:
    return ModelConfig(
        model_name=name,
        model_path=Path("/r") / SOURCES[source],
        model_format=source,
        target_formats=targets,
        onnx_opsets=(13, 17, 18),
        tensorrt_precisions=(Precision.INT8, Precision.FP16, Precision.FP32),
        tensorrt_precisions_mode=mode,
    )


RUNS = st.builds(
    lambda drawn: RunConfig(models=tuple(config(f"m{index}", *each) for index, each in enumerate(drawn))),
    st.lists(
        st.tuples(
            st.sampled_from(list(SOURCES)),
            st.lists(st.sampled_from(list(Format)), min_size=1, max_size=4, unique=True).map(tuple),
            st.sampled_from(list(PrecisionMode)),
        ),
        min_size=1,
        max_size=3,
    ),
)
GLOBS = st.lists(
    st.sampled_from(["*", "onnx_op17", "*fp16*", "*trt*", "onnx_op1[37]", "*op18/*", "onnx", "onnx_op13/onnx_*"]),
    max_size=2,
)


@given(RUNS, GLOBS, st.integers(1, 6))
def test_a_machine_without_a_gpu_cuts_as_the_machines_that_convert_do(
    run: RunConfig, globs: list[str], count: int
) -> None:
    """The planner sees fewer cells, since those on the way show only where they can be made, and other states."""
    here, there = (
        [set(keys(each)) for each in shards(select(plan(run, host), conversions=globs), count)]
        for host in (BARE, WITH_GPU)
    )
    placed = {key: index for index, each in enumerate(there) for key in each}

    for index, each in enumerate(here):
        assert {placed[key] for key in each} <= {index}


def test_a_chosen_shard_has_the_steps_that_it_needs_and_no_other() -> None:
    run = RunConfig(models=(config("m", Format.TORCHSCRIPT, (Format.ONNX,), PrecisionMode.SINGLE),))
    whole = plan(run, WITH_GPU)

    parts = [choose(whole, f"{index}/3") for index in (1, 2, 3)]

    assert [[step.label for step in each.models[0].steps] for each in parts] == [
        ["onnx_op13"],
        ["onnx_op17"],
        ["onnx_op18"],
    ]
    assert [step.raise_from for step in whole.models[0].steps][1] == ("onnx_op13",)
    assert {step.raise_from for each in parts for step in each.models[0].steps} == {()}, "nothing there to raise from"
    assert choose(whole, "4/4").models == ()
    assert choose(whole, "1/1") == whole


def test_an_empty_shard_is_nothing_to_do() -> None:
    whole = Plan(models=(branching("m", [1]),))
    assert keys(part_of(whole, "1/2")) == keys(whole)
    with pytest.raises(NothingToDoError, match="shard 2/2 is empty"):
        part_of(whole, "2/2")


def test_a_shard_is_written_as_part_of_parts() -> None:
    assert parse("3/7") == (3, 7)
    assert parse("256/256") == (256, 256)


@pytest.mark.parametrize(
    "wrong", ["", "3", "0/7", "8/7", "3/257", "03/7", "3/7\n", " 3/7", "3 / 7", "-1/7", "3/7/9", "1\u0667/99"]
)
def test_another_shard_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(wrong)
    assert str(caught.value) == (
        f"shard {wrong!r} is invalid\n  write, for example, 3/7 for the third of seven shards; there can be at most 256"
    )


# The matrix ---------------------------------------------------------------------------------------------------------


def test_the_matrix_has_a_job_for_each_shard() -> None:
    plan = Plan(models=(branching("resnet50", [3]), branching("bert", [1]), branching("gpt", [1], without_steps=1)))

    assert matrix(plan, 2) == {
        "include": [
            {
                "shard": "1/2",
                "name": "resnet50",
                "count": 3,
                "conversions": ["resnet50/a", "resnet50/a/1", "resnet50/a/1/2"],
            },
            {"shard": "2/2", "name": "bert, gpt", "count": 3, "conversions": ["bert/a", "gpt/a", "gpt/none0"]},
        ]
    }
    assert [each["name"] for each in matrix(plan, 1)["include"]] == ["resnet50, bert +1"]


@given(MODELS, st.integers(1, 256))
def test_no_job_is_without_work_and_there_are_as_many_as_help(plan: Plan, most: int) -> None:
    jobs = matrix(plan, most)["include"]

    assert len(jobs) == max(1, min(len(units(plan)), most))
    assert len(jobs) == 1 or all(each["count"] for each in jobs)
    assert [each["shard"] for each in jobs] == [f"{index}/{len(jobs)}" for index in range(1, len(jobs) + 1)]
    for job in jobs:
        assert job["conversions"] == [f"{name}/{label}" for name, label in keys(choose(plan, job["shard"]))]
        assert job["count"] == len(job["conversions"])


def test_what_only_shows_where_it_can_be_made_is_not_planned() -> None:
    run = RunConfig(models=(config("m", Format.ONNX, (Format.TRT,), PrecisionMode.SINGLE),))

    assert matrix(plan(run, BARE), 8) == matrix(plan(run, WITH_GPU), 8)
    assert any(cell.intermediate for cell in plan(run, WITH_GPU).models[0].conversions)


def test_a_long_matrix_keeps_its_counts_and_stays_below_what_a_variable_can_hold() -> None:
    plan = Plan(models=tuple(branching(f"{'m' * 90}{index}", [5] * 8) for index in range(300)))

    jobs = matrix(plan, 256)

    assert len(json.dumps(jobs)) <= 120_000
    assert len(jobs["include"]) == 256
    assert sum(each["count"] for each in jobs["include"]) == 300 * 40
    assert not any("conversions" in each for each in jobs["include"])
    assert {each.conversions for each in read_matrix(jobs)} == {None}
    few = Plan(models=plan.models[:20])
    assert 60_000 < len(json.dumps(matrix(few, 256))) <= 120_000
    assert all("conversions" in each for each in matrix(few, 256)["include"])


@pytest.mark.parametrize("most", [0, -1, 257])
def test_github_starts_from_1_to_256_jobs(most: int) -> None:
    with pytest.raises(ConfigurationError, match=f"the maximum number of shards must be from 1 to 256, not {most}"):
        matrix(Plan(models=(branching("m", [1]),)), most)


def test_a_matrix_comes_back_in_order_with_what_a_user_added() -> None:
    jobs = {
        "include": [{"shard": "10/10", "count": 1, "runner": "gpu"}, {"shard": "9/10", "count": 0, "conversions": []}]
    }

    assert [(each.shard, each.count, each.conversions) for each in read_matrix(jobs)] == [
        ("9/10", 0, ()),
        ("10/10", 1, None),
    ]


@pytest.mark.parametrize(
    ("jobs", "said"),
    [
        (None, "not a job matrix: it has no `include`"),
        ([], "not a job matrix: it has no `include`"),
        ({}, "not a job matrix: it has no `include`"),
        ({"include": []}, "not a job matrix: `include` is empty"),
        ({"include": [{"count": 1}]}, "missing required field `shard`"),
        ({"include": [{"shard": "1/1", "count": 1, "conversions": "all"}]}, "Expected `array | null`, got `str`"),
        ({"include": [{"shard": "x", "count": 1}]}, "shard 'x' is invalid"),
        ({"include": [{"shard": "1/1", "count": 1, "conversions": ["onnx"]}]}, "conversion 'onnx' has no model name"),
    ],
)
def test_what_is_no_matrix_is_said(jobs: object, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_matrix(jobs)
    assert said in caught.value.message
