"""The comment on a pull request: the report, or why nothing was run. Pure.

Decides about the comment's first line, which identifies it, and its length. `navigator.github` decides when to
comment.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from navigator.config import InvalidConfigurationError
from navigator.errors import NavigatorError
from navigator.records import Change, Changes, KeyKind
from navigator.render.escape import code, link, text
from navigator.render.markdown import summary_markdown
from navigator.render.text import clean
from navigator.render.values import count, size
from navigator.report.summary import Summary

# GitHub's limit in characters. In UTF-8, these are at most 262,140 bytes, below the other limit of 262,144.
LIMIT_CHARS = 65_535

_KEY_CHARS = 150
# The run's own page, behind the link to the job, lists them all.
_MOST_ARTIFACTS = 50

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ArtifactLink:
    """A link to an artifact; `digest` is its "sha256:..."."""

    name: str
    url: str
    size_bytes: int = 0
    digest: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Links:
    """Links for the reader, "" if there is none. `models` has one artifact of all models, or one of each.

    `log_url` is the run that converted, which is another one than that at `run_url` where only the report is made here.
    """

    run_url: str = ""
    log_url: str = ""
    models: tuple[ArtifactLink, ...] = ()
    results_url: str = ""


def marker(key: str) -> str:
    """Return the unique start of a comment about `key`."""
    # `-->` ends an HTML comment; a bracket is always encoded.
    encoded = quote(key, safe=" /", errors="replace").replace("--", "-%2D")
    if len(encoded) > _KEY_CHARS:
        encoded = f"{encoded[:_KEY_CHARS]}~{_short_digest(key)}"
    return f"<!-- model-navigator:{encoded} outcome:"


def outcome(result: Summary | NavigatorError) -> str:
    """Return 16 hexadecimal digits that differ if a reader would see another outcome."""
    if isinstance(result, NavigatorError):
        return _short_digest(json.dumps(_problems(result)))
    report = result.report
    states = sorted((each.model_name, each.conversion, str(each.status.state)) for each in report.results)
    news = sorted(_news(result.changes)) if result.changes is not None else []
    return _short_digest(json.dumps([states, report.complete, *([news] if news else [])]))


def _news(changes: Changes) -> Iterator[tuple[str, ...]]:
    """Yield what the base adds to the outcome: what changed for better or worse."""
    same = (Change.UNCHANGED, Change.STILL_FAILING, Change.NOT_COMPARED)
    yield from (
        (each.model_name, each.conversion, each.change) for each in changes.conversions if each.change not in same
    )
    yield from ((model, key.key, key.of, key.kind) for model, key in changes.keys if key.kind is not KeyKind.CHANGED)


def comment(
    summary: Summary,
    *,
    key: str,
    links: Links,
    title: str = "",
    problem: str = "",
    limit_chars: int = LIMIT_CHARS,
) -> str:
    """Return the comment's markdown: the verdict, what changed or failed, then what a click opens.

    Args:
        summary: of a report that is finished or not.
        key: distinguishes this comment from others on the same pull request.
        links: where the artifacts and the job are.
        title: what it's about if the pull request has several comments, such as a configuration.
        problem: what went wrong beside conversions, shown first.
        limit_chars: maximum length of the comment, see `navigator.render.markdown.summary_markdown`.
    """
    above = f"**{text(problem, 200)}**\n\n" if clean(problem) else ""
    first = f"{_first_line(outcome(summary), key)}{above}"
    room = limit_chars - len(first)
    return first + summary_markdown(summary, limit_chars=room, log_url=links.log_url, title=title, links=_links(links))


def out_of_date(about: str, commit: str, run_url: str, *, cancelled: bool) -> str:
    """Return the line on top of a comment on the commit `about`, "" if that's unknown, since there's a run of another.

    Args:
        about: a full SHA, or "".
        commit: the other run's.
        run_url: the other run.
        cancelled: whether the other run was cancelled; else it hasn't ended.
    """
    earlier = clean(about)[:7] or "an earlier commit"
    run = f"the run for {clean(commit)[:7]}"
    what = "was cancelled" if cancelled else "hasn't ended"
    mark = "⏹️" if cancelled else "⏳"
    return f"{mark} **Out of date**, about {text(earlier)}: {link(text(run), run_url) or text(run)} {what}."


def problem_text(
    error: NavigatorError, *, key: str, links: Links | None = None, title: str = "", limit_chars: int = LIMIT_CHARS
) -> str:
    """Return the comment of a run that did not start: each problem with its place and what to do."""
    shown = _links(links or Links())
    last = f"\n{shown}\n" if shown else ""
    problems = _problems(error)
    wrong = isinstance(error, InvalidConfigurationError)
    what = f"Invalid configuration: {count(len(problems), 'problem')}" if wrong else "The run didn't start"
    lines = [_problem(*each) for each in problems]
    which = f"{text(title, 60)}: " if clean(title) else ""
    head = f"{_first_line(outcome(error), key)}### ❌ {which}{what}\n\nNothing was converted.\n\n"
    room = limit_chars - len(head) - len(last)
    kept = lines
    while kept and len(_list(kept, len(lines))) > room:
        kept = kept[:-1]
    return f"{head}{_list(kept, len(lines))}{last}"


def _first_line(outcome: str, key: str) -> str:
    return f"{marker(key)}{outcome} -->\n"


def _links(links: Links) -> str:
    models = [each for each in links.models if link("", each.url)]
    shown = [f"{link('Converted models', each.url)}{_about(each)}" for each in models]
    if len(models) > 1:
        named = [f"{link(text(each.name, 100), each.url)}{_about(each)}" for each in models[:_MOST_ARTIFACTS]]
        more = len(models) - len(named)
        shown = [f"Converted models: {', '.join([*named, *([f'and {more} more'] if more else [])])}"]
    return " · ".join(filter(None, [*shown, link("Results", links.results_url), link("Job", links.run_url)]))


def _about(artifact: ArtifactLink) -> str:
    """Return what is known of an artifact, in parentheses, or ""."""
    about = [size(artifact.size_bytes)] if artifact.size_bytes > 0 else []
    if _DIGEST.fullmatch(artifact.digest):
        about.append(f"sha256 {code(artifact.digest[7:19])}")
    return f" ({', '.join(about)})" if about else ""


def _problems(error: NavigatorError) -> list[tuple[str, str, str]]:
    """Return place, message and hint of each problem."""
    if not isinstance(error, InvalidConfigurationError):
        return [("", error.message, error.hint)]
    found = []
    for each in error.problems:
        place = [str(part) for part in (each.path, each.line, each.column) if part is not None]
        found.append((":".join(place), each.message, each.hint))
    return found


def _problem(place: str, message: str, hint: str) -> str:
    line = f"- {code(place)}: {text(message, 2000)}" if place else f"- {text(message, 2000)}"
    return f"{line}\\\n  **How to fix:** {text(hint)}" if hint else line


def _list(lines: Sequence[str], total: int) -> str:
    more = [f"- and {total - len(lines)} more"] if len(lines) < total else []
    return "\n".join([*lines, *more]) + "\n"


def _short_digest(content: str) -> str:
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]
