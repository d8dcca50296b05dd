"""Who may write what in a cache while models run: the engine its own layer and nothing else. All of it needs root.

What a run on untrusted code wrote belongs to a user of its own until it's given back. So what belongs to such a user
outside of an untrusted layer was put there by a model, and goes.
"""

import os
from collections.abc import Collection
from pathlib import Path

from navigator.action.coreutils import tool
from navigator.cache.layers import NAME, UNTRUSTED, claim, prune
from navigator.safe_files import open_directory, read_file

_INDEX_BYTES = 2**30


def open_layer(path: Path, layer: str, limit_bytes: int, *, owner: str, distrusted: Collection[int]) -> int:
    """Return a descriptor of a layer of a cache, both made if they aren't there.

    Everything in the cache is then readable by everybody and writable by its owner only.

    Args:
        path: the directory that the user named, which isn't behind a link.
        layer: see `navigator.cache.layers`.
        limit_bytes: of all layers together.
        owner: whose the cache is, as "uid:gid".
        distrusted: the users that run untrusted code.

    Raises:
        OSError: it can't be made or given away, or there is something else in its place.
    """
    _discard_forged(path / NAME, distrusted)
    home = claim(path, layer)
    prune(home, limit_bytes, layer)
    tool("/bin/chown", "-R", "-P", "-h", "--from=0", "--", owner, str(home))
    tool("/bin/chmod", "-R", "go-w,a+rX", "--", str(home))
    return open_directory(home / layer, path)


def remove_caches(directory: int, users: Collection[int]) -> None:
    """Remove each cache that models made in a directory, as `users`: a later run could take it for its own."""
    words = ("-name", NAME, *_owned(users), "-prune", "-execdir", "/bin/rm", "-rf", "--", "{}", "+")
    tool("/usr/bin/find", f"/proc/self/fd/{directory}/.", *words, descriptor=directory)


def has_cache(directory: int) -> bool:
    """Tell whether there is a cache anywhere in a directory."""
    words = ("-name", NAME, "-print", "-quit")
    return bool(tool("/usr/bin/find", f"/proc/self/fd/{directory}/.", *words, descriptor=directory))


def is_committed(path: Path, checkout: Path) -> bool:
    """Tell whether git has files of the cache in `path`: nobody knows then who wrote its entries.

    Names are whole in an index of versions 2 and 3. Source: git-scm.com/docs/index-format.
    """
    try:
        index = read_file(checkout / ".git" / "index", _INDEX_BYTES, checkout)
    except OSError:
        return False
    return os.fsencode(f"{(path / NAME).relative_to(checkout)}/") in index


def _discard_forged(home: Path, distrusted: Collection[int]) -> None:
    """Remove what users that run untrusted code own outside of their layers, as a run leaves it that was killed."""
    if not os.path.lexists(home):
        return
    if home.lstat().st_uid in distrusted:
        tool("/bin/rm", "-rf", "--", str(home))
        return
    found = ("-path", str(home / UNTRUSTED), "-prune", "-o", *_owned(distrusted), "-prune")
    tool("/usr/bin/find", str(home), *found, "-exec", "/bin/rm", "-rf", "--", "{}", "+")


def _owned(users: Collection[int]) -> list[str]:
    """Return find's test for what belongs to one of the users."""
    return ["(", *" -o ".join(f"-uid {uid}" for uid in users).split(), ")"]
