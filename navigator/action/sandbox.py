"""The user that the engine runs as, and the directories that it may write to for that time.

Models are code, so the engine isn't root: it may read what everybody may, and write what it's granted. If this process
isn't root itself, none of this happens. Nothing here follows a symbolic link: the workspace is a pull request's, and
what the engine leaves behind is the models'.
"""

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from navigator.action.cache_layers import has_cache, is_committed, open_layer, remove_caches
from navigator.action.coreutils import chown_all, directories_named
from navigator.action.job import Job
from navigator.cache.layers import NAME as CACHE
from navigator.errors import ConfigurationError
from navigator.github.commands import command, tell
from navigator.records import Format, ModelConfig, RunConfig
from navigator.render.text import harmless
from navigator.runners import RUNNERS
from navigator.safe_files import ROOT, open_child, open_directory, set_mode

# nobody, and its neighbours: users that own nothing. Untrusted code has others, so that two runs that share a cache at
# the same time can't write each other's files.
_USERS = (65534, 65533, 65532)
_UNTRUSTED_USERS = (65531, 65530, 65529)
_SOCKET = Path("/var/run/docker.sock")


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """The user that the engine runs as; all None: this process's.

    `groups` are the supplementary ones; `home` is a directory of its own, for its temporary files too.
    """

    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] | None = None
    home: Path


@contextmanager
def sandbox(run: RunConfig, job: Job) -> Iterator[Identity]:
    """Let the engine write what `run` writes, and keep it out of what it has no need of; undo both at the end.

    - The run's workspace and its layer of the cache, with all that is in them, belong to the engine for that time. It
      may read the trusted layer.
    - It may put files into the directories of `output_path`, but not touch other files there.
    - It can't enter any `.git` (a checkout keeps its token there), the runner's temporary directory (or there) and the
      directories of the runner's own files.

    At the end no process of the engine is left, and what it wrote belongs to the owner of the workspace.

    Raises:
        ConfigurationError: something can't be granted, or not everybody can read a model.
    """
    # Not where TMPDIR says, which may be the runner's own directory.
    home = Path(tempfile.mkdtemp(prefix="model-navigator-", dir="/tmp"))
    try:
        if os.geteuid() != 0:
            yield Identity(home=home)
            return
        owner = job.workspace.stat()
        users = _USERS if job.event.is_trusted else _UNTRUSTED_USERS
        uid = next(each for each in users if each not in (owner.st_uid, owner.st_gid))
        groups = (_SOCKET.stat().st_gid,) if job.inputs.docker and _SOCKET.exists() else ()
        identity = Identity(uid=uid, gid=uid, groups=groups, home=home)
        os.chown(home, uid, uid)
        with ExitStack() as stack:
            grants = _Grants(identity, job, owner, stack)
            grants.close_all()
            if run.cache_path is not None:
                grants.grant_cache(run.cache_path, run.cache_size_bytes)
            grants.grant(run.workspace_path)
            for path in filter(None, (model.output_path for model in run.models)):
                grants.grant_output(path)
            _check_readable(run, identity, job.workspace)
            stack.callback(_end_processes, uid)
            yield identity
    finally:
        subprocess.run(["/bin/rm", "-rf", "--", home], check=False)


