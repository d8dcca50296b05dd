"""Formats numbers, sizes, durations and states for readers. Pure; knows no output format."""

from navigator.records import Change, State


def count(amount: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{amount:,} {noun}" if amount == 1 else f"{amount:,} {noun}s"


def number(amount: float | None) -> str:
    """Return an error or a tolerance with two digits; a dash if there is none."""
    return "-" if amount is None else f"{amount:.2g}"


def percent(part: float) -> str:
    """Return a fraction as a percentage, without rounding to 0 % or 100 %."""
    if 0 < part < 0.001:
        return "< 0.1 %"
    if part > 100:
        return "> 10,000 %"
    digits = 1 if part < 0.1 or 0.99 < part < 1.01 else 0
    told = f"{100 * part:.{digits}f}"
    if part != 1 and told == "100.0":
        return "< 100 %" if part < 1 else "> 100 %"
    return f"{told.removesuffix('.0')} %"


def seconds(amount: float) -> str:
    """Return a duration."""
    if amount < 60:
        return f"{amount:.1f} s"
    minutes, rest = divmod(round(amount), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def milliseconds(amount: float) -> str:
    """Return a latency that was measured in seconds."""
    return f"{1000 * amount:.3g} ms"


def shape(axes: tuple[int, ...]) -> str:
    """Return a shape as 1x3x224x224."""
    return "x".join(str(axis) for axis in axes) or "scalar"


def size(amount: int) -> str:
    """Return a size in the binary unit that fits."""
    scaled, unit = float(amount), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if scaled < 1024:
            break
        scaled, unit = scaled / 1024, larger
    return f"{scaled:.0f} {unit}" if unit == "B" else f"{scaled:.1f} {unit}"


def word(state: State | Change) -> str:
    """Return a state, or a change, for readers."""
    return str(state).replace("_", " ")
