"""What the engine is lent and given back, in a container, where the action is root: needs Docker."""

import json
import os
import re
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from navigator.cache.digests import identity
from navigator.cache.layers import NAME, TRUSTED, Layers

HERE = Path(__file__).parent
MODEL = "model_name: tiny\nmodel_path: models/tiny.onnx\nmodel_format: onnx\n"
CONFIG = f"{MODEL}workspace_path: out/workspace\ncache_path: cache\n"
# What a model could do: code of the engine's user, which prints JSON.
ENGINE = "import json, os, pathlib\nseen = {'uid': os.getuid(), 'groups': os.getgroups()}\n"

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Path]:
    """Return a checkout of the runner's user, which everybody may read."""
    path = tmp_path / "trial"
    (path / "models").mkdir(parents=True)
    (path / "models" / "tiny.onnx").write_bytes(b"model")
    (path / ".git").mkdir()
    (path / ".git" / "config").write_text("token")
    (path / "other" / ".git").mkdir(parents=True)
    (path / "other" / ".git" / "config").write_text("token")
    (path / "navigator.yaml").write_text(CONFIG)
    _own(path)
    yield path
    # What a failing test left behind may belong to users that only root in a container can remove.
    if os.geteuid() == 0:
        _own(path)


def _own(path: Path) -> None:
    """Give a tree to the runner's user. Where the tests do not run as root, that is whoever runs them."""
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", "1001:1001", path], check=True)


@pytest.fixture
def run(image: Callable[[str], str], workspace: Path, tmp_path: Path) -> Run:
    """Return a function that runs a program as the engine in the action's container; it gives exit code and log."""

    def runner(program: str, *words: str, options: tuple[str, ...] = ()) -> tuple[int, str]:
        package = tmp_path / "stand-in" / "navigator"
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(ENGINE + program + "\nprint(json.dumps(seen))\n")
        temp, home = tmp_path / "_temp", tmp_path / "_temp" / "_github_home"
        home.mkdir(parents=True, exist_ok=True)
        (temp / "git-credentials-1.config").write_text("token")
        command = ["docker", "run", "--rm", "--workdir", "/github/workspace", "--entrypoint", "python"]
        for host, container in (
            (workspace, "/github/workspace"),
            (temp, "/github/runner_temp"),
            (home, "/github/home"),
            (HERE, "/tests:ro"),
            (package.parent, "/stand-in:ro"),
            ("/var/run/docker.sock", "/var/run/docker.sock"),
        ):
            command += ["-v", f"{host}:{container}"]
        for pair in ("PYTHONPATH=/stand-in", "RUNNER_TEMP=/github/runner_temp", "HOME=/github/home"):
            command += ["-e", pair]
        command += [*options, image("slim"), "-I", "/tests/engine_driver.py", *words, "--"]
        ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        return ran.returncode, ran.stdout

    return runner


