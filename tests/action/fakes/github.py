"""GitHub's REST API as far as the action uses it, in memory.

    python github.py <GitHub's API description> <port of the checking proxy>

Prints two URLs, the *door* and the *back*, and serves until it is killed. Clients use the door. It hands what they send
to the checking proxy (Prism), which holds it and the answer to GitHub's description and asks the back, where the state
is. What Prism cannot carry (assets as raw bytes, files behind redirects) the door does itself.

Tokens: `ghs_job` is a job's GITHUB_TOKEN, `ghs_fork` the read-only one of a fork, `ghs_app` one
of another app, `ghp_octocat` a person's.

Under /control of the door tests prepare the state, say what goes wrong, and read what was made of it:

    POST /control/reset      forget everything
    POST /control/comments   {"issue": 1, "comments": [{"login", "body"}]}
    POST /control/pulls      [{"number", "state", "owner", "branch", "sha"}]; an owner other than OWNER is a fork
    POST /control/runs       [{"id", "name", "sha", "owner", "branch"}]: workflow runs; also "event", "conclusion" (null
                             while it goes on) and "file", the workflow's
    POST /control/commits    {commit: [its parents]}
    POST /control/branches   {"main": commit}
    POST /control/tags       ["v1"], of the commit "a" * 40, or {"v1": commit}
    POST /control/annotated  {"v1": commit}: annotated tags
    POST /control/releases   [{"tag_name", "draft", "name", "body", "immutable"}]
    POST /control/assets     {"release": id, "name", "state", "text"}
    POST /control/artifacts  {"run": 1, "name", "base64", "expired"}
    POST /control/faults     [{"method", "path": regular expression, "times", ...}]: what goes wrong with the next calls
                             that match. Of the back, held to the description: "status", "message", "errors", "headers".
                             Of the wire: "reset", "truncate": bytes, "delay": seconds, "body": with "status",
                             "starter" (an asset is left half-made), "damage": text that it has more, or
                             "undigested", as on older servers.
                             "carry_out": it is done all the same.
    GET  /control/state      {"comments", "statuses", "check_runs", "releases", "assets", "calls", "violations"};
                             calls: [method, path, status or 0 for a reset]; violations: Prism's, with the call
"""

import base64
import hashlib
import http.client
import json
import os
import re
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterable
from copy import deepcopy
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import RLock, Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

OWNER, NAME = "octocat", "models"
TOKENS = {
    "ghs_job": "github-actions[bot]",
    "ghs_fork": "github-actions[bot]",
    "ghs_app": "models-app[bot]",
    "ghp_octocat": "octocat",
}
WIRE = {"reset", "truncate", "delay", "body", "starter", "damage", "undigested"}
Json = Any


