"""As whom the engine runs, which directories it is lent for that time, and giving them back.

The engine is not root, since models are code: it may read what everybody may, and write what it is lent. Where this
process is not root itself, all of this is left out. Nothing here follows a symbolic link: the workspace is a pull
request's, and what the engine leaves behind is the models'.
"""

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from navigator.action.job import Job
from navigator.errors import ConfigurationError
from navigator.github.commands import command
from navigator.records import Format, ModelConfig, RunConfig
from navigator.render.streams import write
from navigator.runners import RUNNERS

# nobody, and its neighbours: users that own nothing.
_USERS = (65534, 65533, 65532)
_SOCKET = Path("/var/run/docker.sock")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """As whom the engine runs; all None: as this process does.

    `groups` are the supplementary ones; `home` is a directory of its own, for its temporary files too.
    """

    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] | None = None
    home: Path


@contextmanager
def lent(run: RunConfig, job: Job) -> Iterator[Identity]:
    """Lend the engine what `run` writes, and close what is none of its business; give and open all of it again.

    - The run's workspace and cache belong to the engine for that time, with all that is in them.
    - Into the directories of `output_path` it may put files, but not touch what others put there.
    - Closed are each `.git` (a checkout keeps its token there), the runner's temporary directory (or there) and the
      runner's own files.

    At the end no process of the engine is left, and what it wrote belongs to the owner of the workspace.

    Raises:
        ConfigurationError: something cannot be lent, or a model cannot be read by everybody.
    """
    # Not where TMPDIR says, which may be the runner's own directory.
    home = Path(tempfile.mkdtemp(prefix="model-navigator-", dir="/tmp"))
    try:
        if os.geteuid() != 0:
            yield Identity(home=home)
            return
        owner = job.workspace.stat()
        uid = next(each for each in _USERS if each not in (owner.st_uid, owner.st_gid))
        groups = (_SOCKET.stat().st_gid,) if job.inputs.docker and _SOCKET.exists() else ()
        identity = Identity(uid=uid, gid=uid, groups=groups, home=home)
        os.chown(home, uid, uid)
        with ExitStack() as stack:
            loan = _Loan(identity, job, owner, stack)
            loan.close_all()
            for path in filter(None, (run.workspace_path, run.cache_path)):
                loan.lend(path)
            for path in filter(None, (model.output_path for model in run.models)):
                loan.lend_output(path)
            _check_readable(run, identity, job.workspace)
            stack.callback(_end_processes, uid)
            yield identity
    finally:
        subprocess.run(["/bin/rm", "-rf", "--", home], check=False)


