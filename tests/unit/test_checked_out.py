"""What is checked out, in real repositories in every state, and which commits an event may convert."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from navigator.errors import ConfigurationError
from navigator.github.checked_out import check_commit, checked_out
from navigator.github.event import Event, read_event
from navigator.github.origin import read_origin
from navigator.host.head import working_trees
from navigator.records import RunConfig
from tests.support.builders import a_model

URL = "https://github.com/octo/models"
OTHER = "c" * 40


def git(directory: Path, *words: str) -> str:
    who = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false", "-c", "protocol.file.allow=always"]
    done = subprocess.run(["git", *who, *words], cwd=directory, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def a_repository(root: Path, url: str = URL) -> Path:
    (root / "models").mkdir(parents=True)
    (root / "models" / "navigator.yaml").write_text("{}")
    git(root, "init", "-q", "-b", "main")
    git(root, "remote", "add", "origin", url)
    git(root, "add", "-A")
    for number in range(2):
        git(root, "commit", "-q", "--allow-empty", "-m", str(number))
    return root


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return a_repository(tmp_path / "models" / "models")


def variables(name: str = "push", payload: Any = None, sha: str = OTHER, **more: str) -> dict[str, str]:
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": name,
        "GITHUB_REPOSITORY": "octo/models",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_SHA": sha,
        "GITHUB_RUN_ID": "1",
        **more,
    }


def found(workspace: Path, directory: str = "models", **more: str) -> str:
    environment = variables(**more)
    return checked_out(workspace / directory, workspace, environment, read_event(environment))


def detached(root: Path) -> Path:
    git(root, "checkout", "-q", "--detach", "HEAD~1")
    return root


def branch(root: Path) -> Path:
    git(root, "checkout", "-q", "-b", "feature/a")
    return root


def packed(root: Path) -> Path:
    branch(root)
    git(root, "branch", "feature/b", "HEAD~1")
    git(root, "tag", "-a", "-m", "annotated", "v1")
    git(root, "pack-refs", "--all")
    # As git leaves it where a deeper branch was deleted.
    (root / ".git/refs/heads/feature/a").mkdir(parents=True)
    return root


def newer_than_packed(root: Path) -> Path:
    packed(root)
    (root / ".git/refs/heads/feature/a").rmdir()
    git(root, "commit", "-q", "--allow-empty", "-m", "newer")
    return root


def symbolic(root: Path) -> Path:
    git(root, "symbolic-ref", "refs/heads/alias", "refs/heads/main")
    git(root, "symbolic-ref", "HEAD", "refs/heads/alias")
    return root


def worktree(root: Path) -> Path:
    git(root, "worktree", "add", "-q", "-b", "other", "tree", "HEAD~1")
    return root / "tree"


def detached_worktree(root: Path) -> Path:
    git(root, "worktree", "add", "-q", "--detach", "tree", "HEAD~1")
    return root / "tree"


def shallow(root: Path) -> Path:
    git(root, "clone", "-q", "--depth=1", f"file://{root}", "shallow")
    git(root / "shallow", "remote", "set-url", "origin", URL)
    return root / "shallow"


def as_actions_checkout_does(root: Path) -> Path:
    """Return a directory made by the commands of actions/checkout 5 with its default depth."""
    tree = root / "fetched"
    tree.mkdir()
    git(tree, "init", "-q")
    git(tree, "remote", "add", "origin", str(root))
    sha = git(root, "rev-parse", "HEAD")
    git(tree, "fetch", "-q", "--no-tags", "--depth=1", "origin", f"+{sha}:refs/remotes/pull/7/merge")
    git(tree, "checkout", "-q", "--force", "refs/remotes/pull/7/merge")
    git(tree, "remote", "set-url", "origin", URL)
    return tree


def sha256(root: Path) -> Path:
    tree = root / "sha256"
    tree.mkdir()
    git(tree, "init", "-q", "--object-format=sha256")
    git(tree, "remote", "add", "origin", URL)
    git(tree, "commit", "-q", "--allow-empty", "-m", "one")
    return tree


def submodule(root: Path) -> Path:
    """Return a submodule of another repository: its commit is one of the repository around it."""
    a_repository(root.parent / "parts", "https://github.com/octo/parts")
    git(root, "submodule", "--quiet", "add", f"file://{root.parent / 'parts'}", "sub")
    git(root, "commit", "-qm", "sub")
    return root / "sub"


STATES: tuple[Callable[[Path], Path], ...] = (
    detached,
    branch,
    packed,
    newer_than_packed,
    symbolic,
    worktree,
    detached_worktree,
    shallow,
    as_actions_checkout_does,
    sha256,
)


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_the_commit_is_the_one_that_git_says(workspace: Path, state: Callable[[Path], Path]) -> None:
    tree = state(workspace)
    (tree / "deeper").mkdir()

    assert found(workspace, str(tree / "deeper")) == git(tree, "rev-parse", "HEAD")


def test_a_submodule_is_a_part_of_the_repository_around_it(workspace: Path) -> None:
    assert found(workspace, str(submodule(workspace))) == git(workspace, "rev-parse", "HEAD")


def test_a_worktree_has_the_paths_of_the_runner_and_the_action_has_others(workspace: Path, tmp_path: Path) -> None:
    """The runner's `_work/models/models` is `/github/workspace` in a container."""
    tree = worktree(workspace)
    expected = git(tree, "rev-parse", "HEAD")
    shutil.move(workspace, tmp_path / "mounted")

    assert found(tmp_path / "mounted", "tree", RUNNER_WORKSPACE=str(workspace.parent)) == expected
    with pytest.raises(OSError, match="leads out of the workspace"):
        found(tmp_path / "mounted", "tree")


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("https://github.com/octo/models", True),
        ("https://github.com/octo/models.git", True),
        ("https://GitHub.com/Octo/Models/", True),
        ("https://x-access-token:t@github.com/octo/models", True),
        ("git@github.com:octo/models.git", True),
        ("ssh://git@github.com/octo/models", True),
        ("ssh://git@ssh.github.com:443/octo/models.git", True),
        ("https://github.com/octo/models2", False),
        ("https://github.com/else/models", False),
        ("https://example.com/octo/models", False),
        ("https://example.com/github.com/octo/models", False),
        ("/srv/octo/models", False),
        ("http://[", False),
    ],
)
def test_only_the_events_repository_is_compared(workspace: Path, url: str, own: bool) -> None:
    git(workspace, "config", "remote.origin.url", url)
    git(workspace, "remote", "add", "upstream", URL)

    assert found(workspace) == (git(workspace, "rev-parse", "HEAD") if own else "")


