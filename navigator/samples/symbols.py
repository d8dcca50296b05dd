"""What a model's file says of the sizes of its inputs' axes: the same name is the same size, others are computed.

The user's shapes take precedence; where they contradict the file, a note says so. Pure.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from navigator.errors import listed, one_line, quote
from navigator.records import AxisSpec, ShapeProfile
from navigator.samples.expressions import Expression, as_name, parsed

Shape = tuple[int, ...]
Place = tuple[str, int]
"""An axis: the input's name, and the axis."""

Given = Mapping[str, Mapping[str, Shape]]
"""Shapes by option (`min_shapes`, …) and input."""


_TOLD = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Names:
    """The sizes of axes by the names in the model's file.

    Args:
        sizes: the expression of each axis that has one.
        ranges: the smallest and largest size of names that the file limits. Such names are known to be independent.
        given: the sizes of names that the user's shapes contain or follow from them, by option.
        notes: where the user's shapes contradict the file.
    """

    sizes: Mapping[Place, Expression]
    ranges: Mapping[str, tuple[int, int | None]]
    given: Mapping[str, Mapping[str, int]]
    notes: tuple[str, ...] = ()

    @property
    def symbols(self) -> tuple[str, ...]:
        """All names, each once."""
        return tuple(dict.fromkeys(name for size in self.sizes.values() for name in sorted(size.names)))

    @property
    def plain(self) -> dict[str, list[Place]]:
        """The axes of each name that has any for itself."""
        found: dict[str, list[Place]] = {}
        for place, size in self.sizes.items():
            if not size.operators:
                found.setdefault(size.text, []).append(place)
        return found

    @property
    def computed(self) -> dict[Place, Expression]:
        """The axes whose sizes are computed from others."""
        return {place: size for place, size in self.sizes.items() if size.operators}

    def size(self, place: Place, symbols: Mapping[str, int]) -> int | None:
        """Return the size of an axis with these sizes of names, or None if it's unknown or none."""
        return (self.sizes[place].value(symbols) or None) if place in self.sizes else None

    def smallest(self, largest: Mapping[str, int]) -> dict[str, int]:
        """Return the smallest size of each name: the file's or 1, and more if a computed axis would have no element."""
        found = {name: self.ranges.get(name, (1, None))[0] or 1 for name in largest}
        for size in self.computed.values():
            for name in sorted(size.names & found.keys()):
                least = size.at_least(name, 1, {**largest, **found})
                found[name] = max(found[name], least or 0)
        return {name: min(size, largest[name]) for name, size in found.items()}

    def without(self, places: Iterable[Place]) -> "Names":
        """Return the names without those of some axes."""
        left_out = set(places)
        return replace(self, sizes={place: size for place, size in self.sizes.items() if place not in left_out})


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The shapes that a model is made for, and what is known about its axes.

    Args:
        profile: the smallest, usual and largest shapes.
        names: the names of axes, without those that the user's shapes contradict.
        symbols: the smallest and the largest size of each name.
    """

    profile: ShapeProfile
    names: Names
    symbols: Mapping[str, tuple[int, int]]


def named(frames: Mapping[str, Shape], axes: Mapping[str, Sequence[AxisSpec]], given: Given) -> Names:
    """Return what the file says of the sizes, as far as the user's shapes don't contradict it.

    Args:
        frames: the shape of each input, with -1 for dynamic axes.
        axes: what the file says of each input's axes.
        given: the user's shapes.
    """
    known = {
        (name, axis): (size, spec.ranges)
        for name, frame in frames.items()
        for axis, spec in enumerate(axes.get(name, ())[: len(frame)])
        if (size := parsed(spec.size)) is not None
    }
    plain = {size.text for size, _ in known.values() if not size.operators}
    sizes = {
        place: size if ranges or _is_meant(size, size.names - plain) else as_name(size.text)
        for place, (size, ranges) in known.items()
    }
    ranges = {name: limits for _, stated in known.values() for name, limits in stated.items()}
    names, sets = _agreeing(Names(sizes=sizes, ranges=ranges, given={}), frames, given)
    return _solved(names, sets, frames, given)


def _is_meant(size: Expression, unknown: frozenset[str]) -> bool:
    """Return whether a text is an expression. `batch-size` is a name if nothing else is called `batch` and `size`."""
    return not unknown or (len(unknown) == 1 and not size.may_be_a_name)


def _size(place: Place, frames: Mapping[str, Shape], shapes: Mapping[str, Shape]) -> int | None:
    """Return the size of an axis that the signature or the user's shapes have."""
    name, axis = place
    if frames[name][axis] >= 0:
        return frames[name][axis]
    return shapes[name][axis] if name in shapes else None