class _Loan:
    """What is changed for the time of a run; `stack` changes it back."""

    def __init__(self, identity: Identity, job: Job, owner: os.stat_result, stack: ExitStack) -> None:
        assert identity.uid is not None
        self._uid = identity.uid
        self._home = identity.home
        self._job = job
        self._owner = owner
        self._stack = stack
        self._closed: list[Path] = []

    def close_all(self) -> None:
        """Close what may hold a token or steers the runner."""
        variables = ("RUNNER_TEMP", "HOME", "GITHUB_EVENT_PATH", "GITHUB_OUTPUT")
        given = {name: Path(self._job.environment[name]) for name in variables if self._job.environment.get(name)}
        for name, path in given.items():
            directory = path if name in ("RUNNER_TEMP", "HOME") else path.parent
            # Elsewhere than on GitHub's runner it may be /tmp, which is the engine's way to its own files too.
            if directory.is_dir() and not any(
                each.is_relative_to(directory) for each in (self._job.workspace, self._home)
            ):
                self._close(os.open(directory, _DIRECTORY))
                self._closed.append(directory)
        if os.getpid() == 1 and not self._job.inputs.docker and _SOCKET.exists():
            # Ours alone, in a container. The socket itself is the host's, where everybody may have been let in.
            self._close(os.open(_SOCKET.parent.resolve(), _DIRECTORY))
        for parent, directories, _, descriptor in os.fwalk(self._job.workspace):
            if ".git" in directories and not Path(parent, ".git").is_symlink():
                directories.remove(".git")
                self._close(os.open(".git", _DIRECTORY, dir_fd=descriptor))

    def lend(self, path: Path) -> None:
        """Give a directory to the engine, made where it is not there."""
        descriptor = self._open(path)
        _chown_all(descriptor, f"{self._uid}:{self._uid}")
        self._at_end(path, lambda: self._take_back(descriptor))

    def lend_output(self, path: Path) -> None:
        """Let the engine put `path` where it belongs, also over what an earlier run put there."""
        descriptor = self._open(path.parent, whole=False)
        before = os.fstat(descriptor)
        if before.st_uid == self._uid:  # it is lent already
            return

        def take_back() -> None:
            os.fchown(descriptor, -1, before.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
            self._take_back(descriptor)

        os.fchown(descriptor, -1, self._uid)
        os.fchmod(descriptor, stat.S_IMODE(before.st_mode) | stat.S_IRWXG | stat.S_ISVTX)
        self._at_end(path.parent, take_back)
        for name in (path.name, f"{RUNNERS[Format.ONNX].ARTIFACT_NAME}.data"):
            self._lend_existing(descriptor, name)

    def _lend_existing(self, directory: int, name: str) -> None:
        try:
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(found.st_mode):
            with _opened(name, directory) as descriptor:
                _chown_all(descriptor, f"{self._uid}:{self._uid}")
        elif stat.S_ISREG(found.st_mode):
            os.chown(name, self._uid, self._uid, dir_fd=directory, follow_symlinks=False)

    def _open(self, path: Path, *, whole: bool = True) -> int:
        """Open a directory without following a link, and make it and those above it where they are missing.

        Args:
            path: absolute.
            whole: it is to be given away, with all that is in it.
        """
        workspace = self._job.workspace
        if whole and (workspace.is_relative_to(path) or any(each.is_relative_to(path) for each in self._closed)):
            raise self._refusal(path, "it holds more than what a run writes")
        if ".git" in path.parts or any(path.is_relative_to(each) for each in self._closed):
            raise self._refusal(path, "it is among the runner's or git's own files")
        start = workspace if path.is_relative_to(workspace) else Path("/")
        descriptor = os.open(start, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for name in path.relative_to(start).parts:
            above = descriptor
            try:
                descriptor = self._open_below(above, name)
            except OSError as error:
                raise self._refusal(path, f"{name} is no directory, or a link ({error.strerror})") from error
            finally:
                os.close(above)
        self._stack.callback(os.close, descriptor)
        return descriptor

    def _open_below(self, above: int, name: str) -> int:
        try:
            return os.open(name, _DIRECTORY, dir_fd=above)
        except FileNotFoundError:
            os.mkdir(name, 0o755, dir_fd=above)
            descriptor = os.open(name, _DIRECTORY, dir_fd=above)
            os.fchown(descriptor, self._owner.st_uid, self._owner.st_gid)
            return descriptor

    def _refusal(self, path: Path, why: str) -> ConfigurationError:
        hint = f"choose a directory of its own inside {self._job.workspace}"
        return ConfigurationError(f"{path} cannot be lent to the engine: {why}", hint)

    def _close(self, descriptor: int) -> None:
        """Leave a directory to its owner alone; takes over the descriptor."""
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        os.fchmod(descriptor, 0o700)
        self._stack.callback(os.close, descriptor)
        self._stack.callback(os.fchmod, descriptor, mode)

    def _take_back(self, descriptor: int) -> None:
        owner = f"{self._owner.st_uid}:{self._owner.st_gid}"
        _chown_all(descriptor, owner, f"--from={self._uid}")
        if os.fstat(descriptor).st_uid == self._uid:
            os.fchown(descriptor, self._owner.st_uid, self._owner.st_gid)

    def _at_end(self, path: Path, take_back: Callable[[], None]) -> None:
        """Take back at the end, whatever the results are: where that fails, they are told all the same."""

        def attempt() -> None:
            try:
                take_back()
            except (OSError, subprocess.CalledProcessError) as error:
                reason = f"{path} could not be given back to the owner of the workspace: {error}"
                write(
                    f"{command('warning', f'{reason}. The next checkout may not be able to remove it.')}\n",
                    self._job.stream,
                )

        self._stack.callback(attempt)


@contextmanager
def _opened(name: str, directory: int) -> Iterator[int]:
    descriptor = os.open(name, _DIRECTORY, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _chown_all(descriptor: int, owner: str, *options: str) -> None:
    """Give a directory and all that is in it to `owner` ("uid:gid"), links themselves and not what they lead to.

    coreutils' chown holds one directory open at a time and goes through links nowhere (-P, -h): a model may have
    made directories deeper than any path is long.
    """
    words = ["/bin/chown", "-R", "-P", "-h", *options, "--", owner, f"/proc/self/fd/{descriptor}/."]
    done = subprocess.run(words, pass_fds=[descriptor], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(done.stderr.strip())


def _end_processes(uid: int) -> None:
    """Kill all processes of a user at one blow, which also ends what forks faster than anybody could look.

    Only in a container of our own, whose processes are ours: elsewhere the user may have others.
    """
    if os.getpid() == 1:
        # It may signal what its user may, which is all of that user's and nothing else; itself is left out (kill(2)).
        words = ["/bin/sh", "-c", "kill -KILL -1"]
        subprocess.run(words, user=uid, group=uid, extra_groups=[], stderr=subprocess.DEVNULL, check=False)


def _check_readable(run: RunConfig, identity: Identity, workspace: Path) -> None:
    models = (path for model in run.models for path in _read(model))
    for path in filter(None, (Path(sys.executable).resolve(), run.config_path, *models)):
        way = ((each, stat.S_IXOTH) for each in reversed(path.parents))
        for each, wanted in (*way, *_all_below(path)):
            if each.exists() and not _may(each.stat(), wanted, identity):
                shown = each.relative_to(workspace) if each.is_relative_to(workspace) else each
                raise ConfigurationError(
                    f"{each} cannot be read by everybody: the engine runs as user {identity.uid}, which owns nothing",
                    f"run `chmod -R a+rX {shown}` in a step before this one, or let the runner's umask be 022",
                )


def _read(model: ModelConfig) -> Iterable[Path]:
    return (model.model_path, *model.samples, *model.tensorrt_plugins)


def _all_below(path: Path) -> Iterator[tuple[Path, int]]:
    """Yield a path and all that is below it, and what may be done with it by whoever reads it."""
    directory = stat.S_IROTH | stat.S_IXOTH
    yield path, directory if path.is_dir() else stat.S_IROTH
    for parent, directories, files in os.walk(path):
        yield from ((Path(parent, name), directory) for name in directories)
        yield from ((Path(parent, name), stat.S_IROTH) for name in files)


def _may(found: os.stat_result, wanted: int, identity: Identity) -> bool:
    if found.st_uid == identity.uid:
        return True
    if found.st_gid in (identity.gid, *(identity.groups or ())):
        wanted <<= 3
    return found.st_mode & wanted == wanted
