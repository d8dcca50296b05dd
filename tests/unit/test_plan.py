import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navigator.converters import onnx_to_typed_onnx
from navigator.engine.results import cell_results
from navigator.errors import ConfigurationError, NothingToDoError
from navigator.plan.matrix import configurations
from navigator.plan.placement import needs_docker
from navigator.plan.planner import notes_of, plan
from navigator.plan.routes import reachable, steps_to
from navigator.plan.select import chosen, select
from navigator.records import (
    Configuration,
    EngineOptions,
    Format,
    Host,
    LaunchMode,
    ModelConfig,
    ModelPlan,
    Precision,
    PrecisionMode,
    RunConfig,
    State,
    Step,
)
from navigator.render.plan import plan_text
from navigator.report.report import build
from navigator.report.summary import summarize
from navigator.runners import RUNNERS
from navigator.runners.trt import TrtOptions
from tests.support.builders import FRAMEWORKS, PATHS, TENSORRT, a_gpu, a_host, a_model

# Engines of TensorRT for RTX are built without a GPU.
HOST = a_host((*FRAMEWORKS, "tensorrt-rtx-cu13", "polygraphy"))
ON_A_GPU = a_host((*FRAMEWORKS, *TENSORRT), gpus=(a_gpu(),))
BARE = a_host()


def planned(config: ModelConfig, host: Host = HOST) -> ModelPlan:
    return plan(RunConfig(models=(config,)), host).models[0]


def a_script(tmp_path: Path, line: str, **options: Any) -> ModelConfig:
    """Return a TorchScript model whose code has this line, as far as it's read without torch."""
    path = tmp_path / "m.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/code/__torch__.py", f"def forward(self, x: Tensor) -> Tensor:\n  return {line}\n")
    return a_model(Format.TORCHSCRIPT, model_path=path, **options)


def onnx_labels(config: ModelConfig) -> dict[str, int | None]:
    cells = planned(config).conversions
    return {each.label: each.configuration.onnx_opset for each in cells if each.configuration.target_format == "onnx"}


def tf32(step: Step) -> bool:
    assert isinstance(step.options, EngineOptions)
    return step.options.tf32


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
    config = a_model(onnx_opsets=opsets, tensorrt_precisions_mode=mode)

    assert count == len(list(configurations(config)))


def test_every_configuration_is_a_cell_or_is_merged_into_one() -> None:
    config = a_model(onnx_opsets=(13, 14), tensorrt_precisions_mode=PrecisionMode.MIXED)

    cells = planned(config).conversions

    assert sum(1 + cell.merged for cell in cells) == 22
    assert len(cells) == len({cell.label for cell in cells})


def test_fp32_has_nothing_to_fall_back_to_so_mixed_merges_it() -> None:
    config = a_model(
        Format.ONNX,
        target_formats=(Format.TRT,),
        tensorrt_precisions=(Precision.FP16, Precision.FP32),
        tensorrt_precisions_mode=PrecisionMode.MIXED,
    )

    cells = planned(config).conversions

    assert [(cell.label, cell.merged) for cell in cells] == [
        ("onnx_fp16/trt_fp16_hierarchy", 0),
        ("trt_fp32", 1),
        ("onnx_fp16/trt_fp16_single", 0),
    ]


