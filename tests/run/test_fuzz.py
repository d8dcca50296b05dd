"""Anything for a configuration, for results, for options and for a model: a documented exit code, never a bug's.

`make nightly` draws new examples, forty times as many.
"""

import contextlib
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from navigator.cli import main
from navigator.config.schema import options
from navigator.errors import ExitCode
from navigator.plain_data import parse_yaml
from navigator.report.storage import RESULTS

# The other one takes longer to write what was drawn than the program to read it.
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

DOCUMENTED = set(ExitCode) - {ExitCode.BUG}
COMMON = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
EVERY_STATE = (Path(__file__).parents[1] / "cases" / "render" / "every_state.yaml").read_bytes()
OURS = ("work/navigator_workspace", "work/merged")

KEYS = ["models", "<<", "", *sorted({key for each in options().values() for key in (each.key, *each.aliases)})]
FLAGS = ["--models", "--conversions", "--shard", "--matrix", *sorted(each.flag for each in options().values())]
SCALARS: list[Any] = [
    None, True, False, 0, 1, -1, 13, 2**31, 2**63, -(2**64), 0.0, 1e-5, -1.5, 1e308, float("inf"), float("nan"),
    "", "auto", "onnx", "trt", "fp16", "all", "tiny.onnx", "missing.onnx", "../tiny.onnx", "/", ".", "~", "/dev/zero",
    "/dev/null", "x", "x=1", "x=1,2", "x:1,2:float32", "1,2", "[1, 2]", "{x: 1}", "1:59:59", "\x1b[2J", "a\nb", "\0",
    "\u202e", "é" * 300,
]  # fmt: skip
VALUES = st.recursive(
    st.sampled_from(SCALARS) | st.text(max_size=8) | st.integers() | st.floats(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from([*KEYS, "x", "y"]), below, max_size=3),
    max_leaves=8,
)
CONFIGURATIONS = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6)
VALID = {"model_name": "tiny", "model_path": "tiny.onnx", "target_formats": ["onnx"], "onnx_opsets": [13]}


