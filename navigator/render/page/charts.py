"""Charts of a report, as SVG for its page. Drawn by pygal; colors and fonts are the page's (`report.css`). Pure."""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from navigator.records import DISTRIBUTION, Comparison, Span, Work
from navigator.render.page.ticks import DURATIONS, LATENCIES, SIZES, ticks
from navigator.render.text import clean, shorten
from navigator.render.values import count, milliseconds, number, percent, seconds, size

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# The rows of a chart, the work in a timeline, and the characters of a name in a chart.
MOST_ROWS = 24
_MOST_SPANS = 1500
_NAME = 44

_WIDTH, _HEAD = 860, 56
_BAD = "var(--bad)"

_WORK = {Work.REFERENCE: "source model", Work.CONVERT: "conversion", Work.VERIFY: "verification"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A chart as SVG, and the names of its series in the order of their colors, none if there's one.

    `has_bad` is whether some of it has the color of what is out of tolerance.
    """

    caption: str
    svg: str
    keys: tuple[str, ...] = ()
    has_bad: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """A row of a chart: a name, what was measured of it, and in the base if that's known."""

    name: str
    value: float
    before: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Errors:
    """A row of the charts of errors: an output of a conversion, and its largest error in the base if it's known."""

    name: str
    comparison: Comparison
    before: float | None = None


def errors(rows: Sequence[Errors], title: str) -> Figure | None:
    """Return the largest and mean errors of outputs beside their tolerances, logarithmic; None without any."""
    shown = [each for each in rows if each.comparison.max_abs_error is not None and each.comparison.atol > 0][::-1]
    if not shown:
        return None
    chart = _bars(len(shown), logarithmic=True, bars=4 if any(each.before for each in shown) else 3)
    chart.value_formatter = number
    scale = _powers([each.comparison for each in shown], [each.before for each in shown])
    chart.y_labels, chart.range, chart.zero = scale, (scale[0], scale[-1]), scale[0]
    chart.x_labels = [_short(each.name) for each in shown]
    series: dict[str, list[Any]] = {
        "largest error": [_positive(each.comparison.max_abs_error, each.comparison) for each in shown],
        "mean error": [_positive(each.comparison.mean_abs_error, each.comparison) for each in shown],
        "absolute tolerance": [each.comparison.atol for each in shown],
    }
    if any(each.before for each in shown):
        series["largest error in the base"] = [each.before or None for each in shown]
    return _figure(chart, "Error against tolerance", title, series)


def _powers(comparisons: Sequence[Comparison], more: Sequence[float | None]) -> list[float]:
    """Return powers of ten around errors and tolerances, for the scale."""
    amounts = [
        amount
        for each in comparisons
        for amount in (each.max_abs_error, each.mean_abs_error, each.atol)
        if amount and math.isfinite(amount)
    ]
    amounts += [each for each in more if each and math.isfinite(each)]
    low, high = (math.log10(end) for end in (min(amounts), max(amounts)))
    first, last = math.floor(low), max(math.floor(low) + 1, math.ceil(high))
    return [10.0**power for power in range(first, last + 1, -(-(last - first) // 12) or 1)]


def _positive(error: float | None, comparison: Comparison) -> dict[str, Any] | None:
    """Return an error for a logarithmic scale, which has no 0."""
    if not error or not math.isfinite(error):
        return None
    wrong = not comparison.passed and error == comparison.max_abs_error
    return _dot(error, is_bad=wrong) if wrong else {"value": error}


def _dot(amount: float | None, *, is_bad: bool) -> dict[str, Any]:
    """Return a value with its color."""
    color = _BAD if is_bad else "var(--series-0)"
    return {"value": amount, "node": {"style": f"fill: {color}; stroke: {color}"}}


def distribution(outputs: Sequence[Errors], title: str) -> Figure | None:
    """Return how many elements have errors of which size, in parts of their tolerance; None if nothing was compared."""
    shown = [each for each in outputs if any(each.comparison.distribution)]
    if not shown:
        return None
    chart = _pygal().Dot(**_options(_HEAD + 30 * len(shown)), logarithmic=True)
    chart.x_labels = [
        "no error",
        *(f"≤ {percent(limit)}" if limit <= 1 else f"≤ {limit:g}x" for limit in DISTRIBUTION),
        f"> {DISTRIBUTION[-1]:g}x",
    ]
    chart.value_formatter = lambda amount: count(int(amount), "element")
    allowed = 1 + DISTRIBUTION.index(1.0)
    rows = {
        _short(each.name): [
            _dot(amount or None, is_bad=place > allowed) for place, amount in enumerate(each.comparison.distribution)
        ]
        for each in shown
    }
    return _figure(chart, "Distribution of errors, in parts of the tolerance", title, rows, has_keys=False)


def sizes(bars: Sequence[Bar], title: str) -> Figure | None:
    """Return sizes in bytes as bars; None for fewer than two."""
    return _measured(bars, "Size", title, SIZES, lambda amount: size(int(amount)))


def latencies(bars: Sequence[Bar], title: str) -> Figure | None:
    """Return latencies in seconds as bars; None for fewer than two."""
    return _measured(bars, "Latency", title, LATENCIES, milliseconds)


def _measured(
    bars: Sequence[Bar], caption: str, title: str, steps: Sequence[float], told: Callable[[float], str]
) -> Figure | None:
    if len(bars) < 2:
        return None
    bars = bars[::-1]
    compared = any(each.before is not None for each in bars)
    chart = _bars(len(bars), bars=2 if compared else 1)
    chart.value_formatter = told
    chart.x_labels = [_short(each.name) for each in bars]
    largest = max(max(each.value, each.before or 0) for each in bars)
    chart.y_labels = ticks(largest, steps, told)
    series: dict[str, list[float | None]] = {"now": [each.value for each in bars]}
    if compared:
        series["in the base"] = [each.before for each in bars]
    return _figure(chart, caption, title, series)


def timeline(spans: Sequence[Span], title: str) -> Figure | None:
    """Return what the workers did, one line for each; None without anything."""
    if not spans:
        return None
    workers = 1 + max(each.worker for each in spans)
    end = max(each.start + each.seconds for each in spans)
    chart = _pygal().XY(
        **_options(_HEAD + 40 * workers),
        allow_interruptions=True,
        show_dots=False,
        stroke_style={"width": 14},
        range=(0.5, workers + 0.5),
        xrange=(0, end),
    )
    chart.x_labels = [each for each in ticks(end, DURATIONS, seconds) if each["value"] <= end]
    chart.x_value_formatter = seconds
    chart.y_labels = [{"label": f"worker {worker + 1}", "value": workers - worker} for worker in range(workers)]
    longest = sorted(spans, key=lambda span: -span.seconds)[:_MOST_SPANS]
    lines: dict[str, list[Any]] = {name: [] for name in _WORK.values()}
    for each in longest:
        line = workers - each.worker
        lines[_WORK[each.work]] += [(each.start, line), (each.start + each.seconds, line), (None, None)]
    return _figure(chart, "What each worker did, in time after the start", title, lines)


def _pygal() -> Any:
    """Import pygal without what it does to all later imports: they'd warn where a module is missing (3.1)."""
    import pygal

    # Not all that are new: importlib_metadata, which it imports, replaces the importer that finds distributions.
    sys.meta_path[:] = [each for each in sys.meta_path if not isinstance(each, pygal.PluginImportFixer)]
    return pygal


def _bars(rows: int, *, bars: int, logarithmic: bool = False) -> Any:
    height = _HEAD + rows * (10 + 12 * bars)
    return _pygal().HorizontalBar(**_options(height), logarithmic=logarithmic, print_values=False)


def _options(height: int) -> dict[str, Any]:
    return {
        "title": None,
        "width": _WIDTH,
        "height": height,
        "js": (),
        "css": (),
        "show_y_guides": True,
        # The page has one.
        "show_legend": False,
        "margin": 8,
        "margin_right": 30,
        "spacing": 8,
        "disable_xml_declaration": True,
        "truncate_legend": -1,
        "truncate_label": -1,
        "no_data_text": "",
        "classes": ("chart",),
        "explicit_size": False,
    }


def _figure(
    chart: Any, caption: str, title: str, series: Mapping[str, Sequence[Any]], *, has_keys: bool = True
) -> Figure:
    """Return a chart without its own styles and scripts, with a name for readers who can't see it."""
    for name, values in series.items():
        chart.add(name, values)

    def plain(tree: "Element") -> "Element":
        tree.attrib.pop("id", None)
        tree.set("role", "img")
        tree.set("aria-label", title)
        for parent in [*tree.iter()]:
            for each in [*parent]:
                # A comment's tag is a function. The titles of a chart and of its axes are those of no value.
                is_text = each.tag == "title" or (each.tag == "desc" and each.get("class") != "value")
                if is_text or callable(each.tag) or each.tag in ("defs", "script", "style"):
                    parent.remove(each)
                elif each.tag == "desc":
                    each.tag = "title"
        return tree

    chart.add_xml_filter(plain)
    drawn: str = chart.render(is_unicode=True)
    keys = tuple(series) if has_keys and len(series) > 1 else ()
    return Figure(caption=caption, svg=drawn, keys=keys, has_bad=_BAD in drawn)


def _short(name: str) -> str:
    return shorten(clean(name), _NAME)
