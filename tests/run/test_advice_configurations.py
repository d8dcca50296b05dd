"""What is advised about a configuration or a command line is done as it says, and `validate` or the command passes."""

import contextlib
import io
import os
import re
import shlex
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx  # noqa: TID253 - makes the models
import pytest
import yaml

from navigator.cli import main
from tests.support.advice import matches
from tests.support.builders import SAVED_MODEL, saved_model

TABLE = yaml.safe_load((Path(__file__).parent / "advised_configurations.yaml").read_text(encoding="utf-8"))
ROWS = [
    pytest.param(row, id=f"{group}: {row.get('run', row.get('wrong'))}")
    for group, rows in TABLE.items()
    for row in rows
]
VALID = "model_name: m\nmodel_path: tiny.onnx\n"
PAIR = '<ir_version: 8, opset_import: ["" : 17]> m (float[n, 4] x, float[n, 4] n) => (float[n, 4] y) { y = Add(x, n) }'
METRIC = "def accuracy(outputs, sample):\n    return 1.0\n\ndef one(outputs):\n    return 1.0\n"

_PLACE = re.compile(r"navigator\.yaml:(\d+):(\d+): ")
_WORD = re.compile(r"[^\s,:\]}]+")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_onnx: Path) -> Path:
    """Return a repository with what people have: models, files that are none, samples, a metric, results."""
    root = tmp_path_factory.mktemp("outer") / "repository"
    for name in (
        ".git",
        "worked/.git",
        "worked/.github/workflows",
        "folder/empty",
        "several",
        "saved",
        "outer/between/saved",
        "kept/converted/m",
        "configured",
    ):
        (root / name).mkdir(parents=True)
    for name in ("", "folder/", "several/", "kept/", "kept/converted/m/", "../", "worked/"):
        (root / f"{name}tiny.onnx").write_bytes(tiny_onnx.read_bytes())
    for name, content in {
        "saved": SAVED_MODEL,
        "outer/between/saved": SAVED_MODEL,
        **dict.fromkeys(("linked", "circle", "piped"), SAVED_MODEL),
        "pair": saved_model("one", "two"),
        "unsigned": saved_model(),
        "bare": saved_model("serving_default", restores=True),
        "trains": saved_model("serving_default", tag="train"),
    }.items():
        (root / name).mkdir(exist_ok=True)
        (root / name / "saved_model.pb").write_bytes(content)
    (root / "linked" / "variables").symlink_to("/usr/include")
    (root / "circle" / "variables").symlink_to(".")
    os.mkfifo(root / "piped" / "variables")
    (root / "model.onnx").write_bytes(tiny_onnx.read_bytes())
    (root / "several" / "other.onnx").write_bytes(tiny_onnx.read_bytes())
    (root / "worked" / ".github" / "workflows" / "models.yml").write_text("name: Models\n")
    (root / "two\nlines.onnx").write_bytes(tiny_onnx.read_bytes())
    (root / "dangling.onnx").symlink_to("nowhere")
    (root / "loop.yaml").symlink_to("loop.yaml")
    (root / "leaves").symlink_to("/usr")
    for name, content in {
        "empty.onnx": b"",
        "page.onnx": b"<!DOCTYPE html>",
        "page.html": b"<!DOCTYPE html>",
        "configured/navigator.yaml": VALID.replace("tiny", "../tiny").encode(),
        "pointer.onnx": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "blob": b"\x00\x01\x02",
        "model.safetensors": b"\x32" + bytes(9),
        "model.pkl": b"\x80\x04}.",
        "model.json": b"{}",
        "model.h5": b"\x89HDF\r\n\x1a\n",
        "model.tflite": b"\x1c\x00\x00\x00TFL3",
        "model.gguf": b"GGUF",
        "frozen.pb": b"\x0a\x0a\x0a\x01x",
        "data.csv": b"1,2\n",
        "data.npy": b"1,2\n",
        "metric.py": METRIC.encode(),
        "broken.py": b"def accuracy(",
        "constants.py": b"LIMIT = 1\n",
        "long.py": METRIC.encode() + b"#" * 2**20,
        "some.yaml": VALID.encode(),
        "large.yaml": VALID.encode() + b"#" * 2**22,
        "latin.yaml": VALID.encode() + b"# \xe9\n",
        "bomb.yaml": "\n".join(
            ["atol: &a [x, x, x, x, x, x, x, x, x, x]"]
            + [
                f"{after}: &{after} [{', '.join(['*' + name] * 10)}]"
                for name, after in zip("abcde", "bcdef", strict=True)
            ]
        ).encode(),
        "two.yaml": b"models: [{model_name: a, model_path: tiny.onnx}, {model_name: b, model_path: tiny.onnx}]\n",
        "outside.yaml": b"model_name: m\nmodel_path: ../tiny.onnx\n",
    }.items():
        (root / name).write_bytes(content)
    _write_archives(root)
    _write_samples(root)
    _write_external_data(root, tiny_onnx)
    onnx.save(onnx.parser.parse_model(PAIR), root / "pair.onnx")
    for name, old, new in (("opset_99", '"" : 17', '"" : 99'), ("ir_99", "ir_version: 8", "ir_version: 99")):
        onnx.save(onnx.parser.parse_model(PAIR.replace(old, new)), root / f"{name}.onnx")
    _write_results(root)
    return root


