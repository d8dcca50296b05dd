"""`init`: what it writes is valid, converts, and overwrites nothing."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from navigator.records import Description, Format, TensorSpec
from navigator.render.configuration import Starter, starter
from tests.docs.pages import README, blocks
from tests.run.test_command_line import navigator
from tests.support.text_models import columns, table


def test_a_first_run_from_nothing_but_a_model(project: Path) -> None:
    import onnx

    model = onnx.load(project / "tiny.onnx")
    del model.graph.node[:2], model.graph.output[0], model.graph.initializer[:]
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "width"
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "width"
    onnx.save(model, project / "wide.onnx")

    done = navigator(project, "init", "wide.onnx")

    assert (done.returncode, done.stderr) == (0, "wide.onnx: looking for the shapes that it runs in\n")
    assert done.stdout == (
        "navigator.yaml: written\n"
        "next:\n"
        "  model-navigator plan      # show what will be converted\n"
        "  model-navigator convert   # convert and verify\n"
    )
    text = (project / "navigator.yaml").read_text()
    first = re.match(
        r"# yaml-language-server: \$schema=https://raw.githubusercontent.com/org/model-navigator/v1/(.*)\n", text
    )
    assert first is not None
    assert (Path(__file__).parents[2] / first[1]).is_file()
    assert "\n# input x: float32 [batch, width]\n" in text
    found = yaml.safe_load(text)
    assert (found["model_name"], found["model_path"], found["target_formats"]) == ("wide", "wide.onnx", ["onnx"])
    assert found["max_shapes"]["x"][1] > found["min_shapes"]["x"][1] > 0
    assert navigator(project, "convert").returncode == 0


def test_a_model_of_text_is_offered_no_engines(project: Path) -> None:
    import onnx

    onnx.save(columns(), project / "text.onnx")
    assert navigator(project, "init", "text.onnx").returncode == 0
    written = (project / "navigator.yaml").read_text()
    assert "# input color: string [n, 1]" in written
    assert "# The formats that must pass.\n" in written
    assert "# By default, inputs are random: " in written
    assert navigator(project, "convert").returncode == 0


def test_text_is_not_said_to_be_a_number(project: Path) -> None:
    import onnx

    onnx.save(table(), project / "text.onnx")
    assert navigator(project, "init", "text.onnx").returncode == 0
    assert "# By default, inputs are texts that the model knows. " in (project / "navigator.yaml").read_text()


def test_several_models_have_names_of_their_own(project: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=project, check=True)
    (project / "more").mkdir()
    for name in ("more/tiny.onnx", "more/Tiny.onnx"):
        (project / name).write_bytes((project / "tiny.onnx").read_bytes())

    done = navigator(project, "init", "tiny.onnx", "more/tiny.onnx", "more/Tiny.onnx", "--output", "more/all.yaml")

    assert done.returncode == 0, done.stderr
    assert "  model-navigator convert more/all.yaml " in done.stdout
    models = yaml.safe_load((project / "more/all.yaml").read_text())["models"]
    assert [each["model_name"] for each in models] == ["tiny", "tiny_2", "Tiny_3"]
    assert [each["model_path"] for each in models] == ["../tiny.onnx", "tiny.onnx", "Tiny.onnx"]
    assert navigator(project, "validate", "more/all.yaml").returncode == 0


def test_the_workflow_is_the_readmes(project: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=project, check=True)
    (project / "ml").mkdir()
    (project / "tiny.onnx").rename(project / "ml/tiny.onnx")

    done = navigator(project / "ml", "init", "tiny.onnx", "--workflow")

    assert done.returncode == 0, done.stderr
    written = (project / ".github/workflows/models.yml").read_text()
    (shown,) = (each.text for each in blocks(README) if each.is_workflow)
    assert written == shown.replace("config: navigator.yaml", "config: ml/navigator.yaml")


@pytest.mark.parametrize("there", ["navigator.yaml", ".github/workflows/models.yml"])
def test_nothing_is_overwritten_and_then_nothing_is_written(project: Path, there: str) -> None:
    (project / there).parent.mkdir(parents=True, exist_ok=True)
    (project / there).write_text("mine\n")
    before = sorted(project.rglob("*"))

    done = navigator(project, "init", "tiny.onnx", "--workflow")

    assert (done.returncode, done.stdout) == (2, "")
    advice = "edit it, and leave out the models" if there == "navigator.yaml" else "edit it, or remove it first"
    assert done.stderr.startswith(f"{there} exists already, and nothing was written\n  {advice}")
    assert (project / there).read_text() == "mine\n"
    assert sorted(project.rglob("*")) == before


def test_a_link_that_leads_nowhere_is_no_file_to_write(project: Path) -> None:
    (project / "navigator.yaml").symlink_to("elsewhere")

    assert navigator(project, "init", "tiny.onnx").returncode == 2
    assert not (project / "elsewhere").exists()


def test_a_workflow_can_follow_later(project: Path) -> None:
    (project / "navigator.yaml").write_text("model_name: tiny\nmodel_path: tiny.onnx\n")

    done = navigator(project, "init", "--workflow")

    assert (done.returncode, done.stderr) == (0, "")
    assert (project / ".github/workflows/models.yml").is_file()


def test_what_cannot_be_described_leaves_nothing(project: Path) -> None:
    outside = project.parent / f"{project.name}.onnx"
    outside.write_bytes((project / "tiny.onnx").read_bytes())
    (project / ".github/workflows").mkdir(parents=True)
    before = sorted(project.rglob("*"))

    for arguments, said in (
        ([], "no model is given\n  for example: model-navigator init model.onnx\n"),
        (["none.onnx"], "none.onnx does not exist\n"),
        (
            [str(outside), "--workflow"],
            f"{outside} is outside {project}, and navigator.yaml may only name files inside\n",
        ),
        (
            ["tiny.onnx", "--output", "tiny.onnx/x.yaml"],
            "tiny.onnx: looking for the shapes that it runs in\ntiny.onnx/x.yaml can't be written",
        ),
    ):
        done = navigator(project, "init", *arguments)
        assert done.returncode in (2, 74)
        assert done.stderr.startswith(said)
        assert [each for each in sorted(project.rglob("*")) if each.is_file()] == [
            each for each in before if each.is_file()
        ]


@given(path=st.text(min_size=1), name=st.text(min_size=1))
def test_any_name_is_read_as_it_was(path: str, name: str) -> None:
    described = Description(
        model_format=Format.ONNX, inputs=(TensorSpec(name=name, shape=(-1, 3), dtype="float32"),), producer=path
    )
    for count in (1, 2):
        text = starter([Starter(name="m", path=path, description=described)] * count, schema=path)
        loaded = yaml.safe_load(text)
        models = loaded["models"] if count == 2 else [loaded]
        assert [each["model_path"] for each in models] == [path] * count
        shown = re.findall(r"^ *# (value_ranges: .*)$", text, re.MULTILINE)
        assert [yaml.safe_load(each) for each in shown] == [{"value_ranges": {name: [-2, 2]}}] * count


def test_a_name_that_yaml_cannot_hold_is_changed_first(project: Path) -> None:
    path = os.fsdecode(b"\xff.onnx")
    (project / "tiny.onnx").rename(project / path)

    refused = navigator(project, "init", path)
    (project / path).rename(project / "renamed.onnx")
    done = navigator(project, "init", "renamed.onnx")

    assert (refused.returncode, done.returncode) == (2, 0)
    assert "a name that isn't UTF-8, as YAML is\n  rename it\n" in refused.stderr