class RefusedError(Exception):
    def __init__(self, status: int, message: str, errors: list[Json] | None = None, headers: Json = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers or {}
        self.body: dict[str, Json] = {
            "message": message,
            "documentation_url": "https://docs.github.com/rest",
            "status": str(status),
        }
        if errors:
            self.body["errors"] = errors


class Answer:
    def __init__(self, status: int, body: Json = b"", **headers: str) -> None:
        self.status, self.body, self.headers = status, body, headers


class Query:
    """What one call says."""

    def __init__(self, method: str, target: str, body: Json, login: str, token: str) -> None:
        self.method, self.path, self.body, self.login, self.token = method, urlsplit(target).path, body, login, token
        self.values = {key: values[-1] for key, values in parse_qs(urlsplit(target).query).items()}


class State:
    """What GitHub remembers, and what each call does to it. Objects are the description's examples, with our values."""

    def __init__(self, description: Path) -> None:
        self.examples = json.loads(description.read_bytes())["components"]["examples"]
        self.lock = RLock()
        self.door = ""
        self.routes: list[tuple[str, re.Pattern[str], Callable[..., Answer]]] = []
        for route, function in ROUTES.items():
            method, path = route.split(" ")
            pattern = re.sub(r"\{\w+\}", "([^/]+)", path.replace("REPO", f"/repos/{OWNER}/{NAME}"))
            self.routes.append((method, re.compile(pattern), function))
        self.reset()

    def reset(self) -> None:
        self.comments: list[Json] = []
        self.pulls: list[Json] = []
        self.statuses: list[Json] = []
        self.check_runs: list[Json] = []
        self.runs: list[Json] = []
        self.commits: dict[str, list[str]] = {}
        self.branches: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.annotated: dict[str, str] = {}
        self.releases: list[Json] = []
        self.assets: list[Json] = []
        self.artifacts: list[Json] = []
        self.files: dict[str, bytes] = {}
        self.faults: list[Json] = []
        self.calls: list[Json] = []
        self.violations: list[Json] = []
        self.last_id = 1000

    def shown(self) -> Json:
        names = ("comments", "statuses", "check_runs", "releases", "assets", "calls", "violations")
        return {name: getattr(self, name) for name in names}

    def make(self, example: str, **values: Json) -> Json:
        self.last_id += 1
        value = deepcopy(self.examples[example]["value"])
        made = value[0] if isinstance(value, list) else value
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return made | {"id": self.last_id, "created_at": now, "updated_at": now} | values

    def user(self, login: str) -> Json:
        kind = "Bot" if login.endswith("[bot]") else "User"
        return self.examples["issue-comment"]["value"]["user"] | {"login": login, "type": kind}

    def fault(self, method: str, path: str, *, wire: bool) -> Json:
        """Return what is to go wrong with a call there (`wire`: at the door, else at the back), None for nothing."""
        for each in self.faults:
            here = bool(WIRE & each.keys()) == wire and each.get("times", 1) > 0
            if here and each.get("method", method) == method and re.search(each.get("path", ""), path):
                each["times"] = each.get("times", 1) - 1
                return each
        return None

    def perform(self, query: Query) -> Answer:
        if query.login == "":
            raise RefusedError(401, "Bad credentials")
        if query.token == "ghs_fork" and query.method != "GET":
            raise RefusedError(403, "Resource not accessible by integration")
        for method, pattern, function in self.routes:
            if method == query.method and (found := pattern.fullmatch(query.path)):
                return function(self, query, *found.groups())
        raise RefusedError(404, "Not Found")

    def page(self, query: Query, items: Iterable[Json], key: str = "") -> Answer:
        everything = list(items)
        size, number = int(query.values.get("per_page", 30)), int(query.values.get("page", 1))
        shown = everything[(number - 1) * size : number * size]
        answer = Answer(200, {"total_count": len(everything), key: shown} if key else shown)
        if number * size < len(everything):
            following = urlencode(query.values | {"page": str(number + 1)})
            answer.headers["Link"] = f'<{self.door}{query.path}?{following}>; rel="next"'
        return answer

    def prepare(self, what: str, body: Json) -> Json:
        """Do what a test asks for under /control."""
        if what == "reset":
            self.reset()
        elif what == "faults":
            self.faults += body
        elif what == "comments":
            for each in body["comments"]:
                add_comment(self, str(body["issue"]), each["body"], each["login"])
        elif what == "pulls":
            self.pulls += [pull(self, **each) for each in body]
        elif what == "runs":
            self.runs += [workflow_run(self, **each) for each in body]
        elif what == "commits":
            self.commits |= body
        elif what == "branches":
            self.branches |= body
        elif what == "tags":
            self.tags |= body if isinstance(body, dict) else dict.fromkeys(body, "a" * 40)
        elif what == "annotated":
            self.tags |= {name: hashlib.sha1(name.encode()).hexdigest() for name in body}
            self.annotated |= {self.tags[name]: commit for name, commit in body.items()}
        elif what == "releases":
            return [add_release(self, each, OWNER) for each in body]
        elif what == "assets":
            return add_asset(self, str(body["release"]), body["name"], body.get("text", "").encode(), body["state"])
        elif what == "artifacts":
            return add_artifact(self, **body)
        return None


def find(items: list[Json], identity: str) -> Json:
    found = next((each for each in items if str(each["id"]) == identity), None)
    if found is None:
        raise RefusedError(404, "Not Found")
    return found


def invalid(resource: str, field: str, code: str, message: str = "") -> RefusedError:
    error = {"resource": resource, "field": field, "code": code}
    return RefusedError(422, "Validation Failed", [error | ({"message": message} if message else {})])


def list_comments(state: State, query: Query, issue: str) -> Answer:
    return state.page(query, (each for each in state.comments if each["issue_url"].endswith(f"/issues/{issue}")))


def add_comment(state: State, issue: str, body: str, login: str) -> Json:
    checked_body(body)
    repository = f"https://api.github.com/repos/{OWNER}/{NAME}"
    made = state.make("issue-comment", body=body, user=state.user(login), issue_url=f"{repository}/issues/{issue}")
    made["html_url"] = f"https://github.com/{OWNER}/{NAME}/pull/{issue}#issuecomment-{made['id']}"
    state.comments.append(made)
    return made


def checked_body(body: str) -> str:
    if len(body) > 65536:
        raise invalid("IssueComment", "body", "custom", "body is too long (maximum is 65536 characters)")
    return body


def edit_comment(state: State, query: Query, identity: str) -> Answer:
    comment = find(state.comments, identity)
    if comment["user"]["login"] != query.login:
        raise RefusedError(403, "Must have admin rights to Repository.")
    return Answer(200, change(comment, {"body": checked_body(query.body["body"])}))


def drop_comment(state: State, query: Query, identity: str) -> Answer:
    state.comments.remove(find(state.comments, identity))
    return Answer(204)


def change(item: Json, values: Json) -> Json:
    item.update(values)
    return item


def add_status(state: State, query: Query, sha: str) -> Answer:
    if len(query.body.get("description") or "") > 140:
        raise invalid("Status", "description", "custom", "description is too long (maximum is 140 characters)")
    made = state.make("status", **query.body, creator=state.user(query.login))
    made["url"] = f"https://api.github.com/repos/{OWNER}/{NAME}/statuses/{sha}"
    state.statuses.append(made)
    return Answer(201, made)


def list_statuses(state: State, query: Query, sha: str) -> Answer:
    there = (each for each in reversed(state.statuses) if each["url"].endswith(f"/statuses/{sha}"))
    return state.page(query, there)


def add_check_run(state: State, query: Query) -> Answer:
    if query.token.startswith("ghp_"):
        raise RefusedError(403, "You must authenticate via a GitHub App.")
    made = state.make("check-run", conclusion=None, completed_at=None, external_id="", annotations=[])
    del made["created_at"], made["updated_at"]
    made["output"] |= {"title": None, "summary": None, "text": None, "annotations_count": 0}
    state.check_runs.append(with_output(made, query.body))
    return Answer(201, made)


def edit_check_run(state: State, query: Query, identity: str) -> Answer:
    return Answer(200, with_output(find(state.check_runs, identity), query.body))


def with_output(run: Json, body: Json) -> Json:
    """Take over what a call says of a check run; its annotations are added to those that are there."""
    values = deepcopy(body)
    output = values.pop("output", {})
    run["annotations"] += output.pop("annotations", [])
    run["output"] |= output | {"annotations_count": len(run["annotations"])}
    if "conclusion" in values:
        values = {"status": "completed", "completed_at": datetime.now(UTC).isoformat()} | values
    return change(run, values)


def list_check_runs(state: State, query: Query, ref: str) -> Answer:
    wanted = query.values.get("check_name")
    runs = (each for each in state.check_runs if each["head_sha"] == ref and wanted in {None, each["name"]})
    return state.page(query, runs, "check_runs")


def pull(state: State, /, number: int, owner: str, branch: str, sha: str, **values: str) -> Json:
    made = state.make("pull-request-simple-items", number=number, state=values.get("state", "open"))
    made["requested_teams"] = []  # the description's own example does not keep to it
    made["base"] |= {"ref": values.get("base", "main")}
    made["head"] |= {"label": f"{owner}:{branch}", "ref": branch, "sha": sha, "user": state.user(owner)}
    made["head"]["repo"] |= {"full_name": f"{owner}/{NAME}", "owner": state.user(owner), "fork": owner != OWNER}
    return made


def workflow_run(state: State, /, id: int, name: str, sha: str, owner: str, branch: str, **more: Json) -> Json:  # noqa: A002
    made = state.make("workflow-run", id=id, name=name, head_sha=sha, head_branch=branch)
    made["head_repository"] |= {"full_name": f"{owner}/{NAME}", "owner": state.user(owner)}
    ended = more.get("conclusion", "success")
    made |= {"event": more.get("event", "push"), "conclusion": ended, "status": "completed" if ended else "in_progress"}
    made["html_url"] = f"https://github.com/{OWNER}/{NAME}/actions/runs/{id}"
    return made | {"path": f".github/workflows/{more.get('file', 'models.yml')}", "workflow_id": 1}


def list_workflow_runs(state: State, query: Query, workflow: str) -> Answer:
    """Answer with the runs of a workflow, the newest first; as on GitHub, `branch` is also that of a fork's."""
    here = [each for each in state.runs if workflow in {str(each["workflow_id"]), Path(each["path"]).name}]
    if not here:
        raise RefusedError(404, "Not Found")
    asked = {key: query.values.get(name) for name, key in RUN_FILTERS.items()}
    wanted = {key: value for key, value in asked.items() if value is not None}
    found = [each for each in here if all(each[key] == value for key, value in wanted.items())]
    return state.page(query, sorted(found, key=lambda each: each["id"], reverse=True), "workflow_runs")


RUN_FILTERS = {"branch": "head_branch", "event": "event", "status": "status", "head_sha": "head_sha"}


def resolved(state: State, name: str) -> str:
    commit = state.branches.get(name, name)
    if commit not in state.commits:
        raise RefusedError(404, "Not Found")
    return commit


def ancestors(state: State, commit: str) -> list[str]:
    """Return a commit and those before it, children first."""
    found, waiting = [], [commit]
    while waiting:
        each = waiting.pop(0)
        if each not in found:
            found.append(each)
            waiting += state.commits.get(each, [])
    return found


def commit_item(state: State, commit: str) -> Json:
    item = deepcopy(state.examples["commit-items"]["value"][0])
    return item | {"sha": commit, "parents": [item["parents"][0] | {"sha": each} for each in state.commits[commit]]}


def list_commits(state: State, query: Query) -> Answer:
    first = resolved(state, query.values.get("sha", "main"))
    return state.page(query, [commit_item(state, each) for each in ancestors(state, first)])


def compare_commits(state: State, query: Query, both: str) -> Answer:
    base, head = (resolved(state, name) for name in unquote(both).split("..."))
    before = ancestors(state, base)
    common = next((each for each in ancestors(state, head) if each in before), None)
    if common is None:
        raise RefusedError(404, f"No common ancestor between {base} and {head}.")
    made = deepcopy(state.examples["commit-comparison"]["value"])
    return Answer(
        200,
        made | {key: commit_item(state, each) for key, each in (("base_commit", base), ("merge_base_commit", common))},
    )


def list_pulls(state: State, query: Query) -> Answer:
    wanted, head = query.values.get("state", "open"), query.values.get("head")
    pulls = (each for each in state.pulls if wanted in {"all", each["state"]})
    return state.page(query, (each for each in pulls if head in {None, each["head"]["label"]}))


def pulls_of_commit(state: State, query: Query, sha: str) -> Answer:
    here = (each for each in state.pulls if not each["head"]["repo"]["fork"])  # none for the commits of forks
    return state.page(query, (each for each in here if each["head"]["sha"] == sha))


def show_user(state: State, query: Query) -> Answer:
    if query.token.startswith("ghs_"):
        raise RefusedError(403, "Resource not accessible by integration")
    return Answer(200, state.make("private-user-response-with-public-profile-information", login=query.login))


def add_release(state: State, body: Json, login: str) -> Json:
    if not body.get("draft") and any(each["tag_name"] == body["tag_name"] for each in published(state)):
        raise invalid("Release", "tag_name", "already_exists")
    made = state.make("release", name=None, body=None, author=state.user(login), draft=False, assets=[])
    made |= body | {"published_at": None if body.get("draft") else made["created_at"]}
    place = f"repos/{OWNER}/{NAME}/releases/{made['id']}/assets"
    made["upload_url"] = f"{state.door}/uploads/{place}{{?name,label}}"
    made["html_url"] = f"https://github.com/{OWNER}/{NAME}/releases/tag/{body['tag_name']}"
    state.releases.append(made)
    return made


def published(state: State) -> list[Json]:
    return [each for each in state.releases if not each["draft"]]


def show_tag(state: State, query: Query, ref: str) -> Answer:
    name = unquote(ref).removeprefix("tags/")
    if name not in state.tags:
        raise RefusedError(404, "Not Found")
    made = state.make("git-ref", ref=f"refs/tags/{name}")
    sha = state.tags[name]
    made["object"] |= {"type": "tag" if sha in state.annotated else "commit", "sha": sha}
    return Answer(200, {key: made[key] for key in ("ref", "node_id", "url", "object")})


def show_annotated(state: State, query: Query, sha: str) -> Answer:
    made = state.make("git-tag", sha=sha)
    made["object"] |= {"type": "commit", "sha": state.annotated[sha]}
    return Answer(200, made)


def release_of_tag(state: State, query: Query, tag: str) -> Answer:
    found = next((each for each in published(state) if each["tag_name"] == tag), None)  # drafts are not found by it
    if found is None:
        raise RefusedError(404, "Not Found")
    return Answer(200, found)


def drop_release(state: State, query: Query, identity: str) -> Answer:
    state.releases.remove(find(state.releases, identity))
    state.assets = [each for each in state.assets if f"/releases/{identity}/" not in each["url"]]
    return Answer(204)


def add_asset(state: State, release: str, name: str, content: bytes, status: str = "uploaded") -> Json:
    name = re.sub(r"[^\w.+@-]", ".", name)
    owner = changeable(find(state.releases, release))
    if any(each["name"] == name for each in owner["assets"]):
        raise invalid("ReleaseAsset", "name", "already_exists")
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}" if status == "uploaded" else None
    made = state.make("release-asset", name=name, size=len(content), state=status, digest=digest, label="")
    made["url"] = f"https://api.github.com/repos/{OWNER}/{NAME}/releases/assets/{made['id']}"
    state.files[str(made["id"])] = content
    state.assets.append(made)
    owner["assets"].append(made)
    return made


