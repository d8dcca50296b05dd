"""The commit that `actions/checkout` left, against the one that the job's event is about.

A status belongs to the event's commit; what is checked out may be another one, by a `ref` of the workflow's or because
`actions/checkout` takes the base branch for some events.
"""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from navigator.errors import ConfigurationError
from navigator.github.event import Event
from navigator.host.head import ReftableError, WorkingTree, working_trees

_WITHOUT_REF = "for actions/checkout, set no `ref`, or"
_HEAD = "`ref: ${{ github.event.pull_request.head.sha }}`"

# By event: what its commit is, and how to check that out.
_HINTS = {
    "workflow_run": (
        "the commit of the triggering run",
        "for actions/checkout, set `ref: ${{ github.event.workflow_run.head_sha }}`",
    ),
    "pull_request_target": (
        "the head of the pull request",
        f"run the workflow on `pull_request`, or set {_HEAD} for actions/checkout",
    ),
}
_PULL_REQUEST = "the head of the pull request", f"{_WITHOUT_REF} {_HEAD}"
_OTHERS = (
    "the commit of the event",
    f"{_WITHOUT_REF} `ref: ${{{{ github.sha }}}}`; another commit needs a run of its own, on `pull_request` or `push`",
)


def checked_out(directory: Path, workspace: Path, environment: Mapping[str, str], event: Event) -> str:
    """Return the commit that is checked out where `directory` is; "" outside a checkout of the event's repository.

    A fork that a pull request comes from is the event's repository, too.

    Raises:
        ConfigurationError: it's such a checkout, and names no commit.
        OSError: a checkout can't be read, so that its repository or its commit is unknown.
    """
    workspace = workspace.resolve()
    host = environment.get("RUNNER_WORKSPACE", "")
    outside = Path(host) / event.repository.rpartition("/")[2] if host else None
    for tree in working_trees(directory.resolve(), workspace, outside):
        if _is_of(tree, event):
            return _head(tree)
        # A submodule's commit is one of the repository around it.
        if not tree.part:
            break
    return ""


def check_commit(commit: str, event: Event) -> None:
    """Refuse another commit than the event's, or the merge commit of its pull request.

    Raises:
        ConfigurationError: it's refused; says which commits, and what to write in the workflow.
    """
    if is_events(commit, event):
        return
    what, hint = _HINTS.get(event.name, _OTHERS if event.pull_request is None else _PULL_REQUEST)
    raise ConfigurationError(
        f"commit {commit[:12]} is checked out, but results and status are for {event.sha[:12]}, {what}",
        hint,
    )


def is_events(commit: str, event: Event) -> bool:
    """Tell whether a commit is the event's, or merges it."""
    return commit in (event.sha, event.merge_sha)


def _head(tree: WorkingTree) -> str:
    try:
        return tree.head()
    except ReftableError:
        raise
    except OSError as error:
        place = Path(error.filename).relative_to(tree.workspace)
        raise ConfigurationError(
            f"{place}: {error.strerror}, so the commit that is checked out is unknown",
            "check out a commit with actions/checkout",
        ) from error


def _is_of(tree: WorkingTree, event: Event) -> bool:
    names = {event.repository, event.head_repository or event.repository}
    wanted = {_place(f"{event.server_url}/{name}") for name in names}
    return any(_place(url) in wanted for url in tree.origin_urls())


def _place(url: str) -> tuple[str, str]:
    """Return the host and the repository of a URL or of `git@host:repository`, in lower case: GitHub ignores it."""
    try:
        parts = urlsplit(url)
        host, path = parts.hostname or "", parts.path
    except ValueError:
        return "", url
    if "://" not in url:
        host, _, path = url.rpartition("@")[2].partition(":")
    return host.lower().removeprefix("ssh."), path.strip("/").removesuffix(".git").lower()
