"""The text of a comment that several voices may share: composed, and read again. Pure.

The first line is the marker with the outcome of all. The last line, which is invisible too, has for each voice its
record, its outcome, where its part begins and how long it is, and the commit that it's about. Nothing in a part can
pass for one of the two. A part may begin with a line that says that it's out of date.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from navigator.github.voices import Record, named, read_record

AROUND_CHARS = 800
"""What a comment may have more than the body of its only voice: the last line, and one that it's out of date."""

_LIMIT_CHARS = 65_535
_FIRST_LINE = re.compile(r"(<!-- model-navigator:.* outcome:)([0-9a-f]+) -->\n?")
_LAST_LINE = re.compile(r"\n<!-- voices:((?: \S+)+) -->$")
# Comments of earlier versions have no commit.
_PLACE = re.compile(r"([0-9a-f]{1,64}):(\d{1,5})\+(\d{1,5})(?::([0-9a-f]{1,40}))?")
_MARK = re.compile(r"\A> .*\n\n")
_MOST_VOICES = 300
_LEFT_OUT = "There's no room for this report here: see the job's summary.\n"


@dataclass(frozen=True, slots=True)
class Part:
    """What one voice says: its record, the comment's marker, and outcome, markdown and commit of its own."""

    record: Record
    marker: str
    outcome: str
    content: str
    commit: str = ""

    @property
    def is_whole(self) -> bool:
        """Tell whether the content is what the voice wrote."""
        return self.content != _LEFT_OUT

    @property
    def is_marked(self) -> bool:
        """Tell whether it says that it's out of date."""
        return _MARK.match(self.content) is not None

    def marked(self, line: str) -> "Part":
        """Return it with a line on top that says that it's out of date, instead of an earlier one."""
        return replace(self, content=f"> {line}\n\n{_MARK.sub('', self.content, count=1)}")


def split(body: str) -> tuple[str, str, str]:
    """Return marker, outcome and content of the body of one voice."""
    found = _FIRST_LINE.match(body)
    assert found, "the body begins with its marker"
    return found[1], found[2], body[found.end() :]


def outcome(text: str) -> str:
    """Return the outcome that a comment shows."""
    found = _FIRST_LINE.match(text)
    return found[2] if found else ""


def compose(parts: Sequence[Part]) -> str:
    """Return the comment of at least one voice: the worst verdict first, shortened to GitHub's limit from the end."""
    ordered = sorted(parts, key=lambda each: (-each.record.verdict, each.record.voice.job, str(each.record)))
    for kept in range(len(ordered), -1, -1):
        contents = [each.content if index < kept else _LEFT_OUT for index, each in enumerate(ordered)]
        text = _composed(ordered, contents)
        if len(text) <= _LIMIT_CHARS:
            break
    return text


def read(text: str) -> tuple[Part, ...]:
    """Return the parts of a comment; of one that somebody edited those that are left, each without its content."""
    first, last = _FIRST_LINE.match(text), _LAST_LINE.search(text)
    if not first or not last:
        return ()
    parts = []
    for entry in last[1].split()[:_MOST_VOICES]:
        written, _, place = entry.partition(":")
        record, found = read_record(written), _PLACE.fullmatch(place)
        if record and found:
            start, length = int(found[2]), int(found[3])
            parts.append(Part(record, first[1], found[1], text[start : start + length], found[4] or ""))
    if parts and _composed(parts, [each.content for each in parts]) != text:
        return tuple(replace(each, content=_LEFT_OUT) for each in parts)
    return tuple(parts)


def _composed(parts: Sequence[Part], contents: Sequence[str]) -> str:
    alone = len(parts) == 1
    text = f"{parts[0].marker}{_outcome(parts)} -->\n"
    if not alone:
        text += "**Several jobs share this comment.** Give each its own `status_context`.\n\n"
    entries = ""
    for part, content in zip(parts, contents, strict=True):
        who = named(part.record.voice)
        text += "" if alone else f"---\n\n**{who[0].upper()}{who[1:]}**\n\n"
        commit = f":{part.commit}" if part.commit else ""
        entries += f" {part.record}:{part.outcome}:{len(text)}+{len(content)}{commit}"
        text += content
    return f"{text}\n<!-- voices:{entries} -->"


def _outcome(parts: Sequence[Part]) -> str:
    """Return the outcome of all: of one voice its own."""
    if len(parts) == 1:
        return parts[0].outcome
    return hashlib.sha256(" ".join(sorted(each.outcome for each in parts)).encode()).hexdigest()[:16]
