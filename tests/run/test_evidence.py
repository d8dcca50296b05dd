"""Attacks on the evidence of a pass: tools, models and caches that do not do what they say."""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from navigator.cache.digests import canonical
from navigator.workers import landlock
from tests.run.conftest import Sabotage

TINY = """\
model_name: tiny
model_path: tiny.onnx
target_formats: [onnx]
onnx_opsets: [17]
max_batch_size: 4
"""


def states(results: dict[str, Any]) -> dict[str, str]:
    return {each["conversion"]: each["status"]["state"] for each in results["results"]}


def write_model(path: Path, seed: int, external: str | None = None) -> None:
    """Write x [batch, 4] -> y [batch, 3], with its own weights for each seed."""
    import onnx

    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 13]> tiny (float[batch, 4] x) => (float[batch, 3] y)'
        " <float[4, 3] weight> { product = MatMul(x, weight) y = Tanh(product) }"
    )
    weight = np.random.default_rng(seed).normal(size=(4, 3)).astype(np.float32)
    del model.graph.value_info[:]
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "weight"))
    if external is None:
        onnx.save(model, path)
    else:
        (path.parent / external).unlink(missing_ok=True)
        onnx.save(model, path, save_as_external_data=True, location=external, size_threshold=0)


def weight_of(path: Path) -> np.ndarray:
    import onnx

    return np.asarray(onnx.numpy_helper.to_array(onnx.load(path).graph.initializer[0]))


# What a worker does on a kernel that has no Landlock.
WITHOUT_SANDBOX = "from navigator.workers import landlock; landlock.version = lambda: 0"

CHANGED_WEIGHT = """\
    import onnx.version_converter, onnx.numpy_helper
    convert_version = onnx.version_converter.convert_version
    def sabotaged(model, opset):
        model = convert_version(model, opset)
        weight = onnx.numpy_helper.to_array(model.graph.initializer[0]) + {by}
        model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weight.astype("float32"), "weight"))
        return model
    onnx.version_converter.convert_version = sabotaged
    """


@pytest.mark.fault(
    "A converted model in the cache changes after its verdict",
    "Its verdict doesn't count. The model is verified again.",
)
def test_a_cached_verdict_is_not_taken_for_other_bytes(convert: Any, project: Path, sabotage: Sabotage) -> None:
    """An exporter whose bytes differ from run to run: its first artifact is evicted, its second passed loosely."""
    cached = TINY + "cache_path: .cache\n"
    assert convert(cached)[0] == 0
    for entry in (project / ".cache").glob("*/trusted/??/*/files/model.onnx"):
        (entry.parents[1] / "entry.json").unlink()
    sabotage(CHANGED_WEIGHT.format(by=0.01))
    loosely = "atol: 0.5\ncompare_weights: false\n"
    assert states(convert(cached + loosely)[1]) == {"onnx_op17": "passed"}

    code, results = convert(cached)

    assert (code, states(results)) == (1, {"onnx_op17": "mismatched"})
    assert not results["results"][0]["cached"]


@pytest.mark.fault("The source model is exchanged during a run", "No verdict of that run gets into the cache.")
def test_what_passed_while_the_model_was_exchanged_is_not_kept(convert: Any, project: Path, sabotage: Sabotage) -> None:
    cached = TINY + "cache_path: .cache\n"
    write_model(project / "other.onnx", seed=9)
    sabotage(
        f"""\
        import os, shutil, threading, onnx
        {WITHOUT_SANDBOX}
        def exchanging(original):
            def load(*args, **kwargs):
                mine = {str(project / "other.onnx")!r} + str(threading.get_native_id())
                shutil.copyfile({str(project / "other.onnx")!r}, mine)
                os.replace(mine, {str(project / "tiny.onnx")!r})
                return original(*args, **kwargs)
            return load
        # Whoever is first: the source model's runner, which reads the structure, or the converter.
        onnx.load, onnx.load_model_from_string = exchanging(onnx.load), exchanging(onnx.load_model_from_string)
        """
    )
    write_model(project / "tiny.onnx", seed=1)
    right = weight_of(project / "tiny.onnx")
    code, results = convert(cached)
    assert code == 0
    assert any("changed during the run" in warning for warning in results["results"][0]["warnings"])
    sabotage("")
    write_model(project / "tiny.onnx", seed=1)

    code, results = convert(cached)

    assert (code, results["results"][0]["cached"]) == (0, False)
    assert np.array_equal(weight_of(Path(results["results"][0]["output_model"]["path"])), right)