@pytest.fixture
def work(tmp_path: Path, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory, below the directory whose other files nothing may touch."""
    directory = tmp_path / "work"
    directory.mkdir()
    for place in (directory, tmp_path):
        (place / "tiny.onnx").write_bytes(tiny_onnx.read_bytes())
    (tmp_path / "of-the-user").write_text("precious")
    monkeypatch.chdir(directory)
    return directory


def files_beside(work: Path) -> dict[str, str]:
    """Return the digests of all files, and the targets of links, but for what a run is there to write."""
    found = {}
    for folder, below, names in os.walk(work.parent):
        below[:] = [name for name in below if str((Path(folder) / name).relative_to(work.parent)) not in OURS]
        for name in names:
            path = Path(folder) / name
            content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
            found[str(path.relative_to(work.parent))] = hashlib.sha256(content).hexdigest()
    return found


def run(work: Path, *arguments: str) -> int:
    """Run a command in this process, and check everything that holds for each."""
    before = files_beside(work)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            code = main(arguments)
        except SystemExit as end:  # argparse's
            code = int(end.code or 0)
    said = printed.getvalue()
    assert code in DOCUMENTED, said
    assert "Traceback" not in said
    assert "internal error" not in said.lower()
    assert files_beside(work) == before
    for each in OURS:
        shutil.rmtree(work.parent / each, ignore_errors=True)
    return code


def mutated(content: bytes, places: list[tuple[float, bytes, int]]) -> bytes:
    """Return bytes with some overwritten, inserted or removed: (where from 0 to 1, what, how many go)."""
    for where, what, removed in places:
        at = int(where * len(content))
        content = content[:at] + what + content[at + removed :]
    return content


MUTATIONS = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.binary(max_size=4)
        | st.sampled_from(
            [b"", b"\n", b": ", b"!!int ", b"&a ", b"*a", b"- ", b"[", b"{", b"'", b"\xff", b"\0", b".inf"]
        ),
        st.integers(0, 4) | st.integers(0, 200),
    ),
    min_size=1,
    max_size=4,
)


@COMMON
@given(CONFIGURATIONS, st.booleans())
@example({"models": [VALID, VALID]}, True)
@example({"model_path": "/dev/zero"}, True)
def test_any_configuration(work: Path, changes: dict[str, Any], from_valid: bool) -> None:
    written = {**VALID, **changes} if from_valid else changes
    text = yaml.dump(written, allow_unicode=True).encode("utf-8", "replace")
    Path("navigator.yaml").write_bytes(text)
    run(work, "validate", "navigator.yaml")


@COMMON
@given(MUTATIONS)
def test_any_text_of_a_configuration(work: Path, places: list[tuple[float, bytes, int]]) -> None:
    text = yaml.dump({"models": [VALID | {"atol": {"y": 1e-5}, "max_shapes": {"x": [8, 4]}}]}).encode()
    Path("navigator.yaml").write_bytes(mutated(text, places))
    run(work, "validate", "navigator.yaml")


@COMMON
@given(MUTATIONS)
def test_any_text_of_results(work: Path, places: list[tuple[float, bytes, int]]) -> None:
    Path(RESULTS).write_bytes(mutated(EVERY_STATE, places))
    run(work, "report", RESULTS, "--output", "merged")


def changed(value: Any, path: list[int], new: Any) -> Any:
    """Return plain data with the value at a path, each step modulo what there is, replaced."""
    if not path or not value or not isinstance(value, dict | list):
        return new
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    at = keys[path[0] % len(keys)]
    made = dict(value) if isinstance(value, dict) else list(value)
    made[at] = changed(value[at], path[1:], new)
    return made


@COMMON
@given(st.lists(st.tuples(st.lists(st.integers(0, 40), min_size=1, max_size=6), VALUES), min_size=1, max_size=3))
def test_any_values_of_results(work: Path, changes: list[tuple[list[int], Any]]) -> None:
    data = parse_yaml(EVERY_STATE)
    for path, new in changes:
        data = changed(data, path, new)
    Path(RESULTS).write_bytes(yaml.dump(data, Dumper=_Dumper).encode("utf-8", "replace"))
    run(work, "report", RESULTS, "--output", "merged")


TYPED = [str(each) for each in SCALARS if each is not None]
WORDS = st.sampled_from(FLAGS) | st.sampled_from(TYPED) | st.text(max_size=6)


@COMMON
@given(st.sampled_from(["convert", "validate", "plan", ""]), st.lists(WORDS, max_size=6))
@example("convert", ["--jobs", "0"])
def test_any_options(work: Path, verb: str, words: list[str]) -> None:
    # The system passes none of these.
    given_words = [word.replace("\0", "") for word in words]
    # Nothing is converted: `--model-path`, which counts last, names no file.
    missing = ["--model-path", "missing.onnx"] if verb == "convert" else []
    run(work, *([verb] if verb else []), *given_words, *missing)


@COMMON
@given(st.recursive(st.sampled_from(SCALARS), lambda below: st.lists(below) | st.dictionaries(st.text(), below)))
@example({"include": [{"shard": "1/1", "count": 1, "conversions": ["x"]}]})
@example({"include": [{"shard": "1/1", "count": 1e400}]})
@example({"include": [{"shard": "\ud800", "count": 1, "name": "\ud800"}]})
def test_any_matrix(work: Path, matrix: Any) -> None:
    Path(RESULTS).write_bytes(EVERY_STATE)
    Path("matrix.json").write_text(json.dumps(matrix), errors="replace")
    run(work, "report", RESULTS, "--output", "merged", "--matrix", "matrix.json")


def models(work: Path, mutants: Iterable[bytes]) -> None:
    """Write a configuration of mutated models."""
    for each in work.glob("m*.onnx"):
        each.unlink()
    entries = []
    for number, content in enumerate(mutants):
        Path(f"m{number}.onnx").write_bytes(content)
        entries.append({**VALID, "model_name": f"m{number}", "model_path": f"m{number}.onnx"})
    Path("navigator.yaml").write_text(yaml.dump({"models": entries, "defaults": {"timeout_seconds": 60}}))


ONNX = st.lists(MUTATIONS, min_size=4, max_size=8)


@COMMON
@given(ONNX)
def test_any_bytes_of_a_model_are_validated(work: Path, batch: list[list[tuple[float, bytes, int]]]) -> None:
    content = Path("tiny.onnx").read_bytes()
    models(work, (mutated(content, places) for places in batch))
    run(work, "validate", "navigator.yaml")


# Without shrinking, since every try is a run.
@settings(COMMON, max_examples=max(2, COMMON.max_examples // 50), phases=(Phase.explicit, Phase.generate))
@given(ONNX)
def test_any_bytes_of_a_model_are_converted(work: Path, batch: list[list[tuple[float, bytes, int]]]) -> None:
    """What `validate` lets pass is converted in one run, in which each model fails alone."""
    content = Path("tiny.onnx").read_bytes()
    taken = [content]
    for places in batch:
        models(work, [mutated(content, places)])
        if run(work, "validate", "navigator.yaml") == ExitCode.OK:
            taken.append(mutated(content, places))
    models(work, taken)
    assert run(work, "convert", "--config-path", "navigator.yaml") in (ExitCode.OK, ExitCode.FAILURE)