def test_a_precision_is_a_step_of_its_own_that_engines_share() -> None:
    config = a_model(
        target_formats=(Format.TRT, Format.TRT_RTX),
        onnx_opsets=(17,),
        tensorrt_precisions=(Precision.INT8, Precision.FP16, Precision.FP32),
        tensorrt_precisions_mode=PrecisionMode.MIXED,
    )

    found = planned(config, ON_A_GPU)

    typed = {step.label: step.options for step in found.steps if step.converter == "onnx_to_typed_onnx"}
    int8 = onnx_to_typed_onnx.Options(precision=Precision.INT8, random_samples=True)
    assert typed == {
        "onnx_op17/onnx_int8_hierarchy": int8,
        "onnx_op17/onnx_fp16": onnx_to_typed_onnx.Options(precision=Precision.FP16),
        "onnx_op17/onnx_int8_single": replace(int8, precision_mode=PrecisionMode.SINGLE),
    }
    engines = {step.label: step for step in found.steps if step.target_format is Format.TRT}
    assert {label: (step.parent, step.precision, tf32(step)) for label, step in engines.items()} == {
        "onnx_op17/onnx_int8_hierarchy/trt_int8_hierarchy": ("onnx_op17/onnx_int8_hierarchy", "int8", True),
        "onnx_op17/onnx_fp16/trt_fp16_hierarchy": ("onnx_op17/onnx_fp16", "fp16", True),
        "onnx_op17/trt_fp32": ("onnx_op17", "fp32", False),
        "onnx_op17/onnx_int8_single/trt_int8_single": ("onnx_op17/onnx_int8_single", "int8", False),
        "onnx_op17/onnx_fp16/trt_fp16_single": ("onnx_op17/onnx_fp16", "fp16", False),
    }
    # What engines are made from is shown too: what goes wrong there is said there.
    assert [cell.label for cell in found.conversions if cell.intermediate] == ["onnx_op17", *typed]
    assert all(cell.requested for cell in found.conversions)


def test_every_option_of_an_engine_is_its_own() -> None:
    config = a_model(
        Format.ONNX,
        target_formats=(Format.TRT_RTX,),
        tensorrt_precisions=(Precision.FP32,),
        tensorrt_sparse_weights=True,
        tensorrt_max_workspace_size=7,
        tensorrt_plugins=(Path("/p.so"),),
        tensorrt_rtx_compute_capabilities=("8.9",),
    )

    options = planned(config, ON_A_GPU).steps[0].options
    assert options == TrtOptions(
        precision=Precision.FP32,
        max_workspace_size=7,
        sparse_weights=True,
        plugins=(Path("/p.so"),),
        compute_capabilities=("8.9",),
    )
    assert options.files == (Path("/p.so"),)


def test_what_an_artifact_is_verified_on_follows_from_the_machine() -> None:
    config = a_model(
        target_formats=(Format.ONNX, Format.TORCHSCRIPT, Format.TRT_RTX), tensorrt_precisions=(Precision.FP32,)
    )

    def devices(host: Host, config: ModelConfig = config) -> dict[str, tuple[tuple[str, ...], str]]:
        return {step.label: (step.devices, step.unrunnable) for step in planned(config, host).steps}

    assert devices(HOST) == {
        "onnx_op14": (("cpu",), "no NVIDIA GPU is visible"),
        "torchscript": (("cpu",), "no NVIDIA GPU is visible"),
        "onnx_op14/trt-rtx_fp32": ((), "no NVIDIA GPU is visible"),
    }
    assert devices(ON_A_GPU) == {
        "onnx_op14": (("cpu", "cuda"), ""),
        "torchscript": (("cpu", "cuda"), ""),
        "onnx_op14/trt-rtx_fp32": (("cuda",), ""),
    }
    hopper = replace(ON_A_GPU, gpus=(a_gpu("NVIDIA H100", compute_capability="9.0"),))
    reason = "TensorRT for RTX can't run this engine on NVIDIA H100 (9.0)"
    assert devices(hopper)["onnx_op14/trt-rtx_fp32"] == ((), reason)
    on_cpus = replace(config, engine_count_per_device={"cpu": 1}, target_formats=(Format.ONNX,))
    assert devices(ON_A_GPU, on_cpus) == {"onnx_op14": (("cpu",), "engine_count_per_device lists only cpu")}


def test_a_gpu_that_is_there_and_cannot_be_used_is_said() -> None:
    without = {name: version for name, version in ON_A_GPU.versions.items() if name != "onnxruntime-gpu"}
    config = a_model(target_formats=(Format.ONNX, Format.TORCHSCRIPT))

    found = planned(config, replace(ON_A_GPU, versions={**without, "torch": "2.13.0+cpu"}))

    assert found.notes == (
        "onnx is verified on the CPU only: onnxruntime has no CUDA provider; onnxruntime-gpu has one",
        "torchscript is verified on the CPU only: torch is a CPU build",
    )
    assert planned(config, ON_A_GPU).notes == planned(config, HOST).notes == ()


