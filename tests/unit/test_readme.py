"""What the README says is what the program does."""

import re
import subprocess
import sys
from pathlib import Path

import action_table
import option_table
import pytest

from navigator import config
from navigator.errors import ExitCode
from navigator.plan.routes import reachable
from navigator.records import Format

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)


def test_the_option_table_is_the_schema() -> None:
    found = re.search(r"<!-- options: .*? -->\n(.*?)<!-- end of options -->", README, re.DOTALL)

    assert found
    assert found[1].strip() == option_table.option_table().strip(), "run: make readme"


def test_the_tables_of_inputs_and_outputs_are_the_actions(tmp_path: Path) -> None:
    copy = tmp_path / "README.md"
    copy.write_text(README, encoding="utf-8")
    wanted = action_table.tables(ROOT / "action.yml")

    action_table.update(copy, ROOT / "action.yml")

    assert wanted in copy.read_text(encoding="utf-8")
    assert copy.read_text(encoding="utf-8") == README, "run: make readme"


def test_it_has_exactly_two_set_up_commands_and_the_makefile_has_both() -> None:
    commands = re.findall(r"```shell\n(make .*)\n```", README)

    assert commands == ["make demo", "make test"]
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{command.split()[1]}:", makefile, re.MULTILINE) for command in commands)


@pytest.mark.parametrize("block", [block for block in BLOCKS if "model_path" in block])
def test_its_navigator_yaml_files_are_valid(block: str, tmp_path: Path) -> None:
    for name in ("resnet50.pt", "mobilenet.savedmodel", "model.onnx"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "navigator.yaml").write_text(block)

    problems = _problems(tmp_path)

    # The models of the README do not lie here; that must be all that is wrong.
    assert {message.split(":")[0] for message in problems} <= {"model_path"}, problems


def _problems(directory: Path) -> list[str]:
    try:
        config.load(directory / "navigator.yaml", {}, working_directory=directory)
    except config.InvalidConfigurationError as error:
        return [problem.message for problem in error.problems]
    return []


def test_every_exit_code_is_explained() -> None:
    assert all(re.search(rf"^\| {code.value} \|", README, re.MULTILINE) for code in ExitCode)


def test_every_conversion_is_in_the_support_table() -> None:
    table = README[README.index("## What was run where") : README.index("## Options")]
    names = {
        Format.TF_SAVEDMODEL: "SavedModel",
        Format.TORCHSCRIPT: "TorchScript",
        Format.TORCH_EXPORT: "torch.export",
        Format.ONNX: "ONNX",
        Format.TRT: "TensorRT",
        Format.TRT_RTX: "TensorRT for RTX",
        Format.TORCH_TRT: "Torch-TensorRT",
        Format.TF_TRT: "TF-TRT",
    }
    for source in Format:
        for target in reachable(source):
            assert names[source] in table
            assert names[target] in table


def test_starting_the_command_line_imports_nothing_heavy() -> None:
    heavy = ("numpy", "torch", "tensorflow", "onnx", "onnxruntime", "polygraphy", "jsonschema", "rich")
    code = f"import sys, navigator.cli; print([name for name in {heavy} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_the_schema_is_where_the_readme_says(tmp_path: Path) -> None:
    found = re.search(r'`python -c "(.*?)"` prints', README)
    assert found

    done = subprocess.run([sys.executable, "-c", found[1]], capture_output=True, text=True, check=True, cwd=tmp_path)

    assert Path(done.stdout.strip()).is_file()


def test_the_errors_that_it_explains_are_said_somewhere() -> None:
    table = README[README.index("### When it goes wrong") : README.index("## Engines and precisions")]
    texts = re.findall(r"`(.*?)`", "".join(re.findall(r"^\| ([^|]*) \|", table, re.MULTILINE)))
    others = {"Resource not accessible by integration", "EACCES: permission denied", "no space left on device"}
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "navigator").rglob("*.py"))

    assert len(texts) > 5
    assert [text for text in texts if text not in others and text not in source] == []
