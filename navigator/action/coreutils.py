"""The tools of coreutils and findutils, for what models leave behind.

They hold one directory open at a time and go through links nowhere (-P): a model may have made directories deeper than
any path is long.
"""

import subprocess
from pathlib import Path


def tool(*words: str, descriptor: int | None = None) -> str:
    """Run a tool, which may have a descriptor of ours, and return what it prints.

    Raises:
        OSError: it failed; with what it said.
    """
    done = subprocess.run(
        words,
        pass_fds=[] if descriptor is None else [descriptor],
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
    )
    if done.returncode != 0:
        raise OSError(done.stderr.encode(errors="replace").decode().strip())
    return done.stdout


def chown_all(descriptor: int, owner: str, *options: str) -> None:
    """Give a directory and all that is in it to `owner` ("uid:gid"), links themselves and not what they lead to.

    Raises:
        OSError: not all of it could be given.
    """
    words = ("-R", "-P", "-h", *options, "--", owner, f"/proc/self/fd/{descriptor}/.")
    tool("/bin/chown", *words, descriptor=descriptor)


def directories_named(name: str, root: Path) -> list[Path]:
    """Return the directories of a name below `root`, those in others of that name excepted.

    Raises:
        OSError: not all of it could be read.
    """
    words = ("-ignore_readdir_race", "-type", "d", "-name", name, "-prune", "-print0")
    return [Path(found) for found in tool("/usr/bin/find", str(root), *words).split("\0") if found]
