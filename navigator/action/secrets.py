"""Keeps the tokens of the job in this process alone, and this process closed to others.

What a variable holds is a secret if its name says so. Knows no GitHub API.
"""

from collections.abc import MutableMapping
from dataclasses import dataclass, field

from navigator.workers import processes
from navigator.workers.environment import is_secret

_FOR_REST = ("INPUT_TOKEN", "GITHUB_TOKEN")
_FOR_ARTIFACTS = "ACTIONS_RUNTIME_TOKEN"


@dataclass(frozen=True, kw_only=True, slots=True)
class Secrets:
    """The tokens of a job; "" is one that was not given. A printed record shows none.

    `token` is for the REST API, `runtime_token` for the artifact service.
    """

    token: str = field(default="", repr=False)
    runtime_token: str = field(default="", repr=False)


def hide(environment: MutableMapping[str, str]) -> Secrets:
    """Take the secrets out of `environment` (os.environ), and close this process to all others.

    The kernel keeps the variables that a process was started with in /proc/<pid>/environ, whatever it removes later.
    So this process becomes undumpable: then nobody who lacks CAP_SYS_PTRACE in its user namespace may read its
    /proc/<pid>/environ and mem or attach to it, not even the same user (proc(5), ptrace(2): ptrace access mode
    checking; prctl(2): PR_SET_DUMPABLE). Containers lack that capability unless they are privileged. A program that
    this process executes is dumpable again.
    """
    processes.become_undumpable()
    taken = {name: environment.pop(name) for name in [*environment] if is_secret(name)}
    return Secrets(
        token=next((taken[name] for name in _FOR_REST if taken.get(name)), ""),
        runtime_token=taken.get(_FOR_ARTIFACTS, ""),
    )
