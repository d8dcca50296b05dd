"""Workflow commands and runner files: what a step tells GitHub's runner, by its output and by files.

Owns the escapes and the limits of both. Does not decide what is worth telling. The runner reads every line of a step's
output, foreign text included: whatever is not ours is written by `navigator.render.streams.write`.

Source: github.com/actions/runner, ActionCommand.cs, ActionCommandManager.cs and FileCommandManager.cs.
"""

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from navigator.render.annotations import Annotation, Level
from navigator.render.streams import write_raw
from navigator.render.text import harmless, printable, shorten

ANNOTATIONS_PER_LEVEL = 10
"""What GitHub keeps of a level for each step."""

OUTPUTS_LIMIT_BYTES = 1_000_000
"""Names and values of all outputs, in UTF-16: over it GitHub keeps none of the job's."""

SUMMARY_LIMIT_BYTES = 1024 * 1024
"""The step summary in UTF-8: over it GitHub shows none of it."""

_MESSAGE_CHARS = 4096
_TITLE_CHARS = 255
_CUT = "\n\n**Truncated**: GitHub shows at most 1 MiB. The full report is in `summary.md` of the results.\n"

_OUTPUT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")


def command(name: str, message: str = "", **properties: str | int | None) -> str:
    """Return one workflow command, one line without its end; properties that are None or "" are left out."""
    given = ",".join(f"{key}={_property(str(value))}" for key, value in properties.items() if value not in (None, ""))
    return f"::{name}{' ' if given else ''}{given}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def annotate(annotations: Iterable[Annotation], stream: TextIO) -> int:
    """Write annotations, the first ten of each level; the tenth says how many more there were.

    Returns:
        The number of annotations written.
    """
    levels: dict[Level, list[Annotation]] = {}
    for annotation in annotations:
        levels.setdefault(annotation.level, []).append(annotation)
    written = 0
    for level, found in levels.items():
        shown = found[:ANNOTATIONS_PER_LEVEL]
        for number, annotation in enumerate(shown, start=1):
            more = len(found) - number if number == ANNOTATIONS_PER_LEVEL else 0
            remark = f"\n\n{more} more at level {level} aren't shown; the summary lists all of them." if more else ""
            tell(_annotation(annotation, remark), stream)
        written += len(shown)
    return written


def _annotation(annotation: Annotation, remark: str) -> str:
    return command(
        annotation.level,
        shorten(harmless(annotation.message), _MESSAGE_CHARS - len(remark)) + remark,
        title=shorten(harmless(annotation.title), _TITLE_CHARS),
        file=harmless(annotation.path),
        line=annotation.line,
        col=annotation.column if annotation.line is not None else None,
    )


def mask(value: str, stream: TextIO) -> None:
    """Make the runner replace each line of `value` by *** in logs from now on."""
    for line in value.splitlines():
        if line.strip():
            tell(command("add-mask", line), stream)


@contextmanager
def commands_disabled(stream: TextIO) -> Iterator[Callable[[str], None]]:
    """Stop workflow commands while foreign output is written; give what writes that output, in whole lines.

    What ends the stop must begin a line, so an unfinished last line is ended here. The runner's older `##[name]`
    commands are stopped too, but the log's viewer folds and colors lines by them: these are escaped.
    """
    token = secrets.token_hex(20)
    ended = True

    def foreign(text: str) -> None:
        nonlocal ended
        if text:
            write_raw(printable(text), stream)
            ended = text.endswith("\n")

    tell(command("stop-commands", token), stream)
    try:
        yield foreign
    finally:
        if not ended:
            write_raw("\n", stream)
        tell(command(token), stream)


@contextmanager
def group(title: str, stream: TextIO) -> Iterator[None]:
    """Fold what is written meanwhile, in the log, under `title`."""
    tell(command("group", title), stream)
    try:
        yield
    finally:
        tell(command("endgroup"), stream)


def set_outputs(outputs: Mapping[str, str], path: Path | None) -> tuple[str, ...]:
    """Append outputs to the file GITHUB_OUTPUT; without a `path`, outside of GitHub's runner, write nothing.

    Each value is between lines with its own random delimiter, so that no value can end early and set another
    output.

    Returns:
        The names of the outputs that are left out because all would be too long, the longest first to go.

    Raises:
        ValueError: a name is none, or a value holds the delimiter.
    """
    if path is None:
        return ()
    # Only the size on disk of earlier outputs is known; in UTF-16 they have at most twice as many bytes.
    kept, used = [], 2 * path.stat().st_size if path.exists() else 0
    for name, value in sorted(outputs.items(), key=lambda item: len(item[1])):
        used += len(f"{name}{value}".encode("utf-16-le", "replace"))
        if used > OUTPUTS_LIMIT_BYTES:
            break
        kept.append(name)
    entries = [_output(name, value) for name, value in outputs.items() if name in kept]
    with path.open("ab") as file:
        file.write("".join(entries).encode("utf-8", "replace"))
    return tuple(name for name in outputs if name not in kept)


def _output(name: str, value: str) -> str:
    delimiter = f"end_{secrets.token_hex(16)}"
    if not _OUTPUT_NAME.fullmatch(name):
        raise ValueError(f"{name!r} isn't a valid output name")
    if delimiter in value:
        raise ValueError(f"the value of the output {name} holds its own delimiter")
    return f"{name}<<{delimiter}\n{value}\n{delimiter}\n"


def append_summary(markdown: str, path: Path | None) -> None:
    """Append to the step summary (GITHUB_STEP_SUMMARY) what fits, cut before a heading; without a `path` nothing."""
    if path is None:
        return
    content = markdown.encode("utf-8", "replace")
    room = SUMMARY_LIMIT_BYTES - (path.stat().st_size if path.exists() else 0)
    if len(content) > room:
        remark = _CUT.encode()
        if room < len(remark):
            return
        content = _sections(content, room - len(remark)) + remark
    with path.open("ab") as file:
        file.write(content)


def _sections(content: bytes, limit: int) -> bytes:
    """Return the whole sections that fit; a heading inside of a code block or a folded part begins none."""
    border = position = folded = 0
    fence = ""
    for line in content.splitlines(keepends=True):
        if position > limit:
            break
        shown = line.decode("utf-8").rstrip("\r\n")
        if not fence and not folded and shown.startswith("#"):
            border = position
        fence = _fence_after(shown, fence)
        if not fence:
            folded += shown.count("<details") - shown.count("</details")
        position += len(line)
    return content[:border].rstrip()


def _fence_after(line: str, fence: str) -> str:
    """Return the marks of the code block that is open after `line`, "" for none; `fence` are those before it."""
    found = _FENCE.fullmatch(line)
    if found is None:
        return fence
    if not fence:
        inline = found[1].startswith("`") and "`" in found[2]
        return "" if inline else found[1]
    closes = found[1].startswith(fence) and not found[2].strip()
    return "" if closes else fence


def tell(line: str, stream: TextIO) -> None:
    """Write a command."""
    write_raw(f"{line}\n", stream)
