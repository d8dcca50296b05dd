"""What is newer than the installed onnx is refused where it's written, and nothing else is."""

import sys
from collections.abc import Iterator
from pathlib import Path

import onnx  # noqa: TID253 - what is known is what it knows
import pytest

from navigator import config
from navigator.config.problems import InvalidConfigurationError
from navigator.host import onnx_versions
from navigator.records import RunConfig

HIGHEST = onnx.defs.onnx_opset_version()


@pytest.fixture(autouse=True)
def uncached() -> Iterator[None]:
    onnx_versions.installed.cache_clear()
    yield
    onnx_versions.installed.cache_clear()


def load(folder: Path, text: str) -> RunConfig:
    path = folder / "navigator.yaml"
    path.write_text(f"model_name: m\n{text}")
    return config.load(path, {}, working_directory=folder)


def saved(path: Path, domain: str, opset: int, ir_version: int = 8) -> None:
    text = f'<ir_version: {ir_version}, opset_import: ["{domain}" : {opset}]> m (float[n] x) => (float[n] y) {{ }}'
    path.write_bytes(onnx.parser.parse_model(text).SerializeToString())


def test_what_is_known_is_what_onnx_says() -> None:
    known = onnx_versions.installed()
    assert known is not None
    assert known.release == onnx.__version__
    assert known.opsets == {"ai.onnx": HIGHEST, "ai.onnx.ml": max(row[3] for row in onnx.helper.VERSION_TABLE)}
    assert known.ir_version == onnx.IR_VERSION


def test_opset_is_refused_where_it_is_written(tiny_onnx: Path) -> None:
    text = f"model_path: {tiny_onnx}\nonnx_opsets: [17, {HIGHEST}, {HIGHEST + 1}]"
    with pytest.raises(InvalidConfigurationError) as refused:
        load(tiny_onnx.parent, text)
    (problem,) = refused.value.problems
    assert (problem.line, problem.column) == (3, 1 + len(f"onnx_opsets: [17, {HIGHEST}, "))
    assert problem.message == f"onnx_opsets: onnx {onnx.__version__} doesn't know opset {HIGHEST + 1}"
    assert problem.hint == f"write {HIGHEST} or lower, or upgrade onnx and onnxruntime"


@pytest.mark.parametrize(
    ("domain", "opset", "ir_version", "said"),
    [
        ("", HIGHEST + 1, 8, f"declares opset {HIGHEST + 1} of ai.onnx, and onnx {onnx.__version__} knows those up to"),
        ("ai.onnx.ml", 99, 8, "declares opset 99 of ai.onnx.ml"),
        ("", 17, onnx.IR_VERSION + 1, f"has IR version {onnx.IR_VERSION + 1}"),
    ],
)
def test_model_that_is_newer_is_refused(tmp_path: Path, domain: str, opset: int, ir_version: int, said: str) -> None:
    saved(tmp_path / "m.onnx", domain, opset, ir_version)
    with pytest.raises(InvalidConfigurationError, match=said) as refused:
        load(tmp_path, "model_path: m.onnx")
    (problem,) = refused.value.problems
    assert problem.line == 2


@pytest.mark.parametrize(("domain", "opset"), [("", HIGHEST), ("own", 99), ("com.microsoft", 1)])
def test_model_that_may_run_is_taken(tmp_path: Path, domain: str, opset: int) -> None:
    saved(tmp_path / "m.onnx", domain, opset, onnx.IR_VERSION)
    assert load(tmp_path, f"model_path: m.onnx\nonnx_opsets: {HIGHEST}").models


def test_onnx_of_a_container_is_its_own(tiny_onnx: Path) -> None:
    text = f"model_path: {tiny_onnx}\nonnx_opsets: 99\nlaunch_mode: docker"
    assert load(tiny_onnx.parent, text).models


def test_nothing_is_refused_without_onnx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "m.onnx", "", 99)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "onnx")
    assert load(tmp_path, "model_path: m.onnx\nonnx_opsets: 99").models
