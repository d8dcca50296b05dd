"""Renders a report as one HTML file without network: for `report.html` beside the summary.

Everything that comes from models, frameworks and configurations is escaped by the template engine; only the charts are
markup, and pygal escapes their texts. A content security policy lets no script run but the page's own.
"""

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from navigator import __version__
from navigator.records import Change
from navigator.render.changes import SHOWN, option, remarks, rows, uncompared
from navigator.render.headline import headline
from navigator.render.markdown_failures import MARKS
from navigator.render.page.charts import timeline
from navigator.render.page.contents import MOST_CHARTS, columns, models
from navigator.render.sentences import environment, totals
from navigator.render.text import clean, lines
from navigator.render.values import word
from navigator.report.summary import Summary
from navigator.samples.found import finding

if TYPE_CHECKING:
    from jinja2 import Template

# Models in the matrix; if there are more, those that don't fail are folded.
_MOST_MODELS = 20

_SAID = {change: word(change) for change in Change}


def report_page(summary: Summary) -> str:
    """Return the report as HTML."""
    template, style, script = _parts()
    report, changes = summary.report, summary.changes
    compared = changes is not None and changes.baseline.found
    shown = models(summary)
    found = (f"{each.model_name}: {finding(each)}" for each in report.found)
    return template.render(
        title=headline(summary).plain,
        mark=headline(summary).mark,
        totals=totals(summary),
        origin=report.origin,
        version=__version__,
        environment=environment(report.environment),
        states=[(word(state), MARKS[state], amount) for state, amount in summary.states.items()],
        models=shown,
        columns=columns(shown),
        unfolded=max(_MOST_MODELS, sum(model.fails for model in shown)),
        undrawn=max(0, len(shown) - MOST_CHARTS),
        skipped=[(group.first, group.conversions, word(group.first.status.state)) for group in summary.skipped],
        compared=compared,
        uncompared=uncompared(summary),
        changes=[(_SAID[row.change], row) for row in rows(changes, *SHOWN)] if changes and compared else [],
        options=[(option(model, key), key.accepted) for model, key in changes.keys] if changes and compared else [],
        remarks=[*remarks(changes)] if changes and compared else [],
        notes=[*report.notes, *report.environment.notes, *found],
        timeline=timeline(report.timeline, "What the workers did, over time"),
        style=style,
        script=script,
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _harmless(shown: object) -> object:
    """Return text without what hides or reorders it; what is marked as safe stays."""
    from markupsafe import Markup

    if isinstance(shown, Markup) or not isinstance(shown, str):
        return shown
    return "\n".join(lines(shown)) if "\n" in shown else clean(shown)


@cache
def _parts() -> tuple["Template", str, str]:
    """Return the template, the style sheet and the script."""
    from jinja2 import Environment, StrictUndefined

    here = resources.files(__package__)
    texts = [(here / f"report.{kind}").read_text(encoding="utf-8") for kind in ("html.jinja", "css", "js")]
    jinja = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    jinja.finalize = _harmless
    return jinja.from_string(texts[0]), texts[1], texts[2]
