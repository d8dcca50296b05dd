"""From file and command line to records: what wins, what paths are relative to, and what is noticed across options."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from navigator import config
from navigator.records import RunConfig, TensorSpec

ONNX = b"\x08\x08\x3a\x00"
SIGNATURE = """\
inputs:
  input__0: {shape: [-1, 4], dtype: float32}
outputs:
  output__0: {shape: [-1, 2], dtype: float32}
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    (root / ".git").mkdir(parents=True)
    (root / "models").mkdir()
    (root / "models" / "m.onnx").write_bytes(ONNX)
    return root


def load(root: Path, text: str | bytes, overrides: Mapping[str, Any] | None = None, **more: Any) -> RunConfig:
    path = root / "models" / "navigator.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return config.load(path, overrides or {}, working_directory=more.pop("working_directory", root), **more)


def problems(root: Path, text: str | bytes, overrides: Mapping[str, Any] | None = None, **more: Any) -> list[str]:
    with pytest.raises(config.InvalidConfigurationError) as raised:
        load(root, text, overrides, **more)
    assert raised.value.exit_code == 2
    return [str(problem) for problem in raised.value.problems]


def test_defaults_and_paths_of_the_file_start_at_the_file(repository: Path) -> None:
    run = load(repository, "model_name: m\nmodel_path: m.onnx\noutput_path: ../out.plan\ncache_path: ../cache\n")
    model = run.models[0]
    assert model.model_path == repository / "models" / "m.onnx"
    assert model.output_path == repository / "out.plan"
    assert run.cache_path == repository / "cache"
    assert run.config_path == model.config_path == repository / "models" / "navigator.yaml"
    # Nobody wrote it, so it is where the program is started.
    assert run.workspace_path == repository / "navigator_workspace"


def test_paths_of_the_command_line_start_at_the_working_directory_and_may_leave(repository: Path) -> None:
    elsewhere = repository.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "n.onnx").write_bytes(ONNX)
    typed = {"model_path": "n.onnx", "workspace_path": "../w"}
    run = load(repository, "model_name: m\nworkspace_path: inside\n", typed, working_directory=elsewhere)
    assert run.models[0].model_path == elsewhere / "n.onnx"
    assert run.workspace_path == repository.parent / "w"


def test_the_command_line_wins_for_every_model(repository: Path) -> None:
    text = """\
models:
- {model_name: a, model_path: m.onnx, rtol: {y: 1}}
- {model_name: b, model_path: m.onnx}
defaults: {jobs: 1, onnx_opsets: 13}
"""
    run = load(repository, text, {"rtol": ["z=2"], "onnx_opsets": ["17"], "jobs": "3"})
    assert [model.rtol for model in run.models] == [{"": 1e-5, "z": 2.0}] * 2
    assert [model.onnx_opsets for model in run.models] == [(17,), (17,)]
    assert run.jobs == 3


def test_what_makes_no_sense_for_several_models(repository: Path) -> None:
    text = "models:\n- {model_name: a, model_path: m.onnx}\n- {model_name: b, model_path: m.onnx}\n"
    typed = {"model_path": str(repository / "models" / "m.onnx"), "inputs": ["x:1:float32"], "output_path": "o"}
    path = repository / "models" / "navigator.yaml"
    assert problems(repository, text, typed) == [
        f"--{key}: applies to one model, but {path} has 2; set {name} in the file, for the model that it applies to"
        for key, name in (("model-path", "model_path"), ("inputs", "inputs"), ("output-path", "output_path"))
    ]
    one = "models:\n- {model_name: a, model_path: m.onnx}\n"
    assert load(repository, one, {"model_name": "renamed"}).models[0].model_name == "renamed"


def test_without_a_file_a_path_is_needed(repository: Path) -> None:
    with pytest.raises(config.InvalidConfigurationError) as raised:
        config.load(None, {}, working_directory=repository)
    assert str(raised.value).splitlines() == [
        "--model-path is required; write e.g. --model-path models/resnet50.pt, or name a file with --config-path",
    ]


def test_outside_is_allowed_when_asked_for(repository: Path) -> None:
    (repository.parent / "m.onnx").write_bytes(ONNX)
    text = "model_name: m\nmodel_path: ../../m.onnx\n"
    assert problems(repository, text) == [
        (
            f"models/navigator.yaml:2:13: model_path: {repository.parent}/m.onnx is outside the repository "
            f"{repository}; move it into the repository, or pass --allow-outside"
        )
    ]
    assert load(repository, text, allow_outside=True).models[0].model_path == repository.parent / "m.onnx"


def test_without_git_the_file_s_directory_is_the_boundary(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "m.onnx").write_bytes(ONNX)
    assert problems(tmp_path, "model_name: m\nmodel_path: ../m.onnx\n")[0].startswith(
        f"models/navigator.yaml:2:13: model_path: {tmp_path}/m.onnx is outside the repository {tmp_path}/models; "
    )


