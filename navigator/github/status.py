"""The commit status, which can be made required, and a check run with annotations.

Source: docs.github.com, "REST API endpoints for commit statuses" and "for check runs".
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

from navigator.github.event import Event
from navigator.github.rest import Json, Rest
from navigator.github.retry import found_or, once_more, retry
from navigator.github.voices import Record, Verdict, Voice, explain, others, read_record, worst
from navigator.render.annotations import Annotation, Level
from navigator.render.text import clean, harmless, shorten

# Each look but the last one may find that another voice spoke meanwhile.
_LOOKS = 4
_DESCRIPTION_CHARS = 140
_TITLE_CHARS = 255
_TEXT_CHARS = 65_535
_ANNOTATIONS_PER_CALL = 50
# A check run takes 64 KiB for a message; what explains a cell is shorter.
_MESSAGE_CHARS = 4096
_VERDICTS = {"success": Verdict.success, "failure": Verdict.failure, "cancelled": Verdict.error}
_CONCLUSIONS = {verdict: conclusion for conclusion, verdict in _VERDICTS.items()}
_LEVELS = {Level.ERROR: "failure", Level.WARNING: "warning", Level.NOTICE: "notice"}


def set_status(
    rest: Rest, event: Event, *, state: str, description: str, context: str, voice: Voice
) -> tuple[Record, ...]:
    """Set the status `context` of the event's commit, and return the other voices that set it too.

    GitHub shows the latest status of a context. Of several voices the worst verdict is shown: each reads what the
    others said before it speaks, so that nothing is green meanwhile, and again afterwards, since two may speak at once.
    GitHub forgets no status: whoever speaks last sees all of them.

    Args:
        rest: with a token that may write statuses.
        event: its commit and run.
        state: pending, success, failure or error.
        description: one sentence, cut to GitHub's 140 characters.
        context: the status' name.
        voice: who sets it.
    """
    own = Record(voice, Verdict[state], description)
    # Nothing is worse than an error, and a cancelled job has seconds.
    rivals = () if own.verdict is Verdict.error else others(voice, _records(_statuses(rest, event, context)))
    _post_status(rest, event, own, worst(own, rivals), context)
    # What isn't the last word needs no second look.
    for _ in range(0 if own.verdict is Verdict.pending else _LOOKS):
        there = _statuses(rest, event, context)
        rivals = others(voice, _records(there))
        shown = worst(own, rivals)
        if not there or there[-1]["state"] == shown.verdict.name:
            break
        _post_status(rest, event, own, shown, context)
    return rivals


def _statuses(rest: Rest, event: Event, context: str) -> list[Json]:
    """Return the statuses of a context, the oldest first."""
    found = rest.pages(f"/repos/{event.repository}/commits/{event.sha}/statuses")
    return sorted((each for each in found if each["context"] == context), key=lambda each: int(each["id"]))


def _records(statuses: Sequence[Json]) -> Iterator[Record]:
    for each in statuses:
        record = read_record(urlsplit(each["target_url"] or "").fragment, each["description"] or "")
        if record is not None:
            yield record


def _post_status(rest: Rest, event: Event, own: Record, shown: Record, context: str) -> None:
    """Set it; the latest one counts, so that it may be sent twice."""
    description = own.text if shown is own else explain(shown)
    body = {
        "state": shown.verdict.name,
        "description": shorten(clean(description), _DESCRIPTION_CHARS),
        "context": context,
        # No page of GitHub's has this anchor: the link leads to the run all the same.
        "target_url": f"{event.run_url}#{own}",
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
    voice: Voice,
) -> tuple[Record, ...]:
    """Make a check run that has ended, and return the other voices that made one of the same name.

    GitHub shows the latest one of a name: it has the worst verdict of all voices.

    Args:
        rest: with a token of an app that may write checks, as GITHUB_TOKEN is.
        event: its commit and run.
        name: of the check run.
        conclusion: success, failure or cancelled.
        title: one sentence.
        summary: markdown, at most 65,535 characters.
        annotations: those that name a line; GitHub takes no other.
        voice: who makes it.
    """
    own = Record(voice, _VERDICTS[conclusion], title)
    shown = worst(own, _check_rivals(rest, event, name, voice))
    placed = [_annotation(each) for each in annotations if each.path]
    output = {"title": _check_title(own, shown), "summary": summary[:_TEXT_CHARS]}
    path = f"/repos/{event.repository}/check-runs"
    run = _created(
        rest,
        event,
        {
            "name": name,
            "head_sha": event.sha,
            "external_id": str(own),
            "details_url": event.run_url,
            "status": "completed",
            "completed_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "conclusion": _CONCLUSIONS[shown.verdict],
            "output": output | {"annotations": placed[:_ANNOTATIONS_PER_CALL]},
        },
    )
    for start in range(_ANNOTATIONS_PER_CALL, len(placed), _ANNOTATIONS_PER_CALL):
        # Those of later calls are added to the earlier ones.
        more = output | {"annotations": placed[start : start + _ANNOTATIONS_PER_CALL]}
        rest.call("PATCH", f"{path}/{run['id']}", json={"output": more}, repeat=False)
    rivals = _check_rivals(rest, event, name, voice)
    if worst(shown, rivals) is not shown:
        # Another voice spoke meanwhile, and ours may be the later one.
        late = worst(own, rivals)
        changed = {"conclusion": _CONCLUSIONS[late.verdict], "output": output | {"title": _check_title(own, late)}}
        rest.call("PATCH", f"{path}/{run['id']}", json=changed)
    return rivals


def _check_title(own: Record, shown: Record) -> str:
    return shorten(clean(own.text if shown is own else explain(shown)), _TITLE_CHARS)


def _check_rivals(rest: Rest, event: Event, name: str, voice: Voice) -> tuple[Record, ...]:
    there = sorted(_check_runs(rest, event, name), key=lambda each: int(each["id"]))
    records = (read_record(each["external_id"] or "", each["output"]["title"] or "") for each in there)
    return others(voice, (each for each in records if each is not None))


def _check_runs(rest: Rest, event: Event, name: str) -> Iterator[Json]:
    path = f"/repos/{event.repository}/commits/{event.sha}/check-runs"
    return rest.pages(path, params={"check_name": name, "filter": "all"}, key="check_runs")


def _created(rest: Rest, event: Event, body: dict[str, Json]) -> Json:
    """Make the check run; where the answer was lost, look whether it is there before another try."""

    def post() -> Json:
        return rest.call("POST", f"/repos/{event.repository}/check-runs", json=body)

    def find() -> Json:
        there = _check_runs(rest, event, str(body["name"]))
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