class _Grants:
    """What the engine is granted and denied for the time of a run; `stack` undoes it."""

    def __init__(self, identity: Identity, job: Job, owner: os.stat_result, stack: ExitStack) -> None:
        assert identity.uid is not None
        self._uid = identity.uid
        self._home = identity.home
        self._job = job
        self._owner = owner
        self._owner_text = f"{owner.st_uid}:{owner.st_gid}"
        self._stack = stack
        self._closed: list[Path] = []
        self._checkouts: list[Path] = []

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
                self._restrict(directory, directory.parent)
                self._closed.append(directory)
        if os.getpid() == 1 and not self._job.inputs.docker and _SOCKET.exists():
            # Ours alone, in a container. The socket itself is the host's, where everybody may have been let in.
            self._restrict(_SOCKET.parent.resolve())
        for path in directories_named(".git", self._job.workspace):
            self._restrict(path, self._job.workspace)
            self._checkouts.append(path.parent)

    def grant_cache(self, path: Path, limit_bytes: int) -> None:
        """Give the engine its layer of the cache in a directory; both are made if they aren't there."""
        self._refuse_cache(path)
        if any(path.is_relative_to(each) and is_committed(path, each) for each in self._checkouts):
            raise self._refusal(path, f"{CACHE} is in git", "remove it from the repository")
        self._open(path, whole=False)
        self._restrict(path, path, ~(stat.S_IWGRP | stat.S_IWOTH))
        layer = self._job.event.cache_layer
        try:
            own = open_layer(path, layer, limit_bytes, owner=self._owner_text, distrusted=_UNTRUSTED_USERS)
        except OSError as error:
            raise self._refusal(path, str(error)) from error
        self._stack.callback(os.close, own)
        chown_all(own, f"{self._uid}:{self._uid}")
        self._at_end(path, lambda: self._revoke(own))

    def grant(self, path: Path) -> None:
        """Give a directory to the engine; it's made if it isn't there."""
        self._refuse_cache(path)
        descriptor = self._open(path)
        self._give(descriptor, path)
        self._at_end(path, lambda: self._revoke(descriptor))

    def grant_output(self, path: Path) -> None:
        """Let the engine write `path`, also over what an earlier run put there."""
        self._refuse_cache(path)
        descriptor = self._open(path.parent, whole=False)
        before = os.fstat(descriptor)
        if before.st_uid == self._uid:  # granted already
            return

        def revoke() -> None:
            os.fchown(descriptor, -1, before.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
            self._revoke(descriptor)

        os.fchown(descriptor, -1, self._uid)
        os.fchmod(descriptor, stat.S_IMODE(before.st_mode) | stat.S_IRWXG | stat.S_ISVTX)
        self._at_end(path.parent, revoke)
        for name in (path.name, f"{RUNNERS[Format.ONNX].ARTIFACT_NAME}.data"):
            self._grant_existing(descriptor, path.parent / name)

    def _grant_existing(self, directory: int, path: Path) -> None:
        try:
            found = os.stat(path.name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(found.st_mode):
            with _opened(path.name, directory) as descriptor:
                self._give(descriptor, path)
        elif stat.S_ISREG(found.st_mode):
            os.chown(path.name, self._uid, self._uid, dir_fd=directory, follow_symlinks=False)

    def _open(self, path: Path, *, whole: bool = True) -> int:
        """Open a directory without following a link, and make it and those above it where they are missing.

        Args:
            path: absolute.
            whole: it is to be given away, with all that is in it.
        """
        workspace = self._job.workspace
        if whole and (workspace.is_relative_to(path) or any(each.is_relative_to(path) for each in self._closed)):
            raise self._refusal(path, "it contains more than a run writes")
        if ".git" in path.parts or any(path.is_relative_to(each) for each in self._closed):
            raise self._refusal(path, "it belongs to the runner or to git")
        start = workspace if path.is_relative_to(workspace) else Path("/")
        try:
            descriptor = open_directory(path, start, self._make)
        except OSError as error:
            raise self._refusal(path, f"{error.filename}: {error.strerror}") from error
        self._stack.callback(os.close, descriptor)
        return descriptor

    def _make(self, name: str, above: int) -> None:
        os.mkdir(name, 0o755, dir_fd=above)
        os.chown(name, self._owner.st_uid, self._owner.st_gid, dir_fd=above, follow_symlinks=False)

    def _give(self, descriptor: int, path: Path) -> None:
        """Give a directory and all that is in it to the engine."""
        remove_caches(descriptor, _UNTRUSTED_USERS)
        self._refuse_cache(path, descriptor)
        chown_all(descriptor, f"{self._uid}:{self._uid}")

    def _refuse_cache(self, path: Path, descriptor: int | None = None) -> None:
        """Refuse what is in a cache, or has one in it if it's already open."""
        if CACHE in path.parts or (descriptor is not None and has_cache(descriptor)):
            raise self._refusal(path, "there is a cache of converted models, which other runs rely on")

    def _refusal(self, path: Path, why: str, hint: str = "") -> ConfigurationError:
        hint = hint or f"use a separate directory inside {self._job.workspace}"
        return ConfigurationError(f"can't give the engine write access to {path}: {why}", hint)

    def _restrict(self, path: Path, trusted: Path = ROOT, mask: int = stat.S_IRWXU) -> None:
        """Leave a directory to its owner, or what permissions `mask` says; nothing stays open, there may be many."""
        before = set_mode(path, lambda mode: mode & mask, trusted)

        def restore() -> None:
            with suppress(OSError):  # a model may have removed it where it may write
                set_mode(path, lambda _: before, trusted)

        self._stack.callback(restore)

    def _revoke(self, descriptor: int) -> None:
        remove_caches(descriptor, [self._uid])
        chown_all(descriptor, self._owner_text, f"--from={self._uid}")
        if os.fstat(descriptor).st_uid == self._uid:
            os.fchown(descriptor, self._owner.st_uid, self._owner.st_gid)

    def _at_end(self, path: Path, revoke: Callable[[], None]) -> None:
        """Revoke at the end, whatever the results are: they're published even if that fails."""

        def attempt() -> None:
            try:
                revoke()
            except OSError as error:
                message = f"Couldn't return {path} to the workspace's owner: {error}."
                hint = "The next checkout may fail to remove it."
                tell(command("warning", harmless(f"{message} {hint}")), self._job.stream)

        self._stack.callback(attempt)


@contextmanager
def _opened(name: str, directory: int) -> Iterator[int]:
    descriptor = open_child(name, directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _end_processes(uid: int) -> None:
    """Kill all processes of a user with one signal, which also ends what forks faster than it can be listed.

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
                    f"{each} isn't readable by everyone: the engine runs as unprivileged user {identity.uid}",
                    f"run `chmod -R a+rX {shown}` in an earlier step, or set the runner's umask to 022",
                )


def _read(model: ModelConfig) -> Iterable[Path]:
    metric = () if model.metric is None else (model.metric.path,)
    return (model.model_path, *model.samples, *model.calibration_samples, *metric, *model.tensorrt_plugins)


def _all_below(path: Path) -> Iterator[tuple[Path, int]]:
    """Yield a path and all that is below it, and the permissions that reading it needs."""
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