def test_a_note_about_several_models_is_said_once() -> None:
    without = {name: version for name, version in ON_A_GPU.versions.items() if name != "onnxruntime-gpu"}
    host = replace(ON_A_GPU, versions=without)
    models = [a_model(model_name=name, target_formats=(Format.ONNX,)) for name in ("one", "two")]
    other = a_model(model_name="other", target_formats=(Format.TORCHSCRIPT,))
    note = "onnx is verified on the CPU only: onnxruntime has no CUDA provider; onnxruntime-gpu has one"

    assert notes_of(plan(RunConfig(models=(*models, other)), host)) == (f"one, two: {note}",)
    assert notes_of(plan(RunConfig(models=tuple(models)), host)) == (note,)
    assert notes_of(plan(RunConfig(models=(models[0],)), host)) == (f"one: {note}",)


def test_gpus_are_selected_by_index_or_uuid_and_a_wrong_one_is_named() -> None:
    two = replace(ON_A_GPU, gpus=(a_gpu(), a_gpu(index=1, uuid="GPU-2")))

    def selected(*gpus: str, host: Host = two) -> list[int]:
        return [gpu.index for gpu in planned(a_model(gpus=gpus), host).gpus]

    assert (selected("all"), selected("1"), selected("GPU-2", "GPU-1")) == ([0, 1], [1], [1, 0])
    assert selected("0", host=HOST) == []
    hopper = replace(two, gpus=(a_gpu(), a_gpu(index=1, uuid="GPU-2", compute_capability="9.0")))
    engine = a_model(target_formats=(Format.TRT_RTX,), tensorrt_precisions=(Precision.FP32,), gpus=("1",))
    # The other GPU could run it, and is not to be used.
    assert planned(engine, hopper).steps[-1].devices == ()
    with pytest.raises(ConfigurationError) as raised:
        selected("1", "2")
    assert raised.value.message == "m: gpus lists 2, but no such GPU is visible"
    assert "0 (NVIDIA L4, GPU-1), 1 (NVIDIA L4, GPU-2)" in raised.value.hint


def test_where_a_step_runs_is_the_launch_mode_s_and_the_library_s() -> None:
    formats = (Format.ONNX, Format.TF_TRT, Format.TRT_RTX)
    config = a_model(Format.TF_SAVEDMODEL, target_formats=formats, tensorrt_precisions=(Precision.FP32,))
    there = "nvcr.io/nvidia/tensorflow:25.02-tf2-py3"

    def images(config: ModelConfig, host: Host) -> tuple[str | None, dict[str, str | None]]:
        found = planned(config, host)
        return found.image, {step.label: step.image for step in found.steps}

    docker = replace(ON_A_GPU, docker="28")
    onnx, rtx, tf_trt = "onnx_op14", "onnx_op14/trt-rtx_fp32", "tf-trt_fp32"
    assert images(config, docker) == (None, {onnx: None, tf_trt: there, rtx: None})
    in_containers = replace(config, launch_mode=LaunchMode.DOCKER)
    assert images(in_containers, docker) == (there, {onnx: there, tf_trt: there, rtx: None})
    assert images(replace(in_containers, framework_docker_image="mine:1"), docker)[0] == "mine:1"
    # A container's ONNX Runtime is not built for the container's CUDA.
    onnx_step = next(step for step in planned(in_containers, docker).steps if step.label == onnx)
    assert onnx_step.devices == ("cpu",)
    assert needs_docker(config)
    assert not needs_docker(replace(in_containers, launch_mode=LaunchMode.LOCAL))
    assert not needs_docker(a_model(target_formats=(Format.ONNX, Format.TRT)))
    torch = a_model(target_formats=(Format.ONNX,), launch_mode=LaunchMode.DOCKER, container_version="25.10")
    assert images(torch, docker)[0] == "nvcr.io/nvidia/pytorch:25.10-py3"


