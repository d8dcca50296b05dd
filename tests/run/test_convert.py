import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from navigator.cache import digests, earlier, remembered
from navigator.cli import main
from navigator.records import State
from tests.run.conftest import Sabotage

TINY = """\
model_name: tiny
model_path: tiny.onnx
target_formats: [onnx]
onnx_opsets: [13, 17]
max_batch_size: 4
"""


def states(results: dict[str, Any]) -> dict[str, str]:
    return {f"{each['model_name']} {each['conversion']}": each["status"]["state"] for each in results["results"]}


def test_every_requested_cell_is_made_and_verified(convert: Any, project: Path) -> None:
    code, results = convert(TINY)

    assert code == 0
    assert states(results) == {"tiny onnx_op13": "passed", "tiny onnx_op17": "passed"}
    assert results["complete"]
    made = results["results"][1]
    assert Path(made["output_model"]["path"]) == project / "navigator_workspace/converted/tiny/onnx_op17/model.onnx"
    assert made["output_model"]["properties"]["onnx_opset"] == 17
    assert [each["output"] for each in made["comparisons"]] == ["y", "z"]
    assert {each["name"] for each in made["samples"]} == {
        *("min", "opt", "random_0", "random_1"),
        *("ends", "zeros", "normal"),
    }
    assert made["comparisons"][0]["total"] > 0
    assert "tiny" in (project / "navigator_workspace/summary.md").read_text()
    assert not (project / "navigator_workspace/.scratch").exists()


def test_results_follow_their_schema(convert: Any) -> None:
    from jsonschema import Draft202012Validator

    from navigator.config import schema_path

    _, results = convert(TINY)

    schema = json.loads(schema_path("convert_results.schema.json").read_text())
    assert not [error.message for error in Draft202012Validator(schema).iter_errors(results)]


def test_a_wrong_weight_after_conversion_is_a_mismatch(
    convert: Any, project: Path, sabotage: Sabotage, capsys: pytest.CaptureFixture[str]
) -> None:
    """The library that raises opsets changes one weight: only the verification can notice."""
    sabotage(
        "import onnx.version_converter, onnx.numpy_helper\n"
        "convert_version = onnx.version_converter.convert_version\n"
        "def sabotaged(model, opset):\n"
        "    model = convert_version(model, opset)\n"
        "    weight = onnx.numpy_helper.to_array(model.graph.initializer[0]).copy()\n"
        "    weight[2, 1] += 0.5\n"
        "    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weight, 'weight'))\n"
        "    return model\n"
        "onnx.version_converter.convert_version = sabotaged\n"
    )

    code, results = convert(TINY)

    assert code == 1
    assert states(results) == {"tiny onnx_op13": "passed", "tiny onnx_op17": "mismatched"}
    cell = results["results"][1]
    wrong, right = cell["comparisons"]
    assert (wrong["output"], wrong["passed"], right["passed"]) == ("y", False, True)
    # One of three outputs, but for the rows of x whose third value is 0.
    assert 0.7 * wrong["total"] < wrong["mismatched"] * 3 < wrong["total"]
    assert wrong["worst"]["index"][1] == 1
    assert "output 'y'" in cell["status"]["message"]
    assert cell["reproduce"].startswith("model-navigator convert")
    assert "--models tiny --conversions onnx_op17" in cell["reproduce"]
    dumps = project / "navigator_workspace/logs/tiny/onnx_op17.comparator_outputs.json"
    assert dumps.exists()
    assert "mismatched" in capsys.readouterr().out