def changeable(release: Json) -> Json:
    if release.get("immutable") and not release["draft"]:
        raise RefusedError(422, "Cannot upload assets to an immutable release.")
    return release


def drop_asset(state: State, query: Query, identity: str) -> Answer:
    asset = find(state.assets, identity)
    state.assets.remove(asset)
    for release in state.releases:
        release["assets"] = [each for each in release["assets"] if each is not asset]
    return Answer(204)


def add_artifact(state: State, run: int, name: str, base64: str, expired: bool = False) -> Json:
    content = decoded(base64)
    made = state.make("artifact-paginated")["artifacts"][0]
    made |= {"id": state.last_id, "name": name, "size_in_bytes": len(content), "expired": expired}
    made["digest"] = f"sha256:{hashlib.sha256(content).hexdigest()}"
    made["archive_download_url"] = f"{state.door}/repos/{OWNER}/{NAME}/actions/artifacts/{made['id']}/zip"
    made["workflow_run"]["id"] = run
    state.files[str(made["id"])] = content
    state.artifacts.append(made)
    return made


def decoded(text: str) -> bytes:
    return base64.b64decode(text)


def list_artifacts(state: State, query: Query, run: str) -> Answer:
    named = (each for each in state.artifacts if query.values.get("name") in {None, each["name"]})
    return state.page(query, (each for each in named if str(each["workflow_run"]["id"]) == run), "artifacts")


