"""Whatever names and messages hold, what's printed moves no cursor, turns no text around and commands no runner.

Every string of a report, a plan and a configuration's problems is replaced by a hostile one, and everything that
anybody reads is made from them.
"""

import io
import json
import os
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from navigator.action.logs import show_logs
from navigator.action.results_output import results_json
from navigator.cli import main
from navigator.config import InvalidConfigurationError, Problem
from navigator.errors import ConfigurationError, NavigatorError
from navigator.github.commands import annotate, command, set_outputs
from navigator.records import InvalidRecordError, Plan, Report, from_data, to_data
from navigator.render.annotations import Level, of_problems, of_report
from navigator.render.comment import Links, comment, problem_text
from navigator.render.console import Progress, show_log, summary_text
from navigator.render.headline import description
from navigator.render.markdown import summary_markdown
from navigator.render.plan import plan_text
from navigator.render.streams import write
from navigator.report import storage
from navigator.report.summary import summarize
from tests.support.builders import a_cell, a_model, a_plan, a_step

CASES = Path(__file__).parents[1] / "cases" / "render"
REPORTS = [storage.read(CASES / name) for name in ("every_state.yaml", "gpu.yaml", "good.yaml")]
HOSTILE = {
    "colour": "\x1b[31mred\x1b[0m",
    "title": "\x1b]0;title\x07",
    "clear": "\x1b[2J\x9b2J",
    "line": "a\n::error file=x::forged\nb",
    "return": "a\r::add-mask::b",
    "old command": "##[error]forged",
    "command": "::error::forged",
    "blank command": " \t::set-output name=status::success",
    "bidi": "a\u202eb\u2066c\u2069\u200f",
    "zero width": "a\u200bb\u200d\u2060\ufeff",
    "tags": "a\U000e0041\U000e007f",
    "line separator": "a\u2028::error::b\u2029\x85::error::c\x0b\x0c\x1c",
    "no UTF-8": "a\udcff\ud800",
    "null": "a\0b",
    "HTML": "<script>alert(1)</script><img src=x onerror=y>",
    "comment": "<!-- model-navigator:x outcome:0 --> -->",
    "markdown": "`*_[a](javascript:b)_*` | @team #1 ![a](b) ~~x~~ $y$ \\",
    "fence": "```\n# heading\n```",
    "heading": "# heading",
    "percent": "%0A::error::forged%25",
    "YAML": "a: b\n- c # d",
    "markup": "[bold red]x[/]",
    "long": "x" * 5_000,
}
each_hostile = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)


def hostile(record: Any, text: str) -> Any:
    """Return a record with each string, one after the other, replaced where the record's type allows it."""
    data = to_data(record)

    def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        if isinstance(value, dict):
            for key, each in value.items():
                yield from places(each, (*path, key))
        elif isinstance(value, list | tuple):
            for index, each in enumerate(value):
                yield from places(each, (*path, index))
        elif isinstance(value, str):
            yield path

    data = json.loads(json.dumps(data))
    replaced_by_path: set[tuple[Any, ...]] = set()
    refused: set[tuple[Any, ...]] = set()
    for path in list(places(data)):
        shape = tuple("*" if isinstance(each, int) else each for each in path)
        if shape in refused:
            continue
        above = data
        for each in path[:-1]:
            above = above[each]
        before = above[path[-1]]
        above[path[-1]] = text
        if shape in replaced_by_path:
            continue
        try:
            from_data(type(record), data)
            replaced_by_path.add(shape)
        except InvalidRecordError:
            above[path[-1]] = before
            refused.add(shape)
    return from_data(type(record), renamed(data, text))


# Mappings whose keys are names that somebody chose.
NAMED = {"atol", "rtol", "shapes", "reduced_from", "kept_in_fp32", "versions"}


def renamed(value: Any, text: str, named: bool = False) -> Any:
    if isinstance(value, dict):
        return {text if named else key: renamed(each, text, key in NAMED) for key, each in value.items()}
    return [renamed(each, text) for each in value] if isinstance(value, list) else value


