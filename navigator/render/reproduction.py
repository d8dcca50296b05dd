"""The command lines that reproduce conversions, as one where that's possible, an option on a line. Pure."""

import shlex
from collections.abc import Iterable, Sequence

_OPTION = "--conversions"


def reproduction(commands: Iterable[str]) -> str:
    """Return a shell's lines that run conversions of one model again, none longer than necessary."""
    unique = list(dict.fromkeys(filter(None, commands)))
    try:
        split = [shlex.split(each) for each in unique]
    except ValueError:
        return "\n".join(unique)
    return "\n".join(map(_lines, _together(split)))


def _together(commands: Sequence[list[str]]) -> Sequence[list[str]]:
    """Return commands that only differ in their last conversion as one of all these conversions."""
    places = {_place(each) for each in commands}
    place = places.pop() if len(places) == 1 else None
    if place is None or len({(*each[:place], *each[place + 1 :]) for each in commands}) > 1:
        return commands
    first = commands[0]
    return [[*first[:place], *(each[place] for each in commands), *first[place + 1 :]]]


def _place(command: list[str]) -> int | None:
    """Return where the only value of the last `--conversions` is."""
    if _OPTION not in command[:-1]:
        return None
    place = len(command) - command[::-1].index(_OPTION)
    alone = place + 1 == len(command) or command[place + 1].startswith("-")
    return place if place < len(command) and alone else None


def _lines(command: list[str]) -> str:
    """Return a command with an option and its values on each line."""
    lines: list[list[str]] = [[]]
    for word in command:
        if word.startswith("--") and lines != [[]]:
            lines.append([])
        lines[-1].append(word)
    return " \\\n  ".join(map(shlex.join, lines))
