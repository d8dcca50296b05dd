"""What the runner understands of what is written for it, read back by its own rules.

The rules are those of github.com/actions/runner: ActionCommand.cs (commands) and FileCommandManager.cs (files).
"""

import io
import re
import secrets
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navigator.github import commands as workflow
from navigator.github.commands import (
    annotate,
    append_summary,
    command,
    commands_disabled,
    group,
    mask,
    set_outputs,
)
from navigator.render.annotations import Annotation, Level
from navigator.render.text import harmless

# What foreign text is made of when it means harm.
_HARMFUL = st.lists(
    st.sampled_from(
        ["::", ":", ",", "=", "%", "%0A", "%25", "\n", "\r", " ", "##[", "#", "error", "add-mask", "]", "é"]
    )
    | st.text(max_size=3)
).map("".join)


def _decoded(text: str, marks: str) -> str:
    for mark in marks:
        text = text.replace(f"%{ord(mark):02X}", mark)
    return text.replace("%25", "%")


def _parsed(line: str) -> tuple[str, dict[str, str], str] | None:
    """Return what ActionCommand.TryParseV2 finds in a line."""
    found = re.fullmatch(r"::([^ :]+)(?: (.*?))?::(.*)", line.lstrip(), re.DOTALL)
    if found is None:
        return None
    pairs = [pair.split("=", 1) for pair in (found[2] or "").split(",") if "=" in pair]
    properties = {key: _decoded(value, "\r\n:,") for key, value in pairs}
    return found[1], properties, _decoded(found[3], "\r\n")


def _lines(text: str) -> list[str]:
    """Split as .NET's StreamReader.ReadLine does."""
    return re.split(r"\r\n|\r|\n", text)


@given(message=_HARMFUL, title=_HARMFUL, file=_HARMFUL)
def test_one_command_is_one_line_and_says_what_was_meant(message: str, title: str, file: str) -> None:
    line = command("error", message, title=title, file=file, line=3)

    assert _lines(line) == [line]
    wanted = {key: value for key, value in {"title": title, "file": file, "line": "3"}.items() if value}
    assert _parsed(line) == ("error", wanted, message)


def test_a_command_without_properties_has_no_blank() -> None:
    assert command("endgroup") == "::endgroup::"
    assert command("notice", "100 %\n", title="a: b, c", col=None) == "::notice title=a%3A b%2C c::100 %25%0A"


def _written(annotations: list[Annotation]) -> list[tuple[str, dict[str, str], str]]:
    stream = io.StringIO()
    number = annotate(annotations, stream)
    parsed = [_parsed(line) for line in stream.getvalue().splitlines()]
    assert number == len(parsed)
    return [each for each in parsed if each is not None]


def test_an_annotation_stands_at_its_line_and_column() -> None:
    annotation = Annotation(
        level=Level.ERROR, message="no such key", title="navigator.yaml", path="navigator.yaml", line=3, column=5
    )

    [written] = _written([annotation])

    properties = {"title": "navigator.yaml", "file": "navigator.yaml", "line": "3", "col": "5"}
    assert written == ("error", properties, "no such key")


def test_a_column_without_a_line_is_left_out() -> None:
    [written] = _written([Annotation(level=Level.NOTICE, message="x", path="a.yaml", column=5)])

    assert written[1] == {"file": "a.yaml"}


def test_ten_of_a_level_are_written_and_the_last_says_how_many_more_there_are() -> None:
    errors = [Annotation(level=Level.ERROR, message=f"error {number}") for number in range(13)]
    warnings = [Annotation(level=Level.WARNING, message=f"warning {number}") for number in range(10)]

    written = _written([*errors, *warnings])

    told = [message for name, _, message in written if name == "error"]
    assert told[:9] == [f"error {number}" for number in range(9)]
    assert told[9] == "error 9\n\n3 more at level error aren't shown; the summary lists all of them."
    assert [message for name, _, message in written if name == "warning"] == [each.message for each in warnings]


