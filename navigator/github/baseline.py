"""Finds what to compare a commit's results with: those of the commit before the change, or of its nearest ancestor.

Only runs of merged code count: of pushes, schedules and dispatches on the branch, and of its merge queue. Whoever opens
a pull request may write its results, and must not choose what they or others are compared with. Asks GitHub a few
questions, downloads nothing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote

from navigator.github.errors import PublishError
from navigator.github.event import Event
from navigator.github.pull_request import base_branch_of
from navigator.github.rest import Json, Rest

_MOST_REQUESTS = 10
_MOST_COMMITS = 50
"""How far back an ancestor may be."""

_ENDED = ("success", "failure")
_EVENTS = ("push", "schedule", "workflow_dispatch", "repository_dispatch")
_QUEUE = "merge_group"


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """Results that a run has kept: the artifact, the run's commit and branch, and how that was chosen, in words."""

    run_id: int
    run_url: str
    commit: str
    branch: str
    relation: str
    artifact_id: int
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """Where to begin: a commit of a branch, and what that and the ones before it are called, by their distance.

    Its own runs don't count where it's the one to be compared.
    """

    branch: str
    commit: str
    called: Callable[[int], str]
    itself: bool = True


class _Asked:
    """The repository of an event, asked only so often."""

    def __init__(self, rest: Rest, event: Event) -> None:
        self._rest = rest
        self._path = f"/repos/{event.repository}"
        self._left = _MOST_REQUESTS

    def get(self, path: str, **params: str | int) -> Json:
        if not self._left:
            raise PublishError(f"{_MOST_REQUESTS} requests to GitHub found no earlier run with results")
        self._left -= 1
        return self._rest.call("GET", f"{self._path}/{path}", params=params)


def kept_results(rest: Rest, event: Event, *, converted: str, artifact: str) -> Iterator[Kept]:
    """Yield results to compare with, the best first; the caller takes the first that it can read.

    Args:
        rest: GitHub's API; its budget limits how long this takes.
        event: what is compared.
        converted: the commit that was converted: the event's, or one that merges it into its base.
        artifact: the name of the artifact.

    Raises:
        PublishError: GitHub doesn't say, or there's nothing to begin with.
    """
    if not event.workflow_id:
        raise PublishError("the workflow is unknown: GITHUB_WORKFLOW_REF isn't set")
    asked = _Asked(rest, event)
    place = _place(asked, rest, event, converted)
    search = _Search(asked, event, place, artifact)
    yield from search.of_ancestors()
    yield from search.newest()