def seen(log: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(log.splitlines()[1])
    return found


def modes(path: Path) -> dict[str, tuple[str, int, int]]:
    """Return mode and owner of everything below."""
    found = {}
    for each in (path, *path.rglob("*")):
        status = each.lstat()
        found[str(each.relative_to(path))] = (stat.filemode(status.st_mode), status.st_uid, status.st_gid)
    return found


def test_the_engine_writes_what_it_is_lent_and_nothing_else(run: Run, workspace: Path) -> None:
    before = modes(workspace)
    code, log = run(
        """
import pwd
def attempt(name, action):
    try:
        action()
        seen[name] = True
    except OSError as error:
        seen[name] = type(error).__name__
attempt("workspace", lambda: pathlib.Path("out/workspace/made").mkdir(mode=0o500))
attempt("layer", lambda: pathlib.Path("cache/model-navigator-cache/trusted/made").write_text("x"))
attempt("cache", lambda: pathlib.Path("cache/made").write_text("x"))
attempt("other layers", lambda: pathlib.Path("cache/model-navigator-cache/untrusted").mkdir())
attempt("link", lambda: pathlib.Path("out/workspace/link").symlink_to("/github/workspace/navigator.yaml"))
attempt("checkout", lambda: pathlib.Path("made").write_text("x"))
attempt("model", lambda: pathlib.Path("models/tiny.onnx").write_text("x"))
attempt("git", lambda: pathlib.Path(".git/config").read_text())
attempt("nested git", lambda: pathlib.Path("other/.git/config").read_text())
attempt("temp", lambda: pathlib.Path("/github/runner_temp/git-credentials-1.config").read_text())
attempt("home", lambda: os.listdir("/github/home"))
attempt("socket", lambda: __import__("socket").socket(1).connect("/var/run/docker.sock"))
attempt("parent", lambda: open(f"/proc/{os.getppid()}/environ").read())
attempt("own home", lambda: pathlib.Path.home().joinpath("x").write_text("x"))
"""
    )
    assert code == 0, log
    found = seen(log)
    assert (found.pop("uid"), found.pop("groups")) == (65534, [])
    assert {name for name, value in found.items() if value is True} == {"workspace", "layer", "link", "own home"}
    assert set(found.values()) == {True, "PermissionError"}
    after = modes(workspace)
    assert {name: after[name] for name in before} == before
    owner = before["."][1:]
    assert {each[1:] for each in after.values()} == {owner}
    assert after["out/workspace/made"][0] == "dr-x------"
    assert (workspace / "cache" / NAME / TRUSTED / "made").read_text() == "x"


def test_an_output_goes_where_others_have_files_too(run: Run, workspace: Path) -> None:
    (workspace / "navigator.yaml").write_text(CONFIG + "output_path: models/converted.onnx\n")
    (workspace / "models" / "converted.onnx").write_text("of an earlier run")
    _own(workspace)
    before = modes(workspace)
    code, log = run(
        """
pathlib.Path("models/converted.onnx").write_text("new")
pathlib.Path("models/converted.onnx.data").write_text("new")
try:
    pathlib.Path("models/tiny.onnx").unlink()
except OSError as error:
    seen["model"] = type(error).__name__
"""
    )
    assert code == 0, log
    assert seen(log)["model"] == "PermissionError"
    after = modes(workspace)
    assert {name: after[name] for name in before} == before
    assert after["models/converted.onnx.data"][1:] == before["."][1:]
    assert (workspace / "models" / "converted.onnx").read_text() == "new"


@pytest.mark.parametrize("key", ["workspace_path", "cache_path", "output_path"])
def test_a_link_is_not_lent(run: Run, workspace: Path, key: str) -> None:
    """A pull request may hold a link to the runner's own files."""
    (workspace / "link").symlink_to("/github/home")
    (workspace / "navigator.yaml").write_text(f"{MODEL}{key}: link/x.onnx\n")
    code, log = run("")
    assert code == 2
    path = "/github/workspace/link" if key == "output_path" else "/github/workspace/link/x.onnx"
    assert log == (
        f"can't give the engine write access to {path}: /github/workspace/link: a symbolic link or behind one\n"
        "  use a separate directory inside /github/workspace\n"
    )
    assert not list((workspace / "link").parent.glob("x.onnx"))


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/github/workspace", "it contains more than a run writes"),
        ("/github", "it contains more than a run writes"),
        ("/github/home/cache", "it belongs to the runner or to git"),
        ("/github/workspace/.git/hooks", "it belongs to the runner or to git"),
    ],
)
def test_what_is_the_runners_is_not_lent(run: Run, workspace: Path, path: str, why: str) -> None:
    config = f"{MODEL}workspace_path: {path}\n"
    (workspace / "navigator.yaml").write_text(config)
    before = modes(workspace)
    code, log = run("")
    assert (code, log.splitlines()[0]) == (2, f"can't give the engine write access to {path}: {why}")
    assert modes(workspace) == before


@pytest.mark.parametrize(("path", "mode"), [("models/tiny.onnx", 0o640), ("models", 0o750), (".", 0o700)])
def test_a_model_that_not_everybody_may_read_is_named(run: Run, workspace: Path, path: str, mode: int) -> None:
    (workspace / path).chmod(mode)
    code, log = run("")
    assert code == 2
    assert log == (
        f"{Path('/github/workspace', path)} isn't readable by everyone: the engine runs as unprivileged user 65534\n"
        f"  run `chmod -R a+rX {path}` in an earlier step, or set the runner's umask to 022\n"
    )