def test_without_a_docker_daemon_what_lives_in_containers_is_unavailable() -> None:
    config = a_model(
        Format.TF_SAVEDMODEL, target_formats=(Format.TF_TRT, Format.ONNX), tensorrt_precisions=(Precision.FP32,)
    )

    cells = {cell.label: cell for cell in planned(config, ON_A_GPU).conversions}

    assert cells["tf-trt_fp32"].state is State.UNAVAILABLE
    assert cells["tf-trt_fp32"].reason == "it runs in a container, but the Docker daemon isn't reachable"
    assert "launch_mode: local" in cells["tf-trt_fp32"].remedy
    assert cells["onnx_op14"].state is None
    asked = replace(config, launch_mode=LaunchMode.DOCKER)
    assert {cell.state for cell in planned(asked, ON_A_GPU).conversions} == {State.UNAVAILABLE}


def test_cells_keep_the_order_formats_opsets_modes_precisions() -> None:
    labels = [cell.label for cell in planned(a_model(onnx_opsets=(17, 13))).conversions]

    assert labels == [
        "tf-trt_fp16",
        "tf-trt_fp32",
        "tf-savedmodel",
        "onnx_op17",
        "onnx_op13",
        "onnx_op17/onnx_fp16/trt_fp16_hierarchy",
        "onnx_op17/trt_fp32",
        "onnx_op13/onnx_fp16/trt_fp16_hierarchy",
        "onnx_op13/trt_fp32",
        "torchscript",
        "torch-trt_fp16_hierarchy",
        "torch-trt_fp32",
    ]


def test_an_inapplicable_cell_says_why_and_what_can_be_made() -> None:
    cell = next(cell for cell in planned(a_model()).conversions if cell.label == "tf-savedmodel")

    assert State.NOT_APPLICABLE is cell.state
    assert cell.reason == "torchscript can't be converted to tf-savedmodel"
    assert cell.remedy == "torchscript can be converted to torchscript, onnx, torch-trt, trt, trt-rtx"


def test_engines_are_planned_and_unavailable_with_a_reason_and_a_remedy() -> None:
    cell = next(cell for cell in planned(a_model()).conversions if cell.label == "onnx_op14/trt_fp32")

    assert State.UNAVAILABLE is cell.state
    assert cell.steps == ("onnx_op14", "onnx_op14/trt_fp32")
    assert cell.reason == "no NVIDIA GPU is visible"
    assert "install the NVIDIA driver" in cell.remedy


def test_a_model_that_is_served_on_the_cpu_only_needs_no_engine() -> None:
    config = a_model(Format.ONNX, engine_count_per_device={"cpu": 2})

    found = {cell.label: cell for cell in planned(config).conversions}

    assert found["onnx"].state is None
    assert found["trt_fp32"].state is State.NOT_APPLICABLE
    assert found["trt_fp32"].reason == "trt needs a GPU, but engine_count_per_device lists only cpu"


def test_a_missing_framework_is_named_with_the_command_that_installs_it() -> None:
    cell = next(cell for cell in planned(a_model(Format.TF_SAVEDMODEL), BARE).conversions if cell.label == "onnx_op14")

    assert State.UNAVAILABLE is cell.state
    assert "tensorflow" in cell.reason
    assert cell.remedy == "pip install 'tensorflow>=2.18'"


def test_exports_are_raised_from_every_lower_opset_lowest_first() -> None:
    steps = {step.label: step for step in planned(a_model(onnx_opsets=(17, 13, 15))).steps}

    assert steps["onnx_op13"].raise_from == ()
    assert steps["onnx_op15"].raise_from == ("onnx_op13",)
    assert steps["onnx_op17"].raise_from == ("onnx_op13", "onnx_op15")


def test_an_onnx_source_keeps_its_opset_unless_the_user_names_others() -> None:
    assert onnx_labels(a_model(Format.ONNX)) == {"onnx": None}
    assert onnx_labels(a_model(Format.ONNX, onnx_opsets=(17,))) == {"onnx_op17": 17}


def test_an_onnx_source_at_other_opsets_feeds_the_engines() -> None:
    config = a_model(Format.ONNX, target_formats=(Format.TRT,), onnx_opsets=(17,))

    assert planned(config).conversions[1].steps == ("onnx_op17", "onnx_op17/trt_fp32")