def test_the_configuration_is_read_as_git_reads_it(workspace: Path) -> None:
    (workspace / ".git/config").write_text(
        f'[core]\n\trepositoryformatversion = 0\n# [remote "origin"]\n[Remote "origin"] URL = "{URL}" ; comment\n'
        '\tfetch = +refs/heads/*:refs/remotes/origin/*\n[remote "Origin"]\n\turl = https://github.com/else/where\n'
    )
    assert git(workspace, "config", "remote.origin.url") == URL
    [tree] = working_trees(workspace, workspace)
    assert tree.origin_urls() == (URL,)


def test_on_another_server_the_repository_is_that_servers(workspace: Path) -> None:
    git(workspace, "config", "remote.origin.url", "git@ghes.example:octo/models.git")

    assert found(workspace) == ""
    assert found(workspace, GITHUB_SERVER_URL="https://ghes.example:8443")


def test_without_a_checkout_nothing_is_compared(tmp_path: Path) -> None:
    (tmp_path / "job" / "models").mkdir(parents=True)
    a_repository(tmp_path / "outside")
    assert found(tmp_path / "job") == ""
    # What is above the workspace, or beside it, isn't the job's.
    assert found(tmp_path / "outside" / "models", ".") == ""
    assert found(tmp_path / "job", "../outside") == ""