def redirect_to_artifact(state: State, query: Query, identity: str) -> Answer:
    if find(state.artifacts, identity)["expired"]:
        raise RefusedError(410, "Artifact has expired")
    # Another host than the API's, as on GitHub: the token must not be sent there.
    port = urlsplit(state.door).port
    return Answer(302, Location=f"http://localhost:{port}/downloads/{identity}?sig=signature")


ROUTES: dict[str, Callable[..., Answer]] = {
    "GET /user": show_user,
    "GET REPO/issues/{n}/comments": list_comments,
    "POST REPO/issues/{n}/comments": lambda s, q, n: Answer(201, add_comment(s, n, q.body["body"], q.login)),
    "PATCH REPO/issues/comments/{id}": edit_comment,
    "DELETE REPO/issues/comments/{id}": drop_comment,
    "POST REPO/statuses/{sha}": add_status,
    "GET REPO/commits/{sha}/statuses": list_statuses,
    "POST REPO/check-runs": add_check_run,
    "PATCH REPO/check-runs/{id}": edit_check_run,
    "GET REPO/commits/{ref}/check-runs": list_check_runs,
    "GET REPO/commits/{sha}/pulls": pulls_of_commit,
    "GET REPO/pulls": list_pulls,
    "GET REPO/releases": lambda s, q: s.page(q, s.releases),
    "POST REPO/releases": lambda s, q: Answer(201, add_release(s, q.body, q.login)),
    "GET REPO/git/ref/{ref}": show_tag,
    "GET REPO/git/tags/{sha}": show_annotated,
    "GET REPO/releases/tags/{tag}": release_of_tag,
    "GET REPO/releases/{id}": lambda s, q, n: Answer(200, find(s.releases, n)),
    "PATCH REPO/releases/{id}": lambda s, q, n: Answer(200, change(find(s.releases, n), q.body)),
    "DELETE REPO/releases/{id}": drop_release,
    "GET REPO/releases/{id}/assets": lambda s, q, n: s.page(q, find(s.releases, n)["assets"]),
    "GET REPO/releases/assets/{id}": lambda s, q, n: Answer(200, find(s.assets, n)),
    "DELETE REPO/releases/assets/{id}": drop_asset,
    "GET REPO/commits": list_commits,
    "GET REPO/compare/{both}": compare_commits,
    "GET REPO/actions/workflows/{id}/runs": list_workflow_runs,
    "GET REPO/actions/runs/{id}": lambda s, q, n: Answer(200, find(s.runs, n)),
    "GET REPO/actions/runs/{id}/artifacts": list_artifacts,
    "GET REPO/actions/artifacts/{id}/zip": redirect_to_artifact,
}