def _agreeing(names: Names, frames: Mapping[str, Shape], given: Given) -> tuple[Names, dict[str, dict[str, int]]]:
    """Return the names without those for which the user gives several sizes, and the sizes of the others by option."""
    sets: dict[str, dict[str, int]] = {key: {} for key in given}
    dropped: dict[str, str] = {}
    for name, places in names.plain.items():
        for key, shapes in given.items():
            sizes = {place: size for place in places if (size := _size(place, frames, shapes)) is not None}
            if len(set(sizes.values())) > 1 and any(frames[name][axis] < 0 for name, axis in sizes):
                has = short([f"{size} for {_written(place)}" for place, size in sizes.items()], " and ")
                dropped.setdefault(
                    name, f"{key} has {has}, which are one size {quote(name)} in the model: yours are used"
                )
            elif sizes:
                sets[key][name] = next(iter(sizes.values()))
    left = names.without(place for place, size in names.sizes.items() if size.names & dropped.keys())
    return replace(left, notes=(*names.notes, *dropped.values())), sets


def _solved(names: Names, sets: dict[str, dict[str, int]], frames: Mapping[str, Shape], given: Given) -> Names:
    """Return the names with the sizes that follow from those that the user gives for computed axes."""
    notes: dict[Place, str] = {}
    for key, shapes in given.items():
        for place, expression in names.computed.items():
            size = _size(place, frames, shapes)
            unknown = sorted(expression.names - sets[key].keys())
            if size is None or len(unknown) > 1 or place in notes:
                continue
            found = expression.solved(unknown[0], size, sets[key]) if unknown else None
            if found:
                sets[key][unknown[0]] = found
            elif unknown or expression.value(sets[key]) != size:
                says = f"{_written(place)} is {_readable(expression, names)} in the model"
                notes[place] = f"{key} has {size} for {_written(place)}, but {says}: yours is used"
    return replace(names.without(notes), given=sets, notes=(*names.notes, *notes.values()))


def told(layout: Layout) -> str:
    """Return a sentence on the sizes that follow the model's file, or "" if there are none.

    Not on batches of one name: they're always alike.
    """
    names, profile = layout.names, layout.profile
    parts = []
    for name, places in names.plain.items():
        free = [place for place in places if profile.min[place[0]][place[1]] < profile.max[place[0]][place[1]]]
        tied = len(free) > 1 and any(axis > 0 for _, axis in free)
        limited = free and names.ranges.get(name, (1, None))[1] and name not in names.given["max_shapes"]
        if tied or limited:
            low, high = layout.symbols[name]
            parts.append(short([*map(_written, free)], " = ") + (f" from {low} to {high}" if limited else ""))
    parts += [f"{_written(place)} = {_readable(size, names)}" for place, size in names.computed.items()]
    return f"sizes from the model's file: {short(parts, ', ')}" if parts else ""


def short(texts: Sequence[str], between: str) -> str:
    """Join texts, all of a few: a language model's past has two axes for each layer."""
    left_out = [f"{len(texts) - _TOLD} others"] if len(texts) > _TOLD + 1 else []
    return between.join([*texts[: _TOLD if left_out else None], *left_out])


def _written(place: Place) -> str:
    return f"{listed([place[0]])}[{place[1]}]"


def _readable(expression: Expression, names: Names) -> str:
    """Return an expression with axes instead of names: those of torch.export are numbered."""
    first = {name: _written(places[0]) for name, places in names.plain.items()}
    return one_line(re.sub(r"[^\W\d]\w*", lambda found: first.get(found[0], found[0]), expression.text))