def test_a_repository_in_the_workspace_isnt_the_one_around_it(workspace: Path) -> None:
    inner = a_repository(workspace / "inner", "https://github.com/octo/other")

    assert found(workspace, str(inner / "models")) == ""


def unborn(root: Path, _: Path) -> None:
    git(root, "checkout", "-q", "--orphan", "nothing")


def link_out(root: Path, outside: Path) -> None:
    (root / ".git/HEAD").unlink()
    (root / ".git/HEAD").symlink_to(outside / "HEAD")


def link_of_a_ref(root: Path, outside: Path) -> None:
    (root / ".git/refs/heads/main").unlink()
    (root / ".git/refs/heads/main").symlink_to(outside / "HEAD")


def out_of_refs(root: Path, outside: Path) -> None:
    (root / ".git/HEAD").write_text(f"ref: refs/../../../../{outside.name}/HEAD\n")


def endless(root: Path, _: Path) -> None:
    (root / ".git/refs/heads/main").write_text("ref: refs/heads/main\n")


def large(root: Path, _: Path) -> None:
    os.truncate(root / ".git/HEAD", 2**40)


def pipe(root: Path, _: Path) -> None:
    (root / ".git/HEAD").unlink()
    os.mkfifo(root / ".git/HEAD")


def pattern(root: Path, _: Path) -> None:
    git(root, "pack-refs", "--all")
    (root / ".git/HEAD").write_text("ref: refs/heads/m.*n\n")


