"""A text of parts, some of them in folds, that is shortened to a limit: the most important parts stay. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from navigator.render.values import count

_RESERVE_CHARS = 400
"""Room for the sentence on what was left out."""

_AROUND_CHARS = 60
"""What a fold has around its title and its parts."""


@dataclass(frozen=True, slots=True)
class Part:
    """Markdown that is shown or left out as a whole; `kind` is what it's called then, in the singular."""

    text: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Fold:
    """A part that is opened by a click on its `title`, which is HTML. It's left out with the last of its parts."""

    title: str
    parts: tuple["Part | Fold", ...]


def markdown(parts: Sequence[Part | Fold], limit_chars: int | None = None) -> str:
    """Return parts as markdown, if necessary without some, the last first, and with a sentence that says so.

    Args:
        parts: in the order of their importance. The first is never left out, but cut off.
        limit_chars: maximum length.
    """
    whole = _joined(parts)
    if limit_chars is None or len(whole) <= limit_chars:
        return whole
    kept, left_out = [*parts[:1]], Counter[str]()
    room = limit_chars - len(_joined(kept)) - _RESERVE_CHARS
    for part in parts[1:]:
        fitting, room = _fitted(part, room, left_out)
        kept += fitting
    what = ", ".join(count(number, kind) for kind, number in left_out.items())
    remark = Part(f"**Truncated:** the full report doesn't fit here. Left out: {what}.")
    cut = _joined([*kept, remark])
    # Not even the first fits; it has no markup that the end could leave open.
    return cut if len(cut) <= limit_chars else _joined(parts[:1])[:limit_chars]


def _fitted(part: Part | Fold, room: int, left_out: Counter[str]) -> tuple[list[Part | Fold], int]:
    """Return what fits of a part, and the room that is left; count what doesn't."""
    if isinstance(part, Part):
        needed = len(part.text) + 2
        if needed <= room:
            return [part], room - needed
        left_out[part.kind] += 1
        return [], room
    inside: list[Part | Fold] = []
    before, room = room, room - len(part.title) - _AROUND_CHARS
    for each in part.parts:
        fitting, room = _fitted(each, room, left_out)
        inside += fitting
    return ([replace(part, parts=tuple(inside))], room) if inside else ([], before)


def _joined(parts: Sequence[Part | Fold]) -> str:
    """Return parts with a blank line between them, but none between the items of a list."""
    texts = [*map(_text, parts)]
    ends = ["\n" if a.startswith("- ") and b.startswith("- ") else "\n\n" for a, b in pairwise(texts)]
    return "".join(text + end for text, end in zip(texts, [*ends, "\n"], strict=True))


def _text(part: Part | Fold) -> str:
    if isinstance(part, Part):
        return part.text
    return f"<details>\n<summary>{part.title}</summary>\n\n{_joined(part.parts)}\n</details>"