@pytest.mark.parametrize("name", ["model.onnx", "model.bin"])
def test_changed_external_weights_are_another_model_whatever_its_suffix(convert: Any, project: Path, name: str) -> None:
    text = TINY.replace("tiny.onnx", name) + "model_format: onnx\ncache_path: .cache\n"
    write_model(project / name, seed=1, external="weights")
    assert convert(text)[0] == 0
    write_model(project / name, seed=2, external="weights")

    code, results = convert(text)

    assert (code, results["results"][0]["cached"]) == (0, False)


def test_other_threads_and_flags_are_another_verdict(
    convert: Any, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = TINY + "cache_path: .cache\n"
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    convert(cached)
    assert convert(cached)[1]["results"][0]["cached"]
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")

    assert not convert(cached)[1]["results"][0]["cached"]


def test_what_was_verified_on_reduced_samples_is_not_taken_for_the_whole(convert: Any) -> None:
    wide = TINY.replace("max_batch_size: 4", "max_batch_size: 400000") + "cache_path: .cache\n"
    _, reduced = convert(wide + "memory_limit_bytes: 1000000000\n")
    assert any(sample["reduced_from"] for sample in reduced["results"][0]["samples"])

    _, results = convert(wide + "memory_limit_bytes: 4000000000\n")

    assert not any(sample["reduced_from"] for sample in results["results"][0]["samples"])


@pytest.mark.parametrize("value", [{}, [], "passed", {"properties": 1}, {"verdict": {"passed": True}}])
def test_an_entry_of_another_program_is_a_miss(convert: Any, project: Path, value: Any) -> None:
    """Its digests are right, since it computed them; what it says makes no sense."""
    cached = TINY + "cache_path: .cache\n"
    convert(cached)
    for entry in (project / ".cache").rglob("entry.json"):
        sha256 = hashlib.sha256(canonical(value, allow_nan=True)).hexdigest()
        entry.write_text(json.dumps(json.loads(entry.read_text()) | {"value": value, "value_sha256": sha256}))

    code, results = convert(cached)

    assert (code, states(results)) == (0, {"onnx_op17": "passed"})
    assert not results["results"][0]["cached"]


def test_a_cached_result_carries_its_own_models_name(convert: Any, project: Path) -> None:
    convert(TINY + "cache_path: .cache\n")

    _, results = convert(TINY.replace("model_name: tiny", "model_name: renamed") + "cache_path: .cache\n")

    assert results["results"][0]["cached"]
    assert results["results"][0]["output_model"]["name"] == "renamed.onnx_op17"


@pytest.mark.fault("A converter writes into the reference outputs", "The conversion doesn't pass.")
@pytest.mark.parametrize("sandboxed", [True, False])
def test_a_converter_that_writes_into_the_reference_is_no_pass(
    convert: Any, sabotage: Sabotage, monkeypatch: pytest.MonkeyPatch, sandboxed: bool
) -> None:
    if sandboxed and landlock.version() < 3:
        pytest.skip("this kernel has no Landlock, or an old one")
    if not sandboxed:
        monkeypatch.setattr(landlock, "version", lambda: 0)
    sabotage(
        f"""\
        {"" if sandboxed else WITHOUT_SANDBOX}
        import pathlib, numpy, onnx.version_converter, onnx.numpy_helper
        convert_version = onnx.version_converter.convert_version
        def sabotaged(model, opset):
            model = convert_version(model, opset)
            zero = numpy.zeros((4, 3), numpy.float32)
            model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(zero, "weight"))
            for path in pathlib.Path.cwd().parents[1].glob("source/outputs/*_0.npy"):
                numpy.save(path, numpy.zeros_like(numpy.load(path)))
            return model
        onnx.version_converter.convert_version = sabotaged
        """
    )

    code, results = convert(TINY + "jobs: 1\n")  # the source model first

    assert code == 1
    if sandboxed:  # it reads and writes the reference in vain
        assert states(results) == {"onnx_op17": "mismatched"}
        assert not any("sandbox" in note for note in results["notes"])
    else:
        assert states(results) == {"onnx_op17": "failed"}
        assert "reference was modified" in results["results"][0]["status"]["message"]
        assert [note for note in results["notes"] if "sandbox" in note] == [
            "this kernel has no Landlock (Linux 5.13): models run without a sandbox of their own"
        ]


@pytest.mark.fault("The outputs of a converted model can't be read", "That conversion fails. The others go on.")
def test_outputs_that_cannot_be_read_cost_their_own_cell_only(convert: Any, sabotage: Sabotage) -> None:
    sabotage(
        """\
        import os, numpy
        save = numpy.save
        def cut(path, *args, **kwargs):
            save(path, *args, **kwargs)
            if "onnx_op17/verify" in os.getcwd():
                os.truncate(path, 90)
        numpy.save = cut
        """
    )

    code, results = convert(TINY.replace("[17]", "[13, 17, 18]"))

    assert code == 1
    assert states(results) == {"onnx_op13": "passed", "onnx_op17": "failed", "onnx_op18": "passed"}
    assert "outputs can't be read" in results["results"][1]["status"]["message"]


def test_a_bug_in_one_unit_leaves_the_others_results_and_is_said(
    convert: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from navigator.engine import work
    from navigator.engine.verification import run_verify

    def broken(subject: Any, *args: Any, **kwargs: Any) -> Any:
        if subject.step.label == "onnx_op17":
            raise ZeroDivisionError("of ours")
        return run_verify(subject, *args, **kwargs)

    monkeypatch.setattr(work, "run_verify", broken)

    code, results = convert(TINY.replace("[17]", "[13, 17, 18]") + "jobs: 2\n")

    assert code == 70
    assert states(results) == {"onnx_op13": "passed", "onnx_op17": "failed", "onnx_op18": "passed"}
    assert "ZeroDivisionError: of ours" in results["results"][1]["status"]["message"]
    assert not results["complete"]
    assert "please report it" in capsys.readouterr().err


@pytest.mark.fault(
    "A run is killed before its first result",
    "No results of an earlier run remain that could be taken for its own.",
)
def test_a_run_that_is_killed_at_once_leaves_no_earlier_results(convert: Any, project: Path) -> None:
    assert convert(TINY)[0] == 0
    (project / "slow").mkdir()
    (project / "slow" / "sitecustomize.py").write_text(
        "import sys, time\nif 'navigator.workers.local.server' in sys.orig_argv: time.sleep(20)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "navigator", "convert"],
        env=os.environ | {"PYTHONPATH": str(project / "slow")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (project / "navigator_workspace/.scratch/server-onnx").exists():
        time.sleep(0.01)
    process.kill()
    process.wait()

    results = yaml.safe_load((project / "navigator_workspace/convert_results.yaml").read_text())
    assert not results["complete"]
    assert states(results) == {"onnx_op17": "cancelled"}
    assert not (project / "navigator_workspace/summary.md").exists()


def test_a_cell_that_is_blocked_leaves_no_artifact_of_an_earlier_run(convert: Any, project: Path) -> None:
    assert convert(TINY)[0] == 0
    (project / "tiny.onnx").write_bytes((project / "tiny.onnx").read_bytes().replace(b"Tanh", b"Tonh"))

    code, results = convert(TINY + "jobs: 1\n")  # the source model first, and then nothing

    assert (code, states(results)) == (1, {"onnx_op17": "blocked"})
    assert not list((project / "navigator_workspace/converted").rglob("model.onnx"))


def test_an_input_that_the_artifact_lost_is_warned_of(convert: Any, project: Path, sabotage: Sabotage) -> None:
    """The user's samples have a mask of ones only, so that no output shows that it was dropped."""
    import onnx

    onnx.save(
        onnx.parser.parse_model(
            '<ir_version: 8, opset_import: ["" : 13]> masked (float[batch, 4] x, float[batch, 4] mask)'
            " => (float[batch, 4] y) { y = Mul(x, mask) }"
        ),
        project / "tiny.onnx",
    )
    np.savez(project / "day.npz", x=np.arange(12, dtype=np.float32).reshape(3, 4), mask=np.ones((3, 4), np.float32))
    sabotage(
        """\
        import onnx.version_converter
        convert_version = onnx.version_converter.convert_version
        def sabotaged(model, opset):
            model = convert_version(model, opset)
            model.graph.node[0].op_type = "Identity"
            del model.graph.node[0].input[1], model.graph.input[1]
            return model
        onnx.version_converter.convert_version = sabotaged
        """
    )

    _, results = convert(TINY + "samples: [day.npz]\n")

    result = results["results"][0]
    said = [result["status"]["message"], *result["warnings"]]
    assert any("'mask'" in each for each in said), said


def test_external_weights_of_another_model_are_not_overwritten(convert: Any, project: Path) -> None:
    for name, seed in (("one", 1), ("two", 2)):
        (project / name).mkdir()
        write_model(project / name / "model.onnx", seed, external="weights")

    code, results = convert(
        """\
        defaults: {target_formats: onnx, onnx_opsets: 17, max_batch_size: 2}
        models:
          - {model_name: one, model_path: one/model.onnx, output_path: out/one.onnx}
          - {model_name: two, model_path: two/model.onnx, output_path: out/two.onnx}
        """
    )

    assert np.array_equal(weight_of(project / "out/one.onnx"), weight_of(project / "one/model.onnx"))
    assert code == 1
    assert any("can't write output_path" in note and "weights of one.onnx" in note for note in results["notes"])


def test_a_filter_that_matches_nothing_is_said(convert: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = convert(TINY, "--conversions", "onnx_op17", "onnx_op18")

    assert code == 3
    assert "onnx_op18" in capsys.readouterr().err


def test_a_copy_of_what_nobody_may_write_to_can_be_removed(tmp_path: Path) -> None:
    from navigator.converters import CONVERTERS
    from navigator.converters.protocol import Conversion
    from navigator.records import StepOptions

    source = tmp_path / "source"
    (source / "variables").mkdir(parents=True)
    (source / "variables" / "data").write_text("weights")
    for directory in (source / "variables", source):
        directory.chmod(0o555)

    copied = tmp_path / "copied"
    CONVERTERS["tf_savedmodel_to_tf_savedmodel"].convert(
        Conversion(source=source, destination=copied, options=StepOptions())
    )

    assert (copied / "variables" / "data").read_text() == "weights"
    assert all(path.stat().st_mode & 0o700 == 0o700 for path in (copied, copied / "variables"))


@pytest.mark.fault(
    "A model leaves a pipe, a link, a directory or an endless file where a result belongs",
    "That conversion fails at once. The others go on.",
)
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("where", "leave"),
    [
        ("result.json", "os.mkfifo(path)"),
        ("result.json", "os.symlink('/dev/zero', path)"),
        ("outputs-cpu/index.json", "os.mkfifo(path)"),
        ("outputs-cpu/0_0.npy", "os.symlink(reference, path)"),
        ("outputs-cpu/0_0.npy", "os.mkdir(path)"),
        ("artifact/model.onnx", "os.symlink('/dev/zero', path)"),
        ("artifact/model.onnx", "open(path, 'wb').truncate(2**40)"),
    ],
)
def test_what_is_no_result_costs_its_own_conversion_only(
    convert: Any, sabotage: Sabotage, leave: str, where: str
) -> None:
    unit = "convert" if "artifact" in where else "verify"
    sabotage(
        f"""\
        import os, numpy, pathlib, sys
        def forge(number):
            here = pathlib.Path.cwd()
            if here.parts[-2:] == ("onnx_op17", "{unit}"):
                reference = here.parents[1] / "source/outputs/0_0.npy"
                path = (here if "result" in "{where}" else here.parent) / "{where}"
                path.unlink()
                try:
                    {leave}
                except OSError:
                    pass
            exit(number)
        exit = os._exit
        os._exit = forge
        """
    )

    code, results = convert(TINY.replace("[17]", "[13, 17, 18]"))

    assert code == 1
    found = states(results)
    assert found.pop("onnx_op17") in ("failed", "crashed")
    assert set(found.values()) == {"passed"}
