"""Tags a release whose images are in the registry, and only then moves the tag of the major version.

    python tools/tag.py 1.2.3 --registry ghcr.io/org/model-navigator
    python tools/tag.py 1.2.3 --check    before images are pushed: the version is new, or this very commit's

The commit that v1.2.3 names is made here and lies on no branch: action.yml names an image in it, where the branch
names the Dockerfile. It touches no workflow, which GITHUB_TOKEN may not push. A release that broke off is run again: a
tag that is there is left as it is, if it was made of this very commit.
"""

# ruff: noqa: S607 - the git of the runner

import argparse
import subprocess
import sys

import actions
from images import tags

_AUTHOR = [
    "-c",
    "user.name=github-actions[bot]",
    "-c",
    "user.email=41898282+github-actions[bot]@users.noreply.github.com",
]


def tag(version: str, registry: str) -> None:
    """Make and push v<version>, then v<major>."""
    name, major = f"v{version}", f"v{version.partition('.')[0]}"
    if not is_there(name):
        images = tags(registry, version)
        actions.write(images["tensorrt"], images["slim"])
        _git("add", *(str(path) for path in actions.files("", "")))
        _git(*_AUTHOR, "commit", "--quiet", "--message", f"Release {name}")
        _git(*_AUTHOR, "tag", "--annotate", "--message", f"Release {name}", name)
        _git("push", "--quiet", "origin", f"refs/tags/{name}")
    # No release of its own: releases can be immutable, and this tag moves.
    _git("push", "--quiet", "--force", "origin", f"{name}^{{commit}}:refs/tags/{major}")


def is_there(name: str) -> bool:
    """Tell whether the tag is there, made of the commit that is checked out; made of another one ends the program."""
    if not _git("ls-remote", "--tags", "origin", f"refs/tags/{name}"):
        return False
    head = _git("rev-parse", "HEAD")
    _git("fetch", "--quiet", "--no-tags", "--depth=2", "origin", f"refs/tags/{name}:refs/tags/{name}")
    if _git("rev-parse", f"{name}^{{commit}}^") != head:
        raise SystemExit(f"{name} is there already, and not made of {head}: release another version")
    return True


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def main() -> int:
    """Tag the commit that is checked out in the working directory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--registry")
    how.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    if arguments.check:
        is_there(f"v{arguments.version}")
    else:
        tag(arguments.version, arguments.registry)
    return 0


if __name__ == "__main__":
    sys.exit(main())