def test_symbolic_links_are_followed(repository: Path) -> None:
    (repository.parent / "secret.onnx").write_bytes(ONNX)
    (repository / "models" / "link.onnx").symlink_to(repository.parent / "secret.onnx")
    (repository / "models" / "within.onnx").symlink_to("m.onnx")
    assert "secret.onnx is outside the repository" in problems(repository, "model_name: m\nmodel_path: link.onnx\n")[0]
    run = load(repository, "model_name: m\nmodel_path: within.onnx\n")
    assert run.models[0].model_path == repository / "models" / "within.onnx"


def test_git_s_own_directory_may_hold_a_model_but_takes_no_results(repository: Path) -> None:
    (repository / ".git" / "annex.onnx").write_bytes(ONNX)
    (repository / "models" / "annexed.onnx").symlink_to("../.git/annex.onnx")
    text = "model_name: m\nmodel_path: annexed.onnx\n"
    assert load(repository, text).models[0].model_path == repository / "models" / "annexed.onnx"
    found = problems(repository, text + "output_path: ../.git/hooks/post-checkout\n")
    where = f"output_path: {repository}/.git/hooks/post-checkout"
    assert found == [f"models/navigator.yaml:3:14: {where} is inside the .git directory; choose another path"]


def test_a_link_and_two_dots_do_not_leave_either(repository: Path) -> None:
    (repository.parent / "deep" / "dir").mkdir(parents=True)
    (repository / "models" / "link").symlink_to(repository.parent / "deep" / "dir")
    text = "model_name: m\nmodel_path: m.onnx\nworkspace_path: link/../w\n"
    assert "deep/w is outside the repository" in problems(repository, text)[0]


def test_annotation_is_read_where_the_configuration_is_silent(repository: Path) -> None:
    model = _torchscript(repository)
    (repository / "models" / f"{model}.yaml").write_text(SIGNATURE)
    found = load(repository, f"model_name: m\nmodel_path: {model}\n").models[0]
    assert found.inputs == (TensorSpec(name="input__0", shape=(-1, 4), dtype="float32"),)
    assert found.outputs == (TensorSpec(name="output__0", shape=(-1, 2), dtype="float32"),)

    text = f"model_name: m\nmodel_path: {model}\ninputs: x:-1,8:float32\n"
    found = load(repository, text).models[0]
    assert [spec.name for spec in found.inputs] == ["x"]
    assert [spec.name for spec in found.outputs] == ["output__0"]
    assert load(repository, text, {"outputs": ["y:1:int8"]}).models[0].outputs[0].name == "y"


def test_names_are_checked_against_the_annotation(repository: Path) -> None:
    model = _torchscript(repository)
    (repository / "models" / f"{model}.yaml").write_text(SIGNATURE)
    assert problems(repository, f"model_name: m\nmodel_path: {model}\nmax_shapes: {{input_0: [1, 4]}}\n") == [
        "models/navigator.yaml:3:14: max_shapes: the model has no input 'input_0'; did you mean 'input__0'?"
    ]


def test_annotation_s_problems_have_its_own_name(repository: Path) -> None:
    model = _torchscript(repository)
    (repository / "models" / f"{model}.yaml").write_text("inputs: 3\natol: 1\ninput: {}\n")
    assert problems(repository, f"model_name: m\nmodel_path: {model}\nonnx_opsets: x\n") == [
        (
            "models/m.pt.yaml:1:9: inputs: expected name:shape:dtype, got '3'; inside [...], quote values that contain "
            'commas, e.g. ["x:-1,3:float32"]'
        ),
        (
            "models/m.pt.yaml:2:1: 'atol' is not allowed in an annotation file; "
            "move it to navigator.yaml or the command line"
        ),
        "models/m.pt.yaml:3:1: unknown key 'input'; did you mean 'inputs'?",
        "models/navigator.yaml:3:14: onnx_opsets: expected an integer, got 'x'; write e.g. [13, 17]",
    ]


def test_annotation_beside_another_format_is_somebody_else_s(repository: Path) -> None:
    (repository / "models" / "m.onnx.yaml").write_text("anything: else\n")
    assert load(repository, "model_name: m\nmodel_path: m.onnx\n").models[0].inputs == ()


def test_a_configuration_in_the_annotation_s_place_is_no_annotation(repository: Path) -> None:
    model = _torchscript(repository)
    path = repository / "models" / f"{model}.yaml"
    path.write_text(f"model_name: m\nmodel_path: {model}\nonnx_opsets: 13\n")
    assert config.load(path, {}, working_directory=repository).models[0].onnx_opsets == (13,)