def test_a_run_takes_from_the_cache_what_is_trusted_or_its_own(
    convert: Any, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a workflow that uses the command line: pull request 7 twice, the default branch twice, pull request 8."""
    cached = []
    for number in (7, 7, 0, 0, 8):
        pull = {"pull_request": {"number": number, "head": {"sha": "b" * 40}}} if number else {}
        (project / "event.json").write_text(json.dumps({**pull, "repository": {"default_branch": "main"}}))
        for name, value in {
            "GITHUB_ACTIONS": "true",
            "GITHUB_EVENT_NAME": "pull_request" if number else "push",
            "GITHUB_EVENT_PATH": str(project / "event.json"),
            "GITHUB_REF": f"refs/pull/{number}/merge" if number else "refs/heads/main",
            "GITHUB_REPOSITORY": "octo/models",
            "GITHUB_RUN_ID": "1",
            "GITHUB_SHA": "a" * 40,
        }.items():
            monkeypatch.setenv(name, value)
        code, results = convert(TINY + "cache_path: .cache\n")
        assert code == 0
        cached.append(all(each["cached"] for each in results["results"]))
    assert cached == [False, True, False, True, True]


@pytest.mark.parametrize("clean", ["", "override_workspace: true\n"])
def test_a_second_run_takes_everything_from_the_cache_and_starts_no_worker(
    convert: Any, project: Path, clean: str
) -> None:
    artifacts = project / "navigator_workspace" / "converted"
    first_code, first = convert(TINY + "cache_path: .cache\n" + clean)
    written = {path: path.stat().st_ino for path in artifacts.rglob("*")}
    code, results = convert(TINY + "cache_path: .cache\n" + clean)

    assert (first_code, code) == (0, 0)
    assert {path: path.stat().st_ino for path in artifacts.rglob("model.onnx")}.items() <= written.items(), (
        "what is there already isn't written again"
    )
    assert [each["cached"] for each in first["results"]] == [False, False]
    assert [each["cached"] for each in results["results"]] == [True, True]
    assert not list((project / "navigator_workspace/logs/tiny").glob("*.log"))
    for before, after in zip(first["results"], results["results"], strict=True):
        assert before["comparisons"] == after["comparisons"]
        assert before["output_model"] == after["output_model"]


def test_a_second_run_reads_no_large_model_sample_or_conversion(
    convert: Any, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (project / "any").open("wb") as file:
        monkeypatch.setattr(remembered, "_KEEP_TIMES", {remembered._file_system(file.fileno())})
    monkeypatch.setattr(remembered, "_LARGE_BYTES", 1)  # these are
    monkeypatch.setattr(earlier, "_LARGE_BYTES", 1)
    np.savez(project / "day.npz", x=np.ones((2, 4), np.float32))
    _, first = convert(TINY + "samples: [day.npz]\ncache_path: .cache\n")
    read: list[Path] = []

    def note(path: Path, *_: Any, **__: Any) -> str:
        read.append(path)
        return ""

    monkeypatch.setattr(digests, "blocks", lambda path, *_, **__: [note(path).encode()])
    monkeypatch.setattr(earlier, "_sha256", note)
    code, results = convert(TINY + "samples: [day.npz]\ncache_path: .cache\n")

    assert (code, [each["cached"] for each in results["results"]]) == (0, [True, True])
    assert [each["output_model"] for each in results["results"]] == [each["output_model"] for each in first["results"]]
    assert [each["sha256"] for each in results["models"]] == [each["sha256"] for each in first["models"]]
    assert not [path for path in read if project in path.parents]


def test_a_changed_tolerance_costs_a_verification_and_no_conversion(convert: Any, project: Path) -> None:
    convert(TINY + "cache_path: .cache\n")
    code, results = convert(TINY + "cache_path: .cache\natol: 1e-3\n")

    assert code == 0
    assert [each["cached"] for each in results["results"]] == [False, False]
    logs = {path.name for path in (project / "navigator_workspace/logs/tiny").glob("*.log")}
    # A search is made if there's time.
    assert logs - {"onnx_op17.search.log"} == {"onnx_op13.verify.log", "onnx_op17.verify.log", "source.reference.log"}


def test_a_changed_model_is_converted_again(convert: Any, project: Path) -> None:
    import onnx

    convert(TINY + "cache_path: .cache\n")
    model = onnx.load(project / "tiny.onnx")
    model.doc_string = "changed"
    onnx.save(model, project / "tiny.onnx")

    _, results = convert(TINY + "cache_path: .cache\n")

    assert [each["cached"] for each in results["results"]] == [False, False]


def test_output_path_gets_the_first_converted_model(convert: Any, project: Path) -> None:
    import onnx

    code, _ = convert(TINY + "output_path: out/best.onnx\n")

    assert code == 0
    assert onnx.load(project / "out/best.onnx").opset_import[0].version == 13


def test_output_path_never_gets_the_source(convert: Any, project: Path) -> None:
    code, results = convert("model_name: tiny\nmodel_path: tiny.onnx\ntarget_formats: onnx\noutput_path: best.onnx\n")

    assert code == 1
    assert not (project / "best.onnx").exists()
    assert any(
        f"output_path {project}/best.onnx: only copies of the source model passed; add another format" in note
        for note in results["notes"]
    )


def test_output_path_gets_no_model_of_another_format_than_its_name_says(convert: Any, project: Path) -> None:
    code, results = convert(TINY + "output_path: best.plan\n")

    assert code == 1
    assert not (project / "best.plan").exists()
    assert any(
        f"output_path {project}/best.plan: no conversion that passed makes a file with this suffix; name another"
        in note
        for note in results["notes"]
    )


def test_output_path_never_replaces_a_directory_of_the_users(convert: Any, project: Path) -> None:
    (project / "thesis").mkdir()
    (project / "thesis" / "chapter1.tex").write_text("years of work")

    code, results = convert(TINY + "output_path: thesis\n")

    assert code == 1
    assert (project / "thesis" / "chapter1.tex").exists()
    assert any("can't write output_path" in note and "thesis is a directory" in note for note in results["notes"])


def test_the_users_own_samples_are_what_a_model_is_verified_with(convert: Any, project: Path) -> None:
    np.savez(project / "day.npz", x=np.full((5, 4), 0.25, np.float32))
    np.save(project / "night.npy", np.zeros((2, 4), np.float32))

    code, results = convert(TINY + "samples: [day.npz, night.npy]\n")

    assert code == 0
    samples = results["results"][0]["samples"]
    assert [(each["name"], each["shapes"]) for each in samples] == [("day", {"x": [5, 4]}), ("night", {"x": [2, 4]})]
    assert results["results"][0]["comparisons"][0]["total"] == 7 * 3


def test_an_unknown_option_names_the_nearest(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["convert", "--onnx-opset", "13"])

    assert stopped.value.code == 2
    assert "unrecognized arguments: --onnx-opset\n  did you mean --onnx-opsets?" in capsys.readouterr().err


def test_default_targets_that_cannot_be_made_here_do_not_fail_the_run(convert: Any) -> None:
    code, results = convert("model_name: tiny\nmodel_path: tiny.onnx\nmax_batch_size: 2\n")

    assert code == 0
    found = states(results)
    assert found["tiny onnx"] == "passed"
    assert found["tiny trt_fp32"] == "unavailable"
    assert found["tiny tf-savedmodel"] == "not_applicable"


def test_a_target_asked_for_by_name_that_cannot_be_made_here_fails_the_run(convert: Any) -> None:
    code, _ = convert("model_name: tiny\nmodel_path: tiny.onnx\nmax_batch_size: 2\ntarget_formats: [onnx, trt]\n")

    assert code == 1


def test_a_source_that_cannot_be_run_blocks_its_cells_and_not_the_next_model(convert: Any, project: Path) -> None:
    broken = (project / "tiny.onnx").read_bytes().replace(b"Tanh", b"Tonh")
    (project / "broken.onnx").write_bytes(broken)

    code, results = convert(
        """\
        defaults: {target_formats: onnx, onnx_opsets: 17, max_batch_size: 2}
        models:
          - {model_name: broken, model_path: broken.onnx}
          - {model_name: tiny, model_path: tiny.onnx}
        """
    )

    assert code == 1
    assert states(results) == {"broken onnx_op17": "blocked", "tiny onnx_op17": "passed"}
    assert "the source model, which can't be run" in results["results"][0]["status"]["message"]
    assert Path(results["results"][0]["status"]["log_path"]).exists()


@pytest.fixture
def gelu(project: Path) -> str:
    """Return the name of a model that has no form at an opset below 20."""
    import onnx.parser

    text = "(float[batch, 4] x) => (float[batch, 4] y) { y = Gelu(x) }"
    onnx.save(onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 20]> gelu {text}'), project / "gelu.onnx")
    return "gelu.onnx"


def test_an_opset_that_fails_alone_leaves_the_others_good(convert: Any, gelu: str) -> None:
    code, results = convert(TINY.replace("tiny.onnx", gelu).replace("[13, 17]", "[13, 20]"))

    assert code == 1
    assert states(results) == {"tiny onnx_op13": "failed", "tiny onnx_op20": "passed"}


def test_a_conversion_that_fails_before_the_source_model_has_run_takes_nothing_from_it(convert: Any, gelu: str) -> None:
    _, results = convert(TINY.replace("tiny.onnx", gelu).replace("[13, 17]", "[13]"))

    assert states(results) == {"tiny onnx_op13": "failed"}
    assert not results.get("notes")


@pytest.mark.fault(
    "A converter crashes, hangs or is killed",
    "That conversion fails with the reason. The others go on.",
)
def test_workers_that_crash_hang_or_die_cost_their_own_cells_only(convert: Any, sabotage: Sabotage) -> None:
    sabotage(
        "import os, signal, time, onnx.version_converter\n"
        "convert_version = onnx.version_converter.convert_version\n"
        "def sabotaged(model, opset):\n"
        "    if opset == 15: os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    if opset == 16: time.sleep(600)\n"
        "    if opset == 17: os._exit(0)\n"
        "    if opset == 18: bytearray(2 << 30).replace(b'0', b'1'); time.sleep(600)\n"
        "    return convert_version(model, opset)\n"
        "onnx.version_converter.convert_version = sabotaged\n"
    )

    limits = "timeout_seconds: 15\nmemory_limit_bytes: 1000000000\n"
    code, results = convert(TINY.replace("[13, 17]", "[13, 14, 15, 16, 17, 18]") + limits)

    assert code == 1
    found = {each["conversion"]: each["status"] for each in results["results"]}
    assert {cell: status["state"] for cell, status in found.items()} == {
        "onnx_op13": "passed",
        "onnx_op14": "passed",
        "onnx_op15": "crashed",
        "onnx_op16": "timed_out",
        "onnx_op17": "crashed",
        "onnx_op18": "crashed",
    }
    assert "SIGSEGV" in found["onnx_op15"]["message"]
    assert "timeout_seconds" in found["onnx_op16"]["message"] + results["results"][3]["remedy"]
    assert "exit code 0 without a result" in found["onnx_op17"]["message"]
    assert "out of memory" in found["onnx_op18"]["message"]
    assert all(Path(status["log_path"]).exists() for status in found.values())


def test_verbose_keeps_the_verification_data_and_shows_the_logs(
    convert: Any, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _ = convert(TINY, "--verbose")

    assert code == 0
    assert (project / "navigator_workspace/logs/tiny/onnx_op17.comparator_inputs.json").exists()
    assert "--- navigator_workspace/logs/tiny/onnx_op17.convert.log" in capsys.readouterr().out

    assert convert(TINY)[0] == 0
    assert not list((project / "navigator_workspace/logs/tiny").glob("*.json"))


def test_filters_choose_cells_and_an_empty_choice_is_nothing_to_do(
    convert: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    code, results = convert(TINY, "--conversions", "*17")
    assert (code, list(states(results))) == (0, ["tiny onnx_op17"])

    assert main(["convert", "--conversions", "nope"]) == 3
    assert "tiny/onnx_op13, tiny/onnx_op17" in capsys.readouterr().err


def test_a_workspace_with_foreign_files_is_not_cleaned(
    convert: Any, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "navigator_workspace").mkdir()
    (project / "navigator_workspace/thesis.tex").write_text("years of work")

    code, _ = convert(TINY, "--override-workspace")

    assert code == 2
    assert (project / "navigator_workspace/thesis.tex").exists()
    assert "contains files that Model Navigator didn't write: thesis.tex" in capsys.readouterr().err


@pytest.mark.fault(
    "There is no Docker daemon, and a model wants a container",
    "That model's conversions fail with the reason.",
)
def test_without_a_docker_daemon_what_is_asked_for_in_containers_is_unavailable(
    convert: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")

    code, results = convert(TINY, "--launch-mode", "docker")

    assert code == 1
    assert states(results) == {"tiny onnx_op13": "unavailable", "tiny onnx_op17": "unavailable"}
    assert "it runs in a container, but the Docker daemon isn't reachable" in capsys.readouterr().out
    # Left out, what this environment has is used.
    assert convert(TINY)[0] == 0


def test_the_command_line_alone_converts_one_model(project: Path) -> None:
    command = (
        "convert --model-name tiny --model-path tiny.onnx --target-formats onnx --onnx-opsets 15 "
        "--min-shapes x=1,4 --max-shapes x=3,4 --atol 1e-5 y=1e-4 --workspace-path out"
    )

    code = main(shlex.split(command))

    assert code == 0
    results = yaml.safe_load((project / "out/convert_results.yaml").read_text())
    assert states(results) == {"tiny onnx_op15": "passed"}
    assert results["results"][0]["comparator_config"]["atol"] == {"": 1e-5, "y": 1e-4}


@pytest.mark.fault("A run is interrupted", "Results and summary hold what was finished; exit code 130.")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_writes_what_it_had(project: Path, number: signal.Signals) -> None:
    (project / "navigator.yaml").write_text(TINY)
    (project / "slow").mkdir()
    (project / "slow" / "sitecustomize.py").write_text(
        "import time, onnx.version_converter\nonnx.version_converter.convert_version = lambda *_: time.sleep(600)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "navigator", "convert"],
        env=os.environ | {"PYTHONPATH": str(project / "slow")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A shell's background job ignores SIGINT, and so would its children: tests may run in one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    results = project / "navigator_workspace/convert_results.yaml"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if results.exists() and "state: passed" in results.read_text():
            break
        time.sleep(0.05)
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)

    assert process.returncode == 130, output
    found = yaml.safe_load(results.read_text())
    assert states(found) == {"tiny onnx_op13": "passed", "tiny onnx_op17": "cancelled"}
    assert not found["complete"]
    assert (project / "navigator_workspace/summary.md").exists()


@pytest.mark.fault("A run is killed", "Results hold what was finished, and the next run starts.")
def test_a_killed_run_leaves_what_it_had_and_the_next_one_works(project: Path) -> None:
    (project / "navigator.yaml").write_text(TINY)
    process = subprocess.Popen([sys.executable, "-m", "navigator", "convert"], stdout=subprocess.DEVNULL)
    results = project / "navigator_workspace/convert_results.yaml"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not results.exists():
        time.sleep(0.01)
    process.kill()
    process.wait()

    assert not yaml.safe_load(results.read_text())["complete"]
    assert main(["convert"]) == 0


@pytest.mark.fault("Two runs use one workspace", "The second one is refused.")
def test_two_runs_do_not_share_a_workspace(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from navigator.engine.workspace import Workspace

    (project / "navigator.yaml").write_text(TINY)
    with Workspace(project / "navigator_workspace", clean=False):
        assert main(["convert"]) == 2
    assert "is in use by another run" in capsys.readouterr().err


def test_a_workspace_that_cannot_be_made_is_said(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "navigator.yaml").write_text(TINY + "workspace_path: tiny.onnx/workspace\n")

    assert main(["convert"]) == 2
    assert "choose a writable directory with --workspace-path" in capsys.readouterr().err


def test_states_are_the_words_of_the_schema() -> None:
    from navigator.config import schema_path

    schema = json.loads(schema_path("convert_results.schema.json").read_text())
    assert f'"{State.NOT_APPLICABLE}"' in json.dumps(schema)
    assert all(f'"{state}"' in json.dumps(schema) for state in State)