def assert_harmless(shown: str, *, own: str = "") -> None:
    """Check what a terminal or a runner reads; `own` are characters that this program puts there itself."""
    wrong = {each for each in shown if unicodedata.category(each)[0] == "C" and each not in own and each != "\n"} | {
        each for each in shown if unicodedata.category(each) in ("Zl", "Zp")
    }
    assert not wrong, sorted(map(repr, wrong))
    for line in shown.split("\n"):
        assert not line.lstrip().startswith("::"), line
        assert "##[" not in line, line


def written(write_to: Callable[[io.StringIO], object]) -> str:
    stream = io.StringIO()
    write_to(stream)
    return stream.getvalue()


@pytest.mark.parametrize("report", REPORTS, ids=["every_state", "gpu", "good"])
@each_hostile
def test_a_report(report: Report, text: str) -> None:
    summary = summarize(hostile(report, text))

    assert_harmless(written(lambda stream: write(summary_text(summary), stream)))
    assert description(summary).isprintable()
    assert results_json(summary).isascii()
    for shown in (summary_markdown(summary), comment(summary, key=text, title=text, links=Links(run_url=text))):
        assert_markdown(shown)
    for annotation in of_report(summary, Path("/r")):
        assert all(line.isprintable() for line in (annotation.title, *annotation.message.split("\n")))
    for line in written(lambda stream: annotate(of_report(summary, Path("/r")), stream)).splitlines():
        assert re.match(r"::(error|warning|notice)( |::)", line)
        assert_harmless(line.lstrip(":"))


def assert_markdown(shown: str) -> None:
    """Check that names stay text: no HTML but ours, no link, no mention, no heading, no image."""
    assert_harmless(shown.replace("\u200b", ""), own="\t")
    rendered = MarkdownIt("gfm-like", {"linkify": False}).render(shown)
    for forged in ("<script", "<img", 'href="javascript:', "<h1>heading", "<del>", "forged -->"):
        assert forged not in rendered.replace("&lt;", "").replace("<!--", ""), forged
    assert "@team" not in re.sub(r"<(pre|code).*?</\1>", "", rendered, flags=re.DOTALL)


@each_hostile
def test_a_plan(text: str) -> None:
    config = a_model(model_name=text, model_path=Path(text.replace("\0", "")))
    cells = [a_cell(f"{text}/{text}"), a_cell("onnx", reason=text, remedy=text)]
    plan = Plan(models=(a_plan(*cells, config=config, notes=(text,), steps=(a_step(text),)),))
    assert_harmless(written(lambda stream: write(plan_text(plan), stream)))
    stream = io.StringIO()
    with Progress(plan, stream) as progress:
        progress.say(text)
        progress.started(text, text, text)
        for result in hostile(REPORTS[0], text).results:
            progress.decided(result, failed=True)
    assert_harmless(stream.getvalue())


@each_hostile
def test_an_error(text: str) -> None:
    problem = Problem(path=Path(text.replace("\0", "")), line=1, column=1, message=text, hint=text)
    for error in (
        NavigatorError(text, text),
        InvalidConfigurationError([problem]),
        ConfigurationError(f"{text}: {text}", text),
    ):
        assert_harmless(written(lambda stream, error=error: write(f"{error}\n", stream)))  # type: ignore[misc]
        assert_markdown(problem_text(error, key=text, title=text))
    assert_harmless(
        written(lambda stream: annotate(of_problems([problem], Path.cwd()), stream)).removeprefix("::error")
    )