def test_annotation_may_not_be_a_link_to_outside(repository: Path) -> None:
    model = _torchscript(repository)
    (repository.parent / "secret").write_text("password: 1\n")
    (repository / "models" / f"{model}.yaml").symlink_to(repository.parent / "secret")
    found = problems(repository, f"model_name: m\nmodel_path: {model}\n")
    assert found == [
        (
            f"models/m.pt.yaml: {repository.parent}/secret is outside the repository {repository}; "
            "move it into the repository, or pass --allow-outside"
        )
    ]


def test_problems_carry_path_line_and_column(repository: Path) -> None:
    with pytest.raises(config.InvalidConfigurationError) as raised:
        load(repository, "model_name: m\nmodel_path: m.onnx\nonnx_opset: 1\n")
    assert raised.value.problems == (
        config.Problem(
            path=Path("models/navigator.yaml"),
            line=3,
            column=1,
            message="unknown key 'onnx_opset'",
            hint="did you mean 'onnx_opsets'?",
        ),
    )


def test_a_problem_of_the_defaults_is_told_once(repository: Path) -> None:
    models = "".join(f"- {{model_name: m{i}, model_path: m.onnx}}\n" for i in range(5))
    text = f"defaults: {{rtol: x, min_shapes: {{a: [2]}}, max_shapes: {{a: [1]}}}}\nmodels:\n{models}"
    assert len(problems(repository, text)) == 2


def test_a_thousand_problems_are_a_hundred_and_a_count(repository: Path) -> None:
    text = "model_name: m\nmodel_path: m.onnx\n" + "".join(f"wrong_{i}: 1\n" for i in range(1000))
    found = problems(repository, text)
    assert len(found) == 101
    assert found[-1] == "models/navigator.yaml: 900 more problems are not shown"


def test_output_path_must_not_be_the_model(repository: Path) -> None:
    typed = {"model_name": "m", "model_path": "models/m.onnx", "output_path": "models/m.onnx"}
    with pytest.raises(config.InvalidConfigurationError) as raised:
        config.load(None, typed, working_directory=repository)
    assert str(raised.value) == "--output-path: would overwrite the source model; choose another path"


def test_notes_name_the_options_that_do_nothing(repository: Path) -> None:
    text = "model_name: m\nmodel_path: m.onnx\nmodel_version: 2\noutput_package: m.nav\n"
    assert load(repository, text).notes == (
        "model_version has no effect on `convert`",
        "output_package has no effect on `convert`",
    )


def test_auto_is_a_value_and_the_default(repository: Path) -> None:
    start = "model_name: m\nmodel_path: m.onnx\n"
    left_out = load(repository, start).models[0]
    written = load(repository, start + "launch_mode: auto\ntarget_formats: auto\nonnx_opsets: [auto]\n").models[0]
    typed = load(repository, start, {"target_formats": ["auto"], "onnx_opsets": ["auto"]}).models[0]
    assert left_out == written == typed
    assert (left_out.launch_mode, left_out.target_formats, left_out.onnx_opsets) == ("auto", "auto", "auto")
    # The values of the design document are values like any others.
    named = load(repository, start + "launch_mode: docker\ntarget_formats: [onnx]\nonnx_opsets: [14]\n").models[0]
    assert (named.launch_mode, named.target_formats, named.onnx_opsets) == ("docker", ("onnx",), (14,))
    assert problems(repository, start + "onnx_opsets: [auto, 17]\n") == [
        "models/navigator.yaml:3:15: onnx_opsets: expected an integer, got 'auto'; write e.g. [13, 17]"
    ]


def _torchscript(root: Path) -> str:
    with zipfile.ZipFile(root / "models" / "m.pt", "w") as archive:
        for name in ("m/data.pkl", "m/code/__torch__.py", "m/constants.pkl"):
            archive.writestr(name, json.dumps(name))
    return "m.pt"


def test_a_model_in_the_place_of_an_artifact_of_this_run_is_refused_and_not_removed(repository: Path) -> None:
    """It would be removed as what an earlier run left. Artifacts of models with another name are left alone."""
    converted = repository / "models" / "workspace" / "converted"
    for name in ("again", "earlier"):
        (converted / name / "onnx_op17").mkdir(parents=True)
        (converted / name / "onnx_op17" / "model.onnx").write_bytes(ONNX)
    text = (
        "defaults: {workspace_path: workspace}\nmodels:\n"
        "- {model_name: again, model_path: workspace/converted/again/onnx_op17/model.onnx}\n"
        "- {model_name: other, model_path: workspace/converted/earlier/onnx_op17/model.onnx}\n"
    )

    (problem,) = problems(repository, text)
    assert problem == (
        f"models/navigator.yaml:3:35: model_path: the source model is in {converted / 'again'}, which this run "
        "overwrites; move the model, or choose another model_name or workspace_path"
    )