def test_torch_export_starts_at_the_opset_that_its_exporter_writes() -> None:
    assert onnx_labels(a_model(Format.TORCH_EXPORT)) == {"onnx_op18": 18}
    assert onnx_labels(a_model(Format.TORCH_EXPORT, onnx_opsets=(14,))) == {"onnx_op14": 14}
    assert onnx_labels(a_model(Format.TORCHSCRIPT)) == onnx_labels(a_model(Format.TF_SAVEDMODEL)) == {"onnx_op14": 14}


def test_steps_of_cells_that_cannot_run_are_not_run() -> None:
    config = a_model(target_formats=(Format.TRT, Format.TORCHSCRIPT))

    assert [step.label for step in planned(config).steps] == ["torchscript"]


def test_filters_keep_the_matching_cells_and_the_steps_they_need() -> None:
    whole = plan(RunConfig(models=(a_model(onnx_opsets=(13, 14)),)), HOST)

    chosen = select(whole, conversions=("onnx_op14",)).models[0]

    assert [cell.label for cell in chosen.conversions] == ["onnx_op14"]
    assert [(step.label, step.raise_from) for step in chosen.steps] == [("onnx_op14", ())]
    engines = plan(RunConfig(models=(a_model(onnx_opsets=(13, 14), target_formats=(Format.TRT,)),)), ON_A_GPU)
    one = select(engines, conversions=("onnx_op14*trt_fp16*",)).models[0]
    # What the engine is made from is shown beside it.
    way = ["onnx_op14", "onnx_op14/onnx_fp16", "onnx_op14/onnx_fp16/trt_fp16_hierarchy"]
    assert [cell.label for cell in one.conversions] == [step.label for step in one.steps] == way
    assert select(whole, models=("other*",)).models == ()
    assert whole == select(whole, models=("m",))


def test_a_filter_that_matches_nothing_is_named_with_the_cells_that_there_are() -> None:
    whole = plan(RunConfig(models=(a_model(target_formats=(Format.ONNX,), onnx_opsets=(13,)),)), HOST)

    with pytest.raises(NothingToDoError, match=r"no conversion matches \*op31\n  the conversions are m/onnx_op13"):
        chosen(whole, models=(), conversions=("*op31", "*op13"))
    with pytest.raises(NothingToDoError, match=r"no model matches n\*\n  the models are m$"):
        chosen(whole, models=("n*",), conversions=())


def test_only_formats_that_the_user_wrote_are_requested() -> None:
    assert not any(cell.requested for cell in planned(a_model()).conversions)
    assert all(cell.requested for cell in planned(a_model(target_formats=(Format.ONNX,))).conversions)


def test_an_engine_as_the_source_is_refused_with_a_sentence() -> None:
    config = ModelConfig(model_name="m", model_path=Path("/r/m.plan"), model_format=Format.TRT)

    assert {State.NOT_APPLICABLE} == {cell.state for cell in planned(config).conversions}
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
    config = a_model(
        source,
        target_formats=tuple(formats),
        onnx_opsets=tuple(opsets),
        tensorrt_precisions=tuple(precisions),
        tensorrt_precisions_mode=mode,
    )
    found = planned(config)

    assert found == planned(config)
    assert len(list(configurations(config))) == sum(
        1 + cell.merged for cell in found.conversions if not cell.intermediate
    )
    seen: list[str] = []
    for step in found.steps:
        assert step.parent is None or step.parent in seen
        assert set(step.raise_from) <= set(seen)
        seen.append(step.label)
    assert len(seen) == len(set(seen))
    for cell in found.conversions:
        assert (cell.state is None) == bool(cell.steps and set(cell.steps) <= set(seen))
        assert cell.state is None or (cell.reason and cell.remedy)


def test_models_and_conversions_that_match_nothing_together_are_named_together() -> None:
    models = (a_model(model_name="a", onnx_opsets=(13,)), a_model(model_name="b", onnx_opsets=(14,)))
    whole = plan(RunConfig(models=models), HOST)
    with pytest.raises(NothingToDoError, match=r"no conversion of models a matches onnx_op14\n"):
        chosen(whole, models=("a",), conversions=("onnx_op14",))
    found = chosen(whole, models=("a",), conversions=("onnx_op13",))
    assert [model.config.model_name for model in found.models] == ["a"]