class _Search:
    def __init__(self, asked: _Asked, event: Event, place: _Place, artifact: str) -> None:
        self._asked = asked
        self._event = event
        self._place = place
        self._artifact = artifact
        self._branches = tuple(dict.fromkeys(filter(None, (place.branch, event.default_branch))))
        self._tried: set[int] = set()
        self._seen: dict[int, Json] = {}

    def of_ancestors(self) -> Iterator[Kept]:
        """Yield what runs of the commit or its ancestors have kept, the nearest first."""
        place = self._place
        if place.itself:
            for run in self._runs(head_sha=place.commit):
                yield from self._kept(run, place.called(0))
        chain = self._first_parents()
        for query in self._queries():
            runs = [run for run in self._runs(**query) if run["head_sha"] in chain]
            for run in sorted(runs, key=lambda run: chain[run["head_sha"]]):
                yield from self._kept(run, place.called(chain[run["head_sha"]]))

    def newest(self) -> Iterator[Kept]:
        """Yield what other runs of the branch have kept, of those that were seen."""
        here = (run for run in self._seen.values() if run["head_branch"] == self._place.branch)
        for run in sorted(here, key=lambda run: int(run["id"]), reverse=True):
            yield from self._kept(run, f"newest of {self._place.branch}")

    def _queries(self) -> Iterator[dict[str, str]]:
        """Yield which runs to ask for: those of pushes are the usual ones."""
        for branch in self._branches:
            yield {"branch": branch, "event": "push"}
        for event in ("schedule", "workflow_dispatch"):
            yield {"branch": self._place.branch, "event": event}
        yield {"event": _QUEUE}

    def _runs(self, **query: str) -> Sequence[Json]:
        """Return the runs of the workflow that count, the newest first."""
        path = f"actions/workflows/{quote(self._event.workflow_id, safe='')}/runs"
        answer = self._asked.get(path, status="completed", exclude_pull_requests="true", per_page=100, **query)
        found = [run for run in answer["workflow_runs"] if self._counts(run)]
        self._seen |= {int(run["id"]): run for run in found}
        return found

    def _counts(self, run: Json) -> bool:
        home = (run["head_repository"] or {}).get("full_name") or ""
        branch = run["head_branch"] or ""
        if home.lower() != self._event.repository.lower() or run["conclusion"] not in _ENDED:
            return False
        if run["id"] in (self._event.run_id, self._event.triggering_run):
            return False
        if run["event"] == _QUEUE:
            return any(branch.startswith(f"gh-readonly-queue/{each}/") for each in self._branches)
        return run["event"] in _EVENTS and branch in self._branches

    def _first_parents(self) -> Mapping[str, int]:
        """Return the distances of the commits that the branch had before, by following first parents."""
        answer = self._asked.get("commits", sha=self._place.commit, per_page=100)
        parents = {each["sha"]: [parent["sha"] for parent in each["parents"]] for each in answer}
        chain: dict[str, int] = {}
        commit = self._place.commit
        while commit in parents and len(chain) <= _MOST_COMMITS:
            chain[commit] = len(chain)
            if not parents[commit]:
                break
            commit = parents[commit][0]
        chain.pop(self._place.commit, None)
        return chain

    def _kept(self, run: Json, relation: str) -> Iterator[Kept]:
        """Yield the artifact of a run, of several attempts the last one's."""
        if run["id"] in self._tried:
            return
        self._tried.add(run["id"])
        listed = self._asked.get(f"actions/runs/{run['id']}/artifacts", name=self._artifact)["artifacts"]
        there = [each for each in listed if each["name"] == self._artifact and not each["expired"]]
        if there:
            newest = max(there, key=lambda each: int(each["id"]))
            yield Kept(
                run_id=run["id"],
                run_url=run["html_url"],
                commit=run["head_sha"],
                branch=self._place.branch if run["event"] == _QUEUE else run["head_branch"],
                relation=relation,
                artifact_id=newest["id"],
                size_bytes=newest["size_in_bytes"],
            )


def _place(asked: _Asked, rest: Rest, event: Event, converted: str) -> _Place:
    if event.is_of_default_branch:
        if event.previous:
            return _Place(branch=event.default_branch, commit=event.previous, called=_before("previous commit"))
        if event.triggering_run is None:
            # Of a schedule, the commit may be the one of the last time.
            called = _before("same commit, earlier run")
            return _Place(branch=event.default_branch, commit=event.sha, called=called)
        return _Place(branch=event.default_branch, commit=event.sha, called=_earlier, itself=False)
    branch = base_branch_of(rest, event)
    if not branch:
        raise PublishError(f"the event {event.name} says no branch that the commit is to be merged into")
    if event.name == _QUEUE and event.previous:
        return _Place(branch=branch, commit=event.previous, called=_before("merge base"))
    return _Place(branch=branch, commit=_merge_base(asked, branch, event, converted), called=_before("merge base"))


def _merge_base(asked: _Asked, branch: str, event: Event, converted: str) -> str:
    """Return where the converted commit left the branch: of a merge commit, the commit of the branch that it merges.

    GitHub makes new merge commits when the branch goes on, and in time forgets the others.
    """
    for commit in dict.fromkeys((converted, event.sha)):
        try:
            answer = asked.get(f"compare/{quote(branch, safe='')}...{commit}", per_page=1)
        except PublishError as error:
            if error.status != HTTPStatus.NOT_FOUND or commit == event.sha:
                raise
        else:
            return str(answer["merge_base_commit"]["sha"])
    raise AssertionError("unreachable")


def _before(name: str) -> Callable[[int], str]:
    """Return what ancestors of a commit are called."""
    return lambda distance: f"{_commits(distance)} before the {name}" if distance else name


def _earlier(distance: int) -> str:
    return "previous commit" if distance == 1 else f"{_commits(distance)} earlier"


def _commits(count: int) -> str:
    return "1 commit" if count == 1 else f"{count} commits"