@each_hostile
def test_a_log(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "logs" / "m" / "onnx.convert.log"
    log.parent.mkdir(parents=True)
    log.write_bytes(f"{text}\nlast\n".encode("utf-8", "surrogateescape" if "\ud800" not in text else "replace"))
    show_log(log)
    assert_harmless(capsys.readouterr().out)
    report = hostile(REPORTS[0], text)
    data = to_data(report)
    for result in data["results"]:
        result["status"]["log_path"] = str(log)
    lines = written(lambda stream: show_logs(summarize(from_data(Report, data)), tmp_path, stream)).splitlines()
    assert lines[0].startswith("::group::")
    assert re.match("::stop-commands::", lines[1])
    assert lines[-1] == "::endgroup::"
    # Between these two nothing is a command.
    assert_harmless("\n".join([lines[0].lstrip(":"), *(line.lstrip(" :") for line in lines[2:-2])]))


ARGUMENTS = [
    ["{}"],
    ["--{}"],
    ["validate", "{}"],
    ["validate", "--{}"],
    ["validate", "a", "{}"],
    ["plan", "{}"],
    ["plan", "a", "--max-shards", "{}"],
    ["report", "{}"],
    ["report", ".", "--matrix", "{}"],
    ["convert", "--{}"],
    ["convert", "--{}=1"],
    ["convert", "--{}", "--jbos"],
    ["convert", "--config-path", "{}"],
    ["convert", "--model-path", "{}"],
    ["convert", "--model-path", "{}.onnx"],
    ["convert", "--model-path", "m.onnx", "--target-formats", "{}"],
    ["convert", "--model-path", "m.onnx", "--model-name", "{}", "--jobs", "{}"],
    ["convert", "--model-path", "m.onnx", "--atol", "{}=1", "{}"],
    ["convert", "--model-path", "m.onnx", "--inputs", "{}", "--max-shapes", "{}=1,{}"],
    ["convert", "--model-path", "m.onnx", "--workspace-path", "{}", "--samples", "{}"],
    ["convert", "--model-path", "m.onnx", "--shard", "{}", "--models", "{}"],
    ["convert", "--override-workspace={}"],
]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=" ".join)
def test_the_command_line(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.onnx").write_bytes(b"\x08\x08\x3a\x00")
    for name, text in HOSTILE.items():
        if name == "null":  # the system passes none
            continue
        text = text.replace("\ud800", "")
        try:
            code = main([each.replace("{}", text) for each in arguments])
        except SystemExit as error:
            code = error.code  # type: ignore[assignment]
        assert code in (1, 2, 3, 74), (name, code)
        printed = capsys.readouterr()
        assert printed.err
        assert_harmless(printed.out + printed.err)


CONFIGURATIONS = [
    "{}: 1\n",
    "model_name: {}\nmodel_path: {}\n",
    "model_name: m\nmodel_path: m.onnx\n{}: {}\n",
    "model_name: m\nmodel_path: m.onnx\ntarget_formats: [{}]\n",
    "model_name: m\nmodel_path: m.onnx\natol: {{{}: {}}}\n",
    "model_name: m\nmodel_path: m.onnx\ninputs: [{{name: {}, shape: [{}], dtype: {}}}]\n",
    "model_name: m\nmodel_path: m.onnx\nsamples: [{}]\nmax_shapes: {{{}: [{}]}}\n",
    "models: [{{model_name: {}, model_path: {}}}, {{model_name: {}, {}: 1}}]\n",
    "model_name: m\nmodel_path: m.onnx\nworkspace_path: {}\n",
    "? [{}]\n: 1\n",
    "!<{}> a\n",
    "*{}\n",
]


@pytest.mark.parametrize("content", CONFIGURATIONS)
def test_a_configuration(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.onnx").write_bytes(b"\x08\x08\x3a\x00")
    for name, text in HOSTILE.items():
        for written_as in (text, json.dumps(text)):
            file = Path(f"{name}.yaml")
            file.write_text(content.replace("{}", written_as).replace("{{", "{").replace("}}", "}"), "utf-8", "replace")
            code = main(["validate", str(file)])
            assert code in (0, 2), (name, code)
            printed = capsys.readouterr()
            assert_harmless(printed.out + printed.err)


@each_hostile
def test_names_of_files(text: str, tmp_path: Path) -> None:
    """In a process of its own, whose arguments and directory are the bytes that a user may have."""
    if "\0" in text or "\ud800" in text or len(text) > 200:
        pytest.skip("no system has such a name")
    name = text.replace("/", "-")
    directory = tmp_path / name
    directory.mkdir()
    file = directory / f"{name}.yaml"
    file.write_text("model_name: m\nmodel_path: missing.onnx\n")
    done = subprocess.run(
        [sys.executable, "-m", "navigator", "validate", os.fsencode(file)],
        cwd=directory,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert_harmless((done.stdout + done.stderr).decode())


@each_hostile
def test_outputs(text: str, tmp_path: Path) -> None:
    file = tmp_path / "output"
    set_outputs({"results": text}, file)
    assert re.fullmatch(r"results<<(end_[0-9a-f]{32})\n.*\n\1\n", file.read_text(), re.DOTALL)
    assert "\n" not in command(Level.ERROR, text, title=text)