def test_a_message_is_no_longer_than_github_shows_it() -> None:
    long = [Annotation(level=Level.ERROR, message="x" * 9000, title="t" * 900) for _ in range(12)]

    written = _written(long)

    assert {len(message) for _, _, message in written} == {4096}
    assert {len(properties["title"]) for _, properties, _ in written} == {255}
    assert written[-1][2].endswith("2 more at level error aren't shown; the summary lists all of them.")
    assert "…" in written[-1][2]


def test_each_line_of_a_secret_is_masked() -> None:
    stream = io.StringIO()

    mask("one%\n\n  \ntwo\r\n", stream)

    assert stream.getvalue().splitlines() == ["::add-mask::one%25", "::add-mask::two"]


class _Runner:
    """Reads a step's output as ActionCommandManager.TryProcessCommand does; keeps the commands that it obeys."""

    def __init__(self) -> None:
        self.obeyed: list[str] = []
        self.stopped = ""

    def read(self, output: str) -> None:
        for line in _lines(output):
            parsed = _parsed(line)
            older = re.search(r"##\[([^ \]]+)", line)
            name = parsed[0] if parsed else older[1] if older else ""
            if self.stopped:
                self.stopped = "" if name == self.stopped else self.stopped
            elif name == "stop-commands":
                self.stopped = parsed[2] if parsed else ""
            elif name:
                self.obeyed.append(name)


@given(foreign=_HARMFUL)
def test_nothing_in_foreign_output_is_obeyed_and_what_follows_is(foreign: str) -> None:
    stream, runner = io.StringIO(), _Runner()

    with commands_disabled(stream) as say:
        say(foreign)
    stream.write(command("notice", "ours"))
    runner.read(stream.getvalue())

    assert runner.obeyed == ["notice"]
    assert not runner.stopped


def test_the_stop_ends_after_an_error_too() -> None:
    stream, runner = io.StringIO(), _Runner()

    def broken() -> None:
        with commands_disabled(stream) as say:
            say("::error::half a li")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    runner.read(stream.getvalue())

    assert not runner.obeyed
    assert not runner.stopped


def test_a_stop_cannot_be_foreseen() -> None:
    first, second = io.StringIO(), io.StringIO()
    for stream in (first, second):
        with commands_disabled(stream):
            pass

    assert first.getvalue() != second.getvalue()
    assert len(first.getvalue().splitlines()[0]) > len("::stop-commands::") + 32


def test_the_marks_of_the_logs_viewer_are_broken_up() -> None:
    stream = io.StringIO()

    with commands_disabled(stream) as say:
        say("converter: ##[endgroup] and ##[error]all is lost\n")

    assert "##[" not in stream.getvalue()
    assert "[endgroup]" in stream.getvalue()


@given(foreign=_HARMFUL)
def test_a_defused_text_holds_no_command(foreign: str) -> None:
    runner = _Runner()

    runner.read(harmless(foreign))

    assert not runner.obeyed
    assert not runner.stopped


@pytest.mark.parametrize("blank", [" ", "\t", "\v", "\u00a0", "\u2028", "\u3000"])
def test_blanks_before_a_command_do_not_hide_it(blank: str) -> None:
    # The runner trims what .NET calls white space.
    assert not harmless(f"{blank}::error::x").lstrip().startswith("::")


def test_a_group_is_closed_after_an_error_too() -> None:
    stream = io.StringIO()

    def broken() -> None:
        with group("resnet50\n::error::x", stream):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    assert stream.getvalue() == "::group::resnet50%0A::error::x\n::endgroup::\n"


def _read_outputs(text: str) -> dict[str, str]:
    """Return what FileCommandManager reads from GITHUB_OUTPUT."""
    values, lines = {}, text.split("\n")
    assert lines.pop() == "", "the file ends with a line end"
    while lines:
        line = lines.pop(0)
        if not line:
            continue
        if "=" in line and ("<<" not in line or line.index("=") < line.index("<<")):
            name, _, values[name] = line.partition("=")
            continue
        name, _, delimiter = line.partition("<<")
        end = lines.index(delimiter)
        values[name] = "\n".join(lines[:end])
        del lines[: end + 1]
    return values