def test_a_model_that_fills_the_workspace_with_traps(run: Run, workspace: Path) -> None:
    """Deep directories, links, hard links, pipes, and processes that go on: all is given back, and nothing else."""
    code, log = run(
        """
os.symlink("/etc", "out/workspace/etc")
os.symlink("/github/workspace/navigator.yaml", "out/workspace/file")
os.mkfifo("out/workspace/pipe")
pathlib.Path("out/workspace/program").touch()
os.chmod("out/workspace/program", 0o4755)
try:
    os.link("models/tiny.onnx", "out/workspace/hard")
except OSError as error:
    seen["hard"] = type(error).__name__
os.mkdir("out/workspace/late")
for number in range(300):
    os.makedirs(f"out/workspace/git/{number}/.git")
for number in range(64):
    if os.fork() == 0:
        while True:
            if os.fork():
                os._exit(0)
            os.setsid()
            pathlib.Path(f"/github/workspace/out/workspace/late/{number}").unlink(missing_ok=True)
            pathlib.Path(f"/github/workspace/out/workspace/late/{number}").touch()
start = os.getcwd()
os.chdir("out/workspace")
for _ in range(3000):
    os.mkdir("deep")
    os.chdir("deep")
os.chdir(start)
"""
    )
    assert code == 0, log
    owner = workspace.stat().st_uid
    found = subprocess.run(
        ["find", workspace, "!", "-uid", str(owner), "-print", "-quit"], capture_output=True, text=True, check=True
    )
    assert found.stdout == ""
    assert stat.S_IMODE((workspace / "out" / "workspace" / "program").lstat().st_mode) == 0o755
    assert (workspace / "out" / "workspace" / "etc").is_symlink()
    code, log = run("", options=("--ulimit", "nofile=256"))
    assert code == 0, f"the next run meets it all again: {log}"
    subprocess.run(["rm", "-rf", workspace / "out"], check=True)


def test_docker_comes_with_the_group_of_its_socket(run: Run) -> None:
    code, log = run(
        "import socket; socket.socket(socket.AF_UNIX).connect('/var/run/docker.sock')",
        "docker=true",
    )
    assert code == 0, log
    assert seen(log)["groups"] == [Path("/var/run/docker.sock").stat().st_gid]


def test_without_root_nothing_is_lent_and_the_parent_is_closed_all_the_same(run: Run, workspace: Path) -> None:
    owner = workspace.stat()
    code, log = run(
        """
try:
    open(f"/proc/{os.getppid()}/environ").read()
except OSError as error:
    seen["parent"] = type(error).__name__
""",
        options=("--user", f"{owner.st_uid}:{owner.st_gid}"),
    )
    assert code == 0, log
    assert seen(log)["uid"] == owner.st_uid
    assert seen(log)["parent"] == "PermissionError"


