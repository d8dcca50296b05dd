"""The event that a job runs for: an `Event` from the variables and the payload that GitHub's runner gives.

Asks nobody: what the payload does not say (the pull request of a push) is `navigator.github.pull_request`'s to find.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from navigator.cache.digests import identity
from navigator.cache.layers import LAYER_VARIABLE, TRUSTED, is_layer, untrusted
from navigator.errors import ConfigurationError
from navigator.plain_data import parse_json
from navigator.records import Json

_TAGS = "refs/tags/"
_BRANCHES = "refs/heads/"

# Events of which GITHUB_SHA says something else than what they are about: without the payload a status would be set
# on the wrong commit.
_ABOUT_ANOTHER_COMMIT = ("pull_request", "pull_request_target", "workflow_run")

# Events of which GITHUB_SHA merges the head of a pull request into its base, or is what it was merged as.
_ON_MERGE_COMMIT = ("pull_request", "pull_request_review", "pull_request_review_comment")

# Events of which GITHUB_REF is what the run is about, and those that are about the default branch only. Source:
# docs.github.com, "Events that trigger workflows".
_ON_ITS_REF = ("push", "release", "workflow_dispatch")
_ON_DEFAULT_BRANCH = ("repository_dispatch", "schedule")

_ELSEWHERE = "outside GitHub Actions, use the command line: `model-navigator convert`"


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """What a job runs for.

    `sha` is the commit that a status is set on: the head of the pull request or of the triggering run, else
    GITHUB_SHA. `pull_request` is its number where the payload holds it and is to be trusted. `fork` tells that the
    head is in another repository; `head_repository`, `head_owner` and `head_branch` say where, for pull requests and
    triggering runs. `merge_sha` is the commit that merges `sha` and that `actions/checkout` takes then, else "".
    `triggering_run` and `triggering_workflow` are those of a `workflow_run` event. `tag` is "" if there is none,
    `default_branch` if the payload doesn't say. `workflow_id` is the file name or the number of the workflow that
    is spoken for. `base_branch` is what a pull request or a merge queue merges into, and `previous` the commit before a
    push or a group of a merge queue; "" if the payload doesn't say.
    """

    name: str
    repository: str
    sha: str
    pull_request: int | None
    fork: bool
    tag: str
    ref: str
    run_id: int
    run_attempt: int
    workflow: str
    job: str
    server_url: str
    api_url: str
    head_owner: str
    head_branch: str
    triggering_run: int | None
    triggering_workflow: str
    default_branch: str = ""
    head_repository: str = ""
    merge_sha: str = ""
    workflow_id: str = ""
    base_branch: str = ""
    previous: str = ""

    @property
    def is_trusted(self) -> bool:
        """Tell whether the run is of code that has been merged or tagged, by somebody who may write to the repository.

        A pull request, a merge queue and another branch aren't. Neither are events that run on the default branch and
        often check out something else (`pull_request_target`, `workflow_run`, `issue_comment`).
        """
        if self.name in _ON_DEFAULT_BRANCH:
            return True
        return self.name in _ON_ITS_REF and (self._on_default_branch or self.ref.startswith(_TAGS))

    @property
    def is_of_default_branch(self) -> bool:
        """Tell whether the run, or the one that triggered it, is of the default branch as it was pushed."""
        if self.triggering_run is not None:
            return not self.fork and bool(self.default_branch) and self.head_branch == self.default_branch
        return self.name in _ON_DEFAULT_BRANCH or (self.name in _ON_ITS_REF and self._on_default_branch)

    @property
    def _on_default_branch(self) -> bool:
        return bool(self.default_branch) and self.ref == f"{_BRANCHES}{self.default_branch}"

    @property
    def cache_layer(self) -> str:
        """The layer of the cache that the run may write; see `navigator.cache.layers`."""
        if self.is_trusted:
            return TRUSTED
        if self.pull_request is not None:
            return untrusted("pr", self.pull_request)
        return untrusted("ref", identity([self.name, self.ref, self.head_owner, self.head_branch])[:16])

    @property
    def run_url(self) -> str:
        run = f"{self.server_url}/{self.repository}/actions/runs/{self.run_id}"
        return f"{run}/attempts/{self.run_attempt}" if self.run_attempt > 1 else run

    @property
    def log_url(self) -> str:
        """The run that converted: the triggering one where this one only reports."""
        if self.triggering_run is None:
            return self.run_url
        return f"{self.server_url}/{self.repository}/actions/runs/{self.triggering_run}"


def read_event(environment: Mapping[str, str]) -> Event:
    """Return the event that `environment` (GITHUB_*) and the payload at GITHUB_EVENT_PATH describe.

    Source: docs.github.com, "Default environment variables" and "Webhook events and payloads".

    Raises:
        ConfigurationError: not running in GitHub Actions, or the payload is missing or damaged.
    """
    name = _variable(environment, "GITHUB_EVENT_NAME")
    repository = _variable(environment, "GITHUB_REPOSITORY")
    payload = _payload(environment.get("GITHUB_EVENT_PATH", ""), name)
    pull, run = _object(payload, "pull_request"), _object(payload, "workflow_run")
    if name == "workflow_run" and not _text(run, "head_sha"):
        raise ConfigurationError(
            "the payload of the workflow_run event has no head_sha, so the commit of the triggering run is unknown",
            "GitHub writes the payload; run the workflow again",
        )
    head = _object(pull, "head")
    home = _object(run, "head_repository") if name == "workflow_run" else _object(head, "repo")
    ref = environment.get("GITHUB_REF", "")
    group = _object(payload, "merge_group")
    return Event(
        name=name,
        repository=repository,
        sha=_text(run, "head_sha") or _text(head, "sha") or _variable(environment, "GITHUB_SHA"),
        pull_request=_number(pull, "number"),
        fork=_fork(home, head, repository),
        tag=ref.removeprefix(_TAGS) if ref.startswith(_TAGS) else _text(_object(payload, "release"), "tag_name"),
        ref=ref,
        run_id=_integer(environment, "GITHUB_RUN_ID"),
        run_attempt=_integer(environment, "GITHUB_RUN_ATTEMPT", "1"),
        workflow=environment.get("GITHUB_WORKFLOW", ""),
        job=environment.get("GITHUB_JOB", ""),
        server_url=_url(environment, "GITHUB_SERVER_URL", "https://github.com"),
        api_url=_url(environment, "GITHUB_API_URL", "https://api.github.com"),
        head_owner=_text(_object(home, "owner"), "login") or _text(_object(head, "user"), "login"),
        head_branch=_text(run, "head_branch") or _text(head, "ref"),
        triggering_run=_number(run, "id"),
        triggering_workflow=_text(run, "name"),
        default_branch=_text(_object(payload, "repository"), "default_branch"),
        head_repository=_text(home, "full_name"),
        merge_sha=environment.get("GITHUB_SHA", "") if name in _ON_MERGE_COMMIT else "",
        workflow_id=str(_number(run, "workflow_id") or "") if run else _workflow_file(environment),
        base_branch=_text(_object(pull, "base"), "ref") or _text(group, "base_ref").removeprefix(_BRANCHES),
        previous=_commit(payload, "before") or _commit(group, "base_sha"),
    )


def cache_layer(environment: Mapping[str, str]) -> str:
    """Return the layer of the cache that a run of the command line may write.

    The action says which. Otherwise it's the event's in a job of GitHub Actions, and the trusted one elsewhere.
    """
    said = environment.get(LAYER_VARIABLE, "")
    if is_layer(said):
        return said
    if environment.get("GITHUB_ACTIONS") != "true":
        return TRUSTED
    try:
        return read_event(environment).cache_layer
    except ConfigurationError:
        return untrusted("ref", 0)


def _payload(path: str, name: str) -> Mapping[str, Json]:
    try:
        payload = parse_json(Path(path).read_bytes()) if path else None
    except FileNotFoundError:
        payload = None
    except OSError as error:
        raise ConfigurationError(
            f"GITHUB_EVENT_PATH: {path}: {error.strerror}", "make this file readable for the step"
        ) from error
    except ValueError as error:
        raise ConfigurationError(
            f"GITHUB_EVENT_PATH: {path} isn't JSON: {error}", "the runner writes this file; don't modify it"
        ) from error
    if payload is None:
        if name in _ABOUT_ANOTHER_COMMIT:
            raise ConfigurationError(
                f"GITHUB_EVENT_PATH: {path or 'not set'}: the payload of the {name} event is missing",
                "the runner writes this file, which names the commit to report on",
            )
        return {}
    if not isinstance(payload, dict):
        raise ConfigurationError(
            f"GITHUB_EVENT_PATH: {path} isn't a JSON object", "the runner writes this file; don't modify it"
        )
    return payload


def _fork(home: Mapping[str, Json], head: Mapping[str, Json], repository: str) -> bool:
    """Tell whether the head is in another repository; `repo` is null where that was deleted."""
    if not home:
        return "repo" in head
    # GitHub's names are the same in any case.
    return _text(home, "full_name").lower() != repository.lower()


def _workflow_file(environment: Mapping[str, str]) -> str:
    """Return the file name of the workflow, from `owner/name/.github/workflows/models.yml@refs/heads/main`."""
    return environment.get("GITHUB_WORKFLOW_REF", "").partition("@")[0].rpartition("/")[2]


def _commit(parent: Mapping[str, Json], key: str) -> str:
    """Return a commit; "" for the zeros that stand for none."""
    value = _text(parent, key)
    return value if value.strip("0") else ""


def _variable(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise ConfigurationError(f"{name} isn't set: not running in GitHub Actions", _ELSEWHERE)
    return value


def _integer(environment: Mapping[str, str], name: str, default: str = "") -> int:
    value = environment.get(name, "") or default
    if not (value.isascii() and value.isdigit()):
        raise ConfigurationError(f"{name} is {value!r}, not a number: not running in GitHub Actions", _ELSEWHERE)
    return int(value)


def _url(environment: Mapping[str, str], name: str, default: str) -> str:
    return (environment.get(name, "") or default).rstrip("/")


def _object(parent: Mapping[str, Json], key: str) -> Mapping[str, Json]:
    value = parent.get(key)
    return value if isinstance(value, dict) else {}


def _text(parent: Mapping[str, Json], key: str) -> str:
    value = parent.get(key)
    return value if isinstance(value, str) else ""


def _number(parent: Mapping[str, Json], key: str) -> int | None:
    value = parent.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
