"""The tools of coreutils and findutils, for what models leave behind.

They hold one directory open at a time and go through links nowhere (-P): a model may have made directories deeper than
any path is long.
"""

import subprocess


def tool(*words: str, descriptor: int | None = None) -> None:
    """Run a tool, which may have a descriptor of ours.

    Raises:
        OSError: it failed; with what it said.
    """
    done = subprocess.run(
        words,
        pass_fds=[] if descriptor is None else [descriptor],
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise OSError(done.stderr.strip())


def chown_all(descriptor: int, owner: str, *options: str) -> None:
    """Give a directory and all that is in it to `owner` ("uid:gid"), links themselves and not what they lead to.

    Raises:
        OSError: not all of it could be given.
    """
    words = ("-R", "-P", "-h", *options, "--", owner, f"/proc/self/fd/{descriptor}/.")
    tool("/bin/chown", *words, descriptor=descriptor)
