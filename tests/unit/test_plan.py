from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navigator.plan import configurations, opsets_of, plan, reachable, select
from navigator.records import (
    Format,
    Host,
    ModelConfig,
    ModelPlan,
    Precision,
    PrecisionMode,
    RunConfig,
    State,
)

VERSIONS = dict.fromkeys(
    ("torch", "tensorflow", "tf-keras", "tf2onnx", "onnx", "onnxruntime", "onnxscript", "numpy"), "1.0"
)
HOST = Host(python="3.11", system="Linux", cpu="cpu", cpu_count=2, memory_bytes=2**34, versions=VERSIONS)
BARE = Host(python="3.11", system="Linux", cpu="cpu", cpu_count=2, memory_bytes=2**34)

PATHS = {
    Format.TF_SAVEDMODEL: "m.savedmodel",
    Format.TORCHSCRIPT: "m.pt",
    Format.TORCH_EXPORT: "m.pt2",
    Format.ONNX: "m.onnx",
}


def model(source: Format = Format.TORCHSCRIPT, given: Sequence[str] = (), **keys: object) -> ModelConfig:
    return ModelConfig(
        model_name="m",
        model_path=Path("/r") / PATHS[source],
        model_format=source,
        given=(*given, *keys),
        **keys,  # type: ignore[arg-type]
    )


def planned(config: ModelConfig, host: Host = HOST) -> ModelPlan:
    return plan(RunConfig(models=(config,)), host).models[0]


@pytest.mark.parametrize(
    ("opsets", "mode", "count"),
    [
        ((14,), PrecisionMode.HIERARCHY, 9),
        ((13, 14), PrecisionMode.HIERARCHY, 14),
        ((13, 14), PrecisionMode.MIXED, 22),
    ],
)
def test_matrix_has_the_documented_number_of_configurations(
    opsets: tuple[int, ...], mode: PrecisionMode, count: int
) -> None:
    config = model(onnx_opsets=opsets, tensorrt_precisions_mode=mode)

    assert count == len(list(configurations(config, opsets)))


def test_every_configuration_is_a_cell_or_is_merged_into_one() -> None:
    config = model(onnx_opsets=(13, 14), tensorrt_precisions_mode=PrecisionMode.MIXED)

    cells = planned(config).cells

    assert sum(1 + cell.merged for cell in cells) == 22
    assert len(cells) == len({cell.label for cell in cells})


def test_fp32_has_nothing_to_fall_back_to_so_mixed_merges_it() -> None:
    config = model(
        Format.ONNX,
        target_formats=(Format.TRT,),
        tensorrt_precisions=(Precision.FP16, Precision.FP32),
        tensorrt_precisions_mode=PrecisionMode.MIXED,
    )

    cells = planned(config).cells

    assert [cell.label for cell in cells] == ["trt_fp16_hierarchy", "trt_fp32", "trt_fp16_single"]
    assert [cell.merged for cell in cells] == [0, 1, 0]


def test_cells_keep_the_order_formats_opsets_modes_precisions() -> None:
    labels = [cell.label for cell in planned(model(onnx_opsets=(17, 13))).cells]

    assert labels == [
        "tf-trt_fp16",
        "tf-trt_fp32",
        "tf-savedmodel",
        "onnx_op17",
        "onnx_op13",
        "onnx_op17/trt_fp16_hierarchy",
        "onnx_op17/trt_fp32",
        "onnx_op13/trt_fp16_hierarchy",
        "onnx_op13/trt_fp32",
        "torchscript",
        "torch-trt_fp16_hierarchy",
        "torch-trt_fp32",
    ]


def test_an_inapplicable_cell_says_why_and_what_can_be_made() -> None:
    cell = next(cell for cell in planned(model()).cells if cell.label == "tf-savedmodel")

    assert State.NOT_APPLICABLE is cell.state
    assert cell.reason == "no conversion leads from torchscript to tf-savedmodel"
    assert cell.remedy == "from torchscript these can be made: torchscript, onnx, torch-trt, trt, trt-rtx"


def test_engines_are_planned_and_unavailable_with_a_reason_and_a_remedy() -> None:
    cell = next(cell for cell in planned(model()).cells if cell.label == "onnx_op14/trt_fp32")

    assert State.UNAVAILABLE is cell.state
    assert cell.steps == ("onnx_op14", "onnx_op14/trt_fp32")
    assert "trt engines are planned but not built by this version" in cell.reason
    assert "an NVIDIA GPU" in cell.reason
    assert cell.remedy