class Connection(BaseHTTPRequestHandler):
    """What door and back share."""

    state: State
    protocol_version = "HTTP/1.1"

    def do(self) -> None:
        raise NotImplementedError

    def do_GET(self) -> None:
        self.do()

    def do_POST(self) -> None:
        self.do()

    def do_PATCH(self) -> None:
        self.do()

    def do_DELETE(self) -> None:
        self.do()

    def content(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def login(self) -> tuple[str, str]:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        return TOKENS.get(token, "") if scheme == "Bearer" else "", token

    def answer(self, answer: Answer, *, cut: int | None = None) -> None:
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.send_response(answer.status, HTTPStatus(answer.status).phrase)
        for name, value in {"Content-Type": "application/json; charset=utf-8", **answer.headers}.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut])
        self.close_connection |= cut is not None

    def log_message(self, *_: object) -> None:
        """Print nothing: the only lines of output are the URLs."""


class Back(Connection):
    """Where the state is."""

    def do(self) -> None:
        content = self.content()
        query = Query(self.command, self.path, json.loads(content) if content else None, *self.login())
        with self.state.lock:
            try:
                answer = self.made(query)
            except RefusedError as refused:
                answer = Answer(refused.status, refused.body, **refused.headers)
        self.answer(answer)

    def made(self, query: Query) -> Answer:
        fault = self.state.fault(self.command, self.path, wire=False)
        if fault is None:
            return self.state.perform(query)
        if fault.get("carry_out"):
            self.state.perform(query)
        message = fault.get("message", "Something went wrong")
        raise RefusedError(fault["status"], message, fault.get("errors"), fault.get("headers"))