def _write_archives(root: Path) -> None:
    for archive, names in {
        "scripted.pt": ("model/data.pkl", "model/code/__torch__.py", "model/constants.pkl"),
        "weights.pt": ("model/data.pkl", "model/version"),
        "saved.zip": ("saved/saved_model.pb",),
    }.items():
        with zipfile.ZipFile(root / archive, "w") as file:
            for name in names:
                file.writestr(name, "")


def _write_samples(root: Path) -> None:
    rows = np.ones((2, 4), np.float32)
    for name in ("one", "two", "folder/one"):
        np.savez(root / f"{name}.npz", x=rows)
    np.save(root / "one.npy", rows)
    np.savez(root / "named.npz", z=rows)
    np.savez(root / "pair.npz", x=rows, n=rows)
    np.savez(root / "empty.npz")
    np.savez(root / "labelled.npz", x=rows, label=np.ones(2))


def _write_external_data(root: Path, model: Path) -> None:
    for name, location in {"whole": "w", "lost": "w_lost", "short": "w_short", "apart": "w_apart"}.items():
        onnx.save(
            onnx.load(model), root / f"{name}.onnx", save_as_external_data=True, location=location, size_threshold=0
        )
    (root / "w_lost").unlink()
    (root / "w_short").write_bytes(b"123")
    (root / "w_apart").rename(root.parent / "w_ap")
    content = (root / "apart.onnx").read_bytes()
    (root / "apart.onnx").write_bytes(content.replace(b"w_apart", b"../w_ap"))


def _write_results(root: Path) -> None:
    """Convert one of two conversions, and write the job matrix of this one."""
    options = ["--target-formats", "onnx", "--onnx-opsets", "13", "17", "--conversions", "onnx_op13"]
    with contextlib.chdir(root):
        assert main(["convert", "tiny.onnx", *options, "--workspace-path", "done"]) == 0
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            assert main(["plan", "tiny.onnx", *options, "--matrix"]) == 0
    (root / "matrix.json").write_text(printed.getvalue())


@pytest.fixture
def work(folder: Path) -> Iterator[Path]:
    """Return the folder, and remove what a case writes."""
    before = {*folder.rglob("*")}
    with contextlib.chdir(folder):
        yield folder
    for path in sorted({*folder.rglob("*")} - before, reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


@pytest.mark.parametrize("row", ROWS)
def test_what_is_advised_helps(work: Path, row: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.chdir(work / row.get("where", "")):
        code, told = _attempt(
            _whole(row["run"] if "run" in row else row["wrong"]), is_command="run" in row, capsys=capsys
        )
        assert code == row.get("code", 2), told
        assert matches(row["advice"], told), told
        assert len(told.strip().splitlines()) <= 3, told

        if "remove" in row:
            (work / row["remove"]).unlink()
        right = row.get("right") or (_followed(told) if "run" in row else _edited(_whole(row["wrong"]), told))
        code, said = _attempt(_whole(right), is_command="run" in row, capsys=capsys)
    assert code == 0, f"{told}\n{right}\n{said}"


def _attempt(given: str, *, is_command: bool, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    if not is_command:
        Path("navigator.yaml").write_text(given, encoding="utf-8")
    try:
        code = main(shlex.split(given) if is_command else ["validate"])
    except SystemExit as end:  # argparse's
        code = int(end.code or 0)
    return code, capsys.readouterr().err


def _whole(text: str) -> str:
    return VALID + text[1:] if text.startswith("+") else text


def _followed(told: str) -> str:
    """Return the command that an advice shows; `validate` is enough to see whether `convert` would begin."""
    found = re.search(r"(?:`|for example: )model-navigator ([^`\n]+)", told)
    assert found, told
    return found[1].replace("convert", "validate", 1)


def _edited(text: str, told: str) -> str:
    """Return a configuration after doing what an advice says, at the place that it names."""
    place = _PLACE.match(told)
    assert place, told
    lines, number, start = text.splitlines(), int(place[1]) - 1, int(place[2]) - 1
    line = lines[number]
    if meant := re.search(r"did you mean '?([^'\n]+?)'?\?", told):
        lines[number] = line[:start] + _WORD.sub(meant[1], line[start:], count=1)
    elif re.search(r"remove (one of them|the key|this)", told):
        del lines[number]
    elif setting := re.search(r"set (\w+) to (?:its directory )?([^\s,]+)", told):
        lines[number] = f"{setting[1]}: {setting[2]}"
    elif added := re.search(r"write e\.g\. '([^']+)'", told):
        lines.append(added[1])
    else:
        example = re.search(r"write e\.g\. (.+)", told)
        assert example, told
        lines[number] = f"{line.partition(':')[0]}: {example[1]}"
    return "\n".join(lines)