_VALUES = st.lists(st.sampled_from(["status", "=", "<<", "end_", "\n", "\r", "EOF", "good", "é"])).map("".join)


@given(values=st.lists(_VALUES, min_size=1, max_size=3))
def test_an_output_is_its_value_and_sets_no_other(values: list[str]) -> None:
    outputs = {f"output_{number}": value for number, value in enumerate(values)}

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "output")
        assert set_outputs(outputs, path) == ()
        assert _read_outputs(path.read_bytes().decode()) == outputs


def test_outputs_are_appended(tmp_path: Path) -> None:
    path = tmp_path / "output"

    set_outputs({"status": "success"}, path)
    set_outputs({"total": "3", "results": '[{"model": "a"}]\n'}, path)

    assert _read_outputs(path.read_text()) == {"status": "success", "total": "3", "results": '[{"model": "a"}]\n'}


def test_a_value_that_holds_the_delimiter_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda _: "0" * 32)
    path = tmp_path / "output"

    with pytest.raises(ValueError, match="the output models holds its own delimiter"):
        set_outputs({"models": f"a\nend_{'0' * 32}\nstatus=success"}, path)
    assert not path.exists()


@pytest.mark.parametrize("name", ["", "a=b", "a<<b", "a\nb", "1a"])
def test_a_name_is_a_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="isn't a valid output name"):
        set_outputs({name: "x"}, tmp_path / "output")


def test_the_longest_outputs_are_left_out_where_all_are_too_long(tmp_path: Path) -> None:
    path = tmp_path / "output"

    left_out = set_outputs({"results": "x" * 490_000, "matrix": "y" * 20_000, "status": "success"}, path)

    assert left_out == ("results",)
    assert set(_read_outputs(path.read_text())) == {"matrix", "status"}


def test_what_was_written_before_counts(tmp_path: Path) -> None:
    path = tmp_path / "output"

    assert set_outputs({"results": "x" * 400_000}, path) == ()
    assert set_outputs({"matrix": "y" * 300_000, "status": "success"}, path) == ("matrix",)
    assert set(_read_outputs(path.read_text())) == {"results", "status"}


def test_without_a_runner_nothing_is_written() -> None:
    assert set_outputs({"status": "success"}, None) == ()
    append_summary("# Report", None)


def test_a_summary_is_appended_as_it_is_where_it_fits(tmp_path: Path) -> None:
    path = tmp_path / "summary"

    append_summary("# One\n", path)
    append_summary("# Two\n", path)

    assert path.read_text() == "# One\n# Two\n"


def test_a_long_summary_is_cut_before_a_heading_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "summary"
    path.write_bytes(b"# Of an earlier call\n")
    fenced = "### Kept\n\n```shell\n\n# no heading\n````\n"
    folded = "### Cut\n\n<details>\n\n### no heading\n\n"

    append_summary(f"## Report\n\n{fenced}\n{folded}{'é' * 1024 * 1024}", path)

    text = path.read_text()
    assert path.stat().st_size <= 1024 * 1024
    assert text.startswith(f"# Of an earlier call\n## Report\n\n{fenced}\n**Truncated**")
    assert "Cut" not in text


def test_a_heading_in_a_code_block_is_no_border(tmp_path: Path) -> None:
    path = tmp_path / "summary"

    append_summary("## One\n\n```\n" + "# comment\n" * 200_000 + "```\n", path)

    assert path.read_text() == workflow._CUT


def test_a_full_summary_takes_nothing_more(tmp_path: Path) -> None:
    path = tmp_path / "summary"
    path.write_bytes(b"x" * (1024 * 1024 - 3))

    append_summary("# More\n", path)

    assert path.stat().st_size == 1024 * 1024 - 3
