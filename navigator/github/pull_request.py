"""Which pull request an event belongs to, and what it is merged into.

Asks GitHub, and believes nothing that a pull request's own code wrote.
"""

from navigator.github.event import Event
from navigator.github.rest import Json, Rest


def pull_request_of(rest: Rest, event: Event) -> int | None:
    """Return the number of the open pull request whose head is the event's commit, or None.

    A push to a fork has no pull request by its commit, and a `workflow_run` of one names none: there the head's owner
    and branch, which GitHub's event names, lead to it.

    Raises:
        PublishError: GitHub does not say.
    """
    if event.pull_request is not None:
        return event.pull_request
    found = _open_pull_request(rest, event)
    return None if found is None else int(found["number"])


def base_branch_of(rest: Rest, event: Event) -> str:
    """Return what the event's commit is to be merged into: the base of its pull request, or the default branch.

    "" if nobody says.

    Raises:
        PublishError: GitHub does not say.
    """
    if event.base_branch:
        return event.base_branch
    found = _open_pull_request(rest, event)
    return event.default_branch if found is None else str(found["base"]["ref"])


def _open_pull_request(rest: Rest, event: Event) -> Json:
    """Return the open pull request whose head is the event's commit, the first if there are several, or None."""
    if event.tag:
        return None
    path = f"/repos/{event.repository}"
    if event.name == "workflow_run":
        found = rest.pages(f"{path}/pulls", params={"state": "open", "head": f"{event.head_owner}:{event.head_branch}"})
    else:
        found = rest.pages(f"{path}/commits/{event.sha}/pulls")
    here = [each for each in found if each["state"] == "open" and each["head"]["sha"] == event.sha]
    return min(here, key=lambda each: int(each["number"]), default=None)