def test_a_model_that_is_served_on_the_cpu_only_needs_no_engine() -> None:
    config = model(Format.ONNX, engine_count_per_device={"cpu": 2})

    found = {cell.label: cell for cell in planned(config).cells}

    assert found["onnx"].state is None
    assert found["trt_fp32"].state is State.NOT_APPLICABLE
    assert found["trt_fp32"].reason == "trt needs a GPU, and engine_count_per_device names only the CPU"


def test_a_missing_framework_names_the_extra_that_brings_it() -> None:
    cell = next(cell for cell in planned(model(Format.TF_SAVEDMODEL), BARE).cells if cell.label == "onnx_op14")

    assert State.UNAVAILABLE is cell.state
    assert "tensorflow" in cell.reason
    assert cell.remedy == "pip install 'model-navigator[tensorflow]'"


def test_exports_are_raised_from_every_lower_opset_lowest_first() -> None:
    steps = {step.label: step for step in planned(model(onnx_opsets=(17, 13, 15))).steps}

    assert steps["onnx_op13"].raise_from == ()
    assert steps["onnx_op15"].raise_from == ("onnx_op13",)
    assert steps["onnx_op17"].raise_from == ("onnx_op13", "onnx_op15")


def test_an_onnx_source_keeps_its_opset_unless_the_user_names_others() -> None:
    assert opsets_of(model(Format.ONNX)) == (None,)
    assert "onnx" in [cell.label for cell in planned(model(Format.ONNX)).cells]
    assert opsets_of(model(Format.ONNX, onnx_opsets=(17,))) == (17,)


def test_an_onnx_source_at_other_opsets_feeds_the_engines() -> None:
    config = model(Format.ONNX, target_formats=(Format.TRT,), onnx_opsets=(17,))

    assert planned(config).cells[1].steps == ("onnx_op17", "onnx_op17/trt_fp32")


def test_torch_export_starts_at_the_opset_that_its_exporter_writes() -> None:
    assert opsets_of(model(Format.TORCH_EXPORT)) == (18,)
    assert opsets_of(model(Format.TORCH_EXPORT, onnx_opsets=(14,))) == (14,)


def test_steps_of_cells_that_cannot_run_are_not_run() -> None:
    config = model(target_formats=(Format.TRT, Format.TORCHSCRIPT))

    assert [step.label for step in planned(config).steps] == ["torchscript"]


def test_filters_keep_the_matching_cells_and_the_steps_they_need() -> None:
    whole = plan(RunConfig(models=(model(onnx_opsets=(13, 14)),)), HOST)

    chosen = select(whole, cells=("onnx_op14",)).models[0]

    assert [cell.label for cell in chosen.cells] == ["onnx_op14"]
    assert [(step.label, step.raise_from) for step in chosen.steps] == [("onnx_op14", ())]
    assert select(whole, models=("other*",)).models == ()
    assert whole == select(whole, models=("m",))


def test_only_formats_that_the_user_wrote_are_requested() -> None:
    assert not any(cell.requested for cell in planned(model()).cells)
    assert all(cell.requested for cell in planned(model(target_formats=(Format.ONNX,))).cells)


def test_an_engine_as_the_source_is_refused_with_a_sentence() -> None:
    config = ModelConfig(model_name="m", model_path=Path("/r/m.plan"), model_format=Format.TRT)

    assert {State.NOT_APPLICABLE} == {cell.state for cell in planned(config).cells}
    assert reachable(Format.TRT) == ()


@given(
    source=st.sampled_from(list(PATHS)),
    formats=st.lists(st.sampled_from(list(Format)), min_size=1, max_size=6),
    opsets=st.lists(st.integers(7, 26), min_size=1, max_size=4),
    precisions=st.lists(st.sampled_from(list(Precision)), min_size=1, max_size=3),
    mode=st.sampled_from(list(PrecisionMode)),
)
def test_any_matrix_gives_a_tree_with_parents_first(
    source: Format,
    formats: list[Format],
    opsets: list[int],
    precisions: list[Precision],
    mode: PrecisionMode,
) -> None:
    config = model(
        source,
        target_formats=tuple(formats),
        onnx_opsets=tuple(opsets),
        tensorrt_precisions=tuple(precisions),
        tensorrt_precisions_mode=mode,
    )
    found = planned(config)

    assert found == planned(config)
    assert len(list(configurations(config, opsets))) == sum(1 + cell.merged for cell in found.cells)
    seen: list[str] = []
    for step in found.steps:
        assert step.parent is None or step.parent in seen
        assert set(step.raise_from) <= set(seen)
        seen.append(step.label)
    assert len(seen) == len(set(seen))
    for cell in found.cells:
        assert (cell.state is None) == bool(cell.steps and set(cell.steps) <= set(seen))
        assert cell.state is None or (cell.reason and cell.remedy)