class Door(Connection):
    """What clients talk to."""

    proxy: int

    def do(self) -> None:
        content, path = self.content(), urlsplit(self.path).path
        if path.startswith("/control/"):
            self.control(path.removeprefix("/control/"), content)
            return
        with self.state.lock:
            fault = self.state.fault(self.command, self.path, wire=True) or {}
        time.sleep(fault.get("delay", 0))
        made = Answer(0)
        if not fault or "delay" in fault or "truncate" in fault or fault.get("carry_out"):
            made = self.made(path, content)
        if "starter" in fault:
            self.upload(path, content, "starter")
        if "damage" in fault:
            made = self.upload(path, content + fault["damage"].encode())
        if "undigested" in fault:
            made = self.upload(path, content)
            made.body["digest"] = None
        if "status" in fault:
            made = Answer(fault["status"], fault.get("body", "").encode(), **fault.get("headers", {}))
        with self.state.lock:
            self.state.calls.append([self.command, self.path, 0 if "reset" in fault else made.status])
        if "reset" in fault:
            self.reset()
        else:
            self.answer(made, cut=fault.get("truncate"))

    def control(self, what: str, content: bytes) -> None:
        with self.state.lock:
            made = self.state.shown() if what == "state" else self.state.prepare(what, json.loads(content or b"null"))
            self.answer(Answer(200, {} if made is None else made))

    def made(self, path: str, content: bytes) -> Answer:
        if path.startswith("/uploads/"):
            return self.upload(path, content)
        if path.startswith("/downloads/"):
            return self.download(path)
        if path == "/graphql":
            return Answer(200, {"data": {"viewer": {"login": self.login()[0]}}})
        return self.redirect() if path.endswith("/zip") else self.checked(content)

    def redirect(self) -> Answer:
        """Answer here: Prism would follow it."""
        with self.state.lock:
            try:
                return self.state.perform(Query(self.command, self.path, None, *self.login()))
            except RefusedError as refused:
                return Answer(refused.status, refused.body)

    def upload(self, path: str, content: bytes, status: str = "uploaded") -> Answer:
        query = Query(self.command, self.path, None, *self.login())
        if not query.login or query.token == "ghs_fork":
            return Answer(403, RefusedError(403, "Resource not accessible by integration").body)
        try:
            with self.state.lock:
                return Answer(201, add_asset(self.state, path.split("/")[-2], query.values["name"], content, status))
        except RefusedError as refused:
            return Answer(refused.status, refused.body)

    def download(self, path: str) -> Answer:
        if "Authorization" in self.headers:
            return Answer(400, b"<Error><Code>InvalidAuthenticationInfo</Code></Error>")  # as blob storage says it
        content = self.state.files[path.split("/")[-1]]
        return Answer(200, content, **{"Content-Type": "application/zip"})

    def checked(self, content: bytes) -> Answer:
        """Pass it on to the back through the proxy that holds both sides to the description."""
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy, timeout=60)
        dropped = {"host", "connection", "accept-encoding", "content-length"}
        headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
        connection.request(self.command, self.path, content or None, headers)
        answer = connection.getresponse()
        body, kind = answer.read(), answer.headers.get("Content-Type", "")
        passed = {name: answer.headers[name] for name in ("Link", "Location", "Retry-After") if name in answer.headers}
        passed |= {name: value for name, value in answer.headers.items() if name.lower().startswith("x-ratelimit")}
        connection.close()
        said = json.loads(body)["validation"] if "problem+json" in kind else []
        said += json.loads(answer.headers.get("sl-violations", "[]"))
        # Warnings are of statuses that the description leaves out, 429 and 500 among them.
        wrong = [each for each in said if each["severity"] == "Error"]
        if wrong or "problem+json" in kind:
            with self.state.lock:
                self.state.violations.append([self.command, self.path, wrong])
        return Answer(answer.status, body, **passed)

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())
        self.close_connection = True


def main() -> None:
    state = Connection.state = State(Path(sys.argv[1]))
    Door.proxy = int(sys.argv[2])
    door, back = ThreadingHTTPServer(("127.0.0.1", 0), Door), ThreadingHTTPServer(("127.0.0.1", 0), Back)
    state.door = f"http://127.0.0.1:{door.server_port}"
    Thread(target=back.serve_forever, daemon=True).start()
    sys.stdout.write(f"{state.door}\nhttp://127.0.0.1:{back.server_port}\n")
    sys.stdout.flush()
    door.serve_forever()


if __name__ == "__main__":
    main()