@pytest.mark.fault(
    "What is checked out isn't a commit, or the files of `.git` that name it are links, pipes or endless",
    "Nothing is converted; the error names the file.",
)
@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (unborn, ".git/HEAD: names no commit"),
        (link_out, ".git/HEAD: a symbolic link or behind one"),
        (link_of_a_ref, ".git/refs/heads/main: a symbolic link or behind one"),
        (out_of_refs, ".git/HEAD: names no commit"),
        (endless, ".git/HEAD: names no commit"),
        (large, ".git/HEAD: larger than 1 MiB"),
        (pipe, ".git/HEAD: not a regular file"),
        (pattern, ".git/HEAD: names no commit"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_a_checkout_of_no_commit_that_can_be_read_is_refused(
    workspace: Path, tmp_path: Path, break_it: Callable[[Path, Path], None], said: str
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "HEAD").write_text(f"{OTHER}\n")
    break_it(workspace, tmp_path / "outside")

    with pytest.raises(ConfigurationError) as refused:
        found(workspace)
    assert refused.value.message == f"{said}, so the commit that is checked out is unknown"


def test_a_git_directory_without_a_configuration_isnt_known(workspace: Path) -> None:
    (workspace / ".git/config").unlink()
    with pytest.raises(OSError, match="No such file") as unknown:
        found(workspace)
    assert unknown.value.filename == str(workspace / ".git/config")
    # A line that a pattern with several ways to match would take hours for.
    (workspace / ".git/config").write_text(f'[remote "origin"]\nurl = {" " * 900_000}"x\n')
    assert found(workspace) == ""


def test_a_git_directory_that_leads_elsewhere_is_not_read(workspace: Path, tmp_path: Path) -> None:
    (workspace / ".git").rename(tmp_path / "git")
    for content in (f"gitdir: {tmp_path / 'git'}\n", "gitdir: ../../../git\n"):
        (workspace / ".git").write_text(content)
        with pytest.raises(OSError, match="leads out of the workspace"):
            found(workspace)
    (workspace / ".git").unlink()
    (workspace / ".git").symlink_to(tmp_path / "git")
    with pytest.raises(OSError, match="symbolic link"):
        found(workspace)


def test_refs_in_a_reftable_arent_known(workspace: Path) -> None:
    (workspace / ".git/HEAD").write_text("ref: refs/heads/.invalid\n")

    with pytest.raises(OSError, match="reftable"):
        found(workspace)


HEAD, MERGE, BASE = "a" * 40, "b" * 40, "d" * 40
PULL = {"pull_request": {"number": 7, "head": {"sha": HEAD, "repo": {"full_name": "stranger/copy"}}}}
RUN = {"workflow_run": {"id": 900, "head_sha": HEAD, "head_repository": {"full_name": "octo/models"}}}


def an_event(tmp_path: Path, name: str, payload: Any, sha: str) -> Event:
    (tmp_path / "event.json").write_text(json.dumps(payload))
    return read_event(variables(name, sha=sha, GITHUB_EVENT_PATH=str(tmp_path / "event.json")))


@pytest.mark.parametrize(
    ("name", "payload", "sha", "right", "hint"),
    [
        (
            "pull_request",
            PULL,
            MERGE,
            {HEAD, MERGE},
            "set no `ref`, or `ref: ${{ github.event.pull_request.head.sha }}`",
        ),
        ("pull_request_review", PULL, MERGE, {HEAD, MERGE}, "`ref: ${{ github.event.pull_request.head.sha }}`"),
        (
            "pull_request_target",
            PULL,
            BASE,
            {HEAD},
            "on `pull_request`, or set `ref: ${{ github.event.pull_",
        ),
        ("workflow_run", RUN, BASE, {HEAD}, "`ref: ${{ github.event.workflow_run.head_sha }}`"),
        ("issue_comment", {"issue": {"number": 7}}, BASE, {BASE}, "`ref: ${{ github.sha }}`; another commit needs"),
        ("push", {}, BASE, {BASE}, "set no `ref`, or `ref: ${{ github.sha }}`"),
        ("merge_group", {}, MERGE, {MERGE}, "`ref: ${{ github.sha }}`"),
        ("schedule", {}, BASE, {BASE}, "`ref: ${{ github.sha }}`"),
    ],
)
def test_what_an_event_converts(tmp_path: Path, name: str, payload: Any, sha: str, right: set[str], hint: str) -> None:
    event = an_event(tmp_path, name, payload, sha)
    for commit in (HEAD, MERGE, BASE, OTHER):
        if commit in right:
            check_commit(commit, event)
            continue
        with pytest.raises(ConfigurationError) as refused:
            check_commit(commit, event)
        assert f"commit {commit[:12]} is checked out, but results and status are for {event.sha[:12]}, the" in (
            refused.value.message
        )
        assert hint in refused.value.hint


def test_a_checkout_of_the_fork_is_compared(workspace: Path, tmp_path: Path) -> None:
    git(workspace, "config", "remote.origin.url", "https://github.com/stranger/copy")
    event = an_event(tmp_path, "pull_request_target", PULL, BASE)

    assert checked_out(workspace, workspace, {}, event) == git(workspace, "rev-parse", "HEAD")
    assert found(workspace) == ""


def test_results_of_the_command_line_name_what_it_converted(workspace: Path, tmp_path: Path) -> None:
    head = git(workspace, "rev-parse", "HEAD")
    path = workspace / "models" / "navigator.yaml"
    run = RunConfig(models=(a_model(model_path=path, config_path=path, line=1),), config_path=path)
    given = {"GITHUB_WORKSPACE": str(workspace), "GITHUB_EVENT_PATH": str(tmp_path / "event.json")}
    for payload, sha, commit in (({}, BASE, head), ({}, head, head), (PULL, head, HEAD)):
        (tmp_path / "event.json").write_text(json.dumps(payload))
        environment = variables("pull_request" if payload else "push", sha=sha, **given)
        assert read_origin(run, environment).commit == commit
    unborn(workspace, tmp_path)
    (tmp_path / "event.json").write_text("{}")
    assert read_origin(run, variables(sha=BASE, **given)).commit == BASE
