"""The commit status, which can be made required, and a check run with annotations.

Source: docs.github.com, "REST API endpoints for commit statuses" and "for check runs".
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from navigator.github.event import Event
from navigator.github.rest import Json, Rest
from navigator.github.retry import found_or, once_more, retry
from navigator.render.annotations import Annotation, Level
from navigator.render.text import clean, harmless, shorten

_DESCRIPTION_CHARS = 140
_TITLE_CHARS = 255
_TEXT_CHARS = 65_535
_ANNOTATIONS_PER_CALL = 50
# A check run takes 64 KiB for a message; what explains a cell is shorter.
_MESSAGE_CHARS = 4096
_LEVELS = {Level.ERROR: "failure", Level.WARNING: "warning", Level.NOTICE: "notice"}


def set_status(rest: Rest, event: Event, *, state: str, description: str, context: str) -> None:
    """Set the status `context` of the event's commit; the latest one counts, so that it may be sent twice.

    Args:
        rest: with a token that may write statuses.
        event: its commit and run.
        state: pending, success, failure or error.
        description: one sentence, cut to GitHub's 140 characters.
        context: the status' name.
    """
    body = {
        "state": state,
        "description": shorten(clean(description), _DESCRIPTION_CHARS),
        "context": context,
        "target_url": event.run_url,
    }
    rest.call("POST", f"/repos/{event.repository}/statuses/{event.sha}", json=body, repeat=True)


def complete_check_run(
    rest: Rest,
    event: Event,
    *,
    name: str,
    conclusion: str,
    title: str,
    summary: str,
    annotations: Sequence[Annotation],
) -> str:
    """Make a check run that has ended, and return the URL of its page.

    Args:
        rest: with a token of an app that may write checks, as GITHUB_TOKEN is.
        event: its commit and run.
        name: of the check run.
        conclusion: success, failure or cancelled.
        title: one sentence.
        summary: markdown, at most 65,535 characters.
        annotations: those that name a line; GitHub takes no other.
    """
    placed = [_annotation(each) for each in annotations if each.path]
    output = {"title": shorten(clean(title), _TITLE_CHARS), "summary": summary[:_TEXT_CHARS]}
    path = f"/repos/{event.repository}/check-runs"
    run = _created(
        rest,
        event,
        {
            "name": name,
            "head_sha": event.sha,
            "external_id": f"{event.run_id}/{event.run_attempt}",
            "details_url": event.run_url,
            "status": "completed",
            "completed_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "conclusion": conclusion,
            "output": output | {"annotations": placed[:_ANNOTATIONS_PER_CALL]},
        },
    )
    for start in range(_ANNOTATIONS_PER_CALL, len(placed), _ANNOTATIONS_PER_CALL):
        # Those of later calls are added to the earlier ones.
        more = output | {"annotations": placed[start : start + _ANNOTATIONS_PER_CALL]}
        rest.call("PATCH", f"{path}/{run['id']}", json={"output": more}, repeat=False)
    return str(run["html_url"])


def _created(rest: Rest, event: Event, body: dict[str, Json]) -> Json:
    """Make the check run; where the answer was lost, look whether it is there before another try."""
    path = f"/repos/{event.repository}"

    def post() -> Json:
        return rest.call("POST", f"{path}/check-runs", json=body)

    def find() -> Json:
        query = {"check_name": body["name"], "filter": "all"}
        there = rest.pages(f"{path}/commits/{event.sha}/check-runs", params=query, key="check_runs")
        return next((each for each in there if each["external_id"] == body["external_id"]), None)

    return retry(rest.budget, lambda: found_or(post, find), once_more)


def _annotation(annotation: Annotation) -> dict[str, Json]:
    line = annotation.line or 1
    found: dict[str, Json] = {
        "path": annotation.path,
        "start_line": line,
        "end_line": line,
        "annotation_level": _LEVELS[annotation.level],
        "message": shorten(harmless(annotation.message), _MESSAGE_CHARS),
        "title": shorten(clean(annotation.title), _TITLE_CHARS),
    }
    if annotation.line is not None and annotation.column is not None:
        found |= {"start_column": annotation.column, "end_column": annotation.column}
    return found
