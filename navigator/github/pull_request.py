"""Which pull request an event belongs to. Asks GitHub, and believes nothing that a pull request's own code wrote."""

from navigator.github.event import Event
from navigator.github.rest import Rest


def pull_request_of(rest: Rest, event: Event) -> int | None:
    """Return the number of the open pull request whose head is the event's commit, or None.

    A push to a fork has no pull request by its commit, and a `workflow_run` of one names none: there the head's owner
    and branch, which GitHub's event names, lead to it.

    Raises:
        PublishError: GitHub does not say.
    """
    if event.pull_request is not None:
        return event.pull_request
    if event.tag:
        return None
    path = f"/repos/{event.repository}"
    if event.name == "workflow_run":
        found = rest.pages(f"{path}/pulls", params={"state": "open", "head": f"{event.head_owner}:{event.head_branch}"})
    else:
        found = rest.pages(f"{path}/commits/{event.sha}/pulls")
    numbers = [each["number"] for each in found if each["state"] == "open" and each["head"]["sha"] == event.sha]
    return min(numbers, default=None)