def test_the_user_is_another_one_than_the_workspaces(run: Run, workspace: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files to another user")
    subprocess.run(["chown", "-R", "65534:65534", workspace], check=True)
    code, log = run("")
    assert (code, seen(log)["uid"]) == (0, 65533), log
    assert re.search(r'"code": 0', log)


# The cache ----------------------------------------------------------------------------------------------------------

KEY = identity("the conversion of a model that the default branch has, too")
# A pull request's model puts entries wherever it may.
POISON = """
import shutil, subprocess
home = "cache/model-navigator-cache"
places = [f"{home}/trusted", f"{home}/untrusted/pr-7", f"{home}/untrusted/pr-8", home, "cache", ".", "out/workspace"]
places += ["cache/model-navigator-cache/untrusted", "out/workspace/model-navigator-cache/trusted", "models"]
for place in places:
    subprocess.run(["cp", "-rT", "/github/workspace/forged/model-navigator-cache/trusted", place], stderr=-3)
    subprocess.run(["cp", "-rT", "/github/workspace/forged", place], stderr=-3)
subprocess.run(["mv", home, "cache/old"], stderr=-3)
subprocess.run(["mv", f"{home}/trusted", f"{home}/old"], stderr=-3)
subprocess.run(["mv", f"{home}/untrusted/pr-7", f"{home}/trusted"], stderr=-3)
subprocess.run(["chmod", "-R", "777", "cache", "out"], stderr=-3)
seen["layer"] = os.environ["MODEL_NAVIGATOR_CACHE_LAYER"]
"""


@pytest.fixture
def forged(workspace: Path) -> Path:
    """Return a cache in which an entry says what isn't true."""
    Layers(workspace / "forged", 10**9).put(KEY, "forged", None)
    _own(workspace)
    return workspace / "forged"


def read(workspace: Path, layer: str, path: str = "cache") -> Any:
    return Layers(workspace / path, 10**9, layer).get(KEY, None)


def test_what_a_pull_request_writes_is_in_no_other_runs_cache(run: Run, workspace: Path, forged: Path) -> None:
    assert read(workspace, TRUSTED, "forged") == "forged"
    code, log = run(POISON, options=("-e", "PULL_REQUEST=7"))
    assert code == 0, log
    assert (seen(log)["uid"], seen(log)["layer"]) == (65531, "untrusted/pr-7")
    owners = {each[1:] for each in modes(workspace).values()}
    assert len(owners) == 1, "all is given back"

    assert read(workspace, "untrusted/pr-7") == "forged", "the poison works where it got to"
    for layer in (TRUSTED, "untrusted/pr-8"):
        assert read(workspace, layer) is None
    assert read(workspace, TRUSTED, "out/workspace") is None


def test_a_trusted_run_uses_nothing_that_a_killed_run_left(run: Run, workspace: Path, forged: Path) -> None:
    """Nobody gave back what the model owned: entries in the trusted layer, and a whole cache."""
    if os.geteuid() != 0:
        pytest.skip("only root can give files to another user")
    run("", options=("-e", "PULL_REQUEST=7"))
    subprocess.run(["cp", "-rT", forged, workspace / "cache"], check=True)
    trusted = workspace / "cache" / NAME / TRUSTED
    subprocess.run(["chown", "-R", "65531:65531", *trusted.iterdir()], check=True)
    assert read(workspace, TRUSTED) == "forged"
    code, log = run("")
    assert code == 0, log
    assert read(workspace, TRUSTED) is None

    subprocess.run(["cp", "-rT", forged, workspace / "cache"], check=True)
    subprocess.run(["chown", "-R", "65531:65531", workspace / "cache" / NAME], check=True)
    assert read(workspace, TRUSTED) == "forged"
    code, log = run("")
    assert code == 0, log
    assert read(workspace, TRUSTED) is None


def test_a_pull_request_reads_the_trusted_layer(run: Run, workspace: Path) -> None:
    Layers(workspace / "cache", 10**9).put(KEY, "right", None)
    subprocess.run(["chmod", "-R", "0777", workspace / "cache"], check=True)
    _own(workspace)
    code, log = run(POISON, options=("-e", "PULL_REQUEST=7"))
    assert code == 0, log
    for layer in (TRUSTED, "untrusted/pr-7", "untrusted/pr-8"):
        assert read(workspace, layer) == "right"
    code, log = run(
        "seen['entry'] = json.loads(next(pathlib.Path('cache').rglob('entry.json')).read_text())['value']",
        options=("-e", "PULL_REQUEST=8"),
    )
    assert seen(log)["entry"] == "right"


@pytest.mark.parametrize(
    "config",
    [
        "workspace_path: cache\n",
        "workspace_path: cache/model-navigator-cache/trusted\n",
        "workspace_path: out\ncache_path: out/cache\n",
        "output_path: cache\n",
        "output_path: cache/model-navigator-cache/trusted/00/x\n",
        "cache_path: cache/model-navigator-cache/trusted\n",
    ],
)
def test_a_configuration_gives_no_cache_away(run: Run, workspace: Path, config: str) -> None:
    """A pull request may say in navigator.yaml where it writes."""
    Layers(workspace / "cache", 10**9).put(KEY, "right", None)
    (workspace / "navigator.yaml").write_text(MODEL + config)
    _own(workspace)
    before = modes(workspace)
    code, log = run("", options=("-e", "PULL_REQUEST=7"))
    assert (code, log.splitlines()[0].partition(": ")[2]) == (
        2,
        "there is a cache of converted models, which other runs rely on",
    )
    after = modes(workspace)
    assert {name: after[name] for name in before} == before


def test_a_cache_that_a_pull_request_commits_is_refused(run: Run, workspace: Path, forged: Path) -> None:
    forged.rename(workspace / "cache")
    git = ["git", "-c", "safe.directory=*", "-C", str(workspace)]
    subprocess.run(["rm", "-r", workspace / ".git", workspace / "other"], check=True)
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    _own(workspace)
    code, log = run("", options=("-e", "PULL_REQUEST=7"))
    assert code == 2
    assert log == (
        "can't give the engine write access to /github/workspace/cache: model-navigator-cache is in git\n"
        "  remove it from the repository\n"
    )
