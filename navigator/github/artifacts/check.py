"""What can be an artifact: its name, and the paths in it. Pure."""

from collections.abc import Sequence
from pathlib import Path

from navigator.github.artifacts.pack import FORBIDDEN
from navigator.github.rest import PublishError


def check(name: str, files: Sequence[tuple[str, Path]], *, archive: bool) -> None:
    """Check what an artifact is to be, as the service and its official client do.

    Raises:
        PublishError: the service would refuse the name, or the files don't make an artifact.
    """
    forbidden = FORBIDDEN + "\\/"
    if not name or (wrong := [character for character in forbidden if character in name]):
        has = f"contains {' '.join(repr(each) for each in wrong)}" if name else "is empty"
        raise PublishError(
            f"{name!r} isn't a valid artifact name: it {has}",
            f"set `artifact_name` to a name without {' '.join(FORBIDDEN[:-2])} \\ / and line breaks",
        )
    if not files:
        raise PublishError(f"the artifact {name!r} would have no files")
    if not archive and len(files) != 1:
        raise PublishError(f"the artifact {name!r} has {len(files)} files: only an archive can have several")
    paths = [path for path, _ in files]
    for path in paths:
        if wrong := [character for character in FORBIDDEN if character in path]:
            raise PublishError(f"{path!r} can't be part of an artifact: its path contains {' '.join(map(repr, wrong))}")
    if len(set(paths)) != len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise PublishError(f"the artifact {name!r} would have two files {twice!r}")