def test_a_format_that_is_no_source_says_what_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """No converter leads from an engine today, so that a plan never asks: a format with one stands in."""
    monkeypatch.setattr(RUNNERS[Format.ONNX], "AS_SOURCE", None)
    (cell,) = planned(a_model(Format.ONNX, target_formats=(Format.ONNX,))).conversions
    assert (cell.state, cell.reason) == (State.UNAVAILABLE, "a onnx model can't be used as the source model")
    assert cell.remedy == "use the model it was built from"


@pytest.mark.fault(
    "Planning a model runs into an internal error", "That model's conversions fail and say so. The others go on."
)
def test_a_model_that_cannot_be_planned_costs_its_own_conversions_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(model: ModelConfig, source: Format, configuration: Configuration) -> tuple[Step, ...] | None:
        if model.model_name == "broken":
            raise KeyError("a bug")
        return steps_to(model, source, configuration)

    monkeypatch.setattr("navigator.plan.planner.steps_to", broken)
    good, bad = (a_model(model_name=name, target_formats=(Format.ONNX, Format.TRT)) for name in ("good", "broken"))
    found = plan(RunConfig(models=(bad, good)), HOST)
    assert [(cell.label, cell.state) for cell in found.models[0].conversions] == [("onnx", "failed"), ("trt", "failed")]
    assert found.models[0].conversions[0].reason.startswith("internal error while planning: KeyError: 'a bug' (test_")
    assert found.models[1] == planned(good)
    assert "2 conversions can't be planned" in plan_text(found)
    results = summarize(build(HOST, cell_results(found.models[0], {}, source_bytes=0, command="c"), complete=True))
    assert results.exit_code == 1


@pytest.mark.parametrize(
    ("line", "opset", "note"),
    [
        ("torch.relu(x)", 14, ""),
        ("torch.grid_sampler(x, x, 0, 0, False)", 16, "aten::grid_sampler needs it"),
        ("torch.index_add_(torch.scatter_add(x, 0, x, x), 0, x, x)", 16, "aten::index_add, aten::scatter_add need it"),
        ("torch.col2im(torch.grid_sampler(x, x, 0, 0, False), [8, 8])", 18, "aten::col2im needs it"),
        ('torch.format("torch.col2im(", x)', 14, ""),
    ],
)
def test_the_default_opset_is_the_lowest_that_the_operators_need(
    tmp_path: Path, line: str, opset: int, note: str
) -> None:
    config = a_script(tmp_path, line, target_formats=(Format.ONNX, Format.TORCHSCRIPT))

    found = planned(config)

    assert onnx_labels(config) == {f"onnx_op{opset}": opset}
    assert found.notes == ((f"opset {opset} instead of 14: {note}",) if note else ())


def test_engines_are_built_from_the_opset_that_the_operators_need_too(tmp_path: Path) -> None:
    config = a_script(tmp_path, "torch.grid_sampler(x)", target_formats=(Format.TRT,))

    found = planned(config, ON_A_GPU)

    assert "onnx_op16/trt_fp32" in {cell.label for cell in found.conversions}
    assert "opset 16 instead of 14: aten::grid_sampler needs it" in found.notes


def test_opsets_that_the_user_names_stay(tmp_path: Path) -> None:
    config = a_script(tmp_path, "torch.grid_sampler(x)", target_formats=(Format.ONNX, Format.TRT), onnx_opsets=(13, 17))

    found = planned(config, ON_A_GPU)

    assert {step.opset for step in found.steps} == {13, 17, None}
    assert not found.notes


def test_a_model_that_cannot_be_read_is_planned_with_the_default_opset(tmp_path: Path) -> None:
    (tmp_path / "m.pt").write_bytes(b"PK")

    assert [*onnx_labels(a_model(model_path=tmp_path / "m.pt"))] == ["onnx_op14"]
